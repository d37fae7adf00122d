# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# A load that replaces another, or an unload, killed at each of its system calls that matters: the
# counts stay right, and the next command finishes the work.

load ../lib/common
load ../lib/replace
load ../lib/instance

time_limit 900

setup() {
	instance_setup
}

teardown() {
	instance_teardown
}

# calls COMMAND...: runs COMMAND, and prints the system calls to kill it at, as `NAME N`, the N-th
# of that name: all that change something, and some of the others.
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

# killed NAME N COMMAND...: kills COMMAND when it enters its N-th system call of that NAME. Returns
# 1 if it ended before.
killed() {
	local name=$1 n=$2 rc=0
	shift 2
	strace -f -qq -o /dev/null -e trace="$name" -e inject="$name:signal=KILL:when=$n" \
		"$@" >/dev/null 2>&1 || rc=$?
	[ $rc -eq 137 ]
}

# at_each_call SCENARIO: runs `SCENARIO_prepare`, which sets the array COMMAND. Then, for each call
# that `calls` prints, or one in PART, as run number I: `SCENARIO_before I`, COMMAND until it is
# killed at that call, and `SCENARIO_after I`. Two processes share the calls, each with an instance
# of its own and numbers from 1 on.
at_each_call() {
	local half pids=() first=$((SRANDOM % PART))
	requires strace
	for half in 0 1; do
		half "$half" "$first" "$1" >"$TEST_DIR/half$half" 2>&1 3>&- &
		pids+=($!)
	done
	for half in 0 1; do
		wait "${pids[half]}" || fail "$(tail -40 "$TEST_DIR/half$half")"
		tail -1 "$TEST_DIR/half$half"
	done
}

half() {
	local half=$1 first=$2 scenario=$3 call=0 i=0 done=0 points name n
	export CONNCOUNT_DIR=$TEST_DIR/half.$half
	CONFIG=$TEST_DIR/half.$half.conf
	"${scenario}_prepare"
	points=$(calls "${COMMAND[@]}")
	[ "$(wc -l <<<"$points")" -ge 20 ] || fail 'too few system calls' "$points"
	"${scenario}_after" 0
	while read -r name n; do
		call=$((call + 1))
		[ $((call % (2 * PART))) -eq $((2 * first + half)) ] || continue
		i=$((i + 1))
		"${scenario}_before" $i
		if killed "$name" "$n" "${COMMAND[@]}"; then
			done=$((done + 1))
		fi
		"${scenario}_after" $i || fail "killed at call $call: $name, number $n"
	done <<<"$points"
	conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
	[ $((done * 10)) -ge $((i * 4)) ] || fail "killed only $done times"
	echo "killed $done times"
}

# finished I [MORE]: checks the counts after a load that was not killed; by verify every sixth time,
# with MORE sessions in other services.
finished() {
	expect_count "$HELD" 10.9.0.0/16
	expect_count "$HELD" 10.9.0.0/24
	[ $(($1 % 6)) -ne 0 ] || exactly "$HELD" "${2:-0}"
}

# inform: sets $status_text to what `status --json` prints, or to 'not loaded'. It may exit with 1
# only while sessions are being entered.
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
	configure_smtp
	COMMAND=(conncount load -c "$CONFIG" --cgroup "$CGROUP")
}

first_before() {
	:
}

first_after() {
	inform
	[ "$status_text" = 'not loaded' ] || expect_count "$HELD" 10.9.0.0/16
	if [ $(($1 % 2)) -eq 0 ]; then
		expect 0 "${COMMAND[@]}"
		finished "$1"
	fi
	expect 0 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}

@test "if the first load is killed at any step, the next load or unload finishes" {
	requires speed
	held
	at_each_call first
}

# Load number I moves the listener `extra` to another port, where one session is open.
changed_prepare() {
	configure_smtp
	conncount load -c "$CONFIG" --cgroup "$CGROUP"
	EXTRA=0
	COMMAND=(conncount load -c "$CONFIG" --cgroup "$CGROUP")
	changed_before 0
}

changed_before() {
	configure_smtp
	printf '[extra]\nlisten = *:%d\nservice = Control\n' $((700 + $1)) >>"$CONFIG"
}

changed_after() {
	local port=$((700 + $1)) got=0
	if [ "$EXTRA" -gt 0 ]; then
		inform
		expect_count "$HELD" 10.9.0.0/16
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

@test "a load of a changed configuration, killed at any step, leaves the old or new one counting" {
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
	configure_smtp
	conncount load -c "$CONFIG" --cgroup "$CGROUP"
	COMMAND=(conncount load -c "$CONFIG" --cgroup "$CGROUP")
	rebuilt_before 0
}

rebuilt_before() {
	configure_smtp_with "max_prefixes = $((1000 + $1))"
}

rebuilt_after() {
	inform
	expect_match '"exact": ?true' "$status_text" status
	expect_count "$HELD" 10.9.0.0/16
	expect 0 "${COMMAND[@]}"
	expect_match "\"max_prefixes\": ?$((1000 + $1))," "$(conncount status --json)" status
	finished "$1"
}

@test "a load with another max_prefixes, killed at any step, leaves the old or new maps counting" {
	requires speed
	held
	at_each_call rebuilt
}

unload_prepare() {
	configure_smtp
	conncount load -c "$CONFIG" --cgroup "$CGROUP"
	COMMAND=(conncount unload)
}

unload_before() {
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
}

unload_after() {
	inform
	[ "$status_text" = 'not loaded' ] || expect_count "$HELD" 10.9.0.0/16
	if [ "$FINISH" = load ]; then
		expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
		finished "$1"
	fi
	expect 0 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}

@test "if unload is killed at any step, the next load or unload finishes" {
	requires speed
	held
	FINISH=unload at_each_call unload
	FINISH=load at_each_call unload
}
