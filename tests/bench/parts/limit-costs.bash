# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# limits: what limits cost a connection that they let through, and what a packet costs that they
# refuse. A part of tests/bench/bench.
#
# The stand `none` has nothing loaded, `without` counts and has no limit, and `logged` has one that
# only counts. `one` and `four` have as many limits that refuse. In `nft`, nftables has the limit of
# `one`.

# limits_lines NAME: the lines of its listener.
limits_lines() {
	local action=reset
	[ "$1" != logged ] || action=log
	[ "$1" = without ] || echo "limit = /24,/64 over 100 $action"
	[ "$1" != four ] ||
		printf 'limit = /%s over 100 reset\n' 32,/128 16,/48 8,/32
}

# limits_start NAME: loads a stand, in its network namespace, which then has a SYN gate.
limits_start() (
	{
		printf '%s\n' '[conncount]' 'group = root' 'namespaces = own' '[smtp]' 'listen = *:25'
		limits_lines "$1"
	} | configure raw
	[ -z "$MEMORY" ] || echo "$BASHPID" >"$MEMORY/cgroup.procs"
	in_ns conncount load -c "$CONFIG" --cgroup "$CGROUP" >/dev/null 2>&1
)

# --- connections below the limit -------------------------------------------------------------------

# time_accepted NAME ROUND 4|6 SOURCES: a connection, and the programs of another one.
time_accepted() {
	note limits connection "$3" "$4" "$1" "$2" "$(cycle --sources "$4" "$3" 25)"
	case $1 in none | nft) return ;; esac
	programs "$connections" \
		"$BENCH/cycle" --cpu 0 --clients "$CLIENTS" --sources "$4" "$3" 25 "$connections" |
		noted limits programs connection "$3" "$4" "$1"
}

# time_empty_gates ROUND 4|6 SOURCES: a connection, with gates that do nothing.
time_empty_gates() {
	note limits connection "$2" "$3" empty "$1" "$(cycle --sources "$3" --empty "$CGROUP_PATH" "$2" 25)"
}

# time_limited_transfer NAME ROUND SIZE [OPTION]: a megabyte of a long transfer.
time_limited_transfer() {
	note limits transfer "$3" "$1" "$2" "$(in_ns "$BENCH/transfer" --cpu 0 --clients "$CLIENTS" \
		"${@:4}" 4 25 "$(chunk "$3")" "$megabytes")"
}

# time_empty_gate ROUND SIZE: the same with an ACK gate that does nothing.
time_empty_gate() {
	time_limited_transfer empty "$1" "$2" --empty "$CGROUP_PATH"
}

# time_limited_packets NAME SIZE: the programs, of a megabyte.
time_limited_packets() {
	programs "$megabytes" \
		"$BENCH/transfer" --cpu 0 --clients "$CLIENTS" 4 25 "$(chunk "$2")" "$megabytes" |
		noted limits programs transfer "$2" "$1"
}

# --- packets from outside ----------------------------------------------------------------------------

# syn_cookies 1|2: has listeners answer by cookies where the queue is full, or always.
syn_cookies() {
	in_ns sh -c "echo $1 >/proc/sys/net/ipv4/tcp_syncookies"
}

# outside_on 4|6: holds as many sessions of one network as a limit allows. From then on only the
# server's addresses are local; all others are behind the device of tests/bench/spoof.c. Each SYN is
# answered by a cookie, as in a flood that has filled the queue.
outside_on() {
	live_start --sources 1 "$1" 100
	syn_cookies 2
	in_ns ip -batch - <<-'END'
		tuntap add dev outside mode tun
		link set outside up
		address add 192.0.2.1/32 dev lo
		address add 2001:db8::1/128 dev lo
		route del local 0.0.0.0/0 dev lo table local
		route del local ::/0 dev lo table local
		route add 0.0.0.0/0 dev outside
		route add ::/0 dev outside
	END
}

outside_off() {
	in_ns ip -batch - <<-'END'
		link del outside
		address del 192.0.2.1/32 dev lo
		address del 2001:db8::1/128 dev lo
	END
	network_up
	syn_cookies 1
	live_stop
}

# time_spoofed KIND NAME ROUND 4|6 SOURCES ARGUMENT...: a packet of a KIND, and the programs of
# another one. ARGUMENTs are those of tests/bench/spoof.c before 4|6.
time_spoofed() {
	local spoof=("$BENCH/spoof" --cpu 0 --sources "$5" "${@:6}" "$4" 25 "$connections") ns
	ns=$(in_ns "${spoof[@]}")
	note limits spoofed "$4" "$1" "$2" "$3" "$ns"
	case $2 in none | nft) return ;; esac
	programs "$connections" "${spoof[@]}" | noted limits programs spoofed "$4" "$1" "$2"
}

# time_outside 4|6: from one network, SYNs to a closed port, and over the limit; from many, SYNs and
# ACKs that belong to no connection, below it.
time_outside() {
	local family=$1 name i
	for name in "${STANDS[@]}"; do at "$name" outside_on "$family"; done
	for ((i = 0; i < rounds; i++)); do
		at none time_spoofed closed none "$i" "$family" 1 --closed syn reset
		for name in "${STANDS[@]}"; do
			case $name in one | nft) at "$name" time_spoofed refused "$name" "$i" "$family" 1 syn reset ;; esac
			[ "$name" != logged ] || continue
			at "$name" time_spoofed syn "$name" "$i" "$family" 65000 syn syn-ack
			at "$name" time_spoofed ack "$name" "$i" "$family" 65000 ack reset
		done
	done
	for name in "${STANDS[@]}"; do at "$name" outside_off; done
}

measure_limits() {
	local family sources size name i
	for name in none without logged one four; do stand $name; done
	for name in without logged one four; do at $name limits_start $name; done
	if can_nft 'nft ct count, beside limits'; then
		stand nft
		at nft nft_on 100 reject with tcp reset
	fi
	for family in 4 6; do
		for sources in 1 65000; do
			echo "limits: IPv$family, from $sources addresses"
			for ((i = 0; i < rounds; i++)); do
				for name in "${STANDS[@]}"; do at "$name" time_accepted "$name" "$i" $family $sources; done
				at without time_empty_gates "$i" $family $sources
			done
		done
	done
	for size in 65536 1500; do
		echo "limits: a transfer in packets of up to $size bytes"
		for name in "${STANDS[@]}"; do at "$name" packets $size; done
		for ((i = 0; i < rounds; i++)); do
			for name in "${STANDS[@]}"; do at "$name" time_limited_transfer "$name" "$i" $size; done
			at without time_empty_gate "$i" $size
		done
		for ((i = 0; i < (rounds + 2) / 3; i++)); do at one time_limited_packets one $size; done
	done
	for name in "${STANDS[@]}"; do at "$name" packets 65536; done
	if [ -c /dev/net/tun ]; then
		for family in 4 6; do
			echo "limits: IPv$family, packets from outside"
			time_outside $family
		done
	else
		skipped 'packets from outside' 'no device /dev/net/tun'
	fi
	stands_end
}
