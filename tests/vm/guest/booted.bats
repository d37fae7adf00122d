# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Runs in the Debian that ../boot.bats installs, after it has booted. The sessions are Postfix's,
# and the counts must be what ss(8) finds.

# Test what the package has installed.
export CONNCOUNT_BUILD=/usr/bin

load ../../lib/common
load ../../lib/servers
load ../../lib/policyd

setup() {
	SESSIONS=()
	wait_until postfix_listens
	wait_until agrees 0
}

postfix_listens() {
	[ "$(ss -Htln '( sport = :25 )' | wc -l)" -eq 2 ]
}

# say SESSION REPLY [TEXT]: sends TEXT, if given, and reads until the last line of a reply, which
# must begin with REPLY.
say() {
	local line=
	[ $# -lt 3 ] || printf '%s\r\n' "$3" >&"$1"
	while read -r -t 60 -u "$1" line && [[ $line == ???-* ]]; do
		:
	done
	expect_match "^$2 " "$line" "reply to '${3:-}'"
}

# begin ADDRESS N: opens N SMTP sessions with Postfix, and adds their file descriptors to SESSIONS.
begin() {
	local session i
	for ((i = 0; i < $2; i++)); do
		exec {session}<>"/dev/tcp/$1/25"
		SESSIONS+=("$session")
		say "$session" 220
		say "$session" 250 'EHLO client.example'
	done
}

# end N: ends the last N of them with QUIT.
end() {
	local session i
	for ((i = 0; i < $1; i++)); do
		session=${SESSIONS[-1]}
		say "$session" 221 QUIT
		exec {session}>&-
		unset 'SESSIONS[-1]'
	done
}

# agrees N [NETWORK]: both conncount and ss find N open sessions.
agrees() {
	expect_eq "$1" "$(ss -Htn state established state close-wait "( sport = :25 ${2:+and dst $2} )" | wc -l)" ss
	expect_eq "$1" "$(conncount count ${2:+"$2"})" "conncount count ${2:-}"
}

# exact N: waits until N sessions are open; then verify and status must find nothing wrong.
exact() {
	wait_until agrees "$1"
	expect 0 conncount verify
	expect 0 conncount status
	expect_match '(^|'$'\n'')exact +yes' "$output"
}

# when UNIT PROPERTY: prints a time in microseconds since the kernel started; 0 if it has not come.
when() {
	systemctl show -P "$2" "$1"
}

@test "boot: conncount is loaded before Postfix starts, and no unit has failed" {
	local loaded started
	wait_until systemctl -q is-system-running
	expect 0 systemctl is-enabled conncount.service
	loaded=$(when conncount.service ActiveEnterTimestampMonotonic)
	started=$(when postfix@-.service InactiveExitTimestampMonotonic)
	((loaded > 0 && loaded < started)) || fail "loaded at $loaded us, Postfix started at $started us"
	expect 0 journalctl -q -b -u conncount -o cat
	expect_match 'counting started' "$output"
	exact 0
}

@test "sessions: each is counted, for its address, until it ends" {
	begin 127.0.0.1 4
	begin ::1 3
	exact 7
	agrees 4 127.0.0.0/8
	agrees 3 '[::1]'
	say "${SESSIONS[0]}" 250 'MAIL FROM:<>'
	say "${SESSIONS[0]}" 250 'RCPT TO:<root>'
	say "${SESSIONS[0]}" 354 DATA
	say "${SESSIONS[0]}" 250 $'Subject: counted\r\n\r\nHello.\r\n.'
	agrees 7
	end 4
	exact 3
	agrees 3 127.0.0.1
	agrees 0 '[::1]'
}

# asked_over_tcp, asked_over_unix: print what conncount-policyd answers about a session from
# 127.0.0.1.
asked_over_tcp() {
	local answer fd
	exec {fd}<>/dev/tcp/127.0.0.1/10126
	request 127.0.0.1 127.0.0.1 >&"$fd"
	read -r -t 60 -u "$fd" answer
	echo "$answer"
	exec {fd}>&-
}
asked_over_unix() {
	# shellcheck disable=SC2016
	request 127.0.0.1 127.0.0.1 | perl -MIO::Socket::UNIX -e '
		$s = IO::Socket::UNIX->new(Peer => "/run/conncount-policyd.sock") or die $!;
		print $s join("", <STDIN>);
		$s->flush;
		print scalar <$s>;'
}

let_in() {
	expect_eq action=DUNNO "$(asked_over_tcp)" 'over TCP'
}

@test "exporter: it serves metrics within the limits of its unit, which let no other program run" {
	local pid fd
	expect 0 systemctl start conncount-exporter.socket
	begin 127.0.0.1 2
	exec {fd}<>/dev/tcp/127.0.0.1/10125
	printf 'GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&"$fd"
	output=$(cat <&"$fd")
	exec {fd}>&-
	expect_match 'conncount_up 1' "$output"
	expect_match 'conncount_sessions\{listener="mx",service="SMTP",family="ipv4"\} 2' "$output"
	expect_match 'conncount_accept_queue_limit\{listener="mx"' "$output"
	pid=$(systemctl show -P MainPID conncount-exporter.service)
	expect 126 nsenter --mount --target "$pid" /usr/bin/env true
	expect 0 systemctl stop conncount-exporter.socket conncount-exporter.service
	end 2
}

@test "policyd: within the limits of its unit it answers on both sockets and reloads its policy" {
	local pid refusal='action=421 4.7.0 too many sessions from 127.0.0.1/32'
	echo 'limit{ v4 = 32, v6 = 64, sessions = 5 }' >/etc/conncount-policy.lua
	expect 0 systemctl start conncount-policyd.socket
	begin 127.0.0.1 6
	expect_eq "$refusal" "$(asked_over_tcp)" 'over TCP'
	expect_eq "$refusal" "$(asked_over_unix)" 'over a unix socket'
	pid=$(systemctl show -P MainPID conncount-policyd.service)
	echo 'limit{ v4 = 32, v6 = 64, sessions = 6 }' >/etc/conncount-policy.lua
	expect 0 systemctl reload conncount-policyd
	wait_until let_in
	expect_eq "$pid" "$(systemctl show -P MainPID conncount-policyd.service)" 'its process'
	# A client below the limit is accepted over the unix socket, too.
	end 1
	expect_eq action=DUNNO "$(asked_over_unix)" 'over a unix socket'
	# No other program can run in its mount namespace.
	expect 126 nsenter --mount --target "$pid" /usr/bin/env true
	expect 0 systemctl stop conncount-policyd.socket conncount-policyd.service
	expect 0 journalctl -q -b -u conncount-policyd -o cat
	expect 1 grep -E 'EPERM|EACCES|denied|cannot' <<<"$output"
	end 5
}

@test "restart: a restart of Postfix ends its sessions, and new ones are counted" {
	begin 127.0.0.1 3
	begin ::1 2
	exact 5
	expect 0 systemctl restart postfix
	exact 0
	wait_until postfix_listens
	SESSIONS=()
	begin 127.0.0.1 2
	begin ::1 1
	exact 3
	end 1
	exact 2
}

# drop_in UNIT: writes stdin to a drop-in of the unit.
drop_in() {
	mkdir -p "/etc/systemd/system/$1.d"
	cat >"/etc/systemd/system/$1.d/slice.conf"
}

# restarted: reloads systemd and restarts both units, so that added or removed drop-ins apply.
restarted() {
	expect 0 systemctl daemon-reload
	expect 0 systemctl restart postfix
	expect 0 systemctl restart conncount
	wait_until postfix_listens
	SESSIONS=()
}

# sockets_in CGROUP: the sockets on which Postfix listens were created in CGROUP.
sockets_in() {
	expect_eq "cgroup:$1" "$(ss -Htln --cgroup '( sport = :25 )' | grep -o 'cgroup:.*[^ ]' | sort -u)"
}

@test "slice: Postfix is counted in a slice, configured as conncount-servers(7) shows" {
	sockets_in /system.slice/system-postfix.slice/postfix@-.service
	cp /etc/conncount.conf "$BATS_TEST_TMPDIR"
	example conncount-servers.7 CGROUPS 1 >/etc/conncount.conf
	example conncount-servers.7 CGROUPS 2 | drop_in conncount.service
	example conncount-servers.7 CGROUPS 3 | drop_in postfix@.service
	restarted
	sockets_in /mail.slice/postfix@-.service
	begin 127.0.0.1 2
	begin ::1 1
	exact 3
	expect_match $'\ncgroup +/mail.slice\n' "$output"
	expect 0 systemctl restart postfix
	wait_until postfix_listens
	SESSIONS=()
	begin 127.0.0.1 1
	exact 1
	end 1

	# Restore everything for the tests that follow.
	cp "$BATS_TEST_TMPDIR/conncount.conf" /etc
	rm -r /etc/systemd/system/{conncount,postfix@}.service.d
	restarted
}

@test "reload: a reload adds a listener, and open sessions stay counted" {
	begin 127.0.0.1 3
	begin ::1 2
	printf '%s\n' '[submission]' 'listen = *:587' >>/etc/conncount.conf
	expect 0 systemctl reload conncount
	exact 5
	expect_match $'\nsubmission +SMTP +0 ' "$output"
	begin ::1 2
	exact 7
	end 4
	exact 3
}

@test "upgrade: open sessions stay counted when the next version's package is installed" {
	local loaded
	loaded=$(when conncount.service ActiveEnterTimestampMonotonic)
	begin 127.0.0.1 3
	begin ::1 2
	expect 0 dpkg -i /root/newer.deb
	exact 5
	expect_match '(^|'$'\n'')build +0\.1\.99,' "$output"
	expect_eq "$loaded" "$(when conncount.service ActiveEnterTimestampMonotonic)" 'loaded at'
	begin ::1 2
	exact 7
	end 4
	exact 3
	# The machine shuts down with these sessions open.
}

@test "upgraded: after a reboot the next version runs, with the changed configuration" {
	expect 0 conncount status
	expect_match '(^|'$'\n'')build +0\.1\.99,' "$output"
	expect_match $'\nsubmission +SMTP +0 ' "$output"
}
