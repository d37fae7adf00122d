# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# watch: prints a line when a network goes over the limit, and one when it comes back.

load ../lib/common
load ../lib/instance
load ../lib/watching

setup() {
	instance_setup
	configure_smtp '[control]' 'listen = 192.0.2.1:4000' 'service = Control'
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		listen *:4000
	END
}

teardown() {
	watch_stop
	instance_teardown
}

# at_once COMMAND: executes it in sessions.py while watch is stopped, so between two refreshes.
at_once() {
	kill -STOP "$WATCH"
	sessions "$@"
	kill -CONT "$WATCH"
}

@test "watch: prints a line when a network goes over N, and one when it is back at N or below" {
	sessions open 3 10.1.2.3 192.0.2.1:25
	sessions open 2 10.1.2.4 192.0.2.1:25
	watch --over 2
	wait_until saw 'over 10.1.2.3/32 3'
	at_once open 2 10.1.2.3 192.0.2.1:25
	at_once open 1 10.1.2.4 192.0.2.1:25
	wait_until saw 'over 10.1.2.3/32 3' 'over 10.1.2.4/32 3'
	at_once close server from=10.1.2.3/32
	wait_until saw 'over 10.1.2.3/32 3' 'over 10.1.2.4/32 3' 'back 10.1.2.3/32 0'
	at_once open 5 10.1.2.3 192.0.2.1:25
	wait_until saw 'over 10.1.2.3/32 3' 'over 10.1.2.4/32 3' 'back 10.1.2.3/32 0' \
		'over 10.1.2.3/32 5'
	at_once close server 4
	wait_until saw 'over 10.1.2.3/32 3' 'over 10.1.2.4/32 3' 'back 10.1.2.3/32 0' \
		'over 10.1.2.3/32 5' 'back 10.1.2.4/32 2'
	expect_match '^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z over ' "$(head -n 1 "$TEST_DIR/watched")"
	expect_eq '' "$(cat "$TEST_DIR/log")" messages
}

@test "watch: obeys the prefix lengths of both families, the service and the listener" {
	sessions open 2 10.1.2.3 192.0.2.1:25
	sessions open 2 10.1.2.4 192.0.2.1:25
	sessions open 2 2001:db8:1:2::1 '[2001:db8::1]:25'
	sessions open 2 2001:db8:1:2::2 '[2001:db8::1]:25'
	sessions open 9 10.1.2.4 192.0.2.1:4000
	watch --over 3 -4 24 -6 64
	wait_until saw 'over 10.1.2.0/24 4' 'over 2001:db8:1:2::/64 4'
	watch_stop
	watch --over 3 --prefix 24 --service Control
	wait_until saw 'over 10.1.2.0/24 9'
	watch_stop
	watch --over 3 --prefix 0 --listener control
	wait_until saw 'over 0.0.0.0/0 9'
}

@test "watch --json: prints one object a line" {
	sessions open 3 10.1.2.3 192.0.2.1:25
	watch --over 2 --json
	wait_until test -s "$TEST_DIR/watched"
	expect_eq over "$(json event <"$TEST_DIR/watched")"
	expect_eq 10.1.2.3/32 "$(json cidr <"$TEST_DIR/watched")"
	expect_eq 3 "$(json count <"$TEST_DIR/watched")"
	expect_eq 2 "$(json over <"$TEST_DIR/watched")"
	expect_eq SMTP "$(json service <"$TEST_DIR/watched")"
	expect_match 'Z$' "$(json time <"$TEST_DIR/watched")"
	sessions close server
	wait_until grep -q back "$TEST_DIR/watched"
	expect_eq back "$(tail -n 1 "$TEST_DIR/watched" | json event)"
	expect_eq 2 "$(wc -l <"$TEST_DIR/watched")" lines
}

@test "watch: waits through an unload, and prints only what has changed after the load" {
	sessions open 3 10.1.2.3 192.0.2.1:25
	sessions open 3 10.1.2.4 192.0.2.1:25
	watch --over 2
	wait_until saw 'over 10.1.2.3/32 3' 'over 10.1.2.4/32 3'
	conncount unload
	wait_until grep -q 'not loaded.*; waiting' "$TEST_DIR/log"
	sessions close server from=10.1.2.4/32
	load
	wait_until grep -q 'loaded again' "$TEST_DIR/log"
	# The network that is still over gets no new line.
	wait_until saw 'over 10.1.2.3/32 3' 'over 10.1.2.4/32 3' 'back 10.1.2.4/32 0'
	expect_eq 2 "$(wc -l <"$TEST_DIR/log")" messages
}

@test "watch: does not search the table if nothing changes or the total is not over N" {
	requires strace
	sessions open 3 10.1.2.3 192.0.2.1:25
	strace -f -q -e 'trace=bpf,/^p*poll$' -o "$TEST_DIR/trace" conncount watch --over 2 \
		>"$TEST_DIR/watched" 2>"$TEST_DIR/log" 3>&- &
	WATCH=$!
	slept() {
		[ "$(grep -c poll "$TEST_DIR/trace")" -ge "$1" ]
	}
	wait_until slept 3
	expect_eq "$(grep -c BATCH "$TEST_DIR/trace")" \
		"$(sed '/poll/,$d' "$TEST_DIR/trace" | grep -c BATCH)" searches
	saw 'over 10.1.2.3/32 3'
	# If all sessions together are not over the limit, watch never searches, whatever changes.
	kill "$(pgrep -P "$WATCH")"
	watch_stop
	strace -f -q -e 'trace=bpf,/^p*poll$' -o "$TEST_DIR/trace" conncount watch --over 100 \
		>"$TEST_DIR/watched" 2>"$TEST_DIR/log" 3>&- &
	WATCH=$!
	wait_until slept 1
	sessions open 3 10.1.2.4 192.0.2.1:25
	wait_until slept 3
	expect_eq 0 "$(grep -c BATCH "$TEST_DIR/trace")" searches
	kill "$(pgrep -P "$WATCH")"
}

@test "watch: no --over, an unknown name, nothing loaded or an output that is full is an error" {
	expect 2 conncount watch
	expect_match 'over' "$errors"
	expect 2 conncount watch --over 2 --service nonsense
	expect 2 conncount watch --over 2 --listener nonsense
	expect 1 conncount watch --over 2 --dir "$TEST_DIR/nowhere"
	expect_match 'not loaded' "$errors"
	sessions open 3 10.1.2.3 192.0.2.1:25
	expect 1 sh -c 'conncount watch --over 2 >/dev/full'
	expect_match 'cannot be written' "$errors"
}

@test "watch: SIGPIPE ends it when its reader leaves, even if nothing happens" {
	sessions open 3 10.1.2.3 192.0.2.1:25
	expect 0 python3 -I -S - <<-'END'
		import subprocess, sys
		with subprocess.Popen(["conncount", "watch", "--over", "2"], stdout=subprocess.PIPE,
		                      stderr=subprocess.PIPE) as watch:
		    print(watch.stdout.readline())
		    watch.stdout.close()
		    print(watch.stderr.read())
		    sys.exit(watch.wait() != -13)
	END
	expect_match "b'.* over 10.1.2.3/32 3.*'"$'\n'"b''" "$output"
}
