# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The exporter's page and its API: what they say, to whom, and how they withstand harmful requests.

load ../lib/common
load ../lib/instance
load ../lib/exporting
load ../lib/hosts
load ../lib/servers

BASE=http://127.0.0.1:10125

setup() {
	requires curl
	instance_setup
	configure_smtp
}

teardown() {
	exporter_stop || :
	cluster_end
	instance_teardown
}

# get PATH [ARGUMENT...]: runs curl in the test's network namespace.
get() {
	local path=$1
	shift
	in_ns curl -sS -g --max-time 30 "$@" "$BASE$path"
}

# says PATH TEXT: succeeds if the answer contains TEXT; for wait_until.
says() {
	[[ $(get "$1") == *"$2"* ]]
}

# status_of PATH [ARGUMENT...]: prints the HTTP status of an answer.
status_of() {
	get "$@" -o /dev/null -w '%{http_code}'
}

# tag PATH: prints the entity tag of an answer.
tag() {
	get "$1" -D - -o /dev/null | tr -d '\r' | sed -n 's/^ETag: //p'
}

# sort_keys: prints JSON (stdin) in a form of its own.
sort_keys() {
	python3 -I -c 'import json, sys
print(json.dumps(json.load(sys.stdin), sort_keys=True))'
}

# member NAME: prints a member of a JSON object (stdin), in the same form.
member() {
	python3 -I -c 'import json, sys
print(json.dumps(json.load(sys.stdin)[sys.argv[1]], sort_keys=True))' "$1"
}

# valid NAME PATH...: the answers have the form that the schema gives NAME.
valid() {
	local name=$1 path
	shift
	for path; do
		# shellcheck disable=SC2016
		get "$path" | /usr/bin/python3 -I -c 'import json, jsonschema, sys
with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
jsonschema.Draft202012Validator.check_schema(schema)
jsonschema.Draft202012Validator({"$ref": "#/$defs/" + sys.argv[2], "$defs": schema["$defs"]}
    ).validate(json.load(sys.stdin))' "$ROOT/user/dist/monitoring/conncount.schema.json" "$name" ||
			fail "$path: not as the schema says of $name"
	done
}

# traffic: a few sessions of both families, on two listeners.
traffic() {
	configure <<-'END'
		[smtp]
		listen = *:25
		service = SMTP
		[msa]
		listen = *:587
		service = submission
	END
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		listen *:587
		open 5 10.1.2.3 192.0.2.1:25
		open 2 10.1.3.4 192.0.2.1:25
		open 4 10.9.0.1 192.0.2.1:25
		open 3 2001:db8:1::1 [2001:db8::5]:25
		open 1 10.1.2.3 192.0.2.1:587
		queue 2 10.7.7.7 192.0.2.1:587
	END
}

@test "api: status is what status prints, with the accept queues and nothing that is wrong" {
	local want
	traffic
	exporter
	expect 0 in_ns conncount status --json
	want=$(sort_keys <<<"$output")
	expect 0 get /api/status
	expect_eq "$want" "$(member status <<<"$output")" status
	expect_eq '[]' "$(member reasons <<<"$output")" reasons
	expect_eq null "$(member nodes <<<"$output")" nodes
	expect_match '"listener": "msa", "socket": "\*:587", "waiting": 2' "$(member queues <<<"$output")"
	expect 0 exporter_stop
}

# limited: loads a listener with limits, which refuse two connections and would refuse three.
limited() {
	configure_smtp 'limit = /24,/64 over 4 reset' 'limit = /16,/48 over 1 log'
	sessions_start
	sessions listen '*:25'
	load
	sessions open 4 10.1.2.3 192.0.2.1:25
	expect 7 in_ns curl -sS --interface 'host!10.1.2.4' --retry 1 --retry-connrefused --retry-delay 1 http://192.0.2.1:25
}

