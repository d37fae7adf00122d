# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# conncount-policyd without a mail server: the tests open the sessions and send the requests.

load ../lib/common
load ../lib/servers
load ../lib/policyd
load ../lib/instance

setup() {
	requires lua5.4 setpriv
	instance_setup
	configure raw <<-'END'
		[conncount]
		group = nogroup
		[mx]
		listen = *:25
		service = SMTP
		[submission]
		listen = *:587
		service = submission
	END
	SOCKET=$TEST_DIR/policyd/sock
}

teardown() {
	sessions_stop
	servers_stop
	instance_teardown
}

# policyd OPTION...: runs conncount-policyd in the foreground.
policyd() {
	in_ns env LUA_CPATH="$BUILD/lua/5.4/?.so;;" "$ROOT/lua/servers/policyd/conncount-policyd" "$@"
}

# sessions_setup: loads, and opens 6 sessions of 203.0.113.1, 3 of 203.0.113.2 and 6 in one IPv6 /64
# to mx, and 2 of 203.0.113.1 to submission.
sessions_setup() {
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		listen *:587
		open 6 203.0.113.1 192.0.2.10:25
		open 3 203.0.113.2 192.0.2.10:25
		open 2 203.0.113.1 192.0.2.10:587
		open 6 2001:db8:1:2::1+ [2001:db8::10]:25
	END
}

# ask SOCKET: sends the requests on stdin, and prints the answers.
ask() {
	nsenter --net="$TEST_DIR/net" -- "$BUILD/tests/policy_client" "$1" 1 1 |
		sed -n 's/^ *1 action=//p'
}

# expect_action WANT CLIENT SERVER [PORT [CLIENTPORT]]
expect_action() {
	local want=$1 got
	shift
	got=$(request "$@" | ask "$SOCKET")
	expect_eq "$want" "$got" "request $*"
}

refusal() {
	echo "421 4.7.0 too many sessions from $1"
}

@test "a limit for inbound_cidr is about SMTP sessions, counted on all hosts of the cluster" {
	sessions_setup
	policy <<-'END'
		limit{ service = 'inbound_cidr', v4 = 32, sessions = 5 }
	END
	policyd_start --listen "$SOCKET"
	# In no cluster, these are the host's.
	expect_action "$(refusal 203.0.113.1/32)" 203.0.113.1 192.0.2.10
	expect_action DUNNO 203.0.113.2 192.0.2.10
	expect_action DUNNO 203.0.113.1 192.0.2.10 587
	logged 0 'no effect'
}

@test "limits apply by service, family and length in the file's order, not to allowed clients" {
	sessions_setup
	policy <<-'END'
		allow{ '198.51.100.0/24', '2001:db8:1:3::/64' }
		allow{ '192.0.2.0/24' }
		limit{ v4 = 32, sessions = 5 }
		limit{ v4 = 24, v6 = 64, sessions = 8, action = 'reject', message = 'go: {open} {limit} {network}!' }
		limit{ v6 = 128, sessions = 5 }
		limit{ service = 'submission', v4 = 32, sessions = 1 }
		limit{ service = 'submission', v4 = 24, sessions = 0 }
	END
	policyd_start --listen "$SOCKET" --listen 127.0.0.1:10126
	expect_action "$(refusal 203.0.113.1/32)" 203.0.113.1 192.0.2.10
	expect_action '521 5.7.0 go: 9 8 203.0.113.0/24!' 203.0.113.2 192.0.2.10
	expect_action DUNNO 203.0.112.2 192.0.2.10
	expect_action "$(refusal 203.0.113.1/32)" 203.0.113.1 192.0.2.10 587
	expect_action "$(refusal 203.0.113.0/24)" 203.0.113.2 192.0.2.10 587
	expect_action DUNNO 2001:db8:1:2::1 2001:db8::10
	expect_action "$(refusal 203.0.113.1/32)" ::ffff:203.0.113.1 ::ffff:192.0.2.10
	expect_eq "$(refusal 203.0.113.1/32)" \
		"$(request 203.0.113.1 192.0.2.10 | ask 127.0.0.1:10126)" 'over TCP'
	sessions open 6 198.51.100.1 192.0.2.10:25
	expect_action DUNNO 198.51.100.1 192.0.2.10
	sessions open 9 2001:db8:1:3::1 '[2001:db8::10]:25'
	expect_action DUNNO 2001:db8:1:3::1 2001:db8::10
	sessions open 6 2001:db8:1:4::1 '[2001:db8::10]:25'
	expect_action "$(refusal 2001:db8:1:4::1/128)" 2001:db8:1:4::1 2001:db8::10
	sessions open 3 2001:db8:1:4::2 '[2001:db8::10]:25'
	expect_action '521 5.7.0 go: 9 8 2001:db8:1:4::/64!' 2001:db8:1:4::2 2001:db8::10
}

