# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Limits under load and attack: however many connections a network opens at the same time, exactly
# as many get in as its limit says.

load ../lib/common
load ../lib/instance

time_limit 300

setup() {
	requires rush
	instance_setup
	RUSHES=()
	in_ns sh -e -c "$PREPARE"
}

teardown() {
	rush_end
	instance_teardown
}

# --- clients and servers ------------------------------------------------------------------------

# The networks that rush: 7 clients connect, and as many are only packets (tests/tools/rush.c).
NETWORK4=10.1.2.0/24 CONNECT4=10.1.2.1 PACKETS4=10.1.2.129 SERVER4=192.0.2.1
NETWORK6=2001:db8:1:2::/64 CONNECT6=2001:db8:1:2::1 PACKETS6=2001:db8:1:2::81 SERVER6=2001:db8::25
SOURCES=7

# Prepares a network namespace. The upper half of the last bytes in a network are addresses that are
# only packets: the kernel sends none from there, as tests/tools/rush.c needs it.
# shellcheck disable=SC2016 # sh expands it
PREPARE='
	ip -batch - <<-END
		link set lo up
		route replace local 0.0.0.0/0 dev lo
		route replace local ::/0 dev lo
	END
	ip -4 rule add pref 1 from 10.1.2.128/25 fwmark 0/1 blackhole
	ip -6 rule add pref 1 from 2001:db8:1:2::80/121 fwmark 0/1 blackhole
	for family in -4 -6; do
		ip $family rule add pref 2 lookup local
		ip $family rule del pref 0
	done
	cd /proc/sys/net
	echo 1 >ipv4/conf/all/accept_local
	echo 1 >ipv4/ip_nonlocal_bind
	echo 1 >ipv6/ip_nonlocal_bind
	echo 8192 >core/somaxconn
'

# rush_start NAME [COMMAND...]: starts tests/tools/rush.c in the test's cgroup and network
# namespace; executed by COMMAND, if there is one.
rush_start() {
	start_in_ns "${@:2}" "$BUILD/tests/rush" "$TEST_DIR/$1.sock"
	RUSHES+=("$STARTED")
}

# rush_start_elsewhere NAME: the same in a network namespace of its own.
rush_start_elsewhere() {
	rush_start "$1" unshare --net sh -e -c "$PREPARE"' exec "$@"' sh
}

rush_end() {
	local pid
	for pid in "${RUSHES[@]}"; do
		kill "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	RUSHES=()
}

# rush NAME ORDER...: gives it an order.
rush() {
	"$BUILD/tests/tell" "$TEST_DIR/$1.sock" "${@:2}"
}

# limit N [LINE...]: configures and loads a limit for networks of both families.
limit() {
	configure_smtp_limits "limit = /24,/64 over $1 reset" "${@:2}"
	load 2>/dev/null
}

configure_smtp_limits() {
	printf '%s\n' '[smtp]' 'listen = *:25' "$@" | configure
}

# in_are N NAME...: expects that the servers have N sessions together.
in_are() {
	local want=$1 name all=0
	shift
	for name; do
		all=$((all + $(rush "$name" accept)))
	done
	expect_eq "$want" "$all" 'sessions that got in'
}

# exactly N NETWORK NAME...: expects that the servers get N sessions of the network and no more, that
# they are counted, and that no place is left.
exactly() {
	wait_until in_are "$1" "${@:3}"
	expect_count "$1" "$2"
	free
}

# reserved: prints what the gates have reserved and refused.
reserved() {
	"$BUILD/tests/reserved" "$CONNCOUNT_DIR/live"
}

free() {
	expect_match '^nodes 0 slots 0 ' "$(reserved)" 'places'
}

# --- rushes --------------------------------------------------------------------------------------

# sizes: prints how many clients there are in a rush, smallest first.
sizes() {
	echo "$(scaled 200 150)" "$(scaled 1000 300)" "$(scaled 5000 600)"
}

# packets LIMIT N NETWORK SOURCE: N clients of the server `a` send all SYNs first, then all ACKs,
# from every CPU at once; then half of the sessions end.
packets() {
	local limit=$1 n=$2 half=$((($1 + 1) / 2))
	rush a clients "$n" "$4" "$SOURCES"
	expect_eq "answered $n refused 0" "$(rush a syn)"
	rush a ack
	exactly "$limit" "$3" a
	expect_eq $((limit - half)) "$(rush a close "$half")"
	expect_count $((limit - half)) "$3"
	rush a ack
	exactly "$limit" "$3" a
}

