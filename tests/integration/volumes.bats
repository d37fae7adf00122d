# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# A reader in a mount namespace of its own, as in a container, with the counts as a volume.
# conncount-servers(7) says which volumes still show the counts after counting has stopped and
# started.

load ../lib/common
load ../lib/instance

setup() {
	READER=
	instance_setup
	printf '[mx]\nlisten = *:25\n' | configure
	# As on a host with systemd, where mounts propagate.
	mkdir "$TEST_DIR/counts" "$TEST_DIR/volume"
	mount --bind "$TEST_DIR/counts" "$TEST_DIR/counts"
	mount --make-shared "$TEST_DIR/counts"
	export CONNCOUNT_DIR=$TEST_DIR/counts/i
}

teardown() {
	if [ -n "$READER" ]; then
		kill "$READER"
		wait "$READER" || :
	fi
	! mountpoint -q "$CONNCOUNT_DIR" || conncount unload
	umount "$TEST_DIR/counts"
	instance_teardown
}

# container SOURCE PROPAGATION: starts a container with SOURCE as a volume.
container() {
	# shellcheck disable=SC2016
	start_in_ns unshare --mount --propagation slave sh -ec '
		mount --rbind "$1" "$2"
		mount "--make-r$3" "$2"
		exec sleep infinity' sh "$1" "$TEST_DIR/volume" "$2"
	READER=$STARTED
	wait_until started
}

started() {
	[ "$(<"/proc/$READER/comm")" = sleep ]
}

# reads STATUS [DIR]: expects that `conncount count` exits with STATUS in the container.
reads() {
	expect "$1" nsenter --mount="/proc/$READER/ns/mnt" -- env CONNCOUNT_DIR="$TEST_DIR/volume${2:-}" conncount count
}

again() {
	conncount unload
	load
}

@test "a slave volume of the directory above the instance follows unload and load" {
	load
	container "$TEST_DIR/counts" slave
	reads 0 /i
	again
	reads 0 /i
	again
	reads 0 /i
}

@test "a slave volume also follows the first load of a container that was started before it" {
	container "$TEST_DIR/counts" slave
	reads 1 /i
	load
	reads 0 /i
	again
	reads 0 /i
}

@test "a private volume, or one of the instance itself, is stale after unload and load" {
	load
	container "$TEST_DIR/counts" private
	reads 0 /i
	load # replaces the running instance, without a new mount
	reads 0 /i
	again
	reads 1 /i
	kill "$READER"
	wait "$READER" || :
	container "$CONNCOUNT_DIR" slave
	reads 0
	load
	reads 0
	again
	reads 1
	expect_match 'not loaded' "$errors"
}
