# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Limits: which connections are refused, and which are not.

load ../lib/common
load ../lib/actors
load ../lib/limits
load ../lib/proxies
load ../lib/instance

@test "with a limit of N, connection N + 1 is refused at once; after k sessions end, k more get in" {
	local n k i
	n=$(scaled 100 10)
	k=$((n / 5))
	serve '*:25' 192.0.2.2:25 '[2001:db8::2]:25'
	limits "limit = /32,/128 over $n reset"
	# Of a socket of both families, and of sockets of one.
	for i in 1 2; do
		opens "$n" "10.1.2.$i" "192.0.2.$i:25"
		refused "10.1.2.$i" "192.0.2.$i:25"
		opens "$n" "2001:db8:7::$i" "[2001:db8::$i]:25"
		refused "2001:db8:7::$i" "[2001:db8::$i]:25"
	done
	counted $((4 * n))
	sessions close server "1-$k"
	opens "$k" 10.1.2.1 192.0.2.1:25
	refused 10.1.2.1 192.0.2.1:25
	sessions reset client $((n + 2))-$((n + 1 + k)) # a refused one has a number, too
	opens "$k" 2001:db8:7::1 '[2001:db8::1]:25'
	refused 2001:db8:7::1 '[2001:db8::1]:25'
	counted $((4 * n))
	sessions close server
	nothing_left
}

@test "a limit on /24 and /64 counts all addresses of the network, and of no other" {
	serve
	limits 'limit = /24,/64 over 4 reset'
	opens 4 10.1.2.254+ 192.0.2.1:25 # two addresses of each /24
	opens 2 10.1.2.7+ 192.0.2.1:25
	refused 10.1.2.9 192.0.2.1:25
	opens 2 10.1.3.7 192.0.2.1:25
	refused 10.1.3.9 192.0.2.1:25
	opens 4 2001:db8:7::1+ '[2001:db8::1]:25'
	refused 2001:db8:7:0:ffff:: '[2001:db8::1]:25'
	opens 1 2001:db8:7:1:: '[2001:db8::1]:25'
	expect_limited 'refused 3 would 0' refusals
	expect_limited $'10.1.2.0/24 refused 1 would 0\n10.1.3.0/24 refused 1 would 0
2001:db8:7::/64 refused 1 would 0' refused
	counted 13
}

@test "four limits: a connection is refused by the longest network that is full" {
	serve
	# In an order that is not that of the lengths.
	limits 'limit = /24,/64 over 4 reset' 'limit = /8,/32 over 8 reset' \
		'limit = /32,/128 over 2 reset' 'limit = /16,/48 over 6 reset'
	opens 2 10.1.2.3 192.0.2.1:25
	opens 2 2001:db8:7::3 '[2001:db8::1]:25'
	refused 10.1.2.3 192.0.2.1:25
	refused 2001:db8:7::3 '[2001:db8::1]:25'
	opens 2 10.1.2.4 192.0.2.1:25
	opens 2 2001:db8:7::4 '[2001:db8::1]:25'
	refused 10.1.2.4 192.0.2.1:25 # by its own limit, as well as by that of its /24
	refused 10.1.2.5 192.0.2.1:25
	refused 2001:db8:7::5 '[2001:db8::1]:25'
	opens 2 10.1.3.3 192.0.2.1:25
	opens 2 2001:db8:7:1::3 '[2001:db8::1]:25'
	refused 10.1.4.4 192.0.2.1:25
	refused 2001:db8:7:2::3 '[2001:db8::1]:25'
	opens 2 10.2.0.1 192.0.2.1:25
	opens 2 2001:db8:8::1 '[2001:db8::1]:25'
	refused 10.3.0.1 192.0.2.1:25
	refused 2001:db8:9::1 '[2001:db8::1]:25'
	opens 2 11.1.2.3 192.0.2.1:25
	opens 2 2001:db9::3 '[2001:db8::1]:25'
	expect_limited $'refused 2 would 0\nrefused 2 would 0\nrefused 3 would 0\nrefused 2 would 0' \
		refusals
	expect_limited 'held 0 nodes 0' places
	counted 20
}

