# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# inbound_cidr: the sessions of all hosts of a cluster, counted on each. What is only between the daemons and
# the engine depends on no kernel: so those tests require speed.

load ../lib/common
load ../lib/instance
load ../lib/hosts

setup() {
	cluster_setup a b c
}

teardown() {
	cluster_teardown
}

# all_start: starts the daemons of all hosts, each with some sessions of both families.
all_start() {
	local name
	for name in "${HOSTS[@]}"; do
		open_at "$name" 3 10.0.0.1
		open_at "$name" 5 10.0.3.1+
		daemon_start "$name"
	done
	expect_all 24
}

# long KEY...: sets these keys to a minute on all hosts, so that it is not over before the test has looked,
# however busy the machine is.
long() {
	local key
	for key; do
		sed -i "s/^$key = .*/$key = 60s/" "$TEST_DIR"/{a,b,c}.conf
	done
}

total() {
	local name sum=0
	for name in "${HOSTS[@]}"; do
		sum=$((sum + $(on "$name" conncount count)))
	done
	echo $sum
}

@test "every host counts the sessions of all, in any network" {
	at b listen '[2001:db8::b]:25' >/dev/null
	open_at a 3 10.1.2.3
	open_at b 2 10.1.2.3
	at b open 2 2001:db8::1+ '[2001:db8::b]:25' >/dev/null
	daemon_start a
	daemon_start b
	daemon_start c
	expect_all 7
	open_at c 4 10.1.9.1+
	expect_all 11
	expect_all 5 10.1.2.3
	expect_all 9 10.0.0.0/8
	expect_all 9 10.1.0.0/18
	expect_all 1 2001:db8::2
	expect_all 2 2001:db8::/41
	expect_all 11
	expect_agreement
	at b close both >/dev/null
	expect_all 7
	expect_agreement
	expect 0 on c conncount list --service inbound_cidr
	expect_eq '       3  10.1.2.3/32
       1  10.1.9.1/32
       1  10.1.9.2/32
       1  10.1.9.3/32
       1  10.1.9.4/32' "$output"
	expect 0 on a conncount list --service inbound_cidr --prefix 0
	expect_eq '       7  0.0.0.0/0' "$output"
	expect_eq 3 "$(on a conncount count)" 'this host alone'
}

@test "nodes: the hosts, their states, and the exit status" {
	expect 1 on a conncount nodes
	expect_match 'this host is in no cluster' "$errors"
	all_start
	expect 0 on b conncount nodes
	expect_match $'^NODE .*\nb +ok .* 8 +6  this host\n' "$output"
	expect_match $'\na +ok .* 8 +6(\n|$)' "$output"
	expect 0 on b conncount nodes --json
	expect_eq 'mail true b ok true' "$(json cluster exact nodes.0.{name,state,self} <<<"$output" | xargs)"
	expect_eq 8 "$(json nodes.1.sessions <<<"$output")"
	expect 0 on b conncount status
	expect_match $'\ncluster   mail: 3 nodes, 16 sessions on the others \(see: conncount nodes\)\n' "$output"
	expect 0 on b conncount status --json
	expect_eq 'mail true 3 16 0 0' "$(json cluster.{name,exact,nodes,sessions,mended,diverged} <<<"$output" | xargs)"
	expect 0 on b conncount metrics
	expect_match $'\nconncount_cluster_exact 1\n' "$output"
	expect_match $'\nconncount_cluster_node_ok\{node="c"\} 1\n' "$output"
	expect_match $'\nconncount_cluster_node_sessions\{node="a"\} 8\n' "$output"
	daemon_stop c
	expect_eq null "$(on c conncount status --json | json cluster)" 'outside of a cluster'
	expect_eq 0 "$(on c conncount metrics | grep -c conncount_cluster)" 'metrics of it'
}

@test "a host that leaves takes its sessions away at once, and counts alone, exactly" {
	all_start
	daemon_stop b
	expect_all 16
	expect_eq 8 "$(count_on b)" 'b alone'
	expect 0 on a conncount nodes
	expect_eq 2 "$(grep -c ok <<<"$output")" 'nodes'
	daemon_start b
	expect_all 24
	expect_agreement
}

@test "a daemon that starts again within the lease takes the place that it has left at once" {
	sed -i 's/^lease = .*/lease = 30s/' "$TEST_DIR/b.conf"
	all_start
	daemon_stop b
	# If it took its own place for another host's, it would watch that for four intervals.
	sed -i 's/^interval = .*/interval = 4s/' "$TEST_DIR/b.conf"
	daemon_start b
	expect_all 24
	open_at b 1 10.0.7.7
	expect_all 25
}

