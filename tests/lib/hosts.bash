# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# hosts.bash - hosts of a cluster: each has an instance, a cgroup and a daemon of its own; they share
# the test's network namespace and a Redis or Valkey server in it. Load instance.bash first.
#
# The host NAME has the address 192.0.2.N, N by its place in cluster_setup's arguments, its instance
# in $TEST_DIR/NAME, and what its daemon says in $TEST_DIR/NAME.log.

# The server's program; CONNCOUNT_ENGINE is that of Valkey, for instance.
ENGINE_COMMAND=("${CONNCOUNT_ENGINE:-redis-server}")

cluster_setup() {
	requires redis-server
	instance_setup
	cluster_start "$@"
}

cluster_teardown() {
	local rc=0
	cluster_end || rc=1
	instance_teardown || rc=1
	return $rc
}

# cluster_start NAME...: in the test's place, starts the engine, and on each host a server on port 25,
# counted.
cluster_start() {
	local name n=0
	HOSTS=("$@")
	declare -gA ADDRESS=() DAEMON=() SERVER=()
	ENGINE=
	engine_start
	configure_smtp
	for name; do
		ADDRESS[$name]=192.0.2.$((++n))
		mkdir "$CGROUP_PATH/$name"
		load_on "$name"
		CGROUP_PATH=$CGROUP_PATH/$name tool_start sessions "$TEST_DIR/$name.sock"
		SERVER[$name]=$STARTED
		at "$name" listen "${ADDRESS[$name]}:25" >/dev/null
		cluster_configure "$name"
	done
}

