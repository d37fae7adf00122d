# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Tests of the helpers that need privilege: the leak check finds and removes what is left, the
# oracle finds a wrong answer, and sessions.py executes its commands.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	configure_smtp '[control]' 'listen = *:4000' 'service = Control'
}

teardown() {
	instance_teardown
}

@test "the leak check fails, names everything that a test has left, and removes it" {
	local suite=$BATS_TEST_TMPDIR/suite.bats told=$BATS_TEST_TMPDIR/told left
	sed 's/^@case/@test/' >"$suite" <<-END
		load $ROOT/tests/lib/common
		load $ROOT/tests/lib/instance
		setup() { instance_setup; }
		teardown() { instance_teardown; }
		@case "leaves everything" {
			echo "\$TEST_DIR \$CGROUP_PATH" >"$told"
			in_ns sleep 1000 3>&- &
			nsenter --net="\$TEST_DIR/net" -- sleep 1001 3>&- &
			mkdir "\$CGROUP_PATH/child" "\$TEST_DIR/mnt"
			mount -t tmpfs none "\$TEST_DIR/mnt"
			cp "$CONFIG" "\$CONFIG"
			load --dir "\$TEST_DIR/j"
		}
	END
	expect 1 env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		"$ROOT/tests/run" "$suite"
	expect_match 'process [0-9]+: sleep 1000' "$output"
	expect_match 'process [0-9]+: sleep 1001' "$output"
	expect_match 'cgroup: .*/child' "$output"
	expect_match 'mount: .*/mnt' "$output"
	expect_match 'mount: .*/j' "$output"
	expect_match 'link [0-9]+' "$output"
	expect_match 'prog [0-9]+' "$output"
	expect_match 'map [0-9]+' "$output"
	expect_match '0 passed, 1 failed, 0 skipped' "$output"
	read -ra left <"$told"
	[ ! -e "${left[0]}" ] || fail "${left[0]} is left"
	[ ! -e "${left[1]}" ] || fail "${left[1]} is left"
}

@test "tests share an instance until one of them fails, and nothing of it is left" {
	local suite=$BATS_TEST_TMPDIR/suite.bats told=$BATS_TEST_TMPDIR/told first second third left
	sed 's/^@case/@test/' >"$suite" <<-END
		load $ROOT/tests/lib/common
		load $ROOT/tests/lib/instance
		setup() {
			instance_setup
			cp "$CONFIG" "\$CONFIG"
			load_shared
			echo "\$TEST_DIR" >>"$told"
		}
		teardown() { instance_teardown; }
		@case "first" { counting 1; }
		@case "fails" { counting 1 && false; }
		@case "again" { counting 1; }
	END
	expect 1 env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		CONNCOUNT_TEST_SCALE=2 "$ROOT/tests/run" "$suite"
	expect_match '2 passed, 1 failed, 0 skipped' "$output"
	expect_match 'not ok 2 fails' "$output"
	{ read -r first && read -r second && read -r third; } <"$told"
	expect_eq "$first" "$second" 'directory of the second test'
	[ "$second" != "$third" ] || fail 'the third test has the instance of one that failed'
	for left in "$first" "$third"; do
		[ ! -e "$left" ] || fail "$left is left"
		[ ! -e "$CGROUP2_ROOT/${left##*/}" ] || fail "the cgroup ${left##*/} is left"
	done
}

@test "the oracle accepts right answers, and finds each kind of wrong answer" {
	requires lua
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		listen *:4000
		open 20 10.0.0.1+ 192.0.2.1:25
		open 10 2001:db8::1+ [2001:db8::9]:4000
		queue 3 10.0.0.1 192.0.2.1:25
		shut server 1-3
		close server 4-5
		close client 4
		close client 6
	END
	local ledger=$TEST_DIR/ledger oracle
	oracle=(in_ns python3 -I "$TOOLS/oracle.py" --ledger "$ledger" --queries 60 --config)
	sessions ledger >"$ledger"
	expect 0 "${oracle[@]}" "$CONFIG" --expect 31
	expect 1 "${oracle[@]}" "$CONFIG" --expect 32
	sed -i 1d "$ledger"
	expect 1 "${oracle[@]}" "$CONFIG"
	expect_match 'only the kernel has: ' "$output"
	{
		sessions ledger
		echo '10.0.0.99 1 192.0.2.1 25'
	} >"$ledger"
	expect 1 "${oracle[@]}" "$CONFIG"
	expect_match 'only the ledger has: 10.0.0.99 ' "$output"
	# As if the sessions of both ports were counted under the wrong listener.
	sessions ledger >"$ledger"
	sed 's/:25/:0/; s/:4000/:25/; s/:0/:4000/' "$CONFIG" >"$TEST_DIR/swapped.conf"
	expect 1 "${oracle[@]}" "$TEST_DIR/swapped.conf"
	expect_match 'conncount count .*: expected' "$output"
	expect_match 'lua: .*: expected' "$output"
	expect_match 'conncount list .*: expected' "$output"
	expect_match 'live of smtp, ipv4: expected 0, got 21' "$output"
}

@test "sessions.py: selectors choose sessions, and a bad command fails with a message" {
	sessions_start
	expect 0 sessions <<-'END'
		listen *:25
		listen 192.0.2.2:26 two
		open 4 10.0.0.1+ 192.0.2.1:25
		open 2 10.0.0.1 192.0.2.2:26
	END
	expect_eq $'1-4\n5-6' "$output"
	expect 0 sessions ledger
	expect_match $'^10\\.0\\.0\\.1 [0-9]+ 192\\.0\\.2\\.1 25\n10\\.0\\.0\\.2 ' "$output"
	sessions close server from=10.0.0.2/31
	expect_eq 4 "$(sessions live)"
	sessions close server to=192.0.2.2:26
	expect_eq 2 "$(sessions live)"
	sessions close server odd
	expect_eq 1 "$(sessions live)"
	expect_eq "it's 3" "$(sessions exec 4 sh -c 'echo "it'\''s 3"; readlink /proc/self/fd/3 >/dev/null')"
	local command
	for command in nonsense 'close server 1' 'open 1 10.0.0.1 192.0.2.1:99' 'listen *:25' \
		'open 1 10.0.0.1' 'accept' 'close nobody' 'exec 4 false' 'kill nobody' \
		'unlisten *:99' 'listen 2001:db8::1:25'; do
		# shellcheck disable=SC2086
		set -f && expect 1 sessions $command && set +f
		expect_match "^sessions.py: " "$errors"
	done
	expect_eq 1 "$(sessions live)"
}
