# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# What conncount refused, status and the metrics say about limits.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	sessions_start
}

teardown() {
	instance_teardown
}

# limited: loads two listeners, the first one with limits, while a server listens on both.
limited() {
	sessions listen '*:25'
	sessions listen '*:587'
	configure raw <<-'END'
		[conncount]
		group = daemon
		[mx]
		listen = *:25
		limit = /24,/64 over 2 reset
		limit = /32,/128 over 1 log
		[msa]
		listen = *:587
		limit = /16,/48 over 1 log
	END
	load
}

# knock N SRC DST PORT: expects that N connections are refused.
knock() {
	expect 0 in_ns python3 -I -S - "$@" <<-'END'
		import socket, sys
		n, source, server, port = sys.argv[1:]
		for _ in range(int(n)):
		    sock = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET)
		    sock.bind((source, 0))
		    try:
		        sock.connect((server, int(port)))
		        sys.exit("connected")
		    except ConnectionRefusedError:
		        sock.close()
	END
}

# traffic: what the tests expect to be listed.
traffic() {
	sessions <<-'END'
		open 2 10.1.2.3 192.0.2.1:25
		open 1 2001:db8:1:2::1 [2001:db8::25]:25
		open 1 2001:db8:1:2::2 [2001:db8::25]:25
		open 4 10.9.2.3 192.0.2.1:587
	END
	knock 3 10.1.2.4 192.0.2.1 25
	knock 5 2001:db8:1:2::3 2001:db8::25 25
}

# columns: prints the numbers, the listener and the network of each line of $output.
columns() {
	awk 'NR > 1 { print $1, $2, $(NF - 1), $NF }' <<<"$output"
}

# values PATH...: prints values of the JSON object in $output, on one line.
values() {
	json "$@" <<<"$output" | paste -s -d ' '
}

# set_word MAP ID OFFSET VALUE: writes a word of 64 bits into a value of an array.
set_word() {
	python3 -I -S -B - "$TOOLS" "$CONNCOUNT_DIR" "$@" <<-'END'
		import struct, sys
		tools, directory, name, number, offset, word = sys.argv[1:]
		sys.path.insert(0, tools)
		import bpf
		values, key = bpf.Map(directory + "/live/" + name), struct.pack("=I", int(number))
		value = bytearray(values[key])
		struct.pack_into("=Q", value, int(offset), int(word))
		values[key] = bytes(value)
	END
}

@test "refused: lists the networks that limits refused or would have, those refused most first" {
	limited
	traffic
	expect 0 conncount refused
	expect_eq '' "$errors" stderr
	expect_match '^ +REFUSED WOULD REFUSE +LAST  LISTENER +NETWORK'$'\n' "$output"
	expect_eq '5 0 mx 2001:db8:1:2::/64
3 0 mx 10.1.2.0/24
0 3 msa 10.9.0.0/16
0 1 mx 10.1.2.3/32' "$(columns)"
	expect_match ' [0-9]+[sm] ago  mx ' "$output"
}

@test "refused: --listener selects a listener, and --limit the largest" {
	limited
	traffic
	expect 0 conncount refused --listener msa
	expect_eq '0 3 msa 10.9.0.0/16' "$(columns)"
	expect 0 conncount refused --limit 2
	expect_eq '5 0 mx 2001:db8:1:2::/64
3 0 mx 10.1.2.0/24' "$(columns)"
	expect 0 conncount refused --limit 100 --listener mx
	expect_eq 3 "$(columns | wc -l)" lines
	expect 2 conncount refused --listener other
	expect_eq '' "$output"
	expect_match "listener 'other': there is no such listener \(known: mx, msa\)" "$errors"
}

@test "refused --json: has the networks, their number, and the listener" {
	limited
	traffic
	expect 0 conncount refused --json
	expect_eq '2001:db8:1:2::/64 mx 5 0' "$(values entries.0.{cidr,listener,refused,would_refuse})"
	expect_eq '10.9.0.0/16 msa 0 3' "$(values entries.2.{cidr,listener,refused,would_refuse})"
	expect_eq '4 null' "$(values networks listener)"
	[ "$(values entries.0.age_ms)" -lt 1000000 ] || fail "age: $(values entries.0.age_ms) ms"
	expect 0 conncount refused --json --listener mx --limit 1
	expect_eq '2001:db8:1:2::/64 3 mx' "$(values entries.0.cidr networks listener)"
	expect_eq 1 "$(json entries <<<"$output" | grep -o cidr | wc -l)" entries
	expect 0 conncount refused --json --listener msa
	expect_eq '10.9.0.0/16 1 msa' "$(values entries.0.cidr networks listener)"
}

