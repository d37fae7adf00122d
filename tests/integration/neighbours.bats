# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Another project's programs on the same sockets: sockops and sock_release programs in the same
# cgroup, above it and below it, work beside ours, and ours beside them. One of them overwrites the
# callback flags by which our program learns that a connection has ended.
# shellcheck disable=SC2030,SC2031 # functions in tests set it for themselves

load ../lib/common
load ../lib/neighbours
load ../lib/instance

setup() {
	instance_setup
	configure_smtp
	mkdir "$CGROUP_PATH/inner"
	neighbours_setup
}

teardown() {
	sessions_stop || :
	# Removing the pins and the cgroup removes the neighbours.
	neighbours_end
	if [ -d "$CGROUP_PATH/inner" ]; then
		wait_until no_processes || :
		CGROUP_PATH=$CGROUP_PATH/inner remember || :
		! mountpoint -q "$CONNCOUNT_DIR" || conncount unload
		rmdir "$CGROUP_PATH/inner"
	fi
	instance_teardown
}

# expect_seen NAME ESTABLISHED [RELEASES]: the neighbour NAME saw exactly ESTABLISHED sessions and
# at least RELEASES releases.
expect_seen() {
	local what
	read -ra what <<<"$(seen "$1")"
	expect_eq "$2" "${what[0]}" "sessions that $1 saw"
	[ "${what[3]}" -ge "${3:-0}" ] || fail "releases that $1 saw: ${what[3]}"
}

# serve CGROUP_PATH: starts sessions.py in a cgroup, with its server on port 25.
serve() {
	CGROUP_PATH=$1 sessions_start
	sessions listen '*:25'
}

# traffic [N]: opens and ends sessions in every way, and expects the right count after each step.
# N is how many sessions there were before.
traffic() {
	local n=${1:-0}
	sessions open 6 10.1.2.3 192.0.2.1:25
	sessions open 4 2001:db8::7 '[2001:db8::1]:25'
	counted 10
	sessions reset client $((n + 1))-$((n + 2))
	counted 8
	sessions shut server $((n + 3))
	sessions shut client $((n + 3))
	counted 7
	sessions close client $((n + 4))
	counted 7
	sessions close server
	sessions queue 3 10.1.2.3 192.0.2.1:25
	sessions reset client $((n + 11))
	counted 2
	sessions unlisten '*:25'
	nothing_left
	sessions listen '*:25'
}

@test "programs attached to the same cgroup before and after ours see every session, as ours do" {
	local name
	neighbour before flags "$CGROUP_PATH" link
	neighbour older plain "$CGROUP_PATH" multi
	load
	neighbour after plain "$CGROUP_PATH" link
	neighbour newer flags "$CGROUP_PATH" multi
	serve "$CGROUP_PATH"
	traffic
	for name in before older after newer; do
		expect_seen "$name" 13 11 # releases: 10 accepted sessions, and a client
		expect_match '^13 [1-9][0-9]* [1-9]' "$(seen "$name")" "states and round trips of $name"
	done
	# Removing a neighbour leaves ours attached; replacing and removing ours leaves the others.
	rm "$TEST_DIR/n/after-events-link"
	load
	traffic 13
	expect_seen after 13
	expect_seen before 26
	expect_seen newer 26
	conncount unload
	sessions open 1 10.1.2.3 192.0.2.1:25
	expect_seen older 27
	expect_seen newer 27
}

@test "programs in the cgroups above and below ours see every session, as ours do" {
	local name
	neighbour above flags "$CGROUP_PATH" link
	load # remembers the neighbour, attached there, for the leak check
	conncount unload
	conncount load -c "$CONFIG" --cgroup "$CGROUP/inner"
	neighbour higher plain "$CGROUP_PATH" multi
	mkdir "$CGROUP_PATH/inner/most"
	neighbour below plain "$CGROUP_PATH/inner/most" link
	serve "$CGROUP_PATH/inner/most"
	traffic
	for name in above higher below; do
		expect_seen "$name" 13 11
		expect_match '^13 [1-9]' "$(seen "$name")" "states of $name"
	done
	sessions_stop
	wait_until no_processes
	rm "$TEST_DIR/n/"*-link
	rmdir "$CGROUP_PATH/inner/most"
}

