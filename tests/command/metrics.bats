# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The metrics, read by an OpenMetrics parser that is not ours.

load ../lib/common
load ../lib/instance

setup() {
	requires openmetrics
	instance_setup
	configure <<-'END'
		[smtp]
		listen = *:25
		service = SMTP
		[msa]
		listen = 192.0.2.10:587
		listen = [2001:db8::10]:587
		service = SMTP
		[control]
		listen = 192.0.2.1:4000
		service = Control
	END
	load
	sessions_start
}

teardown() {
	instance_teardown
}

# scrape: reads the metrics in the test's network namespace into $metrics, one sample a line:
# `NAME LABEL="VALUE",... NUMBER`, with the labels in order of name.
scrape() {
	expect 0 in_ns conncount metrics
	expect_eq '' "$errors" stderr
	parse_output
}

# parse_output: parses $output, which must be valid OpenMetrics, into $metrics.
parse_output() {
	metrics=$(/usr/bin/python3 -I -c '
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        labels = ",".join("%s=\"%s\"" % pair for pair in sorted(sample.labels.items()))
        print(*filter(None, (sample.name, labels)), "%.15g" % sample.value)' <<<"$output")
}

# expect_metric NUMBER NAME [LABELS]
expect_metric() {
	local line
	line=$(awk -v name="${*:2}" 'index($0, name " ") == 1 { print $NF }' <<<"$metrics")
	expect_eq "$1" "$line" "${*:2}"
}

@test "metrics: has sessions by listener, service and family, and the state that status shows" {
	sessions <<-'END'
		listen *:25
		listen 192.0.2.10:587
		listen *:4000
		open 3 10.1.2.3 192.0.2.1:25
		open 2 2001:db8::1 [2001:db8::5]:25
		open 1 10.1.2.3 192.0.2.10:587
		open 4 10.1.2.3 192.0.2.1:4000
		close server 1
	END
	scrape
	expect_metric 1 conncount_up
	expect_metric 1 conncount_exact
	expect_metric 0 conncount_seeding
	expect_metric 0 conncount_detached
	expect_metric 2 conncount_sessions 'family="ipv4",listener="smtp",service="SMTP"'
	expect_metric 2 conncount_sessions 'family="ipv6",listener="smtp",service="SMTP"'
	expect_metric 1 conncount_sessions 'family="ipv4",listener="msa",service="SMTP"'
	expect_metric 4 conncount_sessions 'family="ipv4",listener="control",service="Control"'
	expect_metric 3 conncount_sessions_opened_total \
		'family="ipv4",listener="smtp",service="SMTP"'
	expect_metric 1 conncount_sessions_closed_total \
		'family="ipv4",listener="smtp",service="SMTP"'
	expect_metric 0 conncount_sessions_closed_total \
		'family="ipv6",listener="smtp",service="SMTP"'
	expect_metric 0 conncount_sessions_uncounted 'family="ipv4",listener="smtp",service="SMTP"'
	expect_metric 0 conncount_changes_lost_total 'family="ipv4",listener="smtp",service="SMTP"'
	expect_metric "$(state nodes)" conncount_prefixes
	expect_metric 1048576 conncount_prefixes_max
	expect_metric 1 conncount_build_info \
		"kernel=\"$(uname -r)\",version=\"$(state build)\""
}

@test "metrics: with a full table, has uncounted sessions, and counts are not exact" {
	configure_smtp_with 'max_prefixes = 8'
	load
	sessions listen '*:25'
	sessions open 2 10.1.2.3 192.0.2.1:25
	sessions open 3 172.16.0.1 192.0.2.1:25
	sessions open 3 192.168.0.1 192.0.2.1:25
	scrape
	expect_metric "$(state uncounted)" conncount_sessions_uncounted \
		'family="ipv4",listener="smtp",service="SMTP"'
	expect_metric 3 conncount_sessions_uncounted 'family="ipv4",listener="smtp",service="SMTP"'
	expect_metric 0 conncount_exact
	expect_metric 8 conncount_prefixes_max
}

# proxied ID [NUMBER...]: see tests/tools/proxied.py.
proxied() {
	python3 -I -S "$TOOLS/proxied.py" "$CONNCOUNT_DIR" "$@"
}

@test "metrics: has sessions of proxies for listeners that have proxies or had such sessions" {
	scrape
	[[ $metrics != *awaiting* && $metrics != *unidentified* && $metrics != *proxied* ]] ||
		fail 'metrics of proxies without a proxy'
	proxied 0
	proxied 2 1 7 100 20 8 4 2 1
	scrape
	expect_metric 0 conncount_sessions_awaiting 'listener="smtp",service="SMTP"'
	expect_metric 0 conncount_sessions_proxied_total \
		'listener="smtp",origin="header",service="SMTP"'
	expect_metric 1 conncount_sessions_awaiting 'listener="control",service="Control"'
	expect_metric 7 conncount_sessions_unidentified 'listener="control",service="Control"'
	local want
	for want in 100:header 20:proxy 8:absent 4:malformed 2:split 1:unread; do
		expect_metric "${want%:*}" conncount_sessions_proxied_total \
			"listener=\"control\",origin=\"${want#*:}\",service=\"Control\""
	done
	[[ $metrics != *'sessions_awaiting listener="msa"'* ]] || fail 'msa has no proxy'
	expect_metric 1 conncount_exact
}

@test "metrics: a queue belongs to the most specific listener, and sockets of one address add up" {
	configure <<-'END'
		[any]
		listen = *:25
		[four]
		listen = 0.0.0.0:25
		[one]
		listen = 192.0.2.1:25
		[two]
		listen = 192.0.2.2:25
	END
	load
	start_in_ns python3 -I -c '
import socket, sys, time
def listen(family, address, backlog, v6only=None):
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if v6only is not None:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    sock.bind((address, 25))
    sock.listen(backlog)
    return sock
all = [listen(socket.AF_INET, "0.0.0.0", 10), listen(socket.AF_INET, "0.0.0.0", 20),
       listen(socket.AF_INET6, "::", 30, 1), listen(socket.AF_INET, "192.0.2.2", 40),
       listen(socket.AF_INET6, "::ffff:192.0.2.9", 50, 0)]
open(sys.argv[1], "w").close()
time.sleep(1000)' "$TEST_DIR/listening"
	local pid=$STARTED
	wait_until test -e "$TEST_DIR/listening"
	scrape
	kill "$pid"
	wait "$pid" || :
	expect_metric 30 conncount_accept_queue_limit 'listener="four",service="SMTP",socket="0.0.0.0:25"'
	expect_metric 30 conncount_accept_queue_limit 'listener="one",service="SMTP",socket="0.0.0.0:25"'
	expect_metric 30 conncount_accept_queue_limit 'listener="any",service="SMTP",socket="[::]:25"'
	expect_metric 40 conncount_accept_queue_limit 'listener="two",service="SMTP",socket="192.0.2.2:25"'
	expect_metric 50 conncount_accept_queue_limit 'listener="four",service="SMTP",socket="192.0.2.9:25"'
	expect_eq 5 "$(grep -c ^conncount_accept_queue_limit <<<"$metrics")" queues
}

@test "metrics: has the table of windows if any are configured" {
	scrape
	[[ $metrics != *conncount_windows* ]] || fail 'none are configured'
	configure_smtp_with 'window = 3600,1' 'window = 60,29' 'window_memory = 1M' 'group = daemon'
	load
	sessions listen '*:25'
	sessions open 3 10.1.2.3 192.0.2.1:25
	expect 0 as_user daemon conncount metrics
	parse_output
	expect_metric 5 conncount_windows_networks
	expect_metric "$(state windows.max_networks)" conncount_windows_networks_max
	expect_metric 0 conncount_windows_evicted_total
	expect_metric 0 conncount_windows_error 'window="3600,1"'
	expect_metric 0 conncount_windows_error 'window="60,29"'
	sessions open "$(state windows.max_networks)" 10.1.0.1+ 192.0.2.1:25
	scrape
	expect_metric "$(state windows.evicted)" conncount_windows_evicted_total
	expect_metric "$(state windows.configured.1.error)" conncount_windows_error 'window="60,29"'
	[ "$(state windows.evicted)" -gt 0 ] || fail 'none was evicted'
}

@test "metrics: has the limits, what they refused and whether they are in force, if there are any" {
	scrape
	[[ $metrics != *conncount_limit* && $metrics != *syn_gate* ]] || fail 'there is no limit'
	configure_smtp 'limit = /24,/64 over 2 log' 'limit = /32,/128 over 9 reset' \
		'[msa]' 'listen = *:587' 'service = submission' 'limit = /24,/64 over 1 log'
	sessions listen '*:25'
	sessions listen '*:587'
	load
	sessions open 5 10.1.2.3 192.0.2.1:25
	sessions open 4 2001:db8::1 '[2001:db8::25]:587'
	sed -i 's/^group = .*/group = daemon/' "$CONFIG"
	load
	expect 0 as_user daemon conncount metrics
	parse_output
	local smtp='listener="smtp",service="SMTP"'
	expect_metric 3 conncount_limit_would_refuse_total "limit=\"/24,/64 over 2 log\",$smtp"
	expect_metric 0 conncount_limit_refused_total "limit=\"/24,/64 over 2 log\",$smtp"
	expect_metric 0 conncount_limit_would_refuse_total "limit=\"/32,/128 over 9 reset\",$smtp"
	expect_metric 1 conncount_limit_in_force "limit=\"/32,/128 over 9 reset\",$smtp"
	expect_metric 3 conncount_limit_would_refuse_total \
		'limit="/24,/64 over 1 log",listener="msa",service="submission"'
	expect_metric 0 conncount_namespaces_without_syn_gate
	expect_eq 9 "$(grep -c ^conncount_limit_ <<<"$metrics")" samples
}

@test "metrics: has as many samples with 1,000 sessions as with none" {
	local lines
	sessions listen '*:25'
	scrape
	lines=$(wc -l <<<"$metrics")
	sessions open 500 10.1.0.1+ 192.0.2.1:25
	sessions open 500 2001:db8::1+ '[2001:db8::1]:25'
	scrape
	expect_metric 500 conncount_sessions 'family="ipv4",listener="smtp",service="SMTP"'
	expect_eq "$lines" "$(wc -l <<<"$metrics")" 'samples'
}

@test "metrics: a member of the group needs no privilege; others, or nothing loaded, get an error" {
	requires setpriv
	sed -i 's/^group = .*/group = daemon/' "$CONFIG"
	load
	sessions listen '*:25'
	sessions queue 2 10.1.2.3 192.0.2.1:25
	expect 0 as_user daemon conncount metrics
	parse_output
	expect_metric 2 conncount_sessions 'family="ipv4",listener="smtp",service="SMTP"'
	expect_metric 2 conncount_accept_queue_connections \
		'listener="smtp",service="SMTP",socket="*:25"'
	expect 1 as_user nogroup conncount metrics
	expect_eq '' "$output"
	expect_match 'permission denied' "$errors"
	sessions_stop
	conncount unload
	expect 1 conncount metrics
	expect_eq '' "$output"
	expect_match '^conncount: .*not loaded' "$errors"
}
