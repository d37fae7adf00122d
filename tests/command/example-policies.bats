# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# lua/example, a server that embeds Lua and asks conncount, runs policies that are written for
# Momentum, with real sessions.

load ../lib/common
load ../lib/example
load ../lib/instance

setup() {
	example_setup
}

teardown() {
	example_teardown
}

# policy NAME: writes stdin to a policy file, and its path to $POLICY.
policy() {
	POLICY=$TEST_DIR/$1.lua
	cat >"$POLICY"
}

@test "Momentum policy: msys.audit counts for the current session; vctx:disconnect refuses it" {
	local i
	policy connectionlimit <<-'END'
		require("msys.core");
		require("msys.extended.vctx");
		require("msys.audit");

		local mod = {};

		function mod:validate_connect(accept, vctx)
		  local count = msys.audit.inbound_session_count("/32", "SMTP");
		  local limit = 3;
		  local ip = msys.expandMacro("%{spfv1:i}");
		  if ip == "198.51.100.9" then
		    limit = 1;
		  end
		  print("IP: " .. ip .. " Sessions: " .. count);
		  if count > limit then
		    vctx:disconnect(421, "Too many simultaneous connections from: " .. ip);
		    return msys.core.VALIDATE_DONE;
		  end
		  return msys.core.VALIDATE_CONT;
		end

		msys.registerModule("connectionlimit", mod);
	END
	load
	example_start "$BUILD/tests/server" "$POLICY"
	talk <<-'END'
		open a1 198.51.100.1 192.0.2.10:25
		open a2 198.51.100.1 192.0.2.10:25
		open b1 198.51.100.9 192.0.2.10:25
		open c1 2001:db8:7::7 [2001:db8::10]:25
		open a3 198.51.100.1 192.0.2.10:25
		open b2 198.51.100.9 192.0.2.10:25
		open a4 198.51.100.1 192.0.2.10:25
		gone b2
		gone a4
		close a1
		open console 198.51.100.1 192.0.2.10:2025
	END
	expect_said "$(cat <<-'END'
		a1 220 HOST ESMTP
		a2 220 HOST ESMTP
		b1 220 HOST ESMTP
		c1 220 HOST ESMTP
		a3 220 HOST ESMTP
		b2 421 Too many simultaneous connections from: 198.51.100.9
		a4 421 Too many simultaneous connections from: 198.51.100.1
		console 220 HOST ESMTP
	END
	)"
	example_stop
	expect_eq 'IP: 198.51.100.1 Sessions: 1
IP: 198.51.100.1 Sessions: 2
IP: 198.51.100.9 Sessions: 1
IP: 2001:db8:7::7 Sessions: 1
IP: 198.51.100.1 Sessions: 3
IP: 198.51.100.9 Sessions: 2
IP: 198.51.100.1 Sessions: 4' "$(head -n 7 "$TEST_DIR/server.out")" printed
}

@test "Momentum policy: msys.audit.connections counts a client's connections, closed ones too" {
	configure raw <<-'END'
		[conncount]
		group = root
		window = 60,1
		window = 900,4
		[mx]
		listen = *:25
	END
	policy validate_mailfrom <<-'END'
		require("msys.core");
		require("msys.audit");
		require("msys.extended.message");

		local mod = {};

		function mod:validate_mailfrom(str, ac, vctx)
		  local conn = msys.audit.connections("60,1");
		  local recent = msys.audit.connections("900,4", { startv = 0, endv = 4 });
		  local near = msys.audit.connections("900,4", { startv = 0, endv = 4, cidr = "/24", cluster = false });
		  if conn > recent or near > 3 then
		    vctx:disconnect(421, "Too many connections: " .. recent .. " of " .. near);
		  end
		  return msys.core.VALIDATE_DONE;
		end

		msys.registerModule("validate_mailfrom", mod);
	END
	load
	example_start "$BUILD/tests/server" "$POLICY"
	talk <<-'END'
		open a 198.51.100.1 192.0.2.10:25
		open b 198.51.100.1 192.0.2.10:25
		open c 198.51.100.9 192.0.2.10:25
		close a
		close b
		say c HELO client.example
		say c MAIL FROM:<c@example.org>
		open d 198.51.100.1 192.0.2.10:25
		say d HELO client.example
		say d MAIL FROM:<d@example.org>
		gone d
	END
	expect_said "$(cat <<-'END'
		a 220 HOST ESMTP
		b 220 HOST ESMTP
		c 220 HOST ESMTP
		c 250 HOST
		c 250 2.1.0 OK
		d 220 HOST ESMTP
		d 250 HOST
		d 421 Too many connections: 3 of 4
	END
	)"
	example_stop
	expect_eq '' "$(grep -v '^server: ready$' "$TEST_DIR/server.log")" "server's messages"
}

