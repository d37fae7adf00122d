# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# trie: the operations on the table of counts. A part of tests/bench/bench.

measure_trie() {
	local family sessions
	for sessions in 1 "$live"; do
		for family in 4 6; do
			echo "trie: IPv$family, $sessions sessions"
			"$BENCH/trie" "$family" "$sessions" | noted trie "$family" "$sessions"
		done
	done
}
