# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Which listener open sessions belong to if the configuration changes: ids, names, services and
# ports. And which proxies a load writes for each listener.

load ../lib/common
load ../lib/instance

HELD=20 # sessions that stay open, from 10.9.0.1+

setup() {
	instance_setup
}

teardown() {
	instance_teardown
}

# held: opens the sessions that stay open.
held() {
	sessions_start
	sessions listen 192.0.2.1:25
	sessions open $HELD 10.9.0.1+ 192.0.2.1:25
}

# expect_loaded WHAT: loads, and expects that load says that the configuration is WHAT.
expect_loaded() {
	expect 0 load
	expect_match "configuration $1" "$output"
}

@test "load: repeated with the same configuration, counts no session twice" {
	configure_smtp
	load
	sessions_start
	sessions listen '*:25'
	sessions open 3 10.0.0.1 192.0.2.1:25
	load
	expect_count 3 10.0.0.1
	sessions open 2 10.0.0.1 192.0.2.1:25
	load
	expect_count 5 10.0.0.1
	sessions close server 1-4
	expect_count 1 10.0.0.1
	sessions close server
	expect_count 0
	expect_eq 0 "$(state nodes)" nodes
	expect_eq 5 "$(state listeners.0.opened)" opened
	expect_eq 5 "$(state listeners.0.closed)" closed
}

@test "load: a changed configuration applies to new sessions, and open sessions stay counted" {
	configure_smtp '[gone]' 'listen = *:26' 'service = ECStream'
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		listen *:26
		listen *:2525
		open 1 10.0.0.1 192.0.2.1:25
		open 2 10.0.0.1 192.0.2.1:26
		open 4 10.0.0.1 192.0.2.1:2525
	END
	expect_count 1
	expect_count 2 --service ECStream
	local generation
	generation=$(state generation)
	# `smtp` gets another service and a second port; `new` replaces `gone` on its port.
	configure <<-'END'
		[smtp]
		listen = *:25
		listen = *:2525
		service = Control
		[new]
		listen = *:26
		service = SMTP
	END
	load
	[ "$(state generation)" -gt "$generation" ] || fail 'the generation did not step'
	# load finds the sessions that were already open on the second port.
	expect_count 5 --service Control
	expect_count 5 --listener smtp
	expect_count 0 --listener new
	sessions <<-'END'
		open 8 10.0.0.1 192.0.2.1:2525
		open 16 10.0.0.1 192.0.2.1:26
	END
	expect_count 13 --service Control 10.0.0.1
	expect_count 16 --listener new
	expect_count 16
	# Sessions counted under the removed listener end under it, and under no other.
	sessions close server 2-3
	expect_count 16 --listener new
	expect_count 13 --listener smtp
	sessions close server
	expect_count 0 --listener new
	expect_count 0 --listener smtp
	expect_eq 0 "$(state nodes)" nodes
	expect_eq 0 "$(state lost)" lost
}

# listener N PATH: prints this field of listener number N in status.
listener() {
	state "listeners.$1.$2"
}

@test "the id of a removed listener is not reused until its last session has ended" {
	sessions_start
	sessions <<-'END'
		listen *:25
		listen *:26
		open 7 10.1.0.1 192.0.2.1:25
		open 5 10.2.0.1 192.0.2.1:26
	END
	printf '%s\n' '[a]' 'listen = *:25' 'service = A' '[b]' 'listen = *:26' | configure
	load
	# `c` replaces `a` on its port: open sessions stay with `a` and its service.
	printf '%s\n' '[c]' 'listen = *:25' '[b]' 'listen = *:26' | configure
	load
	sessions open 3 10.3.0.1 192.0.2.1:25
	expect_count 7 --listener a
	expect_count 7 --service A
	expect_count 3 --listener c
	expect_count 8
	expect_eq 'a false' "$(listener 0 name) $(listener 0 active)"
	expect_eq c "$(listener 2 name)"
	expect 0 conncount verify
	# Nor while one session is left, after more loads and with a new listener.
	sessions close server 1-6
	printf '%s\n' '[c]' 'listen = *:25' '[b]' 'listen = *:26' '[d]' 'listen = *:27' | configure
	load
	load
	expect_count 1 --listener a
	expect_eq a "$(listener 0 name)"
	expect_eq d "$(listener 3 name)"
	# When the last one has ended, the next load forgets `a`. `e` gets its id, with no counts.
	sessions close server 7
	expect_count 0 --listener a
	expect 0 load
	expect_match 'configuration unchanged' "$output"
	printf '%s\n' '[c]' 'listen = *:25' '[b]' 'listen = *:26' '[e]' 'listen = *:28' | configure
	load
	expect 2 conncount count --listener a
	expect_eq e "$(listener 0 name)"
	expect_eq '0 0 0 0' "$(for i in live opened closed uncounted; do
		listener 0 $i; done | paste -sd ' ')" 'tallies of e'
	expect 0 conncount list --listener e
	expect_eq '' "$output" 'prefixes of e'
	sessions listen '*:28'
	sessions open 2 10.1.0.1 192.0.2.1:28
	expect_count 2 --listener e 10.1.0.1
	expect_count 3 --listener c
	expect_count 5 --listener b
	expect 0 conncount verify
}