@test "Momentum policy: msys.audit.receptions and rejections fail with the reason, and mail goes on" {
	policy receptions <<-'END'
		require("msys.core");
		require("msys.audit");
		local mod = {};
		function mod:validate_mailfrom(str, ac, vctx)
		  local rcpt = msys.audit.receptions("60,1");
		  return msys.core.VALIDATE_DONE;
		end
		msys.registerModule("receptions", mod);
	END
	load
	example_start "$BUILD/tests/server" "$POLICY"
	talk <<-'END'
		open a 198.51.100.1 192.0.2.10:25
		say a HELO client.example
		say a MAIL FROM:<a@example.org>
	END
	expect_said $'a 220 HOST ESMTP\na 250 HOST\na 250 2.1.0 OK'
	example_stop
	expect 0 grep '^server: policy: receptions: validate_mailfrom: ' "$TEST_DIR/server.log"
	expect_match 'receptions: conncount sees connections, not messages' "$output"
}

@test "Momentum policy: each phase from connect to data_spool runs, with a self for each session" {
	policy phases <<-'END'
		require("msys.core");
		require("msys.extended.message");
		require("msys.extended.ac");
		require("msys.extended.vctx");

		local mod = {};

		function mod:init()
		  return true;
		end

		function mod:deinit()
		  print("deinit");
		  return true;
		end

		function mod:validate_connect(ac, vctx)
		  self.phases = "connect";
		  ac:esmtp_capability_add("XCOUNT");
		  ac:esmtp_capability_remove("8BITMIME");
		  vctx:set(msys.core.VCTX_CONN, "first", ac:inbound_session_count());
		  return msys.core.VALIDATE_CONT;
		end

		function mod:validate_ehlo(str, accept, vctx)
		  self.phases = self.phases .. " ehlo";
		  print("ehlo string is:", msys.expandMacro("%{vctx_conn:ehlo_string}"), tostring(str));
		  return msys.core.VALIDATE_CONT;
		end

		function mod:validate_mailfrom(str, accept, vctx)
		  str = tostring(str);
		  self.phases = self.phases .. " mailfrom";
		  if (string.find(str, "disconnect@example.com") ~= nil) then
		    vctx:disconnect(421, "Go away");
		    return msys.core.VALIDATE_DONE;
		  end
		  vctx:set(msys.core.VCTX_MESS, "from", str);
		  return msys.core.VALIDATE_CONT;
		end

		function mod:validate_rcptto(msg, str, accept, vctx)
		  self.phases = self.phases .. " rcptto";
		  if accept:inbound_session_count("/24") > 2 then
		    vctx:set_code(451, "4.7.1 busy: " .. accept:inbound_session_count("/24", "SMTP"));
		  end
		  return msys.core.VALIDATE_CONT;
		end

		function mod:validate_data(msg, accept, vctx)
		  self.phases = self.phases .. " data";
		  return msys.core.VALIDATE_CONT;
		end

		function mod:validate_data_spool(msg, accept, vctx)
		  local console = accept:inbound_session_count(nil, "Control");
		  print(self.phases .. " data_spool", vctx:get(msys.core.VCTX_MESS, "from"),
		    vctx:get(msys.core.VCTX_CONN, "first"), console);
		  if console > 0 then
		    vctx:set_code("550", "5.7.1 not\r\n250 now");
		  end
		  return msys.core.VALIDATE_DONE;
		end

		msys.registerModule("phases", mod);

		local never = {};
		function never:validate_data_spool(msg, accept, vctx)
		  print("never: the first module was done");
		  return msys.core.VALIDATE_CONT;
		end
		msys.registerModule("never", never);
	END
	load
	example_start "$BUILD/tests/server" "$POLICY"
	talk <<-'END'
		open a 198.51.100.1 192.0.2.10:25
		say a EHLO client.example
		say a MAIL FROM:<sender@example.org>
		say a RCPT TO:<one@example.net>
		say a DATA
		say a .
		open b 198.51.100.2 192.0.2.10:25
		say b HELO other.example
		say b MAIL FROM:<disconnect@example.com>
		gone b
		open c 198.51.100.3 192.0.2.10:25
		open d 198.51.100.4 192.0.2.10:25
		say a MAIL FROM:<second@example.org>
		say a RCPT TO:<one@example.net>
		close c
		close d
		open console 198.51.100.1 192.0.2.10:2025
		say a RCPT TO:<one@example.net>
		say a DATA
		say a .
		say a QUIT
		gone a
	END
	expect_said "$(cat <<-'END'
		a 220 HOST ESMTP
		a 250-HOST
		a 250-PIPELINING
		a 250 XCOUNT
		a 250 2.1.0 OK
		a 250 2.1.5 OK
		a 354 end with a dot on a line of its own
		a 250 2.0.0 OK, and thrown away
		b 220 HOST ESMTP
		b 250 HOST
		b 421 Go away
		c 220 HOST ESMTP
		d 220 HOST ESMTP
		a 250 2.1.0 OK
		a 451 4.7.1 busy: 3
		console 220 HOST ESMTP
		a 250 2.1.5 OK
		a 354 end with a dot on a line of its own
		a 550 5.7.1 not  250 now
		a 221 2.0.0 HOST closing connection
	END
	)"
	example_stop
	expect_eq 'ehlo string is:	client.example	client.example
