# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The costs of conncount that do not depend on the machine; and that tests/bench, which measures
# times, works.

load ../lib/common
load ../lib/instance

teardown() {
	instance_teardown
	[ -z "${CLIENTS:-}" ] || rmdir "$CLIENTS"
}

# expect_runs 4|6 PORT SOCKOPS RELEASE: for a connection, with the client outside the cgroup, the
# sockops program runs at most SOCKOPS times and the release program at most RELEASE times.
expect_runs() {
	local connections digits
	connections=$((SCALE > 1 ? 100 : 1000)) # a power of 10
	digits=${#connections}
	((digits--))
	expect 0 in_ns "$BUILD/bench/runtime" "$CGROUP_PATH" \
		"$BUILD/bench/cycle" --clients "$CLIENTS" "$1" "$2" "$connections"
	expect_match "sockops ([0-9]+)[0-9]{$digits} " "$output"
	[ "${BASH_REMATCH[1]}" -le "$3" ] || fail "IPv$1, port $2: sockops runs: ${BASH_REMATCH[1]}, not $3"
	expect_match "release ([0-9]+)[0-9]{$digits} " "$output"
	[ "${BASH_REMATCH[1]}" -le "$4" ] || fail "IPv$1, port $2: release runs: ${BASH_REMATCH[1]}, not $4"
}

@test "the programs run at most 9 times for a counted connection, and 5 times for another" {
	local family
	instance_setup
	CLIENTS=$CGROUP_PATH-clients
	mkdir "$CLIENTS"
	configure <<-'END'
		[mx]
		listen = *:25
	END
	load
	for family in 4 6; do
		expect_runs $family 25 8 1
		expect_runs $family 26 4 1
	done
}

@test "each program needs at most 100,000 verified instructions and 512 bytes of stack" {
	local name instructions stack programs=0
	requires root bpf build
	expect 0 "$BUILD/tests/instructions" "$BUILD/bpf/conncount.bpf.o"
	while read -r name instructions stack; do
		[ "$instructions" -le 100000 ] || fail "$name: $instructions instructions verified"
		[ "$stack" -le 512 ] || fail "$name: $stack bytes of stack"
		((++programs))
	done <<<"$output"
	expect_eq 13 $programs programs
}

# calls N ADDRESS: opens and closes a session from ADDRESS, N times.
calls() {
	local i
	for ((i = 0; i < $1; i++)); do
		sessions open 1 "$2" 192.0.2.1:25
		sessions close both
	done
}

@test "nodes of a returning address are cached from its second session on; 1,024 others evict them" {
	requires bpftool speed
	instance_setup
	sessions_start
	configure <<-'END'
		[mx]
		listen = *:25
	END
	load
	sessions listen '*:25' >/dev/null
	calls 1 10.0.0.1
	expect_eq 0 "$(nodes_there)" 'nodes after one call'
	calls 1 10.0.0.1
	expect_eq 4 "$(nodes_there)" 'nodes after a second call'
	calls 100 10.0.0.1
	expect_eq 4 "$(nodes_there)" 'nodes after many calls'
	sessions open 1024 11.0.0.1+ 192.0.2.1:25
	sessions close both
	wait_until expect_count 0
	expect_eq 0 "$(nodes_there)" 'nodes after a thousand calls of others'
}

@test "tests/bench/bench measures the parts it is given, and writes a table and JSON" {
	local dir=$BATS_TEST_TMPDIR/bench
	requires root bpf cgroup2 netns ipv6 ip python3 build speed
	expect 0 env -u CONNCOUNT_DIR "$ROOT/tests/bench/bench" --quick --into "$dir" split
	expect_match '\| passive_established \| 1 \| [0-9.]+ [nu]s \|' "$output"
	expect_match '\| release \| 1 \| [0-9.]+ [nu]s \|' "$(<"$dir/table.md")"
	python3 -I -c 'import json, sys; json.load(open(sys.argv[1]))["measured"]["split"][0]' "$dir/results.json"
	expect 0 env -u CONNCOUNT_DIR "$ROOT/tests/bench/bench" --quick --into "$dir" proxied
	expect_match '\| the same of an identified session, against none configured \| [0-9.]+ x \|' "$output"
	expect_match '\| IPv6, version 1, from a proxy \| [0-9.]+ \| [0-9.]+ [nu]s \|' "$(<"$dir/table.md")"
	expect_match '\| 1,500 bytes \| identified session \| [0-9]+ \| -?[0-9]+ ns \|' "$output"
	expect 0 env -u CONNCOUNT_DIR "$ROOT/tests/bench/bench" --quick --into "$dir" windows
	expect_match '\| by how much longer with .window = 60,1. \| -?[0-9.]+ [nu]s \| 300 ns \|' "$output"
	expect_match '\| connections of a /64 in two windows, [^|]* \| [0-9.]+ x \| 1.50 x \|' "$(<"$dir/table.md")"
	expect 1 "$ROOT/tests/bench/bench" everything
	expect_match '^bench: usage: ' "$errors"
}
