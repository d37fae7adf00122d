# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Loads of configurations with limits: what is in force during and after them, which totals go on,
# and what is left when limits end.

load ../lib/common
load ../lib/actors
load ../lib/churn
load ../lib/limits
load ../lib/instance

teardown() {
	local rc=0
	churn_end || rc=1
	actors_teardown || rc=1
	return $rc
}

NEWER=$BUILD/tests/newer/conncount # version 0.1.99

@test "a limit that a load brings, raises or lowers is in force at once, for open sessions, too" {
	serve
	limits
	opens 3 10.1.2.3 192.0.2.1:25
	opens 2 2001:db8:7::1 '[2001:db8::1]:25'
	limits 'limit = /32,/128 over 3 reset'
	refused 10.1.2.3 192.0.2.1:25
	opens 1 2001:db8:7::1 '[2001:db8::1]:25'
	refused 2001:db8:7::1 '[2001:db8::1]:25'
	limits 'limit = /32,/128 over 4 reset'
	opens 1 10.1.2.3 192.0.2.1:25
	refused 10.1.2.3 192.0.2.1:25
	limits 'limit = /32,/128 over 5 reset' 'limit = /24,/64 over 4 reset'
	refused 10.1.2.4 192.0.2.1:25
	limits 'limit = /32,/128 over 5 reset' 'limit = /24,/64 over 4 log'
	opens 1 10.1.2.3 192.0.2.1:25
	refused 10.1.2.3 192.0.2.1:25
	limits 'limit = /32,/128 over 5 reset' 'exempt = 10.1.2.3'
	opens 1 10.1.2.3 192.0.2.1:25
	limits 'limit = /32,/128 over 5 reset' 'exempt = 10.1.2.4'
	refused 10.1.2.3 192.0.2.1:25
	limits
	opens 1 10.1.2.3 192.0.2.1:25
	counted 10
}

@test "a limit concerns the sessions of a listener that a load has added, and not of one removed" {
	serve '*:25' '*:26'
	configure_smtp
	load
	opens 2 10.1.2.3 192.0.2.1:26
	configure_smtp '[more]' 'listen = *:26' 'limit = /32,/128 over 2 reset'
	load
	refused 10.1.2.3 192.0.2.1:26
	opens 3 10.1.2.3 192.0.2.1:25
	configure_smtp
	load
	opens 1 10.1.2.3 192.0.2.1:26
	# Those that were counted still count on their listener, and the new one does not.
	configure_smtp '[more]' 'listen = *:26' 'limit = /32,/128 over 3 reset'
	load
	refused 10.1.2.3 192.0.2.1:26
	counted 6
}

@test "50 loads with changed limits refuse nobody who is below all of them" {
	local i limit
	serve 192.0.2.9:25
	limits 'limit = /24,/64 over 100000 reset'
	churn_start 192.0.2.1:25 4
	for ((i = $(scaled 50 5); i > 0; i--)); do
		limit="limit = /$((8 * (1 + i % 4))),/64 over $((100000 + i)) reset"
		case $((i % 5)) in
		0) limits "$limit" ;;
		1) limits "$limit" 'limit = /32,/128 over 200000 reset' ;;
		2) limits_with "max_prefixes = $((100000 + i))" "$limit" ;;
		3) limits 'limit = /32,/128 over 200000 log' ;;
		4) limits ;;
		esac >>"$TEST_DIR/loads"
		[ ! -e "$CONNCOUNT_DIR/live/refused" ] || expect_limited '' refused
	done
	grep -q 'new maps' "$TEST_DIR/loads"
	churn_end
	wait_until nothing_left
}

# knocks: starts to try to connect from 10.1.2.3 without pause, and to finish handshakes that
# wait for a place: by a byte from each of the client's sockets.
knocks() {
	act client '
import threading
tried, got_in, stopped = 0, 0, False
for sock in socks:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
def knock():
    global tried, got_in
    while not stopped:
        tried += 1
        got_in += not refused("10.1.2.3", "192.0.2.1", 25)
def push():
    while not stopped:
        for sock in socks:
            sock.send(b"x")
            time.sleep(0.001)
threads = [threading.Thread(target=what) for what in (knock, push)]
for thread in threads: thread.start()'
}

