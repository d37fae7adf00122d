# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Which network namespaces are counted: by default the one that load runs in, and nothing in
# another changes a count; or all, and then load misses no session.

load ../lib/common
load ../lib/instance

setup() {
	HIDDEN=
	instance_setup
}

teardown() {
	[ -z "$HIDDEN" ] || hidden_end
	[ ! -e "$TEST_DIR/other" ] || umount "$TEST_DIR/other"
	instance_teardown
}

# smtp own|all: configures a listener, with that value of `namespaces`.
smtp() {
	configure_smtp_with "namespaces = $1"
}

# load_in_ns: loads in the test's network namespace.
load_in_ns() {
	expect 0 nsenter --net="$TEST_DIR/net" -- conncount load -c "$CONFIG" --cgroup "$CGROUP"
	remember
}

# hidden PROGRAM ARGUMENT...: starts a program in the test's cgroup, and waits until it has created
# $TEST_DIR/hidden.
hidden() {
	start_in_ns "$@"
	HIDDEN=$STARTED
	wait_until test -e "$TEST_DIR/hidden"
}

# hidden_end: kills the program, with all of its threads.
hidden_end() {
	kill -KILL "$HIDDEN"
	wait "$HIDDEN" || :
	rm -f "$TEST_DIR/hidden"
	HIDDEN=
}

# forge: an unprivileged user in the cgroup opens sessions from 198.51.100.7, in user and network
# namespaces of its own.
forge() {
	local copy=$TEST_DIR/forger.py
	cp "$TOOLS/forger.py" "$copy"
	chmod 0777 "$TEST_DIR"
	chmod 0644 "$copy"
	in_ns setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all \
		--no-new-privs unshare --user true 2>/dev/null ||
		skip 'no user namespaces for users without privilege'
	hidden setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \
		--bounding-set=-all --no-new-privs \
		python3 -I -S "$copy" "$TEST_DIR/hidden" 198.51.100.7 25 20
}

@test "own: a user in namespaces of its own can neither forge a count nor fill the table" {
	smtp own
	load_in_ns
	sessions_start
	sessions listen '*:25'
	sessions open 2 198.51.100.7 192.0.2.1:25
	sessions open 1 2001:db8::7 '[2001:db8::25]:25'
	counted 3
	nodes=$(state nodes)
	forge
	counted 3
	expect_count 2 198.51.100.7
	expect_count 0 10.66.0.0/16
	expect_eq "$nodes" "$(state nodes)" nodes
	# A load over the running count, and one that counts everything again.
	load_in_ns
	counted 3
	expect 0 conncount unload
	load_in_ns
	expect_match 'note: 1 other network namespace has sessions on these listeners' "$errors"
	counted 3
	expect_eq "$nodes" "$(state nodes)" nodes
	hidden_end
	counted 3
	expect_eq own "$(state namespaces)"
	expect_eq "$(stat -L -c %i "$TEST_DIR/net")" "$(state netns)"
	expect_match 'namespaces = own' "$(conncount status)"
}

@test "own: load names the network namespace that is counted if it is not the host's" {
	smtp own
	load_in_ns
	expect_match "note: only network namespace $(stat -L -c %i "$TEST_DIR/net") is counted" "$errors"
	expect_match 'namespaces = all' "$errors"
	load_in_ns # also if nothing changes
	expect_match 'note: only network namespace ' "$errors"
	smtp all
	load_in_ns
	expect_eq '' "$errors"
}

