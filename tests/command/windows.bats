# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Connections in windows of time: what the command answers.

load ../lib/common
load ../lib/instance
load ../lib/watching

setup() {
	instance_setup
	sessions_start
}

teardown() {
	watch_stop
	instance_teardown
}

# opened COUNT ARGUMENT...: `count --window 86400,1 ARGUMENT...` says COUNT.
opened() {
	local count=$1
	shift
	expect 0 conncount count --window 86400,1 "$@"
	expect_eq "$count" "${output%%$'\n'*}" "of $*"
}

# listed LINE...: $output has these lines, without the blanks at their start.
listed() {
	expect_eq "$(printf '%s\n' "$@")" "$(awk '{ print $1, $2 }' <<<"$output")" listed
}

# values PATH...: prints values of the JSON object in $output, on one line.
values() {
	json "$@" <<<"$output" | paste -s -d ' '
}

# traffic: loads two listeners of SMTP and one of Control, with a window of a day, and opens
# connections.
traffic() {
	configure <<-'END'
		window = 86400,1
		window = 2,3
		[smtp]
		listen = *:25
		[msa]
		listen = *:587
		[control]
		listen = 192.0.2.1:4000
		service = Control
	END
	load
	sessions <<-'END'
		listen *:25
		listen *:587
		listen *:4000
		open 3 10.1.2.3 192.0.2.1:25
		open 2 10.1.2.4 192.0.2.1:587
		open 1 10.1.3.4 192.0.2.1:25
		open 4 2001:db8:1:2::1 [2001:db8::1]:25
		open 1 2001:db8:1:2::2 [2001:db8::1]:587
		open 5 10.1.2.3 192.0.2.1:4000
	END
}

