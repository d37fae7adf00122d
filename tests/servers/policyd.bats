# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# conncount-policyd: which clients it refuses.

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

@test "a limit for inbound_cidr is about SMTP sessions, counted on all hosts of the cluster" {
	sessions_setup
	policy <<-'END'
		limit{ service = 'inbound_cidr', v4 = 32, sessions = 5 }
	END
	policyd_start --listen "$SOCKET"
	# In no cluster, these are the host's.
	expect_action "$(refusal 203.0.113.1/32)" 203.0.113.1 192.0.2.10
	expect_action DUNNO 203.0.113.2 192.0.2.10
	expect_action DUNNO 203.0.113.1 192.0.2.10 587
	logged 0 'no effect'
}

@test "limits apply by service, family and length in the file's order, not to allowed clients" {
	sessions_setup
	policy <<-'END'
		allow{ '198.51.100.0/24', '2001:db8:1:3::/64' }
		allow{ '192.0.2.0/24' }
		limit{ v4 = 32, sessions = 5 }
		limit{ v4 = 24, v6 = 64, sessions = 8, action = 'reject', message = 'go: {open} {limit} {network}!' }
		limit{ v6 = 128, sessions = 5 }
		limit{ service = 'submission', v4 = 32, sessions = 1 }
		limit{ service = 'submission', v4 = 24, sessions = 0 }
	END
	policyd_start --listen "$SOCKET" --listen 127.0.0.1:10126
	expect_action "$(refusal 203.0.113.1/32)" 203.0.113.1 192.0.2.10
	expect_action '521 5.7.0 go: 9 8 203.0.113.0/24!' 203.0.113.2 192.0.2.10
	expect_action DUNNO 203.0.112.2 192.0.2.10
	expect_action "$(refusal 203.0.113.1/32)" 203.0.113.1 192.0.2.10 587
	expect_action "$(refusal 203.0.113.0/24)" 203.0.113.2 192.0.2.10 587
	expect_action DUNNO 2001:db8:1:2::1 2001:db8::10
	expect_action "$(refusal 203.0.113.1/32)" ::ffff:203.0.113.1 ::ffff:192.0.2.10
	expect_eq "$(refusal 203.0.113.1/32)" \
		"$(request 203.0.113.1 192.0.2.10 | ask 127.0.0.1:10126)" 'over TCP'
	sessions open 6 198.51.100.1 192.0.2.10:25
	expect_action DUNNO 198.51.100.1 192.0.2.10
	sessions open 9 2001:db8:1:3::1 '[2001:db8::10]:25'
	expect_action DUNNO 2001:db8:1:3::1 2001:db8::10
	sessions open 6 2001:db8:1:4::1 '[2001:db8::10]:25'
	expect_action "$(refusal 2001:db8:1:4::1/128)" 2001:db8:1:4::1 2001:db8::10
	sessions open 3 2001:db8:1:4::2 '[2001:db8::10]:25'
	expect_action '521 5.7.0 go: 9 8 2001:db8:1:4::/64!' 2001:db8:1:4::2 2001:db8::10
}

@test "NAT64: with a listener of their own, IPv4 clients are limited by their address and network" {
	example conncount-policyd.8 NAT64 1 | sed '1i [conncount]\ngroup = nogroup\n' | configure raw
	load
	nat64_sessions
	example conncount-policyd.8 NAT64 2 | policy
	policyd_start --listen "$SOCKET"
	expect_action "$(refusal 64:ff9b::cb00:7101/128)" 64:ff9b::203.0.113.1 2001:db8::46
	expect_action "$(refusal 64:ff9b::cb00:7100/120)" 64:ff9b::203.0.113.3 2001:db8::46
	expect_action DUNNO 64:ff9b::203.0.114.1 2001:db8::46
	expect_action DUNNO 2001:db8:1:2::9 2001:db8::10
	sessions open 1 2001:db8:1:2::1 '[2001:db8::10]:25'
	expect_action "$(refusal 2001:db8:1:2::/64)" 2001:db8:1:2::9 2001:db8::10
}

@test "NAT64: without a listener of their own, all IPv4 clients count as one; they can be allowed" {
	load
	nat64_sessions
	policy <<<'limit{ v4 = 32, v6 = 64, sessions = 5 }'
	policyd_start --listen "$SOCKET"
	expect_action "$(refusal 64:ff9b::/64)" 64:ff9b::203.0.114.1 2001:db8::46
	{
		example conncount-policyd.8 NAT64 3
		echo 'limit{ v4 = 32, v6 = 64, sessions = 5 }'
	} | policy
	kill -HUP "$POLICYD"
	wait_until logged 1 'allowed networks 1'
	expect_action DUNNO 64:ff9b::203.0.113.1 2001:db8::46
	sessions open 1 2001:db8:1:2::1 '[2001:db8::10]:25'
	expect_action "$(refusal 2001:db8:1:2::/64)" 2001:db8:1:2::9 2001:db8::10
}

