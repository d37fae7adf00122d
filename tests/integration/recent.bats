# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Connections in windows of time, compared with a log that the test keeps (tests/tools/openers.c).

load ../lib/common
load ../lib/instance

time_limit 900

setup() {
	instance_setup
}

teardown() {
	instance_teardown
}

# openers ARGUMENT...: runs the tool, and sets $result[NAME] to its numbers.
openers() {
	local line
	requires openers
	line=$(in_ns "$BUILD/tests/openers" --dir "$CONNCOUNT_DIR" --port 25 "$@") ||
		fail "openers failed"
	echo "$line"
	declare -gA result="($(sed -E 's/([a-z]+) ([0-9]+)/[\1]=\2/g' <<<"$line"))"
}

@test "windows: without eviction every answer is equal to a log of connections" {
	local n
	n=$(scaled 500000)
	configure_smtp_with 'window = 2,24' 'window_memory = 128M'
	load
	openers --window 2,24 --connections "$n" --addresses 40000 --over 20
	expect_eq "${result[opened]}" "$n" 'connections'
	expect_eq "${result[outside]}" 0 'answers that are wrong'
	expect_eq "${result[unequal]}" 0 'answers that say that they are exact, and are wrong'
	[ "${result[inexact]}" -eq 0 ] || fail 'answers were not exact'
}

@test "windows: with a tenth of the memory, every answer's interval has the truth in it" {
	local n
	n=$(scaled 500000)
	configure_smtp_with 'window = 2,24' 'window_memory = 1536K'
	load
	openers --window 2,24 --connections "$n" --addresses "$(scaled 40000)" --over 20
	expect_eq "${result[outside]}" 0 'answers that are wrong'
	expect_eq "${result[unequal]}" 0 'answers that say that they are exact, and are wrong'
	expect_eq "${result[heavy]}" 0 'of the 100 heaviest /24: counts more than 1 % too small'
	[ "${result[inexact]}" -gt 0 ] || fail 'no network was evicted: the test is of no use'
}

@test "windows: a scan from a million addresses leaves the heavy networks, and every bound" {
	local n
	n=$(scaled 1000000)
	configure_smtp_with 'window = 20,10' 'window_memory = 4M'
	load
	openers --window 20,10 --connections "$((n / 5))" --addresses 2000 --scan "$n"
	expect_eq "${result[outside]}" 0 'answers that are wrong'
	expect_eq "${result[unequal]}" 0 'answers that say that they are exact, and are wrong'
	expect_eq "${result[heavy]}" 0 'of the 100 heaviest /24: counts more than 1 % too small'
	[ "${result[inexact]}" -gt 0 ] || fail 'no network was evicted: the test is of no use'
}