@test "a daemon in another time namespace takes part like the others" {
	requires timens
	local holder seconds
	read -r seconds _ </proc/uptime
	start_in_ns unshare -T --fork --kill-child --boottime "-$((${seconds%.*} - 1))" -- sleep 1000
	holder=$STARTED
	wait_until pgrep -P "$holder" sleep
	daemon_start a
	daemon_start b nsenter "--time=/proc/$(pgrep -P "$holder" sleep)/ns/time"
	wait_until grep -q 'loaded: in cluster' "$TEST_DIR/b.log"
	kill -KILL "$holder"
	wait "$holder" || :
	open_at b 3 10.0.0.1
	expect_all 3
	open_at a 4 10.0.0.1
	expect_all 7
}

# states NAME STATE HOST...: whether NAME sees these hosts in that state.
states() {
	local text host
	text=$(on "$1" conncount nodes 2>/dev/null) || :
	for host in "${@:3}"; do
		grep -qE "^$host +$2 " <<<"$text" || return
	done
}

# silent HOST: whether a counts 24 sessions, and says that this host is silent.
silent() {
	expect_eq "24
conncount: not exact: cluster: $1 silent (see: conncount nodes)" \
		"$(on a conncount count --service inbound_cidr 2>&1 | sort)"
}

@test "a host that is dead is silent first: its sessions are still counted, marked not exact" {
	requires speed
	long lease hold
	all_start
	daemon_stop b KILL
	wait_until states a stale b
	wait_until silent b
	daemon_start b
	expect_all 24
}

@test "the sessions of a host that is dead for longer than the lease are no longer counted" {
	requires speed
	all_start
	daemon_stop b KILL
	wait_until -t 30 states a gone b
	expect_all 16
	expect 1 on a conncount nodes
	expect_eq 1 "$(grep -cx "conncount: node 'b': silent for 3 s: its sessions are no longer counted" \
		"$TEST_DIR/a.log")"
	# What the dead daemon has left is old.
	expect 0 on b conncount count --service inbound_cidr
	expect_match 'not exact: cluster: cut off for [0-9]+ s' "$errors"
	daemon_start b
	expect_all 24
	expect_agreement
}

@test "a daemon that is stopped for less than the lease, or more, comes back right" {
	requires speed
	local seconds
	all_start
	for seconds in 1 4; do
		kill -STOP "${DAEMON[b]}"
		open_at b 1 10.0.7.7
		sleep $seconds
		kill -CONT "${DAEMON[b]}"
		expect_agreement
		expect_all "$(total)"
	done
}

cut_off() {
	expect 0 on "$1" conncount count --service inbound_cidr
	[[ $errors = *'not exact: cluster: cut off for '* ]]
}

local_only() {
	expect 0 on "$1" conncount count --service inbound_cidr
	[[ $errors = *"only this host's sessions are counted"* ]]
}

@test "without the engine, the last counts of the others are counted at first, marked not exact" {
	requires speed
	long hold
	all_start
	engine_stop
	wait_until cut_off a
	expect_eq 24 "$(on a conncount count --service inbound_cidr 2>/dev/null)" 'for now'
	expect 0 on a "$LUA" -e 'print(require("msys.audit").inbound_session_count("10.0.0.0/8", "inbound_cidr"))'
	expect_match '^24	cluster: cut off for [0-9]+ s$' "$output"
	expect 0 on a conncount count --service inbound_cidr --json
	expect_eq false "$(json exact <<<"$output")"
	expect 0 on a conncount status
	expect_match "^conncount: service 'inbound_cidr': not exact: cluster: cut off for " "$errors"
}

@test "without the engine for longer than hold, each host counts alone, until the engine is back" {
	requires speed
	all_start
	engine_stop
	wait_until -t 30 local_only a
	expect_eq 8 "$(on a conncount count --service inbound_cidr 2>/dev/null)" 'a alone'
	expect 1 on a conncount nodes
	expect_match "engine.sock: cannot connect: " "$(<"$TEST_DIR/a.log")"
	open_at c 2 10.0.8.8
	expect_eq 10 "$(on c conncount count)"
	engine_start
	expect_agreement
	expect_all 26
	expect_eq 1 "$(grep -c 'engine.sock: connected' "$TEST_DIR/a.log")"
}

flush() {
	expect_eq OK "$(engine flushall)"
	sleep 1
	expect_all 24
}

restart_empty() {
	engine_stop
	engine_start
	expect_all 24
}

# restart_old: restarts the server with a file that lacks the last sessions.
restart_old() {
	engine_stop
	engine_start --dbfilename old.rdb
	sleep 1
	expect_all 24
}

