# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# A load that replaces another, with another configuration or build, under traffic: it misses no
# session, loses none and counts none twice. command/reconfigure.bats has the loads that keep the
# maps, and which listener open sessions then belong to.

load ../lib/common
load ../lib/churn
load ../lib/replace
load ../lib/instance

setup() {
	instance_setup
}

teardown() {
	local rc=0
	churn_end || rc=1
	instance_teardown || rc=1
	return $rc
}

# watch_start CIDR...: starts to ask for these networks without pause, as nice as the traffic. When
# watch_end returns, the answers are in $TEST_DIR/watched. (Call both from one shell: a subshell
# cannot wait for this child.)
watch_start() {
	nice -n 10 "$BUILD/tests/poll_counts" "$TEST_DIR/watching" "$@" >"$TEST_DIR/watched" 2>&1 3>&- &
	WATCH=$!
	wait_until test -e "$TEST_DIR/watching"
}

watch_end() {
	kill "$WATCH"
	wait "$WATCH" || fail 'answers were refused:' "$(cat "$TEST_DIR/watched")"
}

NEWER=$BUILD/tests/newer/conncount  # version 0.1.99
OTHER=$BUILD/tests/layout/conncount # its maps differ

# --- what changes and what does not ---

# identity: prints the generation, and the ids of the links and of the maps that programs share.
identity() {
	state generation
	"$BUILD/tests/objects" attached "$CGROUP_PATH" | grep -v '^prog\|^own' | sort -u
}

@test "a load of an unchanged configuration keeps the generation, the maps and the links" {
	local before
	held
	configure_smtp
	load
	before=$(identity)
	[ "$(wc -l <<<"$before")" -ge 8 ] || fail 'not all of it was found' "$before"
	expect 0 load
	expect_match 'configuration unchanged' "$output"
	expect_eq "$before" "$(identity)" identity
	exactly "$HELD"
}

@test "a newer build replaces the programs, and keeps the maps and links" {
	local before
	held
	configure_smtp
	load
	before=$(identity | tail -n +2)
	expect 0 "$NEWER" load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'configuration unchanged' "$output"
	expect_eq 0.1.99 "$(state build)" build
	expect_eq "$before" "$(identity | tail -n +2)" 'maps and links'
	exactly "$HELD"
	before=$("$BUILD/tests/objects" attached "$CGROUP_PATH" | grep '^prog')
	load
	[ "$before" != "$("$BUILD/tests/objects" attached "$CGROUP_PATH" | grep '^prog')" ] ||
		fail 'the programs are those of the other build'
	sessions open 5 10.1.2.3 192.0.2.1:25
	exactly $((HELD + 5))
}

@test "a build with another layout makes new maps, and misses no session on the way there and back" {
	local i
	held
	configure_smtp
	load
	churn_start 192.0.2.2:25 4
	# Each build reads only its own maps, and refuses the others. The build that can read must
	# see the held sessions.
	while [ ! -e "$TEST_DIR/enough" ]; do
		for i in "$BUILD/conncount" "$OTHER"; do
			"$i" count 10.9.0.0/16 2>&1 || :
		done
	done >"$TEST_DIR/answers" 3>&- &
	WATCH=$!
	renice -n 10 "$WATCH" >/dev/null
	for ((i = $(scaled 3); i > 0; i--)); do
		expect 0 "$OTHER" load -c "$CONFIG" --cgroup "$CGROUP"
		expect_match 'new maps' "$output"
		remember
		expect 1 conncount count
		expect_match 'another version' "$errors"
		churn_stopped 1
		expect 0 "$OTHER" verify
		expect_match '^0 differences' "$output"
		churn_stopped 0
		expect 0 load
		expect_match 'new maps' "$output"
		churn_stopped 1
		expect 0 conncount verify
		churn_stopped 0
	done
	: >"$TEST_DIR/enough"
	wait "$WATCH"
	expect_eq "$HELD" "$(grep -v 'another version' "$TEST_DIR/answers" | sort -u)" answers
	churn_end
	wait_until exactly "$HELD"
}

@test "readers refuse the maps of a build before CC_ABI 6; a load replaces and retires them" {
	held
	configure_smtp
	load
	timeout 60 conncount watch --over "$HELD" --prefix 16 >"$TEST_DIR/over" 2>"$TEST_DIR/log" 3>&- &
	WATCH=$!
	sessions open 1 10.9.1.1 192.0.2.1:25
	wait_until test -s "$TEST_DIR/over"
	mv "$CONNCOUNT_DIR/live/control" "$CONNCOUNT_DIR/live/directory"
	expect 1 conncount count
	expect_match 'another version' "$errors"
	expect 0 load
	expect_match 'new maps' "$output"
	remember
	sessions close both from=10.9.1.1
	wait_until over_lines 2
	kill "$WATCH"
	wait "$WATCH" || :
	exactly "$HELD"
}

over_lines() {
	[ "$(wc -l <"$TEST_DIR/over")" = "$1" ]
}

# --- the bar ---

# variant N: writes the N-th configuration, in which listeners come, go and move, and max_prefixes
# changes. 10.9.0.0/16 is on a listener that stays.
variant() {
	local listeners
	case $(($1 % 5)) in
	0) listeners='[msa]\nlisten=*:587\nservice=SMTP' ;;
	1) listeners='[msa]\nlisten=*:587\nservice=Control' ;;
	2) listeners='[submission]\nlisten=*:587\nservice=Control' ;;
	3) listeners='[other]\nlisten=*:625\nservice=Control' ;;
	4) listeners='[msa]\nlisten=192.0.2.2:587\nservice=SMTP\n[rest]\nlisten=*:587' ;;
	esac
	{
		printf 'max_prefixes = %d\n' $((1000 + $1 / 7 % 2))
		printf '[smtp]\nlisten = *:25\nservice = SMTP\n%b\n' "$listeners"
	} | sections
}

