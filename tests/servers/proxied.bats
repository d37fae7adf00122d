# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Debian's servers behind Debian's HAProxy, configured as in conncount-servers(7): sessions are
# counted for HAProxy's clients.

load ../lib/common
load ../lib/servers
load ../lib/policyd
load ../lib/actors
load ../lib/instance

setup() {
	requires haproxy
	instance_setup
}

teardown() {
	servers_stop
	instance_teardown
}

# proxied PATH...: numbers of the listener of the proxy's sessions, from `status --json`.
proxied() {
	conncount status --json | json "${@/#/listeners.0.}" | tr '\n' ' '
}

# haproxy_config [SED]: configures HAProxy as in the manual, edited by SED, at 10.0.0.11.
haproxy_config() {
	example conncount-servers.7 'BEHIND A PROXY' 1 | sed "/^backend/a \    source 10.0.0.11
		${1:-}" >"$TEST_DIR/haproxy.cfg"
}

# haproxy_start: starts HAProxy in the test's network namespace, but not in its cgroup, as if it were
# on another host.
haproxy_start() {
	nsenter --net="$TEST_DIR/net" -- haproxy -W -f "$TEST_DIR/haproxy.cfg" \
		>"$TEST_DIR/haproxy.log" 2>&1 </dev/null 3>&- &
	SERVERS+=("$!")
	wait_until listens 25
}

# proxied_own N: HAProxy has had at least N sessions of its own.
proxied_own() {
	[ "$(proxied proxied.own)" -ge "$1" ]
}

# postfix_behind [LINE...]: starts Postfix with stdin in master.cf, and LINEs in main.cf.
postfix_behind() {
	cat >"$TEST_DIR/master.cf"
	postfix_start "$TEST_DIR/master.cf" < <(printf '%s\n' 'default_process_limit = 250' "$@")
}

# all_headers [OPTION...]: prints how to edit the manual's configuration to have three servers in
# turn: with each version, and with the options of version 2 that HAProxy 2.6 has in TCP mode.
all_headers() {
	local server="    server %s 192.0.2.10:10025 $* %s"
	server="$server\\\\n$server\\\\n$server"
	echo '/^frontend/a \    unique-id-format %ci:%cp_%ts'
	# shellcheck disable=SC2059
	printf "s/^ *server.*/$server/\n" v1 send-proxy v2 send-proxy-v2 \
		tlv 'send-proxy-v2-ssl-cn proxy-v2-options crc32c,unique-id,authority,ssl'
}

# one_session: a session through HAProxy is counted for its client, and no other.
one_session() {
	smtp_start
	expect_smtp '220 220' open 2 198.51.100.7 192.0.2.1:25
	expect_smtp 220 open 1 2001:db8:7::1 '[2001:db8::1]:25'
	expect_count 3
	expect_count 2 198.51.100.7
	expect_count 1 2001:db8:7::/64
	verified 3
	smtp close 198.51.100.7
	smtp close 2001:db8:7::1
	wait_until expect_count 0
	nothing_left
}

