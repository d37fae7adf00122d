# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The exporter: what it serves, to whom, and what it does not let clients do to it.

load ../lib/common
load ../lib/instance

URL=http://127.0.0.1:10125/metrics

setup() {
	requires speed
	requires curl openmetrics
	instance_setup
	configure <<-'END'
		[smtp]
		listen = *:25
		service = SMTP
	END
	EXPORTER=
}

teardown() {
	exporter_stop || :
	instance_teardown
}

# exporter [OPTION...]: starts one; its messages go to $TEST_DIR/log.
exporter() {
	start_in_ns conncount exporter "$@" 2>"$TEST_DIR/log"
	EXPORTER=$STARTED
	wait_until grep -q serving "$TEST_DIR/log"
}

# exporter_stop: by SIGTERM; its exit status.
exporter_stop() {
	local pid=$EXPORTER
	[ -n "$pid" ] || return 0
	EXPORTER=
	kill "$pid" && wait "$pid"
}

# get [ARGUMENT...]: curl, in the test's network namespace.
get() {
	in_ns curl -sS --max-time 30 "$@"
}

# value NAME: of a metric without labels, in what is served as OpenMetrics.
value() {
	get -H 'Accept: application/openmetrics-text' "$URL" |
		/usr/bin/python3 -I -c '
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
print(*["%.15g" % sample.value
        for family in text_string_to_metric_families(sys.stdin.read())
        for sample in family.samples if sample.name == sys.argv[1]])' "$1"
}

# value_is NAME NUMBER: for wait_until.
value_is() {
	[ "$(value "$1")" = "$2" ]
}

@test "exporter: what metrics prints, and the older format for who does not ask for that one" {
	load
	sessions_start
	sessions listen '*:25'
	sessions open 3 10.1.2.3 192.0.2.1:25
	exporter
	expect 0 in_ns conncount metrics
	local want=$output
	expect 0 get -i -H 'Accept: application/openmetrics-text; version=1.0.0,text/plain;q=0.5' "$URL"
	expect_eq "$want" "$(tr -d '\r' <<<"$output" | sed '1,/^$/d')"
	expect_match 'HTTP/1.1 200 ' "$output"
	expect_match 'Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8' "$output"
	expect 0 get -i "$URL"
	expect_match 'Content-Type: text/plain; version=0.0.4; charset=utf-8' "$output"
	[[ $output != *EOF* ]] || fail 'EOF is of OpenMetrics'
	expect_match 'conncount_sessions\{listener="smtp",service="SMTP",family="ipv4"\} 3' "$output"
	expect 0 exporter_stop
}

@test "exporter: promtool finds nothing to criticise" {
	requires promtool
	load
	sessions_start
	sessions listen '*:25'
	exporter
	get "$URL" >"$TEST_DIR/page"
	expect 0 promtool check metrics <"$TEST_DIR/page"
	expect_eq '' "$output$errors"
}

@test "exporter: an instance that is not there, comes, goes and comes again" {
	exporter
	expect_eq 0 "$(value conncount_up)" conncount_up
	expect_eq '' "$(value conncount_exact)" conncount_exact
	expect_match 'not loaded' "$(cat "$TEST_DIR/log")"
	load
	expect_eq 1 "$(value conncount_up)" conncount_up
	expect_eq 1 "$(value conncount_exact)" conncount_exact
	conncount unload
	expect_eq 0 "$(value conncount_up)" conncount_up
	expect_eq 0 "$(value conncount_up)" conncount_up
	load
	expect_eq 1 "$(value conncount_up)" conncount_up
	# It says so once for each change, and not for each scrape.
	expect_eq 4 "$(grep -c loaded "$TEST_DIR/log")" messages
	expect 0 exporter_stop
}

@test "exporter: a path, a method and a request that it does not serve" {
	load
	exporter
	expect 0 get -o /dev/null -w '%{http_code}' http://127.0.0.1:10125/
	expect_eq 404 "$output"
	expect 0 get -i -X POST --data x "$URL"
	expect_match '^HTTP/1.1 405 ' "$output"
	expect_match 'Allow: GET, HEAD' "$output"
	expect 0 get -o /dev/null -w '%{http_code}' -X DELETE "$URL"
	expect_eq 405 "$output"
	expect 0 get -I "$URL"
	expect_match '^HTTP/1.1 200 ' "$output"
	expect_match 'Content-Length: [1-9]' "$output"
	expect 0 get -o /dev/null -w '%{http_code}' -H "X: $(head -c 20000 /dev/zero | tr '\0' x)" "$URL"
	expect_match '^4[0-9][0-9]$' "$output" 'a request of 20,000 bytes'
	expect_eq 1 "$(value conncount_up)" 'conncount_up, after all that'
}

