# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The Debian packages: scripts/deb builds them, apt installs them in a fresh Debian of this
# machine's release and purges them. Once in a chroot, where no systemd runs, and once in a container that systemd boots, with
# the units as installed: in a cgroup and a network namespace of its own.
# shellcheck disable=SC2030,SC2031 # each test has its own $output

load ../lib/common
load ../lib/servers

setup_file() {
	export DEBS=$BATS_FILE_TMPDIR/debs FRESH=$BATS_FILE_TMPDIR/fresh
	have build && have dpkg-buildpackage || return 0
	: >"$BUILD/kept"
	"$ROOT/scripts/deb" "$DEBS" >"$BATS_FILE_TMPDIR/deb.log" 2>&1 ||
		{ cat "$BATS_FILE_TMPDIR/deb.log" && return 1; }
	have root && have debootstrap && have systemd-nspawn || return 0
	"$TOOLS/debian-root" "$FRESH" "$DEBS"/{conncount,conncount-cluster,conncount-policyd,lua-conncount}_*.deb 2>"$BATS_FILE_TMPDIR/root.log" ||
		rm -rf --one-file-system "$FRESH"
}

teardown_file() {
	rm -f "$BUILD/kept"
	rm -rf --one-file-system "$FRESH"
}

# fresh: makes the test's own Debian, in $TREE, and a cgroup for it in each hierarchy that systemd
# uses.
fresh() {
	local hierarchy
	requires root bpf btf cgroup2 netns ip build dpkg-buildpackage debootstrap systemd-nspawn
	if [ ! -d "$FRESH" ]; then
		[ -z "${TESTS_NO_SKIP:-}" ] || fail "no Debian: $(<"$BATS_FILE_TMPDIR/root.log")" || return
		skip "no Debian to install in: $(<"$BATS_FILE_TMPDIR/root.log")"
	fi
	TREE=$BATS_TEST_TMPDIR/tree
	mkdir "$TREE" "$BATS_TEST_TMPDIR/upper" "$BATS_TEST_TMPDIR/work"
	mount -t overlay -o "lowerdir=$FRESH,upperdir=$BATS_TEST_TMPDIR/upper,workdir=$BATS_TEST_TMPDIR/work" \
		fresh-debian "$TREE"
	cp "$DEBS"/conncount_*.deb "$TREE/root/conncount.deb"
	cp "$DEBS"/conncount-cluster_*.deb "$TREE/root/conncount-cluster.deb"
	cp "$DEBS"/conncount-policyd_*.deb "$TREE/root/conncount-policyd.deb"
	cp "$DEBS"/lua-conncount_*.deb "$TREE/root/lua-conncount.deb"
	cp "$TOOLS/hold.py" "$TREE/root/"
	# Also removes libraries that other packages suggest, as systemd of Debian 13 does.
	cat >"$TREE/root/purge" <<-'END'
		#!/bin/sh
		exec apt-get -q purge -y --autoremove -o APT::AutoRemove::RecommendsImportant=0 \
			-o APT::AutoRemove::SuggestsImportant=0 "$@"
	END
	chmod 755 "$TREE/root/purge"
	GROUP=$(mktemp -u conncount-package.XXXXXX)
	mapfile -t GROUPS_OF < <(awk '$3 == "cgroup2" || $4 ~ /name=systemd/ { print $2 }' /proc/mounts)
	for hierarchy in "${GROUPS_OF[@]}"; do
		mkdir "$hierarchy/$GROUP"
	done
	NSPAWN=
}

teardown() {
	local hierarchy pid
	[ -n "${TREE:-}" ] || return 0
	[ -z "$NSPAWN" ] || container_stop
	for hierarchy in "${GROUPS_OF[@]}"; do
		while read -r pid; do
			kill -KILL "$pid" 2>/dev/null || :
		done < <(find "$hierarchy/$GROUP" -name cgroup.procs -exec cat {} +)
		wait_until find "$hierarchy/$GROUP" -depth -type d -exec rmdir {} +
	done
	umount "$TREE"
}