# connects LIMIT N NETWORK SOURCE: N clients of `a` connect, from every CPU at once; then half of the
# sessions end, and N more connect.
connects() {
	local limit=$1 n=$2 half=$((($1 + 1) / 2))
	rush a clients "$n" "$4" "$SOURCES"
	refuses "$limit" "$n" "$(rush a connect)"
	exactly "$limit" "$3" a
	expect_eq $((limit - half)) "$(rush a close "$half")"
	rush a more "$n"
	rush a connect
	exactly "$limit" "$3" a
}

# refuses LIMIT N ANSWER: expects that of N clients some were refused, and no more than are over the
# limit. (One whose last packet was dropped believes that it is connected.)
refuses() {
	expect_match '^connected ([0-9]+) refused ([0-9]+) reset 0$' "$3"
	expect_eq "$2" $((BASH_REMATCH[1] + BASH_REMATCH[2])) 'clients'
	((BASH_REMATCH[2] > 0)) || fail 'no client was refused'
	((BASH_REMATCH[1] >= $1)) || fail "only ${BASH_REMATCH[1]} connected"
}

# rushes HOW SERVER NETWORK SOURCE: rushes of every size against limits of every size.
rushes() {
	local limit n
	rush a listen "$2" 25 8192
	for limit in 1 20 100; do
		limit "$limit"
		for n in $(sizes); do
			"$1" "$limit" "$n" "$3" "$4"
		done
		verified "$limit"
	done
}

@test "IPv4, SYNs first: exactly the limit gets in, and then as many as sessions end" {
	rush_start a
	rushes packets "$SERVER4" "$NETWORK4" "$PACKETS4"
}

@test "IPv6, SYNs first: exactly the limit gets in, and then as many as sessions end" {
	rush_start a
	rushes packets "$SERVER6" "$NETWORK6" "$PACKETS6"
}

@test "IPv4, handshakes of two CPUs mixed: exactly the limit gets in, the others see ECONNREFUSED" {
	rush_start a
	rushes connects "$SERVER4" "$NETWORK4" "$CONNECT4"
}

@test "IPv6, handshakes of two CPUs mixed: exactly the limit gets in, the others see ECONNREFUSED" {
	rush_start a
	rushes connects "$SERVER6" "$NETWORK6" "$CONNECT6"
}

@test "a small rush, again and again: exactly the limit gets in each time" {
	local i
	rush_start a
	rush a listen "$SERVER4" 25 8192
	limit 20
	for ((i = $(scaled 30 3); i > 0; i--)); do
		packets 20 200 "$NETWORK4" "$PACKETS4"
		connects 20 200 "$NETWORK4" "$CONNECT4"
	done
	verified 20
}

@test "a rush that finds the network full is refused at the SYN" {
	rush_start a
	rush a listen "$SERVER4" 25 8192
	limit 20
	packets 20 200 "$NETWORK4" "$PACKETS4"
	rush a more 1000
	# Those that were dropped at the ACK still wait.
	expect_eq 'answered 170 refused 1010' "$(rush a syn)"
	expect_eq 20 "$(rush a accept)"
}

@test "of two limits, each is exact" {
	local own
	rush_start a
	rush a listen "$SERVER4" 25 8192
	for own in 1 2 3; do
		limit 10 "limit = /32,/128 over $own reset"
		packets $((own * SOURCES < 10 ? own * SOURCES : 10)) 200 "$NETWORK4" "$PACKETS4"
	done
	expect_count 10 "$NETWORK4"
	conncount list -4 /32 | awk '$1 > 3 { print; exit 1 }' || fail 'a client has more than 3 sessions'
}

