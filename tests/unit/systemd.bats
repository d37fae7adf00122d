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

@test "systemd-analyze security rates the exporter, conncount-policyd and the cluster's daemon below 2.0" {
	expect 0 systemd-analyze security --offline=yes --no-pager --threshold=19 \
		"$UNITS/conncount-exporter.service" "$UNITS/conncount-policyd.service" \
		"$UNITS/conncount-cluster.service"
}

@test "conncount-cluster.service is confined as the exporter is, but for the network" {
	# The lines of its [Service] that say what it may do.
	confinement() {
		sed -n '/^\[Service\]/,/^\[Install\]/{ /^[A-Z]/p; }' "$UNITS/$1.service" |
			grep -vE '^(Type|User|Exec[A-Z][a-z]+|Restart.*|SupplementaryGroups|LoadCredential|LimitNOFILE|IPAddressDeny|RestrictAddressFamilies)='
	}
	expect_match MemoryDenyWriteExecute "$(confinement conncount-exporter)"
	expect_eq "$(confinement conncount-exporter)" "$(confinement conncount-cluster)" confinement
	expect 0 grep -x 'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6' "$UNITS/conncount-cluster.service"
	expect 0 grep -x "ExecPaths=$PREFIX/lib/conncount/conncount-cluster" "$UNITS/conncount-cluster.service"
	expect 0 grep -x 'SupplementaryGroups=conncount conncount-cluster' "$UNITS/conncount-cluster.service"
	# systemd makes no dynamic user by the name of a group that exists.
	expect 0 grep -x 'User=conncount-clusterd' "$UNITS/conncount-cluster.service"
}

@test "conncount-cluster.service reads the default configuration, if there is one" {
	local default
	default=$(conncount cluster --help | sed -n 's/.*-c FILE .*(default: \(.*\))$/\1/p')
	expect 0 grep -x "ConditionPathExists=$default" "$UNITS/conncount-cluster.service"
	expect 0 grep -x "LoadCredential=conncount-cluster.conf:$default" "$UNITS/conncount-cluster.service"
	expect 0 grep -x "ExecStart=$PREFIX/bin/conncount cluster -c %d/conncount-cluster.conf" \
		"$UNITS/conncount-cluster.service"
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

@test "systemd-sysusers makes the cluster's group without a user, by the name that load knows" {
	local tree=$BATS_TEST_TMPDIR/tree
	requires root
	mkdir -p "$tree/etc"
	expect 0 systemd-sysusers --root="$tree" "$PREFIX/lib/sysusers.d/conncount-cluster.conf"
	expect_eq "$(sed -n 's/^#define CC_CLUSTER_GROUP "\(.*\)"$/\1/p' "$ROOT/bpf/abi.h")" \
		"$(cut -d: -f1 "$tree/etc/group")" groups
	[ ! -s "$tree/etc/passwd" ] || fail 'a user was made too'
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
