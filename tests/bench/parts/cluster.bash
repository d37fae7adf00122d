# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# cluster: what a cluster costs, and how late its counts are. A part of tests/bench/bench.

# Asks in turns for one address: this host's sessions, and the cluster's. Prints nanoseconds of each.
ASK_BOTH='
	local audit = require("msys.audit")
	local function took(service, n)
		local start = os.clock()
		for _ = 1, n do audit.inbound_session_count("10.1.2.3/32", service) end
		return (os.clock() - start) / n * 1e9
	end
	for _ = 1, tonumber(arg[1]) do print(took("SMTP", 2000), took("inbound_cidr", 2000)) end'

# cpu PID: prints the CPU time of a process so far, in seconds.
cpu() {
	local fields
	read -ra fields <"/proc/$1/stat"
	awk -v t="$((fields[13] + fields[14]))" -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.2f\n", t / hz }'
}

# rss PID: prints the memory that a process has, in bytes.
rss() {
	awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$1/status"
}

# engine_output: prints how many bytes the server has sent so far.
engine_output() {
	engine info stats | sed -n 's/^total_net_output_bytes:\([0-9]*\).*/\1/p'
}

# measure_nodes NODES RATE LIVE: a reader beside so many nodes.
measure_nodes() {
	local seconds=10 cpu_daemon cpu_engine output memory changes bytes pace count
	[ -z "$quick" ] || seconds=2
	memory=$(rss "${DAEMON[a]}")
	converse PLAY enter_ns python3 -I tests/bench/cluster_nodes.py play "$TEST_DIR/engine.sock" "$@" $seconds
	wait_until -t 60 all_there "$1"
	memory=$(($(rss "${DAEMON[a]}") - memory))
	cpu_daemon=$(cpu "${DAEMON[a]}") cpu_engine=$(cpu "$ENGINE") output=$(engine_output)
	read -r changes bytes pace <&"$PLAY_FROM"
	cpu_daemon=$(awk "BEGIN { print $(cpu "${DAEMON[a]}") - $cpu_daemon }")
	cpu_engine=$(awk "BEGIN { print $(cpu "$ENGINE") - $cpu_engine }")
	output=$(($(engine_output) - output))
	count=$(on a conncount nodes | grep -c ' ok ' || :)
	note cluster nodes "$@" $seconds "$cpu_daemon" "$cpu_engine" "$output" "$changes" "$bytes" "$pace" "$memory" "$count"
	leave PLAY
}

# all_there N: whether the host a has the counts of N other nodes.
all_there() {
	[ "$(on a conncount metrics | grep -c '^conncount_cluster_node_ok.* 1$')" -gt "$1" ]
}

# at_place HOST COMMAND...: runs a command in the host's cgroup.
at_place() {
	local CGROUP_PATH=$CGROUP_PATH/$1
	in_ns "${@:2}"
}

measure_cluster() {
	local sample
	# shellcheck source=tests/lib/hosts.bash
	. tests/lib/hosts.bash
	command -v redis-server >/dev/null || {
		skipped cluster 'no command redis-server'
		return
	}
	echo 'cluster: two hosts'
	setup_file
	# shellcheck disable=SC2034 # bench has it
	ENDS=(cluster_end teardown_file)
	cluster_start a b
	sed -i '/^interval/d;/^lease/d;/^hold/d' "$TEST_DIR"/[ab].conf
	daemon_start a
	daemon_start b
	expect_all 0
	open_at b 1 10.1.2.3
	expect_all 1
	on a "$LUA" -e "$ASK_BOTH" /dev/null "$rounds" | noted cluster query
	# Beside 2,000 connections a second on the host that is looked at.
	converse TRAFFIC at_place b python3 -I tests/bench/cluster_nodes.py traffic 10.64.0.1 192.0.2.200:25 2000
	at_place b python3 -I tests/bench/cluster_nodes.py lag 10.2.0.1 "${ADDRESS[b]}:25" "$TEST_DIR/a" $((rounds * 10)) |
		noted cluster lag
	echo >&"$TRAFFIC_TO"
	noted cluster traffic <&"$TRAFFIC_FROM"
	leave TRAFFIC
	for sample in '32 100 1000' '32 1000 1000' '128 100 1000' '128 1000 1000'; do
		[ -z "$quick" ] || sample='4 100 100'
		echo "cluster: $sample (nodes, connections a second, live)"
		# shellcheck disable=SC2086 # words
		measure_nodes $sample
		[ -z "$quick" ] || break
	done
	# shellcheck disable=SC2034 # bench has it
	ENDS=()
	cluster_end
	teardown_file
}