# nat64_sessions: opens 6 and 15 translated sessions from two addresses of one IPv4 /24, and 5 from
# an IPv6 /64.
nat64_sessions() {
	sessions_start
	sessions <<-'END'
		listen *:25
		open 6 64:ff9b::203.0.113.1 [2001:db8::46]:25
		open 15 64:ff9b::203.0.113.2 [2001:db8::46]:25
		open 5 2001:db8:1:2::1+ [2001:db8::10]:25
	END
}

@test "NAT64: with a listener of their own, IPv4 clients are limited by their address and network" {
	example conncount-policyd.8 NAT64 1 | sed '1i [conncount]\ngroup = nogroup\n' | configure raw
	load
	nat64_sessions
	example conncount-policyd.8 NAT64 2 | policy
	policyd_start --listen "$SOCKET"
	expect_action "$(refusal 64:ff9b::cb00:7101/128)" 64:ff9b::203.0.113.1 2001:db8::46
	expect_action "$(refusal 64:ff9b::cb00:7100/120)" 64:ff9b::203.0.113.3 2001:db8::46
	expect_action DUNNO 64:ff9b::203.0.114.1 2001:db8::46
	expect_action DUNNO 2001:db8:1:2::9 2001:db8::10
	sessions open 1 2001:db8:1:2::1 '[2001:db8::10]:25'
	expect_action "$(refusal 2001:db8:1:2::/64)" 2001:db8:1:2::9 2001:db8::10
}

@test "NAT64: without a listener of their own, all IPv4 clients count as one; they can be allowed" {
	load
	nat64_sessions
	policy <<<'limit{ v4 = 32, v6 = 64, sessions = 5 }'
	policyd_start --listen "$SOCKET"
	expect_action "$(refusal 64:ff9b::/64)" 64:ff9b::203.0.114.1 2001:db8::46
	{
		example conncount-policyd.8 NAT64 3
		echo 'limit{ v4 = 32, v6 = 64, sessions = 5 }'
	} | policy
	kill -HUP "$POLICYD"
	wait_until logged 1 'allowed networks 1'
	expect_action DUNNO 64:ff9b::203.0.113.1 2001:db8::46
	sessions open 1 2001:db8:1:2::1 '[2001:db8::10]:25'
	expect_action "$(refusal 2001:db8:1:2::/64)" 2001:db8:1:2::9 2001:db8::10
}

# ports CLIENT PORT: prints the client's port of each of its sessions with the server's PORT.
ports() {
	sessions ledger | awk -v client="$1" -v port="$2" '$1 == client && $4 == port { print $2 }'
}

# talk SCRIPT: runs SCRIPT in bash in the test's cgroup and network namespace. In it, `dial NAME`
# connects to the service, `say NAME REQUEST...` sends a request on that connection, and
# `hear NAME WANT` reads an answer.
talk() {
	export -f fail expect_eq request refusal sessions ports
	export TEST_DIR BUILD
	# shellcheck disable=SC2016
	expect 0 in_ns bash -e -c '
		dial() {
			exec {fd}<>/dev/tcp/127.0.0.1/10126
			declare -g "$1=$fd"
		}
		say() {
			request "${@:2}" >&"${!1}"
		}
		hear() {
			local answer rest
			read -r -t 20 -u "${!1}" answer && read -r -t 20 -u "${!1}" rest
			expect_eq "action=$2" "$answer$rest" "answer to $1"
		}'"$1"
}

@test "of clients that connect at once, the first are accepted, up to the limit" {
	sessions_setup
	echo 'limit{ v4 = 32, sessions = 4 }' | policy
	policyd_start --listen 127.0.0.1:10126
	# shellcheck disable=SC2016
	talk '
		mapfile -t port < <(ports 203.0.113.1 25)
		for i in {0..5}; do
			dial c$i
			say c$i 203.0.113.1 192.0.2.10 25 "${port[i]}"
			# The other request makes the service read the requests in this order.
			dial other
			say other 203.0.112.9 192.0.2.10
			hear other DUNNO
		done
		# Two are refused and leave; then no more than the limit are open.
		for i in 4 5; do
			hear c$i "$(refusal 203.0.113.1/32)"
			sessions close server $((i + 1))
		done
		for i in {0..3}; do
			hear c$i DUNNO
		done
		# One more is too many, and so is another while the first has not left.
		for i in 4 5; do
			sessions open 1 203.0.113.1 192.0.2.10:25
			say c$i 203.0.113.1 192.0.2.10 25 "$(ports 203.0.113.1 25 | tail -n 1)"
			hear c$i "$(refusal 203.0.113.1/32)"
		done
		# An accepted session leaves; the refused ones do not.
		sessions close server 3
		sessions open 1 203.0.113.1 192.0.2.10:25
		say c2 203.0.113.1 192.0.2.10 25 "$(ports 203.0.113.1 25 | tail -n 1)"
		hear c2 DUNNO
		# The service is asked about a refused one again.
		say c2 203.0.113.1 192.0.2.10 25 "$(ports 203.0.113.1 25 | tail -n 2 | head -n 1)"
		hear c2 "$(refusal 203.0.113.1/32)"'
}