@test "log lets connections through, and counts those that reset would refuse" {
	serve
	limits 'limit = /24,/64 over 3 log' 'limit = /32,/128 over 5 log'
	[ ! -e "$CONNCOUNT_DIR/live/ack_gate" ] || fail 'there is a gate'
	opens 3 10.1.2.3 192.0.2.1:25
	opens 3 2001:db8:7::3 '[2001:db8::1]:25'
	expect_limited $'refused 0 would 0\nrefused 0 would 0' refusals
	expect_limited '' refused
	opens 4 10.1.2.3 192.0.2.1:25
	opens 1 10.1.2.4 192.0.2.1:25
	opens 1 2001:db8:7::4 '[2001:db8::1]:25'
	expect_limited $'refused 0 would 6\nrefused 0 would 2' refusals
	expect_limited $'10.1.2.0/24 refused 0 would 5\n10.1.2.3/32 refused 0 would 2
2001:db8:7::/64 refused 0 would 1' refused
	sessions close server 1-6
	opens 1 10.1.2.3 192.0.2.1:25 # the sixth of its /24
	opens 1 2001:db8:7::3 '[2001:db8::1]:25'
	expect_limited $'refused 0 would 7\nrefused 0 would 2' refusals
	counted 8
}

@test "reset and log beside each other: log counts only connections that reset lets through" {
	serve
	limits 'limit = /32,/128 over 4 reset' 'limit = /32,/128 over 2 log' \
		'limit = /24,/64 over 5 log'
	opens 4 10.1.2.3 192.0.2.1:25
	refused 10.1.2.3 192.0.2.1:25
	opens 2 10.1.2.4 192.0.2.1:25
	expect_limited $'refused 1 would 0\nrefused 0 would 2\nrefused 0 would 1' refusals
	counted 6
}

@test "exempt clients get in over a limit, and are not counted as refused; others are refused" {
	serve
	limits 'limit = /16,/48 over 2 reset' 'limit = /16,/48 over 1 log' \
		'exempt = 10.1.2.0/25' 'exempt = 2001:db8:7:0:8000::/65'
	opens 3 10.1.2.127 192.0.2.1:25
	opens 3 2001:db8:7:0:8000:: '[2001:db8::1]:25'
	expect_limited $'refused 0 would 0\nrefused 0 would 0' refusals
	# Sessions of exempt clients count.
	refused 10.1.2.128 192.0.2.1:25
	refused 2001:db8:7:0:7fff:: '[2001:db8::1]:25'
	expect_limited $'refused 2 would 0\nrefused 0 would 0' refusals
	expect_limited $'10.1.0.0/16 refused 1 would 0\n2001:db8:7::/48 refused 1 would 0' refused
	counted 6
}

@test "a limit concerns its listener: others of its service, and other ports, have their own or none" {
	serve '*:25' '*:26' '*:587' '*:27'
	configure <<-'END'
		[mx]
		listen = *:25
		listen = *:26
		service = SMTP
		limit = /32,/128 over 2 reset
		[msa]
		listen = *:587
		service = SMTP
	END
	load
	opens 1 10.1.2.3 192.0.2.1:25
	opens 1 10.1.2.3 192.0.2.1:26
	refused 10.1.2.3 192.0.2.1:25
	refused 10.1.2.3 192.0.2.1:26
	opens 3 10.1.2.3 192.0.2.1:587
	opens 3 10.1.2.3 192.0.2.1:27
	refused 10.1.2.3 192.0.2.1:26
	counted 5
	expect_limited 'refused 3 would 0' refusals
	printf 'limit = /32,/128 over 4 reset\n' >>"$CONFIG"
	load
	opens 1 10.1.2.3 192.0.2.1:587
	refused 10.1.2.3 192.0.2.1:587
	refused 10.1.2.3 192.0.2.1:25
	expect_limited 'refused 1 would 0' refusals 1
}

# echoes: expects that data flows both ways on each of the client's sockets.
echoes() {
	act client 'for sock in socks: sock.send(b"EHLO")'
	act server 'for sock in socks: assert sock.recv(9) == b"EHLO"; sock.send(b"250")'
	act client 'for sock in socks: assert sock.recv(9) == b"250"'
}

