# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Loads while sessions come and go; and verify, which compares the counts with the kernel's socket
# list, at the same time.

load ../lib/common
load ../lib/churn
load ../lib/instance

setup() {
	instance_setup
	configure_smtp
}

teardown() {
	churn_end
	instance_teardown
}

# exactly COUNT: COUNT sessions are counted, and the kernel's socket list agrees.
exactly() {
	expect 0 conncount status
	counted "$1"
}

# load_stopped_at CALL N: starts a load that stops at its N-th system call CALL. load_goes_on
# continues it.
load_stopped_at() {
	stopped_at "$1" "$2" "$TEST_DIR/loaded" conncount load -c "$CONFIG" --cgroup "$CGROUP"
}

load_goes_on() {
	goes_on "$TEST_DIR/loaded"
	wait "$STOPPED" || fail "$(cat "$TEST_DIR/loaded")"
	remember
}

# iterator N: loads, and prints which bpf(2) call of that load creates its N-th iterator: the first
# one finds namespaces, the others enter sessions.
iterator() {
	strace -f -e trace=bpf -o "$TEST_DIR/trace" conncount load -c "$CONFIG" \
		--cgroup "$CGROUP" >/dev/null
	awk -v n="$1" '/ bpf\(/ { calls++ } /BPF_ITER_CREATE/ && --n == 0 { print calls; exit }' \
		"$TEST_DIR/trace"
}

# moving: ends some of 60 sessions in every way, and opens others.
moving() {
	sessions <<-'END'
		close server 1-10
		close both 11-20
		reset client 21-30
		reset server 31-35
		close client 36-40
		open 7 10.4.0.1 192.0.2.1:25
		queue 3 10.4.0.2 192.0.2.1:25
		shut server 41-42
	END
}

@test "sessions that end or begin at any of six steps of a load are counted exactly" {
	requires speed
	local where at
	for where in 'membarrier 1' 'iterator 1' 'iterator 2' 'iterator 3' 'membarrier 2' \
		'renameat2 1'; do
		sessions_start
		sessions listen 192.0.2.1:25
		sessions open 60 10.1.0.1+ 192.0.2.1:25
		at=$where
		if [ "${where% *}" = iterator ]; then
			at="bpf $(iterator "${where#* }")"
			expect 0 conncount unload
		fi
		# shellcheck disable=SC2086
		load_stopped_at $at
		moving
		load_goes_on
		echo "stopped at $where: $(sessions live) sessions"
		exactly 35
		expect_count 7 10.4.0.1
		sessions close client
		sessions_stop
		nothing_left
		expect 0 conncount unload
	done
}

@test "a load while connections open and close at full speed leaves no differences" {
	local round
	churn_start 192.0.2.1:25 4
	for ((round = $(scaled 8 2); round > 0; round--)); do
		load
		expect 0 conncount verify
		expect_match '^0 differences: [0-9]+ prefixes of [0-9]+ sessions' "$output"
		[ "$round" -eq 1 ] || expect 0 conncount unload
	done
	expect 0 conncount verify --json
	expect_eq '[]' "$(json differences <<<"$output")" differences
	expect_match '^[0-9]+$' "$(json in_flight <<<"$output")" in_flight
	churn_end
	wait_until nothing_left
}

# --- verify ---

# plant COUNT ADDRESS BITS: see tests/tools/plant.c.
plant() {
	"$BUILD/tests/plant" "$CONNCOUNT_DIR/live/counts" "$@"
}

@test "verify under churn finds a planted difference, and no other" {
	load
	churn_start 192.0.2.1:25 4
	plant 3 10.7.7.7 32
	expect 1 conncount verify
	expect_match '^smtp 10\.7\.7\.7/32: expected 0, found 3' "$output"
	expect_match $'\n1 differences: ' "$output"
	expect 0 load
	expect_match 'new maps' "$output"
	churn_end
	wait_until nothing_left
}

@test "verify finds no differences while loads replace the maps that it compares" {
	requires speed
	local i
	load
	churn_start 192.0.2.1:25 2
	for ((i = $(scaled 12 2); i > 0; i--)); do
		configure_smtp_with "max_prefixes = $((1000 + i))"
		conncount load -c "$CONFIG" --cgroup "$CGROUP" >"$TEST_DIR/loaded" 2>&1 3>&- &
		expect 0 conncount verify
		expect_match '^0 differences' "$output"
		wait $! || fail "$(cat "$TEST_DIR/loaded")"
	done
	churn_end
	wait_until nothing_left
}

# waits_or_done PID: the process waits for a lock, or has ended.
waits_or_done() {
	! kill -0 "$1" 2>/dev/null || grep -q -e "-> FLOCK .* $1 " /proc/locks
}

@test "verify that began before a load replaces the maps reports no differences" {
	requires speed
	requires strace
	local n verify load
	sessions_start
	sessions listen '*:25'
	sessions open 5 10.1.2.3 192.0.2.1:25
	load
	# Stopped before and after it opens the loaded maps, and among calls for its own objects.
	for n in 1 6 12 20; do
		stopped_at bpf $n "$TEST_DIR/verified" conncount verify
		verify=$STOPPED
		configure_smtp_with "max_prefixes = $((1000 + n))"
		conncount load -c "$CONFIG" --cgroup "$CGROUP" >"$TEST_DIR/loaded" 2>&1 3>&- &
		load=$!
		wait_until waits_or_done $load
		sessions open 1 10.1.2.4 192.0.2.1:25
		sessions close both from=10.1.2.4
		goes_on "$TEST_DIR/verified"
		wait "$verify" || fail "stopped at call $n: $(cat "$TEST_DIR/verified")"
		wait $load || fail "$(cat "$TEST_DIR/loaded")"
	done
	exactly 5
}

@test "status reports a load that died while it entered sessions; the next load completes it" {
	requires speed
	requires strace
	sessions_start
	sessions listen '*:25'
	sessions listen '*:26'
	sessions open 5 10.1.2.3 192.0.2.1:25
	sessions open 4 10.1.2.3 192.0.2.1:26
	load
	configure_smtp '[more]' 'listen = *:26'
	load_stopped_at membarrier 1
	goes_on "$TEST_DIR/loaded" KILL
	wait "$STOPPED" || :
	expect 1 conncount status --json
	expect_eq true "$(json seeding <<<"$output")" seeding
	expect_eq false "$(json exact <<<"$output")" exact
	expect_count 0 --listener more 2>/dev/null
	sessions close server 6
	sessions close server 1
	load
	exactly 7
	expect_count 3 --listener more
}
