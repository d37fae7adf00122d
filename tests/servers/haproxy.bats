# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Debian's HAProxy in front of Debian's OpenSMTPD, with the policy of lua/servers/haproxy configured
# as in conncount-servers(7).

load ../lib/common
load ../lib/servers
load ../lib/instance

setup() {
	requires haproxy opensmtpd
	instance_setup
	{
		printf '[conncount]\ngroup = nogroup\n'
		example conncount-servers.7 HAPROXY 2
	} | configure raw
	smtp_start
}

teardown() {
	servers_stop
	instance_teardown
}

# modules: prints LUA_CPATH for the Lua in HAProxy, which is 5.3 in Debian 12 and 5.4 in Debian 13.
modules() {
	haproxy -vv | sed -nE "s|^Built with Lua version : Lua ([0-9]+\.[0-9]+).*|$BUILD/lua/\1/?.so;;|p"
}

# in_tree: prints the configuration on stdin with the paths of this tree, and a group that every
# machine has.
in_tree() {
	sed "s|/usr/share/conncount/haproxy.lua|$ROOT/lua/servers/haproxy/haproxy.lua|
		s|group conncount|group nogroup|"
}

# haproxy_start [SED]: starts HAProxy as Debian's unit does: a master, and a worker without
# privileges. Its configuration is the first example, edited by SED.
haproxy_start() {
	example conncount-servers.7 HAPROXY 1 | in_tree | sed "${1:-}" >"$TEST_DIR/haproxy.cfg"
	server_start "$TEST_DIR/haproxy.log" env LUA_CPATH="$(modules)" \
		haproxy -W -f "$TEST_DIR/haproxy.cfg"
	HAPROXY=$STARTED
	wait_until listens 25
}

# logged N TEXT: HAProxy has logged exactly N lines with TEXT.
logged() {
	[ "$(grep -cF -- "$2" "$TEST_DIR/haproxy.log")" = "$1" ] ||
		fail "not $1 lines with '$2':" "$(<"$TEST_DIR/haproxy.log")"
}

# mta_start [OPTION]: starts OpenSMTPD behind HAProxy, with OPTION added to its listener.
mta_start() {
	printf '%s\n' 'filter conncount proc-exec "filter-conncount SMTP /32=3" group nogroup' \
		"listen on 127.0.0.1 port 10025 proxy-v2 ${1:-}" 'action "local" mbox' \
		'match from any for local action "local"' >"$TEST_DIR/smtpd.conf"
	opensmtpd_start "$TEST_DIR/smtpd.conf"
}

@test "HAProxy refuses a client over its limit before a mail server, and accepts others" {
	load
	mta_start
	haproxy_start
	expect_smtp "$(times 10 220) 421 421" open 12 198.51.100.7 192.0.2.1:25
	wait_until expect_count 10 # the refused sessions have ended
	expect_smtp "$(times 10 220)" open 10 198.51.100.8 192.0.2.1:25
	# The network has reached its limit.
	expect_smtp 421 open 1 198.51.100.9 192.0.2.1:25
	expect_smtp 220 open 1 203.0.113.9 192.0.2.1:25
	expect_smtp "$(times 10 220) 421" open 11 2001:db8:7::1 '[2001:db8::1]:25'
	wait_until expect_count 10 2001:db8:7::1/64
	expect_smtp "$(times 10 220)" open 10 2001:db8:7::2 '[2001:db8::1]:25'
	expect_smtp 421 open 1 2001:db8:7::3 '[2001:db8::1]:25'
	expect_smtp 220 open 1 2001:db8:7:1::3 '[2001:db8::1]:25'
	wait_until expect_count 42
	expect_count 20 198.51.100.0/24

	# The mail server sees the clients' addresses.
	expect_smtp 250 mail 203.0.113.9
	expect_match 'address=203.0.113.9 ' "$(<"$TEST_DIR/smtpd.log")"

	smtp close 198.51.100.7
	wait_until expect_count 10 198.51.100.0/24
	expect_smtp 220 open 1 198.51.100.9 192.0.2.1:25
}

