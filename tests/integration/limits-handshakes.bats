# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Limits, and the kernel's unusual ways to establish a connection. And handshakes that fail after a
# place was reserved for them: nobody is refused because of these for long.

load ../lib/common
load ../lib/actors
load ../lib/limits
load ../lib/multipath
load ../lib/instance

# ungated LINE...: limits, in a network namespace that has no listener yet, and so no SYN gate: the
# ACK gate alone refuses.
ungated() {
	limits "$@"
	[ ! -e "$CONNCOUNT_DIR/live/syn_gate-$(stat -L -c %i "$TEST_DIR/net")" ] || fail 'a SYN gate'
}

no_places() {
	expect_limited 'held 0 nodes 0' places
}

# forgers: starts a server, a client, and somebody who forges addresses, on another CPU if there is
# one.
forgers() {
	pair
	actor forger
	act forger 'stay(0)'
	act client 'stay(-1)'
}

# cookied: from now on the server answers each SYN by a cookie. The ACK gate cannot tell whether an ACK
# has a right one, and reserves a place for all.
cookied() {
	sysctl ipv4/tcp_syncookies 2
	act client "extra = connect('10.77.0.1', '192.0.2.1', 25)"
	act server 'close(accept(door))'
	act client 'close(extra)'
	wait_until expect_count 0
	no_places
}

@test "forged ACKs hold one place on their CPU, until another connection needs it" {
	forgers
	limits 'limit = /24,/64 over 1 reset' 'limit = /16,/48 over 5 reset'
	cookied
	act forger 'for i in range(1, 100): forge("10.1.2.%d" % i, 99, "192.0.2.1", 25, ACK)'
	expect_limited 'held 2 nodes 2' places # in a /24 and its /16
	counted 0
	act client "socks = connect('10.1.2.200', '192.0.2.1', 25)"
	# While the place is fresh, the client's ACK is dropped. After a cookie the server repeats nothing,
	# but the client does.
	act client 'socks[0].send(b"EHLO")'
	wait_until expect_count 1
	no_places
	act forger 'for i in range(1, 100): forge("2001:db8:7::%x" % i, 99, "2001:db8::1", 25, ACK)'
	expect_limited 'held 2 nodes 2' places
	counted 1
	act client "socks += connect('2001:db8:7::200', '2001:db8::1', 25)
socks[1].send(b'EHLO')"
	wait_until expect_count 2
	no_places
	# While a network is full, they hold none.
	act forger 'for i in range(1, 100): forge("10.1.2.%d" % i, 99, "192.0.2.1", 25, ACK)'
	no_places
	act server 'socks = accept(door, 2); close(socks)'
	nothing_left
}

@test "the next packet to a listener on the same CPU gives back a place that was left" {
	forgers
	act client 'stay(0)'
	limits 'limit = /24,/64 over 1 reset'
	cookied
	act forger 'forge("10.1.2.9", 99, "192.0.2.1", 25, ACK)'
	expect_limited 'held 1 nodes 1' places
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25)"
	act server 'socks = accept(door)'
	no_places
	counted 1
	# The client's ACK was not dropped.
	expect_limited 'refused 0 would 0' refusals
	act forger 'forge("2001:db8::9", 99, "2001:db8::1", 25, ACK)'
	expect_limited 'held 1 nodes 1' places
	act client "socks += connect('10.2.0.3', '192.0.2.1', 25)"
	act server 'socks += accept(door)'
	no_places
	counted 2
	act server 'close(socks)'
	nothing_left
}

@test "an ACK with a wrong number reserves no place, and the half-open connection gets in" {
	forgers
	limits 'limit = /32,/128 over 1 reset'
	act client "
for i in range(10):
    sock = bound('10.1.2.3')
    sock.setblocking(False)
    deaf(sock)
    sock.connect_ex(('192.0.2.1', 25))
    socks.append(sock)
print(*(sock.getsockname()[1] for sock in socks))" >"$TEST_DIR/ports"
	no_places
	act forger "for port in map(int, '$(<"$TEST_DIR/ports")'.split()): forge('10.1.2.3', port, '192.0.2.1', 25, ACK)"
	no_places
	counted 0
	act client "hear(socks[0]); reset(socks[1:])
until(lambda: state(socks[0]) == ESTABLISHED)"
	wait_until expect_count 1
	act server 'socks = accept(door)'
	no_places
	counted 1
	act client 'assert refused("10.1.2.3", "192.0.2.1", 25)'
	act server 'close(socks); door.close()'
	nothing_left
}

