# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# asking.bash - sessions whose numbers are powers of two, so that any sum tells which were added,
# and what ac:inbound_session_count returns for them. It has setup() and teardown(): a test file
# only loads it and instance.bash.

setup() {
	requires lua
	instance_setup
	configure <<-'END'
		[mx]
		listen = *:25
		service = SMTP
		[msa]
		listen = 192.0.2.10:587
		listen = [2001:db8::10]:587
		service = SMTP
		[ecelerity-control]
		listen = *:4000
		service = Control
	END
	load
	sessions_start
	# Powers of two for each family: any sum tells which sessions were added.
	sessions <<-'END'
		listen *:25
		listen *:587
		listen *:4000
		open 1 10.1.2.3 192.0.2.1:25
		open 2 10.1.2.4 192.0.2.1:25
		open 4 10.1.2.3 192.0.2.10:587
		open 8 10.9.0.1 192.0.2.10:587
		open 16 10.1.2.3 192.0.2.1:4000
		open 32 172.16.0.1 192.0.2.1:25
		open 1 2001:db8:1:2::3 [2001:db8::1]:25
		open 2 2001:db8:1:2::4 [2001:db8::1]:25
		open 4 2001:db8:1:2::3 [2001:db8::10]:587
		open 8 2001:db8:9::1 [2001:db8::10]:587
		open 16 2001:db8:1:2::3 [2001:db8::1]:4000
		open 32 2a00::1 [2001:db8::1]:25
	END
}

teardown() {
	instance_teardown
}

# v4 WANT ARGUMENTS, v6 WANT ARGUMENTS: expect that inbound_session_count(ARGUMENTS) returns WANT
# for an IPv4 and for an IPv6 client of the listener mx.
v4() {
	expect_lua "$1" 10.1.2.3 192.0.2.1:25 "ac:inbound_session_count($2)"
}
v6() {
	expect_lua "$1" 2001:db8:1:2::3 '[2001:db8::1]:25' "ac:inbound_session_count($2)"
}

# raises ARGUMENTS TEXT...: expects that inbound_session_count(ARGUMENTS) raises an error that has
# each TEXT, and the function's name.
raises() {
	local arguments=$1 text
	shift
	expect 1 lua_print 10.1.2.3 192.0.2.1:25 "ac:inbound_session_count($arguments)"
	for text in inbound_session_count "$@"; do
		[[ $errors == *"$text"* ]] || fail "no '$text' in the error: $errors"
	done
}
