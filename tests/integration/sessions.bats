# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# When a session is live: from the end of the handshake to the server's last close, or until the
# kernel ends the connection. No test waits for a count to become right: it must be right when
# sessions.py has answered a command.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	configure_smtp
	load_shared
	sessions_start
	sessions listen '*:25'
}

teardown() {
	instance_teardown
}

@test "without sessions, every count is 0" {
	expect_count 0
	expect_count 0 0.0.0.0/0
	expect_count 0 ::/0
	expect_nothing
}

@test "an open session is counted until the server closes it" {
	local before
	before=$(state listeners.0.opened)
	sessions open 3 10.1.2.3 192.0.2.1:25
	expect_count 3
	expect_count 3 10.1.2.3
	expect_eq 3 "$(state listeners.0.ipv4.live)"
	sessions close server 1
	expect_count 2 10.1.2.3
	sessions close server
	expect_nothing
	expect_eq $((before + 3)) "$(state listeners.0.opened)" opened
}

@test "a session that the client closes is counted until the server closes it" {
	sessions open 2 10.1.2.3 192.0.2.1:25
	sessions close client
	expect_count 2 10.1.2.3
	sessions close server 1
	expect_count 1 10.1.2.3
	sessions close server 2
	expect_nothing
}

@test "a shutdown by one side does not end a session; shutdowns by both sides do" {
	sessions open 3 2001:db8::7 '[2001:db8::1]:25'
	sessions shut client 1
	sessions shut server 2
	expect_count 3 2001:db8::7
	sessions shut client 3
	expect_count 3 2001:db8::7
	# Both FINs have arrived: the connection is gone, though the server keeps the socket.
	sessions shut server 3
	expect_count 2 2001:db8::7
	sessions shut client 2
	expect_count 1 2001:db8::7
	sessions close server
	expect_nothing
}

@test "orphans and sockets in TIME_WAIT are not counted" {
	sessions open 2 10.1.2.3 192.0.2.1:25
	# The server closes first: FIN_WAIT2 until the client closes, then TIME_WAIT.
	sessions close server
	expect_match 'FIN-WAIT-2' "$(in_ns ss -Htan 'sport = :25')"
	expect_count 0 10.1.2.3
	sessions close client
	wait_until in_ns sh -c 'ss -Htan "sport = :25" | grep -q TIME-WAIT'
	expect_nothing
}

@test "a session that the server closes ends, though the client's host does not answer" {
	sessions open 3 10.1.2.3 192.0.2.1:25
	sessions open 3 2001:db8::7 '[2001:db8::1]:25'
	network_down
	# The FIN gets no answer: the kernel keeps the connection, but the server no longer has it.
	sessions close server 1-5
	expect_match 'FIN-WAIT-1' "$(in_ns ss -Htan 'sport = :25')"
	expect_count 1
	expect_count 0 10.1.2.3
	sessions close server 6
	expect_nothing
	network_up
	sessions close client
	expect_nothing
}

@test "a reset by the client or by the server ends a session" {
	sessions open 4 10.1.2.3 192.0.2.1:25
	sessions reset client 1-2
	expect_count 2 10.1.2.3
	sessions reset server 3-4
	expect_nothing
	# When the server closes the file descriptors of reset sessions, no count decreases again.
	sessions close server 1-2
	expect_nothing
}

@test "a reset by either side ends a half-closed session" {
	sessions open 2 10.1.2.3 192.0.2.1:25
	sessions shut client 1
	sessions shut server 2
	expect_count 2
	sessions reset client 2
	expect_count 1
	sessions reset server 1
	expect_nothing
}

@test "queued sessions are counted before and after accept" {
	sessions queue 3 10.1.2.3 192.0.2.1:25
	expect_count 3 10.1.2.3
	sessions accept
	expect_count 3 10.1.2.3
	sessions close server
	expect_nothing
}

@test "a queued session that the client closes is counted; one that it resets is not" {
	sessions queue 3 10.1.2.3 192.0.2.1:25
	sessions close client 1
	expect_count 3 10.1.2.3
	sessions reset client 2
	expect_count 2 10.1.2.3
	sessions accept
	expect_count 2 10.1.2.3
	sessions close server
	expect_nothing
}

