# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The exporter: what it serves, to which clients, and how it withstands harmful ones.

load ../lib/common
load ../lib/instance
load ../lib/exporting

URL=http://127.0.0.1:10125/metrics

setup() {
	requires curl openmetrics
	instance_setup
	configure_smtp
}

teardown() {
	exporter_stop || :
	instance_teardown
}

# get [ARGUMENT...]: runs curl in the test's network namespace.
get() {
	in_ns curl -sS --max-time 30 "$@"
}

# value NAME: prints the value of a metric without labels, as served in OpenMetrics.
value() {
	get -H 'Accept: application/openmetrics-text' "$URL" |
		/usr/bin/python3 -I -c '
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
print(*["%.15g" % sample.value
        for family in text_string_to_metric_families(sys.stdin.read())
        for sample in family.samples if sample.name == sys.argv[1]])' "$1"
}

# value_is NAME NUMBER: succeeds if the metric has this value; for wait_until.
value_is() {
	[ "$(value "$1")" = "$2" ]
}

@test "exporter: serves what metrics prints, in the text format unless OpenMetrics is asked for" {
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

@test "exporter: promtool check metrics accepts the page without a remark" {
	requires promtool
	configure_smtp 'limit = /24,/64 over 2 reset'
	load
	sessions_start
	sessions listen '*:25'
	exporter
	get "$URL" >"$TEST_DIR/page"
	expect 0 promtool check metrics <"$TEST_DIR/page"
	expect_eq '' "$output$errors"
}

@test "exporter: Prometheus scrapes it, and evaluates the rules" {
	requires prometheus
	local pid api=http://127.0.0.1:9090/api/v1
	load
	sessions_start
	sessions listen '*:25'
	sessions open 3 10.1.2.3 192.0.2.1:25
	exporter
	cat >"$TEST_DIR/prometheus.yml" <<-END
		global: {scrape_interval: 1s, evaluation_interval: 1s}
		rule_files: [$ROOT/user/dist/monitoring/conncount.rules.yml]
		scrape_configs: [{job_name: conncount, static_configs: [{targets: ['127.0.0.1:10125']}]}]
	END
	start_in_ns prometheus --config.file="$TEST_DIR/prometheus.yml" --log.level=warn \
		--storage.tsdb.path="$TEST_DIR/tsdb" --web.listen-address=127.0.0.1:9090 \
		>"$TEST_DIR/prometheus.log" 2>&1
	pid=$STARTED
	# value_of EXPRESSION NUMBER; for wait_until: a scrape that takes longer than a second fails, and
	# the next one does not.
	value_of() {
		get -G --data-urlencode "query=$1" "$api/query" | grep -F "\"$2\"]"
	}
	wait_until -t 60 value_of 'conncount_sessions{listener="smtp",family="ipv4"}' 3
	wait_until -t 60 value_of up 1
	wait_until -t 60 value_of 'conncount_sessions_opened_total{family="ipv4"}' 3
	wait_until -t 60 value_of 'count(conncount_build_info)' 1
	conncount unload
	wait_until -t 60 value_of conncount_up 0
	wait_until -t 60 value_of 'ALERTS{alertname="ConncountNotLoaded",alertstate="pending"}' 1
	[ ! -s "$TEST_DIR/prometheus.log" ] || fail "$(cat "$TEST_DIR/prometheus.log")"
	kill "$pid"
	wait "$pid" || :
}

@test "exporter: conncount_up follows load and unload, and each change is logged once" {
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
	# It prints one message for each change, not for each scrape.
	expect_eq 4 "$(grep -c loaded "$TEST_DIR/log")" messages
	expect 0 exporter_stop
}

@test "exporter: limits appear and vanish with each load, also in new maps" {
	load
	exporter
	expect_eq '' "$(value conncount_limit_in_force)" 'without limits'
	configure_smtp 'limit = /24,/64 over 2 log'
	load
	expect_eq 1 "$(value conncount_limit_in_force)" 'with a limit'
	configure_smtp_with 'max_prefixes = 1000'
	echo 'limit = /24,/64 over 2 log' >>"$CONFIG"
	load
	expect_eq 1 "$(value conncount_limit_in_force)" 'in new maps'
	conncount unload
	expect_eq '' "$(value conncount_limit_in_force)" 'not loaded'
	load
	expect_eq 1 "$(value conncount_limit_in_force)" 'loaded again'
	configure_smtp
	load
	expect_eq '' "$(value conncount_limit_in_force)" 'without limits again'
}

@test "exporter: other paths get 404, other methods 405, and random bytes do no harm" {
	load
	exporter
	expect 0 get -o /dev/null -w '%{http_code}' http://127.0.0.1:10125/metric
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
	in_ns python3 -I - <<-'END'
		import random, socket
		rng = random.Random(4711)
		for number in range(300):
		    with socket.create_connection(("127.0.0.1", 10125)) as sock:
		        noise = bytes(rng.randrange(256) for _ in range(rng.randrange(2000)))
		        start = (b"", b"GET /", b"GET /metrics HTTP/1.1\r\n", b"HEAD /metrics ")[number % 4]
		        sock.sendall(start + noise)
	END
	# The exporter does not wait 10 seconds for a client that has left in the middle of a
	# request.
	wait_until -t 5 value_is conncount_up 1
	expect 0 exporter_stop
}

@test "exporter: slow, silent and non-reading clients are disconnected; one address gets 16 connections" {
	local i
	# The answer must be larger than what the kernel buffers for a client that does not read.
	in_ns sh -c "echo '4096 16384 16384' >/proc/sys/net/ipv4/tcp_wmem"
	for i in {1..200}; do
		printf '[listener-%d]\nlisten = 192.0.2.1:%d\n' "$i" "$((1000 + i))"
	done | configure
	load
	exporter
	expect 0 in_ns python3 -I - "$EXPORTER" <<-'END'
		import os, select, socket, sys, time
		def sockets():
		    """How many the exporter has."""
		    fds = "/proc/%s/fd/" % sys.argv[1]
		    links = []
		    for fd in os.listdir(fds):
		        try:
		            links.append(os.readlink(fds + fd))
		        except FileNotFoundError:
		            pass
		    return sum(link.startswith("socket:") for link in links)
		def connect(request):
		    sock = socket.socket()
		    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
		    sock.connect(("127.0.0.1", 10125))
		    sock.settimeout(60)
		    sock.sendall(request)
		    return sock
		def read(sock):
		    size = 0
		    try:
		        while data := sock.recv(65536):
		            size += len(data)
		    except ConnectionResetError:
		        pass
		    return size
		request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
		at_rest = sockets()
		whole = read(connect(request + b"\r\n"))
		# As many as one address may have, and none that ends by itself.
		slow = [connect(request + b"X: ") for _ in range(8)]
		silent = [connect(b"") for _ in range(4)]
		deaf = [connect(request + b"\r\n") for _ in range(4)]
		for sock in deaf:
		    select.select([sock], [], [])
		if read(connect(request + b"\r\n")):
		    sys.exit("a 17th connection was served")
		# All are ended by the exporter, though there is always a byte more from some.
		end = time.monotonic() + 60
		while sockets() > at_rest:
		    if time.monotonic() > end:
		        sys.exit("%d are still connected" % (sockets() - at_rest))
		    time.sleep(0.1)
		    for sock in list(slow):
		        try:
		            sock.sendall(b"x")
		        except OSError:
		            slow.remove(sock)
		for sock in deaf:
		    if read(sock) >= whole:
		        sys.exit("who did not read got all the same")
		if read(connect(request + b"\r\n")) != whole:
		    sys.exit("after all that the answer is another")
	END
	expect 0 exporter_stop
}

@test "exporter: the answer has as many lines with 800 sessions as with none" {
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

@test "exporter: a member of the group can run it without privilege; on SIGTERM it exits with 0" {
	requires setpriv
	sed -i 's/^group = .*/group = daemon/' "$CONFIG"
	load
	# The exporter is a child of the shell $EXPORTER: the programs by which as_user runs it
	# become it.
	as_user daemon conncount exporter 2>"$TEST_DIR/log" 3>&- &
	EXPORTER=$!
	wait_until grep -q serving "$TEST_DIR/log"
	expect_eq 1 "$(value conncount_up)" conncount_up
	wait_until pkill -TERM -P "$EXPORTER" conncount
	expect 0 wait "$EXPORTER"
	EXPORTER=
}

@test "exporter: serves on the one listening socket that a service manager passes" {
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

@test "exporter: --listen sets the address; an address in use or a bad one is an error" {
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

@test "exporter: short of file descriptors, it waits without spinning, says so once, and serves later" {
	load
	sessions_start
	sessions listen '*:25'
	(
		ulimit -n 30
		enter_ns conncount exporter 2>"$TEST_DIR/log" 3>&-
	) &
	EXPORTER=$!
	wait_until grep -q serving "$TEST_DIR/log"
	expect 0 in_ns python3 -I - "$EXPORTER" "$TEST_DIR/log" <<-'END'
		import resource, socket, sys, time
		at, pid = ("127.0.0.1", 10125), int(sys.argv[1])
		def ticks():
		    """What it has used of a processor."""
		    with open("/proc/%d/stat" % pid, encoding="ascii") as stat:
		        return sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))
		def scrape(sock):
		    sock.settimeout(60)
		    sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
		    page = b""
		    while data := sock.recv(65536):
		        page += data
		    if b"\nconncount_up 1\n" not in page or b"\nconncount_accept_queue_limit" not in page:
		        sys.exit("not all is in it: %r" % page)
		def says(text):
		    with open(sys.argv[2], encoding="ascii") as log:
		        return sum(text in line for line in log)
		def rests():
		    """It does nothing while clients wait, of which it takes no more."""
		    before = ticks()
		    time.sleep(2)
		    if ticks() - before > 50:
		        sys.exit("%d ticks in 2 s" % (ticks() - before))
		idle = [socket.create_connection(at, source_address=("127.0.1.%d" % host, 0)) for host in range(1, 41)]
		last = socket.create_connection(at)
		rests()
		for sock in idle:
		    sock.close()
		scrape(last)
		if says("file descriptors") != 1:
		    sys.exit("it does not say once that descriptors are few")
		# And none at all, for a while.
		resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, 30))
		last = socket.create_connection(at)
		rests()
		if says("cannot accept connections: Too many open files") != 1:
		    sys.exit("it does not say once that it cannot accept")
		resource.prlimit(pid, resource.RLIMIT_NOFILE, (30, 30))
		scrape(last)
	END
	expect 0 exporter_stop
}