@test "api: a limit and its totals are in status, as status prints them" {
	local want
	limited
	exporter
	expect 0 in_ns conncount status --json
	want=$(sort_keys <<<"$output")
	expect_match '"limits": \[\{"in_force": true, "limit": "/24,/64 over 4 reset", "reason": null, "refused": 2, "would_refuse": 0\}, \{"in_force": true, "limit": "/16,/48 over 1 log", "reason": null, "refused": 0, "would_refuse": 3\}\]' "$want"
	expect_match '"namespaces_without_syn_gate": \[\]' "$want"
	expect_eq "$want" "$(get /api/status | member status)" status
	expect 0 exporter_stop
}

@test "api: nodes is what nodes prints on a host of a cluster" {
	local without
	requires redis-server jsonschema
	cluster_start a b
	open_at a 3 10.1.2.3
	open_at b 5 10.1.2.4
	daemon_start a
	daemon_start b
	expect_all 8
	on a exporter
	# What depends on when it was asked.
	without='s/"(age|lag)_ms": (null|[0-9]+)/"\1_ms"/g'
	expect 0 on a conncount nodes --json
	expect_eq "$(sort_keys <<<"$output" | sed -E "$without")" "$(get /api/status | member nodes | sed -E "$without")" nodes
	expect_match '"sessions": 5' "$(get /api/status | member nodes)"
	valid status_answer /api/status
	expect 0 exporter_stop
}

@test "api: refused is what refused prints, of each listener and up to the limit" {
	local query options
	limited
	exporter
	expect_match '"refused": 2' "$(get /api/refused | member entries)"
	while read -r query options; do
		# shellcheck disable=SC2086 # options are words
		expect 0 in_ns conncount refused --json $options
		get "/api/refused$query" | python3 -I -c 'import json, sys
answers = json.load(sys.stdin), json.loads(sys.argv[1])
for entry in answers[0]["entries"] + answers[1]["entries"]:
    del entry["age_ms"]
sys.exit(answers[0] != answers[1] and "%s\n%s" % answers)' "$output" || fail "$query: not as refused $options"
	done <<-'END'
		?
		?limit=1 --limit 1
		?listener=smtp --listener smtp
	END
	expect_eq 404 "$(status_of '/api/refused?listener=smtps')" 'an unknown listener'
	expect 0 exporter_stop
}

@test "api: networks is what list prints, for each target, pair of lengths and limit" {
	local query options
	traffic
	exporter
	while read -r query options; do
		# shellcheck disable=SC2086 # options are words
		expect 0 in_ns conncount list --json $options
		get "/api/networks$query" | python3 -I -c 'import json, sys
api, command = json.load(sys.stdin), json.loads(sys.argv[1])
for name in ("v4", "v6", "within"):
    del api[name]
sys.exit(api != command and "%s\n%s" % (api, command))' "$output" || fail "$query: not as list $options"
	done <<-'END'
		? -4 24 -6 64
		?v4=8&v6=32 -4 8 -6 32
		?v4=0&v6=0 -4 0 -6 0
		?v4=32&v6=128&limit=2 -4 32 -6 128 --limit 2
		?service=submission -4 24 -6 64 --service submission
		?listener=msa&v4=16 -4 16 -6 64 --listener msa
		?family=ipv4&v4=17 -4 17
		?family=ipv6&limit=1000 -6 64
		?service=Control -4 24 -6 64 --service Control
	END
	expect 0 exporter_stop
}

