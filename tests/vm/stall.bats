# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# A lock that times out (Linux 6.15 and later): a virtual CPU stops while it holds the lock of the
# table of counts, so that the waiting CPUs give up. This file starts the machine and stalls its
# CPUs; guest/stalled.bats, which runs in the machine, has the checks.

load ../lib/common

CPUS=4
# Seconds of a stall. A waiter gives up after 0.25 s, or after 1 s under a hypervisor without
# paravirtual spin locks, such as QEMU's emulator. It reads the clock only once in 65,536 rounds,
# each of which takes the emulator microseconds, and many on a busy host.
SHORTEST=2.0 LONGEST=4.0
# Instead of the limit of tests/run: the machine itself gets 840 s.
export BATS_TEST_TIMEOUT=900

setup() {
	requires root python3 vm-sid
	VM='' STALLER=''
	log=$BATS_TEST_TMPDIR/log
	: >"$log"
}

teardown() {
	[ -z "$STALLER" ] || kill "$STALLER" 2>/dev/null || :
	# bats shows this if the test fails.
	cat "$log" 2>/dev/null || :
	[ -z "$VM" ] || { kill "$VM" && wait "$VM"; } 2>/dev/null || :
}

# told TEXT: succeeds if the guest has printed TEXT, or if the machine has ended.
told() {
	grep -q "stall: $1\$" "$log" || ! kill -0 "$VM" 2>/dev/null
}

# qemu: prints the process id of QEMU, which scripts/vm runs under timeout(1).
qemu() {
	local supervisor
	supervisor=$(pgrep -P "$VM" -x timeout) && pgrep -P "$supervisor"
}

@test "a virtual CPU that stalls under load leaks nothing, and every key stays usable" {
	local rc=0 machine
	"$ROOT/scripts/vm" --kernel sid --cpus $CPUS --timeout 840 -- \
		bats --formatter tap tests/vm/guest/stalled.bats >"$log" 2>&1 3>&- &
	VM=$!
	wait_until -t 120 told begin
	machine=$(qemu) || fail 'no machine' "$(<"$log")"
	python3 -I "${BATS_TEST_FILENAME%/*}/stall.py" "$machine" $CPUS $SHORTEST $LONGEST \
		>"$BATS_TEST_TMPDIR/stalls" 3>&- &
	STALLER=$!
	wait_until -t 150 told end
	kill "$STALLER"
	wait "$STALLER" || rc=$?
	STALLER=''
	wait "$VM" || rc=$?
	VM=''
	{
		sed -n 's/^# stall: //p' "$log" | grep -vx -e begin -e end
		cat "$BATS_TEST_TMPDIR/stalls"
	} | sed 's/^/# /' >&3
	[ $rc -eq 0 ] || fail "exit status $rc"
	expect_match 'stalls=[1-9]' "$(<"$BATS_TEST_TMPDIR/stalls")"
	expect_match $'(^|\n)ok 1 ' "$(<"$log")"
	expect_match 'stall: timed out [0-9]' "$(<"$log")"
	! grep -qx '# stall: timed out 0' "$log" ||
		skip "no lock timed out in any of the stalls, so nothing was shown: $(<"$BATS_TEST_TMPDIR/stalls")"
}
