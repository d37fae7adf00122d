# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# A Debian 12 with systemd, Postfix and our packages, booted with its own kernel. This file installs
# it and boots it twice; guest/booted.bats, which runs in it, has the checks.

load ../lib/common

# More than the limit of tests/run, for two boots of a whole system.
export BATS_TEST_TIMEOUT=1500

setup() {
	requires root build netns ip dpkg-buildpackage debootstrap vm-6.1
	TREE=$BATS_TEST_TMPDIR/tree
}

teardown() {
	rm -rf --one-file-system "$TREE"
}

# prepare COMMAND...: runs COMMAND, and shows its output only if it fails.
prepare() {
	"$@" >"$BATS_TEST_TMPDIR/log" 2>&1 || fail "failed: $*" "$(<"$BATS_TEST_TMPDIR/log")"
}

# newer_package FROM TO: repacks the package FROM as that of the next version, TO, with the command
# of build/tests/newer.
newer_package() {
	local dir=$BATS_TEST_TMPDIR/newer
	dpkg-deb -R "$1" "$dir"
	sed -i 's/^Version: .*/Version: 0.1.99/' "$dir/DEBIAN/control"
	cp "$BUILD/tests/newer/conncount" "$dir/usr/bin/"
	dpkg-deb --root-owner-group -b "$dir" "$2"
}

# install_in_tree: installs conncount, conncount-policyd and Postfix by apt. policy-rc.d keeps it
# from starting anything: no systemd runs yet.
install_in_tree() {
	printf '%s\n' '#!/bin/sh' 'exit 101' >"$TREE/usr/sbin/policy-rc.d"
	chmod 755 "$TREE/usr/sbin/policy-rc.d"
	# shellcheck disable=SC2016
	unshare --mount --pid --fork --kill-child --net bash -e -c '
		mount -t proc none "$1/proc"
		ip link set lo up
		exec chroot "$1" bash -e -c "
			export DEBIAN_FRONTEND=noninteractive
			echo postfix postfix/main_mailer_type select Local only | debconf-set-selections
			apt-get -q install -y --no-install-recommends \
				/root/{conncount,conncount-policyd,lua-conncount}.deb postfix bats iproute2"
		' bash "$TREE"
	rm "$TREE/usr/sbin/policy-rc.d"
}

# boot REGEX: boots the machine for the tests of guest/booted.bats whose names match; all must pass.
boot() {
	expect 0 "$ROOT/scripts/vm" --root "$TREE" --memory 1G --timeout 600 -- \
		bats --formatter tap --filter "$1" tests/vm/guest/booted.bats
	expect_match '^1\.\.[1-9]' "$output"
	sed -n 's/^ok/# &/p' <<<"$output" >&3
}

@test "a Debian with Postfix counts from boot on, through restarts, reloads and an upgrade" {
	local name
	prepare "$ROOT/scripts/deb" "$BATS_TEST_TMPDIR/debs"
	# The same packages as in unit/package.bats, so that the cached root serves both.
	prepare "$TOOLS/debian-root" "$TREE" "$BATS_TEST_TMPDIR"/debs/{conncount,conncount-policyd,lua-conncount}_*.deb
	for name in conncount conncount-policyd lua-conncount; do
		cp "$BATS_TEST_TMPDIR/debs/$name"_*.deb "$TREE/root/$name.deb"
	done
	prepare newer_package "$TREE/root/conncount.deb" "$TREE/root/newer.deb"
	prepare install_in_tree
	printf '%s\n' '[mx]' 'listen = *:25' >"$TREE/etc/conncount.conf"
	boot '^(boot|sessions|policyd|exporter|restart|slice|reload|upgrade):'
	boot '^(boot|sessions|upgraded):'
}