@test "api: networks with a window is what list --window prints, and says why it is not exact" {
	local query options
	openers_of_window 86400,2
	exporter
	while read -r query options; do
		# shellcheck disable=SC2086 # options are words
		expect 0 in_ns conncount list --window 86400,2 --json $options
		get "/api/networks?window=86400,2$query" | python3 -I -c 'import json, sys
api, command, errors = json.load(sys.stdin), json.loads(sys.argv[1]), sys.argv[2]
for name in ("v4", "v6", "within"):
    del api[name]
reason = api.pop("reason")
sys.exit((api != command or "conncount: %s" % reason != errors) and "%s\n%s %s" % (api, command, errors))' \
			"$output" "$errors" || fail "$query: not as list $options"
	done <<-'END'
		&v4=32 -4 32 -6 64
		&v4=8&v6=128&limit=1 -4 8 -6 128 --limit 1
		&from=1&to=2 -4 24 -6 64 --from 1 --to 2
		&smooth=1 -4 24 -6 64 --smooth
		&listener=smtp&family=ipv6 -6 64 --listener smtp
	END
	expect 0 get '/api/networks?window=86400,2&within=10.1.0.0/16&limit=1'
	expect_match '"entries":\[\{"cidr":"10.1.2.0/24","count":5,.*"prefixes":2,"total":7,.*"within":"10.1.0.0/16"' "$output"
	expect 0 get '/api/networks?window=86400,3'
	expect_match "^\\{\"error\":\"window '86400,3': not configured \\(configured: 86400,2;" "$output"
	expect_eq 404 "$(status_of '/api/networks?window=86400,3')" 'a window that is not configured'
	expect 0 get '/api/networks?window=86400,2&to=3'
	expect_match "^\\{\"error\":\"to 3: '86400,2' keeps the windows 0 to 2" "$output"
	expect_eq 400 "$(status_of '/api/networks?window=86400,2&to=3')" 'a window that is too old'
	expect_eq 400 "$(status_of '/api/networks?window=86400,2&v6=100')" 'a length without windows'
	expect 0 exporter_stop
}

@test "api: within leaves the networks inside of one, and their total" {
	traffic
	exporter
	expect 0 get '/api/networks?within=10.1.0.0/16&limit=1'
	expect_eq '{"entries":[{"cidr":"10.1.2.0/24","count":5}],"prefixes":2,"total":7,"exact":true,"uncounted":0,"lost":0,"service":"SMTP","v4":24,"v6":null,"within":"10.1.0.0/16"}' "$output"
	expect 0 get '/api/networks?within=2001:db8::/32&v6=128&v4=0'
	expect_match '"entries":\[\{"cidr":"2001:db8:1::1/128","count":3\}\],"prefixes":1,"total":3,' "$output"
	expect 0 get '/api/networks?within=0.0.0.0/0&v4=8'
	expect_match '"entries":\[\{"cidr":"10.0.0.0/8","count":11\}\],"prefixes":1,"total":11,' "$output"
	expect 0 get '/api/networks?within=192.0.2.0/24'
	expect_match '"entries":\[\],"prefixes":0,"total":0,' "$output"
	expect 0 exporter_stop
}

@test "api: the example in conncount-exporter(8) prints what is shown there, as one line" {
	local command want
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		open 25 198.51.100.7 192.0.2.1:25
		open 2 198.51.7.7 192.0.2.1:25
		open 9 203.0.113.7 192.0.2.1:25
	END
	exporter
	example conncount-exporter.8 EXAMPLES 1 | sed "s/\\\\(aq/'/g" >"$TEST_DIR/example"
	read -r _ command <"$TEST_DIR/example"
	want=$(sed 1d "$TEST_DIR/example" | tr -d '\n')
	expect 0 in_ns bash -c "$command"
	expect_eq "$want" "$output" 'the example'
	expect 0 exporter_stop
}

@test "api: answers follow sessions, unload and load" {
	traffic
	exporter
	expect_match '"total":14,' "$(get /api/networks)"
	sessions open 6 10.1.2.3 192.0.2.1:25
	wait_until says /api/networks '"total":20,'
	conncount unload
	wait_until says /api/networks 'not loaded (start counting with: conncount load)"}'
	expect_eq 503 "$(status_of /api/status)" 'nothing loaded'
	valid error_answer /api/status /api/networks /api/nothing '/api/status?x'
	conncount load -c "$CONFIG" --cgroup "$CGROUP"
	wait_until says /api/networks '"total":20,'
	expect 0 exporter_stop
}

