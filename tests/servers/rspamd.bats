# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Debian's rspamd with the rule of lua/servers/rspamd, configured as in conncount-servers(7).

load ../lib/common
load ../lib/servers
load ../lib/instance

setup() {
	requires rspamd curl luajit
	instance_setup
	{
		printf '[conncount]\ngroup = nogroup\n[mx]\nlisten = *:25\nservice = SMTP\n'
		printf '[msa]\nlisten = *:587\nservice = submission\n'
	} | configure raw
	load
	sessions_start
	sessions listen '*:25'
	sessions listen '*:587'
	LOCAL=$TEST_DIR/rspamd
	mkdir -p "$LOCAL/local.d" "$LOCAL/db"
	chown _rspamd "$LOCAL/db"
	# Its user may not be able to read this tree.
	install -D -t "$LOCAL/lua" "$ROOT/lua/servers/rspamd/rspamd.lua" "$BUILD/lua/5.1/conncount.so"
	install -D -t "$LOCAL/lua/conncount" "$ROOT/lua/conncount/ask.lua"
	example conncount-servers.7 RSPAMD 1 |
		sed "s|/usr/share/conncount/rspamd.lua|$LOCAL/lua/rspamd.lua|" >"$LOCAL/rspamd.local.lua"
}

teardown() {
	servers_stop
	instance_teardown
}

# rspamd_start GROUP: starts rspamd as its unit does, with Debian's configuration and the local one
# in $LOCAL, and with GROUP as an additional group.
rspamd_start() {
	# rspamd would take ten seconds to build tables from its lists, and would wait for a name
	# server; no test needs either.
	echo test >"$LOCAL/tld"
	mkdir -p "$LOCAL/languages"
	# shellcheck disable=SC2016
	printf '%s\n' 'url_tld = "$LOCAL_CONFDIR/tld";' \
		'dns { nameserver = ["127.0.0.1:1"]; timeout = 1ms; retransmits = 1; }' >"$LOCAL/local.d/options.inc"
	# shellcheck disable=SC2016
	printf 'lang_detection { languages = "$LOCAL_CONFDIR/languages"; }\n' >>"$LOCAL/rspamd.conf.local"
	printf 'type = "console";\n' >"$LOCAL/local.d/logging.inc"
	server_start "$TEST_DIR/rspamd.log" setpriv --reuid=_rspamd --regid=_rspamd --groups="$1" \
		env LUA_PATH="$LOCAL/lua/?.lua;;" LUA_CPATH="$LOCAL/lua/?.so;;" rspamd -f -c /etc/rspamd/rspamd.conf \
		--var=LOCAL_CONFDIR="$LOCAL" --var=DBDIR="$LOCAL/db" --var=RUNDIR="$LOCAL/db" \
		--var=LOGDIR="$LOCAL/db"
	wait_until -t 60 listens 11333
}

# check IP [HEADER]: prints the symbols of conncount that a mail from IP gets, with score and
# option.
check() {
	printf 'Subject: test\nFrom: <from@client.example>\n\ntest\n' |
		in_ns curl -sS --data-binary @- -H "IP: $1" ${2:+-H "$2"} http://127.0.0.1:11333/checkv2 |
		python3 -I -c '
import json, sys
symbols = json.load(sys.stdin)["symbols"]
assert len(symbols) > 3, symbols
print("\n".join(sorted("%s %g %s" % (name, found["score"], " ".join(found["options"]))
                       for name, found in symbols.items() if "CONNCOUNT" in name)))'
}

expect_check() {
	local want=$1 got
	shift
	got=$(check "$@") || fail "check $*: it failed" || return
	expect_eq "$want" "$got" "check $*"
}

logged() {
	[ "$(grep -cF -- "$2" "$TEST_DIR/rspamd.log")" = "$1" ] ||
		fail "not $1 lines with '$2':" "$(grep conncount "$TEST_DIR/rspamd.log")"
}

