# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# count, list and status: what they print, --json, exit statuses, bad usage.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	configure_smtp '[control]' 'listen = 192.0.2.1:4000' 'service = Control'
	load
	sessions_start
}

teardown() {
	instance_teardown
}

# traffic: opens the sessions whose counts the tests expect.
traffic() {
	sessions <<-'END'
		listen *:25
		listen *:4000
		open 3 10.1.2.3 192.0.2.1:25
		open 1 10.1.2.4 192.0.2.1:25
		open 2 10.1.3.1 192.0.2.1:25
		open 4 172.16.0.1 192.0.2.1:25
		open 2 2001:db8:1:2::1 [2001:db8::1]:25
		open 1 2001:db8:1:3::1 [2001:db8::1]:25
		open 5 10.1.2.3 192.0.2.1:4000
	END
}

# prefixes: prints the lines of `conncount list` in $output as `COUNT CIDR`, with one space.
prefixes() {
	awk '{ $1 = $1; print }' <<<"$output"
}

@test "count: prints the count alone on one line" {
	traffic
	expect 0 conncount count
	expect_eq 13 "$output"
	expect_eq '' "$errors" stderr
	expect_eq 3 "$(conncount count | wc -c)" bytes
	expect_count 3 10.1.2.3
	expect_count 6 10.0.0.0/8
	expect_count 0 192.168.0.0/16
	expect_count 5 --service Control
	expect_count 5 --service=Control 10.0.0.0/8
	expect_count 5 --listener control
	expect_count 0 --listener control ::/0
}

@test "count: accepts prefix lengths, netmasks, brackets, IPv4-mapped addresses and localhost" {
	traffic
	expect_count 4 10.1.2.99/24
	expect_count 4 10.1.2.99/255.255.255.0
	expect_count 10 0.0.0.0/0
	expect_count 3 ::/0
	expect_count 2 2001:db8:1:2::1
	expect_count 2 '[2001:db8:1:2::1]'
	expect_count 3 2001:DB8:1::/48
	expect_count 3 '[2001:db8:1:ffff::]/47'
	expect_count 3 ::ffff:10.1.2.3
	expect_count 4 ::ffff:10.1.2.3/120
	expect_count 0 localhost
	sessions open 1 127.0.0.1 127.0.0.1:25
	sessions open 2 ::1 '[::1]:25'
	expect_count 1 localhost
	expect_count 1 localhost/32
	expect_count 1 localhost/8
	expect_count 2 localhost/128
	expect_count 2 localhost/64
}

@test "an IPv4 client of a dual-stack socket is counted under its IPv4 address" {
	sessions <<-'END'
		listen *:25
		open 2 10.0.0.1 192.0.2.1:25
		open 1 2001:db8::7 [2001:db8::1]:25
	END
	expect_match '\[::ffff:10\.0\.0\.1\]' "$(in_ns ss -Htn 'sport = :25')"
	expect_count 2 10.0.0.1
	expect_count 2 ::ffff:10.0.0.1
	expect_count 2 ::ffff:10.0.0.0/104
	expect_count 2 0.0.0.0/0
	expect_count 1 ::/0
	expect 0 conncount list
	expect_match '10\.0\.0\.1/32' "$output"
	expect_eq 2 "$(state listeners.0.ipv4.live)"
	expect_eq 1 "$(state listeners.0.ipv6.live)"
}

@test "count: the count is right for every prefix length of both families" {
	traffic
	local length
	# From /30 on, a network has 10.1.2.3 alone; up to /29 also 10.1.2.4, and up to /23 also
	# 10.1.3.1.
	for length in {0..32}; do
		case $length in
		0) expect_count 10 "10.1.2.3/$length" ;;
		[1-9] | 1[0-9] | 2[0-3]) expect_count 6 "10.1.2.3/$length" ;;
		2[4-9]) expect_count 4 "10.1.2.3/$length" ;;
		*) expect_count 3 "10.1.2.3/$length" ;;
		esac
	done
	for length in {0..128}; do
		if ((length < 64)); then
			expect_count 3 "2001:db8:1:2::1/$length"
		else
			expect_count 2 "2001:db8:1:2::1/$length"
		fi
	done
}

