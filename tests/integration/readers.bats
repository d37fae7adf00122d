# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Readers: what they see under churn, several threads with one handle, and what an ordinary user
# may do.

load ../lib/common
load ../lib/instance

time_limit 900

setup() {
	instance_setup
	GROUP=root
	configuration '*:25'
	load
	READERS=()
}

teardown() {
	local pid
	for pid in "${READERS[@]}"; do
		kill "$pid" 2>/dev/null || :
		wait "$pid" || :
	done
	instance_teardown
}

# configuration LISTEN [MAX_PREFIXES]
configuration() {
	configure raw <<-END
		[conncount]
		group = $GROUP
		max_prefixes = ${2:-1048576}
		[smtp]
		listen = $1
		service = SMTP
	END
}

# --- under churn --------------------------------------------------------------------------------

# ask_lua STEADY: asks for random networks around 10.1.2.3 until $TEST_DIR/stop exists. Prints how
# often it asked, and the greatest answer; creates $TEST_DIR/lua.saw once that exceeds STEADY. Fails
# if there is no answer, if one is negative, or if one is less than the STEADY sessions that
# 10.1.2.200 has all the time.
ask_lua() {
	"$LUA" - "$1" "$TEST_DIR/stop" "$TEST_DIR/lua.saw" <<-'END'
		local audit = require("msys.audit")
		local steady, stop, saw = tonumber(arg[1]), arg[2], arg[3]
		local asked, greatest = 0, 0
		math.randomseed(4711)
		local function stopped()
			local file = io.open(stop)
			return file and file:close()
		end
		repeat
			for _ = 1, 500 do
				local last = ({3, 4, 5, 6, 7, 200})[math.random(6)]
				local length = math.random(0, 32)
				local network = ("10.1.2.%d/%d"):format(last, length)
				local within = length == 32 and last == 200 or length < 32 and
					math.floor(last / 2 ^ (32 - length)) == math.floor(200 / 2 ^ (32 - length))
				local count, message = audit.inbound_session_count(network, "SMTP")
				if type(count) ~= "number" or count < (within and steady or 0) then
					error(("%s: %s %s"):format(network, count, message))
				end
				greatest = math.max(greatest, count)
				asked = asked + 1
			end
			if saw and greatest > steady then
				io.open(saw, "w"):close()
				saw = nil
			end
		until stopped()
		print(asked, greatest)
	END
}

# ask_list STEADY...: lists, with random prefix lengths, until $TEST_DIR/stop exists. Prints how
# many lists it got, and the greatest count; creates the reader's $TEST_DIR/NAME.saw once that
# exceeds 3, and it got 20 lists (scaled). Each STEADY is `COUNT ADDRESS`. Fails if a list has a
# network twice, or a count that is not positive; or if it does not have each ADDRESS: with exactly
# COUNT at full length, with COUNT or more in a shorter network.
ask_list() {
	local length lists=0 greatest=0 got file enough
	enough=$(scaled 20)
	file=$(mktemp "$TEST_DIR/list.XXXXXX")
	while [ ! -e "$TEST_DIR/stop" ]; do
		length=$((RANDOM % 3 ? 32 : RANDOM % 33))
		conncount list -4 "$length" -6 128 >"$file" || return
		got=$("$LUA" - "$file" "$length" "$@" <<-'END'
			local length, seen, most = tonumber(arg[2]), {}, 0
			for line in io.lines(arg[1]) do
				local count, prefix = line:match("^ *(%d+)  *(%S+)$")
				count = assert(tonumber(count), line)
				assert(not seen[prefix], "listed twice: " .. line)
				assert(count > 0, line)
				seen[prefix] = count
				most = math.max(most, count)
			end
			-- Of an IPv4 address, the network of that length.
			local function network(address)
				local bytes, left = {}, length
				for byte in address:gmatch("%d+") do
					local unit = 2 ^ (8 - math.max(0, math.min(8, left)))
					table.insert(bytes, ("%d"):format(byte - byte % unit))
					left = left - 8
				end
				return table.concat(bytes, ".") .. "/" .. length
			end
			for i = 3, #arg do
				local count, address = arg[i]:match("^(%d+) (%S+)$")
				local prefix, exact = address .. "/128", true
				if not address:find(":") then
					prefix, exact = network(address), length == 32
				end
				local found = seen[prefix] or 0
				if found < tonumber(count) or exact and found ~= tonumber(count) then
					error(("%s of %s: %d, not %s"):format(prefix, address, found, count))
				end
			end
			print(("%d"):format(most))
		END
		) || return
		((got <= greatest)) || greatest=$got
		lists=$((lists + 1))
		((greatest <= 3 || lists < enough)) || : >"$TEST_DIR/$READER.saw"
	done
	printf '%d\t%d\n' "$lists" "$greatest"
}

