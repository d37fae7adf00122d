# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The counts of real sessions with the other versions of Lua: one test of each kind that depends on
# the binding.

load ../lib/common

# again INTERPRETER: runs those tests once more with this interpreter.
again() {
	requires "$1"
	expect 0 env CONNCOUNT_LUA="$1" "$ROOT/tests/run" --no-skip --filter \
		'^(no argument|a known type|msys|a policy|an integer|not loaded|the session|windows)' \
		"$ROOT"/tests/{command/{semantics,arguments,lua-windows},integration/sessions}.bats
	expect_eq '12 passed, 0 failed, 0 skipped' "$(tail -n 1 <<<"$output")" 'the tests that were found'
}

@test "Lua 5.1: a policy gets the right counts" {
	again lua5.1
}

@test "Lua 5.3: a policy gets the right counts" {
	again lua5.3
}

@test "LuaJIT: a policy gets the right counts" {
	again luajit
}
