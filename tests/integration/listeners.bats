# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Which listener and service a session belongs to: several addresses and ports, the most specific
# address, both families. command/reconfigure.bats changes configurations.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	sessions_start
}

teardown() {
	instance_teardown
}

@test "a listener can have several addresses and ports, and a service several listeners" {
	configure <<-'END'
		[smtp]
		listen = *:25
		service = SMTP
		[msa]
		listen = 192.0.2.10:587
		listen = [2001:db8::10]:587
		listen = 192.0.2.10:465
		service = SMTP
		[control]
		listen = *:4000
		service = Control
		[own]
		listen = 192.0.2.77:7777
		service = my-own
	END
	load
	sessions <<-'END'
		listen *:25
		listen *:587
		listen 192.0.2.10:465
		listen *:4000
		listen *:7777
		open 1 10.0.0.1 192.0.2.10:25
		open 2 10.0.0.1 192.0.2.10:587
		open 4 10.0.0.1 192.0.2.10:465
		open 8 10.0.0.1 192.0.2.10:4000
		open 16 10.0.0.1 192.0.2.77:7777
		open 32 2001:db8::1 [2001:db8::10]:587
		open 5 10.0.0.1 192.0.2.11:587
		open 6 2001:db8::1 [2001:db8::11]:587
		open 7 10.0.0.1 192.0.2.78:7777
	END
	expect_count 39
	expect_count 7 10.0.0.1
	expect_count 1 --listener smtp
	expect_count 38 --listener msa
	expect_count 6 --listener msa 10.0.0.1
	expect_count 32 --listener msa ::/0
	expect_count 8 --service Control
	expect_count 8 --listener control
	expect_count 16 --service my-own
	expect_count 0 --service ECStream
	expect_count 39 --service inbound_cidr
	expect 2 conncount count --service nonsense
	expect_match nonsense "$errors"
	expect_match 'my-own' "$errors"
	expect 2 conncount count --listener nonsense
	expect_match nonsense "$errors"
}

@test "a listener with the exact address takes a session before *:25, for IPv4 and IPv6" {
	configure <<-'END'
		[any]
		listen = *:25
		service = SMTP
		[v4]
		listen = 192.0.2.1:25
		service = ECStream
		[v6]
		listen = [2001:db8::1]:25
		service = Control
	END
	load
	# One dual-stack socket for all listeners: only the address that the client called decides.
	sessions <<-'END'
		listen *:25
		open 1 10.0.0.1 192.0.2.1:25
		open 2 10.0.0.1 192.0.2.2:25
		open 4 2001:db8::7 [2001:db8::1]:25
		open 8 2001:db8::7 [2001:db8::2]:25
	END
	expect_count 1 --listener v4
	expect_count 4 --listener v6
	expect_count 10 --listener any
	expect_count 10
	expect_count 1 --service ECStream
	expect_count 4 --service Control 2001:db8::/32
	# A socket for each address makes no difference.
	sessions <<-'END'
		listen 192.0.2.1:25
		listen [2001:db8::1]:25
		open 1 10.0.0.1 192.0.2.1:25
		open 4 2001:db8::7 [2001:db8::1]:25
	END
	expect_count 2 --listener v4
	expect_count 8 --listener v6
	expect_count 10 --listener any
}

@test "sessions count on sockets bound to an address of either family, to 0.0.0.0 and to [::]" {
	configure_smtp
	load
	sessions <<-'END'
		listen 192.0.2.1:25
		listen 0.0.0.0:25
		listen [2001:db8::1]:25
		listen [::]:25
		open 1 10.0.0.1 192.0.2.1:25
		open 2 10.0.0.1 192.0.2.2:25
		open 4 2001:db8::7 [2001:db8::1]:25
		open 8 2001:db8::7 [2001:db8::2]:25
	END
	expect_count 3 0.0.0.0/0
	expect_count 12 ::/0
	expect_count 15
}