@test "closing a listener ends the sessions in its queue, and not the accepted ones" {
	sessions open 2 10.1.2.3 192.0.2.1:25
	sessions queue 3 10.1.2.3 192.0.2.1:25
	sessions queue 2 2001:db8::7 '[2001:db8::1]:25'
	sessions close client 3
	expect_count 7
	sessions unlisten '*:25'
	expect_count 2
	expect_count 2 10.1.2.3
	sessions close server
	expect_nothing
}

@test "kill -9 of the server ends its open, half-closed and queued sessions" {
	sessions open 20 10.1.2.3+ 192.0.2.1:25
	sessions open 20 2001:db8::7+ '[2001:db8::1]:25'
	sessions shut client 1-5
	sessions shut server 6-10
	sessions queue 4 10.9.9.9 192.0.2.1:25
	expect_count 44
	sessions kill server
	expect_nothing
}

@test "after kill -9 of the client, its sessions are counted until the server closes them" {
	sessions open 5 10.1.2.3 192.0.2.1:25
	sessions kill client
	expect_count 5 10.1.2.3
	sessions close server
	expect_nothing
}

@test "a session whose socket two processes share ends with the last close" {
	sessions open 5 10.1.2.3 192.0.2.1:25
	sessions share
	sessions close server 1-3
	expect_count 5 10.1.2.3
	sessions unshare
	expect_count 2 10.1.2.3
	sessions close server
	expect_nothing
}

@test "the session that asks is counted, in the process that accepted it" {
	requires lua
	sessions open 2 10.1.2.3 192.0.2.1:25
	sessions open 1 2001:db8::7 '[2001:db8::1]:25'
	local policy='require("msys.extended.ac")
		local ac = require("conncount").accept(3)
		print(ac:inbound_session_count(), ac:inbound_session_count("/8,/32"))'
	expect_eq $'2\t2' "$(sessions exec 1 "$LUA" -e "$policy")" IPv4-mapped
	expect_eq $'1\t1' "$(sessions exec 3 "$LUA" -e "$policy")" IPv6
	sessions open 1 10.1.2.4 192.0.2.1:25
	expect_eq $'1\t3' "$(sessions exec 4 "$LUA" -e "$policy")" 'another address'
}

@test "sessions of a server outside the cgroup are not counted" {
	# In the test's network namespace, but not in its cgroup.
	local outside=$TEST_DIR/outside.sock pid
	CGROUP_PATH=$CGROUP2_ROOT tool_start sessions "$outside"
	pid=$STARTED
	sessions unlisten '*:25'
	"$BUILD/tests/tell" "$outside" <<-'END'
		listen *:25
		open 3 10.1.2.3 192.0.2.1:25
	END
	expect_count 0
	sessions listen 192.0.2.2:25
	sessions open 1 10.1.2.3 192.0.2.2:25
	expect_count 1
	"$BUILD/tests/tell" "$outside" quit
	tool_wait "$pid"
	expect_count 1
}

@test "outgoing connections are not counted, to another port or to port 25" {
	# From the server's cgroup to a port that is not configured; and to port 25, where only the
	# server's end counts.
	sessions listen 198.51.100.9:2500 other
	sessions open 3 10.1.2.3 198.51.100.9:2500
	expect_count 0
	sessions open 1 192.0.2.1 192.0.2.1:25
	expect_count 1
	expect_count 1 192.0.2.1
}

@test "sessions of a real SMTP client with a real server are counted" {
	requires smtp-sink smtp-source
	local sink source
	sessions unlisten '*:25'
	# The sink delays its reply to MAIL, so that all sessions are open at once.
	start_in_ns smtp-sink -u nobody -W mail:60 inet:192.0.2.1:25 100
	sink=$STARTED
	wait_until in_ns sh -c 'ss -Htln "sport = :25" | grep -q .'
	start_in_ns smtp-source -s 20 -m 20 -f a@example.org -t b@example.org inet:192.0.2.1:25
	source=$STARTED
	wait_until expect_count 20
	expect_count 20 192.0.2.1
	expect_eq 20 "$(in_ns ss -Htn 'sport = :25' | wc -l)" 'sessions by ss'
	kill -KILL "$sink"
	wait "$sink" || :
	expect_nothing
	wait "$source" || : # fails because of its lost connections
}
