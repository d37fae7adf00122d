# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# neighbours.bash - another project's programs in a test's cgroup (tests/tools/neighbour.bpf.c).

# neighbours_setup: mounts a bpffs for their pins.
neighbours_setup() {
	mkdir "$TEST_DIR/n"
	mount -t bpf bpf "$TEST_DIR/n"
}

# neighbours_end: removes their pins, and so detaches those that are attached by links.
neighbours_end() {
	! mountpoint -q "$TEST_DIR/n" || umount "$TEST_DIR/n"
}

# neighbour NAME VARIANT CGROUP HOW: loads a neighbour, and attaches both of its programs to CGROUP.
# VARIANT (plain, flags, clears) is a build of tests/tools/neighbour.bpf.c; HOW as in neighbour.c.
neighbour() {
	"$BUILD/tests/neighbour" load "$BUILD/tests/neighbour-$2.o" "$TEST_DIR/n/$1" "$3" "$4"
}

# seen NAME: prints what a neighbour has seen, `ESTABLISHED STATES ROUND-TRIPS RELEASES`.
seen() {
	"$BUILD/tests/neighbour" seen "$TEST_DIR/n/$1"
}

# explained LIVE SOCKETS: skips the test if LIVE sessions are left because the kernel did not call
# the witness program either, for at least as many of the SOCKETS that were closed. On a PVM guest
# (virtualized without hardware support) the kernel called no program for one closed socket in some
# millions.
explained() {
	local saw missed
	read -ra saw <<<"$(seen witness)"
	missed=$(($2 - saw[3]))
	(($1 == 0 || $1 > missed)) ||
		skip "this kernel does not call programs for every socket: ${saw[3]} releases of $2 sockets, $1 left"
}