@test "count: a bad network exits with 2, and the message quotes it" {
	local text
	for text in 300.1.1.1 10.0.0.0/33 10.0.0.0/ /129 /24 fe80::1%eth0 '10.0.0.0/8 ' ' 10.0.0.0/8' \
		2001:db8::/129 '[2001:db8::1' '[10.0.0.1]' 10.0.0.0/255.0.255.0 10.0.0.0/-1 \
		10.0.0.0/+8 10.1 0x7f.1 010.1.1.1 mail.example.org localhost/129 10.0.0.0/8/8 \
		10.0.0.0/8,::/0 ::ffff:10.0.0.0/8x /24,/64; do
		expect 2 conncount count "$text"
		expect_eq '' "$output" "output for '$text'"
		[[ $errors == "conncount: "*"$text"* ]] || fail "message for '$text': $errors"
	done
	expect 2 conncount count ''
	expect_match '^conncount: ' "$errors"
	# No name is looked up, and the message says so.
	expect 2 conncount count mail.example.org
	expect_match 'localhost' "$errors"
}

@test "count --json: has the count, its exactness, the service or listener, and the network" {
	traffic
	expect 0 conncount count --json
	expect_eq 13 "$(json count <<<"$output")"
	expect_eq true "$(json exact <<<"$output")"
	expect_eq 0 "$(json uncounted <<<"$output")"
	expect_eq 0 "$(json lost <<<"$output")"
	expect_eq SMTP "$(json service <<<"$output")"
	expect_eq null "$(json cidr <<<"$output")"
	expect 0 conncount count --json --service Control '10.1.2.3/255.0.0.0'
	expect_eq 5 "$(json count <<<"$output")"
	expect_eq Control "$(json service <<<"$output")"
	expect_eq 10.0.0.0/8 "$(json cidr <<<"$output")"
	expect 0 conncount count --listener smtp --json ::/0
	expect_eq 3 "$(json count <<<"$output")"
	expect_eq smtp "$(json listener <<<"$output")"
	expect_eq ::/0 "$(json cidr <<<"$output")"
}

@test "list: prints the largest first, for the chosen prefix lengths, service, listener and limit" {
	traffic
	expect 0 conncount list
	expect_eq $'4 172.16.0.1/32\n3 10.1.2.3/32\n2 10.1.3.1/32' "$(prefixes | head -n 3)"
	expect_eq 6 "$(prefixes | wc -l)" lines
	expect_eq 13 "$(awk '{ n += $1 } END { print n }' <<<"$output")" sum
	expect 0 conncount list --limit 2
	expect_eq $'4 172.16.0.1/32\n3 10.1.2.3/32' "$(prefixes)"
	expect 0 conncount list --limit 100
	expect_eq 6 "$(prefixes | wc -l)" lines
	# The largest few are not found in the same way as all.
	local all=$output n
	for n in 1 2 3 4 5; do
		expect 0 conncount list --limit $n
		expect_eq "$(head -n $n <<<"$all")" "$output" "the first $n"
		expect_eq 6 "$(conncount list --json --limit $n | json prefixes)" 'all that there are'
	done
	expect 0 conncount list -4 24
	expect_eq $'2 10.1.3.0/24\n4 10.1.2.0/24\n4 172.16.0.0/24' "$(prefixes | grep -v : | sort)"
	expect 0 conncount list -4 16 -6 48
	expect_eq $'6 10.1.0.0/16\n4 172.16.0.0/16\n3 2001:db8:1::/48' "$(prefixes)"
	expect 0 conncount list -4 0 -6 0
	expect_eq $'10 0.0.0.0/0\n3 ::/0' "$(prefixes)"
	expect 0 conncount list --prefix 23
	expect_match '^6 10\.1\.2\.0/23' "$(prefixes)"
	expect 0 conncount list --service Control
	expect_eq '5 10.1.2.3/32' "$(prefixes)"
	expect 0 conncount list --listener control -4 8
	expect_eq '5 10.0.0.0/8' "$(prefixes)"
	expect 0 conncount list --service ECStream
	expect_eq '' "$output"
}