# reader NAME COMMAND...: starts a reader, whose output goes to $TEST_DIR/NAME.out.
reader() {
	local READER=$1
	shift
	"$@" >"$TEST_DIR/$READER.out" 2>"$TEST_DIR/$READER.err" 3>&- &
	READERS+=("$!")
}

# readers_saw NAME...: whether each of these readers saw enough, or one of all has ended: then it failed.
readers_saw() {
	local name pid
	for pid in "${READERS[@]}"; do
		kill -0 "$pid" 2>/dev/null || return 0
	done
	for name; do
		[ -e "$TEST_DIR/$name.saw" ] || return
	done
}

# readers_end NAME...: ends these readers, and fails if one of them saw something wrong.
readers_end() {
	local i name
	: >"$TEST_DIR/stop"
	for name; do
		i=${READERS[0]}
		READERS=("${READERS[@]:1}")
		wait "$i" || fail "$name: $(cat "$TEST_DIR/$name.err")" || return
		[ ! -s "$TEST_DIR/$name.err" ] || fail "$name: $(cat "$TEST_DIR/$name.err")" || return
		echo "$name: $(cat "$TEST_DIR/$name.out")"
	done
}

# greatest NAME: sets $greatest to the greatest count that a reader saw, and $asked to how often it
# asked.
greatest() {
	read -r asked greatest <"$TEST_DIR/$1.out"
}

@test "during 1,000,000 connections, no reader sees a count below 0 or above the most ever open" {
	requires churn lua
	local most=3 name
	sessions_start
	sessions listen 192.0.2.9:25
	sessions open 3 10.1.2.200 192.0.2.9:25
	sessions listen '[2001:db8::1]:25'
	sessions open 2 2001:db8::7 '[2001:db8::1]:25'
	reader lua ask_lua 3
	reader list ask_list '3 10.1.2.200' '2 2001:db8::7'
	# Repeat if the churn was over before a slow reader saw any of it.
	until readers_saw lua list; do
		expect 0 in_ns "$BUILD/tests/churn" --procs 8 --connections "$(scaled 1000000)" \
			--to 192.0.2.1:25 --from-base 10.1.2.3 --addresses 4 --seconds 800
		expect_match ' most=([0-9]+) ' "$output"
		((BASH_REMATCH[1] + 3 <= most)) || most=$((BASH_REMATCH[1] + 3))
	done
	readers_end lua list
	for name in lua list; do
		greatest "$name"
		[ "$greatest" -le "$most" ] || fail "$name saw $greatest, more than the $most there were"
		[ "$greatest" -gt 3 ] || fail "$name saw nothing of the churn"
		[ "$asked" -ge "$(scaled 20)" ] || fail "$name asked only $asked times"
	done
	expect 0 conncount verify
	expect_match '^0 differences: [0-9]+ prefixes of 5 sessions' "$output"
	expect_count 3 10.1.2.0/24
	expect_count 5
	sessions close server
	nothing_left
}

@test "a list under churn has each network once, and always those that stay" {
	requires speed
	requires churn
	local first second
	sessions_start
	sessions <<-'END' >/dev/null
		listen 192.0.2.9:25
		listen [2001:db8::1]:25
		open 1 9.255.255.255 192.0.2.9:25
		open 2 10.1.0.9 192.0.2.9:25
		open 3 10.1.2.100 192.0.2.9:25
		open 4 10.1.2.101 192.0.2.9:25
		open 1 10.1.5.109 192.0.2.9:25
		open 2 10.2.0.1 192.0.2.9:25
		open 1 223.0.0.1 192.0.2.9:25
		open 5 2001:db8::7 [2001:db8::1]:25
	END
	local steady=('1 9.255.255.255' '2 10.1.0.9' '3 10.1.2.100' '4 10.1.2.101' '1 10.1.5.109'
		'2 10.2.0.1' '1 223.0.0.1' '5 2001:db8::7')
	reader list ask_list "${steady[@]}"
	reader again ask_list "${steady[@]}"
	while :; do
		start_in_ns "$BUILD/tests/churn" --procs 2 --connections "$(scaled 60000)" --to 192.0.2.1:25 \
			--from-base 10.1.1.1 --addresses 200
		first=$STARTED
		start_in_ns "$BUILD/tests/churn" --procs 2 --connections "$(scaled 60000)" --to 192.0.2.2:25 \
			--from-base 10.1.2.110 --addresses 700
		second=$STARTED
		wait "$first"
		wait "$second"
		# Repeat if a slow reader got few lists.
		! readers_saw list again || break
	done
	readers_end list again
	sessions close server
	nothing_left
}

# --- one handle, many threads -------------------------------------------------------------------

