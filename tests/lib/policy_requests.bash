# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# policy_requests.bash - conncount-policyd without a mail server: the tests open the sessions and
# send the requests. Load servers.bash and policyd.bash before it, and instance.bash after it.

# policyd_setup: a place with a configuration, and the socket $SOCKET for the service.
policyd_setup() {
	requires lua5.4 setpriv
	instance_setup
	configure raw <<-'END'
		[conncount]
		group = nogroup
		[mx]
		listen = *:25
		service = SMTP
		[submission]
		listen = *:587
		service = submission
	END
	SOCKET=$TEST_DIR/policyd/sock
}

policyd_teardown() {
	sessions_stop
	servers_stop
	instance_teardown
}

# policyd OPTION...: runs conncount-policyd in the foreground.
policyd() {
	in_ns env LUA_CPATH="$BUILD/lua/5.4/?.so;;" "$ROOT/lua/servers/policyd/conncount-policyd" "$@"
}

# sessions_setup: loads, and opens 6 sessions of 203.0.113.1, 3 of 203.0.113.2 and 6 in one IPv6 /64
# to mx, and 2 of 203.0.113.1 to submission.
sessions_setup() {
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		listen *:587
		open 6 203.0.113.1 192.0.2.10:25
		open 3 203.0.113.2 192.0.2.10:25
		open 2 203.0.113.1 192.0.2.10:587
		open 6 2001:db8:1:2::1+ [2001:db8::10]:25
	END
}

# ask SOCKET: sends the requests on stdin, and prints the answers.
ask() {
	nsenter --net="$TEST_DIR/net" -- "$BUILD/tests/policy_client" "$1" 1 1 |
		sed -n 's/^ *1 action=//p'
}

# expect_action WANT CLIENT SERVER [PORT [CLIENTPORT]]
expect_action() {
	local want=$1 got
	shift
	got=$(request "$@" | ask "$SOCKET")
	expect_eq "$want" "$got" "request $*"
}

refusal() {
	echo "421 4.7.0 too many sessions from $1"
}

# ports CLIENT PORT: prints the client's port of each of its sessions with the server's PORT.
ports() {
	sessions ledger | awk -v client="$1" -v port="$2" '$1 == client && $4 == port { print $2 }'
}

# talk SCRIPT: runs SCRIPT in bash in the test's cgroup and network namespace. In it, `dial NAME`
# connects to the service, `say NAME REQUEST...` sends a request on that connection, and
# `hear NAME WANT` reads an answer.
talk() {
	export -f fail expect_eq request refusal sessions ports
	export TEST_DIR BUILD
	# shellcheck disable=SC2016
	expect 0 in_ns bash -e -c '
		dial() {
			exec {fd}<>/dev/tcp/127.0.0.1/10126
			declare -g "$1=$fd"
		}
		say() {
			request "${@:2}" >&"${!1}"
		}
		hear() {
			local answer rest
			read -r -t 20 -u "${!1}" answer && read -r -t 20 -u "${!1}" rest
			expect_eq "action=$2" "$answer$rest" "answer to $1"
		}'"$1"
}