@test "list --tree: prints each network with its parts below it, largest first" {
	traffic
	# A network with a single part is left out.
	expect 0 conncount list --tree -4 32
	expect_eq "$(sed 's/^	*//' <<-'END'
		       6  10.1.0.0/16
		       4    10.1.2.0/24
		       3      10.1.2.3/32
		       1      10.1.2.4/32
		       2    10.1.3.1/32
		       4  172.16.0.1/32
	END
	)" "$output"
	# Down to a prefix length that is not a stored level; both families are sorted together.
	expect 0 conncount list --tree -4 23 -6 49
	expect_eq "$(sed 's/^	*//' <<-'END'
		       6  10.1.2.0/23
		       4  172.16.0.0/23
		       3  2001:db8:1::/49
	END
	)" "$output"
	# --limit keeps the largest networks of all prefix lengths, which still form a tree.
	expect 0 conncount list --tree --limit 3 -4 32
	expect_eq "$(sed 's/^	*//' <<-'END'
		       6  10.1.0.0/16
		       4    10.1.2.0/24
		       4  172.16.0.1/32
	END
	)" "$output"
	expect 0 conncount list --tree --listener control -4 16
	expect_eq '5 10.1.0.0/16' "$(prefixes)"
	expect 0 conncount list --tree --service ECStream
	expect_eq '' "$output"
	# JSON has all levels: programs look for theirs.
	expect 0 conncount list --tree --json --limit 7 -4 32
	expect_eq 10.1.2.0/24 "$(json entries.0.parts.0.parts.0.cidr <<<"$output")"
	expect_eq 4 "$(json entries.0.parts.0.parts.0.count <<<"$output")"
	expect_eq '["cidr", "count"]' \
		"$(json entries.1.parts.0.parts.0.parts.0 <<<"$output" |
			python3 -I -c 'import json, sys; print(json.dumps(sorted(json.load(sys.stdin))))')"
	expect_eq 10 "$(json total <<<"$output")"
}

@test "list: under 100 bpf(2) calls read 1,000 networks; a family without sessions is not searched" {
	requires strace
	sessions listen '*:25'
	sessions open 1000 10.1.0.1+ 192.0.2.1:25
	expect 0 strace -e trace=bpf -o "$TEST_DIR/trace" conncount list
	expect_eq 1000 "$(prefixes | wc -l)" lines
	expect_match BATCH "$(cat "$TEST_DIR/trace")"
	[ "$(wc -l <"$TEST_DIR/trace")" -lt 100 ] ||
		fail "$(wc -l <"$TEST_DIR/trace") calls of bpf(2) for 1,000 networks"
	expect 0 strace -e trace=bpf -o "$TEST_DIR/trace" conncount list -6 128
	expect_eq '' "$output"
	[[ $(cat "$TEST_DIR/trace") != *BATCH* ]] || fail 'the table was searched in vain'
}

@test "count and list: a removed cgroup is named as the reason that counts are not exact" {
	local command
	mkdir "$CGROUP_PATH/inner"
	load --cgroup "$CGROUP/inner"
	rmdir "$CGROUP_PATH/inner"
	for command in count list; do
		expect 0 conncount "$command"
		expect_match 'not exact: the counted cgroup was removed' "$errors"
	done
}

@test "a reader that has called chroot() reports the cgroup as removed only if it is" {
	mkdir "$TEST_DIR/empty" "$CGROUP_PATH/inner"
	load --cgroup "$CGROUP/inner"
	expect 0 python3 -I - "$BUILD/libconncount.so" "$CONNCOUNT_DIR" "$TEST_DIR/empty" \
		"$CGROUP_PATH/inner" <<-'END'
			import ctypes, os, struct, sys, time
			library, directory, empty, inner = sys.argv[1:]
			counts = ctypes.CDLL(library)
			handle = ctypes.c_void_p()
			if counts.conncount_open(directory.encode(), ctypes.byref(handle)):
			    sys.exit("cannot open")
			answer = ctypes.create_string_buffer(32)
			def flags():
			    if counts.conncount_count_service(handle, None, None, answer):
			        sys.exit("no answer")
			    return struct.unpack("=qqQII", answer.raw)[3]
			back = os.open("/", os.O_RDONLY)
			os.chroot(empty)
			print(flags())
			os.fchdir(back)
			os.chroot(".")
			os.rmdir(inner)
			os.chroot(empty)
			while flags() == 1:  # it is looked for once a second
			    time.sleep(0.05)
			print(flags())
		END
	expect_eq $'1\n4' "$output" flags
}

@test "a user outside the group is told which group may read" {
	requires setpriv
	local command
	sed -i 's/^group = .*/group = daemon/' "$CONFIG"
	load
	for command in count list refused status 'count --json'; do
		# shellcheck disable=SC2086
		expect 1 as_user nogroup conncount $command
		expect_eq '' "$output" "output of $command"
		expect_match '^conncount: .*[Pp]ermission denied.*group.*daemon' "$errors" "$command"
	done
	run ! as_user nogroup python3 -I "$TEST_DIR/copy/poke.py" "$CONNCOUNT_DIR"
	expect_match 'Permission denied' "$output"
}