@test "of link-local clients that connect at once, the first are accepted, up to the limit" {
	requires ip
	load
	echo 'limit{ v6 = 128, sessions = 5 }' | policy
	policyd_start --listen 127.0.0.1:10126
	in_ns ip link add eth-a type veth peer name eth-b
	in_ns ip link set eth-a up
	in_ns ip link set eth-b up
	in_ns ip -6 address add fe80::5/64 dev eth-a nodad
	# The service is asked about each once all are open; refused ones are closed, as a server
	# would. An answer that waits for the count to fall comes when the others have left.
	expect 0 in_ns python3 -I -S - <<-'END'
		import contextlib, socket, sys
		at = socket.getaddrinfo("fe80::5%eth-a", 25, type=socket.SOCK_STREAM)[0][4]
		with socket.create_server(at, family=socket.AF_INET6) as server:
		    sessions, clients, asked = [], [], []
		    for _ in range(10):
		        clients.append(socket.socket(socket.AF_INET6))
		        clients[-1].connect(at)
		        sessions.append(server.accept()[0])
		for session in sessions:
		    asked.append(socket.create_connection(("127.0.0.1", 10126)))
		    asked[-1].sendall(("request=smtpd_access_policy\nprotocol_state=CONNECT\n"
		        "client_address=fe80::5\nclient_port=%d\nserver_address=fe80::5\nserver_port=25\n\n"
		        % session.getpeername()[1]).encode())
		    with contextlib.closing(socket.create_connection(("127.0.0.1", 10126))) as other:
		        other.sendall(b"request=smtpd_access_policy\nprotocol_state=CONNECT\n"
		            b"client_address=203.0.112.9\nserver_address=192.0.2.10\nserver_port=25\n\n")
		        other.recv(4096)
		answers = [None] * 10
		for number in [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]:
		    answers[number] = asked[number].recv(4096).decode()
		    if "421" in answers[number]:
		        sessions[number].close()
		let_in = ["DUNNO" in answer for answer in answers]
		if let_in != [True] * 5 + [False] * 5:
		    sys.exit(repr(answers))
	END
}

@test "sessions without a request count as well" {
	local port
	sessions_setup
	echo 'limit{ v4 = 32, sessions = 5 }' | policy
	policyd_start --listen "$SOCKET"
	port=$(ports 203.0.113.1 25 | tail -n 1)
	expect_action "$(refusal 203.0.113.1/32)" 203.0.113.1 192.0.2.10 25 "$port"
}

@test "a session keeps its first answer as long as it lasts" {
	sessions_setup
	echo 'limit{ v4 = 32, sessions = 1 }' | policy
	policyd_start --listen 127.0.0.1:10126
	sessions open 1 203.0.113.7 192.0.2.10:25
	# shellcheck disable=SC2016
	talk '
		port=$(ports 203.0.113.7 25)
		dial a
		say a 203.0.113.7 192.0.2.10 25 "$port"
		hear a DUNNO
		sessions open 3 203.0.113.7 192.0.2.10:25
		say a 203.0.113.7 192.0.2.10 25 "$port"
		hear a DUNNO
		# Another session, asked about on another connection and then on this one.
		port=$(ports 203.0.113.7 25 | tail -n 1)
		dial b
		for name in b a a; do
			say $name 203.0.113.7 192.0.2.10 25 "$port"
			hear $name "$(refusal 203.0.113.7/32)"
		done'
}

@test "no client waits for another that is delayed, sends slowly, or does not read" {
	local rc=0
	sessions_setup
	policy <<-END
		limit{ v4 = 24, sessions = 8, action = 'tarpit', delay = 0.1 }
		limit{ v4 = 32, sessions = 5, action = 'tarpit', delay = 90 }
		limit{ v6 = 48, sessions = 5, message = '$(printf '%0400d' 0)' }
	END
	policyd_start --listen 127.0.0.1:10126
	# shellcheck disable=SC2016
	talk '
		dial delayed
		say delayed 203.0.113.1 192.0.2.10
		dial slow
		request 203.0.113.9 192.0.2.10 | head -c 100 >&"$slow"
		dial other
		say other 203.0.112.9 192.0.2.10
		hear other DUNNO
		request 203.0.113.9 192.0.2.10 | tail -c +101 >&"$slow"
		hear slow DUNNO

		# Several requests at a time are answered in order.
		{ request 203.0.112.1 192.0.2.10; request 2001:db8:1:2::1 2001:db8::10; } >&"$slow"
		say slow 203.0.112.1 192.0.2.10
		hear slow DUNNO
		hear slow "421 4.7.0 $(printf %0400d 0)"
		hear slow DUNNO

		# A client that reads no answers is disconnected.
		dial deaf
		text=$(request 2001:db8:1:2::1 2001:db8::10)
		if yes "$text
" | head -c 100M 2>/dev/null >&"$deaf"; then
			fail "all was taken"
		fi
		say other 203.0.112.9 192.0.2.10
		hear other DUNNO

		# When the service ends, it answers a delayed client.
		kill -TERM '"$POLICYD"'
		hear delayed DUNNO'
	wait "$POLICYD" || rc=$?
	expect_eq 0 $rc 'exit status'
	logged 1 'disconnected a client that did not read its answer'
}

