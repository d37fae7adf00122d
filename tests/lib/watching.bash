# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# watching.bash - `conncount watch` beside a test. A test file has
#	setup() { instance_setup; ... }
#	teardown() { watch_stop; instance_teardown; }

WATCH='' # its process id

# watch [OPTION...]: starts watch, with its lines in $TEST_DIR/watched and its messages in .../log.
watch() {
	conncount watch "$@" >"$TEST_DIR/watched" 2>"$TEST_DIR/log" 3>&- &
	WATCH=$!
}

watch_stop() {
	[ -n "$WATCH" ] || return 0
	kill "$WATCH" 2>/dev/null || :
	wait "$WATCH" || :
	WATCH=
}

# watched: prints the lines so far, without the time.
watched() {
	cut -d ' ' -f 2- "$TEST_DIR/watched"
}

# saw LINE...: succeeds if watch has printed these lines and no others; for wait_until.
saw() {
	[ "$(watched)" = "$(printf '%s\n' "$@")" ] || {
		watched
		return 1
	}
}
