# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# A kernel that is too old, Debian 11's: load refuses with one message, and leaves nothing.

load ../lib/common

@test "Linux 5.10: load refuses, names what is missing, and leaves nothing" {
	requires vm-5.10
	# shellcheck disable=SC2016
	expect 0 "$ROOT/scripts/vm" --kernel 5.10 --memory 512M -- sh -c '
		mkdir /sys/fs/cgroup/mta
		printf "%s\n" "[conncount]" "group = root" "[mx]" "listen = *:25" >/tmp/conf
		build/conncount load -c /tmp/conf --cgroup /mta --dir /run/i
		echo "exit status $?"
		[ ! -e /run/i ] || echo "/run/i is left"
		build/conncount status --dir /run/i 2>/dev/null
		echo "exit status $?"'
	expect_eq $'exit status 1\nexit status 1' "$output"
	expect_match '^conncount: this kernel cannot count exactly: [^;]+; conncount needs Linux 6\.1\.120 or later$' \
		"$errors"
	expect_eq 1 "$(wc -l <<<"$errors")" 'lines of the message'
}
