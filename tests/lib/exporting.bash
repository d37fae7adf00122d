# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# exporting.bash - an exporter in a test's place. Load common.bash and instance.bash first. teardown()
# calls exporter_stop before instance_teardown.

EXPORTER= # its process

# exporter [OPTION...]: starts an exporter; its messages go to $TEST_DIR/log.
exporter() {
	exporter_by conncount exporter "$@"
}

# exporter_traced: the same, under strace, which writes its calls of bpf(2) to $TEST_DIR/trace.
exporter_traced() {
	requires strace
	exporter_by strace -D -f -qq -e trace=bpf -o "$TEST_DIR/trace" conncount exporter
}

# exporter_by COMMAND...: starts it by a command whose process it becomes.
exporter_by() {
	start_in_ns "$@" 2>"$TEST_DIR/log"
	EXPORTER=$STARTED
	wait_until grep -q serving "$TEST_DIR/log"
}

# exporter_stop: ends the exporter with SIGTERM, and returns its exit status.
exporter_stop() {
	local pid=$EXPORTER
	[ -n "$pid" ] || return 0
	EXPORTER=
	kill "$pid" && wait "$pid"
}

# openers_of_window SECONDS,WINDOWS: loads such a window; then three clients open 10 sessions, and
# those of one end.
openers_of_window() {
	configure_smtp_with "window = $1"
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		open 5 10.1.2.3 192.0.2.1:25
		open 2 10.1.3.4 192.0.2.1:25
		open 3 2001:db8:1::1 [2001:db8::5]:25
		close both from=10.1.2.0/24
	END
}