# knocked: stops that, and expects that nobody got in.
knocked() {
	act client "
stopped = True
for thread in threads: thread.join()
assert tried >= $(scaled 100), tried
assert not got_in, got_in"
	counted 10
}

@test "no connection over a limit gets in while loads change limits, programs and maps" {
	local i
	sysctl ipv4/tcp_syncookies 0
	pair
	limits 'limit = /24,/64 over 10 reset'
	act client "
for i in range(40):
    sock = bound('10.1.2.%d' % (10 + i))
    sock.setblocking(False)
    deaf(sock)
    sock.connect_ex(('192.0.2.1', 25))
    socks.append(sock)
for sock in socks: hear(sock)
until(lambda: all(state(sock) == ESTABLISHED for sock in socks))"
	act server 'socks = accept(door, 10)'
	knocks
	for ((i = $(scaled 8 2); i > 0; i--)); do
		limits 'limit = /24,/64 over 10 reset' 'limit = /32,/128 over 10 reset'
		limits 'limit = /16,/64 over 9 reset' 'limit = /24,/64 over 10 reset'
		expect 0 "$NEWER" load -c "$CONFIG" --cgroup "$CGROUP"
		expect_match 'configuration unchanged' "$output"
		remember
		expect 0 limits_with "max_prefixes = $((100000 + i))" 'limit = /24,/64 over 10 reset'
		expect_match 'new maps' "$output"
		expect 0 limits 'limit = /24,/64 over 10 reset'
	done
	knocked
	act client 'reset(socks)'
	act server 'close(socks); door.close()'
	wait_until nothing_left
}

# --- totals ---------------------------------------------------------------------------------------

@test "a load that adds and removes limits loses no total of one that stays, and refuses meanwhile" {
	requires strace speed
	local limit='limit = /32,/128 over 2 reset' more
	serve
	limits "$limit"
	opens 2 10.1.2.3 192.0.2.1:25
	actor flood
	act flood "
import threading
seen, over = 0, threading.Event()
def storm():
    global seen
    while not over.is_set():
        assert refused('10.1.2.3', '192.0.2.1', 25)
        seen += 1
thread = threading.Thread(target=storm)
thread.start()"
	# With a pause before each of its system calls, between any two something is refused.
	for more in 'limit = /24,/64 over 9 reset' ''; do
		configure_smtp "$limit" ${more:+"$more"}
		expect 0 strace -f -qq -o /dev/null -e trace=bpf -e inject=bpf:delay_enter=1000 \
			conncount load -c "$CONFIG" --cgroup "$CGROUP"
		remember
	done
	expect_limited "refused $(act flood 'over.set(); thread.join(); print(seen)') would 0" refusals
}

@test "totals go on over loads, as long as their limit stays the same" {
	serve
	limits 'limit = /32,/128 over 2 reset' 'limit = /24,/64 over 1 log'
	opens 2 10.1.2.3 192.0.2.1:25
	refused 10.1.2.3 192.0.2.1:25
	expect_limited $'refused 1 would 0\nrefused 0 would 1' refusals
	# Unchanged; in another order, with one more; other programs.
	load
	expect_limited $'refused 1 would 0\nrefused 0 would 1' refusals
	limits 'limit = /24,/64 over 1 log' 'limit = /16,/48 over 1 log' 'limit = /32,/128 over 2 reset'
	opens 1 10.1.2.4 192.0.2.1:25
	refused 10.1.2.3 192.0.2.1:25
	expect_limited $'refused 0 would 2\nrefused 0 would 1\nrefused 2 would 0' refusals
	expect 0 "$NEWER" load -c "$CONFIG" --cgroup "$CGROUP"
	remember
	expect_limited $'refused 0 would 2\nrefused 0 would 1\nrefused 2 would 0' refusals
	# Over new maps.
	expect 0 limits_with 'max_prefixes = 1000' 'limit = /32,/128 over 2 reset' \
		'limit = /24,/64 over 1 log' 'limit = /16,/48 over 1 log'
	expect_match 'new maps' "$output"
	refused 10.1.2.3 192.0.2.1:25
	expect_limited $'refused 3 would 0\nrefused 0 would 2\nrefused 0 would 1' refusals
	# One changes; another one, which is for the same networks, does not continue its totals.
	limits_with 'max_prefixes = 1000' 'limit = /32,/128 over 3 reset' 'limit = /24,/64 over 1 log'
	expect_limited $'refused 0 would 0\nrefused 0 would 2' refusals
	limits_with 'max_prefixes = 1000' 'limit = /24,/64 over 1 reset'
	expect_limited 'refused 0 would 0' refusals
	refused 10.1.2.3 192.0.2.1:25
	# Over new maps and changed.
	limits_with 'max_prefixes = 1001' 'limit = /24,/64 over 2 reset'
	expect_limited 'refused 0 would 0' refusals
	counted 3
}

