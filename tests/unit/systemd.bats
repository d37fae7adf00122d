# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The systemd units and what belongs to them, as far as they can be tested without systemd running.
# package.bats tests what the units do, and tests/integration/capabilities.bats the capabilities
# that they leave.

load ../lib/common

setup() {
	requires systemd-analyze
	PREFIX=$BATS_TEST_TMPDIR/usr
	expect 0 make -s -C "$ROOT" BUILD="$BUILD" PREFIX="$PREFIX" DESTDIR=/ install
	UNITS=$PREFIX/lib/systemd/system
}

@test "systemd-analyze verify accepts the units without a remark" {
	# Without the variable, systemd-analyze would also check this machine's unit of the same
	# name.
	expect 0 env SYSTEMD_UNIT_PATH="$UNITS:" systemd-analyze verify --man=no "$UNITS"/conncount*
	expect_eq '' "$output$errors" 'systemd-analyze verify'
}

@test "systemd-analyze verify finds a unit whose command is not there" {
	rm "$PREFIX/bin/conncount"
	expect 1 env SYSTEMD_UNIT_PATH="$UNITS:" systemd-analyze verify --man=no "$UNITS"/conncount*
	expect_match 'bin/conncount is not executable' "$errors"
}

@test "conncount.service has no setting that hides its mount, and no limit on memory" {
	# The settings that exec_needs_mount_namespace() in systemd checks, and MemoryMax.
	expect 1 grep -E '^(Protect(System|Home|Kernel.*|ControlGroups|Proc)|ProcSubset|MemoryMax)=' \
		"$UNITS/conncount.service"
	expect 1 grep -E '^(Private(Tmp|Devices|Mounts|IPC)|MountFlags|Root.*|.*Paths|Log.*)=' \
		"$UNITS/conncount.service"
	expect 1 grep -E '^(Bind.*|TemporaryFileSystem|.*Images|IPCNamespacePath|DynamicUser)=' \
		"$UNITS/conncount.service"
}

@test "systemd-analyze security rates the exporter and conncount-policyd below 2.0" {
	expect 0 systemd-analyze security --offline=yes --no-pager --threshold=19 \
		"$UNITS/conncount-exporter.service" "$UNITS/conncount-policyd.service"
}

# bounded UNIT LINE...: the service has these lines, and takes its sockets only from its socket
# unit, which allows this host only.
bounded() {
	local unit=$1 line
	shift
	for line in NoExecPaths=/ IPAddressDeny=any DevicePolicy=closed \
		'RestrictAddressFamilies=AF_NETLINK AF_UNIX' "$@"; do
		expect 0 grep -x "$line" "$UNITS/$unit.service"
	done
	expect 1 grep IPAddressAllow= "$UNITS/$unit.service"
	expect_eq $'IPAddressDeny=any\nIPAddressAllow=localhost' "$(grep ^IPAddress "$UNITS/$unit.socket")"
}

@test "the services that answer clients have limits, and their sockets are for this host only" {
	bounded conncount-policyd MemoryMax=128M TasksMax=16 LimitNOFILE=4352
	bounded conncount-exporter LimitNOFILE=64
}

@test "conncount-policyd.socket has the program's default address and the sockets that its page names" {
	local default
	requires lua5.4
	expect 0 env LUA_CPATH="$BUILD/lua/5.4/?.so;;" "$PREFIX/sbin/conncount-policyd" --help
	default=$(tr -s ' \n' ' ' <<<"$output" | sed -n 's/.* Default: \([^ ,]*\),.*/\1/p')
	expect_eq "$default /run/conncount-policyd.sock" \
		"$(sed -n 's/^ListenStream=//p' "$UNITS/conncount-policyd.socket" | paste -sd ' ')"
	expect 0 grep -F "inet:$default," "$ROOT/user/dist/man/conncount-policyd.8"
	expect 0 grep -F 'readsocket{/run/conncount-policyd.sock}' "$ROOT/user/dist/man/conncount-policyd.8"
}

@test "conncount-exporter.socket has the exporter's default address" {
	local default
	default=$(conncount exporter --help | sed -n 's/.*--listen .*(default: \(.*\))$/\1/p')
	expect_eq "ListenStream=$default" "$(grep ^ListenStream= "$UNITS/conncount-exporter.socket")"
}

@test "systemd-sysusers makes the group without a user, and systemd-tmpfiles the directory" {
	local tree=$BATS_TEST_TMPDIR/tree
	requires root
	mkdir -p "$tree/etc"
	expect 0 systemd-sysusers --root="$tree" "$PREFIX/lib/sysusers.d/conncount.conf"
	expect 0 grep -c '^conncount:' "$tree/etc/group"
	[ ! -s "$tree/etc/passwd" ] || fail 'a user was made too'
	expect 0 systemd-tmpfiles --root="$tree" --create "$PREFIX/lib/tmpfiles.d/conncount.conf"
	expect_eq "750 0 $(sed -n 's/^conncount:[^:]*:\([0-9]*\):.*/\1/p' "$tree/etc/group")" \
		"$(stat -c '%a %u %g' "$tree/run/conncount")" 'mode and owner'
	# An existing directory, with a mount on it or not, stays as it is.
	chmod 0700 "$tree/run/conncount"
	expect 0 systemd-tmpfiles --root="$tree" --create "$PREFIX/lib/tmpfiles.d/conncount.conf"
	expect_eq 700 "$(stat -c %a "$tree/run/conncount")" mode
}
