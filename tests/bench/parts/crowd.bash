# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# crowd: queries within a /64 of very many addresses. A part of tests/bench/bench.

measure_crowd() {
	echo "crowd: $crowd sessions of one /64"
	# shellcheck disable=SC2119
	load_build
	live_start --crowd 6 "$crowd"
	in_ns "$BENCH/ask" --crowd 6 25 "$crowd" | noted crowd
	live_stop
	conncount unload >/dev/null
}