# threads CYCLES TOOL...: runs TOOL, whose threads share one handle, during CYCLES loads of all
# kinds, and unloads. A nice TOOL does not make the loads wait for a processor.
threads() {
	local i pid cycles=$1
	shift
	sessions_start
	sessions <<-'END' >/dev/null
		listen 192.0.2.1:25
		listen [2001:db8::1]:25
		open 7 10.1.2.3 192.0.2.1:25
		open 7 2001:db8::7 [2001:db8::1]:25
	END
	mkfifo "$TEST_DIR/go"
	"$@" "$CONNCOUNT_DIR" 7 <"$TEST_DIR/go" >"$TEST_DIR/threads.out" \
		2>"$TEST_DIR/threads.err" 3>&- &
	pid=$!
	READERS=("$pid")
	exec 8>"$TEST_DIR/go"
	for ((i = 1; i <= cycles; i++)); do
		case $((i % 4)) in
		0) conncount unload ;;
		1) configuration '*:25' ;;                # as it was, or loaded again
		2) configuration '*:25' $((1000 + i)) ;;  # other maps
		3) configuration $'*:25\nlisten = *:26' $((999 + i)) ;;
		esac
		load
		sleep 0.05
	done
	exec 8>&-
	i=0
	wait "$pid" || i=$?
	READERS=()
	cat "$TEST_DIR/threads.out"
	[ "$i" = 0 ] || fail "exit status $i" "$(head -n 40 "$TEST_DIR/threads.err")"
	expect_match '^answers=[1-9][0-9]+ ' "$(cat "$TEST_DIR/threads.out")"
	expect_count 14
	sessions close server
	nothing_left
}

@test "threads that share a handle get right answers through loads, reloads and unloads" {
	requires speed
	threads "$(scaled 16 4)" nice -n 10 "$BUILD/tests/threads"
}

@test "ThreadSanitizer finds no error in threads that share a handle" {
	requires speed
	requires gcc
	local tool=$BATS_TEST_TMPDIR/tsan/tests/threads
	echo 'int main(void) { return 0; }' >"$TEST_DIR/probe.c"
	gcc -fsanitize=thread -o "$TEST_DIR/probe" "$TEST_DIR/probe.c" 2>/dev/null &&
		setarch -R "$TEST_DIR/probe" || skip 'no ThreadSanitizer here'
	# It knows no fences. The only one is about what the kernel writes, which it cannot see.
	expect 0 make -s -C "$ROOT" BUILD="$BATS_TEST_TMPDIR/tsan" \
		CFLAGS='-O1 -g -fsanitize=thread -Wno-tsan' "$tool"
	threads 8 setarch -R env TSAN_OPTIONS=halt_on_error=1 "$tool"
}

# --- permissions -------------------------------------------------------------------------------

# for_group: loads an instance that the group daemon may read, and opens two sessions.
for_group() {
	requires setpriv
	GROUP=daemon
	configuration '*:25'
	load
	sessions_start
	sessions listen '*:25'
	sessions open 2 10.1.2.3 192.0.2.1:25
}

@test "a member of the group can read counts, lists and status" {
	requires speed
	for_group
	local command
	for command in count 'count 10.0.0.0/9' 'count --listener smtp' list 'list -4 31' status; do
		# shellcheck disable=SC2086
		expect 0 as_user daemon conncount $command
		expect_eq '' "$errors" "messages of $command"
		expect_match 2 "$output" "$command"
	done
	for command in 'count --json' 'list --json' 'status --json'; do
		# shellcheck disable=SC2086
		expect 0 as_user daemon conncount $command
		expect_eq true "$(json exact <<<"$output")" "$command"
	done
}

@test "a member of the group cannot change anything" {
	for_group
	expect 0 as_user daemon python3 -I -S "$TEST_DIR/copy/poke.py" "$CONNCOUNT_DIR"
	expect_eq '' "$output" 'what could be done'

	local command
	for command in "load -c $CONFIG --cgroup ${CGROUP:?}" unload verify; do
		# shellcheck disable=SC2086
		expect 1 as_user daemon conncount $command
		expect_eq '' "$output" "output of $command"
		expect_match '(run as root|[Nn]eeds root|as root)' "$errors" "$command"
		[ "$(wc -l <<<"$errors")" -le 2 ] || fail "$command: too much is said"
	done
	sessions open 1 10.1.2.3 192.0.2.1:25
	expect_count 3 10.1.2.3
	expect 0 conncount verify
}

@test "poke.py finds what root can change" {
	requires speed
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP" --dir "$TEST_DIR/j"
	remember
	expect 0 python3 -I -S "$TOOLS/poke.py" "$TEST_DIR/j"
	local what
	for what in 'update configs' 'delete from listeners' 'freeze configs' 'map control' \
		'detach link sockops' 'detach link release' 'update link release' 'pin counts' 'pin sum' \
		'get hold of a map' 'get hold of a prog' 'rename the maps'; do
		expect_match "$what" "$output"
	done
	umount "$TEST_DIR/j"
	rmdir "$TEST_DIR/j"
}