# snapshot: prints the files of $TREE, except those that every installation changes.
snapshot() {
	(cd "$TREE" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./tmp -o \
		-path ./root -o -path ./var/tmp -o -path ./var/log -o -path ./var/cache -o \
		-path ./var/backups -o -path ./var/lib/apt -o -path ./var/lib/dpkg \
		-o -path ./run \) -prune -o -printf '%p %y %m %U %G %l\n' |
		grep -vE '^\./(etc/(passwd|group|shadow|gshadow|subuid|subgid)-|etc/\.pwd\.lock|(etc|var)/\.updated|etc/(machine-id|hostname)|etc/apt/apt.conf.d) ' |
		grep -vE '^\./var/lib/(private|systemd/(random-seed|catalog.*|timers.*|timesync.*|coredump)|pam|logrotate)|\.pyc |__pycache__' |
		sort)
	# Users, groups and installed packages.
	sort "$TREE/etc/passwd" "$TREE/etc/group"
	awk '/^Package:/ { name = $2 } /^Status:/ { print name, $0 }' "$TREE/var/lib/dpkg/status" | sort
}

# nothing_left: after the purge, $TREE is as in the snapshot $BEFORE.
nothing_left() {
	local now
	now=$(snapshot)
	expect_eq '' "$(diff <(echo "$BEFORE") <(echo "$now"))" 'what purge leaves'
	expect_eq '' "$(find "$TREE/run" "$TREE/etc" "$TREE/var/lib/systemd" -name '*conncount*')" \
		'files named conncount'
}

# --- a chroot ------------------------------------------------------------------------------------

# in_chroot SCRIPT: runs SCRIPT in $TREE, in the test's cgroup, and in namespaces of its own.
in_chroot() {
	# shellcheck disable=SC2016
	unshare --mount --pid --fork --kill-child --net bash -e -c '
		for hierarchy in "${@:3}"; do echo 0 >"$hierarchy/cgroup.procs"; done
		mount -t proc none "$1/proc"
		mount -t sysfs none "$1/sys"
		mount -t tmpfs none "$1/run"
		mount -t cgroup2 none "$1/sys/fs/cgroup"
		ip link set lo up
		exec chroot "$1" bash -e -c "$2"' bash "$TREE" "$1" "${GROUPS_OF[@]/%//$GROUP}"
}

@test "lintian finds nothing in the packages" {
	requires build dpkg-buildpackage lintian
	expect 0 lintian --allow-root --fail-on error,warning "$DEBS"/*.changes
	expect_eq '' "$output$errors" lintian
}

@test "the packages have the expected files, and libconncount-dev depends on its library" {
	local name files
	[ ! -d "$DEBS" ] || [ -e "$BUILD/kept" ] ||
		fail "scripts/deb has removed $BUILD, which is exported as BUILD"
	requires build dpkg-buildpackage
	files=$(for name in "$DEBS"/*_*.deb; do
		[[ $name == *-dbgsym_* ]] || dpkg-deb -c "$name" | sed "s|.* \./|${name##*/} /|; s|_[^ ]*||"
	done | grep -v '/$')
	expect_match "(^|$NL)conncount /usr/bin/conncount$NL" "$files$NL"
	expect_match "(^|$NL)conncount /(usr/)?lib/systemd/system/conncount-exporter.socket$NL" "$files$NL"
	expect_match "(^|$NL)libconncount-dev /usr/share/man/man3/libconncount.3.gz$NL" "$files$NL"
	expect_match "(^|$NL)libconncount-dev /usr/lib/[^/]*/cmake/conncount/conncount-config.cmake$NL" "$files$NL"
	expect_match "(^|$NL)libconncount-dev /usr/share/doc/libconncount-dev/examples/server/smtp_server.c$NL" \
		"$files$NL"
	expect_match "(^|$NL)conncount /usr/share/doc/conncount/examples/conncount.conf$NL" "$files$NL"
	expect_match "(^|$NL)conncount /usr/share/doc/conncount/examples/conncount-cluster.conf$NL" "$files$NL"
	for name in 5.1 5.3 5.4; do
		expect_match "(^|$NL)lua-conncount /usr/lib/[^/]*/lua/$name/conncount.so$NL" "$files$NL"
		expect_match "(^|$NL)lua-conncount /usr/share/lua/$name/msys/audit.lua$NL" "$files$NL"
	done
	for name in libexec/opensmtpd/filter-conncount share/conncount/haproxy.lua share/conncount/rspamd.lua; do
		expect_match "(^|$NL)lua-conncount /usr/$name$NL" "$files$NL"
	done
	expect_match "(^|$NL)conncount /usr/lib/conncount/conncount-exporter$NL" "$files$NL"
	for name in '(usr/)?lib/systemd/system/conncount-cluster.service' usr/lib/conncount/conncount-cluster \
		usr/lib/sysusers.d/conncount-cluster.conf usr/share/man/man8/conncount-cluster.8.gz; do
		expect_match "(^|$NL)conncount-cluster /$name$NL" "$files$NL"
		! grep -E "^conncount /$name$" <<<"$files" || fail "conncount has /$name as well"
	done
	expect_match "(^|$NL)conncount-policyd /usr/sbin/conncount-policyd$NL" "$files$NL"
	expect_match "(^|$NL)conncount-policyd /(usr/)?lib/systemd/system/conncount-policyd.socket$NL" "$files$NL"
	expect_match "(^|$NL)conncount-policyd /usr/share/man/man8/conncount-policyd.8.gz$NL" "$files$NL"
	expect 0 dpkg-deb -f "$DEBS"/libconncount-dev_*.deb Depends
	expect_match 'libconncount0 \(= ' "$output"
	expect 0 dpkg-deb -f "$DEBS"/conncount-cluster_*.deb Depends
	expect_match 'conncount \(= ' "$output"
	expect_match 'libhiredis' "$output"
	expect 0 dpkg-deb -f "$DEBS"/conncount_*.deb Depends
	! grep libhiredis <<<"$output" || fail 'conncount depends on libhiredis'
}