@test "an open session is never touched: not by its full network, nor by a limit below the count" {
	pair
	limits 'limit = /24,/64 over 4 reset'
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 4)
socks += connect('2001:db8:7::1', '2001:db8::1', 25, 4)"
	act server 'socks = accept(door, 8)'
	act client 'assert refused("10.1.2.4", "192.0.2.1", 25)'
	echoes
	limits 'limit = /24,/64 over 2 reset'
	act client 'assert refused("10.1.2.4", "192.0.2.1", 25)'
	echoes
	# Only when the count is below the limit does one get in.
	act server 'close(socks[:2]); del socks[:2]'
	act client 'close(socks[:2]); del socks[:2]
assert refused("10.1.2.4", "192.0.2.1", 25)'
	act server 'close(socks[:1]); del socks[:1]'
	act client "close(socks[:1]); del socks[:1]
socks += connect('10.1.2.4', '192.0.2.1', 25); assert refused('10.1.2.4', '192.0.2.1', 25)"
	act server 'socks += accept(door)'
	echoes
	# The sessions end as others do.
	act client 'close(socks)'
	act server 'assert all(sock.recv(9) == b"" for sock in socks); close(socks)'
	nothing_left
}

@test "SYNs that come before any handshake ends: exactly the limit gets in, more as places get free" {
	local n
	n=$(scaled 40 8)
	sysctl ipv4/tcp_syncookies 0
	sysctl ipv4/tcp_max_syn_backlog 4096
	pair
	limits "limit = /24,/64 over $n reset"
	act client "
for i in range($((3 * n))):
    sock = bound('10.1.2.%d' % (1 + i % 100))
    sock.setblocking(False)
    deaf(sock)
    sock.connect_ex(('192.0.2.1', 25))
    socks.append(sock)"
	counted 0
	act client 'for sock in socks: hear(sock)
until(lambda: all(state(sock) == ESTABLISHED for sock in socks))'
	counted "$n"
	expect_limited 'held 0 nodes 0' places
	act client 'assert refused("10.1.2.200", "192.0.2.1", 25)'
	act server "socks = accept(door, $n); close(socks[:4]); del socks[:4]"
	# The server repeats its SYN-ACK every second or two.
	act server 'socks += accept(door, 4)'
	counted "$n"
	act client 'reset(socks)'
	act server 'close(socks); door.close()'
	nothing_left
}

@test "clients that race on several CPUs never get in over the limit, nor fewer" {
	local round
	pair
	actor rival
	limits 'limit = /32,/128 over 7 reset' 'limit = /24,/64 over 20 reset'
	for name in client rival; do
		act "$name" "
def rush():
    for i in range(60):
        sock = bound('10.1.2.%d' % (3 + i % 4))
        sock.setblocking(False)
        sock.connect_ex(('192.0.2.1', 25))
        socks.append(sock)
    # Nobody else is on the way once each is either refused or, it thinks, connected.
    until(lambda: all(state(sock) != SYN_SENT for sock in socks))"
	done
	for ((round = $(scaled 10); round > 0; round--)); do
		act client 'rush()' &
		act rival 'rush()'
		wait $!
		wait_until expect_count 20
		[ "$(conncount list -4 32 | awk '$1 > 7' | wc -l)" -eq 0 ] || fail "$(conncount list -4 32)"
		act client 'reset(socks)'
		act rival 'reset(socks)'
		wait_until expect_count 0
		act server 'close(accept(door, 20))'
	done
	wait_until expect_limited 'held 0 nodes 0' places
	nothing_left
}

@test "while changes of a count are lost, or sessions are being entered, nothing is refused" {
	serve
	limits 'limit = /32,/128 over 2 reset' 'limit = /32,/128 over 1 log'
	opens 2 10.1.2.3 192.0.2.1:25
	refused 10.1.2.3 192.0.2.1:25
	expect_limited $'refused 1 would 0\nrefused 0 would 1' refusals
	limited lose 0 1
	opens 2 10.1.2.3 192.0.2.1:25
	opens 3 2001:db8:7::3 '[2001:db8::1]:25'
	limited lose 0 -1
	refused 10.1.2.3 192.0.2.1:25
	limited seed 1
	opens 2 10.1.2.3 192.0.2.1:25
	opens 1 2001:db8:7::3 '[2001:db8::1]:25'
	limited seed -1
	refused 10.1.2.3 192.0.2.1:25
	refused 2001:db8:7::3 '[2001:db8::1]:25'
	# Nor was anything counted as one that would be.
	expect_limited $'refused 4 would 0\nrefused 0 would 1' refusals
	counted 10
}

