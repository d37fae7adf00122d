# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The guest's part of ../stall.bats, which stalls virtual CPUs from `stall: begin` to `stall: end`.
# It cannot run elsewhere.

load ../../lib/common
load ../../lib/instance

SECONDS_STALLED=80
OPENED=500
CHURNED=(10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4)

setup() {
	# The last CPU is reserved for the process that keeps the lock busy. While it is stalled,
	# the other CPUs want the lock, and this test goes on.
	requires churn
	taskset -p -c "0-$(($(nproc) - 2))" "$BASHPID" >/dev/null
	instance_setup
	CONTENDER=
	CHURN=
	sessions_start
	sessions listen '*:25'
	configure_smtp '[churned]' 'listen = *:2525'
	load
}

teardown() {
	stop
	instance_teardown
}

# churn: starts to open and end sessions of a few addresses at full speed.
churn() {
	start_in_ns "$BUILD/tests/churn" --procs 4 --connections 1000000000 --seconds 600 \
		--to 192.0.2.2:2525 --from-base "${CHURNED[0]}" --addresses ${#CHURNED[@]}
	CHURN=$STARTED
}

# stop: ends the load.
stop() {
	[ -z "$CONTENDER" ] || { kill "$CONTENDER" && wait "$CONTENDER"; } || return
	CONTENDER=
	# Its workers are killed with it, and all their sessions end.
	[ -z "$CHURN" ] || { kill "$CHURN" && ! wait "$CHURN"; } || return
	CHURN=
}

# tell TEXT: prints TEXT to the host at once, past bats.
tell() {
	echo "# stall: $*" >&3
}

# refused: prints how many sessions were not counted when they started: the kernel's own number of
# sessions, less `opened`, which never decreases. (An uncounted session leaves no trace when it has
# ended, as it should.)
refused() {
	local opens counted=0 each
	# The file has a line of names, then one of values.
	# shellcheck disable=SC2016
	opens=$(in_ns awk '/^Tcp:/ { if (column) { print $column; exit }
		for (i = 2; i <= NF; i++) if ($i == "PassiveOpens") column = i }' /proc/net/snmp)
	for each in $(state '' | python3 -I -c 'import json, sys
for each in json.load(sys.stdin)["listeners"]: print(each["opened"])'); do
		counted=$((counted + each))
	done
	echo $((opens - counted))
}

# accounted: each open session is counted, or reported as uncounted.
accounted() {
	expect_eq "$(sessions live)" "$(($(conncount count --service SMTP 2>/dev/null) +
		$(state uncounted)))" 'counted and uncounted'
}

# counts: prints the counts of the churned addresses on their listener, level by level. Until a load
# repairs them, only their differences mean something.
counts() {
	local cidr
	for cidr in 10.0.0.0/8 10.0.0.0/16 10.0.0.0/24 "${CHURNED[@]/%//32}"; do
		conncount count --listener churned "$cidr" 2>/dev/null
	done
}

@test "a virtual CPU that stalls while it holds the lock leaks nothing; every key stays usable" {
	local n before lost left
	sessions open 20 10.9.0.1+ 192.0.2.1:25 >/dev/null

	# Without a stall, each session that the kernel starts is counted.
	churn
	sleep 5
	stop
	expect_eq 0 "$(refused)" 'refused, before any stall'
	tell "opened $(state listeners.1.opened) without a stall, 0 refused a count"

	taskset -c "$(($(nproc --all) - 1))" \
		"$BUILD/tests/contend" "$BUILD/tests/contend.bpf.o" "$CONNCOUNT_DIR" 3>&- \
		>"$TEST_DIR/contend.out" &
	CONTENDER=$!
	churn
	# Sessions that stay, so that a failure with one of them can be seen afterwards.
	for ((n = 0; n < OPENED; n++)); do
		echo "open 1 10.8.$((n / 200)).$((n % 200 + 1)) 192.0.2.1:25"
	done >"$TEST_DIR/opens"
	sessions <"$TEST_DIR/opens" >/dev/null 3>&- &
	OPENER=$!
	tell begin
	sleep $SECONDS_STALLED
	tell end
	stop
	wait "$OPENER"
	tell "the lock's other user: $(<"$TEST_DIR/contend.out")"

	# Every wrong count is reported, and without a report every count is right.
	left=$(sessions live)
	expect_eq $((20 + OPENED)) "$left" 'sessions that stayed'
	lost=$(state lost)
	# Only the lock can refuse a count here: there is room and memory, and before the stalls no
	# count was refused.
	tell "timed out $(($(refused) + lost + $(sed 's/.*timeouts=//' "$TEST_DIR/contend.out")))"
	tell "opened $(state listeners.0.opened) and $(state listeners.1.opened)," \
		"$(refused) refused a count; of $left that are open $(state uncounted) uncounted;" \
		"lost $lost; nodes $(state nodes)"
	if ((lost + $(state uncounted) == 0)); then
		expect 0 conncount status
		expect_eq true "$(state exact)" exact
		expect 0 conncount verify
	else
		expect 1 conncount status
		expect_match 'exact     no' "$output"
		expect_eq false "$(state exact)" exact
		conncount verify >"$TEST_DIR/verify" 2>&1 || :
		tell "verify, unrepaired: $(grep -m 1 differences: "$TEST_DIR/verify")"
	fi
	# Only uncounted sessions are missing, and nothing is counted that should not be.
	if ((lost == 0)); then
		wait_until accounted
		expect_eq 0 "$(conncount count --listener churned 2>/dev/null)" churned
		expect_eq "$(printf '0\n%.0s' {1..7})" "$(counts)" 'levels of the churned'
	fi
	# A node whose deletion failed stays until its key is used again, so there are no more nodes
	# than keys: 10/8, 10.0/16, 10.8/16, 10.9/16, 10.0.0/24, 10.9.0/24, 10.8.n/24, addresses.
	[ "$(state nodes)" -le $((6 + (OPENED + 199) / 200 + left + ${#CHURNED[@]})) ] ||
		fail "nodes that stay add up: $(state nodes)"

	# Keys that were used before still work, also before a load repairs the counts.
	sessions listen '*:2525'
	before=$(counts)
	sessions open 12 10.0.0.1 192.0.2.2:2525 >/dev/null
	expect_eq "$(awk 'NR <= 4 { $1 += 12 } 1' <<<"$before")" "$(counts)" 'churned keys, +12'
	sessions close both from=10.0.0.0/24
	expect_eq "$before" "$(counts)" 'churned keys, -12'

	# A load counts again, with all sessions open.
	load
	expect_eq "$left" "$(sessions live)" 'sessions that are open'
	expect 0 conncount status
	expect_match 'exact     yes' "$output"
	expect 0 conncount verify
	expect_match '^0 differences' "$output"
	expect_count "$left" --listener smtp
	expect_count 20 --listener smtp 10.9.0.0/16
	expect_count 0 --listener churned
	sessions open 4 10.0.0.1+ 192.0.2.2:2525 >/dev/null
	expect_eq "$(printf '%s\n' 4 4 4 1 1 1 1)" "$(counts)" 'churned keys, seeded again'
	expect 0 conncount verify
	sessions close both
	expect_count 0 --listener smtp
	expect_eq "$(printf '0\n%.0s' {1..7})" "$(counts)" 'churned keys, closed'
	expect_eq 0 "$(state nodes)" nodes
	expect 0 conncount verify
	expect_match '^0 differences: .* 0 sessions' "$output"
	tell 'new counts are exact, and 0 when all is closed'
}
