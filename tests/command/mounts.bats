# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# More than one cgroup v2 mount, and mounts that show only a part of the hierarchy.
#
# shellcheck disable=SC2016,SC2153 # the inner shell expands them; instance.bash sets them

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	configure_smtp
	mkdir "$CGROUP_PATH/box" "$CGROUP_PATH/box/in" "$CGROUP_PATH/beside" "$TEST_DIR/host" "$TEST_DIR/kept"
}

teardown() {
	rmdir "$CGROUP_PATH/box/in" "$CGROUP_PATH/box" "$CGROUP_PATH/beside" 2>/dev/null || :
	instance_teardown
}

# container CODE: runs CODE, in sh, as in a container: in the cgroup `box`, with its own cgroup and
# mount namespaces, in which the usual mount ($mount) shows only that cgroup. CODE begins with
# `alone`, or with `host`, which also mounts the test's cgroup at $host, as a volume. No mount shows
# this machine's root, so that nothing can be attached there.
container() {
	(
		echo "$BASHPID" >"$CGROUP_PATH/box/cgroup.procs"
		export mount=$CGROUP2_ROOT dir=$TEST_DIR host=$TEST_DIR/host config=$CONFIG cgroup=$CGROUP_PATH
		exec nsenter --net="$TEST_DIR/net" -- unshare --cgroup --mount --pid --fork \
			--kill-child --mount-proc -- sh -euc '
			host() { mount --move "$dir/kept" "$host"; }
			alone() { umount "$dir/kept"; }
			seen() { awk -v kept="$dir/kept" "\$3 == \"cgroup2\" && \$2 != kept { print \$2; exit }" /proc/self/mounts; }
			load() { conncount load -c "$config" "$@"; }
			cgroup_of() { conncount status | sed -n "s/^cgroup *//p"; }
			mount --bind "$cgroup" "$dir/kept"
			while [ -n "$(seen)" ]; do umount -l "$(seen)"; done
			mount -t cgroup2 none "$mount"
			eval "$1"' - "$1"
	)
}

@test "if a container sees only its own part, / is that part, and load says so" {
	expect 0 container 'alone; load --cgroup /
		conncount verify; conncount unload'
	local number
	number=$(stat -c %i "$CGROUP_PATH/box")
	expect_match "conncount: note: $CGROUP2_ROOT shows only a part of the host's cgroups, number $number, as in a container: .*--cgroupns=host" \
		"$errors"
	expect_match ': 1 listener, cgroup /'$'\n' "$output"
	expect_match '^0 differences' "${output#*$'\n'}"
	expect 1 container 'alone; load --cgroup /none'
	expect_match "cgroup /none: No such file or directory \(searched below $CGROUP2_ROOT\)" "$errors"
	expect_match "note: $CGROUP2_ROOT shows only a part" "$errors"
}

@test "load prints no note if the mount shows the whole hierarchy" {
	expect 0 load
	expect_eq '' "$errors" stderr
}

@test "if another mount shows more, / is the root of that one, and a path in any mount is found" {
	expect 0 container 'host; load --cgroup /; cgroup_of; conncount unload
		load --cgroup "$host"; cgroup_of; conncount unload
		load --cgroup "$host/beside"; cgroup_of; conncount verify; conncount unload
		load --cgroup "$mount/in"; cgroup_of; conncount verify; conncount unload
		load --cgroup /beside; cgroup_of; conncount unload'
	expect_eq $'/\n/\n/beside\n/in\n/beside' "$(grep '^/[a-z]*$' <<<"$output")" cgroups
	expect_match "note: $TEST_DIR/host shows only a part of the host's cgroups, number $(stat -c %i "$CGROUP_PATH")," \
		"$errors"
}

@test "if another mount shows more, the sessions of a server beside the container are counted" {
	local server
	(
		echo "$BASHPID" >"$CGROUP_PATH/beside/cgroup.procs"
		exec nsenter --net="$TEST_DIR/net" -- python3 -I -S -c '
import socket, sys, time
sock = socket.create_server(("192.0.2.1", 25))
clients = [socket.create_connection(("192.0.2.1", 25)) for _ in range(3)]
servers = [sock.accept() for _ in clients]
open(sys.argv[1], "w").close()
time.sleep(1000)' "$TEST_DIR/up"
	) 3>&- &
	server=$!
	wait_until test -e "$TEST_DIR/up"
	expect 0 container 'host; load --cgroup /; conncount count; conncount unload
		load --cgroup "$host/beside"; conncount count; conncount unload
		load --cgroup "$mount"; conncount count; conncount unload'
	kill "$server"
	wait "$server" || :
	expect_eq $'3\n3\n0' "$(grep '^[0-9]*$' <<<"$output")" counts
}

@test "status finds the cgroup in whichever mount shows it, and notices its removal" {
	expect 0 container 'host; load --cgroup "$host/beside"
		conncount status >/dev/null && echo there
		rmdir "$host/beside"
		for i in 1 2 3 4 5 6 7 8 9 10; do conncount status >/dev/null || break; sleep 0.5; done
		conncount status >/dev/null || echo gone
		conncount unload'
	expect_match $'there\n.*gone' "$output"
	expect_match 'cgroup /beside: it was removed' "$errors"
}

@test "a mount hidden by another is ignored, and the path of a mount may have blanks" {
	expect 0 container 'host
		mount -t tmpfs none "$host"
		load --cgroup /; conncount unload
		umount "$host"
		mkdir "$dir/a b\\040"; mount --move "$host" "$dir/a b\\040"
		load --cgroup /; conncount unload
		umount "$dir/a b\\040"; rmdir "$dir/a b\\040"'
	expect_match "note: $CGROUP2_ROOT shows only .*note: $TEST_DIR/a b.040 shows only" "${errors//$'\n'/ }"
}

@test "a cgroup given by its path in a bind mount is shown by its path in the hierarchy" {
	mount --bind "$CGROUP_PATH" "$TEST_DIR/host"
	expect 0 conncount load -c "$CONFIG" --cgroup "$TEST_DIR/host/beside"
	umount "$TEST_DIR/host"
	"$BUILD/tests/objects" attached "$CGROUP_PATH/beside" >>"$TEST_DIR/bpf-ids"
	expect_eq '' "$errors" stderr
	expect_eq "$CGROUP/beside" "$(state cgroup)" cgroup
	expect 0 conncount verify
	expect 0 conncount unload
}
