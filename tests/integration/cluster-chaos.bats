# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# A cluster in which things go wrong, in random order: after each, all is quiet, and every host must
# give the same, exact, right answers.
#
# CONNCOUNT_CHAOS_EVENTS says how many, CONNCOUNT_CHAOS_SEED in which order. A failure prints the seed.

load ../lib/common
load ../lib/instance
load ../lib/hosts

time_limit 1800

setup() {
	requires nft redis-server
	instance_setup
	# shellcheck disable=SC2034 # hosts.bash uses them
	ENGINE_BY_TCP=1 ENGINE_COMMAND=(env "LD_PRELOAD=$BUILD/tests/shifted_clock.so" "SHIFTED_CLOCK=$TEST_DIR/clock"
		"${ENGINE_COMMAND[@]}")
	cluster_start a b c d e
}

teardown() {
	cluster_teardown
}

# pick WORD...: prints one of them. Not in a subshell: $RANDOM goes on. Sets $PICKED.
pick() {
	PICKED=${!#}
	local n=$((RANDOM % $# + 1))
	PICKED=${!n}
}

# churn: opens and closes some sessions of random hosts and addresses.
churn() {
	local i host
	for ((i = 0; i < 6; i++)); do
		pick "${HOSTS[@]}"
		host=$PICKED
		open_at "$host" $((RANDOM % 4 + 1)) "10.0.$((RANDOM % 4)).$((RANDOM % 200 + 1))+"
		((RANDOM % 3)) || at "$host" close both even >/dev/null 2>&1 || :
	done
}

event_churn() { churn; }

event_daemon_killed() {
	local host
	pick "${HOSTS[@]}"
	host=$PICKED
	daemon_stop "$host" KILL
	churn
	((RANDOM % 2)) || sleep 4
	daemon_start "$host"
}

event_daemon_ended() {
	local host
	pick "${HOSTS[@]}"
	host=$PICKED
	daemon_stop "$host"
	churn
	daemon_start "$host"
}

# Shorter than the lease, or longer.
event_daemon_stopped() {
	pick "${HOSTS[@]}"
	kill -STOP "${DAEMON[$PICKED]}"
	local pid=${DAEMON[$PICKED]}
	churn
	pick 0.5 4
	sleep "$PICKED"
	kill -CONT "$pid"
}

event_engine_stopped() {
	kill -STOP "$ENGINE"
	churn
	pick 0.5 4 8
	sleep "$PICKED"
	kill -CONT "$ENGINE"
}

event_engine_emptied() {
	engine flushall >/dev/null
	churn
}

event_engine_restarted_empty() {
	engine_stop
	churn
	engine_start
}

# It goes back to what it had before.
event_engine_restarted_old() {
	engine save >/dev/null
	# Where it was started so before, it has saved it there already.
	[ ! -e "$TEST_DIR/dump.rdb" ] || mv "$TEST_DIR/dump.rdb" "$TEST_DIR/old.rdb"
	churn
	sleep 1
	engine_stop
	engine_start --dbfilename old.rdb
}

# By NTP, or an administrator: of the engine, for the daemons look at no such clock.
event_engine_clock() {
	pick 0 7 3600 -7 -3600
	echo "$PICKED" >"$TEST_DIR/clock"
	wait_until clock_is "$PICKED"
	churn
}

# clock_is N: whether the engine's clock is N seconds wrong.
clock_is() {
	local wrong=$(($(engine time | head -n 1) - EPOCHSECONDS - $1))
	((wrong >= -1 && wrong <= 1))
}

event_key_lost() {
	# shellcheck disable=SC2046 # words
	pick $(engine --raw keys 'conncount:*')
	engine del "$PICKED" >/dev/null
	churn
}

# The readers fall behind what is left of a stream.
event_stream_trimmed() {
	local key
	pick "${HOSTS[@]}"
	kill -STOP "${DAEMON[$PICKED]}"
	local pid=${DAEMON[$PICKED]}
	churn
	sleep 0.5
	for key in $(engine --raw keys 'conncount:*:s:*'); do
		engine xtrim "$key" maxlen 0 >/dev/null
	done
	kill -CONT "$pid"
}

# cut HOST...: their packets to the engine are dropped, until mend.
cut() {
	local host
	nft_here add table ip cut
	nft_here add chain ip cut out '{ type filter hook output priority 0; }'
	for host; do
		nft_here add rule ip cut out ip daddr "127.0.0.${ADDRESS[$host]##*.}" tcp dport 6379 drop
		nft_here add rule ip cut out ip saddr "127.0.0.${ADDRESS[$host]##*.}" tcp sport 6379 drop
	done
}

mend() { nft_here delete table ip cut; }

nft_here() { in_ns nft "$@"; }

event_partition() {
	case $((RANDOM % 4)) in
	0) cut a ;;
	1) cut b c ;;
	2) cut a c e ;;
	3) cut a b c d e ;;
	esac
	churn
	pick 0.5 5 9
	sleep "$PICKED"
	mend
}

event_twin() {
	daemon_stop c
	sed -i 's/^node = c/node = b/' "$TEST_DIR/c.conf"
	daemon_start c
	churn
	sleep 3
	daemon_stop c
	cluster_configure c
	daemon_start c
}

event_rebuilt() {
	pick "${HOSTS[@]}"
	configure_smtp_with "max_prefixes = $((100000 + RANDOM))"
	load_on "$PICKED" >/dev/null
	churn
}

event_reloaded() {
	pick "${HOSTS[@]}"
	local host=$PICKED
	on "$host" conncount unload >/dev/null
	churn
	((RANDOM % 2)) || sleep 1
	load_on "$host" >/dev/null
}

# expect_nothing_mended: the notes of the programs and the batches of the daemons missed nothing.
expect_nothing_mended() {
	local host
	for host in "${HOSTS[@]}"; do
		expect_eq '0 0' "$(on "$host" conncount status --json | json cluster.{mended,diverged} | xargs)" \
			"mended and diverged on $host"
	done
}

@test "5,000 sessions on five hosts, opened and closed while they count: the same 500 answers on all" {
	local host i=0 n open=0
	n=$(scaled 250 10)
	for host in "${HOSTS[@]}"; do
		daemon_start "$host"
	done
	RANDOM=1
	for host in "${HOSTS[@]}" "${HOSTS[@]}" "${HOSTS[@]}" "${HOSTS[@]}"; do
		open_at "$host" "$n" "10.0.$((i % 5)).1+"
		((++i % 7)) || churn
	done
	expect_agreement 1 500
	for host in "${HOSTS[@]}"; do
		at "$host" close both even >/dev/null
		open_at "$host" "$n" 10.0.6.1+
		open=$((open + $(on "$host" conncount count)))
	done
	expect_all "$open"
	[ "$open" -ge $((10 * n)) ] || fail "only $open sessions"
	expect_agreement 2 500
	expect_nothing_mended
}

@test "whatever goes wrong: when it is quiet, all hosts give the same right answers" {
	requires speed
	local events i seed=${CONNCOUNT_CHAOS_SEED:-$((SRANDOM % 100000))} event
	mapfile -t events < <(compgen -A function event_)
	for i in "${HOSTS[@]}"; do
		daemon_start "$i"
	done
	RANDOM=$seed
	churn
	expect_agreement
	for ((i = 0; i < ${CONNCOUNT_CHAOS_EVENTS:-8}; i++)); do
		pick "${events[@]}"
		event=$PICKED
		echo "seed $seed, event $i: $event" >&2
		"$event"
		expect_agreement $((seed + i))
	done
	expect_nothing_mended
}
