# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Every example in the documentation is run, compiled, or compared with the tree. try() says how for
# each of them, by its document and its first line, or why it cannot be tried; it fails for an
# example that it does not know. If a manual page has no test here, other files try its examples:
# they take each one by `example PAGE SECTION N`.

load ../lib/common
load ../lib/example
load ../lib/instance
load ../lib/servers

setup() {
	instance_setup
	WORK=$BATS_TEST_TMPDIR
	# The configuration that the documents assume if they show none.
	printf '[mx]\nlisten = *:25\nservice = SMTP\n[console]\nlisten = *:2025\nservice = Control\n' \
		>"$WORK/configuration"
}

teardown() {
	local rc=0
	example_stop || rc=1
	instance_teardown || rc=1
	return $rc
}

# documents: prints those that users read, as paths below $ROOT.
documents() {
	(cd "$ROOT" && find . -name .git -prune -o -path ./build -prune -o \
		\( -name '*.md' -o -path './user/dist/man/*.[1-9]' \) -printf '%P\n' | sort)
	echo libconncount.3
}

# path_of DOCUMENT: prints its path; make builds libconncount.3.
path_of() {
	case $1 in
	libconncount.3) echo "$BUILD/man/$1" ;;
	*) echo "$ROOT/$1" ;;
	esac
}

# try DOCUMENT EXAMPLE: tries the example in the file EXAMPLE with the functions below.
try() {
	case $1:$(head -n 1 "$2") in
	'README.md:sudo ./scripts/demo '*) dry "$2" ;; # command/demo.bats runs it; scripts/check runs this file
	'README.md:sudo ./scripts/deps '*) dry "$2" ;; # unit/package.bats and unit/build.bats
	'README.md:$ conncount status') pictured "$2" ;;
	'README.md:[mx]') configuration "$2" ;;
	'README.md:# conncount load') console "$2" ;;
	*':systemd-sysusers '*) ;; # would change this machine; unit/package.bats has a container
	'README.md:limit{ '*) ;; # servers/postfix.bats runs Postfix with these limits
	'README.md:smtpd_delay_reject = no') # servers/postfix.bats runs Postfix with the manual's
		expect_eq "$(example conncount-policyd.8 POSTFIX 1)" "$(<"$2")"
		;;
	'README.md:-- At most 20 sessions '*) policy "$2" ;;
	'.github/CONTRIBUTING.md:          client  '*) ;; # a picture
	'.github/CONTRIBUTING.md:'*) dry "$2" ;;
	'tests/README.md:sudo ./scripts/deps '*) dry "$2" ;;
	'tests/README.md:# shellcheck shell=bats') passes "$2" ;;
	'tests/bench/README.md:sudo ./tests/bench/bench '*) dry "$2" ;;
	'tests/bench/README.md:sudo ./scripts/deps '*) dry "$2" ;; # integration/cost.bats runs a part

	'user/dist/man/conncount.1:$ conncount count')
		open_sessions 17 395
		console "$2"
		;;
	'user/dist/man/conncount.1:$ conncount count --window '*) opened_lately "$2" ;;
	'user/dist/man/conncount.1:$ conncount list '*) console "$2" ;;
	'user/dist/man/conncount.1:conncount status >/dev/null') console <(sed 's/^/$ /' "$2") ;;
	'user/dist/man/conncount.1:$ conncount refused') lists_refused "$2" ;;
	'user/dist/man/conncount.1:2026-'*) ;; # output, not a command: command/watch.bats

	'user/dist/man/conncount.conf.5:'*) configuration "$2" ;;
	'user/dist/man/conncount-lua.3:#include <conncount_lua.h>') embeds "$2" ;;
	'user/dist/man/conncount-lua.3:local accept = '*) accepts "$2" ;;
	"user/dist/man/conncount-lua.3:require('msys.extended.ac')") policy "$2" ;;
	'user/dist/man/conncount-lua.3:-- Refuse a network '*) opens "$2" ;;
	"user/dist/man/conncount-lua.3:-- An IPv4 client's /24 "*) translated "$2" ;;
	"user/dist/man/conncount-lua.3:-- Run a session's policy "*) resumes "$2" ;;

	'user/dist/man/conncount-momentum.7:-- How many sessions are '*) momentum_counts "$2" ;;
	'user/dist/man/conncount-momentum.7:-- A client with many sessions '*) momentum_waits "$2" ;;
	'user/dist/man/conncount-momentum.7:-- A client that opened too many'*) momentum_windows "$2" ;;
	'user/dist/man/conncount-momentum.7:-- A client with too many '*) momentum_at_mail "$2" ;;
	'user/dist/man/conncount-momentum.7:-- At most 2 sessions '*) momentum_limits "$2" ;;

	'libconncount.3:#include <conncount.h>') cp "$2" "$WORK/x.c" ;; # for the next two
	'libconncount.3:cc x.c '*) compiles "$2" ;;
	'libconncount.3:find_package('*) finds "$2" ;;
	libconncount.3:*) cat "$2" >>"$WORK/declarations.h" ;; # the test compiles them
	*) fail "$1: nobody tries this example: say in try() how" "$(<"$2")" ;;
	esac
}

