# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The policies of conncount-policyd: reloads, mistakes, and what they cannot do.

load ../lib/common
load ../lib/servers
load ../lib/policyd
load ../lib/policy_requests
load ../lib/instance

setup() {
	policyd_setup
}

teardown() {
	policyd_teardown
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
		limit{ v4 = 32, limit = 5 }|2: limit: unknown field 'limit' (known: service, v4, v6, sessions, connections, window, action, message, delay)
		limit{ v4 = 32, connections = 5 }|2: limit: window is missing: in which window to count connections, such as '60,1'
		limit{ v4 = 32, window = '60,1' }|2: limit: connections is missing: how many may be opened in the window
		limit{ v4 = 32, sessions = 5, window = '60,1' }|2: limit: sessions with window: a limit has either sessions, or connections and window
		limit{ v4 = 32, sessions = 5, connections = 5 }|2: limit: sessions with connections: a limit has either sessions, or connections and window
		limit{ v4 = 32, connections = -1, window = '60,1' }|2: limit: connections = -1: not a whole number from 0 to 9223372036854775807
		limit{ v4 = 32, connections = 5, window = 60 }|2: limit: window = 60: not 'SECONDS,WINDOWS', such as '60,1'
		limit{ v4 = 32, connections = 5, window = '60' }|2: limit: window = '60': not 'SECONDS,WINDOWS', such as '60,1'
		limit{ v6 = 96, connections = 5, window = '60,1' }|2: limit: v6 = 96 with window: not a whole number from 0 to 64, or 128
		limit{ v4 = 32, connections = 5, window = '60,1', service = 'inbound_cidr' }|2: limit: window with the service 'inbound_cidr': windows have only this host's connections; use 'SMTP'
		limit{ v4 = 32, sessions = 5, action = 'drop' }|2: limit: action = 'drop': not 'defer', 'reject' or 'tarpit'
		limit{ v4 = 32, sessions = 5, delay = 5 }|2: limit: a delay with the action 'defer': only 'tarpit' has one
		limit{ v4 = 32, sessions = 5, action = 'tarpit', delay = 91 }|2: limit: delay = 91: not a number of seconds up to 90
		limit{ v4 = 32, sessions = 5, action = 'tarpit', message = 'x' }|2: limit: a message with the action 'tarpit', which sends none
		limit{ v4 = 32, sessions = 5, message = '{count}' }|2: limit: message = '{count}': unknown placeholder {count} (known: {network}, {open}, {limit})
		limit{ v4 = 32, sessions = 5, message = 'a\\nb' }|2: limit: message = 'a?b': not a line of ASCII
		limit{ v4 = 32, sessions = 5, service = 5 }|2: limit: service = 5: not a service name
		allow{ '10.0.0.0/8', '10.0.0.0/33' }|2: allow: '10.0.0.0/33': the length is over 32, the maximum for IPv4
		allow{ 5 }|2: allow: '5': string expected, got number
		allow{ '10.0.0.0/8', partner = '192.0.2.0/24' }|2: allow: unknown field 'partner' (list networks without names: allow{ '192.0.2.0/24' })
		allow{ [0] = '192.0.2.0/24' }|2: allow: unknown field 0 (list networks without names: allow{ '192.0.2.0/24' })
		allow{ '10.0.0.0/8', partner, '192.0.2.0/24' }|2: allow: entry 2 is nil, and entry 3 would be ignored (remove entry 2, or check its name)
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

# reloaded N: the policy was read N times after the start, with or without success.
reloaded() {
	local n
	n=$(grep -cE ': read: |: not loaded' "$TEST_DIR/policyd.log")
	expect_eq $(($1 + 1)) "$n" 'times that a policy was read'
}