@test "verify finds no difference while places are left, and nothing lists their networks" {
	forgers
	limits 'limit = /32,/128 over 2 reset' 'limit = /24,/64 over 2 reset'
	cookied
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25)"
	act server 'socks = accept(door)'
	act forger 'forge("10.1.2.3", 99, "192.0.2.1", 25, ACK)'
	expect_limited 'held 2 nodes 2' places
	counted 1
	expect_count 1 10.1.2.0/24
	expect_eq '1 10.1.2.3/32' "$(conncount list -4 32 | xargs)" list
	# The nodes stay until the place is given back.
	act server 'close(socks)'
	counted 0
	expect_limited 'held 2 nodes 2' places
	expect_eq '' "$(conncount list)" list
	act forger "socks = connect('10.9.0.1', '192.0.2.1', 25)"
	act server 'close(accept(door))'
	nothing_left
}

@test "TCP fast open: data in a SYN opens no session over the limit" {
	ungated 'limit = /32,/128 over 3 reset'
	fastopen
	act client 'socks = [fast() for _ in range(3)]'
	act server 'socks = accept(door, 3)'
	fastopens 3
	counted 3
	act client 'extra = [fast_deaf() for _ in range(4)]
for sock in extra: hear(sock)'
	fastopens 3
	counted 3
	no_places
	# A repeated SYN gets in when a place is free.
	act server 'close(socks[:1]); del socks[:1]; socks += accept(door)'
	counted 3
	# With a SYN gate, they are refused at once.
	load
	act client '
try:
    fast()
except ConnectionRefusedError:
    print("refused")' | grep -qx refused
	act client 'reset(extra)'
	act server 'close(socks); door.close()'
	wait_until nothing_left
}

@test "TCP fast open: a SYN without data leaves a place, which does not count" {
	ungated 'limit = /32,/128 over 1 reset'
	fastopen
	act client '
stay(0)
sock = bound("10.1.2.3"); sock.setblocking(False); deaf(sock)
sock.connect_ex(("192.0.2.1", 25)); socks.append(sock)'
	expect_limited 'held 1 nodes 1' places
	counted 0
	act client 'reset(socks); socks = [fast()]'
	act server 'socks = accept(door)'
	wait_until expect_count 1
	no_places
	act server 'close(socks)'
	nothing_left
}

@test "SYN cookies: exactly the limit gets in, the others are reset" {
	local n
	n=$(scaled 20 5)
	sysctl ipv4/tcp_syncookies 2
	pair
	limits "limit = /24,/64 over $n reset"
	act client "
for i in range(3 * $n):
    sock = bound('10.1.2.%d' % (1 + i % 100))
    sock.setblocking(False)
    deaf(sock)
    sock.connect_ex(('192.0.2.1', 25))
    socks.append(sock)
for sock in socks: hear(sock)
until(lambda: all(state(sock) in (ESTABLISHED, CLOSED) for sock in socks))"
	act server "socks = accept(door, $n); assert counter('SyncookiesRecv') >= $n"
	counted "$n"
	no_places
	act client "until(lambda: sum(state(sock) == ESTABLISHED for sock in socks) == $n)
assert refused('10.1.2.200', '192.0.2.1', 25)"
	act server 'close(socks)'
	nothing_left
}

@test "deferred accept: the limit is of connections with data; others hold one place" {
	actor server
	actor client
	act server "door = listen('192.0.2.1', 25, options=[(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)])"
	limits 'limit = /32,/128 over 3 reset'
	act client "stay(0); socks = connect('10.1.2.3', '192.0.2.1', 25, 6)"
	expect_limited 'held 1 nodes 1' places
	counted 0
	# Data opens them, until the limit is reached.
	act client 'for sock in socks: sock.send(b"EHLO")'
	wait_until expect_count 3
	act server 'socks = accept(door, 3)'
	counted 3
	act client 'assert refused("10.1.2.3", "192.0.2.1", 25)'
	no_places
	# Data is repeated, and so gets the next one in when a place is free.
	act server 'close(socks[:1]); del socks[:1]; socks += accept(door)'
	counted 3
	act client 'reset(socks)'
	act server 'close(socks); door.close()'
	nothing_left
}

