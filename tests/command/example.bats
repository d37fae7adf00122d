# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# lua/example, a server that embeds Lua and asks conncount, built against the installed library with
# pkg-config and with CMake, as its users build it.

load ../lib/common
load ../lib/example
load ../lib/instance

setup() {
	example_setup
}

teardown() {
	example_teardown
}

# install_tree ROOT PREFIX LIBDIR: runs `make install`, and copies the installed example.
install_tree() {
	local tree=${1%/}$2
	requires cmake gcc lua5.4
	LIBRARIES=${1%/}$3
	expect 0 make -s -C "$ROOT" BUILD="$BUILD" DESTDIR="$1" PREFIX="$2" LIBDIR="$3" install
	cp -r "$tree/share/doc/conncount/examples/server" "$BATS_TEST_TMPDIR/server"
	export LD_LIBRARY_PATH=$LIBRARIES
	export LUA_PATH="$tree/share/lua/5.4/?.lua;;"
	unset LUA_CPATH
}

# expect_limits SERVER: its policy refuses the sixth session of an address and the 21st of a
# network, and no other.
expect_limits() {
	local i
	expect 0 ldd "$1"
	expect_match "libconncount.so.0 => $LIBRARIES/libconncount.so.0" "$output"
	example_start "$1" "$BATS_TEST_TMPDIR/server/limits.lua"
	load
	talk < <(
		for i in {1..6}; do echo "open a$i 198.51.100.1 192.0.2.10:25"; done
		echo 'gone a6'
		for i in {6..21}; do echo "open n$i 198.51.100.$i 192.0.2.10:25"; done
		echo 'gone n21'
		for i in {1..5}; do echo "open s$i 2001:db8:1:1::$i [2001:db8::10]:25"; done
		echo 'say a1 QUIT'
		echo 'gone a1'
		echo 'open again 198.51.100.99 192.0.2.10:25'
	)
	expect_said "$(
		for i in {1..5}; do echo "a$i 220 HOST ESMTP"; done
		echo 'a6 421 4.7.0 too many sessions from your network'
		for i in {6..20}; do echo "n$i 220 HOST ESMTP"; done
		echo 'n21 421 4.7.0 too many sessions from your network'
		for i in {1..5}; do echo "s$i 220 HOST ESMTP"; done
		echo 'a1 221 2.0.0 HOST closing connection'
		echo 'again 220 HOST ESMTP'
	)"
	wait_until expect_count 0
	example_stop
	expect_eq 'server: ready' "$(<"$TEST_DIR/server.log")"
}

@test "the example, built with pkg-config against the installed library, enforces its limits" {
	local prefix=$BATS_TEST_TMPDIR/prefix
	install_tree / "$prefix" "$prefix/lib"
	expect 0 env PKG_CONFIG_PATH="$LIBRARIES/pkgconfig" CFLAGS='-O2 -Werror' \
		make -s -C "$BATS_TEST_TMPDIR/server"
	expect_eq '' "$errors" warnings
	expect_limits "$BATS_TEST_TMPDIR/server/server"
}

@test "the example, built with CMake against the installed library, enforces its limits" {
	# Debian's directories, in a tree other than the one that PREFIX names.
	install_tree "$BATS_TEST_TMPDIR/tree" /usr "/usr/lib/$(cc -print-multiarch)"
	expect 0 cmake -Wdev -Werror=dev -S "$BATS_TEST_TMPDIR/server" -B "$BATS_TEST_TMPDIR/cmake" \
		-D CMAKE_PREFIX_PATH="$BATS_TEST_TMPDIR/tree/usr" -D CMAKE_C_FLAGS=-Werror
	expect_eq '' "$errors" warnings
	expect 0 cmake --build "$BATS_TEST_TMPDIR/cmake"
	expect_limits "$BATS_TEST_TMPDIR/cmake/server"
}

# find_package ARGUMENT...: configures a project that calls find_package(conncount ARGUMENT...).
find_package() {
	mkdir -p "$BATS_TEST_TMPDIR/project"
	cat >"$BATS_TEST_TMPDIR/project/CMakeLists.txt" <<-END
		cmake_minimum_required(VERSION 3.18)
		project(asks NONE)
		set(CMAKE_PREFIX_PATH $PREFIX)
		find_package(conncount $*)
		message(STATUS "conncount: \${conncount_VERSION} \${conncount_FOUND}")
	END
	rm -rf "$BATS_TEST_TMPDIR/asks"
	cmake -S "$BATS_TEST_TMPDIR/project" -B "$BATS_TEST_TMPDIR/asks"
}

@test "CMake's find_package accepts compatible versions and installed components, and no others" {
	local version major wanted
	PREFIX=$BATS_TEST_TMPDIR/prefix
	install_tree / "$PREFIX" "$PREFIX/lib"
	version=$(PKG_CONFIG_PATH=$LIBRARIES/pkgconfig pkg-config --modversion conncount)
	major=${version%.*}
	for wanted in '' "$version EXACT REQUIRED" "$major REQUIRED" \
		'REQUIRED COMPONENTS lua5.1 lua5.3 lua5.4'; do
		expect 0 find_package "$wanted"
		expect_match "conncount: $version 1" "$output" "find_package(conncount $wanted)"
	done
	for wanted in "${major%.*}.$((${major#*.} + 1))" "$version.1" 99; do
		expect 1 find_package "$wanted REQUIRED"
		expect_match "version: $version" "$errors" "find_package(conncount $wanted)"
	done
	expect 1 find_package REQUIRED COMPONENTS lua5.2
	expect_match 'no component lua5.2' "$errors"
}