# cluster_end: ends all that.
cluster_end() {
	local name rc=0
	for name in "${HOSTS[@]}"; do
		daemon_stop "$name" || rc=1
		[ -z "${SERVER[$name]-}" ] || { at "$name" quit >/dev/null && tool_wait "${SERVER[$name]}"; } || rc=1
	done
	engine_stop || rc=1
	for name in "${HOSTS[@]}"; do
		[ ! -e "$TEST_DIR/$name" ] || on "$name" conncount unload || rc=1
		[ ! -d "$CGROUP_PATH/$name" ] || rmdir "$CGROUP_PATH/$name" || rc=1
	done
	[ $rc -eq 0 ] || tail -n 20 "$TEST_DIR"/*.log >&2 || :
	return $rc
}

# cluster_configure NAME [LINE...]: writes the configuration of a host's daemon; LINEs come last. It
# finds the engine at its socket, or if ENGINE_BY_TCP is set, at an address of the host's own.
cluster_configure() {
	local name=$1 ENGINE_AT=$TEST_DIR/engine.sock
	[ -z "${ENGINE_BY_TCP-}" ] || ENGINE_AT=127.0.0.${ADDRESS[$name]##*.}:6379
	shift
	printf '%s\n' '[cluster]' "node = $name" "servers = $ENGINE_AT" 'interval = 100ms' \
		'lease = 3s' 'hold = 6s' "$@" >"$TEST_DIR/$name.conf"
}

# on NAME COMMAND...: runs a command that asks the host's instance.
on() {
	CONNCOUNT_DIR=$TEST_DIR/$1 "${@:2}"
}

# load_on NAME: loads $CONFIG there.
load_on() {
	CGROUP=$CGROUP/$1 CGROUP_PATH=$CGROUP_PATH/$1 on "$1" load
}

# at NAME COMMAND...: sends a command to the host's sessions.py.
at() {
	"$BUILD/tests/tell" "$TEST_DIR/$1.sock" "${@:2}"
}

# open_at NAME N SRC: opens N sessions to the host.
open_at() {
	at "$1" open "$2" "$3" "${ADDRESS[$1]}:25" >/dev/null
}

# daemon_start NAME [COMMAND...]: starts the host's daemon, by COMMAND; in the test's network namespace, and its
# cgroup.
daemon_start() {
	CONNCOUNT_DIR=$TEST_DIR/$1 start_in_ns "${@:2}" "$BUILD/conncount" cluster -c "$TEST_DIR/$1.conf" \
		>>"$TEST_DIR/$1.log" 2>&1
	DAEMON[$1]=$STARTED
}

# daemon_stop NAME [SIGNAL]: ends it, by SIGTERM unless SIGNAL is given.
daemon_stop() {
	local pid=${DAEMON[$1]-} rc=0
	[ -n "$pid" ] || return 0
	unset "DAEMON[$1]"
	kill "-${2:-TERM}" "$pid"
	wait "$pid" || rc=$?
	[ -n "${2-}" ] || [ $rc -eq 0 ] || fail "the daemon of $1: exit status $rc"
}

# shellcheck disable=SC2120 # other files give arguments
# engine_start [ARGUMENT...]: starts the server, which keeps nothing unless told to.
engine_start() {
	start_in_ns "${ENGINE_COMMAND[@]}" --port 6379 --bind 127.0.0.1 127.0.0.2 127.0.0.3 127.0.0.4 127.0.0.5 --unixsocket "$TEST_DIR/engine.sock" \
		--unixsocketperm 777 --save '' --dir "$TEST_DIR" --loglevel warning "$@" \
		>>"$TEST_DIR/engine.log" 2>&1
	ENGINE=$STARTED
	wait_until engine ping >/dev/null
}

# engine_stop: kills it.
engine_stop() {
	local pid=$ENGINE
	[ -n "$pid" ] || return 0
	ENGINE=
	kill -KILL "$pid"
	wait "$pid" || :
}

# engine WORD...: asks the server.
engine() {
	redis-cli -s "$TEST_DIR/engine.sock" "$@"
}

# count_on NAME [CIDR]: prints the cluster's sessions as the host has them; fails if that is not
# exact.
count_on() {
	local text
	text=$(on "$1" conncount count --service inbound_cidr "${@:2}" 2>"$TEST_DIR/count.err") &&
		[ ! -s "$TEST_DIR/count.err" ] && echo "$text"
}

# all_count N [CIDR]: whether every host that has a daemon counts N sessions, and says that it is exact.
all_count() {
	local name got
	for name in "${!DAEMON[@]}"; do
		got=$(count_on "$name" "${@:2}") && [ "$got" = "$1" ] || return 1
	done
}

# expect_all N [CIDR]: waits for that.
expect_all() {
	local name
	wait_until all_count "$@" && return
	for name in "${HOSTS[@]}"; do
		echo "$name: $(on "$name" conncount count --service inbound_cidr "${@:2}" 2>&1)" >&2
		on "$name" conncount nodes >&2 || :
	done
	tail -n 20 "$TEST_DIR"/*.log >&2
	fail "not $1 on all hosts"
}

# An independent reader of one host: asks for each network on stdin, and prints this host's count, the
# cluster's, and why that is not exact, or `exact`.
ASK_LUA='
	local audit = require("msys.audit")
	for cidr in io.lines() do
		local own = assert(audit.inbound_session_count(cidr, "SMTP"))
		local all, why = audit.inbound_session_count(cidr, "inbound_cidr")
		print(own, all, why or "exact")
	end'

# networks N SEED: prints N random networks, most of them with sessions of the tests.
networks() {
	python3 -I -S - "$@" <<-'END'
		import ipaddress, random, sys
		rng = random.Random(int(sys.argv[2]))
		for _ in range(int(sys.argv[1])):
		    if rng.random() < 0.5:
		        base, bits, spread = int(ipaddress.ip_address("10.0.0.0")), 32, 12
		    else:
		        base, bits, spread = int(ipaddress.ip_address("2001:db8::")), 128, 12
		    length = rng.randint(0, bits)
		    address = base + rng.getrandbits(spread)
		    print(ipaddress.ip_network((address, length), strict=False))
	END
}

# agree N SEED: whether all hosts that have a daemon give the same exact answers to N random queries,
# and these are the sums of what each of them counts itself.
agree() {
	local name
	networks "$@" >"$TEST_DIR/networks"
	rm -f "$TEST_DIR"/*.answers
	for name in "${!DAEMON[@]}"; do
		on "$name" "$LUA" -e "$ASK_LUA" <"$TEST_DIR/networks" >"$TEST_DIR/$name.answers" || return
	done
	awk '
		{ own[FNR] += $1; if ($3 != "exact" || (FNR in all && all[FNR] != $2)) bad++; all[FNR] = $2 }
		END { for (i in all) bad += all[i] != own[i]; exit bad > 0 || length(all) == 0 }' \
		"$TEST_DIR"/*.answers
}

# expect_agreement [SEED] [N]: waits until all hosts agree, about N (200) queries.
expect_agreement() {
	local name
	wait_until agree "${2:-200}" "${1:-1}" && return
	for name in "${!DAEMON[@]}"; do
		on "$name" conncount nodes >&2 || :
	done
	paste "$TEST_DIR/networks" "$TEST_DIR"/*.answers |
		awk '{ for (i = 4; i < NF; i += 3) if ($i != $(i + 3) || $3 != $(i + 2)) { print; next } }' | head -n 5 >&2
	tail -n 20 "$TEST_DIR"/*.log >&2
	fail 'the hosts do not agree'
}

# WATCH_LUA: prints every answer to `inbound_cidr` that is exact and not $TOTAL, until killed.
WATCH_LUA='
	local audit, total = require("msys.audit"), tonumber(os.getenv("TOTAL"))
	io.stdout:setvbuf("line")
	while true do
		local sum, exact = 0, true
		for _, cidr in ipairs{"0.0.0.0/0", "::/0"} do
			local n, why = audit.inbound_session_count(cidr, "inbound_cidr")
			sum, exact = sum + (n or 0), exact and n and not why
		end
		if exact and sum ~= total then print("exact, and " .. sum .. ", not " .. total) end
	end'

# watched TOTAL COMMAND...: runs a command during which the sessions of all hosts are TOTAL, and expects
# that no host that has a daemon says another number without saying that it is not exact.
watched() {
	local total=$1 name
	local -A watchers=()
	shift
	for name in "${!DAEMON[@]}"; do
		CONNCOUNT_DIR=$TEST_DIR/$name TOTAL=$total nice "$LUA" -e "$WATCH_LUA" \
			>"$TEST_DIR/$name.wrong" 3>&- &
		watchers[$name]=$!
	done
	"$@"
	for name in "${!watchers[@]}"; do
		kill "${watchers[$name]}" && ! wait "${watchers[$name]}"
		[ ! -s "$TEST_DIR/$name.wrong" ] ||
			fail "$name: $(sort "$TEST_DIR/$name.wrong" | uniq -c | head -n 5)" || return
	done
}
