# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The suites cidr, config and lua with AddressSanitizer and UBSan, and parts of them with valgrind.

load ../lib/common

# On a busy machine, a build of everything and the slow programs take minutes.
time_limit 900

suites=("$BATS_TEST_DIRNAME"/{cidr,config,lua}.bats)

# wrapper FILE TEXT: makes FILE an executable script.
wrapper() {
	mkdir -p "${1%/*}"
	printf '#!/bin/sh\n%s\n' "$2" >"$1"
	chmod +x "$1"
}

# run_suites BUILD [OPTION...]: runs the suites with the products in BUILD, and the $LUA in
# BUILD/bin. No test may be skipped.
run_suites() {
	local build=$1
	shift
	expect 0 env CONNCOUNT_BUILD="$build" PATH="$build/bin:$PATH" \
		"$ROOT/tests/run" --jobs "$(nproc)" --no-skip "$@" "${suites[@]}"
}

@test "AddressSanitizer and UBSan find nothing in the suites cidr, config and lua" {
	local build=$BATS_TEST_TMPDIR/sanitized libraries
	expect 0 make -s -j2 -C "$ROOT" SANITIZE=1 BUILD="$build" tools
	# The interpreter is built without sanitizers, so it must load their libraries first.
	libraries=$(cc -print-file-name=libasan.so):$(cc -print-file-name=libubsan.so)
	wrapper "$build/bin/$LUA" "LD_PRELOAD=$libraries exec $(command -v "$LUA") \"\$@\""
	run_suites "$build"
}

@test "AddressSanitizer finds a planted overflow" {
	cat >"$BATS_TEST_TMPDIR/bug.c" <<-'END'
		#include <stdlib.h>
		int main(int argc, char **argv)
		{
			char *p = malloc((size_t)argc);
			(void)argv;
			p[argc] = 1;
			free(p);
			return 0;
		}
	END
	expect 0 cc -fsanitize=address,undefined -o "$BATS_TEST_TMPDIR/bug" "$BATS_TEST_TMPDIR/bug.c"
	expect 1 "$BATS_TEST_TMPDIR/bug"
	expect_match 'heap-buffer-overflow' "$errors"
}

@test "valgrind finds nothing in selected tests of the suites cidr, config and lua" {
	requires valgrind build
	local build=$BATS_TEST_TMPDIR/wrapped program
	local valgrind='exec valgrind -q --leak-check=full --error-exitcode=99'
	for program in conncount tests/parse "tests/embed-$LUA"; do
		wrapper "$build/$program" "$valgrind ${BUILD:?}/$program \"\$@\""
	done
	wrapper "$build/bin/$LUA" "$valgrind $(command -v "$LUA") \"\$@\""
	ln -s "$BUILD/lua" "$build/lua"
	# Tests with a process for each prefix length are left to AddressSanitizer, which is faster.
	run_suites "$build" --filter \
		'malformed|alone|two lengths|mapped|localhost|example|keys|sections|twice|max_pre|accept|nothing loaded|what the library'
}
