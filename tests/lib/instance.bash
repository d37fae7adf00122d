# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# instance.bash - a place of its own for each test: a cgroup v2 directory, a network namespace in
# which every address is local, a directory for pins, and a teardown that fails the test if it
# leaves anything behind. Nothing has a fixed name.
#
# Load common.bash first. A test file has
#	setup() { instance_setup; }
#	teardown() { instance_teardown; }
#
# A file whose tests all begin with the same configuration loaded, and leave one loaded, loads it by
# load_shared. On an emulated machine, where a load takes longer than most such tests, its tests
# then share one directory, cgroup and instance; each has a network namespace of its own.

# instance_setup: sets
#   TEST_DIR       directory for the test's files; world-readable
#   CGROUP         the test's cgroup, as conncount's --cgroup takes it
#   CGROUP_PATH    its directory
#   CONFIG         configuration file that configure writes and load reads
#   CONNCOUNT_DIR  the instance (exported; not created here)
instance_setup() {
	# bats still records its position (common.bash) in the test itself, so that its report names
	# the line. In the functions that a test calls, that took most of the time of all tests.
	set +T
	# Skip a test that needs speed before doing all this work for it.
	[[ $(declare -f "${BATS_TEST_NAME:-}") != *'requires speed'* ]] || requires speed
	instance_requires
	if [ -e "$BATS_FILE_TMPDIR/shared" ]; then
		instance_at "$(<"$BATS_FILE_TMPDIR/shared")"
	else
		printf -v TEST_DIR '/run/conncount-test.%08x' "$SRANDOM"
		instance_at "$TEST_DIR"
		mkdir -m 0755 "$TEST_DIR" "$CGROUP_PATH"
		: >"$TEST_DIR/bpf-ids"
	fi
	: >"$TEST_DIR/net"
	# With a long tcp_fin_timeout, a socket that the server has closed exists until the client
	# closes, so that a session ends by the close and not by the end of the socket.
	unshare --net="$TEST_DIR/net" sh -e -c '
		cd /proc/sys/net/ipv4
		echo 1 >ip_nonlocal_bind
		echo 1 >../ipv6/ip_nonlocal_bind
		echo 1 >tcp_tw_reuse
		echo 120 >tcp_fin_timeout
		echo 1024 65535 >ip_local_port_range
		exec ip -batch -' <<<"$NETWORK_UP"
}

