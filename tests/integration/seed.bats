# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Sessions that were open before counting began: load counts each exactly once, wherever it is.

load ../lib/common
load ../lib/instance

setup() {
	# load can count a session in an accept queue only if the kernel can watch sockets that are
	# already open. Without that, the tests have the server accept these sessions.
	QUEUE=queue
	have watch-open || QUEUE=open
	instance_setup
	configure_smtp
}

teardown() {
	local directory
	for directory in in out; do
		[ ! -d "${CGROUP_PATH:-/none}/$directory" ] || end_all_in "$CGROUP_PATH/$directory"
	done
	instance_teardown
}

# end_all_in DIRECTORY: kills the processes of a cgroup, and removes the cgroup.
end_all_in() {
	local pid
	while read -r pid; do
		kill -KILL "$pid" 2>/dev/null || :
	done <"$1/cgroup.procs"
	wait_until rmdir "$1"
}

# exactly COUNT: COUNT sessions are counted, and the kernel's socket list agrees.
exactly() {
	expect 0 conncount status
	counted "$1"
}

# elsewhere COMMAND...: starts tests/tools/elsewhere.py, and sets $ELSEWHERE to its process id.
elsewhere() {
	local command=$1
	shift
	rm -f "$TEST_DIR/$command"
	start_in_ns python3 -I -S "$TOOLS/elsewhere.py" "$command" "$TEST_DIR/$command" "$@"
	ELSEWHERE=$STARTED
	wait_until test -e "$TEST_DIR/$command"
}

elsewhere_end() {
	kill "$ELSEWHERE"
	wait "$ELSEWHERE" || :
}

@test "load counts open sessions exactly once: accepted, queued, half-closed, of both families" {
	sessions_start
	sessions <<-END
		listen *:25
		listen 192.0.2.7:25 other
		open 10 10.1.2.1+ 192.0.2.1:25
		open 3 10.1.2.1 192.0.2.7:25
		open 4 2001:db8::1 [2001:db8::25]:25
		$QUEUE 5 10.2.0.1 192.0.2.1:25
		$QUEUE 2 2001:db8::2 [2001:db8::25]:25
		shut client 1-2
		shut server 3
	END
	load
	exactly 24
	expect_count 13 10.1.2.0/24
	expect_count 4 10.1.2.1
	expect_count 5 10.2.0.1
	expect_count 6 2001:db8::/64
	expect_eq 18 "$(state listeners.0.ipv4.live)" 'IPv4: sessions on a dual-stack socket are'
	# A second load enters no session twice.
	load
	exactly 24

	[ "$QUEUE" = open ] || sessions accept
	exactly 24
	sessions close both 18-21
	exactly 20
	sessions reset client 1
	if [ "$QUEUE" = open ]; then
		expect_count 20 # its reset is known only when the server closes
		sessions close server 1
	fi
	sessions reset server 2
	sessions close server 3-8
	exactly 12
	sessions close server
	nothing_left
}

@test "two programs that create one socket's record at once leave no session uncounted" {
	local races=$BUILD/tests/races-2/conncount
	sessions_start
	sessions listen '*:25'
	sessions open 10 10.1.2.1+ 192.0.2.1:25
	expect 0 "$races" load -c "$CONFIG" --cgroup "$CGROUP"
	remember
	sessions open 10 10.1.2.1+ 192.0.2.1:25
	exactly 20
	expect_eq 0 "$(state uncounted)" uncounted
	sessions close both
	nothing_left
}

@test "load counts neither what the server has closed, nor TIME_WAIT, nor connections out of the port" {
	elsewhere outbound 25
	sessions_start
	sessions <<-'END'
		listen 192.0.2.1:25
		open 12 10.1.2.1+ 192.0.2.1:25
		close server 1-4
		close server 5-8
		close client 5-8
		open 1 10.3.0.1 192.0.2.1:25
	END
	time_wait() {
		[ "$(in_ns ss -Htn state time-wait sport = :25 | wc -l)" -eq 4 ]
	}
	wait_until time_wait
	expect_eq 4 "$(in_ns ss -Htn state fin-wait-2 sport = :25 | wc -l)" orphans
	expect_eq 1 "$(in_ns ss -Htn state established sport = :25 src 10.5.0.1 | wc -l)" outbound
	load
	exactly 5
	expect_count 1 10.3.0.1
	expect_count 0 10.5.0.0/16
	expect_count 0 192.0.2.0/24
	sessions close client 1-4
	sessions close server
	nothing_left
	elsewhere_end
	nothing_left
}

@test "connections out of a configured port that the kernel chose are not counted" {
	configure_smtp '[high]' 'listen = *:40025' 'listen = *:40027'
	elsewhere chosen 40025
	load
	exactly 4
	expect_count 4 10.5.0.3
	elsewhere_end
	nothing_left
	elsewhere chosen 40027
	exactly 4
	expect_count 4 10.5.0.3
	elsewhere_end
	nothing_left
}

@test "queued sessions that load counted end when the listener closes or its process dies" {
	requires watch-open
	sessions_start
	sessions <<-'END'
		listen *:25
		listen *:26 other
		queue 50 10.1.2.1+ 192.0.2.1:25
		queue 20 10.2.0.1+ 192.0.2.1:26
	END
	configure_smtp '[other]' 'listen = *:26'
	load
	exactly 70
	sessions unlisten '*:25'
	exactly 20
	expect_count 20 10.2.0.0/16
	sessions kill other
	nothing_left
}

