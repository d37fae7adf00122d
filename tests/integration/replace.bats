#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# A load in place of another: by other configurations and other builds, under traffic, killed
# at any of its system calls, against others; and no session is missed, lost or counted twice. To which
# listener open sessions belong, where the maps stay, is in command/reconfigure.bats.

load ../lib/common
load ../lib/instance

HELD=20 # sessions that stay open, of 10.9.0.1+

setup() {
	CHURN=()
	instance_setup
}

teardown() {
	local rc=0
	churn_end || rc=1
	instance_teardown || rc=1
	return $rc
}

# held: opens the sessions that stay.
held() {
	sessions_start
	sessions listen 192.0.2.1:25
	sessions open $HELD 10.9.0.1+ 192.0.2.1:25
}

# sections: writes $CONFIG from stdin, which has a [conncount] section's other keys first.
sections() {
	{
		printf '[conncount]\ngroup = root\n'
		cat
	} | configure raw
}

# smtp [LINE...]: a configuration with one listener; LINEs go into [conncount].
smtp() {
	{
		[ $# -eq 0 ] || printf '%s\n' "$@"
		printf '[smtp]\nlisten = *:25\n'
	} | sections
}

# exactly COUNT [MORE]: what is counted is that, with MORE in other services, and the kernel's socket list
# agrees.
exactly() {
	expect_count "$1"
	verified $(($1 + ${2:-0}))
	expect 0 conncount status
}

# --- traffic ---

# churn_start ADDR:PORT PROCESSES: full-speed traffic, in a cgroup of its own below the test's. Nice, so
# that what is tried meanwhile does not wait for a processor, of which there may be few and slow ones.
churn_start() {
	requires churn
	mkdir -p "$CGROUP_PATH/churn"
	CGROUP_PATH=$CGROUP_PATH/churn start_in_ns nice -n 10 "$BUILD/tests/churn" --procs "$2" \
		--connections 1000000000 --to "$1" --from-base 10.1.2.3 --addresses 4 --seconds 170
	CHURN+=("$STARTED")
	wait_until churn_runs
}

churn_runs() {
	[ "$(wc -l <"$CGROUP_PATH/churn/cgroup.procs")" -gt $((2 * ${#CHURN[@]})) ]
}

# churn_stopped 0|1: lets traffic go on, or stops it where it stands.
churn_stopped() {
	echo "$1" >"$CGROUP_PATH/churn/cgroup.freeze"
	wait_until grep -qx "frozen $1" "$CGROUP_PATH/churn/cgroup.events"
}

churn_gone() {
	[ -z "$(cat "$CGROUP_PATH/churn/cgroup.procs")" ]
}

# churn_end: ends the traffic, with every session of it.
churn_end() {
	local pid rc=0
	[ -d "${CGROUP_PATH:-/none}/churn" ] || return 0
	churn_stopped 0
	for pid in "${CHURN[@]}"; do
		kill -ALRM "$pid" || rc=1
		wait "$pid" 2>/dev/null || :
	done
	CHURN=()
	wait_until churn_gone
	rmdir "$CGROUP_PATH/churn"
	[ $rc -eq 0 ] || fail 'traffic had ended before'
}

# watch_start CIDR...: asks for these all the time, as nice as the traffic. When watch_end returns, the
# answers are in $TEST_DIR/watched. (Not for a subshell, which cannot wait for a child of ours.)
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

# identity: the generation, and the ids of the links, and of the maps that programs share.
identity() {
	state generation
	"$BUILD/tests/objects" attached "$CGROUP_PATH" | grep -v '^prog\|^own' | sort -u
}

@test "a load that changes nothing changes nothing" {
	local before
	held
	smtp
	load
	before=$(identity)
	[ "$(wc -l <<<"$before")" -ge 8 ] || fail 'not all of it was found' "$before"
	expect 0 load
	expect_match 'configuration unchanged' "$output"
	expect_eq "$before" "$(identity)" identity
	exactly $HELD
}

@test "a newer build: other programs over the same maps and links" {
	local before
	held
	smtp
	load
	before=$(identity | tail -n +2)
	expect 0 "$NEWER" load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'configuration unchanged' "$output"
	expect_eq 0.1.99 "$(state build)" build
	expect_eq "$before" "$(identity | tail -n +2)" 'maps and links'
	exactly $HELD
	before=$("$BUILD/tests/objects" attached "$CGROUP_PATH" | grep '^prog')
	load
	[ "$before" != "$("$BUILD/tests/objects" attached "$CGROUP_PATH" | grep '^prog')" ] ||
		fail 'the programs are those of the other build'
	sessions open 5 10.1.2.3 192.0.2.1:25
	exactly $((HELD + 5))
}

@test "a build with another layout: new maps, and nothing missed on the way there and back" {
	local i
	held
	smtp
	load
	churn_start 192.0.2.2:25 4
	# Each build can read only its own maps, and says so; whoever can, sees what is held.
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
	expect_eq $HELD "$(grep -v 'another version' "$TEST_DIR/answers" | sort -u)" answers
	churn_end
	wait_until exactly $HELD
}

# --- the bar ---

# variant N: the N-th configuration: what comes, goes, moves and grows. 10.9.0.0/16 is on a
# listener that stays.
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

@test "50 loads under full-speed churn: 0 differences each time, and who is open stays counted" {
	local i begin command times
	times=$(scaled 50 3)
	held
	sessions listen '[2001:db8::1]:25'
	sessions open $HELD 2001:db8:9::1+ '[2001:db8::1]:25'
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
	# What drained is forgotten.
	variant 0
	load
	load
	expect_eq 2 "$(conncount status --json | grep -o '"active":' | wc -l)" listeners
}

@test "a reader that opens the maps while others take their place gets an answer" {
	requires speed
	local n=-1 reader
	requires strace
	held
	smtp
	load
	while :; do
		n=$((n + 2))
		rm -f "$TEST_DIR/reader"
		strace -f -q -o "$TEST_DIR/reader" -e trace=bpf -e inject=bpf:signal=STOP:when=$n \
			conncount count 10.9.0.0/16 >"$TEST_DIR/answer" 2>&1 3>&- &
		reader=$!
		wait_until grep -q -e 'stopped by SIGSTOP' -e 'exited with' "$TEST_DIR/reader"
		grep -q 'stopped by SIGSTOP' "$TEST_DIR/reader" || break
		smtp "max_prefixes = $((1000 + n))"
		conncount load -c "$CONFIG" --cgroup "$CGROUP"
		kill -CONT "$(awk '/stopped by SIGSTOP/ { print $1; exit }' "$TEST_DIR/reader")"
		wait "$reader" || fail "call $n: $(cat "$TEST_DIR/answer")"
		expect_eq $HELD "$(cat "$TEST_DIR/answer")" "answer of the reader stopped at call $n"
	done
	wait "$reader"
	[ "$n" -gt 10 ] || fail "only $n calls"
}

# --- what new maps take over ---

@test "new maps take over where open sessions belong: to listeners removed, or with other ports" {
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
	expect_count $HELD --listener one
	expect_count $HELD --service A 10.9.0.0/16
	expect_count 3 --listener gone
	expect_count 4 --listener two
	expect 0 conncount verify
	expect_match "of $((HELD + 7)) sessions" "$output"
	sessions close server
	load
	expect 2 conncount count --listener gone
	expect_eq 0 "$(state nodes)" nodes
}

# --- killed on the way ---

# calls COMMAND...: runs it, and prints its system calls that may be worth dying at, as `NAME
# N`, the N-th of that name: all that change anything, and some of the others.
calls() {
	strace -f -y -o "$TEST_DIR/trace.$BASHPID" "$@" >/dev/null || return
	awk '
		{ name = $2; sub(/\(.*/, "", name) }
		name !~ /^[a-z_0-9]+$/ { next }
		{ n[name]++ }
		/ = -1 E/ { next }
		name ~ /^(mount|mkdir(at)?|rename(at2?)?|unlink(at)?|rmdir|umount2)$/ ||
		name ~ /^(chown|chmod|flock|membarrier|setns|exit_group)$/ ||
		/BPF_(OBJ_PIN|LINK_|MAP_UPDATE|MAP_DELETE|ITER_CREATE)/ ||
		/MAP_SHARED, [0-9]+<anon_inode:bpf-map>/ || /^[0-9]+ read.*bpf_iter/ ||
		/^[0-9]+ close.*bpf_link/ || (name != last && ++others % 16 == 0) {
			print name, n[name]
		}
		{ last = name }' "$TEST_DIR/trace.$BASHPID"
}

# killed NAME N COMMAND...: runs it until it enters the N-th system call of that NAME.
# Returns 1 if it came to its end instead.
killed() {
	local name=$1 n=$2 rc=0
	shift 2
	strace -f -qq -o /dev/null -e trace="$name" -e inject="$name:signal=KILL:when=$n" \
		"$@" >/dev/null 2>&1 || rc=$?
	[ $rc -eq 137 ]
}

# at_each_call SCENARIO: calls `SCENARIO_prepare`, which sets the array COMMAND, and for each
# of the calls that COMMAND makes, number I, `SCENARIO_before I`, COMMAND until it is killed
# there, and `SCENARIO_after I`. In two processes, each with an instance of its own.
at_each_call() {
	local half pids=()
	requires strace
	for half in 0 1; do
		half "$half" "$1" >"$TEST_DIR/half$half" 2>&1 3>&- &
		pids+=($!)
	done
	for half in 0 1; do
		wait "${pids[half]}" || fail "$(tail -40 "$TEST_DIR/half$half")"
		tail -1 "$TEST_DIR/half$half"
	done
}

half() {
	local half=$1 scenario=$2 i=0 done=0 points name n
	export CONNCOUNT_DIR=$TEST_DIR/half.$half
	CONFIG=$TEST_DIR/half.$half.conf
	"${scenario}_prepare"
	points=$(calls "${COMMAND[@]}")
	[ "$(wc -l <<<"$points")" -ge 20 ] || fail 'too few system calls' "$points"
	"${scenario}_after" 0
	while read -r name n; do
		i=$((i + 1))
		[ $((i % 2)) -eq "$half" ] || continue
		"${scenario}_before" $i
		if killed "$name" "$n" "${COMMAND[@]}"; then
			done=$((done + 1))
		fi
		"${scenario}_after" $i || fail "killed at call $i: $name, number $n"
	done <<<"$points"
	conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
	[ $((done * 10)) -ge $((i * 4)) ] || fail "killed only $done times"
	echo "killed $done times"
}

# finished I [MORE]: after a load that came to its end: every sixth time by verify.
finished() {
	expect_count $HELD 10.9.0.0/16
	expect_count $HELD 10.9.0.0/24
	[ $(($1 / 2 % 6)) -ne 0 ] || exactly $HELD "${2:-0}"
}

# inform: sets $status_text to what `status --json` says, or to 'not loaded'.
inform() {
	local rc=0
	status_text=$(conncount status --json 2>"$CONFIG.err") || rc=$?
	if [ -z "$status_text" ]; then
		expect_match 'not loaded' "$(<"$CONFIG.err")" 'message of status'
		status_text='not loaded'
	elif [ $rc -ne 0 ]; then
		expect_match '"seeding": ?true' "$status_text" 'reason for exit status 1'
	fi
}

first_prepare() {
	smtp
	COMMAND=(conncount load -c "$CONFIG" --cgroup "$CGROUP")
}

first_before() {
	:
}

first_after() {
	inform
	[ "$status_text" = 'not loaded' ] || expect_count $HELD 10.9.0.0/16
	if [ $(($1 / 2 % 2)) -eq 0 ]; then
		expect 0 "${COMMAND[@]}"
		finished "$1"
	fi
	expect 0 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}

# totals: what status says was opened and closed.
totals() {
	state listeners.0.ipv4.opened listeners.0.ipv4.closed listeners.0.ipv6.opened listeners.0.ipv6.closed |
		tr '\n' ' '
}

@test "totals go on in new maps, and never go back" {
	smtp
	load
	sessions_start
	sessions listen '*:25'
	sessions open 40 10.1.2.3 192.0.2.1:25
	sessions close both 1-30
	sessions open 5 2001:db8::7 '[2001:db8::25]:25'
	wait_until expect_count 15
	expect_eq '40 30 5 0 ' "$(totals)"
	smtp 'max_prefixes = 2000'
	load
	exactly 15
	expect_eq '40 30 5 0 ' "$(totals)" 'after a load with another max_prefixes'
	# Too small for all: what is uncounted is not open, and no total is less than it was.
	smtp 'max_prefixes = 5'
	load
	expect_eq 5 "$(state listeners.0.uncounted)" uncounted
	expect_eq '40 30 5 5 ' "$(totals)" 'with sessions that find no room'
	smtp
	load
	exactly 15
	sessions close both
	wait_until expect_count 0
	expect_eq '40 40 ' "$(totals | cut -d ' ' -f 1,2) "
}

@test "the first load killed at any system call: the next load or unload finishes" {
	requires speed
	held
	at_each_call first
}

# Load number I moves the listener `extra` to a port of its own, where one session is open.
changed_prepare() {
	smtp
	conncount load -c "$CONFIG" --cgroup "$CGROUP"
	EXTRA=0
	COMMAND=(conncount load -c "$CONFIG" --cgroup "$CGROUP")
	changed_before 0
}

changed_before() {
	smtp
	printf '[extra]\nlisten = *:%d\nservice = Control\n' $((700 + $1)) >>"$CONFIG"
}

changed_after() {
	local port=$((700 + $1)) got=0
	if [ "$EXTRA" -gt 0 ]; then
		inform
		expect_count $HELD 10.9.0.0/16
		got=$(conncount count --listener extra 2>/dev/null)
		case $status_text in
		*"*:$port"*'"seeding": true'* | *'"seeding": true'*"*:$port"*)
			[ "$got" -eq "$EXTRA" ] || expect_eq $((EXTRA + 1)) "$got" 'extra, seeding'
			;;
		*"*:$port"*) expect_eq $((EXTRA + 1)) "$got" 'extra, new' ;;
		*) expect_eq "$EXTRA" "$got" 'extra, old' ;;
		esac
	fi
	expect 0 "${COMMAND[@]}"
	EXTRA=$((EXTRA + 1))
	expect_count $EXTRA --listener extra
	expect 0 conncount status
	finished "$1" "$EXTRA"
}

@test "a changed configuration killed at any system call: the old or the new one, and goes on" {
	requires speed
	local i
	held
	for i in {700..900}; do
		printf 'listen *:%d\nopen 1 10.8.0.1 192.0.2.1:%d\n' "$i" "$i"
	done >"$TEST_DIR/many"
	sessions <"$TEST_DIR/many" >/dev/null
	at_each_call changed
}

rebuilt_prepare() {
	smtp
	conncount load -c "$CONFIG" --cgroup "$CGROUP"
	COMMAND=(conncount load -c "$CONFIG" --cgroup "$CGROUP")
	rebuilt_before 0
}

rebuilt_before() {
	smtp "max_prefixes = $((1000 + $1))"
}

rebuilt_after() {
	inform
	expect_match '"exact": ?true' "$status_text" status
	expect_count $HELD 10.9.0.0/16
	expect 0 "${COMMAND[@]}"
	expect_match "\"max_prefixes\": ?$((1000 + $1))," "$(conncount status --json)" status
	finished "$1"
}

@test "another max_prefixes killed at any system call: the old maps or the new ones, and goes on" {
	requires speed
	held
	at_each_call rebuilt
}

unload_prepare() {
	smtp
	conncount load -c "$CONFIG" --cgroup "$CGROUP"
	COMMAND=(conncount unload)
}

unload_before() {
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
}

unload_after() {
	inform
	[ "$status_text" = 'not loaded' ] || expect_count $HELD 10.9.0.0/16
	if [ "$FINISH" = load ]; then
		expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
		finished "$1"
	fi
	expect 0 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}

@test "unload killed at any system call: the next load or unload finishes" {
	requires speed
	held
	FINISH=unload at_each_call unload
	FINISH=load at_each_call unload
}

# --- against each other ---

# again TIMES COMMAND...: all of them succeed.
again() {
	local i times=$1
	shift
	for ((i = 0; i < times; i++)); do
		"$@" || return
	done
}

@test "loads and unloads at the same time: none fails, and nothing is left" {
	requires speed
	local i pids=()
	held
	smtp
	for i in 1 2; do
		again "$(scaled 20 2)" conncount load -c "$CONFIG" --cgroup "$CGROUP" 3>&- &
		pids+=($!)
	done
	for i in 1 2; do
		again "$(scaled 100 6)" conncount unload >"$TEST_DIR/unload$i" 2>&1 3>&- &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i" || fail "exit status $?" "$(tail -n 3 "$TEST_DIR"/unload*)"
	done
	load
	exactly $HELD
	expect 0 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}

ended() {
	! kill -0 "$1" 2>/dev/null
}

# settled PID FILE: that command has ended, or waits for the lock and says so in FILE.
settled() {
	ended "$1" || grep -q 'waiting for process' "$2"
}

@test "unload, load and load at once, one of them slow: one mount, one set, and unload takes all" {
	requires speed
	local load unload other
	held
	smtp
	# After it has seen that the directory is empty, before it mounts.
	stopped_at getdents64 2 "$TEST_DIR/loaded" conncount load -c "$CONFIG" --cgroup "$CGROUP"
	load=$STOPPED
	conncount unload >"$TEST_DIR/unloaded" 2>&1 3>&- &
	unload=$!
	wait_until settled $unload "$TEST_DIR/unloaded"
	conncount load -c "$CONFIG" --cgroup "$CGROUP" >"$TEST_DIR/other" 2>&1 3>&- &
	other=$!
	wait_until settled $other "$TEST_DIR/other"
	goes_on "$TEST_DIR/loaded"
	wait "$load" || fail "$(cat "$TEST_DIR/loaded")"
	wait $unload || fail "$(cat "$TEST_DIR/unloaded")"
	wait $other || fail "$(cat "$TEST_DIR/other")"
	[ "$(grep -c " $CONNCOUNT_DIR " /proc/self/mountinfo)" -le 1 ] || fail 'two mounts'
	load
	expect_eq 2 "$(grep -c ^prog <("$BUILD/tests/objects" attached "$CGROUP_PATH"))" 'programs attached'
	exactly $HELD
	expect 0 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
	expect_eq '' "$("$BUILD/tests/objects" attached "$CGROUP_PATH")" attached
}

@test "a command that holds the lock for long is named, and waited for" {
	requires speed
	local load unload pid
	held
	smtp
	stopped_at mount 1 "$TEST_DIR/loaded" conncount load -c "$CONFIG" --cgroup "$CGROUP"
	load=$STOPPED
	pid=$(awk '/stopped by SIGSTOP/ { print $1; exit }' "$TEST_DIR/loaded.trace")
	conncount unload >"$TEST_DIR/unloaded" 2>"$TEST_DIR/told" 3>&- &
	unload=$!
	wait_until grep -q "waiting for process $pid (conncount load -c $CONFIG --cgroup $CGROUP), which has /run/conncount-lock" \
		"$TEST_DIR/told"
	goes_on "$TEST_DIR/loaded"
	wait "$load" || fail "$(cat "$TEST_DIR/loaded")"
	wait $unload || fail "$(cat "$TEST_DIR/unloaded")"
	expect_eq "$CONNCOUNT_DIR: counting stopped" "$(<"$TEST_DIR/unloaded")"
	expect_eq 1 "$(wc -l <"$TEST_DIR/told")" 'lines on stderr'
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"

	# Killed while it has it: the kernel lets go of the lock.
	stopped_at mount 1 "$TEST_DIR/loaded" conncount load -c "$CONFIG" --cgroup "$CGROUP"
	goes_on "$TEST_DIR/loaded" KILL
	wait "$STOPPED" || :
	load
	exactly $HELD
}

@test "mounts on one another, each with a set that counts: unload takes all" {
	local i
	held
	smtp
	for i in 1 2 3; do
		load --dir "$TEST_DIR/j$i"
		[ $i = 1 ] || mount --move "$TEST_DIR/j$i" "$TEST_DIR/j1"
	done
	expect_eq 3 "$(grep -c " $TEST_DIR/j1 " /proc/self/mountinfo)" mounts
	expect 0 conncount unload --dir "$TEST_DIR/j1"
	expect_eq '' "$("$BUILD/tests/objects" attached "$CGROUP_PATH")" attached
	expect_eq 0 "$(grep -c " $TEST_DIR/j" /proc/self/mountinfo)" mounts
	rmdir "$TEST_DIR/j2" "$TEST_DIR/j3"
	[ ! -e "$TEST_DIR/j1" ] || fail "$TEST_DIR/j1 is left"
}
