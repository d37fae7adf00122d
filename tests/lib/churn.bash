# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# churn.bash - full-speed traffic beside a test, until the test ends it. A test file has
#	teardown() { churn_end; instance_teardown; }

CHURN=() # process ids

time_limit 900

# churn_start ADDR:PORT PROCESSES: starts full-speed traffic, in a cgroup of its own below the
# test's. It is nice, so that the tested commands do not wait for a CPU on a small machine.
churn_start() {
	requires churn
	mkdir -p "$CGROUP_PATH/churn"
	CGROUP_PATH=$CGROUP_PATH/churn start_in_ns nice -n 10 "$BUILD/tests/churn" --procs "$2" \
		--connections 1000000000 --to "$1" --from-base 10.1.2.3 --addresses 4 --seconds 3600
	CHURN+=("$STARTED")
	wait_until churn_runs
}

churn_runs() {
	[ "$(wc -l <"$CGROUP_PATH/churn/cgroup.procs")" -gt $((2 * ${#CHURN[@]})) ]
}

# churn_stopped 0|1: thaws or freezes the traffic.
churn_stopped() {
	echo "$1" >"$CGROUP_PATH/churn/cgroup.freeze"
	wait_until grep -qx "frozen $1" "$CGROUP_PATH/churn/cgroup.events"
}

churn_gone() {
	[ -z "$(cat "$CGROUP_PATH/churn/cgroup.procs")" ]
}

# churn_end: ends the traffic, and every session of it.
churn_end() {
	local pid rc=0
	[ -d "${CGROUP_PATH:-/none}/churn" ] || return 0
	churn_stopped 0
	for pid in "${CHURN[@]}"; do
		kill -ALRM "$pid" || rc=1
		wait "$pid" 2>/dev/null || :
	done
	CHURN=()
	wait_until churn_gone
	rmdir "$CGROUP_PATH/churn"
	[ $rc -eq 0 ] || fail 'traffic had ended before'
}