@test "api: each reason why counts are not exact is in status, as the command reports it" {
	configure_smtp_with 'max_prefixes = 64'
	load
	sessions_start
	sessions listen '*:25'
	sessions open 100 10.0.0.1+ 192.0.2.1:25
	exporter
	expect 1 in_ns conncount status
	expect_match 'are not counted: the table of prefixes was full' "$errors"
	expect_eq "[\"${errors#conncount: }\"]" "$(get /api/status | member reasons)" reasons
	expect_match '"exact":false' "$(get /api/networks)"
	expect 0 exporter_stop
}

# three_more: opens 3 sessions of smtp, and succeeds if history has them as opened in one second, with a
# second without any after it; for wait_until. They can begin in two seconds, and a machine that pauses leaves
# seconds without a value: then another time shows it.
three_more() {
	local n path='/api/history?step=1&limit=300&listener=smtp' history
	n=$(conncount count --listener smtp)
	sessions open 3 10.1.2.3 192.0.2.1:25
	wait_until says "$path" ",$((n + 3)),$((n + 3))"
	history=$(get "$path")
	echo "$history"
	[[ $history = *",$n,$((n + 3)),"* && $history = *,3,0* ]]
}

@test "api: history has the sessions of each listener, and those that were opened" {
	traffic
	exporter
	# It has a value of the second in which the exporter started, and one of each in which somebody asks.
	expect 0 get '/api/history?step=1&limit=3'
	expect_match '"step":1,"steps":3,"end":[0-9]+,"listeners":\[' "$output"
	expect_match '\{"name":"smtp","sessions":\[((null|14),){2}14\],"opened":\[((null|0),){2}(null|0)\]\}' "$output"
	expect_match '\{"name":"msa","sessions":\[((null|3),){2}3\],"opened":\[((null|0),){2}(null|0)\]\}' "$output"
	expect 0 get '/api/history?step=1&limit=300&listener=smtp'
	expect_match '"sessions":\[(null,)+14(,null|,14)*\],"opened":\[null,[^1-9]*\]' "$output"
	expect_match '"step":60,"steps":60,' "$(get /api/history)"
	# A minute may have begun since the start.
	expect_match '"name":"smtp","sessions":\[(null,){4,5}14(,14)?\]' "$(get '/api/history?limit=6')"
	wait_until -t 60 three_more
	[[ $(get '/api/history?listener=smtp') != *msa* ]] || fail 'another listener is in it, too'
	expect_eq 404 "$(status_of '/api/history?listener=smtps')" 'an unknown listener'
	expect 0 exporter_stop
}