# instance_at DIR: sets these variables for the place with the directory DIR.
instance_at() {
	TEST_DIR=$1
	CGROUP=/${TEST_DIR##*/}
	CGROUP_PATH=$CGROUP2_ROOT$CGROUP
	CONFIG=$TEST_DIR/conncount.conf
	export CONNCOUNT_DIR=$TEST_DIR/i
	SESSIONS_PID=
}

# locks: prints the prefix of the lock files that loads below the test's directory create.
locks() {
	printf '/run/conncount-lock-%s-%x-' "$(stat -c %D "$TEST_DIR")" "$(stat -c %i "$TEST_DIR")"
}

# instance_requires: checks what every instance needs, once in each file.
instance_requires() {
	local root=${BATS_FILE_TMPDIR:-$BATS_TEST_TMPDIR}/cgroup2-root
	if [ ! -e "$root" ]; then
		requires root bpf cgroup2 netns ipv6 ss ip python3 build
		cgroup2_root >"$root"
	fi
	CGROUP2_ROOT=$(<"$root")
}

# Every address of both families is local, so a test may use any. No packet leaves the namespace,
# which has only lo.
NETWORK_UP='link set lo up
route replace local 0.0.0.0/0 dev lo
route replace local ::/0 dev lo'

# network_up: undoes network_down.
network_up() {
	nsenter --net="$TEST_DIR/net" -- ip -batch - <<<"$NETWORK_UP"
}

# network_down: from now on no packet arrives.
network_down() {
	nsenter --net="$TEST_DIR/net" -- ip link set lo down
}

# in_ns COMMAND...: runs COMMAND in the test's cgroup and network namespace.
in_ns() {
	(enter_ns "$@")
}

# start_in_ns COMMAND...: the same in the background; sets $STARTED to its process id.
start_in_ns() {
	(enter_ns "$@") 3>&- &
	STARTED=$!
}

# enter_ns COMMAND...: enters them, and executes COMMAND in place of this process.
enter_ns() {
	echo "$BASHPID" >"$CGROUP_PATH/cgroup.procs"
	exec nsenter --net="$TEST_DIR/net" -- "$@"
}

# in_new_ns COMMAND...: runs COMMAND with a new network namespace as the file net2.
in_new_ns() {
	local -r kept=$TEST_DIR
	: >"$kept/net2"
	unshare --net="$kept/net2" sh -e -c '
		echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind
		exec ip -batch -' <<<"$NETWORK_UP"
	"$@"
	# From here on, only its processes hold the namespace.
	umount "$kept/net2"
	rm "$kept/net2"
}

# configure: writes $CONFIG: stdin, after a [conncount] section with a group that every machine has.
# `configure raw` writes stdin without that section. Tests load from outside their network
# namespace, so unless stdin sets `namespaces`, all are counted.
configure() {
	local text
	text=$(cat)
	[ "${1:-}" = raw ] || text=$'[conncount]\ngroup = root\n'$text
	if [[ $text != *namespaces* ]]; then
		[[ $text = *'[conncount]'* ]] || text+=$'\n[conncount]'
		text=${text/'[conncount]'/$'[conncount]\nnamespaces = all'}
	fi
	printf '%s\n' "$text" >"$CONFIG"
}

# configure_smtp [LINE...]: configures the listener smtp, port 25 of every address, for the default
# service SMTP; then LINEs, of other sections.
configure_smtp() {
	printf '%s\n' '[smtp]' 'listen = *:25' "$@" | configure
}

# configure_smtp_with LINE...: the same listener; LINEs are in the section [conncount].
configure_smtp_with() {
	[[ $* = *'group = '* ]] || set -- 'group = root' "$@"
	printf '%s\n' '[conncount]' "$@" '[smtp]' 'listen = *:25' | configure raw
}

# load_library FILE: bats' load, since load has another meaning from here on.
if ! declare -F load_library >/dev/null && declare -F load >/dev/null; then
	LOAD=$(declare -f load)
	eval "load_library${LOAD#load}"
fi

# load [OPTION...]: loads $CONFIG for the test's cgroup, and remembers the created kernel objects
# for the leak check. `load ../lib/NAME` is bats' load, so that libraries can be loaded in any
# order.
# shellcheck disable=SC2120 # other files give options
load() {
	if [[ ${1:-} = ../lib/* ]]; then
		load_library "$1"
		return
	fi
	conncount load -c "$CONFIG" --cgroup "$CGROUP" "$@" || return
	remember
}

# load_shared: loads as load does; on an emulated machine, once for all tests of the file.
load_shared() {
	[ ! -e "$BATS_FILE_TMPDIR/shared" ] || return 0
	# shellcheck disable=SC2119
	load || return
	[ "$SCALE" -eq 1 ] || echo "$TEST_DIR" >"$BATS_FILE_TMPDIR/shared"
}

# attachable: prints where a test's BPF programs can be: its cgroup and, if it still has one, its
# network namespace.
attachable() {
	echo "$CGROUP_PATH"
	[ ! -e "$TEST_DIR/net" ] || echo "$TEST_DIR/net"
}

# remember: records the BPF programs now attached to the test's cgroup or network namespace, with
# their links and maps.
remember() {
	local at
	mapfile -t at < <(attachable)
	"$BUILD/tests/objects" attached "${at[@]}" >>"$TEST_DIR/bpf-ids"
}

# nursery ORDER...: sends an order to tests/tools/nursery.py, of which each file runs one.
nursery() {
	"$BUILD/tests/tell" "$BATS_FILE_TMPDIR/nursery.sock" "$@"
}

setup_file() {
	python3 -I -S "$TOOLS/nursery.py" "$BATS_FILE_TMPDIR/nursery.sock" 3>&- &
	NURSERY=$!
}

teardown_file() {
	kill "$NURSERY"
	wait "$NURSERY" || :
	[ -e "$BATS_FILE_TMPDIR/shared" ] || return 0
	instance_requires
	instance_at "$(<"$BATS_FILE_TMPDIR/shared")"
	instance_end
}

# tool_start NAME SOCKET [NETNS]: starts tests/tools/NAME.py, in the test's cgroup, and in the
# test's network namespace or that of the file NETNS. Sets $STARTED to its process id, for
# tool_wait. The caller need not wait for SOCKET: tell does.
tool_start() {
	local out=/proc/$BASHPID/fd/1
	STARTED=$(nursery start "$1" "$2" "$CGROUP_PATH" "${3:-$TEST_DIR/net}" "$out" \
		"CONNCOUNT_DIR=$CONNCOUNT_DIR")
}

tool_wait() {
	nursery wait "$1"
}

# sessions_start: starts tests/tools/sessions.py.
sessions_start() {
	tool_start sessions "$TEST_DIR/sessions.sock"
	SESSIONS_PID=$STARTED
}

# sessions [COMMAND...]: sends a command to sessions.py, or without one the commands on stdin, one a
# line.
sessions() {
	"$BUILD/tests/tell" "$TEST_DIR/sessions.sock" "$@"
}

# sessions_stop: ends sessions.py, and with it every session.
sessions_stop() {
	local rc=0
	[ -n "$SESSIONS_PID" ] || return 0
	sessions quit || rc=1
	tool_wait "$SESSIONS_PID" || rc=1
	SESSIONS_PID=
	return $rc
}

# as_user GROUP COMMAND...: runs COMMAND as an ordinary user, a member of GROUP, without any
# capability, in the test's network namespace; on copies, since users may be unable to read the
# tree.
as_user() {
	local group=$1
	shift
	if [ ! -d "$TEST_DIR/copy" ]; then
		mkdir "$TEST_DIR/copy"
		cp -L "$BUILD/conncount" "$BUILD/conncount-exporter" "$TOOLS/poke.py" "$TOOLS/bpf.py" "$TEST_DIR/copy/"
		chmod -R a+rX "$TEST_DIR/copy"
	fi
	nsenter --net="$TEST_DIR/net" -- setpriv --reuid=65534 --regid=65534 --groups="$group" \
		--inh-caps=-all --bounding-set=-all --no-new-privs env PATH="$TEST_DIR/copy:$PATH" "$@"
}

# expect_count N [ARGUMENT...]: expects that `conncount count ARGUMENT...` prints N; it does not
# wait.
expect_count() {
	local want=$1 got
	shift
	got=$(conncount count "$@") || fail "conncount count $*: exit status $?" || return
	expect_eq "$want" "$got" "conncount count $*"
}

# counting N: opens a session to port 25, and expects that it is counted as the N-th of its client.
counting() {
	if [ -z "$SESSIONS_PID" ]; then
		sessions_start
		sessions listen '*:25'
	fi
	sessions open 1 10.1.2.3 192.0.2.1:25
	expect_count "$1" 10.1.2.3
}

# state PATH...: prints values of `conncount status --json`, see json. (status exits with 1 if
# something is uncounted, and still prints.)
state() {
	local text rc=0
	text=$(conncount status --json) || rc=$?
	[ $rc -le 1 ] && [ -n "$text" ] || fail "conncount status --json: exit status $rc" || return
	json "$@" <<<"$text"
}

# nodes_there: prints how many nodes the table of counts has, in use or cached. Needs bpftool.
nodes_there() {
	bpftool map dump pinned "$CONNCOUNT_DIR/live/counts" | grep -c '"key"' || :
}

# expect_nothing: expects that no session is counted or uncounted, that no node is in use, and that
# the first listener has closed as many sessions as it has opened, and none is left of its proxies.
expect_nothing() {
	local values
	expect_count 0
	expect 0 conncount status --json
	mapfile -t values < <(json nodes uncounted lost listeners.0.{awaiting,unidentified,opened,closed} \
		<<<"$output")
	expect_eq '0 0 0' "${values[*]::3}" 'nodes, uncounted, lost'
	expect_eq '0 0' "${values[*]:3:2}" 'awaiting, unidentified'
	expect_eq "${values[5]}" "${values[6]}" 'opened and closed'
}

# counted N: expects N sessions, in total, in the kernel's socket list, and on every level.
counted() {
	expect_count "$1"
	verified "$1"
}

# verified N: expects that verify compares N sessions and finds no differences. On an emulated
# machine, only every fourth call in each test does so, beginning with the first: verify takes
# longer there than everything that is counted meanwhile.
VERIFIED=0
verified() {
	((SCALE == 1 || VERIFIED++ % 4 == 0)) || return 0
	expect 0 conncount verify
	expect_match "^0 differences: [0-9]+ prefixes of $1 sessions compared, 0 in flight" "$output"
}

# nothing_left: expects that nothing is open, and nothing counted.
nothing_left() {
	expect_nothing
	verified 0
}

# lua_print REMOTE LOCAL EXPRESSION: prints the values of the Lua expression, separated by tabs;
# `ac` is the accept construct of that session, `audit` is msys.audit. If the expression raises an
# error, the message is on stderr, and the exit status is 1.
lua_print() {
	"$LUA" - "$1" "$2" "$3" <<-'END'
		require("msys.extended.ac")
		audit = require("msys.audit")
		ac = require("conncount").accept{remote = arg[1], ["local"] = arg[2]}
		audit.current(ac)
		local function show(ok, ...)
			if not ok then
				io.stderr:write(tostring(...), "\n")
				os.exit(1)
			end
			print(...)
		end
		show(pcall(assert((loadstring or load)("return " .. arg[3]))))
	END
}

# expect_lua WANT REMOTE LOCAL EXPRESSION: expects that lua_print prints exactly WANT.
expect_lua() {
	local want=$1 got
	shift
	got=$(lua_print "$@") || fail "lua: $3: raised an error" || return
	expect_eq "$want" "$got" "lua: remote $1, local $2: $3"
}

# processes_left: prints the processes in the test's cgroup or network namespace. (It starts no
# process for each one that it looks at, since every test calls it several times.)
processes_left() {
	local pids net
	mapfile -t pids <"$CGROUP_PATH/cgroup.procs"
	for net in /proc/[0-9]*/ns/net; do
		[ "$net" -ef "$TEST_DIR/net" ] || continue
		net=${net#/proc/}
		pids+=("${net%%/*}")
	done
	[ ${#pids[@]} -eq 0 ] || printf '%s\n' "${pids[@]}" | sort -un
}

no_processes() {
	[ -z "$(processes_left)" ]
}

# mounts: prints the mount points below the test's directory but for its namespace, the last one
# first.
mounts() {
	local lines i mount
	mapfile -t lines </proc/self/mounts
	for ((i = ${#lines[@]} - 1; i >= 0; i--)); do
		mount=${lines[i]#* }
		mount=${mount%% *}
		[[ $mount != "$TEST_DIR"/* || $mount = "$TEST_DIR/net" ]] || echo "$mount"
	done
}

# leaks: prints what the test has left besides its cgroup, directory and namespace, a line each;
# nothing if it is clean.
leaks() {
	local pid left
	for pid in $(processes_left); do
		printf 'process %s: %s\n' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline")"
	done
	for left in $(mounts); do
		echo "mount: $left"
	done
	if [ -e "$CONNCOUNT_DIR" ]; then
		echo "directory: $CONNCOUNT_DIR"
	fi
	for left in "$(locks)"*; do
		[ ! -e "$left" ] || echo "lock: $left"
	done
	for left in "$CGROUP_PATH"/*/; do
		[ ! -d "$left" ] || echo "cgroup: $left"
	done
	local at
	mapfile -t at < <(attachable)
	"$BUILD/tests/objects" left "${at[@]}" <"$TEST_DIR/bpf-ids"
}

# no_leaks: fails if there are leaks, and names them.
no_leaks() {
	local left
	left=$(leaks)
	[ -z "$left" ] || fail "left behind:" "$left"
}

# instance_remove: removes the test's namespace, cgroup and directory.
instance_remove() {
	[[ $(</proc/self/mounts) != *" $TEST_DIR/net "* ]] || umount "$TEST_DIR/net" || :
	rmdir "$CGROUP_PATH" || :
	rm -rf --one-file-system "$TEST_DIR"
}

# instance_discard: kills, unmounts and removes whatever is left.
instance_discard() {
	local pid mount
	for pid in $(processes_left); do
		kill -KILL "$pid" 2>/dev/null || :
	done
	wait_until no_processes || :
	for mount in $(mounts); do
		umount "$mount"
	done
	find "$CGROUP_PATH" -mindepth 1 -depth -type d -exec rmdir {} +
	instance_remove
}

# stopped_at CALL N FILE COMMAND...: starts COMMAND, and waits until it has stopped at the end of
# its N-th system call CALL. Its output goes to FILE. Sets $STOPPED to the process id to wait for.
stopped_at() {
	local name=$1 n=$2 file=$3
	shift 3
	requires strace
	rm -f "$file.trace" # an earlier command's trace has a stop in it, too
	strace -f -q -o "$file.trace" -e trace="$name" -e inject="$name:signal=STOP:when=$n" \
		"$@" >"$file" 2>&1 3>&- &
	STOPPED=$!
	wait_until grep -qs 'stopped by SIGSTOP' "$file.trace"
}

# goes_on FILE [SIGNAL]: continues the command that stopped_at started with that FILE, or sends it
# SIGNAL.
goes_on() {
	kill "-${2:-CONT}" "$(awk '/stopped by SIGSTOP/ { print $1; exit }' "$1.trace")"
}

# instance_teardown: ends the sessions, unloads, and fails if anything is left: processes, mounts,
# pins, programs, links, maps, cgroups, the namespace. It removes all of this in any case. A shared
# instance stays if the test passed and nothing is counted any more.
instance_teardown() {
	local rc=0
	[ -n "${TEST_DIR:-}" ] && [ -d "$TEST_DIR" ] || return 0
	# After a failure, a stopped command may hold the lock that unload waits for.
	[ -z "${STOPPED:-}" ] || pkill -KILL -P "$STOPPED" || :
	sessions_stop || rc=1
	if [ -e "$BATS_FILE_TMPDIR/shared" ]; then
		[ $rc -ne 0 ] || [ -z "${BATS_TEST_COMPLETED:-}" ] || ! instance_leave || return 0
		rm "$BATS_FILE_TMPDIR/shared"
		[ -z "${BATS_TEST_COMPLETED:-}" ] || rc=1
	fi
	instance_end || rc=1
	return $rc
}

# instance_leave: removes a test's own part of a shared instance. Fails, saying why, if anything
# else is left.
instance_leave() {
	local left
	if ! wait_until -t 5 no_processes; then
		fail 'left behind:' "$(leaks)" || return
	fi
	wait_until -t 1 expect_nothing || return
	umount "$TEST_DIR/net" || return
	left=$(mounts)
	[ "$left" = "$CONNCOUNT_DIR" ] || fail 'mounted:' "$left" || return
	for left in "$CGROUP_PATH"/*/; do
		[ ! -d "$left" ] || fail "cgroup: $left" || return
	done
	find "$TEST_DIR" -mindepth 1 -maxdepth 1 ! -name i ! -name bpf-ids ! -name conncount.conf \
		-exec rm -rf --one-file-system {} +
}

# instance_end: unloads an instance and removes its place. Fails if anything else was left.
instance_end() {
	local rc=0
	if [[ $'\n'$(mounts)$'\n' = *$'\n'$CONNCOUNT_DIR$'\n'* ]]; then
		remember || rc=1
		conncount unload || rc=1
	fi
	# The kernel frees programs and maps a moment after the last reference to them goes.
	if wait_until -t 5 no_leaks; then
		instance_remove || rc=1
	else
		instance_discard
		rc=1
	fi
	if [ -e "$TEST_DIR" ] || [ -e "$CGROUP_PATH" ]; then
		echo "could not remove $TEST_DIR and $CGROUP_PATH" >&2
		rc=1
	fi
	return $rc
}
