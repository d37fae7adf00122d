# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# windows: what it costs to count connections in windows of time, too. A part of tests/bench/bench.
#
# The stand `without` has no window, `one` has one, and `two` has two. `full` has one, and a table
# that is always full: each new network evicts another.

# windows_start [LINE...]: loads a stand. LINEs are in the section [conncount].
windows_start() {
	configure_smtp_with "$@"
	# shellcheck disable=SC2119
	load_build
}

# windows_forget: loads it again, with no network in the table.
windows_forget() {
	conncount unload >/dev/null
	# shellcheck disable=SC2119
	load_build
}

# windows_fill 4|6: opens connections until the table evicts networks.
windows_fill() {
	local evicted=0
	while [ "$evicted" = 0 ]; do
		cycle "$1" 25 >/dev/null
		evicted=$(state windows.evicted)
	done
}

# windows_programs 4|6 SOURCES: nanoseconds of a connection in the two programs that it needs.
windows_programs() {
	programs "$connections" \
		"$BENCH/cycle" --cpu 0 --clients "$CLIENTS" --sources "$2" "$1" 25 "$connections" |
		awk '$1 == "sockops" || $1 == "release" { ns += $3 } END { print ns }'
}

# time_windows NAME ROUND 4|6 SOURCES: a connection, and the programs of another one.
time_windows() {
	note windows connection "$3" "$4" "$1" "$2" "$(cycle --sources "$4" "$3" 25)"
	note windows programs "$3" "$4" "$1" "$2" "$(windows_programs "$3" "$4")"
}

# size_windows NAME: the kernel memory of everything that is loaded.
size_windows() {
	[ -z "$MEMORY" ] || note windows memory "$1" "$(settled)"
}

# room_windows NAME: how many networks the table has room for.
room_windows() {
	note windows room "$1" "$(state windows.max_networks)"
}

# ask_windows 4|6: queries, while the clients' connections are in the window.
ask_windows() {
	windows_forget
	live_start "$1" "$openers"
	in_ns "$BENCH/ask" --window 60,1 "$1" 25 "$openers" | noted windows ask "$1"
	live_stop
}

measure_windows() {
	local family name i
	for name in without one two full; do stand $name; done
	at without windows_start
	at one windows_start window=60,1
	at two windows_start window=60,1 window=900,4
	at full windows_start window=60,1 window_memory=1M
	for name in without one two; do at $name size_windows $name; done
	for name in one two; do at $name room_windows $name; done
	for family in 4 6; do
		echo "windows: IPv$family, from 1 address"
		for ((i = 0; i < rounds; i++)); do
			for name in without one two; do at $name time_windows $name "$i" $family 1; done
		done
		echo "windows: IPv$family, from 65000 addresses"
		at full windows_fill $family
		for ((i = 0; i < rounds; i++)); do
			# So that the rounds together do not fill the table.
			for name in without one two; do at $name windows_forget; done
			for name in "${STANDS[@]}"; do at "$name" time_windows "$name" "$i" $family 65000; done
		done
		echo "windows: IPv$family, queries"
		at one ask_windows $family
	done
	stands_end
}
