# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Network namespaces that are deleted, hosts that do not answer, connections that are killed.

load ../lib/common
load ../lib/actors
load ../lib/instance

setup() {
	actors_setup
}

teardown() {
	actors_teardown
}

# cabled: starts the actors `server` and `client` in network namespaces a and b, joined by a veth
# pair, and opens 8 sessions, of which the server accepts 6.
cabled() {
	local ns
	for ns in a b; do
		: >"$TEST_DIR/$ns"
		unshare --net="$TEST_DIR/$ns" true
	done
	actor server "$TEST_DIR/a"
	actor client "$TEST_DIR/b"
	nsenter --net="$TEST_DIR/a" -- ip link add cable type veth \
		peer name cable netns "$TEST_DIR/b"
	for ns in a:1 b:2; do
		# The kernel deletes a namespace only after its last socket: let none linger.
		nsenter --net="$TEST_DIR/${ns%:*}" -- sh -ec "
			echo 1 >/proc/sys/net/ipv4/tcp_fin_timeout
			ip address add 198.18.0.${ns#*:}/24 dev cable
			ip address add fd00::${ns#*:}/64 dev cable nodad
			ip link set cable up"
	done
	wait_until nsenter --net="$TEST_DIR/b" -- ip -6 route get fd00::1 from fd00::2
	act server 'door = listen(None, 25)'
	act client "socks = connect('198.18.0.2', '198.18.0.1', 25, 5)
socks += connect('fd00::2', 'fd00::1', 25, 3)"
	act server 'socks = accept(door, 6)'
	wait_until expect_count 8
}

# discard NS: deletes a namespace as `ip netns delete` does.
discard() {
	umount "$TEST_DIR/$1"
	rm "$TEST_DIR/$1"
}

@test "sessions stay counted until they end, though the server's network namespace is deleted" {
	cabled
	discard a
	counted 8
	expect_count 5 198.18.0.0/24
	act client 'socks.pop().close()'
	act server 'socks.pop(0).close()'
	counted 7
	# This empties the namespace, so the kernel deletes it, and with it both ends of the cable.
	actor_kill server
	nothing_left
	wait_until -t 60 no_cable b
	actor_kill client
	discard b
	nothing_left
}

no_cable() {
	! nsenter --net="$TEST_DIR/$1" -- ip link show cable
}

@test "sessions count until the server closes them, though the client's network namespace is deleted" {
	cabled
	act client 'linger0(socks)'
	nsenter --net="$TEST_DIR/b" -- ip link set cable down
	discard b
	actor_kill client
	wait_until -t 60 no_cable a
	counted 8
	act server 'socks += accept(door, 2)
close(socks[:4]); del socks[:4]'
	counted 4
	actor_kill server
	nothing_left
	discard a
}

@test "a session ends when the kernel gives up its connection for want of an answer" {
	pair
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 3)"
	act server 'socks = accept(door, 3)
for sock in socks[:2]:
    sock.setsockopt(socket.IPPROTO_TCP, 18, 300)  # TCP_USER_TIMEOUT, ms'
	act client 'for sock in socks: deaf(sock)'
	counted 3
	act server 'for sock in socks[:2]: sock.send(b"x")
until(lambda: state(socks[0]) == state(socks[1]) == CLOSED)'
	counted 1
	act server 'close(socks)'
	nothing_left
}

@test "sessions that an administrator kills with ss -K end" {
	pair
	in_ns ss -K sport = :25 >/dev/null 2>&1 || skip 'ss -K: the kernel cannot'
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 4)"
	act server 'socks = accept(door, 3)'
	counted 4
	in_ns ss -K src 192.0.2.1 >/dev/null
	wait_until expect_count 0
	act server 'close(socks); close(accept(door))'
	nothing_left
}
