# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# exporting.bash - an exporter in a test's place. Load common.bash and instance.bash first. teardown()
# calls exporter_stop before instance_teardown.

EXPORTER= # its process
EXPORTER_UNDER=() # a command to start it with, whose process it becomes

# exporter [OPTION...]: starts an exporter; its messages go to $TEST_DIR/log.
exporter() {
	start_in_ns "${EXPORTER_UNDER[@]}" conncount exporter "$@" 2>"$TEST_DIR/log"
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
