# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Connections in windows of time: what a policy gets. A test that asks about windows 0 and 1 also
# holds if window 0 ends meanwhile.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	configure raw <<-'END'
		[conncount]
		group = root
		window = 3600,1
		window = 1,2
		[smtp]
		listen = *:25
		[console]
		listen = *:2025
		service = Control
	END
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		listen *:2025
		open 3 10.1.2.3 192.0.2.1:25
		open 2 10.1.2.9 192.0.2.1:25
		open 1 10.1.2.3 192.0.2.1:2025
		open 4 2001:db8:1:2::3 [2001:db8::1]:25
		open 1 2001:db8:1:2::9 [2001:db8::1]:25
	END
}

teardown() {
	instance_teardown
}

V4=(10.1.2.3 192.0.2.1:25)
V6=(2001:db8:1:2::3 '[2001:db8::1]:25')

# connections COUNT REMOTE LOCAL OPTIONS: COUNT sessions were opened in the last two hours.
connections() {
	expect_lua "$1" "$2" "$3" "(ac:connections('3600,1', { endv = 1, $4 }))"
	expect_lua "$1" "$2" "$3" "(audit.connections('3600,1', { endv = 1, $4 }))"
}

@test "windows: a policy gets the connections of the client, of a network, and of a service" {
	connections 3 "${V4[@]}" ''
	connections 5 "${V4[@]}" 'cidr = "/24,/64"'
	connections 5 "${V4[@]}" 'cidr = "10.0.0.0/8"'
	connections 1 "${V4[@]}" 'service = "Control"'
	connections 3 "${V4[@]}" 'cluster = true' # of this host, which is in no cluster
	connections 4 "${V6[@]}" 'cidr = "/32"'
	connections 5 "${V6[@]}" 'cidr = "/24,/64"'
	connections 5 "${V6[@]}" 'cidr = "/45"'
	sessions close both
	connections 3 "${V4[@]}" ''
	expect_lua 0 "${V4[@]}" '(ac:inbound_session_count())'
}

# exact: the current second began after counting did.
exact() {
	[ "$(lua_print "${V4[@]}" 'select("#", ac:connections("1,2"))')" = 1 ]
}

@test "windows: a count is exact for windows that began after counting, and for others says that more may be" {
	wait_until exact
	expect_lua $'3\tinf' "${V4[@]}" 'ac:connections("3600,1", { endv = 1 })'
}

@test "windows: a window that is not configured raises an error that names the configured ones" {
	expect 1 lua_print "${V4[@]}" 'ac:connections("60,1")'
	expect_match "connections: bad argument #1 \(monitor\) '60,1': no such window is configured \(configured: 3600,1 and 1,2; add 'window = 60,1' to the configuration\)" \
		"$errors"
	sessions close both
	configure_smtp
	load
	expect 1 lua_print "${V4[@]}" 'audit.connections("60,1")'
	expect_match 'configured: none' "$errors"
}

@test "windows: an unknown service, a bad network, and a prefix length without windows raise an error" {
	expect 1 lua_print "${V4[@]}" 'ac:connections("3600,1", "/33")'
	expect_match "connections: bad argument #2 \(cidr\) '/33': " "$errors"
	expect 1 lua_print "${V4[@]}" 'ac:connections("3600,1", { service = "smtp" })'
	expect_match "connections: bad argument #2 \(service\) 'smtp': unknown service type \(known: .*Control" "$errors"
	expect 1 lua_print "${V6[@]}" 'ac:connections("3600,1", "/96")'
	expect_match "connections: bad argument #2 \(cidr\) '/96': windows are not kept for" "$errors"
}

@test "windows: not loaded, a policy gets nil, a message and an errno" {
	sessions close both
	expect 0 conncount unload
	expect 0 lua_print "${V4[@]}" 'ac:connections("3600,1")'
	expect_match $'^nil\t.*not loaded.*\t2$' "$output"
}
