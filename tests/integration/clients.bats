# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The client of a session, as C and Lua give it for the session's socket: the client that is counted.

load ../lib/common
load ../lib/actors
load ../lib/instance

setup() {
	requires lua
	instance_setup
	configure_smtp
	load
}

teardown() {
	actors_teardown
}

# The states of a record (bpf/abi.h). A session that awaits its header has its listener's id in the
# upper half of the state; here it is 3.
NEW=0 STARTING=1 COUNTED=2 UNCOUNTED=3 ENDED=4 AWAITED=$((3 << 16 | 6))

LUA_CLIENT='local ac, why, errno = require("conncount").accept(3)
	if not ac then
		io.stderr:write(why, " ", errno, "\n")
		os.exit(1)
	end
	print((tostring(ac):match("^conncount.accept: (%S+) to ")))'

# session: opens the session 1, from 10.1.2.3.
session() {
	sessions_start
	sessions listen '*:25'
	sessions open 1 10.1.2.3 192.0.2.1:25
}

# record STATE [ADDRESS]: writes the record of the session 1.
record() {
	sessions exec 1 "$BUILD/tests/ask_client" "$CONNCOUNT_DIR" "$@"
}

# expect_client ADDRESS: expects that this is the client of the session 1.
expect_client() {
	local length=32
	[[ $1 != *:* ]] || length=128
	expect_eq "$1/$length" "$(sessions exec 1 "$BUILD/tests/ask_client" "$CONNCOUNT_DIR")" 'C' || return
	expect_eq "$1" "$(sessions exec 1 "$LUA" -e "$LUA_CLIENT")" 'Lua'
}

# expect_awaited: expects that the client of the session 1 is not known yet.
expect_awaited() {
	expect 1 sessions exec 1 "$BUILD/tests/ask_client" "$CONNCOUNT_DIR"
	expect_match 'PROXY header has not come yet' "$output$errors" C
	expect 1 sessions exec 1 "$LUA" -e "$LUA_CLIENT"
	expect_match 'PROXY header has not come yet .* 11' "$output$errors" Lua
}

@test "the client of a session without a proxy is its peer" {
	session
	expect_client 10.1.2.3
	sessions open 1 2001:db8::7 '[2001:db8::1]:25'
	expect_eq 2001:db8::7/128 "$(sessions exec 2 "$BUILD/tests/ask_client" "$CONNCOUNT_DIR")"
	expect_eq 2001:db8::7 "$(sessions exec 2 "$LUA" -e "$LUA_CLIENT")"
}

@test "the client of a session that is not counted is its peer" {
	sessions_start
	sessions listen '*:26'
	sessions open 1 10.1.2.3 192.0.2.1:26
	expect_client 10.1.2.3
}

@test "with nothing loaded, Lua gives the peer and C fails" {
	session
	expect 0 conncount unload
	expect 1 sessions exec 1 "$BUILD/tests/ask_client" "$CONNCOUNT_DIR"
	expect_match 'not loaded' "$output$errors"
	expect_eq 10.1.2.3 "$(sessions exec 1 "$LUA" -e "$LUA_CLIENT")"
}

@test "the client is that of the session's record" {
	local state
	session
	for state in $COUNTED $UNCOUNTED $ENDED; do
		record "$state" 203.0.113.7
		expect_client 203.0.113.7
		record "$state" 2001:db8:7::9
		expect_client 2001:db8:7::9
	done
}

@test "a record without an address gives the peer" {
	session
	record $NEW
	expect_client 10.1.2.3
	record $ENDED
	expect_client 10.1.2.3
}

@test "a session whose header has not come has no client, until it has come" {
	session
	record $AWAITED
	expect_awaited
	record $STARTING 203.0.113.7 # a program is writing it
	expect_awaited
	record $COUNTED 203.0.113.7
	expect_client 203.0.113.7
}

@test "policies ask for the client of the record, on the listener that it called" {
	session
	sessions open 2 10.1.2.4 192.0.2.1:25
	record $COUNTED 10.1.2.4
	expect_eq $'2\t3' "$(sessions exec 1 "$LUA" -e 'require("msys.extended.ac")
		local ac = require("conncount").accept(3)
		print(ac:inbound_session_count(), (ac:inbound_session_count("/24")))')"
}

@test "a member of the group gets the client of its own sockets; nobody else gets any" {
	requires setpriv
	configure_smtp_with 'group = daemon'
	load
	session
	local user=(setpriv --reuid=65534 --regid=65534 --inh-caps=-all --bounding-set=-all
		--no-new-privs)
	cp -L "$BUILD/tests/ask_client" "$TEST_DIR/ask_client"
	expect_eq 10.1.2.3/32 \
		"$(sessions exec 1 "${user[@]}" --groups=daemon "$TEST_DIR/ask_client" "$CONNCOUNT_DIR")"
	expect 1 sessions exec 1 "${user[@]}" --clear-groups "$TEST_DIR/ask_client" "$CONNCOUNT_DIR"
	expect_match "permission denied .*the group 'daemon'" "$output$errors"
}