@test "NAT64: IPv4 clients are limited by the /24 in their addresses" {
	load
	mta_start
	example conncount-servers.7 'BETWEEN CLIENT AND SERVER' 2 | sed 's/gt 20/gt 4/' >"$TEST_DIR/nat64"
	haproxy_start "/acl network_full/d
		/use-service/{
			r $TEST_DIR/nat64
			d
		}"
	expect_smtp '220 220 220 220 421' open 5 64:ff9b::198.51.100.7 '[2001:db8::1]:25'
	expect_smtp 421 open 1 64:ff9b::198.51.100.8 '[2001:db8::1]:25'
	expect_smtp '220 220 220 220 421' open 5 64:ff9b::203.0.113.7 '[2001:db8::1]:25'
	expect_smtp '220 220 220 220 421' open 5 2001:db8:7::1 '[2001:db8::1]:25'
	expect_smtp 421 open 1 2001:db8:7::2 '[2001:db8::1]:25'
	expect_smtp '220 220 220 220 421' open 5 192.0.2.7 192.0.2.1:25
}

@test "lua.conncount counts its listener; its action sets a variable for conditions and the log" {
	load
	mta_start
	example conncount-servers.7 HAPROXY 3 | sed 's/gt 20/gt 2/' >"$TEST_DIR/submission"
	haproxy_start "/^global/a log stderr format raw local0
		s/lua.conncount(32,128)/lua.conncount/; s/gt 10/gt 3/
		/^defaults/a log global
		/^backend/{
			r $TEST_DIR/submission
			N
		}"
	expect_smtp '220 220 220 421' open 4 198.51.100.7 192.0.2.1:25
	# The sessions above count for SMTP; those at port 587 are not counted.
	expect_smtp closed open 1 198.51.100.7 192.0.2.1:587
	expect_smtp '220 220 220' open 3 203.0.113.9 192.0.2.1:587
	smtp close 203.0.113.9
	wait_until logged 1 ' open=3'
	expect_match '198.51.100.7:[0-9]* open=3' "$(<"$TEST_DIR/haproxy.log")"
	wait_until logged 3 ' open=0'
}

@test "HAProxy refuses a network over its limit of connections in a window, open or not" {
	load
	mta_start
	example conncount-servers.7 HAPROXY 4 | sed 's/60,1/3600,1/; s/gt 100/gt 3/' >"$TEST_DIR/window"
	haproxy_start "/use-service/{
			r $TEST_DIR/window
			d
		}"
	# The window is not configured.
	expect_smtp '220 220 220 220' open 4 198.51.100.7 192.0.2.1:25
	logged 1 "clients are let through unchecked: "
	logged 1 "'3600,1': no such window is configured"
	sed -i 's/^group/window = 3600,1\n&/' "$CONFIG"
	load
	expect_smtp '220 220 220 421' open 4 203.0.113.7 192.0.2.1:25
	smtp close 203.0.113.7
	wait_until expect_count 0 203.0.113.0/24
	expect_smtp 421 open 1 203.0.113.8 192.0.2.1:25
	expect_smtp '220 220 220 421' open 4 2001:db8:7::1 '[2001:db8::1]:25'
	expect_smtp 421 open 1 2001:db8:7::2 '[2001:db8::1]:25'
	expect_smtp 220 open 1 2001:db8:7:1::2 '[2001:db8::1]:25'
}

@test "lua.conncount_connections counts the client's address, or its network on a service" {
	sed -i 's/^group/window = 3600,1\n&/' "$CONFIG"
	printf '[submission]\nlisten = *:587\nservice = submission\n' >>"$CONFIG"
	load
	mta_start
	haproxy_start "s/bind :25/bind :587,:25/
		s/lua.conncount(32,128) -m int gt 10/lua.conncount_connections(3600,1) -m int gt 2/
		s/lua.conncount(24,64) -m int gt 20/lua.conncount_connections(3600,1,24,64,submission) -m int gt 1/"
	expect_smtp '220 220 421' open 3 198.51.100.7 192.0.2.1:25
	expect_smtp '220' open 1 198.51.100.8 192.0.2.1:587
	expect_smtp '421' open 1 198.51.100.9 192.0.2.1:587
	expect_smtp '421' open 1 198.51.100.9 192.0.2.1:25
	expect_smtp '220' open 1 203.0.113.9 192.0.2.1:25
}