@test "a limit that is taken away and comes back begins at 0" {
	serve
	limits 'limit = /32,/128 over 2 reset' 'limit = /24,/64 over 100 log'
	opens 2 10.1.2.3 192.0.2.1:25
	refused 10.1.2.3 192.0.2.1:25
	limits 'limit = /24,/64 over 100 log'
	limits 'limit = /24,/64 over 100 log' 'limit = /32,/128 over 2 reset'
	expect_limited $'refused 0 would 0\nrefused 0 would 0' refusals
	refused 10.1.2.3 192.0.2.1:25
	expect_limited $'refused 0 would 0\nrefused 1 would 0' refusals
	limits
	limits 'limit = /32,/128 over 2 reset'
	expect_limited 'refused 0 would 0' refusals
	expect_limited '' refused
}

# --- what is left ---------------------------------------------------------------------------------

# about_limits: prints the pins that there are only with limits, and the programs of the test's
# network namespace.
about_limits() {
	find "$CONNCOUNT_DIR" -regextype egrep \
		-regex '.*/(limits|exempt|places|refusals|refused|gated|ack_gate|syn_gate.*)' -printf '%f\n'
	"$BUILD/tests/objects" attached "$TEST_DIR/net"
}

# left_over: opens sessions up to a limit of 2, and leaves a place: where the server sends SYN cookies,
# the ACK gate cannot tell that an ACK is forged.
left_over() {
	sysctl ipv4/tcp_syncookies 2
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25)
forge('10.1.2.3', 99, '192.0.2.1', 25, ACK)"
	expect_limited 'held 1 nodes 1' places
	expect_match 'syn_gate-[0-9]+' "$(about_limits)"
	expect_match 'prog [0-9]+' "$(about_limits)"
}

@test "a load without limits, or one that only logs, leaves no program, map, link or place" {
	pair
	limits 'limit = /32,/128 over 2 reset' 'exempt = 10.9.9.9'
	left_over
	limits 'limit = /32,/128 over 2 log'
	[[ $(about_limits) != *_gate* && $(about_limits) != *prog* ]] || fail "$(about_limits)"
	expect_limited 'held 0 nodes 0' places
	act client "socks += connect('10.1.2.3', '192.0.2.1', 25, 3)"
	counted 4
	expect_limited 'refused 0 would 2' refusals
	limits
	expect_eq '' "$(about_limits)"
	counted 4
	act server 'close(accept(door, 4))'
	act client 'close(socks)'
	nothing_left
	limits 'limit = /32,/128 over 2 reset'
	left_over
	limits
	expect_eq '' "$(about_limits)"
	expect_limited 'held 0 nodes 0' places
	act server 'close(accept(door))'
	nothing_left
	[ -z "$("$BUILD/tests/objects" left "$TEST_DIR/net" </dev/null)" ] || fail 'programs are left'
}

@test "a rebuild without limits leaves no program, map, link or place either" {
	pair
	limits 'limit = /32,/128 over 2 reset'
	left_over
	configure_smtp_with 'max_prefixes = 1000'
	load
	expect_eq '' "$(about_limits)"
	expect_limited 'held 0 nodes 0' places
	act server 'close(accept(door))'
	nothing_left
}

@test "unload leaves no program in any network namespace, and nothing is refused" {
	pair
	limits 'limit = /32,/128 over 1 reset'
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25)
assert refused('10.1.2.3', '192.0.2.1', 25)"
	remember
	expect 0 conncount unload
	act client "socks += connect('10.1.2.3', '192.0.2.1', 25)"
	expect_eq '' "$("$BUILD/tests/objects" left "$CGROUP_PATH" "$TEST_DIR/net" <"$TEST_DIR/bpf-ids")"
	act server 'close(accept(door, 2))'
}