@test "open sessions stay with their listener through a new name, service or port" {
	held
	sessions listen '*:625'
	printf '%s\n' '[one]' 'listen = *:25' 'service = A' | configure
	load
	# A listener's open sessions move with it to another service.
	printf '%s\n' '[one]' 'listen = *:25' 'service = B' | configure
	load
	expect_count $HELD --service B
	expect 2 conncount count --service A
	# Another name is another listener.
	printf '%s\n' '[two]' 'listen = *:25' 'service = A' | configure
	load
	expect_count $HELD --listener one
	expect_count $HELD --service B 10.9.0.0/24
	expect_count 0 --listener two
	# `one` is back, on another port, and the sessions are still its own.
	sessions open 2 10.1.2.3 192.0.2.1:25
	printf '%s\n' '[one]' 'listen = *:625' 'service = B' | configure
	load
	sessions open 3 10.1.2.3 192.0.2.1:625
	sessions open 4 10.1.2.3 192.0.2.1:25 # no listener's
	expect_count $((HELD + 3)) --listener one
	expect_count 2 --listener two
	expect 0 conncount verify
	expect_match "of $((HELD + 5)) sessions" "$output"
	sessions close server
	load
	expect 2 conncount count --listener two
	expect 0 conncount verify
	expect_eq 0 "$(state nodes)" nodes
}

# addresses N PORT: writes a configuration of one listener on N addresses.
addresses() {
	{
		echo '[smtp]'
		awk -v n="$1" -v port="$2" 'BEGIN {
			for (i = 0; i < n; i++)
				printf "listen = 10.%d.%d.%d:%d\n", i / 65536, i / 256 % 256, i % 256, port
		}'
	} | configure
}

# map_calls: loads the configuration, and prints how many bpf(2) calls on map elements that took.
map_calls() {
	strace -f -q -o "$TEST_DIR/trace" -e trace=bpf conncount load -c "$CONFIG" --cgroup "$CGROUP" >&2 &&
		grep -cE 'BPF_MAP_(GET_NEXT_KEY|LOOKUP_ELEM|UPDATE_ELEM|DELETE_ELEM|.*BATCH)' "$TEST_DIR/trace"
}

@test "load: map calls grow at most in proportion to the addresses, also if all addresses change" {
	requires strace
	local n i few=() many=()
	for n in 400 800; do
		addresses $n 25
		few=("${many[@]}")
		many=("$(map_calls)" "$(map_calls)")
		addresses $n 26
		many+=("$(map_calls)" "$(map_calls)")
		remember
		expect 0 conncount unload
	done
	for i in "${!many[@]}"; do
		echo "load $((i + 1)): ${few[i]} calls for 400 addresses, ${many[i]} for 800"
		# A load adds each address, reads it a few times, and removes it.
		((many[i] > 400 && many[i] - few[i] <= 400 * 8)) || fail 'more than in proportion'
	done
}

@test "40,000 addresses can be loaded and then changed twice" {
	requires speed
	addresses 40000 25
	load
	sessions_start
	sessions listen '*:25'
	sessions listen '*:26'
	sessions open 1 10.9.0.1 10.0.156.63:25
	sessions open 2 10.9.0.1 10.0.156.64:25
	expect_count 1
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'configuration unchanged' "$output"
	addresses 40000 26
	load
	sessions open 4 10.9.0.1 10.0.156.63:26
	sessions open 8 10.9.0.1 10.0.156.63:25
	expect_count 5
	addresses 39999 26
	load
	sessions open 16 10.9.0.1 10.0.156.63:26
	sessions open 32 10.9.0.1 10.0.156.62:26
	expect_count 37
	sessions close server
	expect_count 0
}

# proxies_of SLOT: prints what the configuration in that slot has in `proxies`: the listener's
# number and the network, a line each.
proxies_of() {
	bpftool --json map dump pinned "$CONNCOUNT_DIR/live/proxies" | python3 -I /dev/fd/4 "$1" 4<<-'END' | sort
		import ipaddress, json, struct, sys
		for entry in json.load(sys.stdin):
		    key = bytes(int(byte, 16) for byte in entry["key"])
		    bits, = struct.unpack_from("=I", key)
		    slot, listener, family = struct.unpack_from(">3H", key, 4)
		    if slot == int(sys.argv[1]):
		        address = key[12:16] if family == 2 else key[12:]
		        print(listener, "%s/%d" % (ipaddress.ip_address(address), bits - 64))
	END
}

