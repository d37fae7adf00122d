# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# What servers do with their sockets: pass them on, share them, close one half, reuse them.

load ../lib/common
load ../lib/actors
load ../lib/instance

setup() {
	actors_setup
}

teardown() {
	actors_teardown
}

@test "a session whose socket is passed to another process counts until that closes it" {
	pair
	actor worker
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 8)"
	act server 'socks = accept(door, 8)'
	act worker "import os; path = '$TEST_DIR/pass.sock'
gate = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); gate.bind(path); gate.listen()"
	act server "first = send_sockets('$TEST_DIR/pass.sock', socks[:4])
close(socks[:4]); del socks[:4]"
	counted 8 # no process holds four of them: they are in transit
	act worker 'socks, pipe = receive_sockets(gate, 4)'
	counted 8
	act worker 'socks.pop().close()'
	counted 7
	# In transit, and never received: the kernel discards them with the message.
	act server "second = send_sockets('$TEST_DIR/pass.sock', socks[:2])
close(socks[:2]); del socks[:2]"
	counted 7
	act worker 'gate.accept()[0].close()'
	counted 5
	actor_kill server
	counted 3
	actor_kill worker
	nothing_left
}

@test "a session whose socket fork or dup has copied ends with the last close" {
	pair
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 6)"
	act server 'socks = accept(door, 3)
first = fork_holder()
socks += accept(door, 3)
second = fork_holder()
copy = socks[5].dup()
close(socks)'
	counted 6
	act server 'end(second)'
	counted 4 # the first three by `first`, the sixth by its copy
	act client 'reset(socks[:1]); del socks[:1]'
	wait_until expect_count 3
	act server 'end(first)'
	counted 1
	act server 'copy.close()'
	nothing_left
}

@test "sessions half-closed by either side, with data in transit, count until they end" {
	pair
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 6)"
	act server 'socks = sorted(accept(door, 6), key=lambda sock: sock.getpeername()[1])'
	act client 'socks.sort(key=lambda sock: sock.getsockname()[1])
for sock in socks[:3]:
    sock.send(b"data"); sock.shutdown(socket.SHUT_WR)'
	act server 'for sock in socks[3:]:
    sock.send(b"data"); sock.shutdown(socket.SHUT_WR)
until(lambda: all(state(sock) == CLOSE_WAIT for sock in socks[:3]))'
	counted 6
	# The side that may still write reads, and answers.
	act server 'for sock in socks[:3]:
    assert sock.recv(9) == b"data" and sock.recv(9) == b""; sock.send(b"more")'
	act client 'for sock in socks[3:]:
    assert sock.recv(9) == b"data" and sock.recv(9) == b""; sock.send(b"more")'
	counted 6
	# Ended by the server's close, by a RST for unread data, by both FINs.
	act server 'socks[0].close()'
	counted 5
	act client 'socks[3].close()'
	act server 'until(lambda: state(socks[3]) == CLOSED)'
	counted 4
	act server 'socks[1].shutdown(socket.SHUT_WR); until(lambda: state(socks[1]) == CLOSED)'
	counted 3
	act client 'reset(socks[2:3])'
	act server 'until(lambda: state(socks[2]) == CLOSED)'
	counted 2
	act server 'close(socks)'
	nothing_left
}

@test "an IPv4 peer of a dual-stack socket counts as IPv4" {
	pair
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 2)
socks += connect('::ffff:10.1.2.3', '::ffff:192.0.2.1', 25, 2)
socks += connect('2001:db8::7', '2001:db8::1', 25, 3)"
	act server 'socks = accept(door, 7)
assert all(sock.family == socket.AF_INET6 for sock in socks)'
	counted 7
	expect_count 4 10.1.2.3
	expect_count 4 ::ffff:10.1.2.3
	expect_count 3 2001:db8::7
	expect_count 3 ::/0
	act server 'door.close(); close(socks[:1])
door = listen("::ffff:192.0.2.1", 25)' # an IPv6 socket, bound to an IPv4 address
	act client "socks += connect('10.1.2.3', '192.0.2.1', 25, 2)"
	act server 'socks = socks[1:] + accept(door, 2)'
	counted 8
	expect_eq 5 "$(state listeners.0.ipv4.live)" 'of IPv4'
	act client 'reset(socks[1:3])'
	wait_until expect_count 6
	counted 6
	act server 'door.close(); close(socks)'
	nothing_left
}

@test "connect(2) to AF_UNSPEC ends a session; its socket can then listen for others" {
	pair
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 3)"
	act server 'socks = accept(door, 3); disconnect(socks[0])
assert state(socks[0]) == CLOSED'
	counted 2
	# The socket may listen now, also on the port of a configured listener.
	act server 'again = socks.pop(0); door.close()
again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
again.bind(("::ffff:192.0.2.9", 25)); again.listen()'
	act client "socks += connect('10.1.2.3', '192.0.2.9', 25, 2)"
	act server 'socks += accept(again)'
	counted 4
	act server 'again.close()'
	counted 3
	act client 'disconnect(socks[-2])' # the accepted one: sends a RST to the server
	act server 'until(lambda: state(socks[-1]) == CLOSED)'
	counted 2
	act server 'close(socks)'
	nothing_left
}
