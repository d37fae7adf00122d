# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Connections of proxies at full speed, ended at any step of their header.

load ../lib/common
load ../lib/neighbours
load ../lib/actors
load ../lib/proxies
load ../lib/instance

time_limit 900

setup() {
	proxied_setup
}

teardown() {
	neighbours_end
	instance_teardown
}

# 1,000,000 take two minutes.
@test "after 200,000 connections of proxies, ended at any step of the header, every count is 0" {
	requires churn
	local wanted opened accepted retried live awaiting totals
	wanted=$(scaled 200000 2000)
	neighbours_setup
	neighbour witness plain "$CGROUP_PATH" link
	expect 0 in_ns "$BUILD/tests/churn" --procs 8 --connections "$wanted" --to 192.0.2.1:25 \
		--from-base 10.0.0.3 --addresses 4 --headers 1000 --seconds 800
	expect_match 'opened=([0-9]+) accepted=([0-9]+) killed=[0-9]+ retried=([0-9]+)' "$output"
	opened=${BASH_REMATCH[1]} accepted=${BASH_REMATCH[2]} retried=${BASH_REMATCH[3]}
	[ "$accepted" -ge "$wanted" ] || fail "accepted: $accepted"
	mapfile -t totals < <(state listeners.0.proxied.{identified,own,absent,malformed,split,unread})
	live=$(state listeners.0.live)
	awaiting=$(state listeners.0.awaiting)
	# Those that ended while they awaited their header are in none. A wrong one may be LOCAL.
	((totals[0] > wanted / 3 && totals[2] && totals[3] && totals[4])) || fail "${totals[*]}"
	((live + awaiting == 0)) || explained $((live + awaiting)) $((accepted + opened + retried + 1))
	expect_eq 0 "${totals[5]}" unread
	nothing_left
}
