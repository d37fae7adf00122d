# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The Lua binding where nothing is loaded. The assertions are in lua/*.lua.

load ../lib/common

setup() {
	requires lua
	export LUA_PATH="$BATS_TEST_DIRNAME/lua/?.lua;$LUA_PATH"
	export CONNCOUNT_DIR="$BATS_TEST_TMPDIR/nothing is loaded here"
}

# assertions NAME: runs lua/NAME.lua as it is, and with the collector at work all the time.
assertions() {
	local script=$BATS_TEST_DIRNAME/lua/$1.lua
	expect 0 "$LUA" "$script" </dev/null
	expect 0 "$LUA" -e 'collectgarbage("setpause", 1) collectgarbage("setstepmul", 1000)' \
		"$script" </dev/null
}

# build_fake DIR: makes DIR/conncount.so, the binding over a library that tells what it is
# asked and answers what it is told, with the compiler and flags of the environment.
build_fake() {
	local flags
	read -ra flags <<<"$(pkg-config --cflags "$LUA") ${CFLAGS:-}"
	expect 0 "${CC:-cc}" -g -fPIC -shared "${flags[@]}" -I"$ROOT/user/lib" -I"$ROOT/lua" \
		-o "$1/conncount.so" "$ROOT"/lua/*.c "$ROOT/user/lib/cidr.c" \
		"$BATS_TEST_DIRNAME/lua/fake.c"
}

@test "accept constructs: what makes one, what a policy can do with it" {
	assertions accept
}

@test "arguments: well-formed ones reach the system, malformed ones raise an error" {
	assertions arguments
}

@test "nothing loaded: nil, a message that names the instance, ENOENT" {
	assertions system
}

@test "what runs inside a server: no failure and no error reaches it, and the log has each once a minute" {
	assertions ask_log
}

@test "what the library is asked, what the policy gets; one handle, closed with the state" {
	build_fake "$BATS_TEST_TMPDIR"
	export LUA_CPATH="$BATS_TEST_TMPDIR/?.so"
	assertions answers
	# shellcheck disable=SC2154 # set by expect
	expect_eq $'closed\nthen nil, fake error 9, 9' "$errors"
}

@test "an embedding server hands over its sessions" {
	requires ipv6
	expect 0 "$BUILD/tests/embed-$LUA" "$BATS_TEST_DIRNAME/lua/embed_policy.lua"
	expect_eq $'ipv4: done\nipv6: done\nmapped: done' "$output"
}

@test "an embedding server gets an errno, never a jump" {
	requires ipv6
	expect 0 "$BUILD/tests/embed-$LUA" -e
}

@test "no shortage of memory crashes an embedding server" {
	requires ipv6
	expect 0 "$BUILD/tests/embed-$LUA" -m "$BATS_TEST_DIRNAME/lua/embed_policy.lua"
}