# try_all DOCUMENT: tries its examples; fails if it has none.
try_all() {
	local example
	mkdir "$WORK/examples"
	expect 0 python3 -I -S "$TOOLS/examples.py" "$(path_of "$1")" "$WORK/examples"
	[ -n "$output" ] || fail "$1: no examples found"
	for example in "$WORK"/examples/*; do
		printf -- '--- %s, example %s: %s\n' "$1" "${example##*/}" "$(head -n 1 "$example")"
		try "$1" "$example" # no `|| return`: with it, bash ignores failures in try()
	done
}

# --- how the examples are tried ------------------------------------------------------------------

# configuration FILE: `conncount check` accepts it. The next console() loads it; if it has a limit,
# it is tried now.
configuration() {
	expect 0 conncount check "$1"
	if grep -q '^limit' "$1"; then
		limited "$1"
	else
		cp "$1" "$WORK/configuration"
	fi
}

# limited FILE: the kernel refuses the 101st session of a network, but none of 198.51.100.0/24.
limited() {
	! mountpoint -q "$CONNCOUNT_DIR" || expect 0 conncount unload
	[ -z "$SESSIONS_PID" ] || sessions_stop
	sessions_start
	sessions listen '*:25'
	configure <"$1"
	load
	sessions open 60 203.0.113.7 192.0.2.10:25
	sessions open 40 203.0.113.8 192.0.2.10:25
	expect 1 sessions open 1 203.0.113.9 192.0.2.10:25
	expect_match 'Connection refused' "$errors$output"
	sessions open 101 198.51.100.7 192.0.2.10:25
	sessions open 1 203.0.114.7 192.0.2.10:25
	sessions close both
	sessions_stop
	expect 0 conncount unload
}

# counting: loads the last configuration of the documents into this test's cgroup, if nothing is
# loaded.
counting() {
	! mountpoint -q "$CONNCOUNT_DIR" || return 0
	configure <"$WORK/configuration"
	load
}

# open_sessions N M: opens N sessions from 198.51.100.0/24 and M from elsewhere, to port 25.
open_sessions() {
	counting
	if [ -z "$SESSIONS_PID" ]; then
		sessions_start
		sessions listen '*:25'
	fi
	if [ "$1" -gt 0 ]; then
		sessions open "$1" 198.51.100.7 192.0.2.10:25
	fi
	if [ "$2" -gt 0 ]; then
		sessions open "$2" 203.0.113.7 192.0.2.10:25
	fi
}

# screen FILE: runs the commands behind `$ `; writes them, and what they print, to $WORK/screen.
screen() {
	local command
	: >"$WORK/screen"
	while read -r command; do
		expect 0 eval "${command#\$ }"
		printf '%s\n%s\n' "$command" "$output" >>"$WORK/screen"
	done < <(grep '^\$ ' "$1")
}

