# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# What Lua is told of real sessions, again with the other versions of Lua: what depends on the
# binding, a test of each kind.

load ../lib/common

# again INTERPRETER
again() {
	requires "$1"
	expect 0 env CONNCOUNT_LUA="$1" "$ROOT/tests/run" --no-skip --filter \
		'^(no argument|a known type|msys|a policy|an integer|not loaded|the session)' \
		"$ROOT"/tests/{command/semantics,integration/sessions}.bats
}

@test "Lua 5.1: the calls of a policy" {
	again lua5.1
}

@test "Lua 5.3: the calls of a policy" {
	again lua5.3
}

@test "LuaJIT: the calls of a policy" {
	again luajit
}