# --- sessions of actors -------------------------------------------------------------------------

# ask: has the server print the client of each of its `socks`, by C and by Lua.
ask() {
	act server <<-END
		import subprocess
		for sock in socks:
		    for argv in ["$BUILD/tests/ask_client", "$CONNCOUNT_DIR"], ["$LUA", "-e", r'''$LUA_CLIENT''']:
		        print(subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
		                             preexec_fn=lambda: os.dup2(sock.fileno(), 3), close_fds=False,
		                             check=False).stdout.strip())
	END
}

@test "the client of an MPTCP socket is its peer" {
	requires mptcp
	actor server
	actor client
	act server "door = listen('192.0.2.1', 25, proto=MPTCP)"
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, proto=MPTCP)
socks += connect('10.1.2.4', '192.0.2.1', 25)"
	act server 'socks = sorted(accept(door, 2), key=lambda sock: sock.getpeername()[0])'
	expect_eq $'10.1.2.3/32\n10.1.2.3\n10.1.2.4/32\n10.1.2.4' "$(ask)"
	expect_count 1 10.1.2.3
}

@test "a descriptor that is no TCP connection is an error" {
	expect 1 "$BUILD/tests/ask_client" "$CONNCOUNT_DIR" 3</dev/null
	expect_match 'Socket operation on non-socket' "$errors"
	actor server
	act server "socks = [listen('192.0.2.1', 25)]"
	expect_match '^ask_client: .*: Transport endpoint is not connected
accept: file descriptor 3: Transport endpoint is not connected 107$' "$(ask)"
	act server 'socks = socket.socketpair()'
	expect_match 'Address family not supported.*
accept: file descriptor 3: Address family not supported' "$(ask)"
}

# --- sessions of a proxy ------------------------------------------------------------------------

# behind_proxy PROXY SERVER: configures the two networks of proxies, and opens a session from PROXY
# to port 25 of SERVER. The server accepts it, and reads nothing.
behind_proxy() {
	configure <<-'END'
		[smtp]
		listen = *:25
		proxy = 10.0.0.0/24
		proxy = 2001:db8:f::/64
	END
	load
	pair
	act client "socks = connect('$1', '$2', 25)"
	act server 'socks = accept(door)'
}

# header TEXT: has the proxy send TEXT, and the server read it.
header() {
	act client "socks[0].sendall(b'$1')"
	act server "assert socks[0].recv(999) == b'$1'"
}

# awaited: expects that neither C nor Lua knows the client of the server's session.
awaited() {
	local text
	text=$(ask)
	expect_match '^ask_client: the session.s PROXY header has not come yet' "$text" C
	expect_match $'\nthe session.s PROXY header has not come yet .* 11$' "$text" Lua
}

@test "behind a proxy, the client is the one that the header names, once it has come" {
	behind_proxy 10.0.0.9 192.0.2.1
	awaited
	header 'PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\r\n'
	expect_eq $'203.0.113.7/32\n203.0.113.7' "$(ask)"
	expect_count 1 203.0.113.7
	expect_count 0 10.0.0.9
}

@test "behind a proxy, the client can be of another family than the connection" {
	behind_proxy 10.0.0.9 192.0.2.1
	header 'PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n'
	expect_eq $'2001:db8::7/128\n2001:db8::7' "$(ask)"
	act server 'close(socks)'
	act client "close(socks); socks = connect('2001:db8:f::9', '2001:db8::1', 25)"
	act server 'socks = accept(door)'
	awaited
	header 'PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\r\n'
	expect_eq $'203.0.113.7/32\n203.0.113.7' "$(ask)"
}

@test "behind a proxy, a session without a client of its own has the proxy as its client" {
	local text
	behind_proxy 10.0.0.9 192.0.2.1
	for text in 'PROXY UNKNOWN\r\n' 'EHLO mail.example.org\r\n'; do
		header "$text"
		expect_eq $'10.0.0.9/32\n10.0.0.9' "$(ask)" "$text"
		act server 'close(socks)'
		act client "close(socks); socks = connect('10.0.0.9', '192.0.2.1', 25)"
		act server 'socks = accept(door)'
	done
}

@test "a header from any other address is not believed" {
	behind_proxy 10.0.1.9 192.0.2.1
	header 'PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\r\n'
	expect_eq $'10.0.1.9/32\n10.0.1.9' "$(ask)"
}

@test "the clients of open sessions stay what they are when the listener's proxies are removed" {
	behind_proxy 10.0.0.9 192.0.2.1
	header 'PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\r\n'
	configure_smtp
	load
	expect_eq $'203.0.113.7/32\n203.0.113.7' "$(ask)"
	expect_count 1 203.0.113.7
}

@test "a server that reads the header itself gets the same counts by remote" {
	behind_proxy 10.0.0.9 192.0.2.1
	header 'PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\r\n'
	expect_lua 1 203.0.113.7 192.0.2.1:25 'ac:inbound_session_count()'
	expect_lua 0 10.0.0.9 192.0.2.1:25 'ac:inbound_session_count()'
}
