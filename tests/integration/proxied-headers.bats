# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# What comes where a header should be: each kind is counted, for the proxy or the client.

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

@test "a session of a proxy is in no count until its header comes, and then counted for its client" {
	proxy_pair
	act client 'for proxy in "10.0.0.1", "10.0.0.2", "10.0.0.3": socks += connect(proxy, "192.0.2.1", 25)'
	act server 'socks = accept(door, 3)'
	expect_count 0
	origins '0 0 0 0 0 0' 3
	act client 'give(socks[0], v1("198.51.100.7")); give(socks[1], v1("2001:db8:f::7"))'
	expect_count 2
	expect_count 1 198.51.100.7
	expect_count 1 2001:db8:f::/48
	expect_count 0 10.0.0.0/8
	origins '2 0 0 0 0 0' 1
	act client 'close(socks)'
	act server 'close(socks)'
	expect_count 0
	local left
	mapfile -t left < <(state listeners.0.{awaiting,unidentified})
	expect_eq '0 0' "${left[*]}" 'awaiting, unidentified, after the end'
	expect 0 conncount verify
}

@test "a header in two segments, cut at any byte, is counted for the proxy, as split" {
	local n
	proxy_pair
	act client 'headers = [v1("198.51.100.7"), v1("2001:db8:f::7"), v2("198.51.100.7"),
           v2("2001:db8:f::7"), v2_crc("198.51.100.7")]
cuts = [(header, at) for header in headers for at in range(1, len(header))]
for header, at in cuts:
    socks += connect("10.0.0.7", "192.0.2.1", 25)
    give(socks[-1], header[:at], header[at:])'
	n=$(act client 'print(len(cuts))')
	origins "0 0 0 0 $n 0" 0 "$n"
	expect_count "$n" 10.0.0.7
	act client 'for header in headers:
    socks += connect("10.0.0.7", "192.0.2.1", 25)
    give(socks[-1], header + b"EHLO")'
	origins "5 0 0 0 $n 0" 0 "$n"
	expect_count 3 198.51.100.7
	expect_count 2 2001:db8:f::7
	act server "socks = accept(door, $n + 5)"
	ended
}

@test "garbage is absent; a malformed header or wrong CRC32C malformed; LOCAL and UNKNOWN the proxy's own" {
	proxy_pair
	act client '
def try_each(*headers):
    for header in headers:
        socks.extend(connect("10.0.0.7", "192.0.2.1", 25))
        give(socks[-1], header)
try_each(b"E", b"EHLO\r\n", b"\0" * 3000, b"\r\n\r\n\r", b"PROXIES", b"x" + v2("198.51.100.7"))'
	origins '0 0 6 0 0 0' 0 6
	act client 'try_each(b"PROXY TCP5 ", b"PROXY TCP4 256.0.0.1 ", v2_crc("198.51.100.7", wrong=1),
         v2("198.51.100.7", command=0x31), v2("198.51.100.7", after=b"\4\0\2x"))'
	origins '0 0 6 5 0 0' 0 11
	act client 'try_each(v2("198.51.100.7", command=0x20), b"PROXY UNKNOWN\r\nEHLO\r\n",
         v2("198.51.100.7", transport=0))'
	origins '0 3 6 5 0 0' 0 11
	expect_count 14 10.0.0.7
	expect_count 0 198.51.100.7
	act server 'socks = accept(door, 14)'
	ended
}

@test "a proxy that closes or shuts down without a header is counted for itself, as absent" {
	proxy_pair
	act client '
for proxy, dst in ("10.0.0.7", "192.0.2.1"), ("2001:db8:1::7", "2001:db8::1"):
    socks += connect(proxy, dst, 25, 3)
for sock in socks: sock.shutdown(socket.SHUT_WR)'
	act server 'socks = accept(door, 6); until(lambda: all(state(sock) == CLOSE_WAIT for sock in socks))'
	origins '0 0 6 0 0 0' 0 6
	expect_count 3 10.0.0.7
	expect_count 3 2001:db8:1::7
	act client 'socks += connect("10.0.0.7", "192.0.2.1", 25, 2); reset(socks[6:7]); socks[7].close(); del socks[6:]'
	wait_until origins '0 0 7 0 0 0' 0 7
	act server 'socks += accept(door, 1)'
	ended
}

@test "after the server has shut down its side, a header identifies the client, and a FIN ends the session" {
	proxy_pair
	act client 'socks = connect("10.0.0.7", "192.0.2.1", 25, 3)'
	act server 'socks = accept(door, 3)
for sock in socks: sock.shutdown(socket.SHUT_WR)'
	origins '0 0 0 0 0 0' 3
	act client 'give(socks[0], v1("198.51.100.7")); socks[1].close()'
	wait_until origins '1 0 0 0 0 0' 1
	expect_count 1 198.51.100.7
	expect_count 1
	ended
}

@test "a header from an address that is no proxy is not read" {
	proxy_pair
	act client '
for src, dst in ("10.0.1.7", "192.0.2.1"), ("2001:db8:2::7", "2001:db8::1"):
    for header in v1("198.51.100.7"), v2("2001:db8:f::7"):
        socks += connect(src, dst, 25)
        give(socks[-1], header)
        sock = bound(src)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        sock.connect((dst, 25)); sock.sendall(header); given(sock)
        assert segments(sock) == 2
        socks.append(sock)'
	origins '0 0 0 0 0 0'
	counted 8
	expect_count 4 10.0.1.7
	expect_count 4 2001:db8:2::7
	act server 'socks = accept(door, 8)'
	ended
}

# await N: expects that N sessions await their header.
await() {
	expect_eq "$1" "$(state listeners.0.awaiting)" awaiting
}

# mptcp_pair: a server and a client of MPTCP.
mptcp_pair() {
	requires mptcp
	proxy_pair
	act server 'door.close(); door = listen(None, 25, proto=MPTCP)'
}

@test "MPTCP: a session of a proxy is counted for it, or for its client; a plain one awaits its header" {
	local identified
	mptcp_pair
	act client '
for proxy, dst in ("10.0.0.7", "192.0.2.1"), ("2001:db8:1::7", "2001:db8::1"):
    socks += connect(proxy, dst, 25, 4, proto=MPTCP)
for sock in socks[::2]:
    sock.sendall(v1("198.51.100.7"))'
	wait_until expect_count 8
	await 0
	act server 'socks = accept(door, 8)'
	counted 8
	identified=$(state listeners.0.proxied.identified)
	expect_count "$identified" 198.51.100.7
	origins "$identified 0 0 0 0 $((8 - identified))" 0 $((8 - identified))
	act client 'socks += connect("10.0.0.7", "192.0.2.1", 25, 2)'
	wait_until await 2
	act client 'give(socks[-1], v2("198.51.100.7"))'
	expect_count $((identified + 1)) 198.51.100.7
	act server 'socks += accept(door, 2)'
	ended
}

@test "MPTCP: the subflows of a proxy's session do not await a header" {
	mptcp_pair
	in_ns ip mptcp limits set subflow 2 add_addr_accepted 2
	in_ns ip mptcp endpoint add 10.0.0.9 dev lo subflow
	act client 'socks = connect("10.0.0.7", "192.0.2.1", 25, proto=MPTCP); socks[0].send(v1("198.51.100.7"))'
	act server 'socks = accept(door); socks[0].recv(9); socks[0].send(b"250"); until(lambda: counter("MPJoinAckRx") == 1)'
	act client 'socks[0].recv(9)'
	counted 1
	await 0
	ended
}