@test "load counts sessions in several network namespaces, some held only by a socket" {
	local i n
	n=$(scaled 5 2)
	elsewhere "$QUEUE" 25 "$n"
	sessions_start
	sessions listen '*:25'
	sessions open 6 10.1.2.1+ 192.0.2.1:25
	# Another namespace, with processes in it.
	in_new_ns second_start
	sessions_at second listen '*:25'
	sessions_at second open 3 10.7.0.1 192.0.2.1:25
	sessions_at second "$QUEUE" 2 10.7.0.2 192.0.2.1:25
	expect_eq 1 "$(find /proc/[0-9]*/ns/net -printf '%l\n' 2>/dev/null |
		grep -Fxc "net:[$(stat -L -c %i "/proc/$ELSEWHERE/ns/net")]" |
		awk '{ print ($1 > 0) }')" 'the namespace that it is in'
	load
	exactly $((n * (n + 3) / 2 + 11))
	for ((i = 1; i <= n; i++)); do
		expect_count $i 10.5.$i.1
		expect_count 1 10.6.$i.1
	done
	expect_count 6 10.1.2.0/24
	expect_count 5 10.7.0.0/24
	load
	exactly $((n * (n + 3) / 2 + 11))
	# The sessions end with the processes and the namespaces.
	elsewhere_end
	wait_until exactly 11
	sessions_at second kill server
	exactly 6
	sessions close server
	sessions_at second quit
	tool_wait "$SECOND"
	nothing_left
}

@test "load in a PID namespace counts the open sessions of the servers there" {
	local first
	start_in_ns unshare --pid --fork --kill-child \
		python3 -I -S "$TOOLS/elsewhere.py" "$QUEUE" "$TEST_DIR/left" 25 2
	ELSEWHERE=$STARTED
	wait_until test -e "$TEST_DIR/left"
	first=$(tr -d ' ' <"/proc/$ELSEWHERE/task/$ELSEWHERE/children")
	expect_eq 1 "$(awk '/^NSpid:/ { print $3 }' "/proc/$first/status")" 'its own id'
	expect 0 nsenter --pid --target="$first" -- conncount load -c "$CONFIG" --cgroup "$CGROUP"
	remember
	exactly 5
	expect 0 nsenter --pid --target="$first" -- conncount verify
	expect_match '^0 differences: [0-9]+ prefixes of 5 sessions compared' "$output"
	kill -KILL "$first"
	wait "$ELSEWHERE" || :
	wait_until nothing_left
}

second_start() {
	tool_start sessions "$TEST_DIR/second.sock" "$TEST_DIR/net2"
	SECOND=$STARTED
	wait_until test -S "$TEST_DIR/second.sock"
}

# sessions_at NAME COMMAND...
sessions_at() {
	local name=$1
	shift
	"$BUILD/tests/tell" "$TEST_DIR/$name.sock" "$@"
}

@test "sessions of another cgroup on the same port are not counted" {
	local directory pids=()
	mkdir "$CGROUP_PATH/in" "$CGROUP_PATH/in/deep" "$CGROUP_PATH/out"
	for directory in in in/deep out; do
		CGROUP_PATH=$CGROUP_PATH/$directory tool_start sessions "$TEST_DIR/${directory##*/}.sock"
		pids+=("$STARTED")
	done
	sessions_at in listen 192.0.2.1:25
	sessions_at in open 4 10.1.0.1 192.0.2.1:25
	sessions_at in "$QUEUE" 2 10.1.0.2 192.0.2.1:25
	sessions_at deep listen 192.0.2.2:25
	sessions_at deep open 3 10.2.0.1 192.0.2.2:25
	sessions_at out listen 192.0.2.3:25
	sessions_at out open 7 10.3.0.1 192.0.2.3:25
	sessions_at out "$QUEUE" 1 10.3.0.2 192.0.2.3:25
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP/in"
	exactly 9
	expect_count 0 10.3.0.0/16
	expect_count 3 10.2.0.1
	sessions_at out close server from=10.3.0.1
	# Accepting the queued session does not make it one of ours.
	[ "$QUEUE" = open ] || sessions_at out accept
	exactly 9
	# All of them for the cgroup above, and then only those of the cgroup below.
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	exactly 10
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP/in/deep"
	exactly 3
	sessions_at deep close server
	expect_count 0
	expect 0 conncount unload
	for directory in in deep out; do
		sessions_at $directory quit
	done
	for directory in "${pids[@]}"; do
		tool_wait "$directory"
	done
	rmdir "$CGROUP_PATH/in/deep" "$CGROUP_PATH/in" "$CGROUP_PATH/out"
}

@test "added listeners count the open sessions that no listener has counted before" {
	sessions_start
	sessions <<-END
		listen *:25
		listen *:587
		listen 192.0.2.5:25 msa
		open 5 10.1.0.1 192.0.2.1:25
		open 4 10.1.0.2 192.0.2.1:587
		$QUEUE 3 10.1.0.3 192.0.2.5:25
		open 2 2001:db8::1 [2001:db8::2]:587
	END
	load
	expect_count 8
	# One listener for a port that none had, and one for an address that another has: sessions
	# that the other has counted stay its own.
	configure_smtp '[msa]' 'listen = *:587' '[inner]' 'listen = 192.0.2.5:25' 'service = Control'
	load
	exactly 14
	expect_count 6 --listener msa
	expect_count 8 --listener smtp
	expect_count 0 --listener inner
	[ "$QUEUE" = open ] || sessions accept
	sessions open 1 10.1.0.3 192.0.2.5:25
	expect_count 1 --listener inner
	expect_count 3 --listener smtp 10.1.0.3
	sessions close server
	nothing_left
	expect_count 0 --service Control
}