@test "README's line that installs conncount-policyd names all of our packages that it depends on" {
	requires build dpkg-buildpackage
	expect 0 dpkg-deb -f "$DEBS"/conncount-policyd_*.deb Depends
	expect_eq "$({ echo conncount-policyd && grep -oE '[a-z-]*conncount[a-z0-9-]*' <<<"$output"; } | sort -u)" \
		"$(sed -n 's|.* \./build/deb/{\(.*\)}_\*\.deb .*|\1|p' "$ROOT/README.md" | tr , '\n' | sort)" packages
}

@test "libconncount-dev: its example builds against the packaged files" {
	local tree=$BATS_TEST_TMPDIR/dev name
	requires build dpkg-buildpackage cmake gcc
	for name in libconncount-dev libconncount0; do
		dpkg-deb -x "$DEBS/$name"_*.deb "$tree"
	done
	expect 0 cmake -S "$tree/usr/share/doc/libconncount-dev/examples/server" -B "$tree/build" \
		-D CMAKE_PREFIX_PATH="$tree/usr"
	expect 0 cmake --build "$tree/build"
	expect 0 ldd "$tree/build/server"
	expect_match "libconncount.so.0 => $tree/usr/lib/" "$output"
}

@test "without systemd: the package installs, loads and counts, and purge leaves nothing" {
	fresh
	BEFORE=$(snapshot)
	printf '[mx]\nlisten = *:25\nservice = SMTP\n' >"$BATS_TEST_TMPDIR/conf"
	sed 's/^ExecStart=//p; d' "$ROOT/user/dist/systemd/conncount.service.in" >"$TREE/root/start"
	sed -i "s|@PREFIX@|/usr|; s|\$| --cgroup /$GROUP|" "$TREE/root/start"
	cp "$BATS_TEST_TMPDIR/conf" "$TREE/root/conf"
	# shellcheck disable=SC2016
	expect 0 in_chroot '
		export DEBIAN_FRONTEND=noninteractive
		apt-get -q install -y --no-install-recommends /root/conncount.deb
		cp /root/conf /etc/conncount.conf
		getent group conncount
		sh -e /root/start
		python3 /root/hold.py 25 3 /run/ready &
		while [ ! -e /run/ready ]; do sleep 0.02; done
		echo "count $(conncount count)"
		conncount status
		useradd -G conncount asks
		su asks -s /bin/sh -c "conncount count 127.0.0.0/8" | sed "s/^/asks /"
		userdel asks
		/root/purge conncount
		grep conncount /proc/mounts && exit 1
		ls /run | grep conncount && exit 1
		kill %1'
	expect_match "${NL}count 3$NL" "$output"
	expect_match "${NL}asks 3$NL" "$output"
	expect_match 'counting stopped' "$output"
	nothing_left
}