@test "packets steered to all CPUs: exactly the limit gets in" {
	# shellcheck disable=SC2016
	rush_start a unshare --mount sh -e -c '
		mount -t sysfs none /sys
		printf %x $(((1 << $(nproc)) - 1)) >/sys/class/net/lo/queues/rx-0/rps_cpus
		exec "$@"' sh
	rush a listen "$SERVER4" 25 8192
	limit 20
	packets 20 "$(scaled 1000 300)" "$NETWORK4" "$PACKETS4"
	connects 20 "$(scaled 1000 300)" "$NETWORK4" "$CONNECT4"
	limit 1
	packets 1 "$(scaled 1000 300)" "$NETWORK4" "$PACKETS4"
	connects 1 "$(scaled 1000 300)" "$NETWORK4" "$CONNECT4"
}

# acked N NETWORK: the clients of `a` send their ACK again; expects that now N are in.
acked() {
	rush a ack
	in_are "$1" a
}

@test "SYN cookies and a full accept queue: exactly the limit gets in" {
	rush_start a
	# No SYN gate, which would refuse most ACKs: for the kernel they are no more than a SYN.
	limit 20
	rush a listen "$SERVER4" 25 8
	cookies
	# The kernel knows elsewhere that such listeners have sent cookies.
	rush a listen "$SERVER4" 25 8 group
	cookies
}

# cookies: a rush at a server that can have 8 connections half-open, and as many not accepted.
cookies() {
	local n
	n=$(scaled 1000 300)
	rush a clients "$n" "$PACKETS4" "$SOURCES"
	expect_eq "answered $n refused 0" "$(rush a syn)"
	rush a ack
	[ "$(rush a accept)" -lt 20 ] || fail 'the accept queue was not full'
	wait_until acked 20
	exactly 20 "$NETWORK4" a
	acked 20
	rush a close 7
	wait_until acked 20
	exactly 20 "$NETWORK4" a
	verified 20
}

@test "clients whose SYNs come first wait connected, and get in when sessions end" {
	rush_start a
	rush_start_elsewhere b
	rush a listen "$SERVER4" 25 8192
	rush b listen "$SERVER6" 25 8192
	limit 20
	rush a clients 200 "$CONNECT4" "$SOURCES"
	rush b clients 200 "$CONNECT6" "$SOURCES"
	rush b connect held >"$TEST_DIR/b" &
	expect_eq 'connected 200 refused 0 reset 0' "$(rush a connect held)"
	wait $!
	expect_eq 'connected 200 refused 0 reset 0' "$(<"$TEST_DIR/b")"
	exactly 20 "$NETWORK4" a
	exactly 20 "$NETWORK6" b
	rush a close 6
	rush b close 6
	wait_until -t 20 in_are 20 a
	wait_until -t 20 in_are 20 b
	exactly 20 "$NETWORK4" a
	exactly 20 "$NETWORK6" b
	verified 40
}

@test "two network namespaces of one cgroup share a limit: together exactly as many get in" {
	local limit i
	rush_start a
	rush_start_elsewhere b
	for limit in 1 20 100; do
		for ((i = $(scaled 3 1); i > 0; i--)); do
			# No half-open connection of the round before is left.
			both listen "$SERVER4" 25 8192
			limit "$limit"
			rush a clients 1000 "$PACKETS4" "$SOURCES"
			rush b clients 1000 "$PACKETS4" "$SOURCES"
			expect_eq 'answered 1000 refused 0' "$(rush a syn)"
			expect_eq 'answered 1000 refused 0' "$(rush b syn)"
			both ack
			exactly "$limit" "$NETWORK4" a b
			rush a close 1000 # all
			both ack
			exactly "$limit" "$NETWORK4" a b
			rush a clients 1000 "$CONNECT4" "$SOURCES"
			rush b clients 1000 "$CONNECT4" "$SOURCES"
			both connect
			exactly "$limit" "$NETWORK4" a b
		done
		verified "$limit"
	done
}

# both ORDER...: gives an order to `a` and `b` at the same time.
both() {
	rush a "$@" >"$TEST_DIR/a" &
	rush b "$@"
	wait $!
}

# --- attacks ------------------------------------------------------------------------------------

# Where a flood's packets come from: addresses of the network that rushes.
FLOOD=10.1.2.192

