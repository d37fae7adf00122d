# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Debian's OpenSMTPD with the filter of lua/servers/opensmtpd, configured as in
# conncount-servers(7).

load ../lib/common
load ../lib/servers
load ../lib/instance

setup() {
	requires opensmtpd lua5.4
	instance_setup
	printf '[conncount]\ngroup = nogroup\n[mx]\nlisten = *:25\nservice = SMTP\n' | configure raw
	smtp_start
}

teardown() {
	servers_stop
	instance_teardown
}

# smtpd_start [SED]: starts OpenSMTPD with the example, edited by SED.
smtpd_start() {
	example conncount-servers.7 OPENSMTPD 1 | sed "s/group conncount/group nogroup/; ${1:-}" \
		>"$TEST_DIR/smtpd.conf"
	opensmtpd_start "$TEST_DIR/smtpd.conf"
}

logged() {
	[ "$(grep -cF -- "$2" "$TEST_DIR/smtpd.log")" = "$1" ] ||
		fail "not $1 lines with '$2':" "$(<"$TEST_DIR/smtpd.log")"
}

@test "OpenSMTPD refuses a client over its limit, and accepts others" {
	load
	smtpd_start
	expect_smtp "$(times 10 220) 421 421" open 12 198.51.100.7 192.0.2.1:25
	wait_until expect_count 10 # the refused sessions have ended
	expect_smtp "$(times 10 220)" open 10 198.51.100.8 192.0.2.1:25
	expect_smtp 421 open 1 198.51.100.9 192.0.2.1:25
	expect_smtp 220 open 1 203.0.113.9 192.0.2.1:25
	expect_smtp 250 mail 203.0.113.9
	expect_smtp "$(times 10 220) 421" open 11 2001:db8:7::1 '[2001:db8::1]:25'
	wait_until expect_count 10 2001:db8:7::1/64
	expect_smtp "$(times 10 220)" open 10 2001:db8:7::2 '[2001:db8::1]:25'
	expect_smtp 421 open 1 2001:db8:7::3 '[2001:db8::1]:25'
	expect_smtp 220 open 1 2001:db8:7:1::3 '[2001:db8::1]:25'
	wait_until expect_count 42

	smtp close 198.51.100.7
	wait_until expect_count 10 198.51.100.0/24
	expect_smtp 220 open 1 198.51.100.9 192.0.2.1:25

	# Five clients at the same time, each in a network of its own: no more sessions at once than
	# smtpd's listen queue holds.
	expect_smtp "$(yes "$(times 10 220) 421 421" | head -n 5)" crowd 12 192.0.2.1:25 203.1.{1..5}.1
	wait_until expect_count 50 203.1.0.0/16
}

@test "NAT64: a filter before ours exempts the translator's clients from the limits" {
	load
	example conncount-servers.7 'BETWEEN CLIENT AND SERVER' 3 |
		sed 's/group conncount/group nogroup/; s/=10/=3/; s/=20/=4/' >"$TEST_DIR/smtpd.conf"
	printf '%s\n' 'action "local" mbox' 'match from any for local action "local"' >>"$TEST_DIR/smtpd.conf"
	opensmtpd_start "$TEST_DIR/smtpd.conf"
	expect_smtp "$(times 5 220)" open 5 64:ff9b::198.51.100.7 '[2001:db8::1]:25'
	expect_smtp "$(times 2 220)" open 2 64:ff9b::203.0.113.7 '[2001:db8::1]:25'
	expect_smtp '220 220 220 421' open 4 2001:db8:7::1 '[2001:db8::1]:25'
	expect_smtp '220 421' open 2 2001:db8:7::2 '[2001:db8::1]:25'
}

@test "OpenSMTPD refuses a network over its limit of connections in a window, open or not" {
	load
	{
		example conncount-servers.7 OPENSMTPD 2 |
			sed 's/group conncount/group nogroup/; s/=10 /=9 /; s/=100@60,1/=3@3600,1/'
		printf '%s\n' 'listen on 0.0.0.0 port 25 filter conncount' 'action "local" mbox' \
			'match from any for local action "local"'
	} >"$TEST_DIR/smtpd.conf"
	opensmtpd_start "$TEST_DIR/smtpd.conf"
	# The window is not configured.
	expect_smtp '220 220 220 220' open 4 198.51.100.7 192.0.2.1:25
	logged 1 'conncount: clients are let in unchecked: '
	logged 1 "'3600,1': no such window is configured"
	sed -i 's/^group/window = 3600,1\n&/' "$CONFIG"
	load
	expect_smtp '220 220 220 421' open 4 203.0.113.7 192.0.2.1:25
	smtp close 203.0.113.7
	wait_until expect_count 0 203.0.113.0/24
	expect_smtp 421 open 1 203.0.113.8 192.0.2.1:25
}

# inside COMMAND...: runs COMMAND in smtpd's mount namespace, which does not see new mounts of the
# host.
inside() {
	nsenter --target "$STARTED" --mount --root -- "$@"
}

@test "clients are accepted while nothing is loaded, and the log says so once" {
	smtpd_start 's/=10/=1/'
	expect_smtp '220 220 220' open 3 198.51.100.7 192.0.2.1:25
	logged 1 "conncount: clients are let in unchecked: $CONNCOUNT_DIR: not loaded"
	expect 0 inside /usr/local/bin/conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_smtp 421 open 1 198.51.100.7 192.0.2.1:25
	expect 0 inside /usr/local/bin/conncount unload
	expect 0 inside /usr/local/bin/conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_smtp 421 open 1 198.51.100.7 192.0.2.1:25
	logged 1 'clients are let in'
	expect 0 inside /usr/local/bin/conncount unload
}

@test "clients are accepted if the filter may not read the counts, and the log names the group" {
	load
	smtpd_start 's/=10/=1/; s/ group nogroup//'
	expect_smtp '220 220 220' open 3 198.51.100.8 192.0.2.1:25
	logged 1 "members of the group 'nogroup' may read it"
}

@test "an unknown service refuses nobody; with arguments it cannot parse, the filter exits with 2" {
	load
	smtpd_start 's/ SMTP / smtp /; s/=10/=1/'
	expect_smtp '220 220' open 2 198.51.100.7 192.0.2.1:25
	logged 1 "bad argument #2 (service_type) 'smtp': unknown service type"

	expect 2 "$LUA" "$ROOT/lua/servers/opensmtpd/filter-conncount" SMTP /24,=5
	expect_match "^/24,=5: .*'/24,'" "$errors"
	expect 2 "$LUA" "$ROOT/lua/servers/opensmtpd/filter-conncount" SMTP /24=x
	expect_eq '/24=x: not NETWORK=LIMIT, or NETWORK=LIMIT@SECONDS,WINDOWS' "$errors"
	expect 2 "$LUA" "$ROOT/lua/servers/opensmtpd/filter-conncount" SMTP /24=5@60
	expect_eq '/24=5@60: not NETWORK=LIMIT, or NETWORK=LIMIT@SECONDS,WINDOWS' "$errors"
	expect 2 "$LUA" "$ROOT/lua/servers/opensmtpd/filter-conncount" SMTP
	expect_match '^usage: ' "$errors"
	expect 2 "$LUA" "$ROOT/lua/servers/opensmtpd/filter-conncount"
	expect_match '^usage: ' "$errors"
}
