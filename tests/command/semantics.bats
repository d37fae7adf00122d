# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# ac:inbound_session_count(cidr, service) on real connections: what it counts, as they come and go,
# and while counting starts and stops. Where the command can answer the same question, it is asked
# too. arguments.bats tests how the arguments may be written, and what the function returns.

load ../lib/common
load ../lib/asking
load ../lib/instance

@test "no argument: counts the sessions of the connecting address on this listener" {
	v4 1 ''
	v6 1 ''
	v4 1 'nil'
	v4 1 'nil, nil'
	expect_lua 4 10.1.2.3 192.0.2.10:587 'ac:inbound_session_count()'
	expect_lua 4 2001:db8:1:2::3 '[2001:db8::10]:587' 'ac:inbound_session_count()'
	expect_lua 16 10.1.2.3 192.0.2.1:4000 'ac:inbound_session_count()'
	expect_lua 0 10.1.2.99 192.0.2.1:25 'ac:inbound_session_count()'
	expect_lua 1 ::ffff:10.1.2.3 '[::ffff:192.0.2.1]:25' 'ac:inbound_session_count()'
	expect_count 1 --listener mx 10.1.2.3
	expect_count 4 --listener msa 2001:db8:1:2::3
}

@test "/len counts the network of the connecting address over all listeners of service SMTP" {
	v4 7 '"/24"'
	v4 15 '"/8"'
	v4 47 '"/0"'
	v4 5 '"/32"'
	v6 7 '"/64"'
	v6 15 '"/33"'
	v6 47 '"/0"'
	v6 5 '"/128"'
	expect_lua 7 10.1.2.3 192.0.2.1:4000 'ac:inbound_session_count("/24")'
	expect_count 7 10.1.2.3/24
	expect_count 7 2001:db8:1:2::3/64
}

@test "one process can keep asking through load, unload and load" {
	load
	# The policy asks once for each line that it reads.
	mkfifo "$TEST_DIR/ask" "$TEST_DIR/told"
	"$LUA" -e 'require("msys.extended.ac")
		local ac = require("conncount").accept{remote = "10.1.2.3", ["local"] = "192.0.2.1:25"}
		io.stdout:setvbuf("no")
		for _ in io.lines() do print((ac:inbound_session_count("/24"))) end' \
		<"$TEST_DIR/ask" >"$TEST_DIR/told" 3>&- &
	local pid=$! answer
	exec {ask}>"$TEST_DIR/ask" {told}<"$TEST_DIR/told"
	asked() {
		echo >&"$ask"
		read -r -t 10 -u "$told" answer
		expect_eq "$1" "$answer" "$2"
	}
	asked 7 first
	load
	asked 7 'load of the same'
	expect 0 conncount unload
	asked nil unloaded
	load
	asked 7 'loaded again, with what was open'
	sessions open 2 10.1.2.3 192.0.2.1:25
	asked 9 'opened then'
	exec {ask}>&- {told}<&-
	wait "$pid"
}

@test "conncount.service() returns the service of an address, conncount.socket() a session's socket" {
	local peer port at at_port from to first second
	service() {
		expect_lua "$1" 10.1.2.3 192.0.2.1:25 "require('conncount').service('$2')"
	}
	service SMTP 192.0.2.1:25
	service SMTP '[2001:db8::10]:587'
	service Control 203.0.113.1:4000
	service $'nil\tno listener is configured for 192.0.2.11 port 587\t3' 192.0.2.11:587

	# socket REGEX: conncount.socket() of $from and $to, in the namespace of the sessions,
	# matches; it is $output.
	socket() {
		expect 0 in_ns "$LUA" -e "print((require('conncount').socket(arg[1], arg[2])))" /dev/null \
			"$from" "$to"
		expect_match "^$1\$" "$output" "socket('$from', '$to')"
	}
	while read -r peer port at at_port; do
		from=$peer:$port to=$at:$at_port
		[[ $peer != *:* ]] || from="[$peer]:$port" to="[$at]:$at_port"
		socket '[0-9]+'
		# A half-closed session is open.
		sessions shut client "from=$peer"
		socket "$output"
		sessions close server "from=$peer"
		socket false
	done < <(sessions ledger | grep -E '^(10\.9\.0\.1|2001:db8:9::1) ' | sort -u -k 1,1)
	[ -n "${from:-}" ] || fail 'no session'
	# A session that the server has not accepted, and one that the client has reset.
	sessions queue 1 10.9.0.2 192.0.2.1:25
	from=10.9.0.2:$(in_ns ss -Htn src 10.9.0.2 | awk '{ sub(/.*:/, "", $4); print $4 }')
	to=192.0.2.1:25
	socket false
	sessions accept
	socket '[0-9]+'
	sessions reset client from=10.9.0.2
	socket false
	# A later session with the same addresses has another socket.
	expect 0 in_ns python3 -I -S -c '
import socket, subprocess, sys
with socket.create_server(("192.0.2.1", 2525)) as server:
    for _ in range(2):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
            client.bind(("10.9.0.3", 2000))
            client.connect(("192.0.2.1", 2525))
            with server.accept()[0]:
                subprocess.run(sys.argv[1:], check=True)' \
		"$LUA" -e 'print((require("conncount").socket("10.9.0.3:2000", "192.0.2.1:2525")))'
	read -r first second <<<"${output//$'\n'/ }"
	expect_match '^[0-9]+ [0-9]+$' "$first $second"
	[ "$first" != "$second" ] || fail "both are socket $first"
}