# formats: for each line `FORMAT FIELD...` of stdin, the exporter answers a request with these
# Accept fields in FORMAT, which is open or text; `|` begins another field.
formats() {
	expect 0 in_ns python3 -I - 3<&0 <<-'END'
		import socket, sys
		failed, n = False, 0
		for n, line in enumerate(open(3, encoding="ascii"), 1):
		    want, _, fields = line.strip("\n").partition(" ")
		    with socket.create_connection(("127.0.0.1", 10125), 60) as sock:
		        sock.sendall("\r\n".join(["GET /metrics HTTP/1.1", "Host: x"]
		            + ["aCCept: " + field for field in fields.split("|")] + ["", ""]).encode())
		        answer = b""
		        while data := sock.recv(65536):
		            answer += data
		    head = answer.partition(b"\r\n\r\n")[0]
		    got = ("open" if b"\r\nContent-Type: application/openmetrics-text; version=1.0.0" in head
		           else "text" if b"\r\nContent-Type: text/plain; version=0.0.4" in head else head)
		    if got != want or answer.endswith(b"# EOF\n") != (want == "open") or b"\r\nVary: Accept" not in head:
		        print(want, got, fields, file=sys.stderr)
		        failed = True
		sys.exit(failed or not n)
	END
}

@test "exporter: answers in the format that the client prefers (RFC 9110, 12.5.1)" {
	load
	exporter
	formats <<-'END'
		open application/openmetrics-text
		open application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1
		open application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2
		text application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,text/plain;version=0.0.4;q=0.3,*/*;q=0.1
		text
		text */*
		text text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2
		text text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
		text image/png
		text application/openmetrics-text;q=0
		text application/openmetrics-text;q=0.000
		text application/openmetrics-text;q=0.
		text application/openmetrics-text;Q=0, */*
		text application/openmetrics-text ; q=0
		text application/openmetrics-text;	q=0	, */*;q=1
		text application/openmetrics-text;q=0;version=1.0.0
		text application/openmetrics-text;;q=0
		text application/openmetrics-text;version=1.0.0;q=0, application/openmetrics-text, */*;q=0.5
		open application/openmetrics-text;version=0.0.1;q=0, application/openmetrics-text
		open application/openmetrics-text;q=0.001
		open application/openmetrics-text;q=1.000
		open APPLICATION/OpenMetrics-Text
		open application/openmetrics-text;Version=1.0.0;CHARSET=UTF-8
		open application/openmetrics-text;version="1.0.0"
		open application/openmetrics-text;version="1\.0.0"
		text application/openmetrics-text;version=2.0.0
		text application/openmetrics-text;version=0.0.1
		text application/openmetrics-text;charset=latin1
		text application/openmetrics-text;level=1
		text application/openmetrics-text;q=0.4, text/plain;q=0.5
		open application/openmetrics-text;q=0.5, text/plain;q=0.499
		open application/openmetrics-text;q=0.5, text/plain;q=0.5
		open text/plain, application/openmetrics-text
		open application/*
		text application/*;q=0.5, */*
		open application/*, text/plain;q=0.9
		text application/*, text/plain
		text application/*, application/openmetrics-text;q=0
		open */*;q=0.5, text/plain;q=0.1
		open text/plain;q=0, */*
		text text/*, application/openmetrics-text;q=0.9
		text text/plain;q=0
		text */*;q=0
		open */*;q=0, application/openmetrics-text;q=0.1
		open text/plain;q=0.5 | application/openmetrics-text
		text application/openmetrics-text;q=0.1 | text/plain
		open , ,application/openmetrics-text,,
		text application/openmetrics-texts
		text xapplication/openmetrics-text
		text application/openmetrics-text/x
		text application/openmetrics-text+json
		text application / openmetrics-text
		text application/openmetrics-text x
		text text/html;x="a, application/openmetrics-text"
		text text/html;x="a\", application/openmetrics-text;y="
		open text/html;x="a, b\"", application/openmetrics-text
		text text/html;x="a, application/openmetrics-text
		text application/openmetrics-text;q=
		text application/openmetrics-text;q
		text application/openmetrics-text;q=x
		text application/openmetrics-text;q=2
		text application/openmetrics-text;q=1.001
		text application/openmetrics-text;q=-1
		text application/openmetrics-text;q=.5
		text application/openmetrics-text;q=0.1234
		text application/openmetrics-text;q=1e0
		text application/openmetrics-text;q="1"
		text application/openmetrics-text;q = 1
		text application/openmetrics-text;q=1;q=1
		text *
		text */openmetrics-text
	END
}