@test "list --json: has the exactness, the entries, and the total of all entries" {
	traffic
	expect 0 conncount list --json -4 24
	expect_eq true "$(json exact <<<"$output")"
	expect_match '"cidr": ?"10\.1\.2\.0/24", ?"count": ?4' "$output"
	expect 0 conncount list --json --service Control
	expect_eq 10.1.2.3/32 "$(json entries.0.cidr <<<"$output")"
	expect_eq 5 "$(json entries.0.count <<<"$output")"
	expect_eq 5 "$(json total <<<"$output")"
	expect 0 conncount list --json --service ECStream
	expect_eq '[]' "$(json entries <<<"$output")"
	expect_eq 0 "$(json total <<<"$output")"
	expect 0 conncount list --json --limit 1
	expect_eq 172.16.0.1/32 "$(json entries.0.cidr <<<"$output")"
	expect_eq 13 "$(json total <<<"$output")" 'total, of all and not of those shown'
}

@test "status: shows listeners and exactness; status --json also has nodes and session counts" {
	traffic
	sessions close server 1
	expect 0 conncount status
	expect_match smtp "$output"
	expect_match 'exact +yes' "$output"
	expect 0 conncount status --json
	local whole=$output
	expect_eq "$CONNCOUNT_DIR" "$(json dir <<<"$whole")"
	expect_eq "$(uname -r)" "$(json kernel <<<"$whole")"
	expect_eq true "$(json exact <<<"$whole")"
	expect_eq 0 "$(json uncounted <<<"$whole")"
	expect_eq 0 "$(json lost <<<"$whole")"
	expect_eq 1048576 "$(json max_prefixes <<<"$whole")"
	# One node for each listener and each different prefix at each stored level, counted by
	# hand:
	#  IPv4 smtp: /8 2, /16 2, /24 3, /32 4; control: 4. IPv6: 8 to 48: 6, 56: 1, 64: 2, 128: 2
	expect_eq 26 "$(json nodes <<<"$whole")" nodes
	expect_eq smtp "$(json listeners.0.name <<<"$whole")"
	expect_eq SMTP "$(json listeners.0.service <<<"$whole")"
	expect_eq true "$(json listeners.0.active <<<"$whole")"
	expect_eq '["*:25"]' "$(json listeners.0.listen <<<"$whole")"
	expect_eq 12 "$(json listeners.0.live <<<"$whole")"
	expect_eq 13 "$(json listeners.0.opened <<<"$whole")"
	expect_eq 1 "$(json listeners.0.closed <<<"$whole")"
	expect_eq 9 "$(json listeners.0.ipv4.live <<<"$whole")"
	expect_eq 10 "$(json listeners.0.ipv4.opened <<<"$whole")"
	expect_eq 3 "$(json listeners.0.ipv6.live <<<"$whole")"
	expect_eq 0 "$(json listeners.0.ipv6.closed <<<"$whole")"
	expect_eq '["192.0.2.1:4000"]' "$(json listeners.1.listen <<<"$whole")"
	expect_eq 5 "$(json listeners.1.live <<<"$whole")"
}

# counted_since TIME: the instance has counted since then, by both of status's forms.
counted_since() {
	expect_match "^since +$1\$" "$(conncount status | grep ^since)"
	expect_eq "$1" "$(json counting_since <<<"$(conncount status --json)")" counting_since
}

is_past() {
	[ "$(date +%s)" -gt "$1" ]
}

@test "status: says since when it counts, when the instance was loaded, and who can read it" {
	local before when since
	requires setpriv
	since=$(json counting_since <<<"$(conncount status --json)")
	expect_match '^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z$' "$since"
	# A reload in the same second would look the same.
	wait_until is_past "$(date +%s -d "$since")"
	load
	counted_since "$since"
	cp "$CONFIG" "$TEST_DIR/before.conf"
	sed 's/^\[conncount\]$/&\nmax_prefixes = 5000/' "$TEST_DIR/before.conf" >"$CONFIG"
	load
	expect_eq 5000 "$(json max_prefixes <<<"$(conncount status --json)")" 'new maps'
	counted_since "$since"
	cat "$TEST_DIR/before.conf" >"$CONFIG"

	expect 0 conncount status
	expect_match 'readers +only root' "$output"
	sed -i 's/^group = .*/group = daemon/' "$CONFIG"
	before=$(date +%s)
	load
	expect 0 as_user daemon conncount status
	expect_match 'readers +root and the group daemon' "$output"
	expect_match 'loaded +2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z' "$output"
	expect 0 as_user daemon conncount status --json
	expect_eq daemon "$(json group <<<"$output")" group
	when=$(date +%s -d "$(json loaded_at <<<"$output")")
	[ "$before" -le "$when" ] && [ "$when" -le "$(date +%s)" ] || fail "loaded at $when"
}