# nft_limit, iptables_limit: configure another project's limit, of 20 for each /24, in the test's
# network namespace.
nft_limit() {
	in_ns nft -f - <<-'END'
		table ip peer {
			set networks { type ipv4_addr; flags dynamic; }
			chain input {
				type filter hook input priority 0
				tcp dport 25 ct state new add @networks { ip saddr & 255.255.255.0 ct count over 20 } reject with tcp reset
			}
		}
	END
}

iptables_limit() {
	mkdir "$TEST_DIR/packages"
	# The packages come over the network, which the test's namespace has not.
	"$TOOLS/in-packages" "$TEST_DIR/packages" iptables libip4tc2 libip6tc2 libxtables12 \
		libmnl0 libnftnl11 libnetfilter-conntrack3 libnfnetlink0 -- nsenter --net="$TEST_DIR/net" \
		iptables-nft -A INPUT -p tcp --syn --dport 25 -m connlimit --connlimit-above 20 \
		--connlimit-mask 24 -j REJECT --reject-with tcp-reset
}

@test "a flood of SYNs from forged addresses of a network keeps none of its clients out" {
	rush_start a
	rush a listen "$SERVER4" 25 8192
	limit 20
	rush a flood syn "$FLOOD" "$(scaled 5000 500)"
	connects 20 100 "$NETWORK4" "$CONNECT4"
	# With SYN cookies, too.
	rush a listen "$SERVER4" 25 64
	rush a flood syn "$FLOOD" "$(scaled 5000 500)"
	rush a clients 100 "$CONNECT4" "$SOURCES"
	rush a connect
	exactly 20 "$NETWORK4" a
}

@test "beside it: the same flood uses up a limit of nft's ct count" {
	requires nft ct-count
	used_up nft_limit
}

@test "beside it: the same flood uses up a limit of iptables' connlimit" {
	requires iptables
	used_up iptables_limit
}

# used_up COMMAND: expects that the limit of 20 that COMMAND configures is exact without a flood, and
# that a flood uses it up.
used_up() {
	rush_start a
	rush a listen "$SERVER4" 25 8192
	"$1"
	rush a clients 100 "$CONNECT4" "$SOURCES"
	expect_eq 'connected 20 refused 80 reset 0' "$(rush a connect)"
	rush a listen "$SERVER4" 25 8192
	rush a clients 100 "$CONNECT4" "$SOURCES"
	rush a flood syn "$FLOOD" 500
	expect_eq 'connected 0 refused 100 reset 0' "$(rush a connect)"
}

@test "forged ACKs from a network reserve nothing" {
	local i
	rush_start a
	rush a listen "$SERVER4" 25 8192
	limit 1
	rush a flood ack "$FLOOD"
	for ((i = 20; i > 0; i--)); do
		free
	done
	rush a clients 1 "$CONNECT4" "$SOURCES"
	expect_eq 'connected 1 refused 0 reset 0' "$(rush a connect)"
	exactly 1 "$NETWORK4" a
	[ "$(rush a calm)" -gt 1000 ] || fail 'that was no flood'
}

@test "where the server sends SYN cookies, forged ACKs hold a place for each CPU at most" {
	local cpus
	cpus=$(nproc)
	rush_start a
	rush a listen "$SERVER4" 25 64
	limit $((20 + cpus))
	rush a flood syn "$FLOOD" 500
	rush a flood ack "$FLOOD"
	rush a clients 100 "$CONNECT4" "$SOURCES"
	rush a connect
	wait_until at_least 20 a
	[ "$(rush a calm)" -gt 1000 ] || fail 'that was no flood'
	expect_match "^nodes ([0-9]+) slots ([0-9]+) " "$(reserved)"
	((BASH_REMATCH[1] <= cpus && BASH_REMATCH[2] <= cpus)) || fail "places: ${BASH_REMATCH[*]}"
	settled
	rush a more 100
	rush a connect
	exactly $((20 + cpus)) "$NETWORK4" a
}

# at_least N NAME: expects that a server has N sessions or more.
at_least() {
	[ "$(rush "$2" accept)" -ge "$1" ]
}

# settled: has clients of another network connect on each CPU, which gives back the places of
# handshakes that have failed. Expects that none is left.
settled() {
	if [ ! -e "$TEST_DIR/settler.sock" ]; then
		rush_start settler
		rush settler listen 192.0.2.7 25 64
	fi
	rush settler clients $((2 * $(nproc))) 198.51.100.1 1
	rush settler connect
	rush settler accept
	rush settler clients 0 198.51.100.1 1
	free
}

