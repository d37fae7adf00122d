# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# limits.bash - a listener with limits, connections over them, and what the maps about limits say.
# Load actors.bash and instance.bash, too. It has setup() and teardown(). A server must listen before
# the load: only then does its network namespace have a gate for SYNs.

setup() {
	instance_setup
}

teardown() {
	actors_teardown
}

# limits LINE...: configures the listener smtp with these lines, `limit = ...` for instance, and
# loads.
limits() {
	configure_smtp "$@"
	load
}

# limits_with KEY LINE...: the same, with KEY, `max_prefixes = 10` for instance, in the section
# [conncount].
limits_with() {
	configure_smtp_with "$1"
	printf '%s\n' "${@:2}" >>"$CONFIG"
	load
}

# limited COMMAND [ARGUMENT...]: see tests/tools/limited.py.
limited() {
	python3 -I -S "$TOOLS/limited.py" "$CONNCOUNT_DIR" "$@"
}

# expect_limited WANT COMMAND [ARGUMENT...]: expects that it prints WANT.
expect_limited() {
	local want=$1 got
	shift
	got=$(limited "$@") || fail "limited $*: exit status $?" || return
	expect_eq "$want" "$got" "limited $*"
}

# serve [ADDR:PORT...]: starts sessions.py with listeners, *:25 without an argument.
serve() {
	local where
	sessions_start
	for where in "${@:-*:25}"; do
		sessions listen "$where"
	done
}

# opens N SRC DST:PORT: opens N sessions, of which each gets in.
opens() {
	sessions open "$@" >/dev/null
}

# refused SRC DST:PORT: expects that a connection is refused at once.
refused() {
	expect 1 sessions open 1 "$1" "$2"
	expect_match 'Connection refused' "$errors"
}