connect ehlo mailfrom rcptto data data_spool	sender@example.org	1	0
ehlo string is:	other.example	other.example
connect ehlo mailfrom rcptto data mailfrom rcptto rcptto data data_spool	second@example.org	1	1
deinit' "$(<"$TEST_DIR/server.out")" printed
}

@test "Momentum policy: vctx:tarpit delays the greeting of one session, which stays counted, and no other" {
	policy tarpit <<-'END'
		require("msys.core");
		require("msys.extended.vctx");

		local mod = {};

		function mod:validate_connect(accept, vctx)
		  if msys.audit.inbound_session_count("/24", "SMTP") > 1 then
		    vctx:tarpit(600);
		  end
		  return msys.core.VALIDATE_CONT;
		end

		msys.registerModule("validate_connect", mod);
	END
	load
	example_start "$BUILD/tests/server" "$POLICY"
	expect 0 in_ns python3 -I -S - <<-'END'
		import select, socket, subprocess
		def connect(source):
		    s = socket.socket()
		    s.settimeout(60)
		    s.bind((source, 0))
		    s.connect(("192.0.2.10", 25))
		    return s
		first = connect("198.51.100.1")
		print(first.recv(4).decode())
		held = connect("198.51.100.2")
		other = connect("203.0.113.1")
		print(other.recv(4).decode())
		print(select.select([held], [], [], 0)[0], flush=True)
		subprocess.run(["conncount", "count"])
	END
	expect_eq $'220 \n220 \n[]\n3' "$output"
	wait_until expect_count 1 # the delayed one: half-closed, and counted until its delay ends
}

@test "a policy that prints to a closed pipe does not end the server" {
	policy welcome <<-'END'
		local mod = {}
		function mod:validate_connect(str, accept, vctx)
		  for _ = 1, 100 do print("connected") end
		  return msys.core.VALIDATE_CONT
		end
		msys.registerModule("validate_connect", mod);
	END
	load
	cat >"$TEST_DIR/unread" <<-END
		#!/usr/bin/python3 -IS
		import os, signal, sys
		signal.signal(signal.SIGPIPE, signal.SIG_DFL)
		reading, writing = os.pipe()
		os.close(reading)
		os.dup2(writing, 1)
		os.execv("$BUILD/tests/server", ["server"] + sys.argv[1:])
	END
	chmod +x "$TEST_DIR/unread"
	example_start "$TEST_DIR/unread" "$POLICY"
	expect 0 in_ns python3 -I -S -c 'import socket
for _ in range(3):
    with socket.create_connection(("192.0.2.10", 25), 60) as sock:
        print(sock.recv(4).decode())'
	expect_eq $'220 \n220 \n220 ' "$output"
}

@test "a client that waits for a file descriptor is counted, and is served when sessions have ended" {
	policy welcome <<<'msys.registerModule("welcome", { init = function() return true end })'
	load
	printf '#!/bin/bash\nulimit -n 40\nexec %q "$@"\n' "$BUILD/tests/server" >"$TEST_DIR/few"
	chmod +x "$TEST_DIR/few"
	example_start "$TEST_DIR/few" "$POLICY"
	expect 0 in_ns python3 -I -S - "$TEST_DIR/server.log" <<-'END'
		import socket, subprocess, sys, time
		N, LEFT = 60, 10
		sessions = [socket.create_connection(("192.0.2.10", 25), 60) for _ in range(N)]
		while "Too many open files" not in open(sys.argv[1]).read():
		    time.sleep(0.02)
		subprocess.run(["conncount", "count"])
		for s in sessions[:N - LEFT]:
		    s.close()
		print({s.recv(4) for s in sessions[N - LEFT:]}, flush=True)
		subprocess.run(["conncount", "count"])
	END
	expect_eq $'60\n{b\'220 \'}\n10' "$output"
	example_stop
	expect_log 'server: accept: Too many open files; trying again in a second'
}

