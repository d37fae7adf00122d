# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Limits, and network namespaces: which have a gate for SYNs, and what happens in one that has none.

load ../lib/common
load ../lib/actors
load ../lib/limits
load ../lib/instance

teardown() {
	[ -z "${CROWD:-}" ] || crowd_end
	actors_teardown
}

# inode FILE: prints the number of a network namespace.
inode() {
	stat -L -c %i "$1"
}

# elsewhere NAME: starts an actor in a network namespace of its own, and has it listen as `door`.
elsewhere() {
	moved() {
		actor "$1" "$TEST_DIR/net2"
		wait_until test -S "$TEST_DIR/$1.sock"
	}
	in_new_ns moved "$1"
	act "$1" 'door = listen(None, 25)'
}

# gates: prints the numbers of the network namespaces that have a pinned gate for SYNs, sorted.
gates() {
	find "$CONNCOUNT_DIR/live" -name 'syn_gate-*' -printf '%f\n' | sed 's/.*-//' | sort -n
}

# sorted LINE...: the same of these lines.
sorted() {
	printf '%s\n' "$@" | sort -n
}

@test "all: every namespace with a listener has gates, and sessions of all add up to a limit" {
	local here there home
	pair
	elsewhere other
	limits 'limit = /32,/128 over 3 reset'
	here=$(inode "$TEST_DIR/net")
	there=$(inode "/proc/${ACTORS[other]}/ns/net")
	home=$(inode /proc/self/ns/net)
	expect_eq "$(sorted "$here" "$there" "$home")" "$(gates)" gates
	expect_eq "$(sorted "$here gated" "$there gated" "$home gated")" "$(limited gated | sort -n)" gated
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 2)"
	act other "socks = connect('10.1.2.3', '192.0.2.1', 25)"
	act client "assert refused('10.1.2.3', '192.0.2.1', 25)"
	act other "assert refused('10.1.2.3', '192.0.2.1', 25)"
	counted 3
	act other 'close(accept(door))'
	act client "socks += connect('10.1.2.3', '192.0.2.1', 25)"
	act other "assert refused('10.1.2.3', '192.0.2.1', 25)"
	act server 'close(accept(door, 3))'
	nothing_left
}

@test "all: a namespace made after the load has one gate, and is noted as such; the next load adds one" {
	local there
	pair
	limits 'limit = /32,/128 over 2 reset'
	elsewhere other
	there=$(inode "/proc/${ACTORS[other]}/ns/net")
	[[ $(limited gated) != *"$there"* ]] || fail "$(limited gated)"
	act other "socks = connect('10.1.2.3', '192.0.2.1', 25, 2)"
	wait_until expect_count 2
	expect_match "(^|[^0-9])$there ungated" "$(limited gated)"
	# The client sees its connection established; the server does not.
	act other "socks += connect('10.1.2.3', '192.0.2.1', 25)
assert not is_open(socks[2])"
	counted 2
	act client "assert refused('10.1.2.3', '192.0.2.1', 25)"
	# In the server's queue as soon as there is a place for it.
	act other 'close(accept(door)); held = accept(door, 2)'
	counted 2
	act other 'reset(socks); close(held)'
	expect 0 load
	expect_match 'configuration unchanged' "$output"
	expect_match "(^|[^0-9])$there gated" "$(limited gated)"
	[[ $(limited gated) != *ungated* ]] || fail "$(limited gated)"
	grep -qx "$there" <<<"$(gates)" || fail "$(gates)"
	act other "socks = connect('10.1.2.3', '192.0.2.1', 25, 2)
assert refused('10.1.2.3', '192.0.2.1', 25); close(socks); close(accept(door, 2))"
	nothing_left
}

