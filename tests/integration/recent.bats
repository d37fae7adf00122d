# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Connections in windows of time, compared with a log that the test keeps (tests/tools/openers.c).

load ../lib/common
load ../lib/instance

time_limit 900

setup() {
	instance_setup
	requires openers
}

teardown() {
	instance_teardown
}

# opened COUNT [ARGUMENT...]: `count --window 3600,1 ARGUMENT...` says COUNT.
opened() {
	local count=$1
	shift
	expect 0 conncount count --window 3600,1 "$@"
	expect_eq "$count" "${output%%$'\n'*}" "connections of $*"
}

# field_of FIELD [ARGUMENT...]: FIELD of `count --window 3600,1 --json ARGUMENT...`.
field_of() {
	local field=$1
	shift
	conncount count --json --window 3600,1 "$@" | json "$field"
}

# For how long the tool connects where windows are short, and how long these are: its log has room for 32.
SPREAD=$((SCALE * PART > 1 ? 20 : 40))
WINDOW=$((PATIENCE > 1 ? 4 : 2))

# openers ARGUMENT...: runs the tool, and prints its line.
openers() {
	in_ns "$BUILD/tests/openers" --dir "$CONNCOUNT_DIR" --port 25 "$@"
}

# compared LINE: prints LINE, which is what openers printed, and sets $result[NAME] to its numbers.
compared() {
	local words i
	echo "$1"
	read -ra words <<<"$1"
	declare -gA result=()
	for ((i = 0; i < ${#words[@]}; i += 2)); do result[${words[i]}]=${words[i + 1]}; done
}

# heavy_kept: of the 100 /24 with most connections, nearly all have a count that is 1 % too small at
# most, as measured (tests/bench/README.md). In a short run 1 % is less than a connection.
heavy_kept() {
	[ "$SCALE" -gt 1 ] || [ "${result[heavy]}" -le 4 ] ||
		fail "of the 100 heaviest /24, ${result[heavy]} counts are more than 1 % too small"
}

@test "windows: without eviction every answer is equal to a log of connections" {
	local n
	n=$(scaled 500000)
	configure_smtp_with "window = $WINDOW,24" 'window_memory = 128M'
	load
	compared "$(openers --window "$WINDOW,24" --connections "$n" --addresses "$(scaled 40000 2000)" --over $((SPREAD / WINDOW)))"
	expect_eq "$n" "${result[opened]}" 'connections'
	expect_eq 0 "${result[outside]}" 'answers that are wrong'
	expect_eq 0 "${result[unequal]}" 'answers that say that they are exact, and are wrong'
	[ "${result[inexact]}" -eq 0 ] || fail 'answers were not exact'
}

@test "windows: with a tenth of the memory, every answer's interval has the truth in it" {
	local n
	n=$(scaled 500000 8000)
	configure_smtp_with "window = $WINDOW,24" 'window_memory = 1536K'
	load
	compared "$(openers --window "$WINDOW,24" --connections "$n" --addresses "$(scaled 40000 8000)" --over $((SPREAD / WINDOW)))"
	expect_eq 0 "${result[outside]}" 'answers that are wrong'
	expect_eq 0 "${result[unequal]}" 'answers that say that they are exact, and are wrong'
	heavy_kept
	[ "${result[inexact]}" -gt 0 ] || fail 'no network was evicted: the test is of no use'
}

@test "windows: a scan from a million addresses leaves the heavy networks, and every bound" {
	local n
	n=$(scaled 1000000 8000)
	configure_smtp_with 'window = 20,10' "window_memory = $([ "$SCALE" -gt 1 ] && echo 1M || echo 4M)"
	load
	compared "$(openers --window 20,10 --connections "$((n / 5))" --addresses 2000 --scan "$n")"
	expect_eq 0 "${result[outside]}" 'answers that are wrong'
	expect_eq 0 "${result[unequal]}" 'answers that say that they are exact, and are wrong'
	heavy_kept
	[ "${result[inexact]}" -gt 0 ] || fail 'no network was evicted: the test is of no use'
}

@test "windows: no connection is missed or counted twice while loads make new maps" {
	local n pid
	n=$(scaled 100000)
	configure_smtp_with 'window = 4,12' 'window_memory = 64M'
	load
	# `in_ns`, so that the loads below are not in the test's cgroup.
	openers --window 4,12 --connections "$n" --addresses 1000 --over 4 >"$TEST_DIR/openers" &
	pid=$!
	for size in $(seq 100001 100020); do
		configure_smtp_with 'window = 4,12' 'window_memory = 64M' "max_prefixes = $size"
		expect 0 load
		expect_match 'counting goes on in new maps' "$output"
	done
	wait "$pid" || fail "$(cat "$TEST_DIR/openers")"
	compared "$(<"$TEST_DIR/openers")"
	expect_eq "$n" "${result[opened]}" 'connections'
	expect_eq 0 "${result[outside]}" 'answers that are wrong'
	expect_eq 0 "${result[unequal]}" 'answers that say that they are exact, and are wrong'
	expect_eq 0 "${result[inexact]}" 'answers that are not exact'
}

@test "windows: a load keeps them, also in new maps; other windows and an unload begin again" {
	configure_smtp_with 'window = 3600,1'
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		open 3 10.1.2.3 192.0.2.1:25
	END
	load
	opened 3 10.1.2.3
	configure_smtp_with 'window = 3600,1' 'max_prefixes = 1000'
	expect 0 load
	expect_match 'new maps' "$output"
	opened 3 10.1.2.3
	sessions open 1 10.1.2.3 192.0.2.1:25
	opened 4 10.1.2.3
	configure_smtp_with 'window = 3600,1' 'window = 60,1' 'max_prefixes = 1000'
	load
	opened 0 10.1.2.3
	expect_count 4
	sessions open 1 10.1.2.3 192.0.2.1:25
	opened 1 10.1.2.3
	conncount unload
	load
	opened 0 10.1.2.3
	expect_count 5
}

@test "windows: sessions that were open before are in none, and make no answer wrong" {
	sessions_start
	sessions <<-'END'
		listen *:25
		open 3 10.1.2.3 192.0.2.1:25
	END
	configure_smtp_with 'window = 3600,1'
	load
	expect_count 3
	opened 0 10.1.2.3
	expect_eq false "$(field_of exact 10.1.2.3)"
	expect_eq null "$(field_of most 10.1.2.3)"
}

# window_is EXACT [ARGUMENT...]: `count` of $window and the one before is exact, or not: true or false.
window_is() {
	[ "$(conncount count --json --window "$window" --to 1 "${@:2}" | json exact)" = "$1" ]
}

# comes_back: removes the listener msa and adds it again; its windows are not exact at once. On a slow machine,
# they can be again before they are asked.
comes_back() {
	configure_smtp_with "window = $window"
	load
	configure_smtp_with "window = $window" '[msa]' 'listen = *:587'
	load
	window_is false --listener msa
	window_is true --listener smtp
}

@test "windows: a listener that was removed and comes back says that connections may be missing" {
	local window
	window=$((PATIENCE > 1 ? 6 : 1)),1
	configure_smtp_with "window = $window" '[msa]' 'listen = *:587'
	load
	wait_until window_is true --listener msa
	wait_until comes_back
	wait_until window_is true --listener msa
}

@test "windows: a session that cannot be counted is in them all the same" {
	configure_smtp_with 'window = 3600,1' 'max_prefixes = 4'
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		open 1 10.1.2.3 192.0.2.1:25
		open 2 10.9.9.9 192.0.2.1:25
	END
	expect_match 'not exact' "$(conncount count 2>&1)"
	opened 2 10.9.9.9
	opened 3
}

@test "windows: a reader in another time namespace has the kernel's windows" {
	requires timens
	configure_smtp_with 'window = 3600,1'
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		open 3 10.1.2.3 192.0.2.1:25
	END
	expect 0 unshare -T --fork --boottime 1000000 --monotonic 1000000 -- conncount count --window 3600,1 10.1.2.3
	expect_eq 3 "${output%%$'\n'*}"
}

@test "windows: the most that can be configured load, and a connection is in each of them" {
	local window
	{
		printf '%s\n' '[conncount]' 'group = root'
		printf 'window = %s\n' 86400,1 3600,4 900,3 60,20
		printf '%s\n' '[smtp]' 'listen = *:25' 'proxy = 10.0.0.0/24'
	} | configure raw
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		open 3 10.1.2.3 192.0.2.1:25
		open 2 2001:db8:1:2::1 [2001:db8::1]:25
	END
	for window in 86400,1 3600,4 900,3 60,20; do
		expect 0 conncount count --window "$window" --to "${window#*,}" 10.1.2.3
		expect_eq 3 "${output%%$'\n'*}" "of $window"
		expect 0 conncount count --window "$window" --to "${window#*,}" 2001:db8:1:2::/64
		expect_eq 2 "${output%%$'\n'*}" "of $window"
	done
}
