# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# proxied: connections whose header names the client, and what the program that reads it costs every
# other packet. A part of tests/bench/bench.
#
# Ports: 25 has a proxy in the stand `proxied`, and none in `plain`; 26 has none; 27 is not counted.

# proxied_start: loads the stand `proxied`.
proxied_start() {
	configure <<-'END'
		[mx]
		listen = *:25
		proxy = 203.0.113.1
		proxy = 2001:db8:ffff::1
		[direct]
		listen = *:26
	END
	# shellcheck disable=SC2119
	load_build
}

# time_header WHAT ROUND 4|6 VERSION PORT [OPTION]: a whole connection from one address.
time_header() {
	note proxied connection "$3" "$4" "$1" "$2" "$(cycle --sources 1 --header "$4" "${@:6}" "$3" "$5")"
}

# time_transfer WHAT ROUND SIZE PORT [OPTION]: a megabyte of a long transfer. IPv4 alone: after the
# first bytes the program does not look into a packet.
time_transfer() {
	note proxied transfer "$3" "$1" "$2" "$(in_ns "$BENCH/transfer" --cpu 0 --clients "$CLIENTS" \
		"${@:5}" 4 "$4" "$(chunk "$3")" "$megabytes")"
}

# time_empty ROUND SIZE: the same with an ingress program that does nothing.
time_empty() {
	time_transfer empty "$1" "$2" 25 --empty "$CGROUP_PATH"
}

# time_ingress NAME... -- N COMMAND...: of each program, runs and nanoseconds by the kernel's
# statistics, divided by N.
time_ingress() {
	local key=()
	while [ "$1" != -- ]; do
		key+=("$1")
		shift
	done
	programs "$2" "$BENCH/$3" --cpu 0 --clients "$CLIENTS" "${@:4}" | noted proxied "${key[@]}"
}

# time_headers 4|6: the programs, of a connection.
time_headers() {
	local version
	for version in 1 2; do
		time_ingress programs "$1" "$version" proxied -- "$connections" \
			cycle --sources 1 --header "$version" --proxy "$1" 25 "$connections"
		time_ingress programs "$1" "$version" direct -- "$connections" \
			cycle --sources 1 --header "$version" "$1" 26 "$connections"
		time_ingress programs "$1" "$version" uncounted -- "$connections" \
			cycle --sources 1 --header "$version" "$1" 27 "$connections"
	done
}

# time_packets SIZE: the program, of a megabyte.
time_packets() {
	local chunk
	chunk=$(chunk "$1")
	time_ingress packets "$1" uncounted -- "$megabytes" transfer 4 27 "$chunk" "$megabytes"
	time_ingress packets "$1" direct -- "$megabytes" transfer 4 26 "$chunk" "$megabytes"
	time_ingress packets "$1" identified -- "$megabytes" transfer --proxy 4 25 "$chunk" "$megabytes"
	time_ingress packets "$1" back -- "$megabytes" transfer --back 4 26 "$chunk" "$megabytes"
}

measure_proxied() {
	local family version size i name
	stand none
	stand plain
	at plain load_build
	stand proxied
	at proxied proxied_start
	for family in 4 6; do
		for version in 1 2; do
			echo "proxied: IPv$family, headers of version $version"
			for ((i = 0; i < rounds; i++)); do
				at none time_header none "$i" "$family" "$version" 25
				at plain time_header plain "$i" "$family" "$version" 25
				at proxied time_header direct "$i" "$family" "$version" 26
				at proxied time_header proxied "$i" "$family" "$version" 25 --proxy
			done
		done
		for ((i = 0; i < (rounds + 2) / 3; i++)); do at proxied time_headers "$family"; done
	done
	for size in 65536 1500; do
		echo "proxied: a transfer in packets of up to $size bytes"
		for name in "${STANDS[@]}"; do at "$name" packets "$size"; done
		for ((i = 0; i < rounds; i++)); do
			at none time_transfer none "$i" "$size" 25
			at plain time_transfer plain "$i" "$size" 25
			at plain time_empty "$i" "$size"
			at proxied time_transfer uncounted "$i" "$size" 27
			at proxied time_transfer direct "$i" "$size" 26
			at proxied time_transfer identified "$i" "$size" 25 --proxy
			at plain time_transfer back_plain "$i" "$size" 25 --back
			at proxied time_transfer back "$i" "$size" 26 --back
		done
		for ((i = 0; i < (rounds + 2) / 3; i++)); do at proxied time_packets "$size"; done
	done
	stands_end
}