# proxied ID [NUMBER...]: see tests/tools/proxied.py.
proxied() {
	python3 -I -S "$TOOLS/proxied.py" "$CONNCOUNT_DIR" "$@"
}

# proxied_table TEXT: prints the lines of TEXT from its second table on, with single spaces.
proxied_table() {
	sed -n '/^PROXIED/,$p' <<<"$1" | tr -s ' '
}

@test "status: has a table of the listeners that have proxies or had sessions of proxies" {
	expect 0 in_ns conncount status
	expect_eq '' "$(proxied_table "$output")" 'without proxies'
	proxied 0
	expect 0 in_ns conncount status
	expect_eq 'PROXIED AWAITING UNIDENTIFIED IDENTIFIED OWN ABSENT MALFORMED SPLIT UNREAD
smtp 0 0 0 0 0 0 0 0' "$(proxied_table "$output")" 'with a proxy'
	proxied 1 2 0 100 20 0 0 0 0
	expect 0 in_ns conncount status
	expect_eq 'PROXIED AWAITING UNIDENTIFIED IDENTIFIED OWN ABSENT MALFORMED SPLIT UNREAD
smtp 0 0 0 0 0 0 0 0
control 2 0 100 20 0 0 0 0' "$(proxied_table "$output")" 'after sessions'
}

@test "status: counts with unidentified sessions are exact, and a note says how many there are" {
	proxied 0 1 7 100 20 8 4 2 1
	expect 0 in_ns conncount status
	expect_eq '' "$errors" stderr
	expect_match 'exact +yes' "$output"
	expect_match '^smtp 1 7 100 20 8 4 2 1$' "$(proxied_table "$output" | sed -n 2p)"
	expect_match '^note: 7 open sessions of smtp are counted under their proxy, because no PROXY header was read' \
		"$(proxied_table "$output" | sed -n 3p)"
	expect_count 0
}

@test "status --json: has the sessions of proxies of every listener" {
	proxied 0 1 7 100 20 8 4 2 1
	expect 0 conncount status --json
	local whole=$output
	expect_eq true "$(json exact <<<"$whole")" exact
	expect_eq 1 "$(json listeners.0.awaiting <<<"$whole")" awaiting
	expect_eq 7 "$(json listeners.0.unidentified <<<"$whole")" unidentified
	expect_eq '100 20 8 4 2 1' "$(json listeners.0.proxied.{identified,own,absent,malformed,split,unread} <<<"$whole" |
		paste -sd ' ')" 'totals'
	expect_eq '0 0 0 0 0 0 0 0' "$(json listeners.1.{awaiting,unidentified} \
		listeners.1.proxied.{identified,own,absent,malformed,split,unread} <<<"$whole" |
		paste -sd ' ')" 'without proxies'
}

@test "status: a number of open sessions that is below 0 for a moment is shown as 0" {
	proxied 0 -1 -2 1 0 0 0 0 0
	expect 0 conncount status --json
	expect_eq 0 "$(json listeners.0.awaiting <<<"$output")" awaiting
	expect_eq 0 "$(json listeners.0.unidentified <<<"$output")" unidentified
}

@test "bad usage exits with 2 and prints a message and no output; --help and --version exit with 0" {
	local line
	for line in '' nonsense 'count --nonsense' 'count 10.0.0.0/8 10.0.0.0/8' 'count --service' \
		'count --service SMTP --listener smtp' 'list --prefix x' 'list -4 33' 'list -6 129' \
		'list --limit -1' 'list --limit x' 'list --prefix 24 -4 24' 'list extra' 'list --tree=yes' \
		'status extra' 'metrics extra' 'top extra' 'top -4 33' 'watch' 'watch --over x' 'watch --over 1 extra' \
		'watch --over 1 --interval 0' 'watch --over 1 --prefix 129' 'exporter extra' 'exporter --listen 25' \
		'nodes extra' 'nodes --service SMTP' 'cluster extra' 'cluster -c' 'cluster --json' \
		'refused extra' 'refused --limit 0' 'refused --limit x' 'refused --service SMTP' 'refused --listener' \
		'unload extra' 'load extra' 'count --service smtp'; do
		# shellcheck disable=SC2086
		expect 2 conncount $line
		expect_eq '' "$output" "output of '$line'"
		[ -n "$errors" ] || fail "no message for '$line'"
	done
	expect_match SMTP "$errors" 'the known types, for an unknown one'
	expect 0 conncount --help
	expect_match 'count' "$output"
	for line in load unload count list top watch refused status nodes metrics exporter verify check cluster; do
		expect 0 conncount "$line" --help
		[ -n "$output" ] || fail "$line --help prints nothing"
	done
	expect 0 conncount --version
	expect_match '[0-9]+\.[0-9]+' "$output"
}

