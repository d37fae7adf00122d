# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# memory: what sessions from random addresses need, and as many from one address. A part of
# tests/bench/bench.

measure_memory() {
	local key before
	[ -n "$MEMORY" ] || return 0
	for key in "$live 4" "$live 6" '1 4'; do
		echo "memory: IPv${key#* }, from ${key% *} addresses"
		# shellcheck disable=SC2119
		load_build
		before=$(settled)
		# shellcheck disable=SC2086 # two words
		live_start --sources $key "$live"
		# shellcheck disable=SC2086
		note memory $key "$live" "$(state nodes)" $(($(settled) - before))
		live_stop
		expect_eq 0 "$(state nodes)" 'networks in the table of counts, when all is closed'
		conncount unload >/dev/null
	done
}
