# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# kill -9 of servers, of clients, and of the command itself.

load ../lib/common
load ../lib/actors
load ../lib/instance

setup() {
	actors_setup
}

teardown() {
	actors_teardown
}

@test "kill -9 of the servers ends all of their 10,000 sessions" {
	local n
	n=$(scaled 1000 10)
	sessions_start
	sessions <<-END >/dev/null
		listen 192.0.2.1:25 one
		listen 192.0.2.2:25 two
		listen [2001:db8::1]:25 two
		open $((4 * n)) 10.0.0.1+ 192.0.2.1:25
		open $((4 * n)) 10.0.8.1+ 192.0.2.2:25
		open $((2 * n)) 2001:db8:1::1+ [2001:db8::1]:25
		queue $((n / 5)) 10.9.0.1+ 192.0.2.1:25
		shut client 1-$((n / 2))
		shut server $((n / 2 + 1))-$n
	END
	counted $((10 * n + n / 5))
	sessions kill one
	counted $((6 * n))
	expect_count 0 10.0.0.0/21
	expect_count $((4 * n)) 10.0.0.0/19
	sessions kill two
	nothing_left
}

@test "after kill -9 of the clients, 10,000 sessions count until the server closes them" {
	local n
	n=$(scaled 1000 10)
	sessions_start
	sessions listen '*:25'
	sessions open $((7 * n)) 10.0.0.1+ 192.0.2.1:25 >/dev/null
	sessions open $((3 * n)) 2001:db8:1::1+ '[2001:db8::1]:25' >/dev/null
	sessions queue $((n / 10)) 10.9.0.1+ 192.0.2.1:25 >/dev/null
	sessions kill client
	counted $((10 * n + n / 10))
	sessions accept
	sessions close server 1-$((5 * n))
	counted $((5 * n + n / 10))
	sessions close server
	nothing_left
}

# ended PID: waits for a process, and sets $ended to its exit status.
ended() {
	ended=0
	wait "$1" 2>/dev/null || ended=$?
}

@test "kill -9 of a reader, at any moment, does not change the counts" {
	requires speed
	local i pid killed=0 command commands=(list 'list -4 31' 'list --json' verify status count
		'count 10.0.0.0/9')
	sessions_start
	sessions listen '*:25'
	sessions open 4000 10.0.0.1+ 192.0.2.1:25 >/dev/null
	sessions open 500 2001:db8:1::1+ '[2001:db8::1]:25' >/dev/null

	# Killed while it writes: nothing reads the pipe.
	mkfifo "$TEST_DIR/pipe"
	exec 9<>"$TEST_DIR/pipe"
	conncount list >"$TEST_DIR/pipe" 3>&- &
	pid=$!
	wait_until grep -q pipe_write "/proc/$pid/wchan" "/proc/$pid/stack"
	kill -KILL "$pid"
	ended "$pid"
	expect_eq 137 "$ended" 'exit status of list'
	exec 9>&-
	counted 4500

	# Killed at a random moment.
	for i in {1..70}; do
		command=${commands[i % ${#commands[@]}]}
		# shellcheck disable=SC2086
		conncount $command >/dev/null 2>&1 3>&- &
		pid=$!
		sleep "0.00$((RANDOM % 10))"
		kill -KILL "$pid" 2>/dev/null || :
		ended "$pid"
		[ "$ended" != 137 ] || killed=$((killed + 1))
	done
	[ "$killed" -ge 10 ] || fail "only $killed were killed"
	counted 4500
	sessions open 1 10.7.7.7 192.0.2.1:25
	expect_count 1 10.7.7.7
	sessions close server
	nothing_left
}