# flags_are_cleared: checks sessions while another program clears our flag on each new one: each
# ends when its socket is released, whatever happened to its connection before.
flags_are_cleared() {
	# Sessions end when the server closes or resets them, or is killed.
	sessions open 5 10.1.2.3 192.0.2.1:25
	sessions open 5 2001:db8::7 '[2001:db8::1]:25'
	counted 10
	sessions close server 1-7
	counted 3
	sessions reset server 8
	counted 2
	sessions kill server
	nothing_left
	sessions listen '*:25'

	# Our program does not see a reset by the client. Until the server closes the socket, as it
	# would after a failed read or write, the count is too large.
	sessions open 6 10.1.2.3 192.0.2.1:25
	sessions reset client 11-13
	expect_count 6 10.1.2.3
	sessions close server 11-13
	counted 3
	# Nor does it see that both sides have shut down.
	sessions shut client 14
	sessions shut server 14
	expect_count 3 10.1.2.3
	sessions close server
	nothing_left

	# A reset session in the queue ends when it is accepted and closed.
	sessions queue 3 10.1.2.3 192.0.2.1:25
	sessions reset client 17
	expect_count 3 10.1.2.3
	sessions accept
	sessions close server
	nothing_left
}

# wrong_until_load ARGUMENT...: after verify has found such a count, no answer is exact until a load.
wrong_until_load() {
	sessions open 6 10.1.2.3 192.0.2.1:25
	sessions reset client 20-22
	expect 1 conncount verify
	expect_match 'smtp 10\.1\.2\.3/32: expected 3, found 6' "$output"
	expect_match '^5 differences|[[:space:]]5 differences' "$output"
	sessions close server 20-22
	expect 1 conncount status
	expect_match 'LOST: 5 changes' "$errors"
	load "$@"
	counted 3
	sessions close server
	nothing_left
}

@test "if a program after ours clears our flag, the release program ends every session" {
	load
	neighbour after clears "$CGROUP_PATH" link
	serve "$CGROUP_PATH"
	flags_are_cleared
	expect_match '^19 0 ' "$(seen after)" 'it did clear the flags'
	wrong_until_load
}

@test "if a program of the cgroup above clears our flag, the release program ends every session" {
	conncount load -c "$CONFIG" --cgroup "$CGROUP/inner"
	neighbour above clears "$CGROUP_PATH" multi
	serve "$CGROUP_PATH/inner"
	flags_are_cleared
	wrong_until_load --cgroup "$CGROUP/inner"
}

@test "if a program before ours clears the flags, every session is counted nevertheless" {
	neighbour before clears "$CGROUP_PATH" link
	load
	serve "$CGROUP_PATH"
	traffic
	expect_seen before 13
}

@test "if our flag is cleared and a listener closes, verify reports its queue, and load recovers" {
	load
	neighbour after clears "$CGROUP_PATH" link
	serve "$CGROUP_PATH"
	sessions open 2 10.1.2.3 192.0.2.1:25
	sessions queue 3 10.1.2.3 192.0.2.1:25
	sessions unlisten '*:25'
	# No process ever held the queued sockets, so there is no release, and the cleared flag hid
	# their end.
	expect_count 5
	expect 1 conncount verify
	expect_match 'smtp 10\.1\.2\.3/32: expected 2, found 5' "$output"
	expect_match 'to count again, without a gap: conncount load' "$errors"
	load
	counted 2
	sessions close server
	nothing_left
}

@test "a program attached exclusively excludes ours, and ours excludes it" {
	requires bpftool
	neighbour alone plain "$CGROUP_PATH" alone
	# It allows no other program beside it, and load says so.
	expect 1 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match "conncount: cgroup $CGROUP: cannot attach .*: Operation not permitted" "$errors"
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
	serve "$CGROUP_PATH"
	sessions open 2 10.1.2.3 192.0.2.1:25
	expect_seen alone 2
	bpftool cgroup detach "$CGROUP_PATH" cgroup_sock_ops pinned "$TEST_DIR/n/alone/events"
	bpftool cgroup detach "$CGROUP_PATH" cgroup_inet_sock_release \
		pinned "$TEST_DIR/n/alone/releases"
	# It cannot be attached beside ours either.
	load
	counted 2
	! bpftool cgroup attach "$CGROUP_PATH" cgroup_sock_ops pinned "$TEST_DIR/n/alone/events" ||
		fail 'an exclusive program was attached beside ours'
	sessions close server
	nothing_left
}