@test "of clients that connect at once, the first are accepted, up to the limit" {
	sessions_setup
	echo 'limit{ v4 = 32, sessions = 4 }' | policy
	policyd_patient
	policyd_start --listen 127.0.0.1:10126
	# shellcheck disable=SC2016
	talk '
		mapfile -t port < <(ports 203.0.113.1 25)
		for i in {0..5}; do
			dial c$i
			say c$i 203.0.113.1 192.0.2.10 25 "${port[i]}"
			# The other request makes the service read the requests in this order.
			dial other
			say other 203.0.112.9 192.0.2.10
			hear other DUNNO
		done
		# Two are refused and leave; then no more than the limit are open.
		for i in 4 5; do
			hear c$i "$(refusal 203.0.113.1/32)"
			sessions close server $((i + 1))
		done
		for i in {0..3}; do
			hear c$i DUNNO
		done
		# One more is too many, and so is another while the first has not left.
		for i in 4 5; do
			sessions open 1 203.0.113.1 192.0.2.10:25
			say c$i 203.0.113.1 192.0.2.10 25 "$(ports 203.0.113.1 25 | tail -n 1)"
			hear c$i "$(refusal 203.0.113.1/32)"
		done
		# An accepted session leaves; the refused ones do not.
		sessions close server 3
		sessions open 1 203.0.113.1 192.0.2.10:25
		say c2 203.0.113.1 192.0.2.10 25 "$(ports 203.0.113.1 25 | tail -n 1)"
		hear c2 DUNNO
		# The service is asked about a refused one again.
		say c2 203.0.113.1 192.0.2.10 25 "$(ports 203.0.113.1 25 | tail -n 2 | head -n 1)"
		hear c2 "$(refusal 203.0.113.1/32)"'
}

# windows_configure: adds windows of an hour to the configuration.
windows_configure() {
	sed -i 's/^\[conncount]$/&\nwindow = 3600,1/' "$CONFIG"
}

@test "a limit with a window is of connections opened in it, by service, of closed sessions too" {
	local port
	windows_configure
	sessions_setup
	policy <<-'END'
		limit{ v4 = 32, v6 = 64, connections = 5, window = '3600,1', message = '{open} {limit} {network}' }
		limit{ v4 = 24, connections = 9, window = '3600, 1', action = 'reject' }
		limit{ service = 'submission', v4 = 32, connections = 1, window = '3600,1', action = 'tarpit', delay = 0.01 }
		limit{ service = 'submission', v4 = 24, connections = 2, window = '3600,1' }
	END
	policyd_start --listen "$SOCKET"
	# A session that is over the limit does not wait.
	port=$(ports 203.0.113.1 25 | tail -n 1)
	expect_action '421 4.7.0 6 5 203.0.113.1/32' 203.0.113.1 192.0.2.10 25 "$port"
	sessions close both
	expect_count 0
	expect_action '421 4.7.0 6 5 203.0.113.1/32' 203.0.113.1 192.0.2.10
	expect_action DUNNO 203.0.113.2 192.0.2.10
	expect_action '421 4.7.0 6 5 2001:db8:1:2::/64' 2001:db8:1:2::9 2001:db8::10
	expect_action DUNNO 203.0.113.1 192.0.2.10 587
	sessions open 1 203.0.113.3 192.0.2.10:25
	expect_action '521 5.7.0 too many connections from 203.0.113.0/24' 203.0.113.3 192.0.2.10
	sessions open 1 203.0.113.3 192.0.2.10:587
	expect_action '421 4.7.0 too many connections from 203.0.113.0/24' 203.0.113.3 192.0.2.10 587
}

@test "later connections are not held against a session that waits" {
	windows_configure
	sessions_setup
	policy <<-'END'
		limit{ v4 = 32, sessions = 4 }
		limit{ v4 = 32, connections = 6, window = '3600,1' }
	END
	policyd_patient
	policyd_start --listen 127.0.0.1:10126
	# shellcheck disable=SC2016
	talk '
		mapfile -t port < <(ports 203.0.113.1 25)
		for i in {0..5}; do
			dial c$i
			say c$i 203.0.113.1 192.0.2.10 25 "${port[i]}"
			# The other request makes the service read the requests in this order.
			dial other
			say other 203.0.112.9 192.0.2.10
			hear other DUNNO
		done
		sessions open 1 203.0.113.1 192.0.2.10:25
		for i in 4 5; do
			hear c$i "$(refusal 203.0.113.1/32)"
		done
		# The two leave, and so does the other one, which was never asked about.
		for i in 5 6 18; do
			sessions close server $i
		done
		for i in {0..3}; do
			hear c$i DUNNO
		done'
}

