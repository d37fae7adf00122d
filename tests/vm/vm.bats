# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# scripts/vm itself: what it passes on from the command, and what it does if the machine does not
# end, dies, or has a kernel that complains.

load ../lib/common

setup() {
	requires vm-6.1
}

# vm ARGUMENT...: runs scripts/vm for a small machine with Linux 6.1.
vm() {
	"$ROOT/scripts/vm" --kernel 6.1 --memory 512M "$@"
}

@test "vm: output, messages and exit status are the command's own, on another kernel" {
	# shellcheck disable=SC2016
	CONNCOUNT_HELLO="it's me" expect 7 vm -- sh -c '
		uname -r; pwd; id -u; echo "$CONNCOUNT_HELLO"; echo "to stderr" >&2; exit 7'
	expect_match '^6\.1\.[0-9a-z.-]+' "$output"
	expect_eq "$ROOT 0 it's me" "$(tail -n 3 <<<"$output" | paste -sd ' ')"
	expect_eq 'to stderr' "$errors"
}

@test "vm: the build is the host's, and what the guest writes to it stays in the guest" {
	expect 0 vm -- sh -c 'sha256sum build/conncount; echo changed >build/conncount'
	expect_eq "$(cd "$ROOT" && sha256sum build/conncount)" "$output"
	expect_eq "$output" "$(cd "$ROOT" && sha256sum build/conncount)"
}

@test "vm: a command that runs past --timeout is stopped, and the exit status is 124" {
	expect 124 vm --timeout 10 -- sleep 1000
	expect_match 'no end after 10 s' "$errors"
}

@test "vm: if the kernel complains, a successful command ends with exit status 125" {
	expect 125 vm -- sh -c 'echo "WARNING: CPU: 0 at the test" >/dev/kmsg'
	expect_match 'the kernel complained' "$errors"
	expect_match 'WARNING: CPU: 0 at the test' "$errors"
	expect 3 vm -- sh -c 'echo "BUG: of the test" >/dev/kmsg; exit 3'
	expect_match 'the kernel complained' "$errors"
}

@test "vm: if the machine dies, the exit status is 125" {
	expect 125 vm -- sh -c 'echo c >/proc/sysrq-trigger; sleep 1000'
	expect_match 'Kernel panic' "$errors"
	expect_match 'ended before the command did' "$errors"
}

@test "vm: bad usage exits with 2, a file that is not a kernel with 125" {
	expect 2 "$ROOT/scripts/vm" --kernel 5.99
	expect_match "5\.99: neither 6\.1" "$errors"
	expect 2 "$ROOT/scripts/vm" true
	expect 2 "$ROOT/scripts/vm" --root "$BATS_TEST_TMPDIR" -- true
	expect_match "$BATS_TEST_TMPDIR: no system with systemd|only root" "$errors"
	expect 2 "$ROOT/scripts/vm" --arch mips -- true
	expect_match 'mips: neither amd64 nor arm64' "$errors"
	expect 125 "$ROOT/scripts/vm" --kernel /etc/passwd -- true
	expect_match '/etc/passwd: not a bzImage' "$errors"
}
