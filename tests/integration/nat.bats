# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# What stands between client and server decides which listener a session belongs to, and which
# client it counts for: destination NAT, a redirect, a transparent proxy, a proxy on the same host,
# NAT64. conncount-servers(7) documents each of these.

load ../lib/common
load ../lib/actors
load ../lib/servers
load ../lib/instance

setup() {
	instance_setup
	actor server
	actor client
}

teardown() {
	actors_teardown
}

# called_and_own: loads a listener for the address that clients call, and one for the server's own
# address and port.
called_and_own() {
	configure <<-'END'
		[called]
		listen = 203.0.113.5:25
		[own]
		listen = 192.0.2.10:2525
	END
	load
}

# rule CHAIN RULE...: adds a firewall rule in the test's network namespace.
rule() {
	in_ns nft "add table ip t; add chain ip t c { $1; }; add rule ip t c ${*:2}"
}

# to_called LOCAL: opens a session to 203.0.113.5:25 that the server accepts, and expects LOCAL as
# its local address.
to_called() {
	act client "socks = connect('198.51.100.7', '203.0.113.5', 25)"
	expect 0 act server 'socks = accept(door)
print("%s:%d" % socks[0].getsockname())'
	expect_eq "$1" "$output" 'local address'
}

@test "destination NAT: a session belongs to the listener of the translated address and port" {
	requires nft
	called_and_own
	act server 'door = listen("192.0.2.10", 2525)'
	rule 'type nat hook output priority -100' tcp dport 25 dnat to 192.0.2.10:2525
	to_called 192.0.2.10:2525
	expect_count 1 --listener own 198.51.100.7
	expect_count 0 --listener called
	counted 1
}

@test "redirect: a session belongs to the listener of the port that it is redirected to" {
	requires nft
	configure <<-'END'
		[called]
		listen = *:25
		[own]
		listen = *:2525
	END
	load
	act server 'door = listen("0.0.0.0", 2525)'
	rule 'type nat hook output priority -100' tcp dport 25 redirect to :2525
	to_called 127.0.0.1:2525
	expect_count 1 --listener own 198.51.100.7
	expect_count 0 --listener called
	counted 1
}

@test "TPROXY: a session belongs to the listener of the address and port that the client called" {
	requires nft
	called_and_own
	act server 'IP_TRANSPARENT = 19
door = listen("192.0.2.10", 2525, options=[(socket.SOL_IP, IP_TRANSPARENT, 1)])'
	rule 'type filter hook prerouting priority -150' tcp dport 25 tproxy to 192.0.2.10:2525
	to_called 203.0.113.5:25
	expect_count 1 --listener called 198.51.100.7
	expect_count 0 --listener own
	counted 1
	# A load that finds the session open counts it for the same listener.
	conncount unload
	load
	counted 1
	expect_count 1 --listener called 198.51.100.7
}

# forwarded: connects a client to a proxy at [2001:db8::25]:25, and the proxy to the server at
# 172.22.0.2:25.
forwarded() {
	act server "front, door = listen('2001:db8::25', 25), listen('172.22.0.2', 25)"
	act client "socks = connect('2001:db8:7::1', '2001:db8::25', 25)"
	act server "socks = accept(front) + connect('172.22.0.1', '172.22.0.2', 25)
socks += accept(door)"
}

@test "a proxy's session with a server on its own host counts, unless only the proxy's address does" {
	printf '[mx]\nlisten = *:25\n' | configure
	load
	forwarded
	expect_count 1 2001:db8:7::1
	expect_count 1 172.22.0.1
	counted 2
	conncount unload # a load alone would keep open sessions counted
	example conncount-servers.7 'BETWEEN CLIENT AND SERVER' 1 | configure
	load
	expect_count 1 2001:db8:7::1
	expect_count 0 172.22.0.1
	counted 1
}

@test "NAT64: all clients are in one /64; a /128 is one IPv4 address, a /120 its /24" {
	printf '[mx]\nlisten = *:25\n' | configure
	load
	act server "door = listen('2001:db8::25', 25)"
	act client "socks = []
for n, ip in (3, '192.0.2.7'), (2, '192.0.2.8'), (4, '198.51.100.7'):
	socks += connect('64:ff9b::' + ip, '2001:db8::25', 25, n)"
	act server 'socks = accept(door, 9)'
	expect_count 9 64:ff9b::/64
	expect_count 3 64:ff9b::192.0.2.7
	expect_count 5 64:ff9b::192.0.2.0/120
	expect_count 0 192.0.2.0/24
	counted 9
}
