# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Where the header of a proxied session arrives: after the handshake, with its end, or before it.

load ../lib/common
load ../lib/actors
load ../lib/proxies
load ../lib/instance

setup() {
	proxied_setup
}

teardown() {
	actors_teardown
}

# Proxies and destinations of both families, and the clients that they name, by both versions.
ROUTES='
ways = [(proxy, dst, header(client))
        for proxy, dst in (("10.0.0.7", "192.0.2.1"), ("2001:db8:1::7", "2001:db8::1"))
        for client in ("198.51.100.7", "2001:db8:f::7") for header in (v1, v2)]'

# named N: expects N sessions for each of the two clients, all identified, and none of the proxies.
named() {
	origins "$((2 * $1)) 0 0 0 0 0"
	counted $((2 * $1))
	expect_count "$1" 198.51.100.7
	expect_count "$1" 2001:db8:f::7
	expect_count 0 10.0.0.0/8
	expect_count 0 2001:db8:1::/64
}

@test "a header after the handshake, in the accept queue or later, identifies the client" {
	proxy_pair
	act client "$ROUTES
for proxy, dst, header in ways * 2:
    socks += connect(proxy, dst, 25)
for sock, way in zip(socks[:8], ways): give(sock, way[2])"
	origins '8 0 0 0 0 0' 8
	act server 'socks = accept(door, 16)'
	act client 'for sock, way in zip(socks[8:], ways): give(sock, way[2])'
	named 8
	ended
}

# in_ack: the client sends headers with the ACK that ends its handshake, four times on each way. A client that is
# paused for longer than the kernel delays that ACK sends it alone; such a session counts as well, so that all
# ways are repeated. Sets $OPENED to the number of all sessions, half of them for each client.
in_ack() {
	OPENED=$(act client "$ROUTES
sent = [0] * len(ways)
while min(sent) < 4:
    assert len(socks) < 800, sent
    for i, (proxy, dst, header) in enumerate(ways):
        sock = bound(proxy)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        sock.connect((dst, 25))
        sock.sendall(header)
        given(sock)
        sent[i] += segments(sock) == 2
        socks.append(sock)
print(len(socks))")
}

@test "a header with the ACK that ends the handshake identifies the client" {
	proxy_pair
	in_ack
	named $((OPENED / 2))
	act server "socks = accept(door, $OPENED)"
	ended
}

@test "a header after deferred accept identifies the client" {
	proxy_pair
	act server 'door.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)'
	act client "$ROUTES
for proxy, dst, header in ways:
    socks += connect(proxy, dst, 25)"
	origins '0 0 0 0 0 0'
	act client 'for sock, way in zip(socks, ways): give(sock, way[2])'
	named 4
	act server 'socks = accept(door, 8)'
	ended
}

@test "a header on a connection made with a SYN cookie, in its ACK or later, identifies the client" {
	sysctl ipv4/tcp_syncookies 2
	proxy_pair
	in_ack
	act server "assert counter('SyncookiesRecv') == $OPENED"
	named $((OPENED / 2))
	act client 'for proxy, dst, header in ways:
    socks += connect(proxy, dst, 25)
    give(socks[-1], header)'
	act server "assert counter('SyncookiesRecv') == $OPENED + 8"
	named $((OPENED / 2 + 4))
	act server "socks = accept(door, $OPENED + 8)"
	ended
}

@test "a header in the SYN of TCP fast open identifies the client, before the handshake is done" {
	sysctl ipv4/tcp_fastopen 3
	proxy_pair
	act server 'door.close(); door = listen(None, 25, options=[(socket.IPPROTO_TCP, 23, 100)])'
	# The first connection of each family gets the cookie, and its header follows the handshake.
	act client "$ROUTES
def fast(proxy, dst, header, hears=True):
    sock = bound(proxy)
    sock.setblocking(hears)
    hears or deaf(sock)
    sock.sendto(header, 0x20000000, (dst, 25))
    socks.append(sock)
for way in ways[0], ways[6]: fast(*way)
for sock in socks: given(sock)"
	named 1
	act client 'for way in ways: fast(*way)
for sock in socks: given(sock)'
	act server 'assert counter("TCPFastOpenPassive") == 8, counter("TCPFastOpenPassive")'
	named 5
	act client 'for way in ways: fast(*way, hears=False)'
	act server 'assert counter("TCPFastOpenPassive") == 16, counter("TCPFastOpenPassive")
socks = accept(door, 18)
assert sum(state(sock) == SYN_RECV for sock in socks) == 8'
	named 9
	act client 'for sock in socks[10:]: hear(sock)'
	act server 'until(lambda: all(state(sock) == ESTABLISHED for sock in socks))'
	named 9
	ended
}

@test "a header after a SYN of TCP fast open that had no data identifies the client" {
	sysctl ipv4/tcp_fastopen 3
	proxy_pair
	act server 'door.close(); door = listen(None, 25, options=[(socket.IPPROTO_TCP, 23, 100)])'
	act client "$ROUTES
for proxy, dst, header in ways * 2:
    sock = bound(proxy)
    sock.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
    sock.connect((dst, 25))
    sock.sendall(header)
    given(sock)
    socks.append(sock)"
	named 8
	act server 'socks = accept(door, 16)'
	ended
}

@test "in windows of time a connection is the client's, from when its header comes" {
	proxied_configure 'window = 3600,1'
	load
	proxy_pair
	act client "$ROUTES
for proxy, dst, header in ways:
    socks += connect(proxy, dst, 25)"
	act server 'socks = accept(door, 8)'
	expect_count 0 --window 3600,1
	act client 'for sock, way in zip(socks, ways): give(sock, way[2])'
	named 4
	expect_count 4 --window 3600,1 198.51.100.7
	expect_count 4 --window 3600,1 2001:db8:f::7
	expect_count 8 --window 3600,1
	act client 'socks += connect("10.0.0.7", "192.0.2.1", 25)
socks.pop().close()'
	wait_until expect_count 1 --window 3600,1 10.0.0.7
	act server 'socks += accept(door, 1)'
	expect_count 9 --window 3600,1
	ended
}