# --- a container with systemd --------------------------------------------------------------------

# container_start: boots $TREE; its first process is $LEADER.
container_start() {
	local hierarchy
	(
		for hierarchy in "${GROUPS_OF[@]}"; do
			echo "$BASHPID" >"$hierarchy/$GROUP/cgroup.procs"
		done
		# nspawn's own filter forbids bpf(2). A container has no modules to load, and systemd
		# would call that a failure. A newer systemd wants cgroup v2 in the place of all hierarchies.
		# shellcheck disable=SC2016
		SYSTEMD_SECCOMP=0 exec unshare --mount sh -e -c 'mount -t cgroup2 none /sys/fs/cgroup; exec "$@"' sh \
			systemd-nspawn -q --directory="$TREE" --boot --register=no \
			--keep-unit --private-network --link-journal=no --capability=all \
			--drop-capability=CAP_SYS_MODULE --console=pipe
	) >"$BATS_TEST_TMPDIR/console" 2>&1 </dev/null 3>&- &
	NSPAWN=$!
	wait_until -t 90 container_is_up || fail "$(<"$BATS_TEST_TMPDIR/console")"
	LEADER=$(find_leader)
}

# find_leader: prints the process ID of the container's first process.
find_leader() {
	tr -d ' ' <"/proc/$NSPAWN/task/$NSPAWN/children" | grep .
}

# container_is_up: whether all is started. At first, nspawn's child is another process.
container_is_up() {
	local LEADER
	LEADER=$(find_leader)
	[ "$(inside systemctl is-system-running)" = running ]
}

# container_stop: ends nspawn with SIGTERM, on which nspawn shuts the container down in order.
container_stop() {
	local pid=$NSPAWN
	NSPAWN=
	kill -TERM "$pid"
	wait "$pid"
}

# inside COMMAND...: runs COMMAND in the container.
inside() {
	nsenter --target "$LEADER" --all -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		DEBIAN_FRONTEND=noninteractive "$@"
}

# serve UNIT PORT N [PROPERTY]: starts the service UNIT, which holds N sessions on PORT.
serve() {
	local ready=/run/$1.ready
	inside systemd-run -q --unit="$1" ${4:+-p "$4"} /usr/bin/python3 /root/hold.py "$2" "$3" "$ready"
	wait_until test -e "/proc/$LEADER/root$ready"
}

# journal_has REGEX OPTION...: whether what journalctl prints with these options matches; for wait_until, since
# journald writes a message some time after a unit has sent it.
journal_has() {
	local text
	text=$(inside journalctl -q -o cat "${@:2}") || return
	expect_match "$1" "$text" 'the journal'
}

# expect_unprivileged UNIT: its process is not root's, has no capability, and is confined. Sets $pid to
# it.
expect_unprivileged() {
	pid=$(inside systemctl show -P MainPID "$1")
	expect 0 inside cat "/proc/$pid/status"
	expect_match 'CapEff:.0000000000000000' "$output"
	expect_match 'CapBnd:.0000000000000000' "$output"
	expect_match 'Seccomp:.2' "$output"
	[[ $(inside stat -c %u "/proc/$pid") != 0 ]] || fail "$1 runs as root"
	# The threshold is ten times the rating: below 2.0.
	expect 0 inside systemd-analyze security --no-pager --threshold=19 "$1"
}

expect_inside() {
	local want=$1
	shift
	expect 0 inside "$@" || return
	expect_eq "$want" "$output" "$*"
}

