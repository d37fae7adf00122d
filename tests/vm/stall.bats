# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# A lock that times out (Linux 6.15 and later): a virtual CPU is stopped while it holds the
# lock of the table of counts, so that those who wait for it give up. What is checked is in
# guest/stalled.bats, which runs in the machine; this starts it and stalls its processors.

load ../lib/common

CPUS=4
# Seconds of a stall. A waiter gives up after 0.25 s, but after 1 s under a hypervisor that
# has no paravirtual spin locks, QEMU's emulator being one; and it looks at the clock once in
# 65,536 rounds only, each of which takes the emulator microseconds, of a busy host many.
SHORTEST=2.0 LONGEST=4.0
# Instead of what tests/run has: the machine alone is given more.
export BATS_TEST_TIMEOUT=240

setup() {
	requires root python3 vm-sid
	VM='' STALLER=''
	log=$BATS_TEST_TMPDIR/log
	: >"$log"
}

teardown() {
	[ -z "$STALLER" ] || kill "$STALLER" 2>/dev/null || :
	# Shown where the test fails.
	cat "$log" 2>/dev/null || :
	[ -z "$VM" ] || { kill "$VM" && wait "$VM"; } 2>/dev/null || :
}

# told TEXT: whether the guest has said so; true also if it cannot any more.
told() {
	grep -q "stall: $1\$" "$log" || ! kill -0 "$VM" 2>/dev/null
}

# qemu: the id of the machine's process, which scripts/vm runs under timeout(1).
qemu() {
	local supervisor
	supervisor=$(pgrep -P "$VM" -x timeout) && pgrep -P "$supervisor"
}

@test "a virtual CPU that stalls under load leaks nothing, and every key stays usable" {
	local rc=0 machine
	"$ROOT/scripts/vm" --kernel sid --cpus $CPUS --timeout 220 -- \
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