@test "own: in another network namespace, metrics and status say that they cannot see the sockets" {
	smtp own
	load_in_ns
	sessions_start
	sessions listen '*:25'
	expect 0 nsenter --net="$TEST_DIR/net" -- conncount metrics
	expect_match 'conncount_accept_queue_limit.*socket="\*:25"' "$output"
	expect_match 'conncount_sockets_visible 1' "$output"
	expect 0 conncount metrics
	expect_match 'conncount_sockets_visible 0' "$output"
	expect_match 'HELP conncount_sockets_visible .*another one is counted.*Read the metrics where' "$output"
	[[ $output != *accept_queue_limit\{* ]] || fail 'queues of another network namespace'
	expect_match 'another network namespace is counted' "$errors"
	expect 0 conncount status
	expect_match 'note: cannot tell whether a server listens outside of .*: another network namespace' "$output"
	expect 0 nsenter --net="$TEST_DIR/net" -- conncount status
	[[ $output != *note:* ]] || fail "$output"
}

@test "all: metrics have the accept queues of the network namespace that reads them, and say so" {
	smtp all
	load
	sessions_start
	sessions listen '*:25'
	expect 0 nsenter --net="$TEST_DIR/net" -- conncount metrics
	expect_match 'conncount_accept_queue_limit.*socket="\*:25"' "$output"
	expect 0 conncount metrics
	expect_match 'conncount_sockets_visible 1' "$output"
	[[ $output != *accept_queue_limit\{* ]] || fail 'queues of another network namespace'
	expect_match "HELP conncount_sockets_visible .*those of this network namespace only" "$output"
}

@test "own and all: after a change, exactly the open sessions of the new choice are counted" {
	sessions_start
	sessions listen '*:25'
	sessions open 4 10.1.2.3 192.0.2.1:25
	smtp all
	load
	counted 4
	# The test itself runs in another network namespace, which has no session.
	smtp own
	load
	counted 0
	sessions open 1 10.1.2.4 192.0.2.1:25
	counted 0
	load_in_ns
	counted 5
	sessions close both 1
	counted 4
	smtp all
	load
	counted 4
	sessions close both
	nothing_left
}

@test "own: verify finds the counted namespace from anywhere, and reports when it no longer exists" {
	local net=$TEST_DIR/other
	smtp own
	: >"$net"
	unshare --net="$net" true
	nsenter --net="$net" -- conncount load -c "$CONFIG" --cgroup "$CGROUP"
	remember
	verified 0
	expect 0 in_ns conncount verify
	umount "$net"
	rm "$net"
	expect 1 conncount verify
	expect_match 'network namespace [0-9]+(, which is counted, no longer exists|: its sockets cannot be listed)' "$errors"
}

# load must find every session or fail: a count that lacks one would be wrong.
@test "all: load finds sessions behind a mount, handle, thread or queued descriptors, or fails" {
	local way
	smtp all
	for way in mount handle inside thread leader flight; do
		hidden python3 -I -S "$TOOLS/hideout.py" $way "$TEST_DIR/hidden" 25
		run --separate-stderr conncount load -c "$CONFIG" --cgroup "$CGROUP"
		# shellcheck disable=SC2154 # by run
		case $way:$status in
		flight:1 | thread:1 | leader:1)
			expect_match 'network namespace [0-9]+: its sockets cannot be listed' "$stderr"
			[ ! -e "$CONNCOUNT_DIR" ] || fail "$way: something is loaded"
			[ $way = flight ] || ! have thread-pidfd || fail "$way: not found: $stderr"
			;;
		*:0)
			remember
			counted 2
			expect_count 2 10.5.1.1
			;;
		*) fail "$way: exit status $status: $stderr" ;;
		esac
		hidden_end
		[ ! -e "$CONNCOUNT_DIR" ] || wait_until nothing_left
		conncount unload
	done
}

@test "all: load and verify fail if file descriptors run out, and no count changes" {
	smtp all
	hidden python3 -I -S "$TOOLS/elsewhere.py" open "$TEST_DIR/hidden" 25 6
	expect 1 prlimit --nofile=12 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'Too many open files' "$errors"
	[ ! -e "$CONNCOUNT_DIR" ] || fail 'something is loaded'
	load
	counted 27
	expect 1 prlimit --nofile=12 conncount verify
	counted 27
	hidden_end
	wait_until nothing_left
}

@test "all: in a PID namespace, load and verify fail if they cannot see every network namespace" {
	smtp all
	hidden python3 -I -S "$TOOLS/elsewhere.py" open "$TEST_DIR/hidden" 25 2
	load
	counted 5
	contained() {
		unshare --pid --fork --kill-child --mount-proc --propagation slave "$@"
	}
	expect 1 contained conncount verify
	expect_match 'no process visible from here gives access to it' "$errors"
	counted 5
	printf '[more]\nlisten = *:26\n' >>"$CONFIG"
	expect 1 contained conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'no process visible from here gives access to it .*--pid=host' "$errors"
	expect_count 5
	load
	counted 5
	hidden_end
	wait_until nothing_left
}

@test "all: sessions in a namespace with a connection table of its own are counted" {
	local knob=/proc/sys/net/ipv4/tcp_child_ehash_entries # from Linux 6.1
	smtp all
	[ -e $knob ] || skip 'this kernel has one table for all'
	in_ns sh -c "echo 128 >$knob"
	hidden python3 -I -S "$TOOLS/elsewhere.py" open "$TEST_DIR/hidden" 25 2
	load
	counted 5
	hidden_end
	wait_until nothing_left
}