@test "with systemd: three lines of configuration count, reload works, and only the group may read" {
	fresh
	container_start
	expect 0 inside apt-get -q install -y --no-install-recommends /root/conncount.deb
	expect_inside enabled systemctl is-enabled conncount.service
	expect_inside running systemctl is-system-running

	# Three lines of configuration and a start must be enough to count.
	printf '%s\n' '[mx]' 'listen = *:25' 'service = SMTP' >"$TREE/etc/conncount.conf"
	expect 0 inside systemctl start conncount
	serve mail 25 3
	expect_inside 3 conncount count
	expect_inside 3 conncount count 127.0.0.0/8
	expect 0 inside conncount status

	# Sessions in another network namespace are not counted without `namespaces = all`. With it
	# they are, also those that were open before: the unit's capabilities and filter let
	# conncount in.
	serve mail2 25 4 PrivateNetwork=yes
	expect_inside 3 conncount count
	sed -i '1i [conncount]\nnamespaces = all' "$TREE/etc/conncount.conf"
	expect 0 inside systemctl reload conncount
	expect_inside 7 conncount count
	expect 0 inside systemctl restart conncount
	expect_inside 7 conncount count
	expect 0 inside conncount verify

	# A mistake, then a change.
	echo 'listen = *:99999' >>"$TREE/etc/conncount.conf"
	expect 1 inside systemctl reload conncount
	wait_until journal_has "conncount: /etc/conncount.conf:6: listen '\*:99999'" -u conncount
	expect_inside 7 conncount count
	expect_inside active systemctl is-active conncount
	sed -i '$ s/99999/2525/' "$TREE/etc/conncount.conf"
	expect 0 inside systemctl reload conncount
	expect 0 inside conncount status
	expect_match '\*:2525' "$output"

	# An ordinary user who is in the group, and one who is not.
	expect 0 inside useradd -G conncount asks
	expect 0 inside useradd other
	expect_inside 7 setpriv --reuid=asks --regid=asks --init-groups conncount count
	expect 1 inside setpriv --reuid=other --regid=other --init-groups conncount count
	expect_match "members of the group 'conncount'" "$errors"
	expect 0 inside userdel asks
	expect 0 inside userdel other

	# A service's own mount namespace would hide the mount, as the unit and the manual say: load
	# refuses.
	expect 1 inside systemd-run -q -p Type=oneshot -p PrivateTmp=yes conncount load --dir /run/hidden
	wait_until journal_has '/run/hidden: counting would end with this command' -t conncount
	[ ! -e "/proc/$LEADER/root/run/hidden" ] || fail 'the directory is left'
}

@test "with systemd: the exporter starts by its socket, and runs without privilege" {
	local pid
	fresh
	container_start
	expect 0 inside apt-get -q install -y --no-install-recommends /root/conncount.deb
	expect_inside inactive sh -c 'systemctl is-active conncount-exporter.socket || :'
	printf '%s\n' '[mx]' 'listen = *:25' >"$TREE/etc/conncount.conf"
	expect 0 inside systemctl enable -q --now conncount-exporter.socket
	expect_match '(^|'"$NL"')conncount_up 0' "$(scrape)" 'before something is loaded'
	expect 0 inside systemctl start conncount
	serve mail 25 3
	expect_match 'conncount_sessions\{listener="mx",service="SMTP",family="ipv4"\} 3' "$(scrape)"
	expect_match 'conncount_accept_queue_limit\{listener="mx",service="SMTP",socket="127.0.0.1:25"\} 128' \
		"$(scrape)"

	expect_unprivileged conncount-exporter.service
}

@test "with systemd: conncount-policyd runs unprivileged from its socket, reloads; purge leaves nothing" {
	local pid
	fresh
	BEFORE=$(snapshot)
	container_start
	expect 0 inside apt-get -q install -y --no-install-recommends /root/conncount.deb \
		/root/lua-conncount.deb /root/conncount-policyd.deb
	expect_inside inactive sh -c 'systemctl is-active conncount-policyd.socket || :'
	printf '%s\n' '[mx]' 'listen = *:25' >"$TREE/etc/conncount.conf"
	expect 0 inside systemctl start conncount
	cp "$ROOT/lua/servers/policyd/conncount-policy.lua" "$TREE/etc/"
	sed -i '/^allow/d' "$TREE/etc/conncount-policy.lua"
	expect 0 inside sh -e -c "$(example conncount-policyd.8 SYSTEMD 1)"
	serve mail 25 6
	expect_eq 'action=421 4.7.0 too many sessions from 127.0.0.1/32' "$(ask_policyd)"

	expect_unprivileged conncount-policyd.service

	# The service's reload command: with a mistake, and with a change.
	echo 'limit{ v4 = 33 }' >>"$TREE/etc/conncount-policy.lua"
	expect 1 inside systemctl reload conncount-policyd
	wait_until journal_has '/etc/conncount-policy.lua:[0-9]+: limit: v4 = 33' -u conncount-policyd
	echo "limit{ v4 = 32, sessions = 5, action = 'reject' }" >"$TREE/etc/conncount-policy.lua"
	expect 0 inside systemctl reload conncount-policyd
	wait_until rejected
	expect_inside "$pid" systemctl show -P MainPID conncount-policyd.service

	# An upgrade.
	expect 0 inside apt-get -q install -y --reinstall /root/conncount-policyd.deb
	wait_until rejected
	[[ $(inside systemctl show -P MainPID conncount-policyd.service) != "$pid" ]] ||
		fail 'not started again'

	expect 0 inside /root/purge conncount conncount-policyd lua-conncount
	expect_inside '' sh -c 'systemctl list-units --all --no-legend "conncount*"; getent group conncount || :'
	expect 0 inside systemctl stop mail
	container_stop
	nothing_left
}