@test "100 reloads under load lose no request, and each valid policy is used" {
	local i load answers
	sessions_setup
	policies() {
		echo "limit{ v4 = 32, sessions = 5, message = '$1' }" | policy
	}
	policies even
	policyd_start --listen "$SOCKET" --listen 127.0.0.1:10126
	request 203.0.113.1 192.0.2.10 >"$TEST_DIR/request"
	# shellcheck disable=SC2016
	start_in_ns bash -c 'exec "$1" "$2" 4 <"$3" >"$4"' bash "$BUILD/tests/policy_client" "$SOCKET" \
		"$TEST_DIR/request" "$TEST_DIR/load"
	load=$STARTED
	for i in {1..100}; do
		case $((i % 3)) in
		0) policies even ;;
		1) policies odd ;;
		2) echo 'limit{' | policy ;;
		esac
		kill -HUP "$POLICYD"
		wait_until reloaded "$i"
	done
	kill -TERM "$load"
	wait "$load" || fail "$(<"$TEST_DIR/load")"
	expect_match '^requests [0-9]{3,} lost 0 ' "$(<"$TEST_DIR/load")"
	answers=$(sed -n 's/^ *[0-9]* action=//p' "$TEST_DIR/load" | sort)
	expect_eq $'421 4.7.0 even\n421 4.7.0 odd' "$answers" 'answers'
	logged 33 'not loaded: the previous policy stays in force'
}

# reloaded N: the policy was read N times after the start, with or without success.
reloaded() {
	local n
	n=$(grep -cE ': read: |: not loaded' "$TEST_DIR/policyd.log")
	expect_eq $(($1 + 1)) "$n" 'times that a policy was read'
}

