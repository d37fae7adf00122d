# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# What `conncount check` says about the limits of a configuration.

load ../lib/common

setup() {
	requires build
}

# explains LINE...: check accepts the configuration on stdin, and prints LINEs after its first one.
explains() {
	cat >"$BATS_TEST_TMPDIR/conf"
	expect 0 conncount check "$BATS_TEST_TMPDIR/conf"
	expect_eq '' "$errors"
	expect_eq "$(printf '%s\n' "$@")" "$(tail -n +2 <<<"$output")" explanation
}

# none LIMIT FIRST: LIMIT has no effect, because FIRST comes first.
none() {
	printf '%s\n' '[mx]' 'listen = *:25' "limit = $1" "limit = $2" >"$BATS_TEST_TMPDIR/conf"
	expect 0 conncount check "$BATS_TEST_TMPDIR/conf"
	expect_match "limit = $1: no effect, because $2 comes first"$'\n' "$output"
}

# both LIMIT OTHER: both have an effect.
both() {
	printf '%s\n' '[mx]' 'listen = *:25' "limit = $1" "limit = $2" >"$BATS_TEST_TMPDIR/conf"
	expect 0 conncount check "$BATS_TEST_TMPDIR/conf"
	[[ $output != *'no effect'* ]] || fail "$output"
}

@test "check: says what each limit will do, and how many networks are exempt" {
	explains '[mx] limit = /24,/64 over 100 reset: an IPv4 /24 or IPv6 /64 may have 100 sessions; more are refused' \
		'[mx] limit = /32,/128 over 1 log: an IPv4 /32 or IPv6 /128 may have 1 session; more are let in, and counted as WOULD REFUSE' \
		'[mx] networks that no limit applies to: 2' \
		'[msa] limit = /8,/8 over 4294967294 log: an IPv4 /8 or IPv6 /8 may have 4294967294 sessions; more are let in, and counted as WOULD REFUSE' <<-'END'
			[mx]
			listen = *:25
			limit = /24,/64 over 100 reset
			limit = /32,/128 over 1 log
			exempt = 198.51.100.0/24
			exempt = 2001:db8::/32
			[other]
			listen = *:26
			[msa]
			listen = *:587
			limit = /8,/8 over 4294967294 log
		END
}

@test "check: says nothing more if there are no limits" {
	explains <<-'END'
		[mx]
		listen = *:25
	END
}

@test "check: names the limit that is reached before another one" {
	none '/32,/128 over 100 reset' '/24,/64 over 99 reset'
	none '/32,/64 over 100 log' '/32,/64 over 100 reset'
	none '/32,/128 over 100 log' '/24,/64 over 100 reset'
	both '/32,/128 over 100 reset' '/24,/64 over 100 reset'
	both '/32,/128 over 99 log' '/24,/64 over 100 reset'
	both '/32,/128 over 100 reset' '/24,/64 over 99 log'
	both '/32,/56 over 100 reset' '/24,/64 over 99 reset'
	both '/24,/64 over 100 reset' '/32,/128 over 99 reset'
}
