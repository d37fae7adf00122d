# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Multipath TCP: a connection is one session, however many subflows it has.

load ../lib/common
load ../lib/actors
load ../lib/multipath
load ../lib/instance

setup() {
	actors_setup
}

teardown() {
	actors_teardown
}

@test "MPTCP: plain TCP and MPTCP clients of an MPTCP listener are counted" {
	multipath
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 5)
socks += connect('10.1.2.4', '192.0.2.1', 25, 4, proto=MPTCP)"
	act server 'socks = sorted(accept(door, 9), key=lambda sock: sock.getpeername()[0])
assert [sock.getpeername()[0] for sock in socks] == ["10.1.2.3"] * 5 + ["10.1.2.4"] * 4'
	counted 9
	expect_count 5 10.1.2.3
	expect_count 4 10.1.2.4
	# The client closes a session of each protocol, and resets one.
	act client 'socks.pop(0).close(); reset(socks[:1]); del socks[0]
socks.pop().close()'
	wait_until expect_count 8
	act server 'close(socks)'
	nothing_left # though the client has not closed its ends
	act client "close(socks); socks = connect('10.1.2.4', '192.0.2.1', 25, 3, proto=MPTCP)"
	wait_until expect_count 3
	counted 3
	act server 'door.close()' # with all three in its queue
	wait_until nothing_left
}

# subflow_kill ADDRESS: destroys the server's end of the subflow from ADDRESS.
subflow_kill() {
	in_ns ss -K dst "$1" sport = :25 | grep -q "$1" || skip 'ss -K: the kernel cannot'
}

@test "MPTCP: a joined subflow is not counted as a session of its own" {
	joined accepted
	counted 1
	expect_count 1 10.1.2.3
	expect_count 0 10.1.2.4
	# The joined subflow ends, and another joins.
	in_ns ip mptcp endpoint flush
	wait_until has_subflows 1
	counted 1
	in_ns ip mptcp endpoint add 10.1.2.5 dev lo subflow
	wait_until has_subflows 2
	counted 1
	# A load that finds the session open does not count it twice either.
	expect 0 conncount unload
	load
	counted 1
	expect_count 1 10.1.2.3
	act client "socks += connect('10.1.2.3', '192.0.2.1', 25)"
	wait_until expect_count 2
	act server 'close(socks); close(accept(door))'
	nothing_left
	act client 'close(socks)'
}

@test "MPTCP: on a dual-stack socket, IPv4 and IPv6 clients are counted by their own addresses" {
	multipath
	act server "door.close(); door = listen(None, 25, proto=MPTCP)"
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 2, proto=MPTCP)
socks += connect('2001:db8:7::1', '2001:db8::1', 25, 3, proto=MPTCP)"
	wait_until expect_count 5
	counted 5
	act server 'socks = accept(door, 5)'
	counted 5
	expect_count 2 10.1.2.3
	expect_count 3 2001:db8:7::/48
	expect 0 conncount unload
	load
	counted 5
	expect_count 2 10.1.2.3
	act server 'close(socks)'
	nothing_left
}

@test "MPTCP: a session whose first subflow ends stays the same session if a joined one stays" {
	joined accepted
	subflow_kill 10.1.2.3
	wait_until has_subflows 1
	counted 1
	expect_count 1 10.1.2.3
	expect_count 0 10.1.2.4
	# A load that finds only the joined subflow also counts the session for its first address.
	expect 0 conncount unload
	load
	counted 1
	expect_count 1 10.1.2.3
	act server 'socks[0].send(b"354")'
	act client 'assert socks[0].recv(9) == b"354"'
	act server 'close(socks)'
	nothing_left
}

@test "MPTCP: a session without subflows is not counted; it is again when one joins" {
	joined accepted
	subflow_kill 10.1.2.3
	subflow_kill 10.1.2.4
	wait_until has_subflows 0
	nothing_left
	in_ns ip mptcp endpoint flush
	in_ns ip mptcp endpoint add 10.1.2.6 dev lo subflow
	wait_until has_subflows 1
	counted 1
	expect_count 1 10.1.2.3
	act server 'close(socks)'
	nothing_left
}

@test "MPTCP: kill -9 of the server ends a session with joined subflows, though the client stays" {
	joined accepted
	counted 1
	actor_kill server
	nothing_left
}

@test "MPTCP: queued sessions end when the listener closes, with joined subflows, or its process dies" {
	joined
	counted 1
	act server 'door.close()'
	wait_until nothing_left
	act server "door = listen('192.0.2.1', 25, proto=MPTCP)"
	act client "socks += connect('10.1.2.3', '192.0.2.1', 25, 2, proto=MPTCP)"
	wait_until expect_count 2
	actor_kill server
	wait_until nothing_left
}

@test "MPTCP: queued sessions that migrate to another listener are gone once it closes them" {
	local share='options=[(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]'
	requires mptcp
	in_ns sh -c 'echo 1 >/proc/sys/net/ipv4/tcp_migrate_req'
	actor server
	actor client
	act server "first = listen('192.0.2.1', 25, proto=MPTCP, $share)
second = listen('192.0.2.1', 25, proto=MPTCP, $share)"
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 20, proto=MPTCP)"
	wait_until expect_count 20
	act server 'first.close()'
	act server 'second.setblocking(False)
socks = []
try:
    while True: socks.append(second.accept()[0])
except BlockingIOError: pass'
	act server 'close(socks); second.close()'
	wait_until nothing_left
	act client 'close(socks)'
}

@test "MPTCP: of sessions already open, load counts accepted ones, and queued ones once accepted" {
	local n=0 loader
	joined accepted
	while ((n < 20)); do
		expect 0 conncount unload
		act client "socks += connect('10.1.2.5', '192.0.2.1', 25, 2, proto=MPTCP)"
		n=$((n + 2))
		# The load waits until the server has accepted them.
		conncount load -c "$CONFIG" --cgroup "$CGROUP" >"$TEST_DIR/loading" 2>&1 3>&- &
		loader=$!
		wait_until grep -qE 'wait to be accepted|not accepted' "$TEST_DIR/loading"
		act server 'socks += accept(door, 2)'
		wait "$loader" || fail "$(cat "$TEST_DIR/loading")"
		remember
		# If this test was paused, the load has given up, after five seconds: repeat it.
		grep 'not accepted' "$TEST_DIR/loading" || break
	done
	counted $((n + 1))
	expect_count $n 10.1.2.5
	# If the server does not, the load gives up and says so; the next load counts them.
	expect 0 conncount unload
	act client "socks += connect('10.1.2.7', '192.0.2.1', 25, 2, proto=MPTCP)"
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match '2 connections .* not accepted' "$errors"
	remember
	expect 1 conncount status
	expect_eq 2 "$(state uncounted)" uncounted
	expect_count $((n + 1))
	act server 'socks += accept(door, 2)'
	load
	counted $((n + 3))
	expect 0 conncount status
	act server 'close(socks)'
	nothing_left
}

@test "MPTCP: in windows of time a session is one connection, also if it starts again" {
	configure_smtp_with 'window = 3600,1'
	load
	joined accepted
	counted 1
	subflow_kill 10.1.2.3
	subflow_kill 10.1.2.4
	wait_until has_subflows 0
	in_ns ip mptcp endpoint flush
	in_ns ip mptcp endpoint add 10.1.2.6 dev lo subflow
	wait_until has_subflows 1
	counted 1
	expect_count 1 --window 3600,1
	expect_count 1 --window 3600,1 10.1.2.3
	act server 'close(socks)'
	expect_count 1 --window 3600,1
}