@test "Postfix: 200 sessions of 50 clients with all kinds of headers are counted for their clients" {
	requires postfix nft
	local i j backend total=0
	example conncount-servers.7 'BEHIND A PROXY' 2 | configure
	load
	postfix_behind < <(example conncount-servers.7 'BEHIND A PROXY' 3)
	# Counts the last ACKs of handshakes: those with the header, and those with nothing.
	in_ns nft -f - <<-'END'
		table inet t {
			set begun { type inet_service; flags dynamic; size 65535; }
			counter header { }
			counter nothing { }
			chain input {
				type filter hook input priority 0;
				tcp dport 10025 tcp flags & (syn | ack) == syn add @begun { tcp sport } accept
				tcp dport 10025 tcp sport @begun jump third
			}
			chain third {
				delete @begun { tcp sport }
				meta length > 60 counter name header accept
				counter name nothing
			}
		}
	END
	# HAProxy puts the header into the last ACK of the handshake for IPv4 clients, after it for IPv6.
	haproxy_config "$(all_headers)
		/^frontend/a \    use_backend smart if { src 0.0.0.0/0 }"
	backend=$(sed -n '/^backend/,$p' "$TEST_DIR/haproxy.cfg")
	printf '%s\n' "${backend/mta/$'smart\n    option tcp-smart-connect'}" >>"$TEST_DIR/haproxy.cfg"
	haproxy_start
	smtp_start
	for i in {1..5}; do
		expect_smtp "$(yes "$(times $((i + 1)) 220)" | head -n 5)" \
			crowd $((i + 1)) 192.0.2.1:25 198.51.{1..5}."$i"
		expect_smtp "$(yes "$(times $((i + 1)) 220)" | head -n 5)" \
			crowd $((i + 1)) '[2001:db8::1]:25' 2001:db8:7:{1..5}::"$i"
		total=$((total + 10 * (i + 1)))
		verified $total
	done
	expect_count 200
	for i in {1..5}; do
		for j in {1..5}; do
			expect_count $((i + 1)) "198.51.$j.$i"
			expect_count $((i + 1)) "2001:db8:7:$j::$i"
		done
		expect_count 20 "198.51.$i.0/24"
		expect_count 20 "2001:db8:7:$i::/64"
	done
	expect_count 100 198.51.0.0/16
	expect_count 100 2001:db8:7::/48
	expect_count 0 10.0.0.0/8
	expect_eq '0 0 200 0 ' "$(proxied awaiting unidentified proxied.identified proxied.own)" proxied
	expect 0 in_ns nft list counters
	expect_match 'header \{[^}]* packets 100 .* nothing \{[^}]* packets 100 ' "${output//[[:space:]]/ }"

	for i in {1..5}; do
		for j in {1..5}; do
			smtp close "198.51.$j.$i"
			smtp close "2001:db8:7:$j::$i"
		done
		verified $((200 - i * (i + 3) * 5))
	done
	nothing_left
}

# A check of version 2 says LOCAL, one of version 1 names HAProxy's own address.
@test "Postfix: HAProxy's health checks of both versions are counted under HAProxy, and end" {
	requires postfix
	example conncount-servers.7 'BEHIND A PROXY' 2 | configure
	load
	postfix_behind < <(example conncount-servers.7 'BEHIND A PROXY' 3)
	# Postfix accepts nothing meanwhile, so that the checks stay open.
	kill -STOP "${SERVERS[0]}"
	haproxy_config "$(all_headers check inter 100ms)
		s/^backend.*/&\n    timeout check 60s/"
	haproxy_start
	wait_until expect_count 3 10.0.0.11
	verified 3
	kill -CONT "${SERVERS[0]}"
	wait_until -t 30 proxied_own 12
	smtp_start
	expect_smtp "$(times 6 220)" open 6 198.51.100.7 192.0.2.1:25
	expect_count 6 198.51.100.0/24
	server_stop "${SERVERS[1]}"
	wait_until expect_count 0
	expect_eq '0 0 0 0 ' "$(proxied proxied.{absent,malformed,split,unread})" 'without a header'
	nothing_left
}

@test "Postfix: conncount-policyd limits the clients that HAProxy names" {
	requires postfix setpriv lua5.4
	{
		printf '[conncount]\ngroup = nogroup\n'
		example conncount-servers.7 'BEHIND A PROXY' 8
	} | configure raw
	load
	sed -n '/^limit{/p' "$ROOT/README.md" | policy
	policyd_start
	local lines
	mapfile -t lines < <(example conncount-policyd.8 POSTFIX 1)
	postfix_behind "${lines[@]}" < <(example conncount-servers.7 'BEHIND A PROXY' 3)
	# That address is HAProxy's there.
	haproxy_config 's/bind.*/bind 203.0.113.25:25/'
	haproxy_start
	smtp_start
	expect_smtp "$(times 5 220) 421" open 6 198.51.100.7 203.0.113.25:25
	expect_smtp "$(times 5 220)" open 5 198.51.100.8 203.0.113.25:25
	wait_until expect_count 5 198.51.100.7
	expect_count 10 198.51.100.0/24
	expect_lua 5 198.51.100.7 203.0.113.25:25 'audit.inbound_session_count("/32", "SMTP")'
}

@test "Postfix's postscreen: a session is counted once for HAProxy's client" {
	requires postfix
	example conncount-servers.7 'BEHIND A PROXY' 2 | configure
	load
	postfix_behind 'postscreen_greet_wait = 1s' < <(example conncount-servers.7 'BEHIND A PROXY' 4)
	haproxy_config 's/ check$//'
	haproxy_start
	one_session
}