@test "api: history stays within its bounds with 1000 listeners" {
	local i
	for i in {1..1000}; do
		printf '[listener-%d]\nlisten = 192.0.2.1:%d\n' "$i" "$((1000 + i))"
	done | configure
	load
	exporter
	expect 0 get '/api/history?limit=720'
	expect_match '"step":60,"steps":10,' "$output"
	((${#output} < 200000)) || fail "${#output} bytes"
	expect_match '"step":60,"steps":720,' "$(get '/api/history?limit=720&listener=listener-7')"
	expect 0 exporter_stop
}

@test "api: of many networks, 1000 fit an answer of less than 100 kB, and the total is that of all" {
	local n
	n=$(scaled 3000 1200)
	load
	sessions_start
	sessions listen '*:25'
	sessions open "$n" 2001:db8:aaaa:bbbb:cccc:dddd:1000:1000+ '[2001:db8::5]:25'
	exporter
	expect 0 get '/api/networks?limit=1000&v6=128'
	expect_match "\"prefixes\":$n,\"total\":$n," "$output"
	((${#output} < 100000)) || fail "${#output} bytes"
	expect_eq 1000 "$(grep -o '"cidr"' <<<"$output" | wc -l)" entries
	expect 0 exporter_stop
}

@test "api: every answer has the form that the schema describes" {
	requires jsonschema
	configure_smtp_with 'window = 60,4'
	printf '%s\n' 'proxy = 192.0.2.7' '[msa]' 'listen = *:587' 'limit = /24,/64 over 1 log' >>"$CONFIG"
	load
	sessions_start
	sessions listen '*:587'
	sessions open 2 10.1.2.3 192.0.2.1:587
	exporter
	valid status_answer /api/status
	valid networks_answer /api/networks '/api/networks?within=10.0.0.0/8' '/api/networks?listener=smtp'
	valid opened_answer '/api/networks?window=60,4' '/api/networks?window=60,4&smooth=1' '/api/networks?window=60,4&from=1&to=1'
	valid refused_answer /api/refused '/api/refused?listener=msa'
	valid history_answer /api/history '/api/history?step=1&listener=smtp'
	valid error_answer /api/ /api/networks/ '/api/networks?v4=33' '/api/networks?service=x'
	expect 0 exporter_stop
}

@test "api: a wrong parameter is an error that names it, and says what is right" {
	local query text
	load
	exporter
	while IFS=$'\t' read -r query text; do
		expect_eq 400 "$(status_of "/api/$query")" "$query"
		expect 0 get "/api/$query"
		expect_eq "{\"error\":\"$text\"}" "$output" "$query"
	done <<-'END'
		networks?v4=33	v4 '33': it must be a number from 0 to 32
		networks?v4=	v4 '': it must be a number from 0 to 32
		networks?v4	v4 '': it must be a number from 0 to 32
		networks?v4=-1	v4 '-1': it must be a number from 0 to 32
		networks?v4=+1	v4 ' 1': it must be a number from 0 to 32
		networks?v4=1e1	v4 '1e1': it must be a number from 0 to 32
		networks?v6=129	v6 '129': it must be a number from 0 to 128
		networks?v6=99999999999999999999	v6 '99999999999999999999': it must be a number from 0 to 128
		networks?limit=0	limit '0': it must be a number from 1 to 1000
		networks?limit=1001	limit '1001': it must be a number from 1 to 1000
		networks?family=inet	family 'inet': it must be ipv4 or ipv6
		networks?family=ipv6&within=10.0.0.0/8	family 'ipv6': within is a network of the other one
		networks?within=10.0.0.0/25	within: its length is 25, so no network of length 24 is in it (raise v4)
		networks?within=2001:db8::/65	within: its length is 65, so no network of length 64 is in it (raise v6)
		networks?service=SMTP&listener=smtp	listener and service cannot be combined
		networks?window=60	window '60': not SECONDS,WINDOWS, such as 60,1
		networks?window=60,1&to=1001	to '1001': it must be a number from 0 to 1000
		networks?window=60,1&smooth=0	smooth '0': it must be a number from 1 to 1
		networks?window=60,1&smooth=1&to=1	smooth excludes from and to
		networks?window=60,1&from=2&to=1	from '2' is an older window than to '1'
		networks?smooth=1	smooth needs window
		networks?from=0	from or to needs window
		networks?limit=1&limit=2	limit: it is given twice
		networks?step=1	parameter 'step': unknown (known: v4, v6, limit, service, listener, family, within, window, from, to, smooth)
		networks?v4+v6=1	parameter 'v4 v6': unknown (known: v4, v6, limit, service, listener, family, within, window, from, to, smooth)
		networks?=1	parameter '': unknown (known: v4, v6, limit, service, listener, family, within, window, from, to, smooth)
		networks?%3Cscript%3E	parameter '<script>': unknown (known: v4, v6, limit, service, listener, family, within, window, from, to, smooth)
		networks?family=%FF	family '?': it must be ipv4 or ipv6
		networks?family=%22%0A	family '\"\n': it must be ipv4 or ipv6
		refused?limit=1001	limit '1001': it must be a number from 1 to 1000
		refused?v4=8	parameter 'v4': unknown (known: limit, listener)
		history?step=2	step '2': it must be 1 or 60 (seconds)
		history?limit=721	limit '721': it must be a number from 1 to 720
		history?v4=8	parameter 'v4': unknown (known: step, limit, listener)
		status?x=1	parameter 'x': unknown (known: none)
	END
	expect 0 get '/api/networks?within=mail.example.com'
	expect_match '^\{"error":"within '\''mail.example.com'\'': ' "$output"
	expect 0 get "/api/networks?service=$(printf '%%3Cb%%3E')"
	expect_match '^\{"error":"service '\''<b>'\'': unknown service type \(known: SMTP, ' "$output"
	expect 0 get "/api/networks?listener=$(printf 'x%.0s' {1..3000})"
	expect_match '^\{"error":"listener '\''x{256}'\'': there is no such listener \(known: smtp\)"\}$' "$output"
	expect_eq 404 "$(status_of /api/nothing)" 'an unknown answer'
	expect 0 exporter_stop
}

@test "api: random parameters do no harm" {
	load
	exporter
	expect 0 in_ns python3 -I - <<-'END'
		import json, random, socket, sys
		rng = random.Random(815)
		names = ["v4", "v6", "window", "from", "to", "smooth", "limit", "within", "family", "service", "listener", "step", "x", ""]
		values = ["0", "8", "32", "64", "128", "1000", "ipv4", "ipv6", "10.0.0.0/8", "2001:db8::/32", "::/0",
		          "60,1", "1", "SMTP", "smtp", "inbound_cidr", "", "%00", "%", "%zz", "%C3%28", "%22%5C", "a" * 300]
		for number in range(1500):
		    query = "&".join(rng.choice(names) + rng.choice(("=", "", "%3D")) + rng.choice(values)
		                     for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 20))))
		    path = rng.choice(("networks", "networks", "networks", "refused", "history", "status"))
		    with socket.create_connection(("127.0.0.1", 10125), 60) as sock:
		        sock.sendall(("GET /api/%s?%s HTTP/1.0\r\n\r\n" % (path, query)).encode())
		        answer = b""
		        while data := sock.recv(65536):
		            answer += data
		    head, _, body = answer.partition(b"\r\n\r\n")
		    status = head.split()[1]
		    if status not in (b"200", b"400", b"404") or ("error" in json.loads(body)) == (status == b"200"):
		        sys.exit("%s %s: %r" % (path, query, answer))
	END
	expect 0 exporter_stop
}

@test "page: a client that has an answer already gets 304, until the answer changes" {
	local path tag
	traffic
	exporter
	for path in / /page.js /page.css /icon.svg /api/networks; do
		tag=$(tag "$path")
		expect_match '^"[0-9a-f]{16}"$' "$tag"
		expect_eq '304 0' "$(get "$path" -o /dev/null -w '%{http_code} %{size_download}' -H "If-None-Match: $tag")" "$path"
		expect_eq 304 "$(status_of "$path" -H "If-None-Match: \"a\", W/$tag")" "$path, among others"
		expect_eq 304 "$(status_of "$path" -H 'If-None-Match: *')" "$path, any"
		expect_eq 200 "$(status_of "$path" -H "If-None-Match: \"x${tag#?}")" "$path, another"
		expect_eq 200 "$(status_of "$path" -H "If-None-Match: ${tag//\"/}")" "$path, without quotes"
	done
	sessions open 1 10.1.2.3 192.0.2.1:25
	wait_until says /api/networks '"total":15,'
	expect_eq 200 "$(status_of "$path" -H "If-None-Match: $tag")" "$path, changed"
	# An error is never unchanged.
	expect_eq 400 "$(status_of '/api/networks?x' -H 'If-None-Match: *')" 'an error'
	expect 0 exporter_stop
}

@test "page: nobody can write, and HEAD gets what GET gets, without the body" {
	local path method
	load
	exporter
	for path in / /page.js /api/status /api/networks /api/history; do
		for method in POST PUT DELETE PATCH OPTIONS; do
			expect_eq 405 "$(status_of "$path" -X "$method")" "$method $path"
		done
		expect_eq "$(status_of "$path") 0" \
			"$(get "$path" -I -o /dev/null -w '%{http_code} %{size_download}' | tail -n 1)" "HEAD $path"
		expect_match 'Content-Length: [1-9]' "$(get "$path" -I)"
	done
	expect 0 exporter_stop
}

@test "page: a browser loads nothing from elsewhere, runs no other script, and shows it in no frame" {
	local path
	load
	exporter
	for path in / /page.js /page.css /icon.svg /api/status '/api/networks?v4=x'; do
		expect 0 get "$path" -D - -o /dev/null
		output=$(tr -d '\r' <<<"$output")
		expect_match $'\nContent-Security-Policy: default-src \'self\'; base-uri \'none\'; form-action \'none\'; frame-ancestors \'none\'\n' "$output"$'\n'
		expect_match $'\nX-Content-Type-Options: nosniff\n' "$output"$'\n'
		expect_match $'\nReferrer-Policy: no-referrer\n' "$output"$'\n'
		expect_match $'\nCross-Origin-Resource-Policy: same-origin\n' "$output"$'\n'
		expect_match $'\nCache-Control: no-cache\n' "$output"$'\n'
		expect_match $'\nAge: 0\n' "$output"$'\n'
		[[ ${output,,} != *set-cookie* ]] || fail 'it sets a cookie'
	done
	expect_match 'Content-Type: text/html; charset=utf-8' "$(get / -I)"
	expect_match 'Content-Type: application/json' "$(get /api/status -I)"
	# No inline script or style, and no address of another host but the namespace of SVG.
	expect 1 grep -nE '<script>|<style|style=| on[a-z]+=|javascript:' "$ROOT"/user/page/page.html
	expect 1 grep -nE 'innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function' "$ROOT/user/page/page.js"
	expect_eq '' "$(cat "$ROOT"/user/page/* | grep -oE "(https?:)?//[a-z][a-z0-9.-]+\.[a-z]+" | grep -vx 'http://www.w3.org' || :)" addresses
	expect 0 exporter_stop
}

@test "page: a name of another site that points to this host gets 421, and metrics as before" {
	local host
	load
	exporter --listen '[::]:10125'
	for host in evil.example evil.example:10125 127.0.0.1.evil.example localhost.evil.example notlocalhost 1.2.3; do
		expect_eq 421 "$(status_of / -H "Host: $host")" "$host"
		expect_eq 421 "$(status_of /api/networks -H "Host: $host")" "$host"
		expect_eq 200 "$(status_of /metrics -H "Host: $host")" "$host"
	done
	for host in localhost LOCALHOST:10125 mail.localhost 127.0.0.1 127.0.0.1:1 '[::1]' '[::1]:10125'; do
		expect_eq 200 "$(status_of / -H "Host: $host")" "$host"
	done
	BASE='http://[::1]:10125'
	expect_eq 421 "$(status_of / -H 'Host: evil.example')" '::1'
	expect_eq 200 "$(status_of / -H 'Host: [::1]')" '::1'
	# Whoever serves an address that others reach has given it the name.
	BASE=http://192.0.2.9:10125
	expect_eq 200 "$(status_of / -H 'Host: mail.example.com')" 'an address of others'
	expect 0 exporter_stop
}

@test "page: --no-page leaves only the metrics" {
	local path
	load
	exporter --no-page
	for path in / /page.js /api/status /api/networks /api/history; do
		expect_eq 404 "$(status_of "$path")" "$path"
	done
	expect_eq 200 "$(status_of /metrics)" /metrics
	expect 0 exporter_stop
}

@test "page: while nobody looks, the exporter sleeps" {
	local before
	load
	exporter
	get / >/dev/null
	get /api/status >/dev/null
	switches() {
		sed -n 's/^voluntary_ctxt_switches:\t//p' "/proc/$EXPORTER/status"
	}
	before=$(switches)
	sleep 3
	# Once a minute is for the history; the rest are those of the requests above.
	(($(switches) - before <= 3)) || fail "$(($(switches) - before)) times awake in 3 s"
	expect 0 exporter_stop
}