@test "refused: nothing refused is an empty list; without any limit, a message says so" {
	limited
	expect 0 conncount refused
	expect_eq '' "$output$errors"
	expect 0 conncount refused --json
	expect_eq '[] 0' "$(values entries networks)"
	configure_smtp
	load
	expect 0 conncount refused
	expect_eq '' "$output"
	expect_eq 'conncount: no listener has a limit (see limit in conncount.conf(5))' "$errors"
	expect 0 conncount refused --json
	expect_eq '[] 0' "$(values entries networks)"
	expect 2 conncount refused --listener other
	conncount unload
	expect 1 conncount refused
	expect_match 'not loaded' "$errors"
}

@test "refused: a new listener has nothing of a removed one, though it gets that one's id" {
	local limit='limit = /24,/64 over 1 log'
	limited
	sessions open 4 10.9.2.3 192.0.2.1:587
	sessions close both
	# A load may give an id to another listener if an earlier one has removed the one that had it.
	configure_smtp "$limit"
	load
	expect 0 conncount refused
	expect_eq '0 3 msa 10.9.0.0/16' "$(columns)" 'of a removed listener'
	configure_smtp "$limit" '[one]' 'listen = *:81' "$limit" '[two]' 'listen = *:82' "$limit"
	load
	expect_eq 'one two' "$(state listeners.{0,1}.name | paste -s -d ' ')" 'listeners, by id'
	expect 0 conncount refused
	expect_eq '' "$output"
	sessions listen '*:81'
	sessions open 2 10.9.2.3 192.0.2.1:81
	expect 0 conncount refused
	expect_eq '0 1 one 10.9.2.0/24' "$(columns)"
}

@test "a member of the group can read what limits refused, and others cannot" {
	requires setpriv
	limited
	traffic
	expect 0 as_user daemon conncount refused
	expect_eq 4 "$(columns | wc -l)" lines
	expect 0 as_user daemon conncount status --json
	expect_eq 8 "$(values listeners.0.limits.0.refused)" refused
	expect 1 as_user nogroup conncount refused
	expect_match 'permission denied' "$errors"
}

@test "before the group may read the maps of limits, its members see none" {
	requires setpriv
	limited
	chmod 0600 "$CONNCOUNT_DIR"/live/{limits,refused}
	expect 0 as_user daemon conncount status --json
	expect_eq '[]' "$(values listeners.0.limits)"
	expect 0 as_user daemon conncount refused
	expect_eq '' "$output"
}

# table TEXT: prints the table of limits in TEXT, with single blanks.
table() {
	sed -n '/^LIMITED/,/^$/p' <<<"$1" | tr -s ' '
}

@test "status: has a table of the limits, their totals and whether they are in force" {
	limited
	traffic
	expect 0 in_ns conncount status
	expect_eq '' "$errors" stderr
	expect_eq 'LIMITED LIMIT REFUSED WOULD REFUSE IN FORCE
mx /24,/64 over 2 reset 8 0 yes
mx /32,/128 over 1 log 0 1 yes
msa /16,/48 over 1 log 0 3 yes' "$(table "$output")"
	expect 0 conncount status --json
	expect_eq '/24,/64 over 2 reset 8 0 true null' \
		"$(values listeners.0.limits.0.{limit,refused,would_refuse,in_force,reason})"
	expect_eq '/32,/128 over 1 log 0 1 true null' \
		"$(values listeners.0.limits.1.{limit,refused,would_refuse,in_force,reason})"
	expect_eq '/16,/48 over 1 log 3' "$(values listeners.1.limits.0.{limit,would_refuse})"
	expect_eq '[]' "$(values namespaces_without_syn_gate)"
}

