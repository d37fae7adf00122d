# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The accept queue: full, reset, closed, or migrated to another listener; and a server that accepts
# before the kernel has reported the session.

load ../lib/common
load ../lib/actors
load ../lib/instance

setup() {
	actors_setup
}

teardown() {
	actors_teardown
}

@test "closing a listener ends all sessions in its full accept queue" {
	local established
	actor server
	actor client
	act server "door = listen('192.0.2.1', 25, backlog=16)"
	# More than the queue has room for: connections that do not fit are not established on the
	# server's side, though their clients may see them so.
	act client '
for i in range(40):
    sock = bound("10.1.2.%d" % (3 + i % 4))
    sock.setblocking(False)
    sock.connect_ex(("192.0.2.1", 25))
    socks.append(sock)
until(lambda: sum(state(sock) == ESTABLISHED for sock in socks) >= 17)'
	established=$(in_ns ss -Htn state established 'sport = :25' | wc -l)
	expect_eq 17 "$established" 'sessions in the queue'
	[ "$(act server "print(counter('ListenOverflows'))")" -gt 0 ] || fail 'it did not overflow'
	counted 17
	act client 'reset(socks[:3]); del socks[:3]'
	wait_until expect_same_as_ss
	act server 'door.close()'
	nothing_left
	act client 'close(socks)'
	nothing_left
}

# expect_same_as_ss: expects the count that ss(8) finds.
expect_same_as_ss() {
	expect_count "$(in_ns ss -Htn state established state close-wait 'sport = :25' | wc -l)"
}

@test "all connections of an overfull accept queue are counted once the server has accepted them" {
	# With SYN cookies, the server would not remember the connections that did not fit.
	sysctl ipv4/tcp_syncookies 0
	actor server
	actor client
	act server "door = listen('192.0.2.1', 25, backlog=4)"
	act client '
for i in range(12):
    sock = bound("10.1.2.3")
    sock.setblocking(False)
    sock.connect_ex(("192.0.2.1", 25))
    socks.append(sock)'
	# Connections that did not fit try again every second or two.
	act server 'socks = accept(door, 12)'
	counted 12
	act server 'close(socks)'
	act client 'close(socks)'
	nothing_left
}

@test "3,000 resets at once, and resets at full speed, leave no session counted" {
	requires churn
	local n
	n=$(scaled 500 10)
	pair
	act client "
for i in range(6):
    socks += connect('10.1.2.%d' % (3 + i), '192.0.2.1', 25, $n)
linger0(socks)"
	act server "socks = accept(door, $((3 * n)))" # the others are in the queue
	counted $((6 * n))
	actor_kill client
	wait_until expect_count 0
	counted 0
	act server "close(accept(door, $((3 * n)))); close(socks)"
	act server 'door.close()'
	nothing_left
	n=$(scaled 40000 500)
	expect 0 in_ns "$BUILD/tests/churn" --procs 4 --connections "$n" --to 192.0.2.1:25 \
		--from-base 10.1.2.3 --addresses 4 --end reset
	nothing_left
	[ "$(state listeners.0.opened)" -ge "$n" ] || fail 'not all of them were counted'
}

# reuseport: starts two servers on one port, and has the kernel migrate the queue of one that
# closes.
reuseport() {
	local name
	[ -e /proc/sys/net/ipv4/tcp_migrate_req ] || skip 'the kernel has no tcp_migrate_req'
	sysctl ipv4/tcp_migrate_req 1
	for name in one two; do
		actor "$name"
		act "$name" "door = listen('192.0.2.1', 25, options=[(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)])"
	done
	actor client
}

@test "SO_REUSEPORT: the queue of a listener that closes moves to the other, and stays counted" {
	reuseport
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 40)"
	counted 40
	act one 'socks = accept(door); door.close()'
	expect_eq 1 "$(in_ns ss -Htln 'sport = :25' | wc -l)" listeners
	counted 40
	act client 'reset(socks[:5]); del socks[:5]' # whichever they are
	wait_until expect_same_as_ss
	# The server can still accept sessions that were reset in the queue.
	act two '
door.settimeout(1)
while True:
    try:
        socks.append(door.accept()[0])
    except TimeoutError:
        break'
	expect_same_as_ss
	act one 'close(socks)'
	act two 'close(socks)'
	nothing_left
}

@test "SO_REUSEPORT: a handshake under way continues at the other listener, and is counted" {
	reuseport
	act client '
for i in range(10):
    sock = bound("10.1.2.3")
    sock.setblocking(False)
    deaf(sock)
    sock.connect_ex(("192.0.2.1", 25))
    socks.append(sock)'
	counted 0
	act one 'door.close()'
	act client 'for sock in socks: hear(sock)
until(lambda: all(state(sock) == ESTABLISHED for sock in socks))'
	act two 'socks = accept(door, 10)'
	counted 10
	act two 'close(socks)'
	nothing_left
}

@test "a session accepted and closed before the kernel reports it leaves no count" {
	local snatch
	mkfifo "$TEST_DIR/go"
	exec 8<>"$TEST_DIR/go"
	start_in_ns "$BUILD/tests/snatch" "$(scaled 15000 200)" 192.0.2.1 25 10.1.2.3 <"$TEST_DIR/go" \
		>"$TEST_DIR/told" 8>&-
	snatch=$STARTED
	wait_until -t 60 grep closed "$TEST_DIR/told"
	# The server has closed all of them; the clients have closed none.
	counted 0
	exec 8>&-
	wait "$snatch"
	nothing_left
}