@test "a policy with a mistake is refused at the start; at a reload the old policy stays in force" {
	local file=$TEST_DIR/policy.lua text want
	while IFS='|' read -r text want; do
		printf '\n%b\n' "$text" | policy
		expect 2 policyd --check -c "$file"
		expect_eq "conncount-policyd: $file:$want" "$errors" "messages about $text"
		expect_eq '' "$output" output
	done <<-'END'
		limit{|3: unexpected symbol near <eof>
		limt{}|2: attempt to call a nil value (global 'limt')
		limit(5)|2: limit: a table expected: limit{ v4 = 32, v6 = 64, sessions = 10 }
		limit{}|2: limit: sessions is missing: how many sessions may be open
		limit{ sessions = 5 }|2: limit: v4 and v6 are missing: the prefix length of the network to count
		\nlimit{ v4 = 33, sessions = 5 }|3: limit: v4 = 33: not a whole number from 0 to 32
		limit{ v6 = '64', sessions = 5 }|2: limit: v6 = '64': not a whole number from 0 to 128
		limit{ v4 = 32, sessions = 1.5 }|2: limit: sessions = 1.5: not a whole number from 0 to 9223372036854775807
		limit{ v4 = 32, limit = 5 }|2: limit: unknown field 'limit' (known: service, v4, v6, sessions, action, message, delay)
		limit{ v4 = 32, sessions = 5, action = 'drop' }|2: limit: action = 'drop': not 'defer', 'reject' or 'tarpit'
		limit{ v4 = 32, sessions = 5, delay = 5 }|2: limit: a delay with the action 'defer': only 'tarpit' has one
		limit{ v4 = 32, sessions = 5, action = 'tarpit', delay = 91 }|2: limit: delay = 91: not a number of seconds up to 90
		limit{ v4 = 32, sessions = 5, action = 'tarpit', message = 'x' }|2: limit: a message with the action 'tarpit', which sends none
		limit{ v4 = 32, sessions = 5, message = '{count}' }|2: limit: message = '{count}': unknown placeholder {count} (known: {network}, {open}, {limit})
		limit{ v4 = 32, sessions = 5, message = 'a\\nb' }|2: limit: message = 'a?b': not a line of ASCII
		limit{ v4 = 32, sessions = 5, service = 5 }|2: limit: service = 5: not a service name
		allow{ '10.0.0.0/8', '10.0.0.0/33' }|2: allow: '10.0.0.0/33': the length is over 32, the maximum for IPv4
		allow{ 5 }|2: allow: '5': string expected, got number
		allow '10.0.0.0/8'|2: allow: a table expected: allow{ '192.0.2.0/24' }
	END
	echo 'error{}' | policy
	expect 2 policyd --check -c "$file"
	expect_match "conncount-policyd: $file: table: " "$errors"
	rm "$file"
	expect 2 policyd -c "$file"
	expect_match "cannot open $file: No such file" "$errors"

	# A mistake at the start, and at a reload.
	sessions_setup
	echo 'limit{ v4 = 32, sessions = 5, action = 3 }' | policy
	expect 2 policyd -c "$file" --listen "$SOCKET"
	[ ! -e "$SOCKET" ] || fail 'it listens'
	echo 'limit{ v4 = 32, sessions = 5 }' | policy
	policyd_start --listen "$SOCKET"
	echo 'limit{ v4 = 32, sessions = 6, action = 3 }' | policy
	kill -HUP "$POLICYD"
	wait_until logged 1 "$file: not loaded: the previous policy stays in force"
	logged 1 "$file:1: limit: action = 3: not 'defer', 'reject' or 'tarpit'"
	expect_action "$(refusal 203.0.113.1/32)" 203.0.113.1 192.0.2.10
	echo 'limit{ v4 = 32, sessions = 6 }' | policy
	kill -HUP "$POLICYD"
	wait_until logged 2 "$file: read: limits 1, allowed networks 0"
	expect_action DUNNO 203.0.113.1 192.0.2.10
}

@test "a policy cannot run for ever, take all memory, or use files or processes" {
	local file=$TEST_DIR/policy.lua text want
	while IFS='|' read -r text want; do
		printf '%s\n' "$text" | policy
		expect 2 timeout 60 prlimit --as=4000000000 env LUA_CPATH="$BUILD/lua/5.4/?.so;;" \
			"$ROOT/lua/servers/policyd/conncount-policyd" --check -c "$file"
		expect_match "^conncount-policyd: $file:$want" "$errors" "messages about $text"
	done <<-'END'
		while true do end|1: takes too long: is there an endless loop\?$
		local function f() while true do pcall(f) end end f()|1: takes too long
		local function f() while true do xpcall(f, f) end end f()|1: takes too long
		local function f() while true do coroutine.resume(coroutine.create(f)) end end f()|1: takes too long
		while true do pcall(string.find, ('a'):rep(9000), '.-b') end|1: takes too long
		allow(setmetatable({}, { __index = function() return '10.0.0.0/8' end }))|1: takes too long
		error(setmetatable({}, { __tostring = function() while true do end end }))|1: takes too long
		(('a'):rep(30000)):find(('a*'):rep(20) .. 'b')|1: takes too long: a pattern with 20 repetitions, a text of 30000
		string.match(('a'):rep(60), ('a?'):rep(60) .. ('a'):rep(60))|1: takes too long: a pattern
		string.gsub(('x'):rep(99999), 'x-y', '')|1: takes too long: a pattern
		table.insert(setmetatable({}, { __len = function() return 1 << 60 end }), 1, 1)|1: takes too long: a table
		local s = 'x' while true do s = s .. s end|1: uses too much memory$
		local x = ('x'):rep(1 << 40)|1: takes too long: a text
		error(setmetatable({}, { __tostring = function() error{} end }))| the error value is a table$
		error(setmetatable({}, { __name = {} }))| table: 0x
		error()| nil$
		error('a\10b\27')|1: a[?]b[?]$
		coroutine.yield()| yields outside a coroutine$
		setmetatable({}, { __gc = function() while true do end end })|1: setmetatable: a policy cannot have finalizers$
		debug.sethook()|1: .*global 'debug'
		io.open('/etc/passwd')|1: .*global 'io'
		require 'io'|1: .*global 'require'
		os.execute('true')|1: .*field 'execute'
		load('\27Lua')()|1: attempt to call a nil value
		load(function() return 'x = 1 ' end)|1: load: a string expected$
		getmetatable('').__index.x = 1|1: .*global 'getmetatable'
	END
	# What a policy may use; and what it changes does not affect the program.
	policy <<-'END'
		local list = {}
		for network in ('10.0.0.0/8 192.0.2.1'):gmatch('%S+') do
			table.insert(list, network)
		end
		table.sort(list)
		allow(list)
		local name, value = ('  sessions = 5 '):match('^%s*(%w+)%s*=%s*(%w+)%s*$')
		local good, why = pcall(error, 'no')
		assert(not good and why == 'no')
		assert(select(2, xpcall(error, function(m) return m .. '!' end, 'no')) == 'no!')
		local each = coroutine.wrap(function(a) return coroutine.yield(a + 1) end)
		assert(each(1) == 2 and each(5) == 5)
		limit{ v4 = 32, sessions = load('return ' .. tonumber(value))(), message = string.format('%s!', name) }
		for i = 1, 10000 do
			allow{ ('10.0.%d.%d'):format(i // 256, i % 256) }
		end
		math.type, string.gsub, table.insert, tostring = nil, nil, nil, nil
		limit{ v6 = 64, sessions = 5, message = '{open} of {network}' }
	END
	expect 0 policyd --check -c "$file"
}

@test "an error in a call of the policy has the policy's file and line, and the function's name" {
	local file=$TEST_DIR/policy.lua text
	for text in "string.rep '/24'" "('x'):rep()" "table.concat{ {} }" "string.find('x', '[')"; do
		printf '%s\n' "limit{ v4 = 32, sessions = 5 }" "local x = $text" | policy
		expect 2 policyd --check -c "$file"
		expect_match "^conncount-policyd: $file:2: " "$errors" "$text"
	done
	expect_match "bad argument #2 to 'string.rep'" "$(printf "string.rep '/24'" | policy; policyd --check -c "$file" 2>&1)"
}

@test "a policy of any content is read, or refused with messages that name the file" {
	local seed=${POLICIES_SEED:-$RANDOM} n i rc file line read=0
	requires python3
	n=$(scaled 150 100)
	echo "POLICIES_SEED=$seed"
	mkdir "$TEST_DIR/policies"
	python3 -I -S "$TOOLS/policies.py" "$TEST_DIR/policies" "$n" "$seed"
	for ((i = 0; i < n; i++)); do
		rc=0 file=$TEST_DIR/policies/$i
		policyd --check -c "$file" >"$TEST_DIR/told" 2>&1 || rc=$?
		case $rc in
		0)
			read=$((read + 1))
			[ ! -s "$TEST_DIR/told" ] || fail "$(<"$TEST_DIR/told")" "$(<"$file")"
			;;
		2)
			[ -s "$TEST_DIR/told" ] || fail 'refused without a word:' "$(<"$file")"
			while IFS= read -r line; do
				[[ $line = "conncount-policyd: $file:"* && $line != *[[:cntrl:]]* ]] ||
					fail "message: $line" "$(<"$file")"
			done <"$TEST_DIR/told"
			;;
		*) fail "exit status $rc: $(<"$TEST_DIR/told")" "$(<"$file")" ;;
		esac
	done
	((read > 0 && read < n)) || fail "$read of $n were read"
}

