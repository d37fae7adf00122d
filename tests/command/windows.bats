# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Connections in windows of time: what the command answers.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	sessions_start
}

teardown() {
	instance_teardown
}

# opened COUNT ARGUMENT...: `count --window 3600,1 ARGUMENT...` says COUNT.
opened() {
	local count=$1
	shift
	expect 0 conncount count --window 3600,1 "$@"
	expect_eq "${output%%$'\n'*}" "$count" "of $*"
}

# status_windows NETWORKS EVICTED ERROR: the line of status about the windows has these numbers.
status_windows() {
	expect 0 in_ns conncount status
	expect_match "windows +3600,1 and 60,29: $1 of [0-9]+ networks \([0-9.]+ %\), $2 evicted, at most $3 connections missing" \
		"$output"
}

@test "windows: connections are counted when they open, and stay counted when they close" {
	configure_smtp_with 'window = 3600,1'
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

@test "windows: a load that makes new maps keeps them" {
	configure_smtp_with 'window = 3600,1'
	load
	sessions <<-'END'
		listen *:25
		open 3 10.1.2.3 192.0.2.1:25
		close server 2
	END
	expect_count 2
	configure_smtp_with 'window = 3600,1' 'max_prefixes = 4096'
	load
	sessions open 2 10.1.2.3 192.0.2.1:25
	opened 5 10.1.2.3
	opened 5
}

@test "windows: a listener does not get the connections of one that was removed" {
	configure_smtp_with 'window = 3600,1'
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