@test "an option that is unknown, lacks a value, has a bad one or takes none is named in the message" {
	local line
	while read -r line; do
		# shellcheck disable=SC2086
		expect 2 conncount ${line% : *}
		expect_match "^conncount: ${line#* : }"$'\n''Usage: conncount ' "$errors" "$line"
	done <<-'END'
		list --limit 3 --x : --x: unknown option
		list --limit 3 -x : -x: unknown option
		list -xy : -x: unknown option
		list -4 24 -6x4 : 'x4': not a number from 0 to 128
		list -: : -:: unknown option
		load -c : -c: needs a value
		list -4 24 -6 : -6: needs a value
		list --json --limit : --limit: needs a value
		refused --json --limit : --limit: needs a value
		refused --service SMTP : --service: unknown option
		list --json=yes --limit 3 : --json=yes: takes no value
		count --help=x : --help=x: takes no value
		nodes --json=yes : --json=yes: takes no value
		cluster -c : -c: needs a value
		cluster --dir : --dir: needs a value
	END
}

@test "a message has no control characters, and says what is wrong even if it quotes a long text" {
	local long
	printf -v long '%0700d' 0
	for line in $'count \e[31m' $'check /none\x7f' $'exporter --listen \a' $'list --\r' $'\x01'; do
		# shellcheck disable=SC2086
		expect 2 conncount $line
		! grep -q '[[:cntrl:]]' <<<"$errors" || fail "a control character: ${errors@Q}"
	done
	expect 2 conncount count $'10.0.0.1\nconncount: all is well'
	expect_eq 1 "$(wc -l <<<"$errors")" lines
	expect 2 conncount count "$long"
	expect_match 'not an IP address' "$errors"
	expect 2 conncount list "--$long"
	expect_match ': unknown option' "$errors"
	expect 2 conncount exporter --listen "$long"
	expect_match "': .{10}" "$errors"
	expect 2 conncount status x "$long"
	expect_match 'unexpected argument' "$errors"
	expect 1 conncount status --dir "/$long"
	expect_match 'File name too long' "$errors"
}

@test "status --json: prints a byte of the directory's name that is not UTF-8 as a question mark" {
	local dir=$TEST_DIR/$'\xff'
	ln -s "$CONNCOUNT_DIR" "$dir"
	expect 0 conncount status --json --dir "$dir"
	expect_eq "$TEST_DIR/?" "$(json dir <<<"$output")"
	rm "$dir"
}

@test "a query whose output cannot be written exits with 1" {
	expect 1 sh -c 'conncount count >/dev/full'
	expect_match '^conncount: ' "$errors"
	expect 1 sh -c 'conncount list --json >/dev/full'
	expect 1 sh -c 'conncount status >/dev/full'
	expect 1 sh -c 'conncount metrics >/dev/full'
}

# unread STATUS COMMAND...: with a closed pipe as its standard output, COMMAND ends with STATUS,
# whether or not its parent ignores SIGPIPE. If SIGPIPE ends it (STATUS is negative), it prints no
# message.
unread() {
	expect 0 python3 -I -S - "$@" <<-'END'
		import os, signal, subprocess, sys
		want, command = int(sys.argv[1]), sys.argv[2:]
		for how in signal.SIG_DFL, signal.SIG_IGN:
		    signal.signal(signal.SIGPIPE, how)
		    reading, writing = os.pipe()
		    os.close(reading)
		    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, restore_signals=False)
		    os.close(writing)
		    print(how, done.returncode, done.stderr)
		    if done.returncode != want or want < 0 and done.stderr:
		        sys.exit(1)
	END
}

@test "on a closed pipe, SIGPIPE ends a query without a message; a load completes and exits with 1" {
	configure_smtp
	load
	unread -13 conncount count
	unread -13 conncount list --json
	unread -13 conncount refused --json
	unread -13 conncount status
	unread -13 conncount metrics
	unread -13 conncount verify
	# load has done its work, but fails because it could not report that, as on a full disk.
	conncount unload
	unread 1 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	remember
	expect_count 0
}
