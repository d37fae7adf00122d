# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# live: programs and queries, by how many sessions are open. A part of tests/bench/bench.

# ss_count NETWORK: as many as ss finds.
ss_count() {
	in_ns ss -Htn "sport = :25 and dst $1" | wc -l
}

# time_ss 4|6 SESSIONS: for the network of most sessions, and whether both count the same.
time_ss() {
	local network i
	network=$(conncount list "-$1" "$(($1 == 4 ? 24 : 64))" --limit 1 | awk '{ print $2 }')
	expect_eq "$(conncount count "$network")" "$(ss_count "$network")" "ss, $network"
	for ((i = 0; i < 5; i++)); do note ss "$1" "$2" "$(took ss_count "$network")"; done
}

measure_live() {
	local family sessions i
	# shellcheck disable=SC2119
	load_build
	for sessions in $series "$live"; do
		for family in 4 6; do
			echo "live: IPv$family, $sessions sessions"
			live_start "$family" "$sessions"
			if [ "$sessions" = "$live" ]; then
				ask "$family" "$sessions" --lengths
				time_ss "$family" "$sessions"
			else
				ask "$family" "$sessions"
				for ((i = 0; i < 3; i++)); do
					time_programs program "$family" "$sessions" outside 65000
				done
			fi
			live_stop
		done
	done
	conncount unload >/dev/null
}
