# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# instance.bash - a place of its own for each test: a cgroup v2 directory, a network
# namespace in which every address is local, a directory for pins, and a teardown that fails
# the test if anything of it is left behind. Nothing has a fixed name.
#
# Load common.bash first. A test file has
#	setup() { instance_setup; }
#	teardown() { instance_teardown; }
#
# A file whose tests all begin with the same configuration loaded, and leave one loaded, loads it by
# load_shared. On an emulated machine, where a load takes longer than most of such tests, they then have
# one directory, cgroup and instance, and each a network namespace of its own.

# instance_setup: sets
#   TEST_DIR       directory for the test's files; world-readable, empty but for the namespace
#   CGROUP         the test's cgroup, as conncount's --cgroup takes it
#   CGROUP_PATH    its directory
#   CONFIG         configuration file that configure writes and load reads
#   CONNCOUNT_DIR  the instance (exported; not made here)
instance_setup() {
	# bats' notes of where it is (common.bash) stay in the test itself, for its report to name the
	# line there. In the functions that it calls they took most of the time of all the tests.
	set +T
	# A test that is to be skipped for this is skipped before all this work is done for it.
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
	# What a server has closed stays a socket for as long as the client holds on (tcp_fin_timeout), so
	# that it is the close that ends a session and not the end of the socket.
	unshare --net="$TEST_DIR/net" sh -e -c '
		cd /proc/sys/net/ipv4
		echo 1 >ip_nonlocal_bind
		echo 1 >../ipv6/ip_nonlocal_bind
		echo 1 >tcp_tw_reuse
		echo 120 >tcp_fin_timeout
		echo 1024 65535 >ip_local_port_range
		exec ip -batch -' <<<"$NETWORK_UP"
}

