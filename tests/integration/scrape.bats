# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The metrics that each scrape asks the kernel for. command/metrics.bats has the others, and the
# format.

load ../lib/common
load ../lib/instance

setup() {
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
	[ -z "${STATS_BEFORE:-}" ] || echo "$STATS_BEFORE" >/proc/sys/kernel/bpf_stats_enabled
	instance_teardown
}

# scrape: sets $output to the metrics as seen in the test's network namespace.
scrape() {
	expect 0 in_ns conncount metrics
	expect_eq '' "$errors" stderr
}

# expect_metric NUMBER NAME [LABELS]
expect_metric() {
	local line="$2${3:+{$3\}} $1"
	[[ $'\n'$output$'\n' = *$'\n'$line$'\n'* ]] || fail "no $line"
}

@test "metrics: connections that wait for accept are reported by their listening socket" {
	sessions <<-'END'
		listen *:25
		listen 192.0.2.2:25
		listen *:587
		open 1 10.1.2.3 192.0.2.1:25
		queue 2 10.1.2.3 192.0.2.1:25
		queue 1 2001:db8::1 [2001:db8::5]:25
		queue 4 10.1.2.3 192.0.2.2:25
		queue 5 10.1.2.3 192.0.2.10:587
	END
	scrape
	# Sessions in the accept queue are counted as well.
	expect_metric 7 conncount_sessions 'listener="smtp",service="SMTP",family="ipv4"'
	expect_metric 3 conncount_accept_queue_connections \
		'listener="smtp",service="SMTP",socket="*:25"'
	expect_metric 4 conncount_accept_queue_connections \
		'listener="smtp",service="SMTP",socket="192.0.2.2:25"'
	expect_metric 5 conncount_accept_queue_connections \
		'listener="msa",service="SMTP",socket="*:587"'
	expect_metric 4096 conncount_accept_queue_limit \
		'listener="smtp",service="SMTP",socket="*:25"'
	# No other socket is reported, and none for the listener that has no socket.
	expect_eq 3 "$(grep -c ^conncount_accept_queue_limit <<<"$output")" queues
	sessions accept to=192.0.2.2:25
	scrape
	expect_metric 0 conncount_accept_queue_connections \
		'listener="smtp",service="SMTP",socket="192.0.2.2:25"'
}

@test "metrics: the queue of a server in another cgroup is not reported" {
	configure_smtp
	mkdir "$CGROUP_PATH/inner" "$CGROUP_PATH/inner/most"
	load --cgroup "$CGROUP/inner"
	# A server in the cgroup above the counted one, one inside it, and one in a cgroup below.
	local place pids=()
	for place in . inner inner/most; do
		(
			echo "$BASHPID" >"$CGROUP_PATH/$place/cgroup.procs"
			exec nsenter --net="$TEST_DIR/net" -- python3 -I -S -c '
import socket, sys, time
sock = socket.socket()
sock.bind((sys.argv[1], 25))
sock.listen(int(sys.argv[2]))
open(sys.argv[3], "w").close()
time.sleep(1000)' "192.0.2.1${#pids[@]}" "$((10 + ${#pids[@]}))" "$TEST_DIR/up${#pids[@]}"
		) 3>&- &
		pids+=("$!")
		wait_until test -e "$TEST_DIR/up$((${#pids[@]} - 1))"
	done
	scrape
	kill "${pids[@]}"
	wait "${pids[@]}" || :
	expect_eq "$(sed 's/^	*//' <<-'END'
		{listener="smtp",service="SMTP",socket="192.0.2.11:25"} 11
		{listener="smtp",service="SMTP",socket="192.0.2.12:25"} 12
	END
	)" "$(sed -n 's/^conncount_accept_queue_limit//p' <<<"$output" | sort)"
	rmdir "$CGROUP_PATH/inner/most" "$CGROUP_PATH/inner"
}

@test "metrics: the programs' runs are reported only while the kernel measures them" {
	STATS_BEFORE=$(cat /proc/sys/kernel/bpf_stats_enabled)
	echo 0 >/proc/sys/kernel/bpf_stats_enabled
	sessions listen '*:25'
	configure_smtp 'limit = /24,/64 over 9 reset'
	load
	scrape
	[[ $output != *conncount_program_run* ]] || fail 'there should be none'
	echo 1 >/proc/sys/kernel/bpf_stats_enabled
	sessions open 5 10.1.2.3 192.0.2.1:25
	sessions close server
	scrape
	local program
	for program in sockops release ack_gate syn_gate; do
		expect_match "conncount_program_runs_total\{program=\"$program\"\} [1-9]" "$output"
		expect_match "conncount_program_run_seconds_total\{program=\"$program\"\} [0-9.e-]*[1-9]" \
			"$output"
	done
}
