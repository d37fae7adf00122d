# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# programs: the time that the programs take, in turns with baseline programs, which do less. A part
# of tests/bench/bench.

# time_plain 4|6 SESSIONS SOURCES: a whole connection with nothing loaded, in the same turns.
time_plain() {
	note plain "$@" "$(cycle --sources "$3" "$1" 25)"
}

measure_programs() {
	local sessions family name i
	for sessions in 0 "$live"; do
		for family in 4 6; do
			echo "programs: IPv$family, $sessions sessions"
			builds_start
			for name in "${STANDS[@]}"; do at "$name" live_start "$family" "$sessions"; done
			stand none
			for ((i = 0; i < rounds; i++)); do
				at counted time_programs program "$family" "$sessions" outside 1
				at build_1 time_programs baseline "$family" "$sessions" outside 1
				at none time_plain "$family" "$sessions" 1
				at counted time_programs program "$family" "$sessions" outside 65000
				at build_2 time_programs baseline "$family" "$sessions" outside 65000
				at none time_plain "$family" "$sessions" 65000
				at counted time_programs program "$family" "$sessions" inside 65000
			done
			stands_end
		done
	done
}
