# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The kernel's unusual ways to establish a connection, and two that make no session.

load ../lib/common
load ../lib/actors
load ../lib/instance

setup() {
	actors_setup
}

teardown() {
	actors_teardown
}

@test "sessions established with SYN cookies are counted" {
	local before
	sysctl ipv4/tcp_syncookies 2
	pair
	before=$(act server "print(counter('SyncookiesRecv'))")
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 20)
socks += connect('2001:db8::7', '2001:db8::1', 25, 20)"
	act server 'socks = accept(door, 40)'
	expect_eq $((before + 40)) "$(act server "print(counter('SyncookiesRecv'))")" 'cookies'
	counted 40
	expect_count 20 10.1.2.3
	expect_count 20 2001:db8::7
	act client 'reset(socks[:5]); del socks[:5]'
	wait_until expect_count 35
	act server 'close(socks[:20]); del socks[:20]'
	counted 20
	act client "socks += connect('10.1.2.3', '192.0.2.1', 25, 5)"
	counted 25
	act server 'door.close(); close(socks)'
	nothing_left
}

@test "sessions opened with TCP fast open are counted" {
	fastopen
	act client 'socks = [fast() for _ in range(6)]'
	act server 'socks = accept(door, 4)'
	fastopens 6
	counted 6
	expect_count 6 10.1.2.3
	act client 'close(socks[:1]); reset(socks[1:2]); reset(socks[5:]); del socks[5:], socks[:2]'
	wait_until expect_count 4
	counted 4
	act server 'door.close()'
	counted 3
	act server 'close(socks)'
	nothing_left
}

@test "a TCP fast open session is counted before its handshake is complete" {
	fastopen
	# The server has the data and may answer, but the client does not receive its SYN+ACK.
	act client 'socks = [fast_deaf() for _ in range(5)]'
	act server 'socks = accept(door, 4)
assert all(sock.recv(9) == b"EHLO" for sock in socks)
assert all(state(sock) == SYN_RECV for sock in socks)'
	fastopens 5
	counted 5
	act server 'close(socks[:1]); del socks[:1]'
	counted 4
	act server 'reset(socks[:1]); del socks[:1]'
	counted 3
	act client 'hear(socks[2]); hear(socks[3])'
	act server 'until(lambda: all(state(sock) == ESTABLISHED for sock in socks))'
	counted 3
	act server 'door.close()' # with the fifth in its queue
	counted 2
	act server 'close(socks)'
	nothing_left
}

@test "with deferred accept, a session counts from its first data or FIN on" {
	actor server
	actor client
	act server "door = listen('192.0.2.1', 25, options=[(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)])"
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 6)"
	# The clients are connected, but the server's side has no connection yet.
	counted 0
	act client 'for sock in socks[:3]: sock.send(b"EHLO")'
	wait_until expect_count 3
	counted 3
	act server 'socks = accept(door, 2)'
	act client 'socks[3].close(); reset(socks[4:5])'
	wait_until expect_count 4 # the FIN established one
	counted 4
	act server 'socks += accept(door, 2); close(socks)'
	counted 0
	act client 'socks[5].send(b"EHLO")'
	wait_until expect_count 1
	act server 'door.close()'
	nothing_left
}

@test "a socket connected to itself is not counted" {
	actor server
	act server '
for host in "192.0.2.1", "2001:db8::1":
    sock = new(host)
    sock.bind((host, 25)); sock.connect((host, 25))
    assert state(sock) == ESTABLISHED
    socks.append(sock)
    # By the IPv4-mapped address, too.
sock = new("::ffff:192.0.2.3")
sock.bind(("::ffff:192.0.2.3", 25)); sock.connect(("::ffff:192.0.2.3", 25))
socks.append(sock)'
	counted 0
	act server 'close(socks)'
	nothing_left
}

@test "a simultaneous open is not counted" {
	actor server
	actor client
	# The server does not receive the RST that answers its SYN. The client's SYN then meets a
	# socket that is itself connecting.
	act server '
for host in "192.0.2.1", "2001:db8::1":
    sock = new(host)
    sock.bind((host, 25)); sock.setblocking(False); deaf(sock)
    sock.connect_ex(("10.1.2.3" if "." in host else "2001:db8::7", 2500))
    assert state(sock) == SYN_SENT
    hear(sock)
    socks.append(sock)'
	act client '
for src, dst in ("10.1.2.3", "192.0.2.1"), ("2001:db8::7", "2001:db8::1"):
    sock = new(src)
    sock.bind((src, 2500)); sock.connect((dst, 25))
    socks.append(sock)'
	act server 'until(lambda: all(state(sock) == ESTABLISHED for sock in socks))'
	counted 0
	act client 'close(socks)'
	act server 'close(socks)'
	nothing_left
}

@test "a simultaneous open from a port that the kernel chose is not counted" {
	configure <<-'END'
		[high]
		listen = *:2501
	END
	load
	actor server
	actor client
	in_ns sh -c 'echo 2501 2501 >/proc/sys/net/ipv4/ip_local_port_range'
	act server '
sock = new("192.0.2.1")
sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
sock.bind(("192.0.2.1", 0)); sock.setblocking(False); deaf(sock)
sock.connect_ex(("10.1.2.3", 2500))
assert state(sock) == SYN_SENT and sock.getsockname()[1] == 2501
hear(sock)'
	act client '
sock = new("10.1.2.3")
sock.bind(("10.1.2.3", 2500)); sock.connect(("192.0.2.1", 2501))'
	act server 'until(lambda: state(sock) == ESTABLISHED)'
	counted 0
	load
	counted 0
	act client 'sock.close()'
	act server 'sock.close()'
	nothing_left
}