# window SECONDS: prints the number of the current window of this length since the kernel's boot.
window() {
	python3 -I -S -c 'import sys, time
print(int(time.clock_gettime(time.CLOCK_BOOTTIME)) // int(sys.argv[1]))' "$1"
}

# after SECONDS NUMBER: succeeds if the window after that number has begun; for wait_until.
after() {
	[ "$(window "$1")" -gt "$2" ]
}

# all_of FORMER: configures a window, sets $window to it and FORMER former ones, loads, and waits until
# one begins, of which nothing is missed. It is as long as the kernel runs, or a part of that.
all_of() {
	local n seconds begin
	while
		begin=$(($(window 1) + 3 * PATIENCE))
		n=$((1 + begin / 86400))
		seconds=$(((begin + n - 1) / n))
		begin=$((seconds * n))
		window=$seconds,$1
		configure_smtp_with "window = $window" 'window_memory = 1M'
		load
		[ "$(window 1)" -ge "$begin" ] # too late
	do :; done
	sessions listen '*:25'
	wait_until after "$seconds" $((n - 1))
}

# status_windows NETWORKS EVICTED ERROR: the line of status about the windows has these numbers.
status_windows() {
	expect 0 in_ns conncount status
	expect_match "windows +3600,1 and 60,29: $1 of [0-9]+ networks \([0-9.]+ %\), $2 evicted, at most $3 connections missing" \
		"$output"
}

@test "windows: connections are counted when they open, and stay counted when they close" {
	configure_smtp_with 'window = 86400,1'
	load
	sessions <<-'END'
		listen *:25
		open 3 10.1.2.3 192.0.2.1:25
		open 2 10.1.3.4 192.0.2.1:25
		open 4 2001:db8:1:2::1 [2001:db8::1]:25
	END
	opened 3 10.1.2.3
	opened 3 10.1.2.0/24
	opened 5 10.1.0.0/16
	opened 5 10.1.0.0/17
	opened 5 10.0.0.0/7
	opened 9
	opened 4 2001:db8:1::/48
	opened 4 2001:db8:1::/45
	sessions close both
	expect_count 0
	opened 3 10.1.2.3
	opened 9
}

@test "count --window: obeys the service, the listener and the network, also an IPv4-mapped one" {
	traffic
	opened 11
	opened 5 --service Control
	opened 5 --listener control 10.1.2.3
	opened 3 --listener msa
	opened 8 --listener smtp
	opened 6 0.0.0.0/0
	opened 5 ::/0
	opened 3 ::ffff:10.1.2.3
	opened 5 ::ffff:10.1.2.0/120
	opened 5 10.1.2.0/28
	opened 6 10.1.2.0/23
	opened 0 10.1.2.5
	opened 5 2001:db8:1:2::/64
	opened 5 2001:db8:1:2::/63
	opened 0 2001:db8:1:3::/64
	opened 4 2001:db8:1:2::1
	opened 1 2001:db8:1:2::2/128
}

@test "count --window: a length from 65 to 127 is an error that says so" {
	local length
	traffic
	for length in 65 96 127; do
		expect 2 conncount count --window 86400,1 "2001:db8:1:2::/$length"
		expect_match 'windows are not kept for the prefix lengths from 65 to 127 \(ask about' "$errors"
	done
	expect 2 conncount list --window 86400,1 --prefix 96
	expect_match 'from 65 to 127' "$errors"
}

@test "count --window --json: names the window, the bounds and whether they are exact" {
	traffic
	expect 0 conncount count --window 86400,1 --json 10.1.2.0/24
	expect_eq '86400,1 0 0 5 5 null false 10.1.2.0/24 SMTP' \
		"$(values window from to count least most exact cidr service)"
	expect_match 'reach back before counting began' "$errors"
}

@test "count --window: is exact from the first window that begins after the load" {
	local window
	all_of 1
	sessions open 3 10.1.2.3 192.0.2.1:25
	expect 0 conncount count --window "$window" --json
	expect_eq '3 true 3 3' "$(values count exact least most)"
	expect_eq '' "$errors" messages
	expect 0 conncount count --window "$window" --to 1 --json
	expect_eq '3 false 3 null' "$(values count exact least most)"
	expect_match 'not exact: there may have been more: the windows reach back' "$errors"
	expect 0 conncount list --window "$window" --json
	expect_eq 'true true' "$(values exact entries.0.exact)"
	expect_eq '' "$errors" messages
}

@test "windows: a connection is in the number of the window in which it opened" {
	local seconds=$((PATIENCE > 1 ? 6 : 2)) attempt=0 from began now age last='' want got
	configure_smtp_with "window = $seconds,3"
	load
	sessions listen '*:25'
	# Until all three of a client open in one window.
	while
		from=10.1.2.$((++attempt))
		began=$(window "$seconds")
		sessions open 3 "$from" 192.0.2.1:25
		[ "$(window "$seconds")" != "$began" ]
	do
		wait_until after "$seconds" "$(window "$seconds")"
	done
	# Look until the window is no longer kept, and compare each look within one window.
	while now=$(window "$seconds") && age=$((now - began)) && [ "$age" -le 4 ]; do
		want='' got=''
		for i in 0 1 2 3; do
			want+="$((i == age ? 3 : 0)) "
			got+="$(conncount count --window "$seconds,3" --from "$i" --to "$i" "$from" 2>/dev/null) "
		done
		[ "$(window "$seconds")" = "$now" ] || continue
		expect_eq "$want" "$got" "$age windows later"
		last=$age
		wait_until after "$seconds" "$now"
	done
	[ -n "$last" ] || fail 'no look was within one window'
}

@test "count --window: the sum of a range has each of its windows" {
	configure_smtp_with 'window = 86400,1' 'window = 2,20'
	load
	sessions <<-'END'
		listen *:25
		open 2 10.1.2.3 192.0.2.1:25
	END
	wait_until after 2 "$(window 2)"
	sessions open 3 10.1.2.3 192.0.2.1:25
	expect 0 conncount count --window 2,20 --to 20
	expect_eq 5 "${output%%$'\n'*}"
	expect 0 conncount count --window 2,20 --from 19 --to 20
	expect_eq 0 "${output%%$'\n'*}"
}

@test "count --smooth: is an estimate between the current window and both" {
	traffic
	expect 0 conncount count --window 86400,1 --smooth
	expect_eq 11 "$output"
	expect 0 conncount count --window 86400,1 --smooth --json
	expect_eq 'true 11' "$(values smooth least)"
	expect 0 conncount list --window 86400,1 --smooth -4 24
	listed '5 10.1.2.0/24' '1 10.1.3.0/24'
}

@test "list --window: the networks that opened most are first, also after they have closed" {
	traffic
	sessions close both
	expect 0 conncount list --window 86400,1
	listed '4 2001:db8:1:2::1/128' '3 10.1.2.3/32' '2 10.1.2.4/32' '1 10.1.3.4/32' '1 2001:db8:1:2::2/128'
	expect_match 'not exact: there may have been more: the windows reach back' "$errors"
	expect 0 conncount list --window 86400,1 -4 24 -6 64
	listed '5 10.1.2.0/24' '5 2001:db8:1:2::/64' '1 10.1.3.0/24'
	expect 0 conncount list --window 86400,1 --prefix 47
	listed '5 2001:db8::/47'
	expect 0 conncount list --window 86400,1 -4 32 --limit 2 --listener smtp
	listed '3 10.1.2.3/32' '1 10.1.3.4/32'
	expect 0 conncount list --window 86400,1 --service Control
	listed '5 10.1.2.3/32'
	expect 0 conncount list --window 86400,1 --from 1 --to 1
	expect_eq '' "$output"
}

@test "list --window --json: each entry has its bounds" {
	traffic
	expect 0 conncount list --window 86400,1 -4 24 --limit 1 --json
	expect_eq '86400,1 0 0 2 6 false SMTP' \
		"$(values window from to prefixes total exact service)"
	expect_eq '10.1.2.0/24 5 5 null false' \
		"$(values entries.0.{cidr,count,least,most,exact})"
}

@test "windows: evictions make a list inexact, and a message says what to raise" {
	local window
	requires speed
	all_of 0
	sessions open 9 10.1.2.3 192.0.2.1:25
	sessions open 15000 10.128.0.1+ 192.0.2.1:25
	sessions close both
	sessions open 15000 10.129.0.1+ 192.0.2.1:25
	expect 0 conncount list --window "$window" --limit 1 --json
	expect_eq '10.1.2.3/32 9 9 9 true 30009 false' \
		"$(values entries.0.{cidr,count,least,most,exact} total exact)"
	expect_match 'may have opened up to [1-9] more in a window: networks were evicted \(raise window_memory\)' "$errors"
	expect 0 conncount count --window "$window" 10.9.9.9 --json
	expect_eq '0 0 false' "$(values count least exact)"
	expect_match 'not exact: between 0 and [1-9]: networks were evicted' "$errors"
}

@test "--window: an error of its options exits with 2, and says what is wrong" {
	local text
	traffic
	for text in x 60 '60,' ,1 0,1 -1,1 60,1,1 60,-1 4294967296,1; do
		expect 2 conncount count --window "$text"
		expect_match "--window '$text': not SECONDS,WINDOWS" "$errors"
	done
	expect 2 conncount list --window 60,1
	expect_match "'60,1': not configured \(configured: 86400,1 and 2,3; add a line 'window = 60,1'" "$errors"
	expect 2 conncount watch --over 1 --window 60,1
	expect_match "'60,1': not configured" "$errors"
	expect 2 conncount top --window 60,1
	expect_match "'60,1': not configured" "$errors"
	expect 2 conncount count --window 2,3 --to 4
	expect_match "--to 4: '2,3' keeps the windows 0 to 3" "$errors"
	expect 2 conncount count --window 2,3 --from 2 --to 1
	expect_match '--from 2 is an older window than --to 1' "$errors"
	expect 2 conncount list --window 2,3 --smooth --to 1
	expect_match '--smooth excludes --from and --to' "$errors"
	for text in --smooth '--from 1' '--to 1'; do
		# shellcheck disable=SC2086 # an option and its value
		expect 2 conncount list $text
		expect_match 'needs --window' "$errors"
	done
	expect 2 conncount list --tree --window 2,3
	expect_match '--tree and --window cannot be combined' "$errors"
	expect 2 conncount count --window 2,3 --service nonsense
	expect_match "service 'nonsense': unknown service type" "$errors"
	expect 2 conncount list --window 2,3 --listener nonsense
	expect_match "listener 'nonsense': there is no such listener" "$errors"
	expect 1 conncount list --window 2,3 --dir "$TEST_DIR/nowhere"
	expect_match 'not loaded' "$errors"
}

@test "--smooth: windows that keep no former one are an error that says what to configure" {
	configure_smtp_with 'window = 60,0'
	load
	expect 2 conncount count --window 60,0 --smooth
	expect_match "--smooth: '60,0' keeps no window before .* \(configure 60,1\)" "$errors"
}

@test "--window: without windows in the configuration, the message says there are none" {
	configure_smtp
	load
	expect 2 conncount count --window 60,1
	expect_match 'configured: none; add a line' "$errors"
}

@test "windows: a reload keeps them, and changing them begins them again" {
	traffic
	opened 11
	load
	opened 11
	sed -i 's/^window = 2,3$/window = 2,4/' "$CONFIG"
	load
	opened 0
	sessions open 1 10.1.2.3 192.0.2.1:25
	opened 1
}

@test "watch --window: a network is over by its connections, and back when its window has ended" {
	configure_smtp_with 'window = 2,0' 'window = 86400,0'
	load
	sessions <<-'END'
		listen *:25
		open 2 10.1.2.3 192.0.2.1:25
	END
	watch --over 2 --window 86400,0 -4 24
	sessions close both
	sessions open 1 10.1.2.4 192.0.2.1:25
	wait_until saw 'over 10.1.2.0/24 3'
	expect_match 'not exact: there may have been more' "$(<"$TEST_DIR/log")"
	watch_stop
	watch --over 2 --window 2,0 --json
	wait_until is_over
	wait_until grep -q '"event":"back"' "$TEST_DIR/watched"
	output=$(head -n 1 "$TEST_DIR/watched")
	expect_eq '10.9.9.9/32 2,0 2' "$(values cidr window over)"
}

# is_over: opens three connections, and succeeds if watch has seen them in one window; for
# wait_until.
is_over() {
	sessions open 3 10.9.9.9 192.0.2.1:25
	wait_until -t 1 grep -q '"event":"over"' "$TEST_DIR/watched"
}

@test "windows: a load that makes new maps keeps them" {
	configure_smtp_with 'window = 86400,1'
	load
	sessions <<-'END'
		listen *:25
		open 3 10.1.2.3 192.0.2.1:25
		close server 2
	END
	expect_count 2
	configure_smtp_with 'window = 86400,1' 'max_prefixes = 4096'
	load
	sessions open 2 10.1.2.3 192.0.2.1:25
	opened 5 10.1.2.3
	opened 5
}

@test "windows: a listener does not get the connections of one that was removed" {
	configure_smtp_with 'window = 86400,1'
	load
	sessions <<-'END'
		listen *:25
		open 3 10.1.2.3 192.0.2.1:25
	END
	sessions close both
	expect_count 0
	sed -i 's/^\[smtp\]/[b]/; s/:25/:26/' "$CONFIG"
	load
	load
	sed -i 's/^\[b\]/[c]/; s/:26/:27/' "$CONFIG"
	load
	opened 0 --listener c
	# In new maps, too.
	sed -i 's/^window = .*/&\nmax_prefixes = 4096/; s/^\[c\]/[d]/; s/:27/:28/' "$CONFIG"
	load
	opened 0 --listener d
}

@test "windows: a listener that was removed is forgotten when the windows are over" {
	configure_smtp_with 'window = 1,0'
	load
	sed -i 's/^\[smtp\]/[b]/; s/:25/:26/' "$CONFIG"
	load
	expect_eq 'b smtp' "$(state listeners.0.name listeners.1.name | sort | paste -sd ' ')" listeners
	wait_until forgotten
}

# forgotten: after a load, status does not list the listener smtp.
forgotten() {
	load && [[ $(conncount status --json) != *'"smtp"'* ]]
}

@test "status: has a line about the windows if any are configured, and --json their numbers" {
	configure_smtp
	load
	expect 0 in_ns conncount status
	[[ $output != *windows* ]] || fail 'none are configured'
	expect 0 conncount status --json
	expect_eq null "$(json windows <<<"$output")" windows
	configure_smtp_with 'window = 3600,1' 'window = 60,29' 'window_memory = 1M'
	load
	status_windows 0 0 0
	sessions <<-'END'
		listen *:25
		open 3 10.1.2.3 192.0.2.1:25
		open 4 2001:db8:1:2::1 [2001:db8::1]:25
	END
	# Each connection is counted in a network of length 0 and one of each level.
	status_windows 15 0 0
	expect 0 conncount status --json
	expect_eq 15 "$(json windows.networks <<<"$output")" networks
	expect_eq 0 "$(json windows.evicted <<<"$output")" evicted
	expect_eq 3600,1 "$(json windows.configured.0.window <<<"$output")" window
	expect_eq 60,29 "$(json windows.configured.1.window <<<"$output")" window
	expect_eq 0 "$(json windows.configured.1.error <<<"$output")" error
}

@test "status: networks that a full table of windows evicts are counted, and how many connections miss" {
	local most
	configure_smtp_with 'window = 3600,1' 'window = 60,29' 'window_memory = 1M'
	load
	sessions listen '*:25'
	expect 0 conncount status --json
	most=$(json windows.max_networks <<<"$output")
	sessions open "$most" 10.1.0.1+ 192.0.2.1:25
	status_windows '[0-9]+' '[1-9][0-9]*' '[1-9][0-9]*'
	expect 0 conncount status --json
	[ "$(json windows.networks <<<"$output")" -le "$most" ] || fail 'more than it can hold'
	expect_match 'exact"?: ?true' "$output"
}
