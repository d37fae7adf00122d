# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# What conncount-cluster(8) says about the server: its examples, with Redis and its Sentinel. The
# cluster itself is tested in integration/cluster.bats.

load ../lib/common
load ../lib/instance
load ../lib/hosts
load ../lib/servers

setup() {
	REDIS=()
	cluster_setup mx1 mx2
}

teardown() {
	local pid
	for pid in "${REDIS[@]}"; do
		kill -KILL "$pid" 2>/dev/null && { wait "$pid" || :; }
	done
	cluster_teardown
}

# here: filters an example of the page: as it is shown, with the test's own password file.
here() {
	sed "s|\\\\e\$|\\\\|; s|/etc/conncount-cluster.password|$TEST_DIR/password|"
}

# on_server SCRIPT: runs the script, whose redis-cli asks the server, with its password.
on_server() {
	# shellcheck disable=SC2016
	REDISCLI_AUTH=PASSWORD bash -e -c 'redis-cli() { command redis-cli -s "$0" "$@"; }'"
		$1" "$TEST_DIR/engine.sock"
}

# expect_quiet: no daemon has reported anything but that it takes part.
expect_quiet() {
	expect_eq '' "$(grep -vhE ": loaded: in cluster 'mail' as 'mx[12]'$" "$TEST_DIR"/mx?.log)" 'messages'
}

# expect_nodes STATUS TEXT: `conncount nodes` on mx1 exits so, and prints TEXT, whatever the times.
expect_nodes() {
	local rc=0
	on mx1 conncount nodes >"$TEST_DIR/nodes" 2>&1 || rc=$?
	expect_eq "$1" "$rc" 'exit status of nodes'
	expect_eq "$(times "$2")" "$(times "$(<"$TEST_DIR/nodes")")" nodes
}

times() {
	sed -E 's/ +[0-9.]+s +[0-9]+ms/ TIMES/' <<<"$1"
}

@test "the manual's server and configuration: two hosts count, and a dead one can be removed for good" {
	local name want
	engine_stop
	example conncount-cluster.8 'ONE SERVER' 1 | here >"$TEST_DIR/redis.conf"
	engine_start --include "$TEST_DIR/redis.conf"
	expect 0 bash -e -c "$(example conncount-cluster.8 'ONE SERVER' 2 | here)"
	expect_eq 600 "$(stat -c %a "$TEST_DIR/password")"
	for name in mx1 mx2; do
		{ example conncount-cluster.8 CONFIGURATION 1 && printf '%s\n' "node = $name" 'lease = 2s'; } |
			here >"$TEST_DIR/$name.conf"
	done
	open_at mx1 3 10.0.0.1
	open_at mx1 5 10.0.3.1+
	open_at mx2 3 10.0.0.1
	daemon_start mx1
	daemon_start mx2
	expect_all 11
	want=$(example conncount-cluster.8 NODES 1)
	expect_eq '$ conncount nodes' "${want%%$'\n'*}"
	expect_nodes 0 "${want#*$'\n'}"
	expect_quiet

	daemon_stop mx2 KILL
	wait_until expect_nodes 1 "$(sed -e 1d -e '/^mx2/ { s/ok  /gone/; s/ 3 / 0 /; s/1$/0/ }' <<<"$want")"
	expect_all 8
	expect 0 on_server "$(example conncount-cluster.8 NODES 2)"
	wait_until expect_nodes 0 "$(sed -e 1d -e '/^mx2/d' <<<"$want")"
	# It comes back.
	daemon_start mx2
	expect_all 11
}

@test "a user with the manual's permissions takes part, and cannot write to the keys of another host" {
	local name key
	echo PASSWORD >"$TEST_DIR/password"
	chmod 0600 "$TEST_DIR/password"
	for name in mx1 mx2; do
		expect 0 on_server "$(example conncount-cluster.8 'PERMISSIONS IN THE SERVER' 1 | here | sed "s/mx1/$name/g")"
		cluster_configure "$name" "username = $name" "password_file = $TEST_DIR/password"
		open_at "$name" 3 10.0.0.1
		daemon_start "$name"
	done
	engine ACL SETUSER default off
	expect_all 6
	open_at mx1 2 10.0.0.2+
	expect_all 8
	# With a snapshot's chunk, and a new epoch.
	sleep 2
	open_at mx1 1 10.0.0.9
	expect_all 9
	expect_match 'mx2' "$(REDISCLI_AUTH=PASSWORD engine --user mx1 SMEMBERS 'conncount:{mail}:nodes')"
	for key in n:mx2 d:mx2 s:mx2:0 z:mx2:0 n:mx11 s:mx11:0; do
		expect_match '^NOPERM ' "$(REDISCLI_AUTH=PASSWORD engine --user mx1 UNLINK "conncount:{mail}:$key")" "$key"
		expect_match '^NOPERM ' "$(REDISCLI_AUTH=PASSWORD engine --user mx1 SET "conncount:{mail}:$key" 0)" "$key"
	done
	expect_match '^NOPERM ' "$(REDISCLI_AUTH=PASSWORD engine --user mx1 FLUSHALL)"
	daemon_stop mx2
	expect_all 6
	expect_quiet
}

