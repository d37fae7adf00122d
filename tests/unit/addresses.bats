# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# One parser reads an address with a port wherever it is given, so the errors are the same.

load ../lib/common

setup() {
	requires lua lua5.4
}

# Each function refuses the address $1 and says why. A server that accepted it would not end, hence
# the timeout.

by_config() {
	printf '[a]\nlisten = %s\n' "$1" >"$BATS_TEST_TMPDIR/conf"
	conncount check "$BATS_TEST_TMPDIR/conf"
}

by_exporter() {
	timeout 10 conncount exporter --listen "$1"
}

by_policyd() {
	echo "limit{ v4 = 32, sessions = 5 }" >"$BATS_TEST_TMPDIR/policy.lua"
	LUA_CPATH="$BUILD/lua/5.4/?.so;;" timeout 10 "$ROOT/lua/servers/policyd/conncount-policyd" \
		-c "$BATS_TEST_TMPDIR/policy.lua" --listen "$1"
}

by_accept() {
	"$LUA" -e "print(require('conncount').accept{ remote = '::', ['local'] = '$1' })"
}

by_example() {
	timeout 10 "$BUILD/tests/server" -l "$1" "$ROOT/lua/example/limits.lua"
}

# refused WHY TEXT...: all of them refuse each TEXT, with a message that has WHY and quotes TEXT.
refused() {
	local why=$1 text reader told
	shift
	for text; do
		for reader in config exporter policyd accept example; do
			! told=$("by_$reader" "$text" 2>&1) || fail "$reader takes '$text'"
			expect_match "$why" "$told" "$reader: '$text'"
			[[ $told = *"'$text'"* ]] || fail "$reader: not the text '$text' in" "$told"
		done
	done
}

@test "a bad address with a port has the same error wherever it is given" {
	refused 'the port is not a number from 1 to 65535' 127.0.0.1:99999 127.0.0.1:0 127.0.0.1: \
		127.0.0.1:25x 127.0.0.1:+25 '[::1]:65536'
	refused "no ':PORT' after the address" 127.0.0.1 '[::1]' 25
	refused 'an IPv6 address with a port is written \[ADDRESS\]:PORT' ::1:25 2001:db8::1:25
	refused 'not an IP address \(names are not resolved\)' localhost:25 mx.example.org:25 1.2.3:25 \
		010.0.0.1:25 :25 '[127.0.0.1]:25' '[::1:25'
	refused "zones are not supported: write the address without '%'" '[fe80::1%lo]:25'
}