@test "a limit refuses again after a load that repairs a count that has lost changes" {
	serve
	limits 'limit = /32,/128 over 2 reset'
	limited lose 0 1
	opens 3 10.1.2.3 192.0.2.1:25
	expect 0 load
	expect_match 'new maps' "$output"
	refused 10.1.2.3 192.0.2.1:25
	sessions close server
	nothing_left
}

@test "after verify has found a wrong count, nothing is refused until a load counts again" {
	serve
	limits 'limit = /32,/128 over 2 reset'
	opens 1 10.1.2.3 192.0.2.1:25
	"$BUILD/tests/plant" "$CONNCOUNT_DIR/live/counts" 9 10.1.2.3 32
	refused 10.1.2.3 192.0.2.1:25
	expect 1 conncount verify
	opens 2 10.1.2.3 192.0.2.1:25
	expect 0 load
	expect_match 'new maps' "$output"
	counted 3
	refused 10.1.2.3 192.0.2.1:25
	sessions close server
	nothing_left
}

@test "sessions that are uncounted leave the limits of other networks, and of their own, in force" {
	serve
	limits_with 'max_prefixes = 5' 'limit = /8,/32 over 3 reset'
	opens 2 10.1.2.3 192.0.2.1:25
	opens 1 10.1.2.4 192.0.2.1:25
	refused 10.1.2.5 192.0.2.1:25
	# There is no room for another network: its sessions are uncounted, and it is not limited.
	opens 5 11.1.2.3 192.0.2.1:25
	expect_eq 5 "$(state uncounted)" uncounted
	refused 10.1.2.3 192.0.2.1:25
	sessions close server 1
	opens 1 10.1.2.3 192.0.2.1:25
	refused 10.1.2.3 192.0.2.1:25
	expect_limited 'refused 3 would 0' refusals
	expect_limited 'held 0 nodes 0' places
	expect_count 3 2>/dev/null
}

@test "windows of time count the connections that get in, beside limits that refuse and log" {
	serve
	limits_with 'window = 3600,1' 'limit = /32,/128 over 3 reset' 'limit = /32,/128 over 1 log'
	opens 3 10.1.2.3 192.0.2.1:25
	refused 10.1.2.3 192.0.2.1:25
	sessions close server 1
	opens 1 10.1.2.3 192.0.2.1:25
	refused 10.1.2.3 192.0.2.1:25
	expect_limited $'refused 2 would 0\nrefused 0 would 3' refusals
	expect_count 4 --window 3600,1 10.1.2.3
	counted 3
}

@test "a listener with proxies beside one with limits: headers are read, and limits in force" {
	actor server
	actor client
	act server 'door = listen(None, 25); mx = listen(None, 26)'
	act client "$HEADERS"
	proxied_configure
	printf '%s\n' '[direct]' 'listen = *:26' 'limit = /24,/64 over 2 reset' >>"$CONFIG"
	load
	act client '
socks = connect("10.0.0.1", "192.0.2.1", 25, 3)
for sock in socks: give(sock, v1("198.51.100.7"))
socks += connect("10.0.0.1", "192.0.2.1", 26, 2)
assert refused("10.0.0.2", "192.0.2.1", 26)'
	act server 'socks = accept(door, 3) + accept(mx, 2)'
	expect_count 3 198.51.100.7
	expect_count 2 10.0.0.1
	counted 5
	act server 'close(socks)'
	nothing_left
}

@test "a member of the group can read what is about limits but not the places; nobody else can" {
	requires setpriv
	local live=$CONNCOUNT_DIR/live map
	serve
	limits_with 'group = daemon' 'limit = /32,/128 over 2 reset' 'exempt = 10.1.2.0/24'
	expect 0 as_user daemon python3 -I -S "$TEST_DIR/copy/bpf.py" readable "$CONNCOUNT_DIR"
	for map in limits exempt refusals refused gated; do
		grep -qx "$live/$map" <<<"$output" || fail "$map cannot be read"
	done
	[[ $output != *places* && $output != *gate ]] || fail "$output"
	expect 0 as_user daemon python3 -I -S "$TEST_DIR/copy/poke.py" "$CONNCOUNT_DIR"
	expect_eq '' "$output" 'what could be done'
	expect 1 as_user nogroup python3 -I -S "$TEST_DIR/copy/bpf.py" readable "$CONNCOUNT_DIR"
}
