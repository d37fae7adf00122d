# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# example.bash - the example server of lua/example in a test, and SMTP clients for it. Call
# example_stop before instance_teardown, or use
#	setup() { example_setup; }
#	teardown() { example_teardown; }

SERVER_PID=

example_setup() {
	instance_setup
	configure <<-'END'
		[mx]
		listen = *:25
		service = SMTP
		[console]
		listen = *:2025
		service = Control
	END
}

example_teardown() {
	local rc=0
	example_stop || rc=1
	instance_teardown || rc=1
	return $rc
}

# example_start SERVER POLICY...: starts SERVER on 192.0.2.10:25, [2001:db8::10]:25 and, for the
# service Control, 192.0.2.10:2025.
example_start() {
	local server=$1
	shift
	start_in_ns "$server" -l 192.0.2.10:25 -l '[2001:db8::10]:25' -l 192.0.2.10:2025 "$@" \
		>"$TEST_DIR/server.out" 2>"$TEST_DIR/server.log"
	SERVER_PID=$STARTED
	wait_until example_answered
	grep -qx 'server: ready' "$TEST_DIR/server.log" || fail "$(<"$TEST_DIR/server.log")"
}

# example_answered: the server is ready, or has ended.
example_answered() {
	grep -qx 'server: ready' "$TEST_DIR/server.log" || ! kill -0 "$SERVER_PID"
}

# example_stop: ends the server, and fails if its exit status is not 0.
example_stop() {
	local pid=$SERVER_PID rc=0
	[ -n "$pid" ] || return 0
	SERVER_PID=
	kill -TERM "$pid"
	wait "$pid" || rc=$?
	[ $rc -eq 0 ] || fail "server: exit status $rc" "$(<"$TEST_DIR/server.log")"
}

# talk: runs tests/tools/talk.py on stdin. Sets $output to the replies, with HOST for the host's
# name.
talk() {
	expect 0 in_ns python3 -I -S "$TOOLS/talk.py"
	output=$(printf '%s' "$output" | sed "s/^\([^ ]* [0-9]*[ -]\(2.0.0 \)\?\)$(uname -n)/\1HOST/")
}

# expect_said TEXT
expect_said() {
	expect_eq "$1" "$output" dialogue
}

# expect_log PATTERN: expects a line of the server's log to match, and no other line in the log.
expect_log() {
	expect_eq '' "$(grep -vE "^(server: ready|$1)$" "$TEST_DIR/server.log")" "server's messages"
	grep -qE "^($1)$" "$TEST_DIR/server.log" || fail "not in the server's messages: $1" \
		"$(<"$TEST_DIR/server.log")"
}
