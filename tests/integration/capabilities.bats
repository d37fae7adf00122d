# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# conncount.service grants exactly the capabilities that its commands need, and a message names the
# one that is missing.

load ../lib/common
load ../lib/instance

setup() {
	requires setpriv
	instance_setup
	SERVICE=$ROOT/user/dist/systemd/conncount.service.in
	mapfile -t CAPABILITIES < <(sed -n 's/^CapabilityBoundingSet=//p' "$SERVICE" |
		tr ' ' '\n' | sed 's/^CAP_//' | tr '[:upper:]' '[:lower:]')
	# Everything that load may need capabilities for: sessions in a network namespace that only
	# their sockets hold, a group that is not root's, and a program that reads headers.
	configure_smtp_with 'group = nogroup'
	echo 'proxy = 192.0.2.77' >>"$CONFIG"
	chmod 0777 "$TEST_DIR"
	start_in_ns python3 -I -S "$TOOLS/elsewhere.py" open "$TEST_DIR/left" 25 1
	ELSEWHERE=$STARTED
	wait_until test -e "$TEST_DIR/left"
}

teardown() {
	if [ -n "${ELSEWHERE:-}" ]; then
		kill "$ELSEWHERE"
		wait "$ELSEWHERE" || :
	fi
	instance_teardown
}

# with CAPABILITIES COMMAND...: runs COMMAND with only these capabilities, separated by blanks.
with() {
	local set
	# shellcheck disable=SC2086 # words
	set=$(printf ',+%s' $1)
	shift
	setpriv --bounding-set="-all$set" --inh-caps=-all --no-new-privs "$@"
}

@test "load, load again, verify and unload work with only the capabilities of conncount.service" {
	local all=${CAPABILITIES[*]}
	expect_match sys_admin "$all"
	expect 0 with "$all" conncount load -c "$CONFIG" --cgroup "$CGROUP"
	remember
	expect 0 with "$all" conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'configuration unchanged' "$output"
	expect_count 2
	expect 0 conncount verify
	expect 0 with "$all" conncount verify
	expect 0 with "$all" conncount unload
	expect_match 'counting stopped' "$output"
}

@test "without any one of these capabilities, load fails with a permission error and leaves nothing" {
	local dropped rest
	[ "${#CAPABILITIES[@]}" -gt 2 ] || fail 'no capabilities in conncount.service'
	for dropped in "${CAPABILITIES[@]}"; do
		rest=${CAPABILITIES[*]}
		rest=${rest/$dropped/}
		expect 1 with "$rest" conncount load -c "$CONFIG" --cgroup "$CGROUP"
		expect_match 'not permitted|no permission to enter' "$errors" "without $dropped"
		[ ! -e "$CONNCOUNT_DIR" ] || fail "without $dropped: $CONNCOUNT_DIR is left"
	done
}

@test "a load that may not see every session fails, and does not change the running count" {
	load
	expect_count 2
	printf '%s\n' '[conncount]' 'group = nogroup' '[smtp]' 'listen = *:25' '[b]' 'listen = *:26' |
		configure raw
	expect 1 with 'sys_admin net_admin chown' conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'network namespace [0-9]+: its sockets cannot be listed' "$errors"
	expect_count 2
	expect 1 conncount status
	load
	expect_count 2
	expect 0 conncount status
}

# in_bpffs CAPABILITIES: loads for one network namespace in a bpffs that is there, as a container
# does that has a part of the host's as a volume.
in_bpffs() {
	with "$1" conncount load -c "$TEST_DIR/own.conf" --cgroup "$CGROUP" --dir "$TEST_DIR/bpf/i"
}

@test "for one network namespace and in a bpffs that is there, four capabilities do; one that is missing is named" {
	local needed=(bpf perfmon net_admin chown) dropped rest
	sed '/^namespaces/d; /^proxy/d' "$CONFIG" >"$TEST_DIR/own.conf"
	echo 'limit = /32,/128 over 20 reset' >>"$TEST_DIR/own.conf"
	mkdir "$TEST_DIR/bpf"
	mount -t bpf -o mode=0700 none "$TEST_DIR/bpf"
	for dropped in "${needed[@]}"; do
		rest=" ${needed[*]} "
		expect 1 in_bpffs "${rest/ $dropped / }"
		expect_match "Operation not permitted \(CAP_${dropped^^} is missing" "$errors" "without $dropped"
	done
	expect 0 in_bpffs "${needed[*]}"
	expect 0 in_bpffs "${needed[*]}"
	expect_match 'configuration unchanged' "$output"
	expect 0 with "${needed[*]}" conncount verify --dir "$TEST_DIR/bpf/i"
	expect 0 with "${needed[*]}" conncount unload --dir "$TEST_DIR/bpf/i"
	expect 1 with "${needed[*]}" conncount load -c "$TEST_DIR/own.conf" --cgroup "$CGROUP"
	expect_match 'cannot mount a bpffs: Operation not permitted \(CAP_SYS_ADMIN is missing\)' "$errors"
	umount "$TEST_DIR/bpf"
	rmdir "$TEST_DIR/bpf"
}

@test "root of a user namespace is told to be root of the host, and other users to be root" {
	expect 1 unshare --user --map-root-user conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'not permitted \(root of a user namespace, .*: run as root of the host\)' "$errors"
	expect 1 setpriv --reuid=daemon --regid=daemon --clear-groups conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match '\(run as root\)' "$errors"
}

@test "under a system call filter without bpf(2), load and readers name the filter, not the user" {
	expect 1 python3 -I -S "$TOOLS/filtered.py" conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match '^conncount: BPF: Operation not permitted \(the system call filter' "$errors"
	load
	expect 1 python3 -I -S "$TOOLS/filtered.py" conncount count
	expect_match "^conncount: $CONNCOUNT_DIR: bpf\(2\) is not permitted \(the system call filter" "$errors"
	expect_eq 1 "$(wc -l <<<"$errors")" lines
}

@test "a refusal with EACCES is a security module's, for root with all capabilities" {
	requires strace
	expect 1 strace -f -qq -o /dev/null -e trace=bpf -e inject=bpf:error=EACCES \
		"$BUILD/conncount" load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match '^conncount: BPF: Permission denied \(a security module' "$errors"
}