# ask_policyd: prints what it answers about a session from 127.0.0.1, at the unix socket.
ask_policyd() {
	inside python3 -c '
import socket
s = socket.socket(socket.AF_UNIX)
s.connect("/run/conncount-policyd.sock")
s.sendall(b"client_address=127.0.0.1\nserver_address=127.0.0.1\nserver_port=25\n\n")
print(s.recv(1024).decode().strip())'
}

rejected() {
	expect_eq 'action=521 5.7.0 too many sessions from 127.0.0.1/32' "$(ask_policyd)"
}

# cluster_of DIR: prints the state and the sessions of the hosts that the instance in DIR sees, and
# what it counts in the cluster.
cluster_of() {
	inside conncount nodes --dir "$1" | awk 'NR > 1 { print $1, $2, $5 }' || :
	inside conncount count --dir "$1" --service inbound_cidr 2>&1 || :
}

expect_cluster() {
	expect_eq "$(printf '%s\n' "${@:2}")" "$(cluster_of "$1")" "cluster in $1"
}

@test "with systemd: conncount-cluster runs unprivileged with its password file, and purge removes its group" {
	local pid dropin=/etc/systemd/system/conncount-cluster.service.d
	fresh
	container_start
	expect 0 inside apt-get -q install -y --no-install-recommends /root/conncount.deb redis-server
	printf '%s\n' '[mx]' 'listen = *:25' >"$TREE/etc/conncount.conf"
	expect 0 inside systemctl start conncount
	expect_inside 0 stat -c %g /run/conncount/live/remote
	# The group comes after the load.
	expect 0 inside apt-get -q install -y --no-install-recommends /root/conncount-cluster.deb
	expect_inside 'conncount-cluster 664' stat -c '%G %a' /run/conncount/live/remote
	expect_inside 'conncount-cluster 660' stat -c '%G %a' /run/conncount/live/changed
	expect_inside inactive sh -c 'systemctl is-active conncount-cluster.service || :'
	serve mail 25 3

	# Two hosts: this one, and another instance.
	echo '127.0.0.1 localhost' >"$TREE/etc/hosts"
	expect 0 inside redis-cli CONFIG SET requirepass PASSWORD
	(umask 077 && echo PASSWORD >"$TREE/etc/conncount-cluster.password")
	mkdir -p "$TREE$dropin"
	example conncount-cluster.8 SYSTEMD 2 >"$TREE$dropin/password.conf"
	{ printf '%s\n' '[cluster]' 'node = mx1' 'servers = localhost:6379' && example conncount-cluster.8 SYSTEMD 3; } \
		>"$TREE/etc/conncount-cluster.conf"
	chmod 0640 "$TREE/etc/conncount-cluster.conf"
	printf '%s\n' '[cluster]' 'node = mx2' 'servers = 127.0.0.1:6379' \
		'password_file = /etc/conncount-cluster.password' >"$TREE/root/mx2.conf"
	expect 0 inside conncount load --dir /run/mx2
	expect 0 inside systemctl daemon-reload
	expect 0 inside sh -e -c "$(example conncount-cluster.8 SYSTEMD 1)"
	expect 0 inside systemd-run -q --unit=mx2 conncount cluster -c /root/mx2.conf --dir /run/mx2
	wait_until expect_cluster /run/conncount 'mx1 ok 3' 'mx2 ok 3' 6
	wait_until expect_cluster /run/mx2 'mx2 ok 3' 'mx1 ok 3' 6

	expect_unprivileged conncount-cluster.service

	# A load, a restart, and an upgrade.
	expect 0 inside systemctl reload conncount
	expect 0 inside systemctl restart conncount-cluster
	wait_until expect_cluster /run/mx2 'mx2 ok 3' 'mx1 ok 3' 6
	pid=$(inside systemctl show -P MainPID conncount-cluster.service)
	expect 0 inside apt-get -q install -y --reinstall /root/conncount-cluster.deb
	[[ $(inside systemctl show -P MainPID conncount-cluster.service) != "$pid" ]] || fail 'not started again'
	wait_until expect_cluster /run/conncount 'mx1 ok 3' 'mx2 ok 3' 6

	# An error in the configuration is not tried again.
	echo 'ssl = yes' >>"$TREE/etc/conncount-cluster.conf"
	expect 0 inside systemctl restart conncount-cluster
	wait_until expect_inside failed sh -c 'systemctl is-active conncount-cluster || :'
	wait_until journal_has "conncount-cluster.conf:5: unknown key 'ssl'" -u conncount-cluster
	expect_inside 0 systemctl show -P NRestarts conncount-cluster
	wait_until expect_cluster /run/mx2 'mx2 ok 3' 3

	expect 0 inside systemctl stop mx2
	expect 0 inside conncount unload --dir /run/mx2
	expect 0 inside apt-get -q purge -y conncount-cluster
	expect_inside '' sh -c 'getent group conncount-cluster || :; ls -d /etc/conncount-cluster.conf 2>&- || :'
	expect_inside 0 stat -c %g /run/conncount/live/remote
	expect_inside 3 conncount count
	expect 0 inside systemctl stop mail
}

