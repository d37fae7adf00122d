# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# million: the commands that take longer the more sessions are open. A part of tests/bench/bench.

# time_million NAME 4|6 COMMAND...
time_million() {
	note million "$2" "$1" "$(took "${@:3}")"
}

measure_million() {
	local family before=0 i
	# shellcheck disable=SC2119
	configure <<-END
		max_prefixes = $((million * 12))
		[mx]
		listen = *:25
	END
	for family in 4 6; do
		echo "million: IPv$family, $million sessions"
		# shellcheck disable=SC2119
		load_build
		[ -z "$MEMORY" ] || before=$(settled)
		live_start "$family" "$million"
		[ -z "$MEMORY" ] || note million "$family" memory $(($(settled) - before))
		note million "$family" networks "$(state nodes)"
		for ((i = 0; i < 3; i++)); do
			time_million list "$family" conncount list -4 24 -6 64 --limit 20
			time_million scrape "$family" conncount metrics
		done
		time_million verify "$family" conncount verify
		ask "$family" "$million"
		conncount unload >/dev/null
		time_million load "$family" load_build
		expect_eq "$million" "$(state listeners.0.live)" 'sessions found by load'
		live_stop
		conncount unload >/dev/null
	done
}