@test "clients that leave before their answer do not end the service" {
	sessions_setup
	echo 'limit{ v4 = 32, sessions = 5 }' | policy
	policyd_start --listen "$SOCKET" --listen 127.0.0.1:10126
	# policyd_run restores the default action of SIGPIPE, by which a write to a client that has
	# left could end the service.
	flood_start "$SOCKET" 5 gone
	flood_start 127.0.0.1:10126 5 gone
	request 203.0.113.1 192.0.2.10 >"$TEST_DIR/request"
	expect 0 nsenter --net="$TEST_DIR/net" -- "$BUILD/tests/policy_client" "$SOCKET" 1 500 <"$TEST_DIR/request"
	expect_match 'requests 500 lost 0' "$output"
	kill -0 "$POLICYD"
}

@test "among 105 hostile clients no answer is lost, and little memory and log are used" {
	local rc=0 address memory
	requires python3
	sessions_setup
	echo 'limit{ v4 = 32, sessions = 5 }' | policy
	policyd_start --listen "$SOCKET" --listen 127.0.0.1:10126
	request 203.0.113.1 192.0.2.10 >"$TEST_DIR/request"
	flood_start 127.0.0.1:10126 7 lines many deaf half large bytes idle
	flood_start "$SOCKET" 7 lines many deaf half large bytes idle gone
	for address in "$SOCKET" 127.0.0.1:10126; do
		expect 0 nsenter --net="$TEST_DIR/net" -- "$BUILD/tests/policy_client" "$address" 1 20 \
			<"$TEST_DIR/request"
		expect_match 'lost 0 ' "$output"
		expect_match "[0-9] action=421 4.7.0 too many sessions from 203.0.113.1/32"'$' "$output"
	done
	# A connection that is kept open, with a request from time to time.
	# shellcheck disable=SC2016
	talk '
		dial honest
		for i in {1..20}; do
			say honest 203.0.113.1 192.0.2.10
			hear honest "$(refusal 203.0.113.1/32)"
		done'
	wait_until -t 30 logged 1 'disconnected a client that sent only part of a request'
	logged 1 'disconnected a client that sent too much'
	memory=$(awk '$1 == "VmHWM:" { print $2 }' "/proc/$POLICYD/status")
	((memory < 65536)) || fail "it took $memory kB"
	(($(wc -l <"$TEST_DIR/policyd.log") < 100)) || fail 'it logs too much' "$(<"$TEST_DIR/policyd.log")"
	# Clients that stay do not keep the service from ending.
	kill -TERM "$POLICYD"
	wait "$POLICYD" || rc=$?
	expect_eq 0 $rc 'exit status'
}

