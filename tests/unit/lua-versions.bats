# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The Lua suite, with the other versions of Lua.

load ../lib/common

# again INTERPRETER: runs the Lua suite once more, with this interpreter.
again() {
	requires "$1"
	expect 0 env CONNCOUNT_LUA="$1" "$ROOT/tests/run" --no-skip "$BATS_TEST_DIRNAME/lua.bats"
}

@test "Lua 5.1: the Lua suite passes" {
	again lua5.1
}

@test "Lua 5.3: the Lua suite passes" {
	again lua5.3
}

@test "LuaJIT: the Lua suite passes" {
	again luajit
}
