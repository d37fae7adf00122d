# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# conncount-policyd as a service: its sockets, hostile and slow clients, descriptors, its log.

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
	export -f wait_until strict nap fail
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
		tracer=$!
		wait_until grep -q "^TracerPid:.[1-9]" "/proc/$POLICYD/status"
		kill -CONT "$POLICYD"
		for i in {1..100}; do
			hear c$i "$(refusal 203.0.113.1/32)"
		done
		kill $tracer
		wait
		hear honest "$(refusal 203.0.113.1/32)"'
	expect_eq 100 "$(grep -c '^accept4(.* = [0-9]' "$TEST_DIR/trace")" 'connections accepted'
	before=$(sed '/action=/q' "$TEST_DIR/trace" | grep -c '^accept4')
	((before < 50)) || fail "$before connections were accepted before the answer"
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
	export POLICYD
	# All connect at once, and none closes its connection. The service sees none of them before all have sent their
	# requests: it would disconnect one that does not do so within a second.
	# shellcheck disable=SC2016
	talk '
		trap "kill -CONT $POLICYD" EXIT
		kill -STOP "$POLICYD"
		for i in {1..150}; do
			dial c$i
			say c$i 203.0.113.1 192.0.2.10
		done
		kill -CONT "$POLICYD"
		for i in {1..150}; do
			hear c$i "$(refusal 203.0.113.1/32)"
		done'
	logged 1 'connections are in use: new clients wait'
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
	expect_match '^srw[x-]rw[x-]rw[x-]$' "$(stat -c %A "$SOCKET")" mode
	server_stop "$POLICYD"
	[ ! -e "$SOCKET" ] || fail 'the socket is left'
}
