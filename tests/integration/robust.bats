# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# What befalls a server in earnest: processes killed, networks that vanish, storms of resets,
# and every way the kernel has to make a connection. After each, every count is what the
# kernel's own list of sockets says, and nothing is left when all is closed.

load ../lib/common
load ../lib/instance

declare -gA ACTORS=()

setup() {
	instance_setup
	# What the server has closed stays a socket for as long as the client holds on, so that
	# it is the close that ends a session and not the end of the socket.
	sysctl ipv4/tcp_fin_timeout 120
	configure <<-'END'
		[smtp]
		listen = *:25
		service = SMTP
	END
	load
}

teardown() {
	local name
	for name in "${!ACTORS[@]}"; do
		actor_kill "$name"
	done
	instance_teardown
}

# actor NAME [NETNS]: starts tests/tools/actor.py, in the test's cgroup and network namespace
# or in that of the file NETNS.
actor() {
	if [ $# -gt 1 ]; then
		start_in_ns nsenter --net="$2" -- \
			python3 -I -S "$TOOLS/actor.py" "$TEST_DIR/$1.sock"
	else
		start_in_ns python3 -I -S "$TOOLS/actor.py" "$TEST_DIR/$1.sock"
	fi
	ACTORS[$1]=$STARTED
	wait_until test -S "$TEST_DIR/$1.sock"
}

# act NAME [CODE]: has an actor do CODE, or what is on stdin.
act() {
	if [ $# -gt 1 ]; then
		"$BUILD/tests/tell" "$TEST_DIR/$1.sock" <<<"$2"
	else
		"$BUILD/tests/tell" "$TEST_DIR/$1.sock"
	fi
}

# actor_kill NAME: SIGKILL; when this returns, all it held is closed.
actor_kill() {
	kill -KILL "${ACTORS[$1]}" 2>/dev/null || :
	wait "${ACTORS[$1]}" 2>/dev/null || :
	unset "ACTORS[$1]"
	rm -f "$TEST_DIR/$1.sock"
}

# pair: a server that listens on *:25 as `door`, and a client.
pair() {
	actor server
	actor client
	act server 'door = listen(None, 25)'
}

# counted N: N sessions, by the total, by the kernel's socket list, and on every level.
counted() {
	expect_count "$1"
	expect 0 conncount verify
	expect_match "^0 differences: [0-9]+ prefixes of $1 sessions compared, 0 in flight" "$output"
}

# nothing_left: all is closed, and that is what is counted.
nothing_left() {
	counted 0
	expect 0 conncount status --json
	expect_eq 0 "$(json nodes <<<"$output")" nodes
	expect_eq 0 "$(json uncounted <<<"$output")" uncounted
	expect_eq 0 "$(json lost <<<"$output")" lost
	expect_eq "$(json listeners.0.opened <<<"$output")" \
		"$(json listeners.0.closed <<<"$output")" 'opened and closed'
}

# sysctl PATH VALUE: in the test's network namespace.
sysctl() {
	# shellcheck disable=SC2016
	in_ns sh -c 'echo "$2" >"/proc/sys/net/$1"' - "$1" "$2"
}

# --- processes killed -------------------------------------------------------------------------

@test "kill -9 of servers that hold 10,000 sessions" {
	local n
	n=$(scaled 1000)
	sessions_start
	sessions <<-END >/dev/null
		listen 192.0.2.1:25 one
		listen 192.0.2.2:25 two
		listen [2001:db8::1]:25 two
		open $((4 * n)) 10.0.0.1+ 192.0.2.1:25
		open $((4 * n)) 10.0.8.1+ 192.0.2.2:25
		open $((2 * n)) 2001:db8:1::1+ [2001:db8::1]:25
		queue $((n / 5)) 10.9.0.1+ 192.0.2.1:25
		shut client 1-$((n / 2))
		shut server $((n / 2 + 1))-$n
	END
	counted $((10 * n + n / 5))
	sessions kill one
	counted $((6 * n))
	expect_count 0 10.0.0.0/21
	expect_count $((4 * n)) 10.0.0.0/19
	sessions kill two
	nothing_left
}

@test "kill -9 of clients with 10,000 sessions: counted until the server closes" {
	local n
	n=$(scaled 1000)
	sessions_start
	sessions listen '*:25'
	sessions open $((7 * n)) 10.0.0.1+ 192.0.2.1:25 >/dev/null
	sessions open $((3 * n)) 2001:db8:1::1+ '[2001:db8::1]:25' >/dev/null
	sessions queue $((n / 10)) 10.9.0.1+ 192.0.2.1:25 >/dev/null
	sessions kill client
	counted $((10 * n + n / 10))
	sessions accept
	sessions close server 1-$((5 * n))
	counted $((5 * n + n / 10))
	sessions close server
	nothing_left
}

@test "kill -9 of the command, wherever it is" {
	requires speed
	local i pid killed=0 command commands=(list 'list -4 31' 'list --json' verify status count
		'count 10.0.0.0/9')
	sessions_start
	sessions listen '*:25'
	sessions open 4000 10.0.0.1+ 192.0.2.1:25 >/dev/null
	sessions open 500 2001:db8:1::1+ '[2001:db8::1]:25' >/dev/null

	# In the middle of its output: nobody reads the pipe.
	mkfifo "$TEST_DIR/pipe"
	exec 9<>"$TEST_DIR/pipe"
	conncount list >"$TEST_DIR/pipe" 3>&- &
	pid=$!
	wait_until grep -q pipe_write "/proc/$pid/wchan" "/proc/$pid/stack"
	kill -KILL "$pid"
	ended "$pid"
	expect_eq 137 "$ended" 'exit status of list'
	exec 9>&-
	counted 4500

	# And at any time.
	for i in {1..70}; do
		command=${commands[i % ${#commands[@]}]}
		# shellcheck disable=SC2086
		conncount $command >/dev/null 2>&1 3>&- &
		pid=$!
		sleep "0.00$((RANDOM % 10))"
		kill -KILL "$pid" 2>/dev/null || :
		ended "$pid"
		[ "$ended" != 137 ] || killed=$((killed + 1))
	done
	[ "$killed" -ge 10 ] || fail "only $killed were killed"
	counted 4500
	sessions open 1 10.7.7.7 192.0.2.1:25
	expect_count 1 10.7.7.7
	sessions close server
	nothing_left
}

# ended PID: waits for it; its exit status is $ended.
ended() {
	ended=0
	wait "$1" 2>/dev/null || ended=$?
}

# --- the network --------------------------------------------------------------------------------

# cabled: the actors `server` and `client`, in network namespaces of their own, a and b, that
# are joined by a cable.
cabled() {
	local ns
	for ns in a b; do
		: >"$TEST_DIR/$ns"
		unshare --net="$TEST_DIR/$ns" true
	done
	actor server "$TEST_DIR/a"
	actor client "$TEST_DIR/b"
	nsenter --net="$TEST_DIR/a" -- ip link add cable type veth \
		peer name cable netns "${ACTORS[client]}"
	for ns in a:1 b:2; do
		nsenter --net="$TEST_DIR/${ns%:*}" -- sh -ec "
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

@test "the server's network namespace is deleted under its open sessions" {
	cabled
	discard a
	counted 8
	expect_count 5 198.18.0.0/24
	act client 'socks.pop().close()'
	act server 'socks.pop(0).close()'
	counted 7
	# Nothing is left in it after this, so it goes: with it goes the cable's other end.
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

@test "the client's network namespace is deleted: nobody tells the server" {
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

@test "the kernel gives a connection up: no answer in time" {
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

@test "an administrator kills connections: ss -K" {
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

# --- the accept queue, resets -------------------------------------------------------------------

@test "a listener closes with a full accept queue" {
	local established
	actor server
	actor client
	act server "door = listen('192.0.2.1', 25, backlog=16)"
	# More than there is room for: connections that do not fit are not established, whatever
	# their clients think.
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

# expect_same_as_ss: as many as the kernel says.
expect_same_as_ss() {
	expect_count "$(in_ns ss -Htn state established state close-wait 'sport = :25' | wc -l)"
}

@test "a full accept queue is worked off" {
	# With cookies, nobody remembers the connections that did not fit.
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
	# Those that did not fit try again, each second or two.
	act server 'socks = accept(door, 12)'
	counted 12
	act server 'close(socks)'
	act client 'close(socks)'
	nothing_left
}

@test "a storm of resets: 3,000 sessions at once, then at full speed" {
	requires churn
	local n
	n=$(scaled 500)
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
	n=$(scaled 40000)
	expect 0 in_ns "$BUILD/tests/churn" --procs 4 --connections "$n" --to 192.0.2.1:25 \
		--from-base 10.1.2.3 --addresses 4 --end reset
	nothing_left
	[ "$(state listeners.0.opened)" -ge "$n" ] || fail 'not all of them were counted'
}

# --- handshakes of other kinds ------------------------------------------------------------------

@test "SYN cookies" {
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

# fastopen: a server with TCP fast open, and a client that has its cookie.
fastopen() {
	sysctl ipv4/tcp_fastopen 3
	actor server
	actor client
	act server "door = listen('192.0.2.1', 25, options=[(socket.IPPROTO_TCP, 23, 100)])"
	act client '
def fast(data=b"EHLO"):
    sock = bound("10.1.2.3")
    sock.setblocking(True)
    sock.sendto(data, 0x20000000, ("192.0.2.1", 25))  # MSG_FASTOPEN
    return sock
def fast_deaf():
    sock = bound("10.1.2.3")
    sock.setblocking(False)
    deaf(sock)
    sock.sendto(b"EHLO", 0x20000000, ("192.0.2.1", 25))
    return sock
fast().close()'
	act server 'close(accept(door))'
	expect_count 0
}

# fastopens N: N connections were made that way.
fastopens() {
	expect_eq "$1" "$(act server "print(counter('TCPFastOpenPassive'))")" 'fast opens'
}

@test "TCP fast open" {
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

@test "TCP fast open: before the handshake is done" {
	fastopen
	# The server has the data and may answer, but its SYN+ACK is not heard.
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

@test "deferred accept: a session from its first data on" {
	actor server
	actor client
	act server "door = listen('192.0.2.1', 25, options=[(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)])"
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 6)"
	# The clients are connected, but there is no connection yet on the server's side.
	counted 0
	act client 'for sock in socks[:3]: sock.send(b"EHLO")'
	wait_until expect_count 3
	counted 3
	act server 'socks = accept(door, 2)'
	act client 'socks[3].close(); reset(socks[4:5])'
	wait_until expect_count 4 # the FIN made one
	counted 4
	act server 'socks += accept(door, 2); close(socks)'
	counted 0
	act client 'socks[5].send(b"EHLO")'
	wait_until expect_count 1
	act server 'door.close()'
	nothing_left
}

# reuseport: two servers on one port, with migration of what a closed one had in its queue.
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

@test "SO_REUSEPORT: the queue of a listener that closes goes to the other" {
	reuseport
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 40)"
	counted 40
	act one 'socks = accept(door); door.close()'
	expect_eq 1 "$(in_ns ss -Htln 'sport = :25' | wc -l)" listeners
	counted 40
	act client 'reset(socks[:5]); del socks[:5]' # whichever they are
	wait_until expect_same_as_ss
	# Those that were reset in the queue can still be accepted.
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

@test "SO_REUSEPORT: a handshake under way goes to the other listener" {
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

# --- sockets and processes ----------------------------------------------------------------------

@test "a socket passed to another process, the original closed" {
	pair
	actor worker
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 8)"
	act server 'socks = accept(door, 8)'
	act worker "import os; path = '$TEST_DIR/pass.sock'
gate = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); gate.bind(path); gate.listen()"
	act server "first = send_sockets('$TEST_DIR/pass.sock', socks[:4])
close(socks[:4]); del socks[:4]"
	counted 8 # four of them in nobody's hands: under way
	act worker 'socks, pipe = receive_sockets(gate, 4)'
	counted 8
	act worker 'socks.pop().close()'
	counted 7
	# Under way, and never received: the kernel throws them away with the message.
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

@test "sockets shared by fork and dup end with the last close" {
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

@test "half-closed sessions, either way, with data on their way" {
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
	# Read by the side that may still write, which then answers.
	act server 'for sock in socks[:3]:
    assert sock.recv(9) == b"data" and sock.recv(9) == b""; sock.send(b"more")'
	act client 'for sock in socks[3:]:
    assert sock.recv(9) == b"data" and sock.recv(9) == b""; sock.send(b"more")'
	counted 6
	# Closed for good: by the server, by a RST for data that is not read, by both FINs.
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

@test "dual-stack sockets: an IPv4 peer is IPv4, whatever the sockets are" {
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
door = listen("::ffff:192.0.2.1", 25)' # an IPv6 socket that is bound to an IPv4 address
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

@test "a session disconnected by connect(2) to AF_UNSPEC, and its socket used again" {
	pair
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 3)"
	act server 'socks = accept(door, 3); disconnect(socks[0])
assert state(socks[0]) == CLOSED'
	counted 2
	# It may listen now, on a port that is nobody's or on that of a configured listener.
	act server 'again = socks.pop(0); door.close()
again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
again.bind(("::ffff:192.0.2.9", 25)); again.listen()'
	act client "socks += connect('10.1.2.3', '192.0.2.9', 25, 2)"
	act server 'socks += accept(again)'
	counted 4
	act server 'again.close()'
	counted 3
	act client 'disconnect(socks[-2])' # the one that was accepted: a RST to the server
	act server 'until(lambda: state(socks[-1]) == CLOSED)'
	counted 2
	act server 'close(socks)'
	nothing_left
}

# --- multipath TCP ------------------------------------------------------------------------------

# multipath: an MPTCP server, and a client.
multipath() {
	requires mptcp
	actor server
	actor client
	act server "door = listen('192.0.2.1', 25, proto=MPTCP)"
}

# subflows: how many TCP connections the server's side has open.
subflows() {
	in_ns ss -Htn state established 'sport = :25' | wc -l
}

has_subflows() {
	expect_eq "$1" "$(subflows)" subflows
}

@test "MPTCP listener: plain TCP clients and MPTCP clients" {
	multipath
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 5)
socks += connect('10.1.2.4', '192.0.2.1', 25, 4, proto=MPTCP)"
	act server 'socks = sorted(accept(door, 9), key=lambda sock: sock.getpeername()[0])
assert [sock.getpeername()[0] for sock in socks] == ["10.1.2.3"] * 5 + ["10.1.2.4"] * 4'
	counted 9
	expect_count 5 10.1.2.3
	expect_count 4 10.1.2.4
	# The client closes, or the server does, or either resets.
	act client 'socks.pop(0).close(); reset(socks[:1]); del socks[0]
socks.pop().close()'
	wait_until expect_count 8
	act server 'close(socks)'
	nothing_left # though the client has not closed
	act client "close(socks); socks = connect('10.1.2.4', '192.0.2.1', 25, 3, proto=MPTCP)"
	wait_until expect_count 3
	counted 3
	act server 'door.close()' # with all three in its queue
	wait_until nothing_left
}

# joined [accepted]: an MPTCP session of two subflows, from 10.1.2.3 and 10.1.2.4; accepted by the
# server, or in its queue.
joined() {
	multipath
	in_ns ip mptcp limits set subflow 2 add_addr_accepted 2
	in_ns ip mptcp endpoint add 10.1.2.4 dev lo subflow
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, proto=MPTCP); socks[0].send(b'EHLO')"
	if [ $# -gt 0 ]; then
		act server 'socks = accept(door); assert socks[0].recv(9) == b"EHLO"; socks[0].send(b"250")'
		act client 'assert socks[0].recv(9) == b"250"'
	fi
	wait_until has_subflows 2
	act server 'assert counter("MPJoinAckRx") == 1'
}

# subflow_kill ADDRESS: the server's side of the subflow from there is torn down.
subflow_kill() {
	in_ns ss -K dst "$1" sport = :25 | grep -q "$1" || skip 'ss -K: the kernel cannot'
}

@test "MPTCP: a joined subflow is no session of its own" {
	joined accepted
	counted 1
	expect_count 1 10.1.2.3
	expect_count 0 10.1.2.4
	# The joined one goes, and comes again.
	in_ns ip mptcp endpoint flush
	wait_until has_subflows 1
	counted 1
	in_ns ip mptcp endpoint add 10.1.2.5 dev lo subflow
	wait_until has_subflows 2
	counted 1
	# A load that finds it open does not count it twice either.
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

@test "MPTCP on a dual-stack socket: IPv6 clients, and IPv4 ones by their own address" {
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

@test "MPTCP: the first subflow goes, a joined one stays: it is the same session" {
	joined accepted
	subflow_kill 10.1.2.3
	wait_until has_subflows 1
	counted 1
	expect_count 1 10.1.2.3
	expect_count 0 10.1.2.4
	# Also for a load that finds only that one.
	expect 0 conncount unload
	load
	counted 1
	expect_count 1 10.1.2.3
	act server 'socks[0].send(b"354")'
	act client 'assert socks[0].recv(9) == b"354"'
	act server 'close(socks)'
	nothing_left
}

@test "MPTCP: no subflow is left: no session; and one joins again: it is one again" {
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

@test "MPTCP: the server is killed, with joined subflows, and the client stays" {
	joined accepted
	counted 1
	actor_kill server
	nothing_left
}

@test "MPTCP: queued, with joined subflows, and the listener closes or its process dies" {
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

@test "MPTCP: open before the load: accepted ones are counted, queued ones once accepted" {
	joined accepted
	expect 0 conncount unload
	act client "socks += connect('10.1.2.5', '192.0.2.1', 25, 2, proto=MPTCP)"
	# The load waits until they are accepted.
	conncount load -c "$CONFIG" --cgroup "$CGROUP" >"$TEST_DIR/loading" 2>&1 3>&- &
	wait_until grep -q 'wait to be accepted' "$TEST_DIR/loading"
	act server 'socks += accept(door, 2)'
	wait $! || fail "$(cat "$TEST_DIR/loading")"
	remember
	counted 3
	expect_count 2 10.1.2.5
	# Or it gives up, and says so, until the next load.
	expect 0 conncount unload
	act client "socks += connect('10.1.2.7', '192.0.2.1', 25, 2, proto=MPTCP)"
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match '2 connections .* not accepted' "$errors"
	remember
	expect 1 conncount status
	expect_eq 2 "$(state uncounted)" uncounted
	expect_count 3
	act server 'socks += accept(door, 2)'
	load
	counted 5
	expect 0 conncount status
	act server 'close(socks)'
	nothing_left
}

# --- what is no session -------------------------------------------------------------------------

@test "a socket connected to itself is no session" {
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

@test "a simultaneous open is no session" {
	actor server
	actor client
	# The answer to the first SYN, a RST, is not heard. The second one meets a socket that
	# is connecting itself.
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

# --- the server is faster than the kernel -------------------------------------------------------

@test "accepted and closed before the kernel has told of it" {
	local snatch
	mkfifo "$TEST_DIR/go"
	exec 8<>"$TEST_DIR/go"
	start_in_ns "$BUILD/tests/snatch" "$(scaled 15000)" 192.0.2.1 25 10.1.2.3 <"$TEST_DIR/go" \
		>"$TEST_DIR/told" 8>&-
	snatch=$STARTED
	wait_until -t 60 grep closed "$TEST_DIR/told"
	# The server has closed all of them; the clients have closed none.
	counted 0
	exec 8>&-
	wait "$snatch"
	nothing_left
}
