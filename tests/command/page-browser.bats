# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The exporter's page in Chromium: what it shows, compared with what the command prints, and whether
# everybody can use it. With CONNCOUNT_PICTURE=FILE, also the README's picture of it.

load ../lib/common
load ../lib/instance
load ../lib/actors
load ../lib/exporting
load ../lib/hosts
load ../lib/proxies

time_limit $((300 + ${CONNCOUNT_PICTURE:+600} + 0))

setup() {
	requires speed chromium playwright nft
	instance_setup
}

teardown() {
	exporter_stop || :
	cluster_end
	actors_teardown
}

# traffic_for_a_picture: sessions come and go for as long as the page's curve shows.
traffic_for_a_picture() {
	local i
	in_ns curl -s 'http://127.0.0.1:10125/api/history?step=1' >/dev/null
	for i in {1..290}; do
		sessions open $((RANDOM % 4 + 1)) "203.0.113.$((RANDOM % 250 + 1))" 192.0.2.1:25
		((i % 40)) || sessions close both "from=203.0.113.$((RANDOM % 2 * 128))/25" || :
		sleep 1
	done >/dev/null
}

# says_stale: succeeds if a node has not been heard from; for wait_until.
says_stale() {
	[[ $(conncount nodes) == *stale* ]]
}

# browse VISIT [ARGUMENT...]: visits the page as tests/tools/browse.js says.
browse() {
	expect 0 in_ns env HOME="$TEST_DIR" node "$TOOLS/browse.js" "$(playwright)" "$(axe)" http://127.0.0.1:10125 "$@"
}

@test "page: shows what the command prints, follows it, and breaks no rule of accessibility" {
	configure <<-'END'
		[smtp]
		listen = *:25
		service = SMTP
		[msa]
		listen = *:587
		listen = 192.0.2.1:588
		listen = 192.0.2.1:590
		listen = [2001:db8::5]:589
		service = submission
	END
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		listen *:587
		open 50 10.1.2.3 192.0.2.1:25
		open 17 10.1.2.77 192.0.2.1:25
		open 8 10.1.3.4 192.0.2.1:25
		open 31 10.9.0.1 192.0.2.1:25
		open 12 198.51.100.9 192.0.2.1:25
		open 23 2001:db8:1::1 [2001:db8::5]:25
		open 4 2001:db8:1:0:ff::1 [2001:db8::5]:25
		open 1 10.1.2.3 192.0.2.1:587
		open 3 10.7.7.7 192.0.2.1:587
		open 2 10.20.0.1 192.0.2.1:587
	END
	exporter
	[ -z "${CONNCOUNT_PICTURE:-}" ] || traffic_for_a_picture
	browse exact '192.0.2.1 587' ${CONNCOUNT_PICTURE:+"$CONNCOUNT_PICTURE"}
	expect 0 exporter_stop
}

@test "page: says in red what is not exact, and what to do" {
	configure_smtp_with 'max_prefixes = 64'
	load
	sessions_start
	sessions listen '*:25'
	sessions open 100 10.0.0.1+ 192.0.2.1:25
	exporter
	browse inexact
	expect 0 exporter_stop
}

@test "page: shows limits and the networks that they refused, as the command prints them" {
	configure_smtp 'limit = /24,/64 over 4 reset' 'limit = /16,/48 over 1 log'
	sessions_start
	sessions listen '*:25'
	load
	sessions open 4 10.1.2.3 192.0.2.1:25
	sessions open 3 2001:db8:1::1 '[2001:db8::5]:25'
	expect 7 in_ns curl -sS --interface 'host!10.1.2.4' http://192.0.2.1:25
	exporter
	browse limited
	expect 0 exporter_stop
}

@test "page: shows who opened connections in a window of time, and says what is not exact" {
	openers_of_window 86400,1
	exporter
	browse windows
	expect 0 exporter_stop
}

@test "page: shows what came through proxies, and where limits cannot refuse, as the command prints it" {
	configure raw <<-'END'
		[conncount]
		group = root
		namespaces = all
		[mx]
		listen = *:25
		service = SMTP
		proxy = 10.0.0.0/24
		[unused]
		listen = *:2525
		proxy = 10.0.0.0/24
		[direct]
		listen = *:587
		limit = /24,/64 over 100 reset
	END
	load
	proxy_pair
	act client 'for proxy in "10.0.0.1", "10.0.0.2", "10.0.0.3": socks += connect(proxy, "192.0.2.1", 25)
give(socks[0], v1("198.51.100.7"))
give(socks[1], b"EHLO client.example.com")'
	# The first session of a limited listener in a network namespace without a gate tells of it.
	act server 'limited = listen(None, 587)'
	act client 'socks += connect("10.1.2.3", "192.0.2.1", 587)'
	expect_count 1 198.51.100.7
	exporter
	browse proxied
	expect 0 exporter_stop
}

@test "page: shows the nodes of a cluster and their sessions, and a node that is silent" {
	requires redis-server
	cluster_start a b
	# However busy the machine is, the silent node is not gone before the page was looked at.
	sed -i 's/^lease = .*/lease = 60s/' "$TEST_DIR/"{a,b}.conf
	open_at a 3 10.1.2.3
	open_at b 5 10.9.2.4
	daemon_start a
	daemon_start b
	expect_all 8
	on a exporter
	on a browse clustered
	daemon_stop b KILL
	on a wait_until says_stale
	on a browse clustered stale
	expect 0 exporter_stop
}

@test "page: shows markup in a name as text" {
	local dir
	dir="$TEST_DIR/<b>x<img src=x onerror=alert(1)>"
	exporter --dir "$dir"
	browse unloaded "$dir"
	expect 0 exporter_stop
}