@test "exporter: clients that are slow, or send nothing, or do not read, are cut off" {
	load
	exporter
	# The first half of what one address may have sends a byte now and then, and never ends; the
	# others send nothing at all, or ask and do not read. All are ended by the exporter.
	expect 0 in_ns python3 -I - <<-'END'
		import select, socket, sys, time
		def connect():
		    sock = socket.socket()
		    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
		    sock.connect(("127.0.0.1", 10125))
		    return sock
		slow = [connect() for _ in range(8)]
		for sock in slow:
		    sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ")
		others = [connect() for _ in range(8)]
		for sock in others[:4]:
		    sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
		# No more than that from one address.
		one_more = connect()
		one_more.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
		one_more.settimeout(60)
		try:
		    if one_more.recv(1):
		        sys.exit("a 17th connection was served")
		except ConnectionResetError:
		    pass
		end = time.monotonic() + 60
		while slow:
		    if time.monotonic() > end:
		        sys.exit("%d slow clients are still connected" % len(slow))
		    for sock in select.select(slow, [], [], 0.2)[0]:
		        try:
		            if not sock.recv(4096):
		                slow.remove(sock)
		        except ConnectionResetError:
		            slow.remove(sock)
		    for sock in list(slow):
		        try:
		            sock.sendall(b"x")
		        except OSError:
		            slow.remove(sock)
		for sock in others:
		    sock.settimeout(60)
		    try:
		        while sock.recv(4096):
		            pass
		    except ConnectionResetError:
		        pass
	END
	expect_eq 1 "$(value conncount_up)" 'conncount_up, after all that'
	expect 0 exporter_stop
}

@test "exporter: the size of the answer does not depend on who is connected" {
	local size
	load
	sessions_start
	sessions listen '*:25'
	exporter
	size=$(get "$URL" | wc -l)
	sessions open 800 10.1.0.1+ 192.0.2.1:25
	expect_match 'family="ipv4"} 800' "$(get "$URL")"
	expect_eq "$size" "$(get "$URL" | wc -l)" lines
}

@test "exporter: as a member of the group, without privilege; SIGTERM ends it with 0" {
	requires setpriv
	sed -i 's/^group = .*/group = daemon/' "$CONFIG"
	load
	# The exporter is the process itself: as_user runs nothing around it that stays.
	as_user daemon conncount exporter 2>"$TEST_DIR/log" 3>&- &
	EXPORTER=$!
	wait_until grep -q serving "$TEST_DIR/log"
	expect_eq 1 "$(value conncount_up)" conncount_up
	wait_until pkill -TERM -P "$EXPORTER" -x conncount
	expect 0 wait "$EXPORTER"
	EXPORTER=
}

@test "exporter: a socket that a service manager passes" {
	load
	cat >"$TEST_DIR/activate.py" <<-'END'
		import os, socket, sys
		sock = socket.socket()
		sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
		sock.bind(("127.0.0.1", 10125))
		if sys.argv[1] == "listening":
		    sock.listen()
		os.dup2(sock.fileno(), 3)
		os.set_inheritable(3, True)
		os.environ["LISTEN_PID"] = str(os.getpid())
		os.environ["LISTEN_FDS"] = sys.argv[2]
		os.execvp("conncount", ["conncount", "exporter"] + sys.argv[3:])
	END
	start_in_ns python3 -I "$TEST_DIR/activate.py" listening 1 2>"$TEST_DIR/log"
	EXPORTER=$STARTED
	wait_until value_is conncount_up 1
	expect 0 exporter_stop
	expect 1 in_ns python3 -I "$TEST_DIR/activate.py" silent 1
	expect_match 'LISTEN_FDS' "$errors"
	expect 1 in_ns python3 -I "$TEST_DIR/activate.py" listening 2
	expect_match 'LISTEN_FDS' "$errors"
	expect 2 in_ns python3 -I "$TEST_DIR/activate.py" listening 1 --listen 127.0.0.1:1
}

@test "exporter: another address; one that is taken, or is none" {
	load
	exporter --listen '[::1]:7777'
	expect 0 get 'http://[::1]:7777/metrics'
	expect_match 'conncount_up 1' "$output"
	expect 1 in_ns conncount exporter --listen '[::1]:7777'
	expect_match '\[::1\]:7777: cannot listen' "$errors"
	local address
	for address in 127.0.0.1 :1 127.0.0.1:0 localhost:1 127.0.0.1:65536 ::1:80; do
		expect 2 conncount exporter --listen "$address"
		[[ $errors == *"'$address'"* ]] || fail "message for '$address': $errors"
	done
}