@test "all: the next load removes the gate of a namespace that is gone, and no other" {
	local there before
	pair
	elsewhere other
	limits 'limit = /32,/128 over 2 reset'
	there=$(inode "/proc/${ACTORS[other]}/ns/net")
	before=$(gates)
	actor_kill other
	load # the namespace goes a moment after its last process
	removed() {
		load >/dev/null
		expect_eq "$(grep -vx "$there" <<<"$before")" "$(gates)" gates
	}
	wait_until removed
	[[ $(limited gated) != *"$there"* ]] || fail "$(limited gated)"
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 2)
assert refused('10.1.2.3', '192.0.2.1', 25)"
	act server 'close(accept(door, 2))'
	nothing_left
}

@test "own: connections are counted and refused only in the namespace that is counted" {
	pair
	elsewhere other
	configure_smtp_with 'namespaces = own'
	echo 'limit = /32,/128 over 2 reset' >>"$CONFIG"
	nsenter --net="$TEST_DIR/net" -- conncount load -c "$CONFIG" --cgroup "$CGROUP"
	remember
	expect_eq "$(inode "$TEST_DIR/net")" "$(gates)" gates
	act other "socks = connect('10.1.2.3', '192.0.2.1', 25, 4)"
	act other 'assert all(is_open(sock) for sock in socks)'
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 2)
assert refused('10.1.2.3', '192.0.2.1', 25)"
	expect_count 2
	act other "socks += connect('10.1.2.3', '192.0.2.1', 25); assert is_open(socks[4])"
	expect_limited '' gated
	expect_limited 'refused 1 would 0' refusals
	expect_limited 'held 0 nodes 0' places
	# All of them instead, and back. (Before Linux 6.12 a load counts only what was accepted.)
	act server 'held = accept(door, 2)'
	act other 'held = accept(door, 5)'
	configure_smtp 'limit = /32,/128 over 2 reset'
	load
	act other "assert refused('10.1.2.3', '192.0.2.1', 25)"
	configure_smtp_with 'namespaces = own'
	echo 'limit = /32,/128 over 2 reset' >>"$CONFIG"
	nsenter --net="$TEST_DIR/net" -- conncount load -c "$CONFIG" --cgroup "$CGROUP"
	remember
	expect_eq "$(inode "$TEST_DIR/net")" "$(gates)" gates
	act other "socks += connect('10.1.2.3', '192.0.2.1', 25); assert is_open(socks[5])"
	act client "assert refused('10.1.2.3', '192.0.2.1', 25)"
	act server 'close(held)'
	nothing_left
}

# crowd FILE: leaves no room for another program in a network namespace.
crowd() {
	nsenter --net="$1" -- python3 -I -S "$TOOLS/crowd.py" "$TEST_DIR/crowded" 3>&- &
	CROWD=$!
	wait_until test -e "$TEST_DIR/crowded"
}

crowd_end() {
	kill "$CROWD"
	wait "$CROWD" || :
	CROWD=
}

@test "a load fails, and changes nothing, where a namespace has no room for a gate" {
	local there before
	pair
	limits 'limit = /32,/128 over 2 reset'
	before=$(state generation)
	elsewhere other
	crowd "/proc/${ACTORS[other]}/ns/net"
	configure_smtp 'limit = /32,/128 over 1 reset'
	there=$(inode "/proc/${ACTORS[other]}/ns/net")
	expect 1 load
	expect_match "network namespace $there: cannot attach syn_gate: .* as many such programs as the kernel allows" "$errors"
	expect_eq "$before" "$(state generation)" generation
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 2)
assert refused('10.1.2.3', '192.0.2.1', 25)"
	counted 2
	# Nor does a load of the first limit begin to refuse.
	limits
	configure_smtp 'limit = /32,/128 over 1 reset'
	expect 1 load
	[ ! -e "$CONNCOUNT_DIR/live/ack_gate" ] || fail 'a gate'
	expect_eq '' "$(gates)" gates
	act client "socks += connect('10.1.2.3', '192.0.2.1', 25)"
	counted 3
	crowd_end
	load
	act client "assert refused('10.1.2.3', '192.0.2.1', 25)"
	act server 'close(accept(door, 3))'
	nothing_left
}