@test "an answer does not wait until all new connections are accepted" {
	local before
	requires strace
	sessions_setup
	echo 'limit{ v4 = 32, sessions = 5 }' | policy
	policyd_start --listen 127.0.0.1:10126
	export POLICYD PATIENCE NAP
	export -f wait_until nap fail
	# shellcheck disable=SC2016
	talk '
		trap "kill -CONT $POLICYD" EXIT
		dial honest
		say honest 203.0.113.1 192.0.2.10
		hear honest "$(refusal 203.0.113.1/32)"
		kill -STOP "$POLICYD"
		say honest 203.0.113.1 192.0.2.10
		for i in {1..100}; do
			dial c$i
			say c$i 203.0.113.1 192.0.2.10
		done
		strace -q -o "$TEST_DIR/trace" -e trace=accept4,write,sendmsg -p "$POLICYD" &
		wait_until grep -q "^TracerPid:.[1-9]" "/proc/$POLICYD/status"
		kill -CONT "$POLICYD"
		for i in {1..100}; do
			hear c$i "$(refusal 203.0.113.1/32)"
		done
		kill $!
		wait
		hear honest "$(refusal 203.0.113.1/32)"'
	expect_eq 100 "$(grep -c '^accept4(.* = [0-9]' "$TEST_DIR/trace")" 'connections accepted'
	before=$(sed '/action=/q' "$TEST_DIR/trace" | grep -c '^accept4')
	((before < 5)) || fail "$before connections were accepted before the answer"
}

@test "SIGTERM ends the service though a client does not read its answers" {
	local rc=0
	requires python3
	echo 'limit{ v4 = 32, sessions = 5 }' | policy
	policyd_start --listen "$SOCKET"
	flood_start "$SOCKET" 1 deaf
	kill -TERM "$POLICYD"
	wait "$POLICYD" || rc=$?
	expect_eq 0 $rc 'exit status'
}

@test "if file descriptors run out, new clients wait for idle ones, and the log says so once" {
	sessions_setup
	echo 'limit{ v4 = 32, sessions = 5 }' | policy
	NOFILE=128 policyd_start --listen 127.0.0.1:10126
	# All connect at once, and none closes its connection.
	# shellcheck disable=SC2016
	talk '
		for i in {1..150}; do
			dial c$i
			say c$i 203.0.113.1 192.0.2.10
		done
		for i in {1..150}; do
			hear c$i "$(refusal 203.0.113.1/32)"
		done'
	logged 1 'connections are in use: new clients wait'
}

@test "the example policy accepts an allowed relay, and does not refuse its neighbours" {
	cp "$ROOT/lua/servers/policyd/conncount-policy.lua" "$TEST_DIR/policy.lua"
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		open 30 192.0.2.1 198.51.100.1:25
		open 1 192.0.2.200 198.51.100.1:25
		open 5 203.0.113.1+ 198.51.100.1:25
		open 16 203.0.113.9 198.51.100.1:25
		open 1 203.0.113.77 198.51.100.1:25
	END
	policyd_start --listen "$SOCKET"
	expect_action DUNNO 192.0.2.1 198.51.100.1
	expect_action DUNNO 192.0.2.200 198.51.100.1
	expect_match '^421 4\.7\.0 .*203\.0\.113\.0/24' \
		"$(request 203.0.113.77 198.51.100.1 | ask "$SOCKET")" 'another neighbourhood'
}

@test "--listen takes an address and port, and rejects malformed ones and paths over 107 bytes" {
	local text want
	echo 'limit{ v4 = 32, sessions = 5 }' | policy
	while IFS='|' read -r text want; do
		expect 2 policyd -c "$TEST_DIR/policy.lua" --listen "$text"
		expect_match "conncount-policyd: --listen '.*': $want" "$errors" "messages about $text"
	done <<-END
		127.0.0.1:99999|the port is not a number from 1 to 65535
		127.0.0.1:0|the port is not a number from 1 to 65535
		127.0.0.1:0x50|the port is not a number from 1 to 65535
		127.0.0.1: 25|the port is not a number from 1 to 65535
		127.0.0.1:010126|the port is not a number from 1 to 65535
		10126|no ':PORT' after the address
		::1:10126|an IPv6 address with a port is written
		127.1:10126|
		localhost:10126|
		[127.0.0.1]:10126|
		:10126|
		$TEST_DIR/$(printf '%0120d' 0)|longer than 107 bytes
	END
	policyd_start --listen '[::1]:10126'
	expect 0 in_ns ss -Hltn 'src [::1]:10126'
	expect_match '\[::1\]:10126' "$output"
}

