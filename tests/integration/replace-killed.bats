# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# A load that replaces another, or an unload, killed at each of its system calls that matters: the
# counts stay right, and the next command finishes the work.

load ../lib/common
load ../lib/killed
load ../lib/replace
load ../lib/instance

setup() {
	instance_setup
}

teardown() {
	instance_teardown
}

# finished I [MORE]: checks the counts after a load that was not killed; by verify every sixth time,
# with MORE sessions in other services.
finished() {
	expect_count "$HELD" 10.9.0.0/16
	expect_count "$HELD" 10.9.0.0/24
	[ $(($1 % 6)) -ne 0 ] || exactly "$HELD" "${2:-0}"
}

# inform: sets $status_text to what `status --json` prints, or to 'not loaded'. It may exit with 1
# only while sessions are being entered.
inform() {
	local rc=0
	status_text=$(conncount status --json 2>"$CONFIG.err") || rc=$?
	if [ -z "$status_text" ]; then
		expect_match 'not loaded' "$(<"$CONFIG.err")" 'message of status'
		status_text='not loaded'
	elif [ $rc -ne 0 ]; then
		expect_eq true "$(json seeding <<<"$status_text")" 'seeding, the reason for exit status 1'
	fi
}

first_prepare() {
	configure_smtp
	COMMAND=(conncount load -c "$CONFIG" --cgroup "$CGROUP")
}

first_before() {
	:
}

first_after() {
	inform
	[ "$status_text" = 'not loaded' ] || expect_count "$HELD" 10.9.0.0/16
	if [ $(($1 % 2)) -eq 0 ]; then
		expect 0 "${COMMAND[@]}"
		finished "$1"
	fi
	expect 0 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}

@test "if the first load is killed at any step, the next load or unload finishes" {
	requires speed
	held
	at_each_call first
}

# Load number I moves the listener `extra` to another port, where one session is open.
changed_prepare() {
	configure_smtp
	conncount load -c "$CONFIG" --cgroup "$CGROUP"
	EXTRA=0
	COMMAND=(conncount load -c "$CONFIG" --cgroup "$CGROUP")
	changed_before 0
}

changed_before() {
	configure_smtp
	printf '[extra]\nlisten = *:%d\nservice = Control\n' $((700 + $1)) >>"$CONFIG"
}

changed_after() {
	local port=$((700 + $1)) got=0
	if [ "$EXTRA" -gt 0 ]; then
		inform
		expect_count "$HELD" 10.9.0.0/16
		got=$(conncount count --listener extra 2>/dev/null)
		case $(json seeding <<<"$status_text"),$status_text in
		true,*"*:$port"*)
			[ "$got" -eq "$EXTRA" ] || expect_eq $((EXTRA + 1)) "$got" 'extra, seeding'
			;;
		*"*:$port"*) expect_eq $((EXTRA + 1)) "$got" 'extra, new' ;;
		*) expect_eq "$EXTRA" "$got" 'extra, old' ;;
		esac
	fi
	expect 0 "${COMMAND[@]}"
	EXTRA=$((EXTRA + 1))
	expect_count $EXTRA --listener extra
	expect 0 conncount status
	finished "$1" "$EXTRA"
}

@test "a load of a changed configuration, killed at any step, leaves the old or new one counting" {
	requires speed
	local i
	held
	for i in {700..900}; do
		printf 'listen *:%d\nopen 1 10.8.0.1 192.0.2.1:%d\n' "$i" "$i"
	done >"$TEST_DIR/many"
	sessions <"$TEST_DIR/many" >/dev/null
	at_each_call changed
}

rebuilt_prepare() {
	configure_smtp
	conncount load -c "$CONFIG" --cgroup "$CGROUP"
	COMMAND=(conncount load -c "$CONFIG" --cgroup "$CGROUP")
	rebuilt_before 0
}

rebuilt_before() {
	configure_smtp_with "max_prefixes = $((1000 + $1))"
}

rebuilt_after() {
	inform
	expect_eq true "$(json exact <<<"$status_text")" 'exact, of status'
	expect_count "$HELD" 10.9.0.0/16
	expect 0 "${COMMAND[@]}"
	expect_eq $((1000 + $1)) "$(conncount status --json | json max_prefixes)" max_prefixes
	finished "$1"
}

@test "a load with another max_prefixes, killed at any step, leaves the old or new maps counting" {
	requires speed
	held
	at_each_call rebuilt
}

unload_prepare() {
	configure_smtp
	conncount load -c "$CONFIG" --cgroup "$CGROUP"
	COMMAND=(conncount unload)
}

unload_before() {
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
}

unload_after() {
	inform
	[ "$status_text" = 'not loaded' ] || expect_count "$HELD" 10.9.0.0/16
	if [ "$FINISH" = load ]; then
		expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
		finished "$1"
	fi
	expect 0 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}

@test "if unload is killed at any step, the next load or unload finishes" {
	requires speed
	held
	FINISH=unload at_each_call unload
	FINISH=load at_each_call unload
}
