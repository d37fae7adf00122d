# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Loads and unloads at the same time, the lock that they take, and stacked mounts.

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

# again TIMES COMMAND...: runs COMMAND that many times; fails if one run fails.
again() {
	local i times=$1
	shift
	for ((i = 0; i < times; i++)); do
		"$@" || return
	done
}

@test "loads and unloads at the same time all succeed, and leave nothing" {
	requires speed
	local i pids=()
	held
	configure_smtp
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
	exactly "$HELD"
	expect 0 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}

ended() {
	! kill -0 "$1" 2>/dev/null
}

# settled PID FILE: the command has ended, or FILE says that it waits for the lock.
settled() {
	ended "$1" || grep -q 'waiting for process' "$2"
}

@test "an unload and two loads at once leave at most one mount; the next unload removes everything" {
	requires speed
	local load unload other
	held
	configure_smtp
	# Stopped after it has found the directory empty, and before it mounts.
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
	exactly "$HELD"
	expect 0 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
	expect_eq '' "$("$BUILD/tests/objects" attached "$CGROUP_PATH")" attached
}

@test "a command that finds the lock held names the holder, and waits" {
	requires speed
	local load unload pid
	held
	configure_smtp
	stopped_at mount 1 "$TEST_DIR/loaded" conncount load -c "$CONFIG" --cgroup "$CGROUP"
	load=$STOPPED
	pid=$(awk '/stopped by SIGSTOP/ { print $1; exit }' "$TEST_DIR/loaded.trace")
	conncount unload >"$TEST_DIR/unloaded" 2>"$TEST_DIR/told" 3>&- &
	unload=$!
	wait_until grep -q "waiting for process $pid (conncount load -c $CONFIG --cgroup $CGROUP), which holds the lock /run/conncount-lock" \
		"$TEST_DIR/told"
	goes_on "$TEST_DIR/loaded"
	wait "$load" || fail "$(cat "$TEST_DIR/loaded")"
	wait $unload || fail "$(cat "$TEST_DIR/unloaded")"
	expect_eq "$CONNCOUNT_DIR: counting stopped" "$(<"$TEST_DIR/unloaded")"
	expect_eq 1 "$(wc -l <"$TEST_DIR/told")" 'lines on stderr'
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"

	# The kernel releases the lock of a process that is killed.
	stopped_at mount 1 "$TEST_DIR/loaded" conncount load -c "$CONFIG" --cgroup "$CGROUP"
	goes_on "$TEST_DIR/loaded" KILL
	wait "$STOPPED" || :
	load
	exactly "$HELD"
}

# What makes a container of a command, before the test's directory: a /run with nothing but that.
# shellcheck disable=SC2016 # that shell's
CONTAINER=(unshare --mount sh -e -c '
	mount --rbind "$0" /mnt
	mount -t tmpfs none /run
	mkdir -p "$0"
	mount --rbind /mnt "$0"
	exec "$@"')

@test "loads in two containers, which have only the bpffs in common, wait for each other" {
	requires speed
	local waiting
	held
	configure_smtp
	load
	configure_smtp_with 'max_prefixes = 1001'
	cp "$CONFIG" "$TEST_DIR/other.conf"
	stopped_at renameat2 1 "$TEST_DIR/loaded" \
		"${CONTAINER[@]}" "$TEST_DIR" conncount load -c "$TEST_DIR/other.conf" --cgroup "$CGROUP"
	expect_eq 'drwx------ root root' "$(stat -c '%A %U %G' "$CONNCOUNT_DIR/lock")"
	configure_smtp_with 'max_prefixes = 1002'
	conncount load -c "$CONFIG" --cgroup "$CGROUP" >"$TEST_DIR/waits" 2>&1 3>&- &
	waiting=$!
	wait_until grep -q "waiting for process .*, which holds the lock $CONNCOUNT_DIR/lock" "$TEST_DIR/waits"
	goes_on "$TEST_DIR/loaded"
	wait "$STOPPED" || fail "$(cat "$TEST_DIR/loaded")"
	wait $waiting || fail "$(cat "$TEST_DIR/waits")"
	expect_match '"max_prefixes": ?1002,' "$(conncount status --json)" status
	exactly "$HELD"
	[ ! -e "$CONNCOUNT_DIR/lock" ] || fail "$CONNCOUNT_DIR/lock is left"
}

@test "a load that waits while another container's unload removes the directory makes it again" {
	requires speed
	local waiting bpf=$TEST_DIR/bpf
	held
	configure_smtp
	mkdir "$bpf"
	mount -t bpf none "$bpf"
	load --dir "$bpf/i"
	stopped_at unlinkat 1 "$TEST_DIR/unloaded" conncount unload --dir "$bpf/i"
	"${CONTAINER[@]}" "$TEST_DIR" conncount load -c "$CONFIG" --cgroup "$CGROUP" --dir "$bpf/i" >"$TEST_DIR/waits" 2>&1 3>&- &
	waiting=$!
	wait_until grep -q "waiting for process .*, which holds the lock $bpf/i/lock" "$TEST_DIR/waits"
	goes_on "$TEST_DIR/unloaded"
	wait "$STOPPED" || fail "$(cat "$TEST_DIR/unloaded")"
	wait $waiting || fail "$(cat "$TEST_DIR/waits")"
	expect_match 'counting started' "$(<"$TEST_DIR/waits")"
	CONNCOUNT_DIR=$bpf/i exactly "$HELD"
	expect 0 conncount unload --dir "$bpf/i"
	[ ! -e "$bpf/i" ] || fail "$bpf/i is left"
	umount "$bpf"
	rmdir "$bpf"
}

@test "unload removes stacked mounts, each with an instance that counts" {
	local i
	held
	configure_smtp
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