@test "an engine that loses all, or goes back, makes no answer wrong without saying so" {
	requires speed
	local name
	for name in "${HOSTS[@]}"; do
		open_at "$name" 3 10.0.0.1
		daemon_start "$name"
	done
	expect_all 9
	expect_eq OK "$(engine save)"
	mv "$TEST_DIR/dump.rdb" "$TEST_DIR/old.rdb"
	for name in "${HOSTS[@]}"; do
		open_at "$name" 5 10.0.3.1+
	done
	expect_all 24
	watched 24 flush
	expect_agreement
	watched 24 restart_empty
	expect_agreement
	watched 24 restart_old
	expect_agreement
	# Any of its keys.
	for name in $(engine --raw keys '*'); do
		engine del "$name" >/dev/null
		expect_agreement
	done
}

host_counts() {
	[ "$(count_on "$1")" = "$2" ]
}

rebuild() {
	local n
	for n in 1 2; do
		configure_smtp_with "max_prefixes = 10000$n"
		load_on a
	done
	sleep 1
}

@test "load with other maps, unload and load: the cluster goes on" {
	all_start
	watched 24 rebuild
	expect_agreement
	on a conncount unload
	# Nobody counts there.
	wait_until host_counts b 16
	wait_until host_counts c 16
	load_on a
	expect_all 24
	expect_agreement
}

twice() {
	expect 0 on "$1" conncount count --service inbound_cidr
	[[ $errors = *'more than one host is called a'* ]]
}

@test "two hosts of one name: neither is counted as the other, and all say so" {
	requires speed
	all_start
	cluster_configure c 'name = mail'
	daemon_stop c
	expect_all 16
	sed -i 's/^node = c/node = a/' "$TEST_DIR/c.conf"
	daemon_start c
	wait_until twice c
	wait_until twice a
	wait_until twice b
	expect_match "another host of the cluster 'mail' is called 'a'" "$(cat "$TEST_DIR"/[ac].log)"
	daemon_stop c
	cluster_configure c
	daemon_start c
	expect_all 24
	expect_agreement
}

@test "max_prefixes: a host's counts do not fit, none of them count, and readers are told" {
	all_start
	open_at b 5 10.9.0.1+
	daemon_stop c
	cluster_configure c 'max_prefixes = 12'
	daemon_start c
	full
	expect_eq 16 "$(on c conncount count --service inbound_cidr 2>/dev/null)" 'c, and a, which fits'
	expect_match "node 'b': no room for its counts \(raise max_prefixes, now 12\)" "$(<"$TEST_DIR/c.log")"
	daemon_stop c
	cluster_configure c
	daemon_start c
	expect_all 29
}

@test "max_prefixes: the host with most addresses is given up, whichever comes last" {
	open_at b 8 10.9.0.1+
	open_at a 2 10.7.0.1+
	cluster_configure c 'max_prefixes = 12'
	daemon_start b
	daemon_start c
	expect_all 8
	daemon_start a
	full
	wait_until count_is 2
	expect_match "node 'b': no room" "$(<"$TEST_DIR/c.log")"
	# The smaller one becomes the larger one.
	at b close both >/dev/null
	open_at b 1 10.9.0.1
	wait_until count_is 3
	expect_all 3
	open_at a 8 10.8.0.1+
	wait_until grep -q "node 'a': no room" "$TEST_DIR/c.log"
	wait_until count_is 1
}

# count_is N: whether c counts N sessions, exact or not.
count_is() {
	expect_eq "$1" "$(on c conncount count --service inbound_cidr 2>/dev/null)"
}

@test "hold = 0s: a host that is cut off counts alone at once, and says so" {
	requires speed
	all_start
	daemon_stop a
	cluster_configure a
	sed -i 's/^hold = .*/hold = 0s/' "$TEST_DIR/a.conf"
	daemon_start a
	expect_all 24
	watched 24 sleep 1
	engine_stop
	wait_until local_only a
	expect_eq 8 "$(on a conncount count --service inbound_cidr 2>/dev/null)" 'a alone'
}

@test "a host whose counts did not fit, and then do, is counted right" {
	open_at b 5 10.9.0.1+
	open_at b 2 10.0.0.9
	open_at a 2 10.0.0.9
	cluster_configure c 'max_prefixes = 9'
	daemon_start a
	daemon_start b
	daemon_start c
	full
	at b close both from=10.9.0.0/16 >/dev/null
	expect_all 4
	expect_all 4 10.0.0.9
	expect_all 0 10.9.0.0/16
	expect_agreement
	daemon_stop b
	expect_all 2
	expect_agreement
}

full() {
	wait_until is_full
}