@test "while nothing is loaded, every client is accepted, and the log says so once" {
	local n
	echo 'limit{ v4 = 32, sessions = 5 } limit{ service = "smtp", v4 = 32, sessions = 0 }' | policy
	policyd_start --listen "$SOCKET"
	for n in 1 2; do
		request 203.0.113.1 192.0.2.10 | nsenter --net="$TEST_DIR/net" -- \
			"$BUILD/tests/policy_client" "$SOCKET" 2 500 >"$TEST_DIR/load"
		expect_match '^ +500 action=DUNNO$' "$(tail -n 1 "$TEST_DIR/load")"
		logged $n "every client is let in until sessions are counted again: $CONNCOUNT_DIR: not loaded"
		[ "$n" = 1 ] || break
		sessions_setup
		expect_action "$(refusal 203.0.113.1/32)" 203.0.113.1 192.0.2.10
		expect_action DUNNO 203.0.113.2 192.0.2.10
		logged 1 'conncount-policyd: sessions are counted again'
		# A port without a listener.
		for port in 26 26 26; do
			expect_action DUNNO 203.0.113.1 192.0.2.10 $port
		done
		logged 1 'no listener is configured for 192.0.2.10 port 26'
		kill -HUP "$POLICYD"
		wait_until logged 2 ': read: limits 2'
		logged 1 "these limits have no effect: 'smtp': unknown service type (known: SMTP,"
		expect 0 conncount unload
	done
}

@test "a malformed request is accepted, and the log says so once" {
	sessions_setup
	echo 'limit{ v4 = 32, v6 = 64, sessions = 0 }' | policy
	policyd_start --listen "$SOCKET"
	expect_action DUNNO unknown 192.0.2.10
	expect_action DUNNO 203.0.113.1 192.0.2.10 smtp
	expect_action DUNNO '' 192.0.2.10
	expect_action DUNNO 203.0.113.1/32 192.0.2.10
	expect_action DUNNO 203.0.113.1 192.0.2.10 25 99999
	expect_eq DUNNO "$(request 203.0.113.1 192.0.2.10 | grep -v '^server_' | ask "$SOCKET")"
	expect_eq DUNNO "$(printf 'junk\n\n' | ask "$SOCKET")"
	logged 1 'let in a client whose request lacks client_address, server_address or server_port'
	expect_action "$(refusal 203.0.113.1/32)" 203.0.113.1 192.0.2.10
}

@test "the service takes a service manager's sockets, replaces a stale one, refuses one in use" {
	local rc=0
	requires systemd-socket-activate
	sessions_setup
	echo 'limit{ v4 = 32, sessions = 5 }' | policy
	policyd_copy
	server_start "$TEST_DIR/policyd.log" setpriv --reuid=65534 --regid=65534 --clear-groups \
		systemd-socket-activate -l "$SOCKET" -l 127.0.0.1:10126 \
		-E "LUA_CPATH=$TEST_DIR/policyd/?.so;;" -E "CONNCOUNT_DIR=$CONNCOUNT_DIR" \
		"$TEST_DIR/policyd/conncount-policyd" -c "$TEST_DIR/policy.lua"
	POLICYD=$STARTED
	wait_until test -S "$SOCKET"
	wait_until listens 10126
	expect_action "$(refusal 203.0.113.1/32)" 203.0.113.1 192.0.2.10
	expect_eq "$(refusal 203.0.113.1/32)" \
		"$(request 203.0.113.1 192.0.2.10 | ask 127.0.0.1:10126)" 'over TCP'

	# In use.
	expect 1 policyd -c "$TEST_DIR/policy.lua" --listen "$SOCKET"
	expect_match "conncount-policyd: $SOCKET: cannot listen: EADDRINUSE" "$errors"
	expect 1 policyd -c "$TEST_DIR/policy.lua"
	expect_match 'conncount-policyd: 127.0.0.1:10126: cannot listen: EADDRINUSE' "$errors"
	expect 2 policyd -c "$TEST_DIR/policy.lua" --listen 10126
	expect_match "conncount-policyd: --listen '10126': no ':PORT' after the address" "$errors"

	# A killed service leaves its socket; one that SIGTERM ends removes it.
	kill -KILL "$POLICYD"
	wait "$POLICYD" || rc=$?
	[ -S "$SOCKET" ] || fail 'no socket is left'
	policyd_start --listen "$SOCKET"
	expect_action "$(refusal 203.0.113.1/32)" 203.0.113.1 192.0.2.10
	expect_eq 'srwxrwxrwx' "$(stat -c %A "$SOCKET")" mode
	server_stop "$POLICYD"
	[ ! -e "$SOCKET" ] || fail 'the socket is left'
}