# pictured FILE: runs the commands behind `$ `, and compares what they print with FILE, except for
# the lines about the place, which is the test's own.
pictured() {
	local n place='^(instance|since|loaded|readers|cgroup|netns|build) '
	configure <<-'END'
		[mx]
		listen = 192.0.2.10:25
		listen = [2001:db8::10]:25
		[submission]
		listen = 192.0.2.10:587
	END
	load
	sessions_start
	{
		printf 'listen %s\n' 192.0.2.10:25 '[2001:db8::10]:25' 192.0.2.10:587
		for n in 1 2 3 4 5 6 8 9 10 11 12; do
			echo "open 2 198.51.100.$n 192.0.2.10:25"
		done
		printf 'open %s\n' '2 198.51.100.7 192.0.2.10:25' '1 198.51.100.7 192.0.2.10:587' \
			'6 203.0.113.25 192.0.2.10:25' '2 203.0.113.9 192.0.2.10:587' '3 192.0.2.77 192.0.2.10:25'
		for n in 1 2 3 4 6 7 8 9 {10..24}; do
			echo "open 1 2001:db8:7:1::$n [2001:db8::10]:25"
		done
		printf 'open 1 2001:db8:7:2::%s [2001:db8::10]:25\n' 1 2 3 4
	} | sessions >"$WORK/sessions"
	screen "$1"
	expect_eq "$(grep -vE "$place|^$" "$1")" "$(grep -vE "$place|^$" "$WORK/screen")" 'on the screen'
	sessions_stop
	expect 0 conncount unload
}

