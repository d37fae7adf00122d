# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Debian's Postfix, configured as in conncount-policyd(8) to ask conncount-policyd, which has the
# limits of the README.

load ../lib/common
load ../lib/servers
load ../lib/policyd
load ../lib/instance

setup() {
	requires postfix setpriv
	instance_setup
	configure_smtp_with 'group = nogroup'
	load
	# The README's limits: 5 sessions of a client, 20 of its network.
	sed -n '/^limit{/p' "$ROOT/README.md" | policy
	policyd_patient
	policyd_start
}

teardown() {
	servers_stop
	instance_teardown
}

# mta_start [LINE...]: starts Postfix with the example and LINEs.
mta_start() {
	postfix_start < <(
		example conncount-policyd.8 POSTFIX 1
		printf '%s\n' "$@"
	)
}

# refused [CLIENT]: prints how many sessions of CLIENT, or in all, Postfix has refused.
refused() {
	grep -cE "reject: CONNECT from unknown\[${1:-.*}\]: 421 4\.7\.0 .* too many sessions from" \
		"$TEST_DIR/postfix.log" || :
}

expect_refused() {
	expect_eq "$1" "$(refused "${2:-}")" "refused ${2:-in all}"
}

@test "the sixth session of a client and the 21st of its /24 are refused, and no others" {
	local i
	mta_start
	smtp_start
	for i in 1 2 3 4; do
		expect_smtp "$(times 5 220) 421 421" open 7 "203.0.113.$i" 192.0.2.1:25
	done
	expect_smtp '421 421' open 2 203.0.113.5 192.0.2.1:25
	expect_smtp "$(times 5 220) 421" open 6 203.0.114.5 192.0.2.1:25
	expect_smtp "$(times 5 220) 421" open 6 2001:db8:1:2::5 '[2001:db8::1]:25'
	expect_smtp 421 open 1 2001:db8:1:2::6 '[2001:db8::1]:25'
	expect_smtp "$(times 5 220)" open 5 2001:db8:1:3::5 '[2001:db8::1]:25'
	# The refused clients have left, and no longer count.
	wait_until expect_count 20 203.0.113.0/24
	expect_count 35
	expect_refused 2 203.0.113.5
	expect_refused 13

	# An accepted session can send a message. A client that leaves makes room.
	expect_smtp "$(times 5 250)" mail 203.0.113.1
	smtp close 203.0.113.1
	expect_smtp "$(times 5 220) 421" open 6 203.0.113.5 192.0.2.1:25
	for i in 2 3 4 5; do
		smtp close "203.0.113.$i"
	done
	smtp close 203.0.114.5
	smtp close 2001:db8:1:2::5
	smtp close 2001:db8:1:3::5
	wait_until expect_count 0
	expect 0 conncount verify
}

# herd: prints 20 clients and how many sessions each opens, all at the same time. Ten clients are
# alone in their /24: each keeps 5 of its 10 sessions. Ten more are in two /24s of five clients:
# each client may keep 5, and each /24 keeps 20 of its 50.
herd() {
	local i
	for i in {1..10}; do
		echo "10.0.$i.1 10"
	done
	for i in {1..5}; do
		echo "198.51.100.$i 10"
		echo "203.0.113.$i 10"
	done
}

@test "of 200 parallel sessions from 20 addresses, exactly those over the limits are refused" {
	local client n i=0 gate
	mta_start 'default_process_limit = 250' \
		'smtpd_data_restrictions = check_policy_service { inet:127.0.0.1:10127, default_action=DUNNO }'
	# Accepted sessions wait at DATA until this second service ends, which delays its answers.
	echo "limit{ v4 = 0, sessions = 0, action = 'tarpit', delay = 90 }" | policy
	policyd_run gate.log -c "$TEST_DIR/policy.lua" --listen 127.0.0.1:10127
	gate=$STARTED
	wait_until policyd_listens "$gate"

	# The kernel chooses the source address of smtp-source: another one for each destination.
	while read -r client n; do
		in_ns ip route add local "192.0.2.$((++i))" dev lo src "$client"
		yes "192.0.2.$i:25" | head -n "$n"
	done < <(herd) >"$TEST_DIR/destinations"
	# No session is judged before the last one is open.
	kill -STOP "$POLICYD"
	mkdir "$TEST_DIR/source"
	# shellcheck disable=SC2016
	server_start "$TEST_DIR/source.log" "$TOOLS/in-packages" "$TEST_DIR/source" postfix -- bash -c '
		while read -r to; do
			smtp-source -f from@example.org -t to@localhost "$to" & pids+=($!)
		done <"$1"
		for pid in "${pids[@]}"; do
			wait "$pid" && echo delivered || echo refused
		done' bash "$TEST_DIR/destinations"
	wait_until -t 60 expect_count 200
	expect_refused 0
	kill -CONT "$POLICYD"

	wait_until -t 60 expect_refused 110
	wait_until expect_count 90
	for i in {1..10}; do
		expect_refused 5 "10.0.$i.1"
		expect_count 5 "10.0.$i.1"
	done
	expect_refused 30 '198\.51\.100\..*'
	expect_count 20 198.51.100.0/24
	expect_refused 30 '203\.0\.113\..*'
	expect_count 20 203.0.113.0/24
	for i in {1..5}; do
		[ "$(conncount count "198.51.100.$i")" -le 5 ] || fail "too many from 198.51.100.$i"
		[ "$(conncount count "203.0.113.$i")" -le 5 ] || fail "too many from 203.0.113.$i"
	done

	# The accepted sessions deliver their mail, and end.
	kill -TERM "$gate"
	wait "${SERVERS[-1]}"
	expect_eq 90 "$(grep -cx delivered "$TEST_DIR/source.log")" delivered
	expect_eq 110 "$(grep -cx refused "$TEST_DIR/source.log")" refused
	expect_refused 110
	wait_until expect_count 0
	expect 0 conncount list --json
	expect_eq '' "$(json entries <<<"$output" | tr -d '[]')" 'networks with sessions'
	expect 0 conncount verify
}