# instance_at DIR: the place that DIR is the directory of.
instance_at() {
	TEST_DIR=$1
	CGROUP=/${TEST_DIR##*/}
	CGROUP_PATH=$CGROUP2_ROOT$CGROUP
	CONFIG=$TEST_DIR/conncount.conf
	export CONNCOUNT_DIR=$TEST_DIR/i
	SESSIONS_PID=
}

# locks: how the names of the locks begin that loads below the test's directory make.
locks() {
	printf '/run/conncount-lock-%s-%x-' "$(stat -c %D "$TEST_DIR")" "$(stat -c %i "$TEST_DIR")"
}

# instance_requires: what each of them needs. It is looked for once in each file.
instance_requires() {
	local root=${BATS_FILE_TMPDIR:-$BATS_TEST_TMPDIR}/cgroup2-root
	if [ ! -e "$root" ]; then
		requires root bpf cgroup2 netns ipv6 ss ip python3 build
		cgroup2_root >"$root"
	fi
	CGROUP2_ROOT=$(<"$root")
}

# Every address of both families is this host's, so a test may use any, and no packet leaves the
# namespace: there is nothing in it but lo.
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

# start_in_ns COMMAND...: the same in the background; its process id is $STARTED.
start_in_ns() {
	(enter_ns "$@") 3>&- &
	STARTED=$!
}

# enter_ns COMMAND...: becomes COMMAND, there.
enter_ns() {
	echo "$BASHPID" >"$CGROUP_PATH/cgroup.procs"
	exec nsenter --net="$TEST_DIR/net" -- "$@"
}

# configure: writes $CONFIG: stdin, after a [conncount] section that names a group which every machine
# has. `configure raw` writes stdin alone. Tests load from outside their network namespace: unless
# stdin says which ones are counted, all are.
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

# configure_smtp [LINE...]: the listener smtp, port 25 of every address, for the service SMTP, which is the
# default; then LINEs, of other sections.
configure_smtp() {
	printf '%s\n' '[smtp]' 'listen = *:25' "$@" | configure
}

# configure_smtp_with LINE...: the same listener; LINEs are in the section [conncount].
configure_smtp_with() {
	[[ $* = *'group = '* ]] || set -- 'group = root' "$@"
	printf '%s\n' '[conncount]' "$@" '[smtp]' 'listen = *:25' | configure raw
}

# load_library FILE: what bats calls load, which has another meaning from here on.
if ! declare -F load_library >/dev/null && declare -F load >/dev/null; then
	LOAD=$(declare -f load)
	eval "load_library${LOAD#load}"
fi

# load [OPTION...]: loads $CONFIG into the test's cgroup, and remembers the kernel objects
# that came with it for the leak check. `load ../lib/NAME` is bats' load, so that libraries can be
# loaded in any order.
# shellcheck disable=SC2120 # other files give options
load() {
	if [[ ${1:-} = ../lib/* ]]; then
		load_library "$1"
		return
	fi
	conncount load -c "$CONFIG" --cgroup "$CGROUP" "$@" || return
	remember
}

# load_shared: as load; where the machine is emulated, for all tests of the file.
load_shared() {
	[ ! -e "$BATS_FILE_TMPDIR/shared" ] || return 0
	# shellcheck disable=SC2119
	load || return
	[ "$SCALE" -eq 1 ] || echo "$TEST_DIR" >"$BATS_FILE_TMPDIR/shared"
}

# remember: notes the BPF programs, links and maps now attached to the test's cgroup.
remember() {
	"$BUILD/tests/objects" attached "$CGROUP_PATH" >>"$TEST_DIR/bpf-ids"
}

# nursery ORDER...: an order of tests/tools/nursery.py, which each file has one of.
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

# tool_start NAME SOCKET [NETNS]: starts tests/tools/NAME.py, in the test's cgroup and network namespace
# or in that of the file NETNS. Its process id is $STARTED, with which tool_wait waits for its end. It is
# there for the first order: tell waits for it.
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

# sessions COMMAND...: one command of sessions.py, or with none those on stdin, one a line.
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

# as_user GROUP COMMAND...: COMMAND as an ordinary user, member of GROUP, with no capability, in
# the test's network namespace; on copies: the tree may be in a place closed to users.
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

# expect_count N [ARGUMENT...]: `conncount count ARGUMENT...` prints N, now.
expect_count() {
	local want=$1 got
	shift
	got=$(conncount count "$@") || fail "conncount count $*: exit status $?" || return
	expect_eq "$want" "$got" "conncount count $*"
}

# counting N: opens a session to port 25 and sees it counted, as the N-th of its client.
counting() {
	if [ -z "$SESSIONS_PID" ]; then
		sessions_start
		sessions listen '*:25'
	fi
	sessions open 1 10.1.2.3 192.0.2.1:25
	expect_count "$1" 10.1.2.3
}

# state PATH...: values of `conncount status --json`, see json. (status exits 1 where something is
# uncounted, and still prints.)
state() {
	local text rc=0
	text=$(conncount status --json) || rc=$?
	[ $rc -le 1 ] && [ -n "$text" ] || fail "conncount status --json: exit status $rc" || return
	json "$@" <<<"$text"
}

# nodes_there: how many nodes the table of counts has, in use or not. Needs bpftool.
nodes_there() {
	bpftool map dump pinned "$CONNCOUNT_DIR/live/counts" | grep -c '"key"' || :
}

# expect_nothing: no session is counted, or was not counted; no node is left; and what the first
# listener has opened it has closed.
expect_nothing() {
	local values
	expect_count 0
	expect 0 conncount status --json
	mapfile -t values < <(json nodes uncounted lost listeners.0.opened listeners.0.closed <<<"$output")
	expect_eq '0 0 0' "${values[*]::3}" 'nodes, uncounted, lost'
	expect_eq "${values[3]}" "${values[4]}" 'opened and closed'
}

# counted N: N sessions, by the total, by the kernel's socket list, and on every level.
counted() {
	expect_count "$1"
	verified "$1"
}

# verified N: where the machine is emulated, only the first time in each test and every fourth time from
# there on: it costs more there than all that is counted meanwhile.
VERIFIED=0
verified() {
	((SCALE == 1 || VERIFIED++ % 4 == 0)) || return 0
	expect 0 conncount verify
	expect_match "^0 differences: [0-9]+ prefixes of $1 sessions compared, 0 in flight" "$output"
}

# nothing_left: all is closed, and that is what is counted.
nothing_left() {
	expect_nothing
	verified 0
}

# lua_print REMOTE LOCAL EXPRESSION: prints what the Lua expression returns, its values
# separated by tabs; `ac` is the accept construct of that session, `audit` is msys.audit.
# Exit status 1 and the message on stderr where it raises an error.
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

# expect_lua WANT REMOTE LOCAL EXPRESSION: lua_print prints exactly WANT.
expect_lua() {
	local want=$1 got
	shift
	got=$(lua_print "$@") || fail "lua: $3: raised an error" || return
	expect_eq "$want" "$got" "lua: remote $1, local $2: $3"
}

# processes_left: the processes in the test's cgroup or network namespace. (Without a process of
# its own for each, and a look at every file there: it is done several times in each test.)
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

# mounts: prints where something is mounted below the test's directory, save its namespace; the last
# one first.
mounts() {
	local lines i mount
	mapfile -t lines </proc/self/mounts
	for ((i = ${#lines[@]} - 1; i >= 0; i--)); do
		mount=${lines[i]#* }
		mount=${mount%% *}
		[[ $mount != "$TEST_DIR"/* || $mount = "$TEST_DIR/net" ]] || echo "$mount"
	done
}

# leaks: prints what of the test is left besides its cgroup, directory and namespace; a line
# each. Nothing where all is clean.
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
	"$BUILD/tests/objects" left "$CGROUP_PATH" <"$TEST_DIR/bpf-ids"
}

# no_leaks: fails, naming them, if there are leaks.
no_leaks() {
	local left
	left=$(leaks)
	[ -z "$left" ] || fail "left behind:" "$left"
}

# instance_remove: takes away the test's own namespace, cgroup and directory.
instance_remove() {
	[[ $(</proc/self/mounts) != *" $TEST_DIR/net "* ]] || umount "$TEST_DIR/net" || :
	rmdir "$CGROUP_PATH" || :
	rm -rf --one-file-system "$TEST_DIR"
}

# instance_discard: takes away whatever is there, however it got there.
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

# stopped_at CALL N FILE COMMAND...: starts a command and stops it at the end of its N-th system call
# of that name. Its output goes to FILE. Sets STOPPED, the process id to wait for.
stopped_at() {
	local name=$1 n=$2 file=$3
	shift 3
	requires strace
	rm -f "$file.trace" # of an earlier command, which has a stop in it too
	strace -f -q -o "$file.trace" -e trace="$name" -e inject="$name:signal=STOP:when=$n" \
		"$@" >"$file" 2>&1 3>&- &
	STOPPED=$!
	wait_until grep -qs 'stopped by SIGSTOP' "$file.trace"
}

# goes_on FILE [SIGNAL]: continues the command that stopped_at started with that FILE, or kills it.
goes_on() {
	kill "-${2:-CONT}" "$(awk '/stopped by SIGSTOP/ { print $1; exit }' "$1.trace")"
}

# instance_teardown: ends the sessions, unloads what is loaded, and fails if something is
# left: processes, mounts, pins, programs, links, maps, cgroups, the namespace. Takes it away
# in any case. What is shared stays, if all was well and nothing is counted any more.
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

# instance_leave: takes away what a test has had for itself of a shared instance. Fails, saying so, if that
# is not all there was.
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

# instance_end: ends an instance and its place.
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