# --- churn --------------------------------------------------------------------------------------

# churn N OPTION...: has 8 processes open and close N connections of 7 clients, as fast as they can.
# Sets $most, $refused and $peak to what they print.
churn() {
	local printed
	printed=$(in_ns "$BUILD/tests/churn" --procs 8 --connections "$@" --to 192.0.2.1:25 \
		--from-base 10.1.2.1 --addresses 7)
	expect_match 'most=([0-9]+) refused=([0-9]+) peak=([0-9]+)' "$printed"
	most=${BASH_REMATCH[1]} refused=${BASH_REMATCH[2]} peak=${BASH_REMATCH[3]}
}

# gated: has a listener in the test's network namespace, so that load attaches a SYN gate.
gated() {
	rush_start a
	rush a listen 192.0.2.2 25 8
}

@test "churn below the limit: no connection is refused" {
	gated
	limit 3000
	churn "$(scaled 200000 1000)"
	((most < 3000)) || fail "there can have been $most sessions"
	expect_eq 'nodes 0 slots 0 refused 0' "$(reserved)"
	nothing_left
}

@test "churn with never more sessions than the limit: no connection is refused" {
	local end
	gated
	limit 4
	for end in close reset; do
		churn "$(scaled 50000 500)" --in-turn --end "$end"
		expect_eq 'nodes 0 slots 0 refused 0' "$(reserved)" "--end $end"
	done
	nothing_left
}

@test "churn at the limit: there are never more sessions, and at the end no count and no place" {
	local limit all=0
	gated
	for limit in 20 100; do
		limit "$limit"
		churn "$(scaled $((limit * 300)) 500)" --limited --end close
		# How close to the limit it comes depends on the machine.
		all=$((all + refused))
		((peak <= limit)) || fail "$peak sessions at a limit of $limit"
		churn "$(scaled $((limit * 1000)) 500)" --limited
		settled
		nothing_left
	done
	((all > 0)) || fail 'no connection was refused'
}

@test "churn at the limit with map operations that fail: no place is left" {
	local faults
	gated
	configure_smtp_limits 'limit = /24,/64 over 100 reset' 'limit = /32,/128 over 20 reset'
	for faults in 3 5 7; do
		"$BUILD/tests/faults-$faults/conncount" load -c "$CONFIG" --cgroup "$CGROUP"
		remember
		churn "$(scaled 20000 500)" --limited
		settled
	done
	# A node whose deletion failed stays, at 0.
	load
	expect_count 0
	verified 0
}

# at_most_are_in N: expects that at most N sessions are counted, and all others that got in are
# uncounted; or that a change of the count was lost, and the limit not in force for that reason.
at_most_are_in() {
	local in counted
	in=$(rush a accept)
	if [ "$(state lost)" -gt 0 ]; then
		expect_eq 'changes of its counts were lost' "$(state listeners.0.limits.0.reason)"
		return
	fi
	counted=$(conncount count 2>/dev/null) || :
	((counted <= $1)) || fail "$counted sessions at a limit of $1" || return
	expect_eq "$in" $((counted + $(state uncounted))) 'sessions counted or uncounted'
}

@test "if map operations fail, no more sessions than the limit are counted, and no place is left" {
	local faults full=0
	rush_start a
	rush a listen "$SERVER4" 25 8192
	limit 20
	for faults in 3 5 7; do
		for _ in 1 2 3; do
			"$BUILD/tests/faults-$faults/conncount" load -c "$CONFIG" --cgroup "$CGROUP"
			remember
			rush a clients 200 "$PACKETS4" "$SOURCES"
			rush a syn
			rush a ack
			wait_until at_most_are_in 20
			if [ "$(state lost)" -eq 0 ]; then
				free
				# If operations fail in step with the sessions, all are uncounted.
				[ "$(conncount count 2>/dev/null)" -lt 20 ] || ((++full))
			fi
			rush a clients 0 "$PACKETS4" "$SOURCES"
		done
		[ "$(state lost)" -eq 0 ] || load
		settled
	done
	((full > 0)) || fail 'the limit was reached in no round'
}
