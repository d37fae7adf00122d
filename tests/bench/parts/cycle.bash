# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# cycle: a whole connection, counted and not. A part of tests/bench/bench.

# time_cycle WHAT ROUND 4|6 SOURCES PORT
time_cycle() {
	note cycle "$3" "$4" "$1" "$2" "$(cycle --sources "$4" "$3" "$5")"
}

measure_cycle() {
	local family sources i nft=''
	! can_nft 'nft ct count, in a connection' || nft=1
	builds_start
	stand none
	[ -z "$nft" ] || stand nft
	[ -z "$nft" ] || at nft nft_on
	for family in 4 6; do
		for sources in 1 65000; do
			echo "cycle: IPv$family, from $sources addresses"
			for ((i = 0; i < rounds; i++)); do
				at none time_cycle none "$i" "$family" "$sources" 25
				at counted time_cycle uncounted "$i" "$family" "$sources" 26
				at counted time_cycle counted "$i" "$family" "$sources" 25
				at "build_$((sources > 1 ? 2 : 1))" time_cycle baseline "$i" "$family" "$sources" 25
				[ -z "$nft" ] || at nft time_cycle nft "$i" "$family" "$sources" 25
			done
		done
	done
	stands_end
}