@test "exporter: accepts requests that RFC 9112 allows, and refuses others" {
	load
	exporter
	expect 0 in_ns python3 -I - <<-'END'
		import socket, sys
		failed = False
		def request(want, text, other=None):
		    global failed
		    with socket.create_connection(("127.0.0.1", 10125), 60) as sock:
		        sock.sendall(text.replace("\n", "\r\n").encode())
		        answer = b""
		        while data := sock.recv(65536):
		            answer += data
		    head, _, page = answer.partition(b"\r\n\r\n")
		    status = int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else None
		    if status not in (want, other or want) or b"\r\nConnection: close" not in head:
		        print(want, repr(text[:200]), head, file=sys.stderr)
		        failed = True
		    return head, page
		get = "GET /metrics HTTP/1.1\nHost: x\n"
		request(200, get + "\n")
		request(200, "GET /metrics HTTP/1.0\n\n")
		request(200, "\nGET /metrics HTTP/1.1\nHost: [::1]:10125\n\n")
		request(200, "GET /metrics HTTP/1.1\nHost:\n\n")
		request(200, "GET /metrics?name[]=conncount_up HTTP/1.1\nHost: x\n\n")
		request(200, "GET /metrics?" + "x" * 8000 + " HTTP/1.1\nHost: x\n\n")
		request(200, "GET http://x:10125/metrics HTTP/1.1\nHost: x\n\n")
		request(200, "GET HTTP://x/metrics?y HTTP/1.1\nHost: x\n\n")
		request(200, "GET /metri%63s HTTP/1.1\nHost: x\n\n")
		request(200, get + "Expect: 100-continue\nContent-Length: 5\n\n")
		request(200, get + "Content-Length: 5\n\nhello")
		request(200, get + "Transfer-Encoding: chunked\n\n0\n\n")
		request(200, get + "Connection: keep-alive\n\n" + get + "\n")
		request(404, "GET /metrics/ HTTP/1.1\nHost: x\n\n")
		request(404, "GET /metrics%00 HTTP/1.1\nHost: x\n\n")
		request(200, "GET http://localhost HTTP/1.1\nHost: localhost\n\n")
		request(404, "GET https://x/metrics HTTP/1.1\nHost: x\n\n")
		for method in "OPTIONS", "POST", "PUT", "TRACE", "get", "FOO":
		    if b"\r\nAllow: GET, HEAD" not in request(405, method + " /metrics HTTP/1.1\nHost: x\n\n")[0]:
		        sys.exit(method + ": nothing allowed")
		request(405, "OPTIONS * HTTP/1.1\nHost: x\n\n")
		request(405, "POST /metrics HTTP/1.1\nHost: x\nExpect: 100-continue\nContent-Length: 5\n\n")
		for path, status in ("/metrics", 200), ("/", 200), ("/x", 404):
		    head, page = request(status, "HEAD " + path + " HTTP/1.1\nHost: localhost\n\n")
		    if page or b"\r\nContent-Length: 0" in head:
		        sys.exit("HEAD: %r %r" % (head, page))
		request(400, "GET /metrics HTTP/1.1\n\n")
		request(400, "GET /metrics HTTP/1.1\nHost : x\n\n")
		request(400, "GET /metrics HTTP/1.1\nHost: x y\n\n")
		request(400, "GET /metrics HTTP/1.1\nHost: x/y\n\n")
		request(400, get + "Host: x\n\n")
		request(400, get + "Accept : text/plain\n\n")
		# libmicrohttpd 1.0 unfolds a line; earlier ones refuse it.
		request(400, get + "Accept: text/plain,\n application/openmetrics-text\n\n", other=200)
		request(400, "GET /metrics HTTP/1.0\nHost: x\nHost: y\n\n")
		request(400, get + "Content-Length: 5\nContent-Length: 6\n\nhello")
		request(400, get + "Content-Length: 5x\n\nhello")
		request(400, get + "Content-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n")
		request(400, get + "Transfer-Encoding: gzip\n\n", 501)
		request(400, get + "Transfer-Encoding: chunked\nTransfer-Encoding: gzip\n\n", 501)
		request(400, "GET /metrics HTTP/1.0\nTransfer-Encoding: chunked\n\n0\n\n")
		request(400, "GET /metrics\n\n")
		request(414, "GET /" + "x" * 20000 + " HTTP/1.1\nHost: x\n\n")
		request(431, get + "X: " + "x" * 20000 + "\n\n")
		request(505, "GET /metrics HTTP/2.0\nHost: x\n\n")
		sys.exit(failed)
	END
}

@test "exporter: goes on serving if its standard error is a closed pipe" {
	load
	start_in_ns python3 -I -S -c '
import os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
reading, writing = os.pipe()
os.close(reading)
os.dup2(writing, 2)
os.execvp(sys.argv[1], sys.argv[1:])' conncount exporter
	EXPORTER=$STARTED
	wait_until value_is conncount_up 1
	conncount unload
	value_is conncount_up 0
	value_is conncount_up 0
	expect 0 exporter_stop
}
