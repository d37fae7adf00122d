# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# split: the causes for which the kernel calls the programs, and how long each takes. A part of
# tests/bench/bench.

ask_split() {
	local line
	echo >&"$SPLIT_TO"
	while read -r -u "$SPLIT_FROM" line && [ -n "$line" ]; do echo "$line"; done
}

measure_split() {
	local family sessions
	converse SPLIT "$BENCH/split" "$CGROUP_PATH"
	# shellcheck disable=SC2119
	load_build
	ask_split
	for sessions in 0 "$live"; do
		for family in 4 6; do
			echo "split: IPv$family, $sessions sessions"
			live_start "$family" "$sessions"
			ask_split >/dev/null
			cycle "$family" 25 >/dev/null
			ask_split | awk -v n="$connections" '$2 * 2 > n { print $1, $2 / n, $3 / n }' |
				noted split "$family" "$sessions"
			live_stop
		done
	done
	leave SPLIT
	conncount unload >/dev/null
}