# expect_proxies [PROXY...]: expects that the active configuration has exactly these.
expect_proxies() {
	local generation
	generation=$(state generation)
	expect_eq "$(printf '%s\n' "$@")" "$(proxies_of $((generation & 1)))" 'the active proxies'
}

@test "load: a changed list of proxies is a changed configuration, another order of it is not" {
	requires bpftool
	configure_smtp
	load
	expect_proxies
	configure_smtp 'proxy = 10.0.0.9/24' 'proxy = 2001:db8::/32' '[msa]' 'listen = *:587' \
		'proxy = 192.0.2.7'
	expect_loaded changed
	expect_proxies '0 10.0.0.0/24' '0 2001:db8::/32' '1 192.0.2.7/32'
	expect_loaded unchanged
	configure_smtp 'proxy = [2001:db8::]/32' 'proxy = 10.0.0.0/24' '[msa]' 'proxy = 192.0.2.7' \
		'listen = *:587'
	expect_loaded unchanged
	# One more, one less, another length, another listener.
	configure_smtp 'proxy = 10.0.0.0/24' 'proxy = 2001:db8::/32' 'proxy = 10.0.0.0/8' '[msa]' \
		'listen = *:587' 'proxy = 192.0.2.7'
	expect_loaded changed
	expect_proxies '0 10.0.0.0/24' '0 10.0.0.0/8' '0 2001:db8::/32' '1 192.0.2.7/32'
	configure_smtp 'proxy = 10.0.0.0/8' '[msa]' 'listen = *:587' 'proxy = 192.0.2.7'
	expect_loaded changed
	expect_proxies '0 10.0.0.0/8' '1 192.0.2.7/32'
	configure_smtp 'proxy = 10.0.0.0/9' '[msa]' 'listen = *:587' 'proxy = 192.0.2.7'
	expect_loaded changed
	configure_smtp 'proxy = 192.0.2.7' '[msa]' 'listen = *:587' 'proxy = 10.0.0.0/9'
	expect_loaded changed
	expect_proxies '0 192.0.2.7/32' '1 10.0.0.0/9'
	configure_smtp '[msa]' 'listen = *:587'
	expect_loaded changed
	expect_proxies
	expect_loaded unchanged
}

@test "load: proxies that a killed load left in the other configuration are removed" {
	requires bpftool
	local slot
	configure_smtp 'proxy = 10.0.0.0/24'
	load
	slot=$((($(state generation) + 1) & 1))
	# 10.0.1.0/24 of listener 0.
	bpftool map update pinned "$CONNCOUNT_DIR/live/proxies" \
		key 88 0 0 0 0 $slot 0 0 0 2 0 0 10 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 value 0 0 0 0
	expect_eq '0 10.0.1.0/24' "$(proxies_of $slot)"
	configure_smtp 'proxy = 10.0.2.0/24'
	expect_loaded changed
	expect_proxies '0 10.0.2.0/24'
}

# plant_proxied ID AWAITING TOTAL...: sets what `stats` has of a listener's sessions from proxies,
# each below 256, and its other totals to 0.
plant_proxied() {
	local id=$1 value n
	shift
	printf -v value '%128s' ''
	value=${value// /0 }
	for n in "$1" 0 "${@:2}"; do
		value+="$n 0 0 0 0 0 0 0 "
	done
	# shellcheck disable=SC2086
	bpftool map update pinned "$CONNCOUNT_DIR/live/stats" key "$id" 0 0 0 value $value
}

# proxied ID: prints what `stats` has of a listener's sessions from proxies.
proxied() {
	bpftool --json map lookup pinned "$CONNCOUNT_DIR/live/stats" key "$1" 0 0 0 |
		python3 -I /dev/fd/4 4<<-'END'
			import json, struct, sys
			value = bytes(int(byte, 16) for byte in json.load(sys.stdin)["value"])
			print(*struct.unpack_from("=8Q", value, 128))
		END
}

@test "the id of a removed listener is not reused while a session awaits its header" {
	requires bpftool
	configure_smtp '[msa]' 'listen = *:587' 'proxy = 10.0.0.0/24'
	load
	plant_proxied 1 1 0 0 0 0 0 0
	configure_smtp
	load
	load
	expect_eq 'msa false' "$(listener 1 name) $(listener 1 active)"
	plant_proxied 1 0 0 0 0 0 0 0
	load
	configure_smtp '[new]' 'listen = *:588'
	load
	expect_eq new "$(listener 1 name)"
}

@test "the totals of proxies' sessions continue in new maps, those that await a header do not" {
	requires bpftool
	configure_smtp '[msa]' 'listen = *:587' 'proxy = 10.0.0.0/24'
	load
	plant_proxied 1 9 1 2 3 4 5 6
	sed -i '1amax_prefixes = 5000' "$CONFIG"
	load
	expect_eq '0 0 0 0 0 0 0 0' "$(proxied 0)"
	expect_eq '0 0 1 2 3 4 5 6' "$(proxied 1)"
	expect_proxies '1 10.0.0.0/24'
}
