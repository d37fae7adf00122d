# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Sessions that come from a proxy are counted for the client that their PROXY header names.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	configure <<-'END'
		[mx]
		listen = *:25
		proxy = 10.0.0.0/24
		proxy = 2001:db8:1::/64
		[direct]
		listen = *:26
	END
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		listen *:26
	END
}

teardown() {
	instance_teardown
}

# hex TEXT: TEXT, with the escapes of printf, in hexadecimal.
hex() {
	# shellcheck disable=SC2059 # the escapes
	printf "$1" | od -An -v -tx1 | tr -d ' \n'
}

# proxied PATH: a number of the listener mx, from `status --json`.
proxied() {
	conncount status --json | json "listeners.0.$1"
}

# v1 CLIENT: a header of version 1 that names an IPv4 or IPv6 client.
v1() {
	local family=TCP4 destination=192.0.2.1
	[[ $1 != *:* ]] || family=TCP6 destination=2001:db8::25
	hex "PROXY $family $1 $destination 40000 25\r\n"
}

@test "a session of a proxy is in no count until its header comes, and then counted for its client" {
	sessions open 3 10.0.0.1+ 192.0.2.1:25
	expect_count 0
	expect_eq 3 "$(proxied awaiting)" awaiting
	expect 0 conncount verify
	sessions send "$(v1 198.51.100.7)" 1
	sessions send "$(v1 2001:db8:f::7)" 2
	expect_count 2
	expect_count 1 198.51.100.7
	expect_count 1 2001:db8:f::/48
	expect_count 0 10.0.0.0/8
	expect_eq 1 "$(proxied awaiting)" awaiting
	expect_eq 2 "$(proxied proxied.identified)" identified
	expect 0 conncount verify
	sessions close client
	sessions close server
	expect_count 0
	expect_eq 0 "$(proxied awaiting)" 'awaiting, after the end'
	expect_eq 0 "$(proxied unidentified)" 'unidentified, after the end'
	expect 0 conncount verify
}