@test "Exim: sessions are counted for HAProxy's clients" {
	# The light one cannot read the header.
	requires exim4-daemon-heavy
	example conncount-servers.7 'BEHIND A PROXY' 2 | configure
	load
	exim_start 10025 exim4-daemon-heavy < <(
		echo 'log_selector = +smtp_connection'
		example conncount-servers.7 'BEHIND A PROXY' 5
	)
	haproxy_config 's/ check$//'
	haproxy_start
	one_session
	expect_match 'connection from .*\[198.51.100.7\]' "$(<"$TEST_DIR/log/main")"
}

@test "OpenSMTPD: sessions are counted for HAProxy's clients" {
	requires opensmtpd
	example conncount-servers.7 'BEHIND A PROXY' 2 | configure
	load
	{
		example conncount-servers.7 'BEHIND A PROXY' 6
		printf '%s\n' 'action "local" mbox' 'match from any for local action "local"'
	} >"$TEST_DIR/smtpd.conf"
	opensmtpd_start "$TEST_DIR/smtpd.conf"
	haproxy_config 's/ check$//'
	haproxy_start
	one_session
	expect_match 'address=198.51.100.7 ' "$(<"$TEST_DIR/smtpd.log")"
}

@test "Dovecot: a session is counted for HAProxy's client" {
	requires dovecot-core dovecot-imapd
	example conncount-servers.7 'BEHIND A PROXY' 2 | configure
	load
	{
		printf '%s\n' 'protocols = imap' 'log_path = /dev/stderr' 'ssl = no' 'auth_mechanisms = anonymous'
		example conncount-servers.7 'BEHIND A PROXY' 7 | sed 's/10143/10025/'
	} >"$TEST_DIR/dovecot.conf"
	mkdir "$TEST_DIR/dovecot"
	# shellcheck disable=SC2016
	server_start "$TEST_DIR/dovecot.log" "$TOOLS/in-packages" "$TEST_DIR/dovecot" dovecot-core dovecot-imapd -- \
		bash -e -c '
		for name in dovecot dovenull; do
			id "$name" >/dev/null 2>&1 || useradd --system "$name"
		done
		# From 2.4 on, it must begin with the version that it is written for.
		sed -n "/^dovecot_[a-z]*_version/p" /usr/share/dovecot/dovecot.conf |
			cat - "$1" >/etc/dovecot/dovecot.conf
		exec /usr/sbin/dovecot -F' bash "$TEST_DIR/dovecot.conf"
	wait_until -t 60 listens 10025 || fail "$(<"$TEST_DIR/dovecot.log")"
	haproxy_config 's/ check$//'
	haproxy_start
	actor client
	act client <<-'END'
		import socket
		peer = socket.create_connection(("192.0.2.1", 25), 10, ("198.51.100.7", 0))
		assert peer.recv(99).startswith(b"* OK")
	END
	expect_count 1
	expect_count 1 198.51.100.7
	verified 1
	actor_kill client
	wait_until expect_count 0
	# A process of its own writes the log.
	wait_until grep -qF 'rip=198.51.100.7,' "$TEST_DIR/dovecot.log"
	nothing_left
}

@test "HAProxy and Postfix on one host: a session counts once with one listener, or two services" {
	requires postfix
	example conncount-servers.7 'BEHIND A PROXY' 10 | configure
	# Two listeners of the same service.
	sed -i '/^service/d; s/^namespaces.*/namespaces = all/' "$CONFIG"
	load
	postfix_behind < <(example conncount-servers.7 'BEHIND A PROXY' 3)
	example conncount-servers.7 'BEHIND A PROXY' 1 | sed 's/192.0.2.10:/127.0.0.1:/; s/ check$//' >"$TEST_DIR/haproxy.cfg"
	server_start "$TEST_DIR/haproxy.log" haproxy -W -f "$TEST_DIR/haproxy.cfg"
	wait_until listens 25
	smtp_start
	expect_smtp '220 220 220' open 3 198.51.100.7 192.0.2.1:25
	expect_count 6 198.51.100.7

	example conncount-servers.7 'BEHIND A PROXY' 10 | configure
	load
	expect_count 3 198.51.100.7
	expect_count 3 --service haproxy 198.51.100.7
	verified 6

	example conncount-servers.7 'BEHIND A PROXY' 9 | configure
	load
	expect_count 3 198.51.100.7
	expect_count 3
	expect 0 conncount verify
	smtp close 198.51.100.7
	wait_until expect_count 0
}
