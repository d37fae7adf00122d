# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Debian's Exim, configured as in conncount-policyd(8) to ask conncount-policyd.

load ../lib/common
load ../lib/servers
load ../lib/policyd
load ../lib/instance

setup() {
	requires exim4-daemon-light setpriv
	instance_setup
	configure_smtp_with 'group = nogroup'
	load
	smtp_start
	mta_start
}

teardown() {
	servers_stop
	instance_teardown
}

# mta_start: starts Exim with the example, to ask at $TEST_DIR/policyd/sock, which may not exist.
mta_start() {
	exim_start < <(example conncount-policyd.8 EXIM 1 |
		sed "s|\\\\e|\\\\|g; s|/run/conncount-policyd.sock|$TEST_DIR/policyd/sock|")
}

@test "Exim refuses a client over its limit, for now or for good, and accepts others" {
	# Over 5 sessions of an address 421, over 20 of a /24 521.
	example conncount-policyd.8 'POLICY FILE' 1 | policy
	policyd_start --listen "$TEST_DIR/policyd/sock"
	local i
	for i in 1 2 3 4; do
		expect_smtp '220 220 220 220 220 421' open 6 "203.0.113.$i" 198.51.100.10:25
	done
	expect_smtp '521 521' open 2 203.0.113.5 198.51.100.10:25
	expect 0 grep -cF '521 5.7.0 21 sessions from 203.0.113.0/24; the limit is 20' "$TEST_DIR/log/main"
	expect_eq 2 "$output" 'refused for good'
	expect_smtp '220 220 220 220 220 421' open 6 203.0.114.5 198.51.100.10:25
	expect_smtp '220 220 220 220 220 421' open 6 2001:db8:1:2::5 '[2001:db8::1]:25'
	# A client that no limit applies to.
	expect_smtp '220 220 220 220 220 220' open 6 192.0.2.1 198.51.100.10:25
	wait_until expect_count 20 203.0.113.0/24
	wait_until expect_count 36

	# An accepted session can send a message. A client that leaves makes room.
	expect_smtp '250 250 250 250 250' mail 203.0.113.1
	smtp close 203.0.113.1
	expect_smtp '220 220' open 2 203.0.113.5 198.51.100.10:25
	smtp quit
	# shellcheck disable=SC2034 # servers_stop reads it
	SMTP_PID=
	wait_until expect_count 0
	expect 0 conncount verify
}

@test "Exim accepts every client while conncount-policyd does not answer" {
	expect_smtp '220 220 220 220 220 220' open 6 203.0.113.1 198.51.100.10:25
	expect_count 6 203.0.113.1
	smtp close 203.0.113.1
}
