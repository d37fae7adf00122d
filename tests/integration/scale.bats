# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Many sessions compared with an independent computation, churn at full speed, and load and unload
# many times.

load ../lib/common
load ../lib/neighbours
load ../lib/instance

time_limit 900

setup() {
	instance_setup
}

teardown() {
	neighbours_end
	instance_teardown
}

# plan N SEED: prints 8 N lines `SRC DST:PORT`, of N IPv4 and N IPv6 addresses, some spread over the
# whole space, some in clusters. Each has a session and most have more, on the listeners of $CONFIG
# below.
plan() {
	python3 -I -S - "$@" <<-'END'
		import ipaddress, random, sys
		n, rng = int(sys.argv[1]), random.Random(int(sys.argv[2]))
		def cluster(network, percent):
		    network = ipaddress.ip_network(network)
		    return [str(network[rng.randrange(network.num_addresses)])
		            for _ in range(n * percent // 100)]
		v4 = (cluster("10.0.0.0/8", 20) + cluster("100.64.7.0/24", 24)
		      + cluster("198.18.128.0/19", 20) + cluster("127.0.0.0/8", 8))
		v6 = (cluster("2001:db8::/32", 20) + cluster("2001:db8:1:2::/64", 24)
		      + cluster("2a00:1450:4000::/37", 20) + cluster("fd00::/8", 8)
		      + cluster("2001:db8:ffff:ffff::8000/113", 8))
		while len(set(v4)) < n:
		    first = rng.randrange(1, 224)
		    if first != 127:
		        v4.append("%d.%d.%d.%d" % (first, *(rng.randrange(256) for _ in "abc")))
		while len(set(v6)) < n:
		    v6.append(str(ipaddress.IPv6Address(rng.getrandbits(125) | 1 << 125)))
		to4 = ["198.51.100.1:25", "192.0.2.1:25", "192.0.2.10:587", "127.0.0.1:4000"]
		to6 = ["[2001:db8::1]:25", "[2001:db8::10]:587", "[2001:db8::99]:4000"]
		sources = sorted(set(v4)) + sorted(set(v6))
		lines = [(s, rng.choice(to6 if ":" in s else to4)) for s in sources]
		while len(lines) < 8 * n:
		    s = rng.choice(sources)
		    lines.append((s, rng.choice(to6 if ":" in s else to4)))
		rng.shuffle(lines)
		for line in lines:
		    print(*line)
	END
}

# compare EXPECT QUERIES SEED: compares every answer with the oracle's.
compare() {
	sessions ledger >"$TEST_DIR/ledger"
	expect 0 in_ns python3 -I -S "$TOOLS/oracle.py" --config "$CONFIG" \
		--ledger "$TEST_DIR/ledger" --expect "$1" --queries "$2" --seed "$3"
}

@test "counts of 1,000 random networks of 2,000 sessions match an independent computation" {
	requires lua
	local n
	n=$(scaled 250 25)
	configure <<-'END'
		[mx]
		listen = *:25
		service = SMTP
		[msa]
		listen = 192.0.2.10:587
		listen = [2001:db8::10]:587
		listen = 192.0.2.1:25
		service = SMTP
		[control]
		listen = *:4000
		service = Control
	END
	load
	sessions_start
	plan "$n" 4711 >"$TEST_DIR/plan"
	expect_eq $((2 * n)) "$(cut -d ' ' -f 1 "$TEST_DIR/plan" | sort -u | wc -l)" addresses
	sessions <<-END
		listen *:25
		listen 192.0.2.10:587 msa
		listen [2001:db8::10]:587 msa
		listen 192.0.2.1:25 msa
		listen *:4000 control
		plan $TEST_DIR/plan
	END
	compare $((8 * n)) "$(scaled 1000 12)" 1

	# End half of them: closed or reset, by the client or by the server. Some of those that stay
	# are half-closed.
	sessions <<-END
		close server 1-$n
		close both $((n + 1))-$((2 * n))
		reset client $((2 * n + 1))-$((3 * n))
		reset server $((3 * n + 1))-$((4 * n))
		close client $((4 * n + 1))-$((4 * n + n / 2))
		shut client $((5 * n + 1))-$((5 * n + n / 2))
		shut server $((6 * n + 1))-$((6 * n + n / 2))
	END
	compare $((4 * n)) "$(scaled 1000 12)" 2

	sessions close server all
	[ "$SCALE" -gt 1 ] || compare 0 200 3 # not on an emulated machine: it starts python
	expect_eq 0 "$(state nodes)" nodes
	expect 0 conncount list
	expect_eq '' "$output" 'conncount list'
}

@test "after 500,000 connections of 8 processes, ended in every way, every count is 0" {
	requires churn
	local wanted
	wanted=$(scaled 500000 4000)
	configure_smtp
	load
	neighbours_setup
	neighbour witness plain "$CGROUP_PATH" link
	expect 0 in_ns "$BUILD/tests/churn" --procs 8 --connections "$wanted" --to 192.0.2.1:25 \
		--from-base 10.1.2.3 --addresses 4 --seconds 800
	expect_match 'opened=([0-9]+) accepted=([0-9]+) killed=([0-9]+) retried=([0-9]+)' "$output"
	local opened=${BASH_REMATCH[1]} accepted=${BASH_REMATCH[2]} killed=${BASH_REMATCH[3]}
	local retried=${BASH_REMATCH[4]}
	[ "$accepted" -ge "$wanted" ] || fail "accepted: $accepted"
	[ "$killed" -ge "$(scaled 50)" ] || fail "killed: $killed"

	expect 0 conncount status --json
	if [ "$(json nodes <<<"$output")" != 0 ]; then
		# The sockets of both sides, and the listener.
		explained "$(json listeners.0.live <<<"$output")" $((accepted + opened + retried + 1))
		conncount list
		conncount verify || :
	fi
	expect_eq 0 "$(json nodes <<<"$output")" nodes
	expect_eq 0 "$(json uncounted <<<"$output")" uncounted
	expect_eq 0 "$(json lost <<<"$output")" lost
	expect_eq true "$(json exact <<<"$output")" exact
	expect_eq 0 "$(json listeners.0.live <<<"$output")" live
	expect_eq "$(json listeners.0.opened <<<"$output")" \
		"$(json listeners.0.closed <<<"$output")" 'opened and closed'
	# A session reset before the server's side completed its handshake was never accepted.
	[ "$(json listeners.0.opened <<<"$output")" -ge "$accepted" ] ||
		fail "opened: fewer than the $accepted accepted"
	expect_count 0
	local network
	for network in 10.0.0.0/8 10.1.0.0/16 10.1.2.0/24 10.1.2.{3,4,5,6} 10.1.2.0/29; do
		expect_count 0 "$network"
	done
	expect 0 conncount list
	expect_eq '' "$output" 'conncount list'
}

@test "200 loads and unloads leave no pin, link, mount or process" {
	local i times remembered=0
	times=$(scaled 200 2)
	configure_smtp
	for ((i = 1; i <= times; i++)); do
		expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
		if ((i % 20 == 1)); then
			remember
			remembered=$((remembered + 1))
		fi
		expect 0 conncount unload
		[ ! -e "$CONNCOUNT_DIR" ] || fail "cycle $i: $CONNCOUNT_DIR is there"
	done
	[ "$(grep -c ^prog "$TEST_DIR/bpf-ids")" -ge $((2 * remembered)) ] ||
		 fail 'programs were not remembered'
	wait_until no_leaks
}

@test "verify catches a program that loses one decrement in 10,000" {
	requires churn
	configure_smtp
	"$BUILD/tests/loses-10000/conncount" load -c "$CONFIG" --cgroup "$CGROUP"
	remember
	# Each session is a decrement on four levels.
	expect 0 in_ns "$BUILD/tests/churn" --procs 2 --connections "$(scaled 3000 2600)" --to 192.0.2.1:25 \
		--from-base 10.1.2.3 --addresses 4
	[ "$(state nodes)" -gt 0 ] || fail 'no node is left: nothing was lost'
	expect 1 conncount verify
	expect_match '^smtp 10\.[0-9./]+: expected 0, found 1' "$output"
	expect_match '[1-9][0-9]* differences?: ' "$output"
	# The real program counts from the start, and loses nothing.
	load
	expect 0 conncount verify
	expect 0 in_ns "$BUILD/tests/churn" --procs 2 --connections "$(scaled 3000 100)" --to 192.0.2.1:25 \
		--from-base 10.1.2.3 --addresses 4
	expect 0 conncount verify
	expect_eq 0 "$(state nodes)" nodes
}