@test "after the accept queue has overflowed, exactly the limit gets in" {
	sysctl ipv4/tcp_syncookies 0
	actor server
	actor client
	actor other
	act server "door = listen('192.0.2.1', 25, backlog=16)"
	limits 'limit = /24,/64 over 8 reset'
	act client "
stay(0)
for i in range(6):
    sock = bound('10.1.2.%d' % (1 + i))
    sock.setblocking(False)
    deaf(sock)
    sock.connect_ex(('192.0.2.1', 25))
    socks.append(sock)"
	act server 'door.listen(1)'
	act client 'for sock in socks: hear(sock)
until(lambda: all(state(sock) == ESTABLISHED for sock in socks))'
	act server 'assert counter("ListenOverflows") > 0'
	counted 2
	expect_limited 'held 1 nodes 1' places
	act client 'reset(socks)'
	act server 'close(accept(door, 2)); door.listen(100)'
	wait_until expect_count 0
	act other "stay(-1); socks = connect('10.1.2.9', '192.0.2.1', 25, 8)"
	act server 'socks = accept(door, 8)'
	counted 8
	no_places
	act client 'assert refused("10.1.2.9", "192.0.2.1", 25)'
	act server 'close(socks); door.close()'
	nothing_left
}

@test "SO_REUSEPORT: a handshake that continues at another listener is limited as before" {
	local share='options=[(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]'
	[ -e /proc/sys/net/ipv4/tcp_migrate_req ] || skip 'the kernel has no tcp_migrate_req'
	sysctl ipv4/tcp_migrate_req 1
	actor server
	actor client
	act server "first = listen('192.0.2.1', 25, $share); door = listen('192.0.2.1', 25, $share)"
	limits 'limit = /24,/64 over 4 reset'
	act client '
for i in range(10):
    sock = bound("10.1.2.3")
    sock.setblocking(False)
    deaf(sock)
    sock.connect_ex(("192.0.2.1", 25))
    socks.append(sock)'
	act server 'first.close()'
	act client 'for sock in socks: hear(sock)
until(lambda: all(state(sock) == ESTABLISHED for sock in socks))'
	act server 'socks = accept(door, 4)'
	counted 4
	no_places
	act client 'assert refused("10.1.2.4", "192.0.2.1", 25); reset(socks)'
	act server 'close(socks); door.close()'
	nothing_left
}

@test "a SYN to a socket in TIME_WAIT gets in below the limit, and is refused over it" {
	pair
	limits 'limit = /24,/64 over 1 reset'
	act client '
def reuse(connect):
    sock = new("10.1.2.3")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("10.1.2.3", 2500))
    return sock, connect(sock, ("192.0.2.1", 25))'
	act client 'socks = [reuse(socket.socket.connect)[0]]'
	time_wait() {
		act server 'close(accept(door))'
		act client 'close(socks)'
		wait_until waits
	}
	waits() {
		in_ns ss -Htn state time-wait 'sport = :25' | grep -q .
	}
	time_wait
	act client 'socks = [reuse(socket.socket.connect)[0]]'
	counted 1
	time_wait
	act client "socks = connect('10.1.2.4', '192.0.2.1', 25)"
	act server 'socks = accept(door)'
	# The kernel answers the first SYN with an ACK; the client repeats it after its RST.
	act client 'assert reuse(socket.socket.connect_ex)[1] == errno.ECONNREFUSED'
	counted 1
	act server 'close(socks)'
	nothing_left
}


@test "IPv6 extension headers are looked past" {
	ungated 'limit = /32,/64 over 1 reset'
	pair
	act client '
padding = struct.pack("BBBBI", 0, 0, 1, 4, 0)
for i in range(3):
    sock = bound("2001:db8:7::1")
    for option in 54, 59:  # IPV6_HOPOPTS, IPV6_DSTOPTS
        sock.setsockopt(socket.IPPROTO_IPV6, option, padding)
    sock.connect(("2001:db8::1", 25))
    socks.append(sock)'
	act server 'socks = accept(door)'
	counted 1
	# With a SYN gate, too.
	load
	act client 'assert refused("2001:db8:7::2", "2001:db8::1", 25)'
	act client 'reset(socks)'
	act server 'close(socks); door.close()'
	wait_until nothing_left
}

@test "MPTCP: a joined subflow needs no place and gets none over a limit; its session stays" {
	requires mptcp
	ungated 'limit = /32,/128 over 1 reset'
	joined accepted
	counted 1
	no_places
	act client 'reset(connect("10.1.2.3", "192.0.2.1", 25))'
	expect_limited 'refused 1 would 0' refusals
	# Another one, which is over a limit.
	limits 'limit = /24,/64 over 1 reset'
	expect_limited 'refused 0 would 0' refusals
	in_ns ip mptcp endpoint add 10.1.2.5 dev lo subflow
	wait_until refuses
	has_subflows 2
	act client 'socks[0].send(b"354")'
	act server 'assert socks[0].recv(9) == b"354"; socks[0].send(b"250")'
	act client 'assert socks[0].recv(9) == b"250"'
	counted 1
	no_places
	act server 'close(socks)'
	nothing_left
}

refuses() {
	[[ $(limited refusals) != 'refused 0 '* ]]
}
