# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The Lua binding with nothing loaded. The assertions are in lua/*.lua.

load ../lib/common

setup() {
	requires lua
	export LUA_PATH="$BATS_TEST_DIRNAME/lua/?.lua;$LUA_PATH"
	export CONNCOUNT_DIR="$BATS_TEST_TMPDIR/nothing is loaded here"
}

# assertions NAME: runs lua/NAME.lua, first as usual and then with the garbage collector always at
# work.
assertions() {
	local script=$BATS_TEST_DIRNAME/lua/$1.lua
	expect 0 "$LUA" "$script" </dev/null
	expect 0 "$LUA" -e 'collectgarbage("setpause", 1) collectgarbage("setstepmul", 1000)' \
		"$script" </dev/null
}

# build_fake DIR: builds DIR/conncount.so, the binding over a library that records its queries and
# gives the answers that it was given (lua/fake.c), with the compiler and flags of the environment.
build_fake() {
	local flags
	read -ra flags <<<"$(pkg-config --cflags "$LUA") ${CFLAGS:-}"
	expect 0 "${CC:-cc}" -g -fPIC -shared "${flags[@]}" -I"$ROOT/user/lib" -I"$ROOT/lua" \
		-o "$1/conncount.so" "$ROOT"/lua/*.c "$ROOT"/user/lib/{cidr,window_text}.c \
		"$BATS_TEST_DIRNAME/lua/fake.c"
}

@test "accept constructs: two addresses make one, and a policy cannot change it" {
	assertions accept
}

@test "arguments: well-formed ones reach the system, and malformed ones raise an error" {
	assertions arguments
}

@test "nothing loaded: a call returns nil, a message that names the instance, and ENOENT" {
	assertions system
}

@test "conncount.ask returns nil for any failure or error, and logs each reason once a minute" {
	assertions ask_log
}

@test "what the library answers reaches the policy, over one handle that is closed with the Lua state" {
	build_fake "$BATS_TEST_TMPDIR"
	export LUA_CPATH="$BATS_TEST_TMPDIR/?.so"
	assertions answers
	# shellcheck disable=SC2154 # set by expect
	expect_eq $'closed\nthen nil, fake error 9, 9' "$errors"
}

@test "an embedding server can hand its sessions to a policy" {
	requires ipv6
	expect 0 "$BUILD/tests/embed-$LUA" "$BATS_TEST_DIRNAME/lua/embed_policy.lua"
	expect_eq $'ipv4: done\nipv6: done\nmapped: done' "$output"
}

@test "an embedding server gets an errno, never a Lua error" {
	requires ipv6
	expect 0 "$BUILD/tests/embed-$LUA" -e
}

@test "no shortage of memory crashes an embedding server" {
	requires ipv6
	expect 0 "$BUILD/tests/embed-$LUA" -m "$BATS_TEST_DIRNAME/lua/embed_policy.lua"
}
