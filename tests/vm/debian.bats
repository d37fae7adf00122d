# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# scripts/debian: what it passes on, and what it leaves.

load ../lib/common

setup() {
	requires root debootstrap
}

@test "debian: a command runs in a copy of this tree on that release, and leaves nothing" {
	local before
	before=$(ls /var/tmp)
	# shellcheck disable=SC2016
	CONNCOUNT_HELLO="it's me" expect 7 "$ROOT/scripts/debian" trixie bash -c '
		. /etc/os-release
		sleep 1234.5 &
		[ ! -e build ] || echo built
		ls Makefile
		echo "$VERSION_CODENAME $(id -u) $CONNCOUNT_HELLO ${ROOT:-}"; echo "to stderr" >&2; exit 7'
	expect_eq "Makefile${NL}trixie 0 it's me " "$output"
	expect_eq 'to stderr' "$errors"
	expect_eq "$before" "$(ls /var/tmp)" /var/tmp
	! pgrep -fx 'sleep 1234\.5' || fail 'a process is left'
}

@test "debian: bad usage exits with 2, a release that does not exist with 125" {
	expect 2 "$ROOT/scripts/debian" trixie
	expect_match 'usage: scripts/debian' "$errors"
	expect 125 "$ROOT/scripts/debian" trixy true
	expect_match 'no Debian trixy' "$errors"
	expect_match 'No such script' "$errors"
}

NL=$'\n'
