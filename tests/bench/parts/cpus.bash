# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# cpus: connections on two CPUs at once. A part of tests/bench/bench.

# time_cpus WHAT 4|6: on CPU 0, then on CPUs 0 and 1 at the same time; the slower one of these counts.
time_cpus() {
	local pid one two
	one=$(cycle "$2" 25)
	in_ns "$BENCH/cycle" --cpu 1 --server 2 --clients "$CLIENTS" "$2" 25 "$connections" \
		>"$BATS_TEST_TMPDIR/other" &
	pid=$!
	two=$(cycle "$2" 25)
	wait "$pid"
	note cpus "$2" "$1" "$one" "$(sort -n - "$BATS_TEST_TMPDIR/other" <<<"$two" | tail -n 1)"
}

measure_cpus() {
	local family i what
	if [ "$(nproc)" -lt 2 ]; then
		skipped cpus 'one CPU'
		return
	fi
	stand none
	stand counted
	at counted load_build
	stand baseline
	at baseline load_build 2
	for family in 4 6; do
		echo "cpus: IPv$family"
		for ((i = 0; i < rounds; i++)); do
			for what in none counted baseline; do at "$what" time_cpus "$what" "$family"; done
		done
	done
	stands_end
}