@test "status: limits appear and vanish with each load, and so do their totals" {
	configure_smtp
	load
	expect 0 in_ns conncount status
	expect_eq '' "$(table "$output")" 'without limits'
	expect 0 conncount status --json
	expect_eq '[]' "$(values listeners.0.limits)"
	sessions listen '*:25'
	configure_smtp 'limit = /24,/64 over 1 log'
	load
	sessions open 3 10.1.2.3 192.0.2.1:25
	expect 0 in_ns conncount status
	expect_eq 'smtp /24,/64 over 1 log 0 2 yes' "$(table "$output" | tail -n 1)"
	# A limit that stays keeps its totals.
	configure_smtp 'limit = /32,/128 over 1 reset' 'limit = /24,/64 over 1 log'
	load
	expect 0 in_ns conncount status
	expect_eq 'smtp /32,/128 over 1 reset 0 0 yes
smtp /24,/64 over 1 log 0 2 yes' "$(table "$output" | tail -n 2)"
	# New maps take their place.
	configure_smtp_with 'max_prefixes = 1000'
	echo 'limit = /24,/64 over 1 log' >>"$CONFIG"
	load
	expect 0 in_ns conncount status
	expect_eq 'smtp /24,/64 over 1 log 0 2 yes' "$(table "$output" | tail -n 1)"
	configure_smtp
	load
	expect 0 in_ns conncount status
	expect_eq '' "$(table "$output")" 'without limits'
}

@test "status: after a lost change, the limits of that listener are not in force, and it says why" {
	limited
	set_word stats 0 32 1 # struct cc_tally: lost
	expect 1 in_ns conncount status
	expect_eq 'mx /24,/64 over 2 reset 0 0 no: changes of its counts were lost
mx /32,/128 over 1 log 0 0 no: changes of its counts were lost
msa /16,/48 over 1 log 0 0 yes' "$(table "$output" | tail -n +2)"
	expect_match '^conncount: LOST: 1 changes of a count were lost.*conncount load' "$errors"
	expect_match 'limits that are not in force, and refuse nothing: 2 ' "$errors"
	expect 1 conncount status --json
	expect_eq 'false changes of its counts were lost' "$(values listeners.0.limits.0.{in_force,reason})"
	expect_eq 'true null' "$(values listeners.1.limits.0.{in_force,reason})"
	sessions open 4 10.1.2.3 192.0.2.1:25
	expect 0 conncount refused
	expect_eq '' "$output" 'refused meanwhile'
}

@test "status: while sessions are being entered, no limit is in force" {
	requires strace
	limited
	sed -i 's/^listen = \*:587/&\nlisten = *:588/' "$CONFIG"
	stopped_at membarrier 1 "$TEST_DIR/loaded" conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect 1 in_ns conncount status
	expect_match 'no: open sessions are still being counted'$'\n' "$(table "$output")"
	expect_match 'refuse nothing: 3 ' "$errors"
	goes_on "$TEST_DIR/loaded"
	wait "$STOPPED"
	remember
	expect 0 in_ns conncount status
	expect_eq 'yes yes yes' "$(table "$output" | awk 'NR > 1 { print $NF }' | paste -s -d ' ')"
}

@test "status: names each network namespace without a SYN gate; the next load attaches one" {
	local netns
	configure_smtp 'limit = /24,/64 over 1 reset'
	load
	sessions listen '*:25'
	sessions open 1 10.1.2.3 192.0.2.1:25
	netns=$(stat -L -c %i "$TEST_DIR/net")
	expect 0 in_ns conncount status
	expect_match "note: network namespace $netns has no SYN gate: .*\(attach one: conncount load\)" "$output"
	expect 0 conncount status --json
	expect_eq "[$netns]" "$(values namespaces_without_syn_gate | tr -d ' \n')"
	expect 0 conncount metrics
	expect_match 'conncount_namespaces_without_syn_gate 1' "$output"
	load
	sessions open 1 10.1.3.3 192.0.2.1:25
	expect 0 in_ns conncount status
	[[ $output != *SYN* ]] || fail 'it has one'
	expect 0 conncount metrics
	expect_match 'conncount_namespaces_without_syn_gate 0' "$output"
}