# bound_sessions: runs the Python code on stdin, which can bind the sockets of sessions to
# interfaces:
#   open(host, device, port)   returns the sockets of a session: the server's, and the client's
#   ask(session, *interface)   returns what conncount.socket() says of it
bound_sessions() {
	requires ip
	in_ns ip link add eth-a type veth peer name eth-b
	in_ns ip link set eth-a up
	in_ns ip link set eth-b up
	in_ns ip -6 address add fe80::5/64 dev eth-a nodad
	in_ns ip -6 address add fe80::5/64 dev eth-b nodad
	cat >"$TEST_DIR/bound.py" <<-'END'
		import contextlib, socket, subprocess, sys
		def open(host, device="", port=0):
		    family, _, _, _, at = socket.getaddrinfo(host, 2525, type=socket.SOCK_STREAM)[0]
		    with socket.socket(family) as server:
		        client = socket.socket(family)
		        for sock in server, client:
		            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
		            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
		        server.bind(at)
		        server.listen()
		        client.bind(at[:1] + (port,) + at[2:])
		        client.connect(at)
		        return server.accept()[0], client
		def endpoint(name):
		    host = name[0].partition("%")[0]
		    return ("[%s]:%d" if ":" in host else "%s:%d") % (host, name[1])
		def ask(session, *interface):
		    names = [endpoint(session[1].getsockname()), endpoint(session[1].getpeername())]
		    said = subprocess.run(
		        [sys.argv[1], "-e", "print(require('conncount').socket(arg[1], arg[2], tonumber(arg[3])))",
		         "/dev/null", *names, *map(str, interface)], check=True, stdout=subprocess.PIPE)
		    return said.stdout.decode().rstrip("\n")
		def expect(want, got):
		    if want != got:
		        sys.exit("expected %r, got %r" % (want, got))
		def check(host, device, bound):
		    session = open(host, device)
		    index = socket.if_nametoindex(bound) if bound else 0
		    number, where = ask(session).split("\t")
		    print(host, device, number, where)
		    expect(str(index), where)
		    expect(True, number.isdigit())
		    expect(number + "\t" + where, ask(session, index))
		    session[0].close()
		    expect("false", ask(session))
		    expect("false", ask(session, index))
		    session[1].close()
	END
	cat >>"$TEST_DIR/bound.py"
	expect 0 in_ns python3 -I -S "$TEST_DIR/bound.py" "$LUA"
}

@test "conncount.socket() finds sessions that are bound to an interface" {
	bound_sessions <<-'END'
		check("127.0.0.1", "", "")
		check("127.0.0.1", "lo", "lo")
		check("::1", "lo", "lo")
		check("fe80::5%eth-a", "", "eth-a")
		check("fe80::5%eth-b", "", "eth-b")
		check("fe80::5%eth-b", "eth-b", "eth-b")
	END
}

@test "conncount.socket() finds sessions of equal addresses on two interfaces, also when one is gone" {
	bound_sessions <<-'END'
		both = [open("fe80::5%" + name, name, 4001) for name in ("eth-a", "eth-b")]
		a, b = (socket.if_nametoindex(name) for name in ("eth-a", "eth-b"))
		on_a, on_b = ask(both[0], a), ask(both[1], b)
		print(on_a, on_b)
		expect(True, on_a != on_b)
		expect(True, ask(both[0]) in (on_a, on_b))
		both[0][0].close()
		expect("false", ask(both[0], a))
		expect(on_b, ask(both[1]))
		subprocess.run(["ip", "link", "delete", "eth-a"], check=True)
		expect(on_b, ask(both[1], b))
		both[1][0].close()
		expect("false", ask(both[1], b))
	END
}

@test "conncount.socket() finds sessions in a VRF" {
	requires ip vrf
	in_ns ip link add red type vrf table 10
	in_ns ip link set red up
	in_ns ip address add 198.51.100.1/32 dev red
	in_ns sh -c 'echo 1 >/proc/sys/net/ipv4/tcp_l3mdev_accept'
	bound_sessions <<-'END'
		check("198.51.100.1", "red", "red")
	END
}

@test "conncount.socket() raises an error for an interface that is not an index" {
	local interface
	for interface in -1 1.5 4294967296 "'eth0'" true; do
		expect 0 "$LUA" -e "print(pcall(require('conncount').socket, '10.0.0.1:1', '10.0.0.2:25', $interface))"
		expect_match "^false.socket: bad argument #3 \(interface\)" "$output"
	done
}