# The configuration in the manual page is the rule's default, so both give the same results.
@test "addresses, /24s and /64s over their limits get their symbols and scores, others none" {
	local configured
	sessions open 10 198.51.100.7 192.0.2.1:25
	sessions open 10 198.51.100.8 192.0.2.1:25
	sessions open 10 2001:db8:7::1 '[2001:db8::1]:25'
	for configured in '' yes; do
		[ -z "$configured" ] || example conncount-servers.7 RSPAMD 2 >"$LOCAL/rspamd.conf.local"
		rspamd_start nogroup
		expect_check '' 198.51.100.7
		expect_check '' 2001:db8:7::1
		sessions open 1 198.51.100.8 192.0.2.1:25
		sessions open 10 2001:db8:7::2 '[2001:db8::1]:25'
		sessions open 11 2001:db8:7::3 '[2001:db8::1]:25'
		sessions open 30 203.0.113.1 192.0.2.1:587
		expect_check 'CONNCOUNT_24 2 21 from 198.51.100.7/24' 198.51.100.7
		expect_check "CONNCOUNT_24 2 21 from 198.51.100.8/24${NL}CONNCOUNT_ADDRESS 3 11 from 198.51.100.8/32" \
			198.51.100.8
		expect_check 'CONNCOUNT_24 2 21 from 198.51.100.8/24
CONNCOUNT_ADDRESS 3 11 from 198.51.100.8/32' ::ffff:198.51.100.8
		expect_check 'CONNCOUNT_64 3 31 from 2001:db8:7::1/64' 2001:db8:7::1
		expect_check '' 2001:db8:7:1::1
		expect_check '' 203.0.113.1
		# Mail of an authenticated user gets no symbol.
		expect_check '' 198.51.100.8 'User: somebody'
		sessions close server from=198.51.100.8
		sessions open 10 198.51.100.8 192.0.2.1:25
		sessions close server from=2001:db8:7::2
		sessions close server from=2001:db8:7::3
		expect_check '' 198.51.100.7
		server_stop "$STARTED"
		: >"$LOCAL/rspamd.conf.local"
	done
}

@test "a symbol with a window is of the connections that were opened in it" {
	example conncount-servers.7 RSPAMD 3 | sed 's/60,1/3600,1/; s/limit = 100/limit = 3/' \
		>"$LOCAL/rspamd.conf.local"
	rspamd_start nogroup
	# The window is not configured.
	sessions open 4 198.51.100.7 192.0.2.1:25
	expect_check '' 198.51.100.7
	expect_check '' 198.51.100.7
	logged 1 "conncount: mail is not scored: connections: bad argument #1 (monitor) '3600,1': no such window"
	sed -i 's/^group/window = 3600,1\n&/' "$CONFIG"
	load
	sessions open 3 203.0.113.7 192.0.2.1:25
	sessions open 9 203.0.113.7 192.0.2.1:587
	expect_check '' 203.0.113.8
	sessions open 1 203.0.113.9 192.0.2.1:25
	sessions close server from=203.0.113.9
	expect_check 'CONNCOUNT_OPENED 2 4 from 203.0.113.8/24' 203.0.113.8
}

@test "a configuration can set names, lengths and service; a mistake in it is logged" {
	printf '%s\n' 'conncount { service = "submission"; symbols {' \
		'MY_CONNCOUNT_20 { ipv4 = 20; limit = 2; score = 7.5; }' \
		'MY_CONNCOUNT_TEXT { ipv4 = "20"; limit = "2"; score = "1.5"; }' \
		'MY_CONNCOUNT { ipv4 = 20; score = 1; } } }' >"$LOCAL/rspamd.conf.local"
	sessions open 3 198.51.100.7 192.0.2.1:587
	sessions open 30 203.0.113.1 192.0.2.1:25
	rspamd_start nogroup
	expect_check "MY_CONNCOUNT_20 7.5 3 from 198.51.96.1/20${NL}MY_CONNCOUNT_TEXT 1.5 3 from 198.51.96.1/20" \
		198.51.96.1
	expect_check '' 203.0.113.1
	logged 1 'conncount: symbol MY_CONNCOUNT: limit or score is missing'
}

@test "mail is not scored while the counts are absent or unreadable, and the log says so once" {
	sessions open 11 198.51.100.7 192.0.2.1:25
	rspamd_start nogroup
	conncount unload
	expect_check '' 198.51.100.7
	expect_check '' 198.51.100.7
	logged 1 "conncount: mail is not scored: $CONNCOUNT_DIR: not loaded"
	load
	expect_check 'CONNCOUNT_ADDRESS 3 11 from 198.51.100.7/32' 198.51.100.7
	server_stop "$STARTED"

	rspamd_start 65532
	expect_check '' 198.51.100.7
	expect_check '' 198.51.100.7
	logged 1 "members of the group 'nogroup' may read it"
}

NL=$'\n'
