# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# verify: what it prints if counts are wrong.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	configure_smtp
}

teardown() {
	instance_teardown
}

# plant COUNT ADDRESS BITS: see tests/tools/plant.c.
plant() {
	"$BUILD/tests/plant" "$CONNCOUNT_DIR/live/counts" "$@"
}

quiet() {
	expect 0 conncount verify
	expect_eq '' "$errors" 'message of verify'
}

@test "verify: reports its progress if it takes more than a second, and nothing otherwise" {
	requires strace
	sessions_start
	sessions listen '*:25'
	load
	sessions open 3 10.1.2.3 192.0.2.1:25
	counted 3
	expect 0 strace -f -qq -o "$TEST_DIR/trace" -e trace=bpf -e inject=bpf:delay_exit=20000 conncount verify
	expect_match '^conncount: [0-9]+ counts read so far' "$errors" 'message of verify'
	# A machine that pauses can make any run take more than a second.
	wait_until quiet
}

@test "verify: prints each difference with its prefix, the expected and the found count" {
	sessions_start
	sessions listen '*:25'
	load
	sessions open 5 10.1.2.3 192.0.2.1:25
	sessions open 2 10.1.2.4 192.0.2.1:25
	counted 7
	plant 3 10.7.7.7 32 # without a session
	plant 9 10.1.2.3 32 # too many
	plant 1 10.1.0.0 16 # too few
	expect 1 conncount verify
	expect_eq "$(
		cat <<-'END'
			smtp 10.1.0.0/16: expected 7, found 1
			smtp 10.1.2.3/32: expected 5, found 9
			smtp 10.7.7.7/32: expected 0, found 3
			3 differences: 7 prefixes of 7 sessions compared, 0 in flight
		END
	)" "$output" 'output of verify'
	expect_match '3 counts' "$errors" 'message of verify'
	expect_match 'conncount load' "$errors" 'message of verify'
	expect 1 conncount verify --json
	expect_eq '[{"listener": "smtp", "cidr": "10.1.0.0/16", "expected": 7, "found": 1}, '\
'{"listener": "smtp", "cidr": "10.1.2.3/32", "expected": 5, "found": 9}, '\
'{"listener": "smtp", "cidr": "10.7.7.7/32", "expected": 0, "found": 3}]' \
		"$(json differences <<<"$output")" differences
	expect_eq 7 "$(json sessions <<<"$output")" sessions
	expect_eq 0 "$(json in_flight <<<"$output")" in_flight
	# No answer says any more that it is exact.
	expect 0 conncount count
	expect_match 'not exact: 0 open sessions are not counted, 6 changes were lost' "$errors"
	expect 1 conncount status
	expect_match '^conncount: LOST: 6 changes' "$errors"
	expect_eq 6 "$(state lost)" lost
	expect_eq false "$(conncount list --json 2>/dev/null | json exact)" 'exact, of list'
	# The message names the command that repairs the counts, and the command does so.
	load
	counted 7
	expect 0 conncount status
}

@test "verify: reports a removed cgroup, also if it was made again, with the remedy and no difference" {
	local made
	mkdir "$CGROUP_PATH/unit"
	load --cgroup "$CGROUP/unit"
	rmdir "$CGROUP_PATH/unit"
	for made in no yes; do
		if [ $made = yes ]; then # as when systemd restarts a service
			mkdir "$CGROUP_PATH/unit"
			CGROUP_PATH=$CGROUP_PATH/unit sessions_start
			sessions listen '*:25'
			sessions open 3 10.1.2.3 192.0.2.1:25
		fi
		expect 1 conncount verify
		expect_eq '' "$output" 'differences'
		expect_match "cgroup $CGROUP/unit: it was removed.*conncount load" "$errors"
		expect 1 conncount verify --json
		expect_eq '' "$output" 'differences'
		expect 1 conncount status
		expect_match "cgroup $CGROUP/unit: it was removed.*conncount load" "$errors"
	done
	load --cgroup "$CGROUP/unit"
	counted 3
	conncount unload
	sessions_stop
	rmdir "$CGROUP_PATH/unit"
}
