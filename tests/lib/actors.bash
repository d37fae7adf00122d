# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# actors.bash - processes that execute Python from a test, step by step (tests/tools/actor.py), with
# a listener on port 25 loaded (load_shared). A test file has
#	setup() { actors_setup; }
#	teardown() { actors_teardown; }

declare -gA ACTORS=()

actors_setup() {
	instance_setup
	configure_smtp
	load_shared
}

actors_teardown() {
	local name
	for name in "${!ACTORS[@]}"; do
		actor_kill "$name"
	done
	instance_teardown
}

# actor NAME [NETNS]: starts tests/tools/actor.py by tool_start.
actor() {
	tool_start actor "$TEST_DIR/$1.sock" "${@:2}"
	ACTORS[$1]=$STARTED
}

# act NAME [CODE]: has an actor execute CODE, or the code on stdin.
act() {
	if [ $# -gt 1 ]; then
		"$BUILD/tests/tell" "$TEST_DIR/$1.sock" <<<"$2"
	else
		"$BUILD/tests/tell" "$TEST_DIR/$1.sock"
	fi
}

# actor_kill NAME: kills an actor; when this returns, the kernel has closed its sockets.
actor_kill() {
	kill -KILL "${ACTORS[$1]}" 2>/dev/null || :
	tool_wait "${ACTORS[$1]}" 2>/dev/null || :
	unset "ACTORS[$1]"
}

# pair: starts a server that listens on *:25 as `door`, and a client.
pair() {
	actor server
	actor client
	act server 'door = listen(None, 25)'
}

# sysctl PATH VALUE: sets /proc/sys/net/PATH in the test's network namespace.
sysctl() {
	# shellcheck disable=SC2016
	in_ns sh -c 'echo "$2" >"/proc/sys/net/$1"' - "$1" "$2"
}

# fastopen: starts a server with TCP fast open, and a client that has its cookie.
fastopen() {
	sysctl ipv4/tcp_fastopen 3
	actor server
	actor client
	act server "door = listen('192.0.2.1', 25, options=[(socket.IPPROTO_TCP, 23, 100)])"
	act client '
def fast(data=b"EHLO"):
    sock = bound("10.1.2.3")
    sock.setblocking(True)
    sock.sendto(data, 0x20000000, ("192.0.2.1", 25))  # MSG_FASTOPEN
    return sock
def fast_deaf():
    sock = bound("10.1.2.3")
    sock.setblocking(False)
    deaf(sock)
    sock.sendto(b"EHLO", 0x20000000, ("192.0.2.1", 25))
    return sock
fast().close()'
	act server 'close(accept(door))'
	expect_count 0
}

# fastopens N: expects that the server has established N connections by TCP fast open.
fastopens() {
	expect_eq "$1" "$(act server "print(counter('TCPFastOpenPassive'))")" 'fast opens'
}