is_full() {
	expect 0 on c conncount count --service inbound_cidr
	[[ $errors = *'no room for the counts of b (raise max_prefixes)'* ]]
}

@test "a second daemon on an instance takes it over, and the first ends" {
	local first rc=0
	all_start
	first=${DAEMON[a]}
	daemon_start a
	wait "$first" || rc=$?
	expect_eq 1 $rc 'exit status of the first'
	expect_match 'another daemon has taken over this instance \(run only one\)' "$(<"$TEST_DIR/a.log")"
	expect_all 24
	open_at a 2 10.0.9.9
	expect_all 26
	daemon_stop a
	expect_eq 10 "$(count_on a)" 'a alone'
}

@test "keys of the wrong type harm only the host whose they are" {
	requires speed
	local key
	all_start
	for key in $(engine --raw keys 'conncount:{mail}:[sz]:b:*'); do
		engine del "$key" >/dev/null
		engine set "$key" x >/dev/null
	done
	open_at a 2 10.0.9.9
	wait_until states c ok a
	expect_all 26
	expect_agreement
}

@test "a server that refuses what it is asked is reported once" {
	requires speed
	local name
	long hold
	all_start
	expect_eq OK "$(engine config set min-replicas-to-write 1)"
	wait_until cut_off a
	# No host takes another one for dead.
	sleep 4
	for name in a b; do
		cut_off "$name"
		expect_eq 24 "$(on "$name" conncount count --service inbound_cidr 2>/dev/null)" "$name"
	done
	expect_eq 1 "$(grep -c NOREPLICAS "$TEST_DIR/a.log")" "$(<"$TEST_DIR/a.log")"
	expect_eq OK "$(engine config set min-replicas-to-write 0)"
	expect_all 24
	expect_eq 1 "$(grep -c 'engine.sock: connected' "$TEST_DIR/a.log")" "$(<"$TEST_DIR/a.log")"
}

# newer: the header of a host `d` that speaks a later version of the protocol, for longer than the test takes.
newer() {
	engine sadd 'conncount:{mail}:nodes' d >/dev/null
	engine set 'conncount:{mail}:n:d' "2 and what that has" px 600000 >/dev/null
}

unknown() {
	expect 0 on a conncount count --service inbound_cidr
	[[ $errors = *'cluster: d resynchronising'* ]]
}

@test "a host with another version of the protocol makes the answers inexact while it lives" {
	requires speed
	all_start
	newer
	wait_until unknown
	wait_until grep -q "^conncount: node 'd': speaks version 2 of the protocol, this host version 1 " \
		"$TEST_DIR/a.log"
	sleep 2
	wait_until unknown
	engine srem 'conncount:{mail}:nodes' d >/dev/null
	expect_all 24
}

@test "service: the hosts share it, and inbound_cidr adds this host's sessions of it" {
	local name
	configure <<-'END'
		[smtp]
		listen = *:25
		[submission]
		listen = *:587
		service = submission
	END
	for name in a b; do
		load_on "$name"
		at "$name" listen "${ADDRESS[$name]}:587" >/dev/null
		open_at "$name" 3 10.0.0.1
		at "$name" open 2 10.0.0.1 "${ADDRESS[$name]}:587" >/dev/null
		cluster_configure "$name" 'service = submission'
		daemon_start "$name"
	done
	expect_all 4
	daemon_stop a
	expect_eq 3 "$(count_on a)" 'in no cluster'
}

@test "watch sees the sessions of other hosts" {
	local watch
	all_start
	CONNCOUNT_DIR=$TEST_DIR/a start_in_ns "$BUILD/conncount" watch --service inbound_cidr --over 10 >"$TEST_DIR/watched" 2>&1
	watch=$STARTED
	open_at b 2 10.0.0.1
	open_at c 2 10.0.0.1
	wait_until grep -q '10\.0\.0\.1/32' "$TEST_DIR/watched"
	expect_match ' over 10\.0\.0\.1/32 1[1-3]$' "$(<"$TEST_DIR/watched")"
	# No change of a count: a host's counts are taken away as a whole.
	daemon_stop b
	wait_until grep -q ' back 10\.0\.0\.1/32' "$TEST_DIR/watched"
	kill "$watch"
	wait "$watch" || :
}

@test "names in the engine that no node can have are left alone" {
	requires speed
	all_start
	engine sadd 'conncount:{mail}:nodes' $'d\e[31m' 'd e' '' "$(printf '%070d' 0)" >/dev/null
	sleep 1
	expect_all 24
	expect 0 on a conncount nodes
	expect_eq 4 "$(wc -l <<<"$output")" 'lines'
}
