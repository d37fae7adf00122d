# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# servers.bash - real mail servers in a test's place, and a client that holds sessions with them.
# Load common.bash before it. A test file has
#	setup() { instance_setup; }
#	teardown() { servers_stop; instance_teardown; }

SERVERS=() # process ids

# server_start LOG COMMAND...: starts COMMAND by start_in_ns; its output goes to the file LOG.
server_start() {
	local log=$1
	shift
	start_in_ns "$@" >"$log" 2>&1 </dev/null
	SERVERS+=("$STARTED")
}

# server_stop PID: ends a server that server_start has started, and waits until it has ended.
server_stop() {
	kill -TERM "$1" 2>/dev/null || :
	wait "$1" 2>/dev/null || :
}

# servers_stop: ends all servers and clients.
servers_stop() {
	local pid
	[ -n "${TEST_DIR:-}" ] || return 0
	[ -z "${SMTP_PID:-}" ] || smtp quit
	sessions_stop
	for pid in "${SERVERS[@]}"; do
		server_stop "$pid"
	done
	wait_until no_processes
}

# listens PORT: succeeds if a socket in the test's network namespace listens on PORT.
listens() {
	nsenter --net="$TEST_DIR/net" -- ss -Hltn "sport = :$1" | grep -q .
}

# smtp_start: starts tests/tools/smtp.py. smtp COMMAND...: sends it a command.
smtp_start() {
	start_in_ns python3 -I -S "$TOOLS/smtp.py" "$TEST_DIR/smtp.sock"
	SMTP_PID=$STARTED
	wait_until test -S "$TEST_DIR/smtp.sock"
}
smtp() {
	"$BUILD/tests/tell" "$TEST_DIR/smtp.sock" "$@"
}

# expect_smtp WANT COMMAND...: expects that the command prints exactly WANT.
expect_smtp() {
	local want=$1 got
	shift
	got=$(smtp "$@") || fail "smtp $*: it failed" || return
	expect_eq "$want" "$got" "smtp $*"
}

# times N WORD: prints WORD N times.
times() {
	local words
	words=$(yes "$2" | head -n "$1" | tr '\n' ' ')
	echo "${words% }"
}

# example PAGE SECTION N: prints the N-th example in that section of a manual page.
example() {
	awk -v section="$2" -v want="$3" '
		/^\.Sh / { on = $0 == ".Sh " section; n = 0 }
		/^\.Ed/ { show = 0 }
		show
		on && /^\.Bd -literal/ { show = ++n == want; found += show }
		END { exit !found }' "$ROOT/user/dist/man/$1"
}

# opensmtpd_start CONFIGURATION: starts Debian's OpenSMTPD with that file, in a root in which
# conncount is installed. It logs to $TEST_DIR/smtpd.log.
opensmtpd_start() {
	local files=$TEST_DIR/files
	mkdir "$TEST_DIR/smtpd"
	# That root may not show this tree.
	install -D -t "$files/usr/libexec/opensmtpd" "$ROOT/lua/servers/opensmtpd/filter-conncount"
	install -D -t "$files/usr/local/share/lua/5.4/conncount" "$ROOT/lua/conncount/ask.lua"
	install -D -t "$files/usr/local/lib/lua/5.4" "$BUILD/lua/5.4/conncount.so"
	install -D -t "$files/usr/local/bin" "$BUILD/conncount"
	# shellcheck disable=SC2016
	server_start "$TEST_DIR/smtpd.log" "$TOOLS/in-packages" "$TEST_DIR/smtpd" opensmtpd -- bash -e -c '
		cp -r "$2/." /
		cp "$1" /etc/smtpd.conf
		echo mx.example >/etc/mailname
		rm -f /etc/resolv.conf
		echo lookup file >/etc/resolv.conf # no name server is asked
		for name in opensmtpd opensmtpq; do
			id "$name" >/dev/null 2>&1 || useradd --system --home /var/lib/opensmtpd/empty "$name"
		done
		mkdir -p /var/lib/opensmtpd/empty
		exec /usr/sbin/smtpd -d' \
		bash "$1" "$files"
	wait_until listens "$(sed -n "s|^listen on .* port \([0-9]*\).*|\1|p; T; q" "$1")"
}
