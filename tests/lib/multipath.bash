# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# multipath.bash - a server and a client of Multipath TCP. Load actors.bash, too.

# multipath: starts an MPTCP server, and a client.
multipath() {
	requires mptcp
	actor server
	actor client
	act server "door = listen('192.0.2.1', 25, proto=MPTCP)"
}

# subflows: prints how many TCP connections are open on the server's side.
subflows() {
	in_ns ss -Htn state established 'sport = :25' | wc -l
}

has_subflows() {
	expect_eq "$1" "$(subflows)" subflows
}

# joined [accepted]: opens an MPTCP session of two subflows, from 10.1.2.3 and 10.1.2.4. The server
# accepts it, or leaves it in its queue.
joined() {
	multipath
	in_ns ip mptcp limits set subflow 2 add_addr_accepted 2
	in_ns ip mptcp endpoint add 10.1.2.4 dev lo subflow
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, proto=MPTCP); socks[0].send(b'EHLO')"
	if [ $# -gt 0 ]; then
		act server 'socks = accept(door); assert socks[0].recv(9) == b"EHLO"; socks[0].send(b"250")'
		act client 'assert socks[0].recv(9) == b"250"'
	fi
	wait_until has_subflows 2
	act server 'assert counter("MPJoinAckRx") == 1'
}