# scrape: prints what the exporter answers.
scrape() {
	inside python3 -c '
import socket
s = socket.create_connection(("127.0.0.1", 10125))
s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
print(b"".join(iter(lambda: s.recv(65536), b"")).decode())'
}

@test "with systemd: counts from boot, before a mail server, and through an upgrade; purge leaves nothing" {
	local loaded started
	fresh
	BEFORE=$(snapshot)
	printf '%s\n' '[mx]' 'listen = *:25' >"$TREE/root/conncount.conf"
	container_start
	expect 0 inside apt-get -q install -y --no-install-recommends /root/conncount.deb
	cp "$TREE/root/conncount.conf" "$TREE/etc/conncount.conf"
	expect 0 inside systemctl enable -q conncount-exporter.socket
	# A mail server that does not wait for the network: only the order that conncount.service
	# sets is left.
	cat >"$TREE/etc/systemd/system/postfix.service" <<-'END'
		[Unit]
		DefaultDependencies=no
		[Service]
		ExecStart=/usr/bin/python3 /root/hold.py 25 3 /run/postfix.ready
		[Install]
		WantedBy=multi-user.target
	END
	expect 0 inside systemctl enable -q postfix.service
	container_stop

	container_start
	wait_until test -e "/proc/$LEADER/root/run/postfix.ready"
	expect_inside 3 conncount count
	loaded=$(inside systemctl show -P ActiveEnterTimestampMonotonic conncount.service)
	started=$(inside systemctl show -P ExecMainStartTimestampMonotonic postfix.service)
	((loaded > 0 && loaded < started)) ||
		fail "loaded at $loaded us, the mail server started at $started us"
	expect 0 inside conncount status
	expect_match '^mx +SMTP +3 +3 +0 +3 ' "$(tail -n 1 <<<"$output")" 'opened'

	# An upgrade neither unloads conncount nor resets its counts.
	expect_match conncount_up "$(scrape)"
	expect 0 inside apt-get -q install -y --reinstall /root/conncount.deb
	expect_inside "$loaded" systemctl show -P ActiveEnterTimestampMonotonic conncount.service
	wait_until journal_has 'configuration unchanged, counting goes on' -u conncount
	expect 0 inside conncount status
	expect_match '^mx +SMTP +3 +3 +0 +3 ' "$(tail -n 1 <<<"$output")" 'opened'

	expect 0 inside /root/purge conncount
	expect_inside '' sh -c 'systemctl list-units --all --no-legend "conncount*"; getent group conncount || :'
	expect 1 inside grep conncount /proc/mounts
	expect_inside running systemctl is-system-running
	expect 0 inside systemctl disable -q --now postfix.service
	rm "$TREE/etc/systemd/system/postfix.service"
	container_stop
	nothing_left
}

NL=$'\n'
