# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Every answer reports a session that cannot be counted, and no level counts it: a full table, no
# storage for its record, map operations that fail. The next load counts it.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	sessions_start
	sessions listen '*:25'
}

teardown() {
	instance_teardown
}

# listener [MAX_PREFIXES]: configures a listener.
listener() {
	configure_smtp_with "${1:+max_prefixes = $1}"
}

# known OPEN: expects that each of OPEN sessions is counted on every level, or reported as
# uncounted.
known() {
	local open=$1 count prefix prefixes=(8 12 16 24 31 32)
	[ "$SCALE" -eq 1 ] || prefixes=(12 32)
	count=$(conncount count 2>/dev/null)
	expect_eq "$open" "$((count + $(state uncounted)))" 'counted and uncounted'
	for prefix in "${prefixes[@]}"; do
		echo "$count of /$prefix"
	done >"$TEST_DIR/expected"
	for prefix in "${prefixes[@]}"; do
		conncount list -4 "$prefix" 2>/dev/null
		echo "of /$prefix"
	done | awk '/^of/ { print sum + 0, $0; sum = 0; next } { sum += $1 }' >"$TEST_DIR/found"
	expect 0 diff "$TEST_DIR/expected" "$TEST_DIR/found"
}

# inexact REMEDY: expects that every answer says that it is not exact, and that status names REMEDY.
inexact() {
	expect 1 conncount status
	expect_match 'exact     no' "$output"
	expect_match "$1" "$errors" 'the remedy'
	expect_eq false "$(state exact)" 'exact, of status'
	expect 0 conncount count
	expect_match '^[0-9]+$' "$output"
	expect_match '^conncount: not exact: ' "$errors"
	expect_eq false "$(conncount count --json 2>/dev/null | json exact)" 'exact, of count'
	expect_eq false "$(conncount list --json 2>/dev/null | json exact)" 'exact, of list'
	expect_match $'^[0-9]+\t.+' \
		"$(lua_print 10.0.0.1 192.0.2.1:25 'ac:inbound_session_count("/8")')" Lua
}

# exact COUNT: expects that every answer is exact, and that the kernel's socket list agrees.
exact() {
	expect 0 conncount status
	expect_eq "$1" "$(conncount count)" count
	expect_eq true "$(conncount count --json | json exact)" 'exact, of count'
	expect_eq "$1" "$(lua_print 10.0.0.1 192.0.2.1:25 'audit.inbound_session_count("0.0.0.0/0", "SMTP")')"
	verified "$1"
}

@test "a full table: each session is counted on every level, or reported as uncounted" {
	local n
	n=$(scaled 10000 150)
	listener 64
	load
	sessions open "$n" 10.0.0.1+ 192.0.2.1:25 >/dev/null
	known "$n"
	[ "$(state uncounted)" -gt $((n - 100)) ] || fail 'more is counted than there is room for'
	inexact 'raise max_prefixes'
	sessions close both even
	known $((n / 2))
	sessions close both
	known 0
	exact 0
	expect_eq 0 "$(state nodes)" nodes
	sessions open 10 10.0.0.1 192.0.2.1:25
	exact 10
}

@test "a full table: with more room, the next load counts everything" {
	local n
	n=$(scaled 500 100)
	listener 64
	load
	sessions open "$n" 10.0.0.1+ 192.0.2.1:25
	inexact 'raise max_prefixes'
	expect 1 conncount verify
	expect_match "expected $n, found " "$output"
	listener 10000
	load
	exact "$n"
	sessions close server
	exact 0
	expect_eq 0 "$(state nodes)" nodes
}

@test "a full table: cached nodes are evicted to make room" {
	requires bpftool
	listener 12
	load
	for _ in 1 2 3; do
		sessions open 1 10.0.0.1 192.0.2.1:25
		sessions open 1 11.0.0.1 192.0.2.1:25
		sessions close both
		exact 0
		expect_eq 0 "$(state nodes)" nodes
	done
	expect_eq 8 "$(nodes_there)" 'cached nodes'
	sessions open 1 10.0.0.1 192.0.2.1:25
	sessions open 1 12.0.0.1 192.0.2.1:25
	sessions open 1 13.0.0.1 192.0.2.1:25
	exact 3
	expect_eq 12 "$(state nodes)" nodes
	expect_eq 12 "$(nodes_there)" 'nodes there are'
	sessions close both
	exact 0
	expect_eq 0 "$(state nodes)" nodes
}

