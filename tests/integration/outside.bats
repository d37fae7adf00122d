# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Listening sockets outside of the counted cgroup: load, status and the metrics report them.

load ../lib/common
load ../lib/instance

SERVERS=()
STARTS=0

setup() {
	instance_setup
	configure <<-'END'
		[imap]
		listen = *:143
		[mx]
		listen = 192.0.2.1:25
		listen = [2001:db8::1]:25
	END
	mkdir "$CGROUP_PATH/in" "$CGROUP_PATH/in/deeper" "$CGROUP_PATH/out"
}

teardown() {
	servers_end
	[ ! -d "$CGROUP_PATH" ] || find "$CGROUP_PATH" -mindepth 1 -depth -type d -exec rmdir {} +
	instance_teardown
}

servers_end() {
	local pid
	for pid in "${SERVERS[@]}"; do
		kill -KILL "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	SERVERS=()
}

# server PLACE FINAL CODE: starts a process that executes CODE in the cgroup PLACE and then moves to
# FINAL. CODE creates sockets by listen(address, port), or by activated(address, port): then
# another process creates the socket, passes it on, and exits.
server() {
	local up=$TEST_DIR/up$((++STARTS))
	(
		echo "$BASHPID" >"$CGROUP_PATH/$1/cgroup.procs"
		exec nsenter --net="$TEST_DIR/net" -- python3 -I -S -c '
import os, socket, sys, time
def listen(address, port, protocol=0, options=(), backlog=5):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    for option in options:
        sock.setsockopt(*option)
    sock.bind((address, port))
    sock.listen(backlog)
    return sock
def activated(address, port):
    ours, theirs = socket.socketpair()
    if not os.fork():
        sock = listen(address, port)
        socket.send_fds(theirs, [b"x"], [sock.fileno()])
        os._exit(0)
    fd = socket.recv_fds(ours, 1, 1)[1][0]
    os.wait()
    return socket.socket(fileno=fd)
REUSE = [(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]
exec(sys.argv[3])
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
open(sys.argv[2], "w").close()
time.sleep(1000)' "$CGROUP_PATH/$2" "$up" "$3"
	) 3>&- &
	SERVERS+=("$!")
	wait_until test -e "$up"
}

# load_in: loads for the cgroup `in`, from the network namespace of the servers.
load_in() {
	nsenter --net="$TEST_DIR/net" -- conncount load -c "$CONFIG" --cgroup "$CGROUP/in" || return
	"$BUILD/tests/objects" attached "$CGROUP_PATH/in" >>"$TEST_DIR/bpf-ids"
}

# ask COMMAND...: runs conncount in that network namespace.
ask() {
	nsenter --net="$TEST_DIR/net" -- conncount "$@"
}

# outside LINE...: expects that status, in text and JSON, load and the metrics report exactly these
# sockets. Each line is `SOCKET LISTENER CGROUP`.
outside() {
	local line text=() number=0
	for line; do
		# shellcheck disable=SC2086
		set -- $line
		text+=("note: $1 ($2) listens in cgroup $3, outside of $CGROUP/in: its sessions are not counted (count in a cgroup that contains both, or create the socket inside this one)")
	done
	line=$(printf '%s\n' "${text[@]}")
	number=${#text[@]}
	expect 0 ask status
	expect_eq '' "$errors" stderr
	expect_eq "$line" "$(grep ^note: <<<"$output")"
	expect 0 ask status --json
	expect_eq "$number" "$(json outside_sockets <<<"$output")" outside_sockets
	expect_eq 0 "$(json unseen_sockets <<<"$output")" unseen_sockets
	expect 0 ask metrics
	expect_eq "$number" "$(awk '/^conncount_listening_sockets_outside/ { n += $NF } END { print n + 0 }' \
		<<<"$output")" 'conncount_listening_sockets_outside'
	expect 0 load_in
	expect_eq "$(sed '/./s/^/conncount: /' <<<"$line")" "$errors" 'what load says'
}

@test "a socket created outside the cgroup is reported: by socket activation, or before a move in" {
	server out in 'sock = activated("0.0.0.0", 143)'
	server out in 'sock = listen("2001:db8::1", 25)'
	server in in 'sock = listen("192.0.2.1", 25)'
	load_in
	outside "0.0.0.0:143 imap $CGROUP/out" "[2001:db8::1]:25 mx $CGROUP/out"
	expect 0 ask metrics
	expect_match 'conncount_listening_sockets_outside\{listener="imap",service="SMTP"\} 1' "$output"
	expect_match 'conncount_outside_socket\{listener="imap",service="SMTP",socket="[^"]*:143"\} 1' "$output"
	expect_match 'conncount_listening_sockets\{listener="imap",service="SMTP"\} 0' "$output"
	expect_match 'conncount_listening_sockets\{listener="mx",service="SMTP"\} 1' "$output"
	# The report is true: sessions on that socket are not counted.
	in_ns python3 -I -S -c '
import socket
[socket.create_connection(("127.0.0.1", 143)) for _ in range(3)]'
	expect_eq 0 "$(state listeners.0.opened)" 'sessions of the first'
}

@test "a member of the group gets the same report as root" {
	requires setpriv
	server out in 'sock = listen("0.0.0.0", 143)'
	sed -i 's/^group = .*/group = daemon/' "$CONFIG"
	load_in
	expect 0 ask status
	local root=$output
	expect_match "note: 0.0.0.0:143 \(imap\) listens in cgroup $CGROUP/out" "$root"
	expect 0 as_user daemon conncount status
	expect_eq "$root" "$output" status
	expect 0 as_user daemon conncount metrics
	expect_match 'conncount_listening_sockets_outside\{listener="imap",service="SMTP"\} 1' "$output"
}

@test "a socket that is inside, or not on a configured address, is not reported" {
	server in out 'sock = listen("::", 143)'           # created inside: its sessions count
	server in/deeper in/deeper 'sock = listen("2001:db8::1", 25)'
	server out out 'socks = [listen("192.0.2.2", 25, options=REUSE), listen("192.0.2.1", 26)]'
	# The wildcard socket gets no connection to a configured address: a more specific one does.
	server in in 'sock = listen("192.0.2.1", 25, options=REUSE)'
	server out out 'sock = listen("0.0.0.0", 25, options=REUSE)'
	load_in
	outside
	expect 0 ask status --json
	expect_eq '[]' "$(json outside <<<"$output")"
}

@test "an outside socket is reported with SO_REUSEPORT, beside a wildcard socket, and with MPTCP" {
	server in in 'sock = listen("0.0.0.0", 143, options=REUSE)'
	server out out 'sock = listen("0.0.0.0", 143, options=REUSE)'
	server in in 'sock = listen("192.0.2.1", 25)'
	server out out 'sock = listen("::ffff:192.0.2.7", 143, options=REUSE)'
	load_in
	outside "0.0.0.0:143 imap $CGROUP/out" "192.0.2.7:143 imap $CGROUP/out"
	expect 0 ask metrics
	expect_match 'conncount_accept_queue_limit\{listener="imap",service="SMTP",socket="0.0.0.0:143"\} 5' \
		"$output"
	servers_end
	have mptcp || return 0
	server out in 'sock = listen("2001:db8::1", 25, protocol=262)'
	outside "[2001:db8::1]:25 mx $CGROUP/out"
}

@test "a socket whose cgroup was removed is reported as possibly outside" {
	server out in 'sock = listen("0.0.0.0", 143)'
	rmdir "$CGROUP_PATH/out"
	expect 0 load_in
	local line="0.0.0.0:143 \(imap\) listens in a cgroup that was removed: if that was outside of $CGROUP/in, its sessions are not counted \(restart the server\)"
	expect_match "^conncount: note: $line\$" "$errors"
	expect 0 ask status
	expect_match "note: $line" "$output"
	expect 0 ask status --json
	expect_eq $'null\ntrue' "$(json outside.0.cgroup outside.0.removed <<<"$output")"
}

@test "a server in a new cgroup with the name of the counted one is reported until the next load" {
	load_in
	find "$CGROUP_PATH/in" -depth -type d -exec rmdir {} +
	mkdir "$CGROUP_PATH/in"
	server in in 'sock = listen("0.0.0.0", 143)'
	wait_until ask_detached
	ask_detached
	expect_match "note: 0.0.0.0:143 \(imap\) listens in cgroup $CGROUP/in," "$output"
	expect_match 'it was removed' "$errors"
	load_in
	outside
}

# ask_detached: status reports that the cgroup was removed.
ask_detached() {
	expect 1 ask status
}

@test "if the cgroup above all servers is counted, no socket is reported as outside" {
	server out out 'sock = listen("0.0.0.0", 143)'
	nsenter --net="$TEST_DIR/net" -- conncount load -c "$CONFIG" --cgroup "$CGROUP"
	remember
	expect 0 ask status
	[[ $output != *note:* ]] || fail 'it is inside'
}

@test "in a container that does not show the cgroup, status says that it cannot tell" {
	server out out 'sock = listen("0.0.0.0", 143)'
	load_in
	part status
	expect_match "note: listening sockets that may be outside of $CGROUP/in: 1 " "$output"
	part metrics
	expect_match 'conncount_listening_sockets\{listener="imap",service="SMTP"\} 1' "$output"
	[[ $output != *conncount_listening_sockets_outside* ]] || fail '0 would be a claim'
	expect_match 'conncount_listening_sockets_unseen 1' "$output"
}

# part COMMAND...: runs conncount in a cgroup namespace that shows only the cgroup `out`.
part() {
	# shellcheck disable=SC2016
	expect 0 nsenter --net="$TEST_DIR/net" -- sh -c 'echo $$ >"$1/cgroup.procs"; shift
		exec unshare --cgroup --mount -- sh -c "umount -l \"\$1\"
			mount -t cgroup2 none \"\$1\"; shift
			exec conncount \"\$@\"" - "$@"' - "$CGROUP_PATH/out" "$CGROUP2_ROOT" "$@"
}

@test "950 sockets of a user leave metrics and status short, and do not hide the host's own server" {
	load_in
	server in in 'sock = listen("192.0.2.143", 143, backlog=77)'
	# Another user's sockets, inside and outside.
	in_ns sh -c 'echo 100 >/proc/sys/net/ipv4/ip_unprivileged_port_start'
	server in in 'os.seteuid(65534); socks = [listen("127.1.%d.%d" % (i // 250, i % 250), 143) for i in range(700)]
os.seteuid(0)'
	server out out 'os.seteuid(65534); socks = [listen("127.2.0.%d" % i, 143) for i in range(250)]
os.seteuid(0)'
	expect 0 ask metrics
	expect_eq 65 "$(grep -c '^conncount_accept_queue_limit{listener="imap"' <<<"$output")" queues
	expect_match 'conncount_accept_queue_limit\{listener="imap",service="SMTP",socket="192.0.2.143:143"\} 77' \
		"$output"
	expect_match 'conncount_accept_queue_limit\{listener="imap",service="SMTP",socket="others"\} 3185' "$output"
	expect_match 'conncount_accept_queue_others\{listener="imap",service="SMTP"\} 637' "$output"
	expect_match 'conncount_listening_sockets\{listener="imap",service="SMTP"\} 701' "$output"
	expect_match 'conncount_listening_sockets_outside\{listener="imap",service="SMTP"\} 250' "$output"
	expect 0 ask status
	expect_eq 21 "$(grep -c ^note: <<<"$output")" notes
	expect_match 'note: 230 more sockets listen outside' "$output"
	expect 0 ask status --json
	expect_eq 250 "$(json outside_sockets <<<"$output")" outside_sockets
}

@test "a cgroup's name is printed without control characters, in text and in JSON" {
	local name=$'es\e[2Jc\xff"'
	mkdir "$CGROUP_PATH/$name"
	server "$name" in 'sock = listen("0.0.0.0", 143)'
	load_in
	expect 0 ask status
	expect_match "listens in cgroup $CGROUP/es\?\[2Jc\?\", outside" "$output"
	expect 0 ask status --json
	expect_eq "$CGROUP/es?[2Jc?\"" "$(json outside.0.cgroup <<<"$output")"
	servers_end
	rmdir "$CGROUP_PATH/$name"
}