@test "without a permission that the manual lists, the daemon says so and cannot take part" {
	local word
	echo PASSWORD >"$TEST_DIR/password"
	chmod 0600 "$TEST_DIR/password"
	cluster_configure mx1 'username = mx1' "password_file = $TEST_DIR/password"
	cluster_configure mx2
	open_at mx2 1 10.0.0.1
	daemon_start mx2
	for word in +multi +exec +sadd +smembers +mget +set +xadd +xlen +xread +hset +hlen +hgetall +pexpire; do
		engine FLUSHALL >/dev/null
		expect 0 on_server "$(example conncount-cluster.8 'PERMISSIONS IN THE SERVER' 1 | here | sed "s/ $word / /; s/ $word\$//")"
		! grep -q -- "$word " <<<"$(engine ACL LIST)" || fail "$word is there"
		: >"$TEST_DIR/mx1.log"
		daemon_start mx1
		wait_until grep -q 'NOPERM ' "$TEST_DIR/mx1.log" || fail "nothing said without $word"
		daemon_stop mx1
	done
	expect_match 'NOPERM .*\(conncount-cluster\(8\) has the permissions that the user needs\)' "$(<"$TEST_DIR/mx1.log")"
}

# certificates: makes an authority, a certificate of it for the server, and one for a host, in
# $TEST_DIR/tls; and `plain`, as Redis' own script makes them, without alternative names.
certificates() {
	local dir=$TEST_DIR/tls
	mkdir "$dir"
	issue ca CA:TRUE
	issue other CA:TRUE
	issue server CA:FALSE -addext 'subjectAltName = IP:127.0.0.1, DNS:redis.example' -CA "$dir/ca.crt" -CAkey "$dir/ca.key"
	issue host CA:FALSE -addext 'extendedKeyUsage = clientAuth' -CA "$dir/ca.crt" -CAkey "$dir/ca.key"
	issue plain CA:FALSE -CA "$dir/ca.crt" -CAkey "$dir/ca.key"
}

# issue NAME CONSTRAINTS [OPTION...]: makes a certificate.
issue() {
	expect 0 openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" \
		-addext "basicConstraints = critical, $2" \
		-keyout "$TEST_DIR/tls/$1.key" -out "$TEST_DIR/tls/$1.crt" "${@:3}"
	chmod 0600 "$TEST_DIR/tls/$1.key"
}

# encrypted NAME: the server is as the manual shows it, with that certificate, at port 6380.
encrypted() {
	engine_stop
	example conncount-cluster.8 ENCRYPTION 1 |
		sed "s|/etc/redis/server|$TEST_DIR/tls/$1|; s|/etc/redis|$TEST_DIR/tls|; s/6379/6380/; s/^port 0/port 6379/" \
			>"$TEST_DIR/tls.conf"
	engine_start --include "$TEST_DIR/tls.conf"
}

# by_tls NAME LINE...: configures a host, with the lines in place of the server's socket.
by_tls() {
	cluster_configure "$@"
	sed -i '/engine.sock/d' "$TEST_DIR/$1.conf"
}

# tls_lines: prints the manual's lines for a host.
tls_lines() {
	example conncount-cluster.8 ENCRYPTION 2 | grep '^tls' |
		sed "s|/etc/conncount-cluster-ca|$TEST_DIR/tls/ca|; s|/etc/conncount-cluster|$TEST_DIR/tls/host|"
}

# says TEXT [LINE...]: mx1, with these lines in its configuration, reports what matches TEXT, and does not take
# part.
says() {
	by_tls mx1 "${@:2}"
	engine FLUSHALL >/dev/null
	: >"$TEST_DIR/mx1.log"
	daemon_start mx1
	wait_until grep -qE "$1" "$TEST_DIR/mx1.log" || fail "expected: $1" "$(<"$TEST_DIR/mx1.log")"
	daemon_stop mx1
	expect_eq 0 "$(engine EXISTS 'conncount:{mail}:n:mx1')" 'header of mx1'
}