@test "with many sessions open, each gets the right count at its EHLO" {
	local i n
	n=$(scaled 500)
	policy counts <<-'END'
		require("msys.core");
		require("msys.extended.ac");
		local mod = {};
		function mod:validate_ehlo(str, ac, vctx)
		  vctx:disconnect(421, ac:inbound_session_count("/8") .. " " .. ac:inbound_session_count("/32"));
		  return msys.core.VALIDATE_DONE;
		end
		msys.registerModule("counts", mod);
	END
	load
	example_start "$BUILD/tests/server" "$POLICY"
	talk < <(
		for ((i = 0; i < n; i++)); do echo "open $i 10.0.$((i / 100)).$((i % 100)) 192.0.2.10:25"; done
		for ((i = n - 1; i >= 0; i--)); do printf 'say %d EHLO x\ngone %d\n' $i $i; done
	)
	expect_said "$(
		for ((i = 0; i < n; i++)); do echo "$i 220 HOST ESMTP"; done
		for ((i = n - 1; i >= 0; i--)); do echo "$i 421 $((i + 1)) 1"; done
	)"
	expect_count 0
}

@test "if nothing is loaded, or a policy fails or returns nothing, mail goes on and the log says so" {
	policy failing <<-'END'
		require("msys.core")
		require("msys.extended.ac")
		local mod = {}
		function mod:validate_connect(ac, vctx)
			local open, why = ac:inbound_session_count('/24')
			print(why)
			if open > 5 then vctx:disconnect(421, "too many") end
			return msys.core.VALIDATE_CONT
		end
		function mod:validate_ehlo(str, ac, vctx)
			vctx:set_code(10, "no code at all")
		end
		function mod:validate_mailfrom(str, ac, vctx)
			vctx:set_code(250, "fine")
		end
		msys.registerModule("failing", mod)
	END
	example_start "$BUILD/tests/server" "$POLICY"
	talk <<-'END'
		open a 198.51.100.1 192.0.2.10:25
		say a EHLO client.example
		say a MAIL FROM:<a@example.org>
		say a QUIT
	END
	expect_said "$(cat <<-'END'
		a 220 HOST ESMTP
		a 250-HOST
		a 250-PIPELINING
		a 250 8BITMIME
		a 250 2.1.0 OK
		a 221 2.0.0 HOST closing connection
	END
	)"
	example_stop
	expect_eq "$CONNCOUNT_DIR: not loaded (start counting with: conncount load)" \
		"$(<"$TEST_DIR/server.out")" printed
	expect 0 grep '^server: policy:' "$TEST_DIR/server.log"
	expect_match 'failing: validate_connect: .*failing.lua:7: .*nil' "$output"
	expect_match 'failing: validate_ehlo: .*set_code: bad argument #1 \(code\)' "$output"
	expect_match 'failing: validate_mailfrom: returned neither VALIDATE_CONT nor VALIDATE_DONE' "$output"
}

# refused REGEX: the server does not start with the policy on stdin; its message matches REGEX.
refused() {
	policy refused
	expect 1 in_ns "$BUILD/tests/server" -l 192.0.2.10:25 "$POLICY"
	expect_match "$1" "$errors"
}

@test "the server does not start with a policy that cannot work, and says why" {
	refused "refused.lua:1: syntax error near" <<<'this is not Lua'
	refused "module 'no.such.module' not found" <<<'require("no.such.module")'
	refused 'no usable methods found for module empty in registerModule call' \
		<<<'msys.registerModule("empty", {})'
	refused 'module later: this server does not call validate_set_binding' \
		<<<'msys.registerModule("later", { validate_set_binding = print })'
	refused 'module unready: init\(\) did not return true' \
		<<<'msys.registerModule("unready", { init = function() end })'
	expect 1 in_ns "$BUILD/tests/server" -l 192.0.2.10:25 "$TEST_DIR/missing.lua"
	expect_match 'missing.lua' "$errors"
	expect 1 "$BUILD/tests/server" -l 192.0.2.10 "$TEST_DIR/missing.lua"
	expect_match "server: '192.0.2.10': " "$errors"
	expect 2 "$BUILD/tests/server" "$TEST_DIR/missing.lua"
	expect_match '^usage: server ' "$errors"
}
