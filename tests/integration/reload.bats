# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# load and unload, repeated and several at once; and the permission to read. See also
# command/load.bats.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	configure_smtp
}

teardown() {
	instance_teardown
}

@test "each load counts: the first, a second one, and one after an unload" {
	load
	counting 1
	load
	counting 2
	expect 0 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
	wait_until no_leaks_but_sessions
	expect 1 conncount count
	sessions close server
	load
	counting 1
}

# no_leaks_but_sessions: fails if anything is left but sessions.py, a fork of nursery.py.
no_leaks_but_sessions() {
	local left
	left=$(leaks | grep -v '^process .*nursery\.py' || :)
	[ -z "$left" ] || fail "$left"
}

@test "eight loads at once make one instance" {
	requires speed
	local i pids=()
	for ((i = $(scaled 8 4); i > 0; i--)); do
		conncount load -c "$CONFIG" --cgroup "$CGROUP" 3>&- &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i"
	done
	remember
	expect_eq 2 "$(grep -c ^prog "$TEST_DIR/bpf-ids")" 'programs attached'
	expect_eq 1 "$(grep -c " $CONNCOUNT_DIR " /proc/self/mountinfo)" mounts
	counting 1
}

# as_user GROUP COMMAND...: runs COMMAND as an ordinary user, a member of GROUP, without any
# capability; on copies of the command and the modules, since users may be unable to read the tree.
as_user() {
	local group=$1
	shift
	if [ ! -d "$TEST_DIR/copy" ]; then
		mkdir "$TEST_DIR/copy"
		cp -Lr "$BUILD/conncount" "$BUILD"/libconncount.so.0 "$BUILD/lua" "$TEST_DIR/copy/"
		cp -r "$ROOT/lua" "$TEST_DIR/copy/modules"
		chmod -R a+rX "$TEST_DIR/copy"
	fi
	setpriv --reuid=65534 --regid=65534 --groups="$group" --inh-caps=-all --bounding-set=-all \
		--no-new-privs env PATH="$TEST_DIR/copy:$PATH" LD_LIBRARY_PATH="$TEST_DIR/copy" \
		LUA_PATH="$TEST_DIR/copy/modules/?.lua" LUA_CPATH="$TEST_DIR/copy/lua/$LUA_VERSION/?.so" "$@"
}

@test "members of the group can read but change nothing; others cannot even read" {
	requires speed setpriv lua
	configure_smtp_with 'group = daemon'
	load
	counting 1
	expect_eq 'root:daemon 750' "$(stat -c '%U:%G %a' "$CONNCOUNT_DIR")" directory

	expect 0 as_user daemon conncount count 10.1.2.3
	expect_eq 1 "$output" count
	expect 0 as_user daemon conncount list
	expect_match '10\.1\.2\.3/32' "$output"
	expect 0 as_user daemon conncount status
	local policy='print(require("msys.audit").inbound_session_count("10.0.0.0/8", "SMTP"))'
	expect 0 as_user daemon "$LUA" -e "$policy"
	expect_eq 1 "$output" Lua

	# Neither the command nor the kernel lets a member change anything.
	expect 1 as_user daemon conncount unload
	expect_match '^conncount: ' "$errors"
	expect 1 as_user daemon conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match '^conncount: ' "$errors"
	cp "$TOOLS/bpf.py" "$TEST_DIR/copy/"
	expect 0 as_user daemon python3 -I -S "$TEST_DIR/copy/bpf.py" writable "$CONNCOUNT_DIR"
	# A member opens this one for writing to map it: it is frozen, and cannot be written (readers.bats).
	expect_eq "$CONNCOUNT_DIR/live/recent" "$output" 'pins that may be opened for writing'
	expect 0 python3 -I -S "$TOOLS/bpf.py" writable "$CONNCOUNT_DIR"
	expect_match /counts "$output" 'pins that root may write'

	expect 1 as_user nogroup conncount count
	expect_eq '' "$output" output
	expect_match '[Pp]ermi' "$errors"
	expect_match 'group' "$errors"
	expect 0 as_user nogroup "$LUA" -e "$policy"
	expect_match $'^nil\t.+\t13$' "$output" Lua
	counting 2
}
