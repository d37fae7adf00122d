# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# killed.bash - commands that are killed at each of their system calls that matters. Load
# instance.bash, too.

time_limit 900

# calls COMMAND...: runs COMMAND, and prints the system calls to kill it at, as `NAME N`, the N-th
# of that name: all that change something, and some of the others; of many updates of one map,
# too, only some.
calls() {
	strace -f -y -o "$TEST_DIR/trace.$BASHPID" "$@" >/dev/null || return
	awk '
		{ name = $2; sub(/\(.*/, "", name) }
		name !~ /^[a-z_0-9]+$/ { next }
		{ n[name]++ }
		/ = -1 E/ { next }
		match($0, /BPF_MAP_UPDATE_ELEM, \{map_fd=[0-9]+/) {
			updates = ++updated[substr($0, RSTART, RLENGTH)]
			if (updates > 8 && updates % 128) next
		}
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
	# shellcheck disable=SC2034 # read by scenarios
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
		echo "killed at call $call: $name, number $n"
		"${scenario}_after" $i
	done <<<"$points"
	conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
	[ $((done * 10)) -ge $((i * 4)) ] || fail "killed only $done times"
	echo "killed $done times"
}