@test "TLS: the server and the hosts know each other by their certificates, or say why not" {
	requires openssl
	local name at='servers = 127.0.0.1:6380' own
	certificates
	mapfile -t own < <(tls_lines)
	expect_eq 4 "${#own[@]}" 'lines about TLS'
	encrypted server
	for name in mx1 mx2; do
		by_tls "$name" "$at" "${own[@]}"
		expect 0 conncount check "$TEST_DIR/$name.conf"
		open_at "$name" 3 10.0.0.1
		daemon_start "$name"
	done
	expect_all 6
	# More than a record of TLS, and than a buffer of a socket.
	open_at mx1 3000 10.0.0.1+
	expect_all 3006
	daemon_stop mx2
	daemon_start mx2
	expect_all 3006
	engine_stop
	encrypted server
	expect_all 3006
	# The counts stay right meanwhile, so they do not say whether it has noticed.
	wait_until grep -qE '127.0.0.1:6380: (it closed the connection|cannot connect: )' "$TEST_DIR/mx1.log"
	wait_until grep -q '127.0.0.1:6380: connected' "$TEST_DIR/mx1.log"
	daemon_stop mx1
	daemon_stop mx2

	says 'its certificate is not accepted: .*\(see tls_ca\)' "$at" "${own[@]/ca.crt/other.crt}"
	says 'its certificate is not accepted: .*\(see tls_ca\)' "$at" 'tls = yes'
	says "for other names \(use one of these in place of '127.0.0.2'\)" "${at/.1:/.2:}" "${own[@]}"
	says 'TLS: .*certificate.* \(see tls_cert and tls_key\)' "$at" "${own[0]}" "${own[1]}"
	says 'TLS: .*\(does it speak TLS at that port\?\)' "${at/6380/6379}" "${own[@]}"
	says ' \(does it want TLS\? see tls\)' "$at"
	by_tls mx1 "$at" "${own[@]/host.key/ca.key}"
	expect 2 on mx1 conncount cluster -c "$TEST_DIR/mx1.conf"
	expect_match "^conncount: .*/mx1.conf: tls_key '.*/ca.key': key values mismatch\$" "$errors"

	# A host's certificate is none of a server; one without names is good for any server of the authority.
	encrypted host
	says 'its certificate is not accepted: unsuitable certificate purpose' "$at" "${own[@]}"
	encrypted plain
	by_tls mx1 "$at" "${own[@]}"
	: >"$TEST_DIR/mx1.log"
	daemon_start mx1
	wait_until grep -q "as 'mx1'" "$TEST_DIR/mx1.log"
	expect_all 3003
}

# closing_server PATH: starts a server at a unix socket that reads something, and closes the connection.
closing_server() {
	start_in_ns python3 -I -c '
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True:
    client, _ = server.accept()
    client.recv(4096)
    client.close()' "$1"
	REDIS+=("$STARTED")
	wait_until test -S "$1"
}

@test "a server at a unix socket that closes the connection is not asked whether it wants TLS" {
	local path=$TEST_DIR/closing.sock
	closing_server "$path"
	says "$path: it closed the connection\$" "servers = $path"
	says "$path: it closed the connection\$" "servers = $path" 'tls = yes'
}

# ends_in_order: while the server of mx1 does not answer, its daemon gets a signal. The server then answers
# within the two seconds that the daemon waits, and the daemon has nothing to report.
ends_in_order() {
	sleep 0.3
	kill -TERM "${DAEMON[mx1]}"
	sleep 0.1
	kill -CONT "$ENGINE"
	wait "${DAEMON[mx1]}" || fail "the daemon: exit status $?"
	unset 'DAEMON[mx1]'
	expect_eq "conncount: $TEST_DIR/mx1: loaded: in cluster 'mail' as 'mx1'" "$(<"$TEST_DIR/mx1.log")" "$1"
	expect_eq '' "$(engine SMEMBERS 'conncount:{mail}:nodes')" nodes
}

@test "TLS: a signal does not end the wait for the handshake or for an answer" {
	requires openssl
	local own
	certificates
	mapfile -t own < <(tls_lines)
	encrypted server
	by_tls mx1 'servers = 127.0.0.1:6380' "${own[@]}"
	daemon_start mx1
	wait_until grep -q "as 'mx1'" "$TEST_DIR/mx1.log"
	kill -STOP "$ENGINE"
	ends_in_order 'messages after a signal while it waits for an answer'

	: >"$TEST_DIR/mx1.log"
	kill -STOP "$ENGINE"
	daemon_start mx1
	wait_until connected 6380
	ends_in_order 'messages after a signal during the handshake'
}

# connected PORT: whether a connection to the port is open.
connected() {
	in_ns ss -Htn state established "( dport = :$1 )" | grep -q .
}