@test "a window that is not configured limits nobody, and the log says so once; other limits apply" {
	sessions_setup
	policy <<-'END'
		limit{ v4 = 32, v6 = 64, connections = 5, window = '3600,1' }
		limit{ v4 = 24, sessions = 8 }
	END
	policyd_start --listen "$SOCKET"
	expect_action "$(refusal 203.0.113.0/24)" 203.0.113.1 192.0.2.10
	expect_action DUNNO 2001:db8:1:2::9 2001:db8::10
	logged 1 'no effect'
	logged 1 "these limits have no effect: window = '3600,1': no such window is configured (configured: none; add 'window = 3600,1'"
	logged 0 'let in'
	windows_configure
	load
	sessions open 6 203.0.112.7 192.0.2.10:25
	expect_action '421 4.7.0 too many connections from 203.0.112.7/32' 203.0.112.7 192.0.2.10
}

@test "of link-local clients that connect at once, the first are accepted, up to the limit" {
	requires ip
	load
	echo 'limit{ v6 = 128, sessions = 5 }' | policy
	policyd_patient
	policyd_start --listen 127.0.0.1:10126
	in_ns ip link add eth-a type veth peer name eth-b
	in_ns ip link set eth-a up
	in_ns ip link set eth-b up
	in_ns ip -6 address add fe80::5/64 dev eth-a nodad
	# The service is asked about each once all are open; refused ones are closed, as a server
	# would. An answer that waits for the count to fall comes when the others have left.
	expect 0 in_ns python3 -I -S - <<-'END'
		import contextlib, socket, sys
		at = socket.getaddrinfo("fe80::5%eth-a", 25, type=socket.SOCK_STREAM)[0][4]
		with socket.create_server(at, family=socket.AF_INET6) as server:
		    sessions, clients, asked = [], [], []
		    for _ in range(10):
		        clients.append(socket.socket(socket.AF_INET6))
		        clients[-1].connect(at)
		        sessions.append(server.accept()[0])
		for session in sessions:
		    asked.append(socket.create_connection(("127.0.0.1", 10126)))
		    asked[-1].sendall(("request=smtpd_access_policy\nprotocol_state=CONNECT\n"
		        "client_address=fe80::5\nclient_port=%d\nserver_address=fe80::5\nserver_port=25\n\n"
		        % session.getpeername()[1]).encode())
		    with contextlib.closing(socket.create_connection(("127.0.0.1", 10126))) as other:
		        other.sendall(b"request=smtpd_access_policy\nprotocol_state=CONNECT\n"
		            b"client_address=203.0.112.9\nserver_address=192.0.2.10\nserver_port=25\n\n")
		        other.recv(4096)
		answers = [None] * 10
		for number in [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]:
		    answers[number] = asked[number].recv(4096).decode()
		    if "421" in answers[number]:
		        sessions[number].close()
		let_in = ["DUNNO" in answer for answer in answers]
		if let_in != [True] * 5 + [False] * 5:
		    sys.exit(repr(answers))
	END
}

@test "sessions without a request count as well" {
	local port
	sessions_setup
	echo 'limit{ v4 = 32, sessions = 5 }' | policy
	policyd_start --listen "$SOCKET"
	port=$(ports 203.0.113.1 25 | tail -n 1)
	expect_action "$(refusal 203.0.113.1/32)" 203.0.113.1 192.0.2.10 25 "$port"
}

@test "a session keeps its first answer as long as it lasts" {
	sessions_setup
	echo 'limit{ v4 = 32, sessions = 1 }' | policy
	policyd_start --listen 127.0.0.1:10126
	sessions open 1 203.0.113.7 192.0.2.10:25
	# shellcheck disable=SC2016
	talk '
		port=$(ports 203.0.113.7 25)
		dial a
		say a 203.0.113.7 192.0.2.10 25 "$port"
		hear a DUNNO
		sessions open 3 203.0.113.7 192.0.2.10:25
		say a 203.0.113.7 192.0.2.10 25 "$port"
		hear a DUNNO
		# Another session, asked about on another connection and then on this one.
		port=$(ports 203.0.113.7 25 | tail -n 1)
		dial b
		for name in b a a; do
			say $name 203.0.113.7 192.0.2.10 25 "$port"
			hear $name "$(refusal 203.0.113.7/32)"
		done'
}

# nat64_sessions: opens 6 and 15 translated sessions from two addresses of one IPv4 /24, and 5 from
# an IPv6 /64.
nat64_sessions() {
	sessions_start
	sessions <<-'END'
		listen *:25
		open 6 64:ff9b::203.0.113.1 [2001:db8::46]:25
		open 15 64:ff9b::203.0.113.2 [2001:db8::46]:25
		open 5 2001:db8:1:2::1+ [2001:db8::10]:25
	END
}