# storage BYTES: limits the storage of each socket in the test's network namespace.
storage() {
	# shellcheck disable=SC2016
	in_ns bash -c 'echo "$0" >/proc/sys/net/core/optmem_max' "$1"
}

@test "a session without socket storage is uncounted until it ends or the next load counts it" {
	in_ns test -w /proc/sys/net/core/optmem_max ||
		skip 'before Linux 6.8 the limit of socket storage is the whole machine'"'"'s'
	local limit
	limit=$(in_ns cat /proc/sys/net/core/optmem_max)
	listener
	load
	sessions open 3 10.0.0.1 192.0.2.1:25
	storage 0
	sessions open 40 10.0.1.1+ 192.0.2.1:25
	expect_count 3
	expect_eq 40 "$(state uncounted)" uncounted
	inexact 'out of memory'
	sessions close server 4-13
	expect_eq 30 "$(state uncounted)" 'uncounted after close by the server'
	sessions close both 14-18
	sessions reset client 19-23
	sessions reset server 24-28
	wait_until expect_uncounted 15
	storage "$limit"
	load
	exact 18
	storage 0
	sessions open 10 10.0.2.1+ 192.0.2.1:25
	expect_eq 10 "$(state uncounted)" uncounted
	sessions kill server
	wait_until expect_uncounted 0
	exact 0
	expect_eq 0 "$(state nodes)" nodes
}

expect_uncounted() {
	expect_eq "$1" "$(state uncounted)" uncounted
}

# faulty N: loads a build in which every N-th operation on the table fails.
faulty() {
	"$BUILD/tests/faults-$1/conncount" load -c "$CONFIG" --cgroup "$CGROUP" || return
	remember
}

@test "if map operations fail, a session counts on every level or on none; the next load recovers" {
	requires speed
	local round
	listener
	faulty 5
	for ((round = $(scaled 6 3); round > 0; round--)); do
		sessions open 30 "10.0.$round.1+" 192.0.2.1:25 >/dev/null
		sessions close both even
	done
	[ "$(state uncounted)" -gt 0 ] || fail 'no insert failed'
	known "$(sessions live)"
	inexact 'load again'
	load
	exact "$(sessions live)"
	sessions close server
	exact 0
	expect_eq 0 "$(state nodes)" nodes
}

@test "if deletes fail, the node that stays is reused, and every key stays usable" {
	requires speed
	local i left=0
	listener
	faulty 7
	# The same few keys, over and over.
	for ((i = $(scaled 20 2); i > 0; i--)); do
		sessions open 4 10.0.0.1+ 192.0.2.1:25 >/dev/null
		known 4
		sessions close both
		known 0
		[ "$(state nodes)" = 0 ] || left=$((left + 1))
	done
	[ "$left" -gt 0 ] || fail 'no delete failed'
	[ "$(state nodes)" -le 7 ] || fail 'nodes that stay add up'
	expect_eq 0 "$(state lost)" lost
	load
	sessions open 4 10.0.0.1+ 192.0.2.1:25
	exact 4
	sessions close both
	exact 0
	expect_eq 0 "$(state nodes)" nodes
}

@test "after map faults under full-speed churn, a load of a good build makes the counts exact" {
	requires churn
	listener
	faulty 3
	sessions open 50 10.9.0.1+ 192.0.2.1:25 >/dev/null
	local churn
	# Far more connections than it gets to.
	start_in_ns "$BUILD/tests/churn" --procs 4 --connections 1000000000 --to 192.0.2.2:2525 \
		--from-base 10.0.0.1 --addresses 4
	churn=$STARTED
	configure raw <<-'END'
		[conncount]
		group = root
		[smtp]
		listen = *:25
		[churned]
		listen = *:2525
	END
	faulty 3
	lost() { [ "$(state lost)" -gt 0 ]; }
	wait_until -t 30 lost
	inexact 'count again'
	load
	expect_count 50 10.9.0.0/16
	kill -ALRM "$churn"
	! wait "$churn" || fail 'the churn had ended before'
	wait_until exact 50
	expect_eq 0 "$(conncount count --listener churned)" churned
}