# redis_at ADDRESS PORT FILE [WORD...]: starts redis-server there, with a copy of the file.
redis_at() {
	local file=$TEST_DIR/$1.$2.conf
	sed "s/10\.0\.0\.5\$/$1/" "$3" >"$file"
	start_in_ns redis-server "$file" --bind "$1" --dir "$TEST_DIR" --loglevel warning "${@:4}" \
		>>"$TEST_DIR/engine.log" 2>&1
	REDIS+=("$STARTED")
}

# sentinel_start: starts two servers and three sentinels, as the manual shows them, and the hosts with 3
# sessions each.
sentinel_start() {
	local address
	engine_stop
	example conncount-cluster.8 'ONE SERVER' 1 | here >"$TEST_DIR/redis.conf"
	example conncount-cluster.8 SENTINEL 1 | here | sed '/down-after/s/5000/1000/' >"$TEST_DIR/sentinel.conf"
	# In this network namespace, every address reaches every other one, so each process must say
	# which is its own.
	redis_at 10.0.0.5 6379 "$TEST_DIR/redis.conf" --masterauth PASSWORD --replica-announce-ip 10.0.0.5
	redis_at 10.0.0.6 6379 "$TEST_DIR/redis.conf" --masterauth PASSWORD --replica-announce-ip 10.0.0.6 \
		--replicaof 10.0.0.5 6379 --bind-source-addr 10.0.0.6
	for address in 10.0.0.5 10.0.0.6 10.0.0.7; do
		redis_at "$address" 26379 "$TEST_DIR/sentinel.conf" --sentinel announce-ip "$address" --sentinel
	done
	wait_until -t 20 quorum
	example conncount-cluster.8 SENTINEL 2 | here >"$TEST_DIR/cluster.conf"
	echo PASSWORD >"$TEST_DIR/password"
	chmod 0600 "$TEST_DIR/password"
	for address in mx1 mx2; do
		{ cat "$TEST_DIR/cluster.conf" && echo "node = $address"; } >"$TEST_DIR/$address.conf"
		open_at "$address" 3 10.0.0.1
		daemon_start "$address"
	done
	expect_all 6
	expect_quiet
}

# master_dies: kills the master, and waits until the hosts notice.
master_dies() {
	kill -KILL "${REDIS[0]}"
	wait "${REDIS[0]}" || :
	wait_until -t 5 grep -q '^conncount: 10.0.0.5:6379, by sentinel .*: ' "$TEST_DIR/mx1.log"
}

@test "Sentinel, as the manual shows it: the hosts follow the server to its replica" {
	sentinel_start
	master_dies
	open_at mx1 2 10.0.0.2
	wait_until -t 150 all_count 8
	expect_match '10.0.0.6:6379, by sentinel .*: connected' "$(<"$TEST_DIR/mx1.log")"
}

# epoch_of_mx2 ADDRESS: prints the epoch of mx2 that the server there knows.
epoch_of_mx2() {
	local header
	header=$(REDISCLI_AUTH=PASSWORD in_ns redis-cli -h "$1" get 'conncount:{mail}:n:mx2')
	read -r _ header _ <<<"$header"
	expect_match '^[0-9a-f]{16}' "$header"
	echo "$header"
}

@test "Sentinel: a replica that was paused takes over with an old state, and no answer is wrong" {
	requires nft
	local epoch
	sentinel_start
	kill -STOP "${REDIS[1]}"
	# Nor does the kernel keep for it what the master sends.
	in_ns nft 'add table ip cut; add chain ip cut in { type filter hook input priority 0; };
		add rule ip cut in ip saddr 10.0.0.5 ip daddr 10.0.0.6 tcp sport 6379 drop'
	# It misses sessions that end, new ones, and a host that starts again with another epoch.
	at mx1 close both 1-2 >/dev/null
	open_at mx2 4 10.0.0.7+
	expect_all 8
	epoch=$(epoch_of_mx2 10.0.0.5)
	daemon_stop mx2 KILL
	daemon_start mx2
	# The counts are right before that, too.
	wait_until another_epoch "$epoch"
	expect_all 8
	epoch=$(epoch_of_mx2 10.0.0.5)
	master_dies
	kill -CONT "${REDIS[1]}"
	[ "$(epoch_of_mx2 10.0.0.6)" != "$epoch" ] || fail 'the replica has the newest state'
	watched 8 wait_until -t 150 all_count 8
	expect_agreement
}

# another_epoch EPOCH: succeeds if the master knows mx2 by another one.
another_epoch() {
	[ "$(epoch_of_mx2 10.0.0.5)" != "$1" ]
}

# quorum: whether the sentinels know each other and the replica.
quorum() {
	local ask=(in_ns redis-cli -h 10.0.0.7 -p 26379 SENTINEL)
	"${ask[@]}" ckquorum mail | grep '^OK 3 usable' && "${ask[@]}" replicas mail | grep -x 10.0.0.6
}