@test "with a chroot, HAProxy follows a new instance or new maps only after its own reload" {
	mkdir "$TEST_DIR/empty"
	load
	mta_start
	haproxy_start "/^global/a chroot $TEST_DIR/empty
		s/gt 10/gt 2/"
	expect_smtp '220 220 421' open 3 198.51.100.7 192.0.2.1:25
	printf '[msa]\nlisten = *:587\n' >>"$CONFIG"
	load
	expect_smtp '421' open 1 198.51.100.7 192.0.2.1:25

	# After a restart of counting, clients are let in, and the log says once what to do.
	conncount unload
	load
	expect_smtp '220 220' open 2 198.51.100.7 192.0.2.1:25
	logged 1 "clients are let through unchecked: $CONNCOUNT_DIR: not loaded"
	logged 1 'reload HAProxy if it has a chroot'
	kill -USR2 "$HAPROXY" # the old worker may take one more connection
	wait_until logged 2 'Loading success'
	wait_until expect_smtp 421 open 1 198.51.100.7 192.0.2.1:25

	# The same after a load that makes new maps.
	sed -i 's/^group/max_prefixes = 1000\n&/' "$CONFIG"
	load
	expect_smtp '220' open 1 198.51.100.7 192.0.2.1:25
	logged 2 'reload HAProxy if it has a chroot'
	kill -USR2 "$HAPROXY"
	wait_until logged 3 'Loading success'
	wait_until expect_smtp 421 open 1 198.51.100.7 192.0.2.1:25
}

@test "send-proxy: the mail server limits clients by their sessions with HAProxy" {
	load
	mta_start 'filter conncount'
	haproxy_start '/use-service/d'
	expect_smtp '220 220 220 421' open 4 198.51.100.7 192.0.2.1:25
	expect_smtp 220 open 1 198.51.100.8 192.0.2.1:25

	# At the mail server's own port, HAProxy is the client of every session.
	printf '[behind]\nlisten = *:10025\nservice = behind\n' >>"$CONFIG"
	load
	expect_count 4 --service behind 127.0.0.1
	expect_count 0 --service behind 198.51.100.0/24
}

@test "without a chroot, HAProxy as a member of the group follows the counts by itself" {
	mta_start
	haproxy_start 's/gt 10/gt 2/'
	logged 1 'not loaded'
	expect_smtp '220 220 220' open 3 198.51.100.7 192.0.2.1:25
	load
	expect_smtp 421 open 1 198.51.100.7 192.0.2.1:25
	conncount unload
	load
	expect_smtp 421 open 1 198.51.100.7 192.0.2.1:25
	logged 1 'clients are let through'
}

@test "without a chroot, the log names the group that HAProxy is not in" {
	mta_start
	haproxy_start 's/gt 10/gt 2/; s/group nogroup/group haproxy/'
	load
	expect_smtp '220 220 220' open 3 198.51.100.7 192.0.2.1:25
	logged 1 "members of the group 'nogroup' may read it); name that group with \`group\` in haproxy.cfg"
}

@test "the limits hold with several threads, with one Lua state or one each" {
	local loads src
	load
	mta_start
	for loads in lua-load lua-load-per-thread; do
		haproxy_start "/^global/a nbthread 4
			s/lua-load/$loads/"
		# Twenty clients at the same time, each in a network of its own.
		expect_smtp "$(yes "$(times 10 220) 421 421" | head -n 20)" \
			crowd 12 192.0.2.1:25 203.0.{1..20}.1
		expect_count 200
		for src in 203.0.{1..20}.1; do smtp close "$src"; done
		server_stop "$HAPROXY"
		wait_until expect_count 0
	done
}

@test "HAProxy warns of a rule that never matches; a mistake in a condition refuses nobody" {
	load
	mta_start
	example conncount-servers.7 HAPROXY 1 | in_tree |
		sed 's/^ *tcp-request.*/tcp-request connection reject if address_full/' >"$TEST_DIR/haproxy.cfg"
	expect 0 env LUA_CPATH="$(modules)" haproxy -c -f "$TEST_DIR/haproxy.cfg"
	expect_match "will never match .*'tcp-request connection'" "$errors"

	haproxy_start 's/(32,128)/(32)/'
	expect_smtp "$(times 20 220) 421" open 21 198.51.100.7 192.0.2.1:25
	logged 1 "clients are let through unchecked: "
	logged 1 "inbound_session_count: bad argument #1 (cidr) '/32,/': what follows the ',' is not"
}
