# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# What a list of networks shows, whatever else is in the table, and how much of the table it reads.

load ../lib/common
load ../lib/instance
load ../lib/exporting

setup() {
	requires curl
	instance_setup
	configure <<-'END'
		[other]
		listen = *:587
		service = submission
		[smtp]
		listen = *:25
		service = SMTP
	END
	load
	sessions_start
	sessions listen '*:25'
	sessions listen '*:587'
}

teardown() {
	exporter_stop || :
	instance_teardown
}

# crowds: opens sessions in networks of many sizes, among them some with more than a system call reads at
# first. $TEST_DIR/plan has them.
crowds() {
	python3 -I - >"$TEST_DIR/plan" <<-'END'
		import ipaddress, random
		random.seed(22)
		sizes = [1, 2, 3, 7, 8, 9, 20, 60]
		v4 = {ipaddress.ip_address(random.choice(("10.0.0.0", "10.1.0.0", "10.1.128.0", "10.255.0.0", "11.0.0.0", "127.0.0.0", "203.0.113.0"))) +
		      random.randrange(n) * random.choice((1, 256, 4096)) for n in sizes for _ in range(40)}
		v6 = {ipaddress.ip_address(random.choice(("2001:db8::", "2001:db8:1::", "2001:dff::", "2a00::", "fd00::"))) +
		      (random.randrange(n) << random.choice((0, 64, 72, 80))) for n in sizes for _ in range(40)}
		for addr in sorted(v4) + sorted(v6):
		    to = "192.0.2.1:%d" if addr.version == 4 else "[2001:db8::5]:%d"
		    for port in random.choice(((25,), (587,), (25, 587))):
		        print(addr, to % port)
	END
	sessions plan "$TEST_DIR/plan"
}

# at_most N: the calls in $TEST_DIR/trace have read at most so many nodes of the table, not counting those that
# they found by their key. Empties it.
at_most() {
	local n
	n=$(sed -n 's/.*BPF_MAP_LOOKUP_BATCH.*, count=\([0-9]*\), map_fd.*/\1/p' "$TEST_DIR/trace" | awk '{ n += $1 } END { print n + 0 }')
	: >"$TEST_DIR/trace"
	if [ "$n" = 0 ] || [ "$n" -gt "$1" ]; then
		fail "read $n nodes, not 1 to $1"
	fi
}

@test "list: the addresses inside a network add up to its count, at each length, within any network" {
	crowds
	exporter
	# shellcheck disable=SC2016
	expect 0 in_ns python3 -I - "$TEST_DIR/plan" <<-'END'
		import collections, ipaddress, json, random, sys, urllib.request
		random.seed(23)
		addresses = {service: [] for service in ("SMTP", "submission")}
		for line in open(sys.argv[1], encoding="ascii"):
		    source, to = line.split()
		    addresses["SMTP" if to.endswith(":25") else "submission"].append(ipaddress.ip_address(source))
		def ask(**parameters):
		    query = "&".join("%s=%s" % item for item in parameters.items())
		    with urllib.request.urlopen("http://127.0.0.1:10125/api/networks?limit=1000&" + query) as answer:
		        return json.load(answer)
		def check(service, version, length, within):
		    want = collections.Counter(str(ipaddress.ip_network((addr, length), False))
		        for addr in addresses[service] if addr.version == version and (not within or addr in within))
		    answer = ask(service=service, family="ipv%d" % version, **{"v%d" % version: length}, **({"within": within} if within else {}))
		    found = {entry["cidr"]: entry["count"] for entry in answer["entries"]}
		    if (found, answer["prefixes"], answer["total"]) != (want, len(want), sum(want.values())):
		        sys.exit("%s /%d within %s: %s, not %s" % (service, length, within, answer, want))
		for service in addresses:
		    for version, lengths in ((4, range(33)), (6, range(0, 129, 5))):
		        for length in lengths:
		            check(service, version, length, None)
		    for _ in range(100):
		        around = random.choice(addresses[service])
		        longest = around.max_prefixlen
		        near = int(around) ^ 1 << random.randrange(longest)
		        length = random.randint(0, longest)
		        for address in (around, type(around)(near)):
		            check(service, around.version, random.randint(length, longest), ipaddress.ip_network((address, length), False))
	END
	expect 0 exporter_stop
}

@test "list: does not read the networks inside of those that it shows, nor other families and listeners" {
	local options
	requires strace
	sessions open 2000 10.0.0.1+ 192.0.2.1:25
	sessions open 2000 2001:db8::1+ '[2001:db8::5]:587'
	sessions open 1 127.0.0.1 127.0.0.1:587
	while read -r options; do
		# shellcheck disable=SC2086 # options are words
		expect 0 strace -f -qq -e trace=bpf -o "$TEST_DIR/trace" conncount list $options
		at_most 100
	done <<-'END'
		-4 8
		-4 24
		--service submission -6 64
		--service submission -4 32
		--service submission -6 56
	END
	expect 0 strace -f -qq -e trace=bpf -o "$TEST_DIR/trace" conncount list -4 32
	expect 1 at_most 1000
}

@test "list: reads only what is within a network" {
	local query
	sessions open 2000 10.0.0.1+ 192.0.2.1:25
	sessions open 3 10.9.0.1 192.0.2.1:25
	sessions open 2000 10.200.0.1+ 192.0.2.1:25
	exporter_traced
	for query in within=10.9.0.0/16 within=10.9.0.0/20 within=9.0.0.0/8 within=10.100.0.0/16 within=10.9.0.1/32; do
		: >"$TEST_DIR/trace"
		expect 0 in_ns curl -sS "http://127.0.0.1:10125/api/networks?v4=32&$query"
		at_most 100
	done
	expect 0 exporter_stop
}

# few_walks: asks for the networks of eight lengths, with a limit that nobody has asked for before. Succeeds if
# the exporter has begun to read the table at most three times for that.
few_walks() {
	: >"$TEST_DIR/trace"
	limit=$((limit + 1))
	in_ns curl -sSf "http://127.0.0.1:10125/api/networks?family=ipv4&v4=[25-32]&limit=$limit" >"$TEST_DIR/answers"
	[ "$(grep -o '"total":3000,' "$TEST_DIR/answers" | wc -l)" = 8 ] || fail "$(<"$TEST_DIR/answers")"
	[ "$(grep -c 'BPF_MAP_LOOKUP_BATCH.*in_batch=NULL' "$TEST_DIR/trace")" -le 3 ]
}

@test "page: networks of several lengths come from one look at the table" {
	local limit=0
	sessions open 3000 10.0.0.1+ 192.0.2.1:25
	exporter_traced
	wait_until few_walks
	expect 0 exporter_stop
}
