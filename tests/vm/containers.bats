# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The image, in real containers: a Debian 13 with podman, in which this file builds the image, from
# the same Debian, and which it boots with its own kernel. guest/contained.bats, which runs in it, has
# the checks.

load ../lib/common
load ../lib/servers

export BATS_TEST_TIMEOUT=2400

setup() {
	requires root build debootstrap vm-6.12
	TREE=/var/tmp/conncount-containers.$$
	mkdir "$TREE"
}

teardown() {
	rm -rf --one-file-system "$TREE" "$TREE.log"
}

# inside COMMAND: runs the command, of bash, in $TREE, on this machine's kernel and in its network.
# Shows its output only if it fails.
inside() {
	# shellcheck disable=SC2016
	unshare --mount --pid --fork --kill-child bash -euc '
		cd "$1"
		mount --bind . .
		cd "$1"
		mount -t proc none proc
		mount -t tmpfs none run
		for mount in sys dev; do mount --rbind "/$mount" "$mount"; done
		cp -L /etc/resolv.conf run/
		ln -sf /run/resolv.conf etc/resolv.conf
		pivot_root . .
		umount -l .
		exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive bash -euxc "$2"' \
		bash "$TREE" "$1" >"$TREE.log" 2>&1 || fail "failed: $1" "$(tail -n 40 "$TREE.log")"
}

@test "an image built from the Containerfile counts, and is read, in podman's containers" {
	expect 0 "$TOOLS/debian-root" "$TREE" --release trixie
	tar -c -C "$TREE" -f "$BATS_TEST_TMPDIR/base.tar" .
	mv "$BATS_TEST_TMPDIR/base.tar" "$TREE/root/"
	mkdir "$TREE/root/conncount"
	tar -c -C "$ROOT" --exclude=./.git --exclude=./build . | tar -x -C "$TREE/root/conncount"
	printf '%s\n' '#!/bin/sh' 'exit 101' >"$TREE/usr/sbin/policy-rc.d"
	chmod 755 "$TREE/usr/sbin/policy-rc.d"
	# shellcheck disable=SC2016 # that shell expands it
	inside 'apt-get -q update
		apt-get -q install -y --no-install-recommends systemd-sysv dbus podman buildah crun netavark apparmor bats \
			iproute2 python3-minimal
		rm /usr/sbin/policy-rc.d
		podman import /root/base.tar localhost/base
		cd /root/conncount
		# This machine may not permit the limits that buildah would set.
		build=(--isolation=chroot --network=host --ulimit=nofile=1024:4096 --ulimit=nproc=4096:4096
			--build-arg=BASE=localhost/base)
		'"$(example conncount-containers.7 'THE IMAGE' 1 | sed 's/podman build/& "${build[@]}"/')"
	expect 0 "$ROOT/scripts/vm" --kernel 6.12 --root "$TREE" --memory 2G --timeout 1500 -- \
		bats --formatter tap tests/vm/guest/contained.bats
	expect_match '^1\.\.[1-9]' "$output"
	sed -n 's/^ok/# &/p' <<<"$output" >&3
}
