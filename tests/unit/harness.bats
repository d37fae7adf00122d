# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Tests of the tests' own helpers: a helper that cannot fail hides failures.

load ../lib/common

setup() {
	# The test file that suite() writes and tests/run runs, in a directory of its own.
	suite=$BATS_TEST_TMPDIR/suite.bats
}

# suite: writes $suite from stdin, with @case in place of @test, which bats would take for a test of
# this file.
suite() {
	sed 's/@case/@test/' >"$suite"
}

# suite_run: runs tests/run on $suite in a clean environment, as from a shell and not within bats.
suite_run() {
	env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/ "$@" "$ROOT/tests/run" "$suite"
}

last_line() {
	tail -n 1 <<<"$output"
}

@test "run: exits with 0 if all tests pass or are skipped, and counts them" {
	suite <<-'END'
		@case "a" { true; }
		@case "b" { skip "not ok 9 here"; }
		@case "c # skip" { true; }
	END
	expect 0 suite_run
	expect_match '^[12] passed, 0 failed, [12] skipped$' "$(last_line)"
}

@test "run: exits with 1 if a test fails, and counts it" {
	suite <<-'END'
		@case "a" { true; }
		@case "b" { false; }
	END
	expect 1 suite_run
	expect_eq '1 passed, 1 failed, 0 skipped' "$(last_line)"
}

@test "run: a teardown that fails is a failure" {
	suite <<-'END'
		teardown() { return 1; }
		@case "a" { true; }
	END
	expect 1 suite_run
	expect_eq '0 passed, 1 failed, 0 skipped' "$(last_line)"
}

@test "run: a suite of which every test is skipped is a failure" {
	suite <<<'@case "a" { skip "why"; }'
	expect 1 suite_run
	expect_match 'no test ran' "$output"
	expect_eq '0 passed, 0 failed, 1 skipped' "$(last_line)"
}

@test "run: no tests, a missing file, a file that bats cannot read or an unknown word is an error" {
	: >"$suite"
	expect 1 suite_run
	expect_eq '0 passed, 0 failed, 0 skipped' "$(last_line)"
	suite <<<'@case "a" { if; }'
	expect 1 suite_run
	expect 2 "$ROOT/tests/run" "$BATS_TEST_TMPDIR/none.bats"
	expect 2 "$ROOT/tests/run" nonsense
	expect_match nonsense "$errors"
}

@test "run: it is a failure if bats dies midway" {
	suite <<-'END'
		@case "a" { true; }
		@case "b" { kill -KILL $$; }
		@case "c" { true; }
	END
	expect 1 suite_run BATS_TEST_TIMEOUT=2 # bats holds its output open that long
	expect_match '3 tests planned, 2 reported' "$output"
}

@test "run: a test that hangs fails" {
	suite <<-'END'
		@case "a" { sleep 60; }
	END
	expect 1 suite_run BATS_TEST_TIMEOUT=1
	expect_eq '0 passed, 1 failed, 0 skipped' "$(last_line)"
}

@test "run: --no-skip makes a missing requirement a failure" {
	suite <<-END
		load $ROOT/tests/lib/common
		@case "a" { true; }
		have() {
			missing='not here'
			return 1
		}
		@case "b" { requires valgrind; }
	END
	expect 0 suite_run
	expect_eq '1 passed, 0 failed, 1 skipped' "$(last_line)"
	expect_match 'requires valgrind: not here' "$output"
	expect 1 suite_run TESTS_NO_SKIP=1
	expect_eq '1 passed, 1 failed, 0 skipped' "$(last_line)"
}

@test "requires: an unknown word is an error" {
	run requires python3 no-such-word
	expect_eq 1 "$status"
	expect_match "unknown word 'no-such-word'" "$output"
	requires python3
}

@test "expect: fails on another exit status, and keeps output and messages apart" {
	expect 3 sh -c 'echo out; echo err >&2; exit 3'
	expect_eq out "$output"
	expect_eq err "$errors"
	run expect 0 false
	expect_eq 1 "$status"
	run expect 1 true
	expect_eq 1 "$status"
	expect_match 'exit status 0, expected 1: true' "$output"
}

@test "expect_eq and expect_match fail, and say what differed" {
	run expect_eq 1 2 'the count'
	expect_eq 1 "$status"
	expect_eq "the count: expected '1', got '2'" "$output"
	run expect_match '^a$' b
	expect_eq 1 "$status"
}

@test "json: prints values, and fails if a value is missing or the input is not JSON" {
	expect_eq 3 "$(json a.1.b <<<'{"a": [0, {"b": 3}]}')"
	expect_eq true "$(json a <<<'{"a": true}')"
	expect_eq text "$(json a <<<'{"a": "text"}')"
	run json a <<<'{"a": 1} {}'
	[ "$status" -ne 0 ]
	run json b <<<'{"a": 1}'
	[ "$status" -ne 0 ]
}

@test "wait_until: returns once its command succeeds, and fails if that takes too long" {
	(
		sleep 0.2
		: >"$BATS_TEST_TMPDIR/there"
	) 3>&- &
	wait_until -t 5 test -e "$BATS_TEST_TMPDIR/there"
	wait $!
	run wait_until -t 1 test -e "$BATS_TEST_TMPDIR/never"
	expect_eq 1 "$status"
	expect_match 'not within 1 s: test -e' "$output"
}

@test "wait_until: a statement of its command that fails is a failure, in conditions too" {
	half_true() {
		false
		true
	}
	if wait_until -t 1 half_true; then
		fail 'a condition'
	fi
	wait_until -t 1 half_true || status=2
	expect_eq 2 "$status" 'a list'
}

@test "wait_until: a machine that stood still during a run gets more of them" {
	late() {
		echo >>"$BATS_TEST_TMPDIR/runs"
		sleep 1.2
		[ "$(wc -l <"$BATS_TEST_TMPDIR/runs")" -ge 3 ]
	}
	wait_until -t 1 late
}