# console FILE: runs the commands behind `$ ` or `# `. All must succeed, and print the text below
# them, if there is any. The test's own directory and cgroup replace those in the text.
console() {
	local line command='' want=''
	while IFS= read -r line; do
		if [[ $line =~ ^[#$]' '(.*) ]]; then
			console_command "$command" "$want"
			command=${BASH_REMATCH[1]} want=
		else
			want+=$line$'\n'
		fi
	done <"$1"
	console_command "$command" "$want"
}

# opened_lately FILE: the same commands, about two networks that have opened and closed connections.
# Messages are not compared: here, counting has only just begun.
opened_lately() {
	! mountpoint -q "$CONNCOUNT_DIR" || expect 0 conncount unload
	counting_windows
	open_sessions 30 7
	sessions close both
	screen "$1"
	expect_eq "$(<"$1")" "$(<"$WORK/screen")" 'on the screen'
}

# lists_refused FILE: the same commands, about networks that limits have refused; but the times
# differ.
lists_refused() {
	local n ago='s/ +[0-9]+[sm] ago / ago /'
	configure <<-'END'
		[mx]
		listen = *:25
		limit = /24,/64 over 100 reset
		limit = /32,/128 over 20 log
	END
	sessions_start
	sessions listen '*:25'
	load
	sessions open 27 203.0.113.9 192.0.2.10:25
	sessions open 100 198.51.100.0+ 192.0.2.10:25
	for n in {1..41}; do
		expect 1 sessions open 1 198.51.100.200 192.0.2.10:25
		expect_match refused "$output$errors"
	done
	screen "$1"
	expect_eq "$(sed -E "$ago" "$1")" "$(sed -E "$ago" "$WORK/screen")" 'on the screen'
	sessions_stop
	expect 0 conncount unload
}

console_command() {
	local want=${2%$'\n'}
	if [ -z "$1" ]; then
		return
	elif [[ $1 == 'conncount load'* ]]; then
		configure <"$WORK/configuration"
		expect 0 eval "$1 -c $CONFIG --cgroup $CGROUP"
		remember
	else
		counting
		expect 0 eval "$1"
	fi
	want=${want//\/run\/conncount/$CONNCOUNT_DIR}
	[ -z "$want" ] || expect_eq "${want//cgroup \//cgroup $CGROUP}" "$output$errors" "$1"
}

# passes FILE: the tests in it pass, wherever it is.
passes() {
	sed "s|^load \.\./|load $ROOT/tests/|" "$1" >"$WORK/sample.bats"
	expect 0 env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/ CONNCOUNT_BUILD="$BUILD" "$ROOT/tests/run" "$WORK/sample.bats"
	expect_match '^1 passed, 0 failed, 0 skipped$' "$(tail -n 1 <<<"$output")"
}

# dry FILE: commands that are too much for a test. Their scripts and make targets must exist.
dry() {
	local line words
	while IFS= read -r line; do
		line=${line%%#*}
		read -ra words <<<"${line#sudo }"
		case ${words[0]} in
		./scripts/* | ./tests/*) [ -x "$ROOT/${words[0]}" ] || fail "no ${words[0]}" ;;
		make) expect 0 make -n -C "$ROOT" BUILD="$BUILD" "${words[@]:1}" ;;
		apt) ;;
		*) fail "neither a script nor make: $line" ;;
		esac
	done <"$1"
}

# policy FILE: a function of an accept construct, which welcomes a client while 20 sessions are open
# from its network, and refuses it with 21.
policy() {
	expect_greeting '220 welcome \(cannot count: /nowhere: not loaded .*\)' "$1" 198.51.100.7 /nowhere
	open_sessions 20 0
	expect_greeting '220 welcome' "$1" 198.51.100.8 "$CONNCOUNT_DIR"
	open_sessions 1 0
	expect_greeting '421 4.7.0 too many sessions from your network.*' "$1" 198.51.100.9 "$CONNCOUNT_DIR"
	expect_greeting '220 welcome' "$1" 2001:db8::7 "$CONNCOUNT_DIR"
}

# opens FILE: a function of an accept construct, which refuses a network that has opened more than 30
# connections in a minute.
opens() {
	expect_greeting '220 welcome \(cannot count: /nowhere: not loaded .*\)' "$1" 198.51.100.7 /nowhere
	counting_windows
	open_sessions 30 0
	sessions close both
	expect_greeting '220 welcome' "$1" 198.51.100.8 "$CONNCOUNT_DIR"
	sessions open 1 198.51.100.7 192.0.2.10:25
	expect_greeting '421 4.7.0 too many connections from your network' "$1" 198.51.100.9 "$CONNCOUNT_DIR"
	expect_greeting '220 welcome' "$1" 203.0.115.7 "$CONNCOUNT_DIR"
}

# translated FILE: the same, but the policy limits clients from 64:ff9b::/96 by the IPv4 address in
# theirs. One such network is full first: without translation, all these clients would be refused
# for it.
translated() {
	local refusal='421 4.7.0 too many sessions from your network.*'
	open_sessions 0 0
	sessions close both
	sessions open 20 64:ff9b::198.51.100.7 '[2001:db8::10]:25'
	expect_greeting '220 welcome' "$1" 64:ff9b::198.51.100.8 "$CONNCOUNT_DIR"
	sessions open 1 64:ff9b::198.51.100.8 '[2001:db8::10]:25'
	expect_greeting "$refusal" "$1" 64:ff9b::198.51.100.9 "$CONNCOUNT_DIR"
	expect_greeting '220 welcome' "$1" 64:ff9b::203.0.113.7 "$CONNCOUNT_DIR"
	sessions open 21 2001:db8:7::7 '[2001:db8::10]:25'
	expect_greeting "$refusal" "$1" 2001:db8:7::8 "$CONNCOUNT_DIR"
	sessions open 21 203.0.114.7 192.0.2.10:25
	expect_greeting "$refusal" "$1" 203.0.114.8 "$CONNCOUNT_DIR"
}

# resumes FILE: two policies wait in one Lua state. If resume() of FILE continues them, each gets
# the count of its own client; with coroutine.resume() alone, both get that of the last client.
resumes() {
	local program
	open_sessions 1 7
	program='
		local audit = require("msys.audit")
		local function policy()
			coroutine.yield()
			print(audit.inbound_session_count("/24", "SMTP"))
		end
		local function session(address)
			local ac = require("conncount").accept{ remote = address, ["local"] = "192.0.2.10:25" }
			return { ac = ac, policy = coroutine.create(policy) }
		end
		local a, b = session("198.51.100.7"), session("203.0.113.7")
		assert(resume(a) and resume(b))'
	expect 0 "$LUA" - <<<"$(<"$1")$program assert(resume(a) and resume(b))"
	expect_eq $'1\n7' "$output" 'their own'
	expect 0 "$LUA" - <<<"$(<"$1")$program for _, s in ipairs{ a, b } do assert(coroutine.resume(s.policy)) end"
	expect_eq $'7\n7' "$output" 'that of the last one'
}

# expect_greeting REGEX FILE CLIENT DIR: the policy in FILE greets CLIENT so, with the instance DIR.
expect_greeting() {
	local to=192.0.2.10:25
	[[ $3 != *:* ]] || to='[2001:db8::10]:25'
	expect 0 env CONNCOUNT_DIR="$4" "$LUA" - "$2" "$3" "$to" <<-'END'
		local policy = assert(loadfile(arg[1]))()
		print(policy(require('conncount').accept{ remote = arg[2], ['local'] = arg[3] }, arg[2]))
	END
	expect_match "^$1\$" "$output"
}

# accepts FILE: makes `ac` and `same` of the session with the file descriptor `fd`.
accepts() {
	local session
	open_sessions 0 0
	session=$(sessions open 1 198.51.100.7 192.0.2.10:25)
	{
		echo 'local fd = 3'
		cat "$1"
		echo 'print(ac) print(same)'
	} >"$WORK/accepts.lua"
	expect 0 sessions exec "${session%-*}" "$LUA" "$WORK/accepts.lua"
	session='conncount.accept: 198.51.100.7 to 192.0.2.10:25'
	expect_eq "$session"$'\n'"$session" "$output" 'accept constructs'
}

# installed: installs conncount in $PREFIX once, where pkg-config and CMake find it.
installed() {
	PREFIX=$WORK/prefix
	[ -d "$PREFIX" ] || expect 0 make -s -C "$ROOT" BUILD="$BUILD" DESTDIR=/ PREFIX="$PREFIX" install
	export PKG_CONFIG_PATH=$PREFIX/lib/pkgconfig LD_LIBRARY_PATH=$PREFIX/lib
}

# compiles FILE: a command that builds a.out from x.c, the example before, which prints a count.
compiles() {
	requires gcc
	installed
	cd "$WORK" || return
	expect 0 bash -e -c "$(<"$1") -Wall -Wextra -Werror"
	open_sessions 3 1
	expect 0 ./a.out
	expect_eq "$(conncount count 198.51.100.0/24)" "$output" 'count by x.c'
}

# finds FILE: lines for CMake that build x from x.c.
finds() {
	requires cmake
	installed
	{
		echo 'cmake_minimum_required(VERSION 3.18)'
		echo 'project(x C)'
		echo 'add_executable(x x.c)'
		cat "$1"
	} >"$WORK/CMakeLists.txt"
	expect 0 cmake -S "$WORK" -B "$WORK/cmake" -D CMAKE_PREFIX_PATH="$PREFIX"
	expect 0 cmake --build "$WORK/cmake"
	expect 0 "$WORK/cmake/x"
	expect_eq "$(conncount count 198.51.100.0/24)" "$output" 'count by x.c'
}

# embeds FILE: what a server that embeds Lua does, with `...` where it gets its policy.
embeds() {
	requires gcc lua5.4
	installed
	{
		printf '#include <%s>\n' lauxlib.h lualib.h arpa/inet.h stdio.h
		grep '^#include' "$1"
		cat <<-'END'
			int main(void)
			{
				struct sockaddr_in from = { .sin_family = AF_INET };
				struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(25) };
				struct sockaddr *remote = (struct sockaddr *)&from, *local = (struct sockaddr *)&to;
				lua_State *L = luaL_newstate();
				int err;

				luaL_openlibs(L);
				inet_pton(AF_INET, "198.51.100.7", &from.sin_addr);
				inet_pton(AF_INET, "192.0.2.10", &to.sin_addr);
		END
		grep -v '^#include' "$1" | sed 's/^\.\.\.$/luaL_loadstring(L, "return tostring(...)");/'
		echo 'puts(lua_tostring(L, -1)); lua_close(L); return err; }'
	} >"$WORK/embeds.c"
	# shellcheck disable=SC2046 # flags are words
	expect 0 cc -Wall -Wextra -Werror -o "$WORK/embeds" "$WORK/embeds.c" \
		$(pkg-config --cflags --libs conncount-lua lua5.4)
	expect 0 "$WORK/embeds"
	expect_eq 'conncount.accept: 198.51.100.7 to 192.0.2.10:25' "$output" 'accept construct'
}

# momentum FILE: runs the example server with this policy; stdin says what its clients do.
momentum() {
	counting
	example_start "$BUILD/tests/server" "$1"
	talk
	example_stop
	expect_eq 'server: ready' "$(<"$TEST_DIR/server.log")" "server's messages"
}

momentum_counts() {
	momentum "$1" <<-'END'
		open a 127.0.0.1 192.0.2.10:25
		open b 127.0.0.1 192.0.2.10:2025
		open c 198.51.100.7 192.0.2.10:25
		open d 127.0.0.1 192.0.2.10:25
	END
	expect_eq 'localhost	1	control	0
localhost	1	control	1
localhost	1	control	0
localhost	2	control	1' "$(<"$TEST_DIR/server.out")"
}

# The delayed greeting comes after its delay, but the dialogue is the same. example-policies.bats
# tests that other sessions are not delayed.
momentum_waits() {
	momentum "$1" <<-'END'
		open a 198.51.100.7 192.0.2.10:25
		open b 198.51.100.7 192.0.2.10:25
		open c 198.51.100.7 192.0.2.10:25
	END
	expect_said $'a 220 HOST ESMTP\nb 220 HOST ESMTP\nc 220 HOST ESMTP'
}

# counting_windows: loads a configuration with the window 60,1.
counting_windows() {
	configure raw <<-'END'
		[conncount]
		group = root
		window = 60,1
		[mx]
		listen = *:25
	END
	load
}

momentum_windows() {
	counting_windows
	momentum "$1" <<-'END'
		open a 198.51.100.7 192.0.2.10:25
		close a
		open b 198.51.100.7 192.0.2.10:25
		say b HELO client.example
		say b MAIL FROM:<b@example.org>
		open c 198.51.100.7 192.0.2.10:25
		open d 203.0.113.7 192.0.2.10:25
		say c HELO client.example
		say c MAIL FROM:<c@example.org>
		say d HELO client.example
		say d MAIL FROM:<d@example.org>
	END
	expect_said "$(cat <<-'END'
		a 220 HOST ESMTP
		b 220 HOST ESMTP
		b 250 HOST
		b 250 2.1.0 OK
		c 220 HOST ESMTP
		d 220 HOST ESMTP
		c 250 HOST
		c 450 4.7.0 too many connections
		d 250 HOST
		d 250 2.1.0 OK
	END
	)"
}

momentum_at_mail() {
	momentum "$1" <<-'END'
		open a 198.51.100.7 192.0.2.10:25
		say a EHLO client.example
		say a MAIL FROM:<a@example.org>
		open b 198.51.100.7 192.0.2.10:25
		open c 198.51.100.7 192.0.2.10:25
		open d 203.0.113.7 192.0.2.10:25
		say c HELO client.example
		say c MAIL FROM:<c@example.org>
		close a
		say c MAIL FROM:<c@example.org>
	END
	expect_said "$(cat <<-'END'
		a 220 HOST ESMTP
		a 250-HOST
		a 250-PIPELINING
		a 250 8BITMIME
		a 250 2.1.0 OK
		b 220 HOST ESMTP
		c 220 HOST ESMTP
		d 220 HOST ESMTP
		c 250 HOST
		c 450 4.7.0 too many connections
		c 250 2.1.0 OK
	END
	)"
}

momentum_limits() {
	momentum "$1" <<-'END'
		open a 198.51.100.7 192.0.2.10:25
		open b 198.51.100.7 192.0.2.10:25
		open c 198.51.100.7 192.0.2.10:25
		open p1 203.0.113.25 192.0.2.10:25
		open p2 203.0.113.25 192.0.2.10:25
		open p3 203.0.113.25 192.0.2.10:25
		open p4 203.0.113.25 192.0.2.10:25
		open p5 203.0.113.25 192.0.2.10:25
	END
	expect_said "$(cat <<-'END'
		a 220 HOST ESMTP
		b 220 HOST ESMTP
		c 421 4.7.0 too many connections from 198.51.100.7
		p1 220 HOST ESMTP
		p2 220 HOST ESMTP
		p3 220 HOST ESMTP
		p4 220 HOST ESMTP
		p5 421 4.7.0 too many connections from 203.0.113.25
	END
	)"
}

# --- the documents --------------------------------------------------------------------------------

@test "README.md: each example passes the check that try() has for it" {
	try_all README.md
}

@test ".github/CONTRIBUTING.md: each example passes the check that try() has for it" {
	try_all .github/CONTRIBUTING.md
}

@test "tests/README.md: its examples" {
	try_all tests/README.md
}

@test "tests/bench/README.md: each example passes the check that try() has for it" {
	try_all tests/bench/README.md
}

@test "user/dist/man/conncount.1: each example passes the check that try() has for it" {
	try_all user/dist/man/conncount.1
}

@test "user/dist/man/conncount.conf.5: each example passes the check that try() has for it" {
	try_all user/dist/man/conncount.conf.5
}

@test "user/dist/man/conncount-lua.3: each example passes the check that try() has for it" {
	try_all user/dist/man/conncount-lua.3
}

@test "user/dist/man/conncount-momentum.7: each example passes the check that try() has for it" {
	try_all user/dist/man/conncount-momentum.7
}

@test "libconncount.3: its declarations, in their order, are valid C99" {
	requires gcc
	printf '#include <stddef.h>\n#include <stdint.h>\nstruct sockaddr;\n' >"$WORK/declarations.h"
	try_all libconncount.3
	expect 0 cc -std=c99 -pedantic -Wall -Wextra -Werror -fsyntax-only "$WORK/declarations.h"
}

# untried DOCUMENT TESTS: prints those of its examples, which stdin lists, that no file below TESTS
# takes by `example PAGE SECTION N`.
untried() {
	local section n
	while IFS=$'\t' read -r section n; do
		grep -rqE "example ${1##*/} ['\"]?${section}['\"]? $n([^0-9]|$)" "$2" ||
			echo "${1##*/}: section $section, example $n"
	done
}

@test "a document with examples has a test here, or each of its examples has one elsewhere" {
	local document n=0
	mkdir "$WORK/none"
	while read -r document; do
		expect 0 python3 -I -S "$TOOLS/examples.py" "$(path_of "$document")" "$WORK/none"
		if grep -qF "@test \"$document: " "$BATS_TEST_FILENAME"; then
			n=$((n + 1))
		elif [ -n "$output" ]; then
			expect_eq '' "$(untried "$document" "$ROOT/tests" <<<"$output")" 'nobody tries'
		fi
	done < <(documents)
	[ "$n" -ge 6 ] || fail "only $n documents found"
}

@test "an example that no test tries is an error" {
	mkdir "$WORK/examples" "$WORK/tests"
	printf '%s\n' '# New' '' 'Text.' '' '    conncount dance' '' '```lua' 'print(1)' '```' >"$WORK/new.md"
	expect 0 python3 -I -S "$TOOLS/examples.py" "$WORK/new.md" "$WORK/examples"
	expect_eq $'New\t1\nNew\t2' "$output" examples
	expect_eq 'conncount dance' "$(<"$WORK/examples/01")"
	expect_eq 'print(1)' "$(<"$WORK/examples/02")"
	expect 1 try README.md "$WORK/examples/01"
	expect_match 'README.md: nobody tries this example' "$errors"

	cat >"$WORK/new.8" <<-'END'
		.Sh SYNOPSIS
		.Bd -literal
		new
		.Ed
		.Sh A SERVER
		.Bd -literal
		one
		.Ed
		.Bd -literal
		ask \(aqtwo\(aq
		.Ed
		.Sh OTHER
		.Dl three
		.Dl four
	END
	expect 0 python3 -I -S "$TOOLS/examples.py" "$WORK/new.8" "$WORK/examples"
	expect_eq $'A SERVER\t1\nA SERVER\t2\nOTHER\t1' "$output" examples
	expect_eq "ask 'two'" "$(<"$WORK/examples/02")"
	expect_eq $'three\nfour' "$(<"$WORK/examples/03")"
	echo "example new.8 'A SERVER' 1 | x; example new.8 'A SERVER' 22" >"$WORK/tests/a.bats"
	echo 'x <(example new.8 OTHER 1)' >"$WORK/tests/b.bats"
	expect_eq 'new.8: section A SERVER, example 2' "$(untried new.8 "$WORK/tests" <<<"$output")"
}
