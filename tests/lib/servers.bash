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
	wait_until -t 60 listens "$(sed -n "s|^listen on .* port \([0-9]*\).*|\1|p; T; q" "$1")"
}

# postfix_start [MASTER]: starts Debian's Postfix with Debian's configuration and, on stdin, lines for
# main.cf. The file MASTER, if given, replaces the line of master.cf for port 25. It logs to
# $TEST_DIR/postfix.log.
postfix_start() {
	{
		printf '%s\n' 'maillog_file = /dev/stdout' 'myhostname = mx.example' \
			'mydestination = localhost' 'local_transport = discard:' \
			'local_recipient_maps =' 'smtpd_peername_lookup = no'
		cat
	} >"$TEST_DIR/main.cf"
	mkdir "$TEST_DIR/postfix"
	# As the package's postinst and `postfix start-fg` do.
	# shellcheck disable=SC2016
	server_start "$TEST_DIR/postfix.log" "$TOOLS/in-packages" "$TEST_DIR/postfix" postfix -- bash -e -c '
		cd /etc/postfix
		cp /usr/share/postfix/main.cf.debian main.cf
		cp /usr/share/postfix/master.cf.dist master.cf
		cp /usr/share/postfix/dynamicmaps.cf .
		cat "$1" >>main.cf
		if [ -n "$2" ]; then
			sed -i "/^smtp *inet /d" master.cf
			cat "$2" >>master.cf
		fi
		for name in postfix postdrop; do
			grep -q "^$name:" /etc/group || echo "$name:x:$((++n + 64000)):" >>/etc/group
		done
		grep -q ^postfix: /etc/passwd ||
			echo postfix:x:64001:64001::/var/spool/postfix:/bin/false >>/etc/passwd
		chgrp postdrop /usr/sbin/postqueue /usr/sbin/postdrop
		chmod 2555 /usr/sbin/postqueue /usr/sbin/postdrop
		install -d -o postfix /var/lib/postfix
		postfix check
		exec /usr/lib/postfix/sbin/master -s' bash "$TEST_DIR/main.cf" "${1:-}"
	local port=25
	[ -z "${1:-}" ] || port=$(sed -n 's/^\([0-9]\+\) *inet .*/\1/p; T; q' "$1")
	wait_until -t 60 listens "$port"
}

# exim_start [PORT [PACKAGE]]: starts Debian's Exim (exim4-daemon-light) on that port (25) with the
# lines of its configuration on stdin, whose last can be an ACL. It logs to $TEST_DIR/log.
exim_start() {
	local port=${1:-25}
	{
		cat <<-END
			primary_hostname = mx.example
			daemon_smtp_ports = $port
			log_file_path = $TEST_DIR/log/%s
			host_lookup =
			tls_advertise_hosts =
			keep_environment =
			smtp_accept_max = 100
			acl_smtp_rcpt = accept
		END
		cat
		cat <<-'END'
			begin routers
			all:
			  driver = accept
			  transport = nowhere
			begin transports
			nowhere:
			  driver = appendfile
			  file = /dev/null
			  user = mail
		END
	} >"$TEST_DIR/exim.conf"
	mkdir "$TEST_DIR/exim"
	# As the package's postinst does.
	# shellcheck disable=SC2016
	server_start "$TEST_DIR/exim.log" "$TOOLS/in-packages" "$TEST_DIR/exim" "${2:-exim4-daemon-light}" -- \
		bash -e -c '
		grep -q "^Debian-exim:" /etc/group || echo "Debian-exim:x:64003:" >>/etc/group
		grep -q "^Debian-exim:" /etc/passwd ||
			echo "Debian-exim:x:64003:64003::/var/spool/exim4:/bin/false" >>/etc/passwd
		for dir in /var/spool/exim4 "$2"; do
			install -d -o Debian-exim -g Debian-exim "$dir"
		done
		rm -f /etc/resolv.conf
		echo lookup file >/etc/resolv.conf # no name server is asked
		install -D -m 644 "$1" /etc/exim4/exim4.conf
		exec /usr/sbin/exim4 -bdf' bash "$TEST_DIR/exim.conf" "$TEST_DIR/log"
	wait_until -t 60 listens "$port"
}