@test "50 loads under full-speed churn leave 0 differences each, and open sessions stay counted" {
	local i begin command times
	times=$(scaled 50 3)
	held
	sessions listen '[2001:db8::1]:25'
	sessions open "$HELD" 2001:db8:9::1+ '[2001:db8::1]:25'
	variant 0
	load
	churn_start 192.0.2.2:25 2
	churn_start 192.0.2.2:587 2
	watch_start 10.9.0.0/16 10.9.0.0/20 10.9.0.7 2001:db8:9::/48
	begin=$EPOCHREALTIME
	for ((i = 1; i <= times; i++)); do
		variant $((i / 2))
		command=conncount
		((i % 3)) || command=$NEWER
		expect 0 "$command" load -c "$CONFIG" --cgroup "$CGROUP"
		((i % 10)) || remember
		churn_stopped 1
		expect 0 conncount verify
		expect_match '^0 differences' "$output"
		expect_eq $((2 * HELD)) "$(conncount list --listener smtp -4 32 -6 128 |
			grep -c -e ' 10\.9\.0\.' -e ' 2001:db8:9::')" 'addresses held'
		churn_stopped 0
	done
	echo "$times loads in $(((${EPOCHREALTIME/./} - ${begin/./}) / 1000)) ms"
	watch_end
	expect_eq "$(printf '%s\n' "10.9.0.0/16 $HELD $HELD" "10.9.0.0/20 $HELD $HELD" \
		'10.9.0.7/32 1 1' "2001:db8:9::/48 $HELD $HELD")" "$(<"$TEST_DIR/watched")" 'all answers'
	churn_end
	wait_until exactly $((2 * HELD))
	sessions close server
	exactly 0
	expect_eq 0 "$(state nodes)" nodes
	# Removed listeners without sessions are forgotten.
	variant 0
	load
	load
	expect_eq 2 "$(conncount status --json | grep -o '"active":' | wc -l)" listeners
}

@test "a reader that opens the maps while a load replaces them gets an answer" {
	requires speed
	local n=-1 reader
	requires strace
	held
	configure_smtp
	load
	while :; do
		n=$((n + 2))
		rm -f "$TEST_DIR/reader"
		strace -f -q -o "$TEST_DIR/reader" -e trace=bpf -e inject=bpf:signal=STOP:when=$n \
			conncount count 10.9.0.0/16 >"$TEST_DIR/answer" 2>&1 3>&- &
		reader=$!
		wait_until grep -q -e 'stopped by SIGSTOP' -e 'exited with' "$TEST_DIR/reader"
		grep -q 'stopped by SIGSTOP' "$TEST_DIR/reader" || break
		configure_smtp_with "max_prefixes = $((1000 + n))"
		conncount load -c "$CONFIG" --cgroup "$CGROUP"
		kill -CONT "$(awk '/stopped by SIGSTOP/ { print $1; exit }' "$TEST_DIR/reader")"
		wait "$reader" || fail "call $n: $(cat "$TEST_DIR/answer")"
		expect_eq "$HELD" "$(cat "$TEST_DIR/answer")" "answer of the reader stopped at call $n"
	done
	wait "$reader"
	[ "$n" -gt 10 ] || fail "only $n calls"
}

# --- what new maps take over ---

@test "new maps keep open sessions with their listeners, also with removed and moved ones" {
	held
	sessions listen '*:625'
	printf '%s\n' '[one]' 'listen = *:25' 'service = A' '[gone]' 'listen = *:625' | sections
	load
	sessions open 3 10.1.2.3 192.0.2.1:625
	printf '%s\n' '[two]' 'listen = *:25' '[one]' 'listen = *:26' 'service = A' | sections
	load
	sessions open 4 10.1.2.3 192.0.2.1:25
	printf '%s\n' 'max_prefixes = 1000' '[two]' 'listen = *:25' '[one]' 'listen = *:26' \
		'service = A' | sections
	expect 0 load
	expect_match 'new maps' "$output"
	expect_count "$HELD" --listener one
	expect_count "$HELD" --service A 10.9.0.0/16
	expect_count 3 --listener gone
	expect_count 4 --listener two
	expect 0 conncount verify
	expect_match "of $((HELD + 7)) sessions" "$output"
	sessions close server
	load
	expect 2 conncount count --listener gone
	expect_eq 0 "$(state nodes)" nodes
}

# totals: prints how many sessions status reports as opened and closed, IPv4 and IPv6.
totals() {
	state listeners.0.ipv4.opened listeners.0.ipv4.closed listeners.0.ipv6.opened listeners.0.ipv6.closed |
		tr '\n' ' '
}

@test "new maps continue the totals, which never decrease" {
	configure_smtp
	load
	sessions_start
	sessions listen '*:25'
	sessions open 40 10.1.2.3 192.0.2.1:25
	sessions close both 1-30
	sessions open 5 2001:db8::7 '[2001:db8::25]:25'
	wait_until expect_count 15
	expect_eq '40 30 5 0 ' "$(totals)"
	configure_smtp_with 'max_prefixes = 2000'
	load
	exactly 15
	expect_eq '40 30 5 0 ' "$(totals)" 'after a load with another max_prefixes'
	# Too small for all: an uncounted session is not open, and no total decreases.
	configure_smtp_with 'max_prefixes = 5'
	load
	expect_eq 5 "$(state listeners.0.uncounted)" uncounted
	expect_eq '40 30 5 5 ' "$(totals)" 'with sessions that find no room'
	configure_smtp
	load
	exactly 15
	sessions close both
	wait_until expect_count 0
	expect_eq '40 40 ' "$(totals | cut -d ' ' -f 1,2) "
}
