# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Loads and unloads with limits, killed at each of their system calls that matters: the limits are
# those from before or from after, and the next command finishes the work.

load ../lib/common
load ../lib/actors
load ../lib/killed
load ../lib/limits
load ../lib/instance

# halves SCENARIO: runs at_each_call with a server for each half, on a port of its own.
halves() {
	local half
	for half in 0 1; do
		actor "half$half"
		act "half$half" "
door = listen('192.0.2.1', $((700 + half)))
def admitted():
    socks, others = [], []
    while len(others) < 5:
        try:
            socks += connect('10.1.2.3', '192.0.2.1', $((700 + half)))
        except ConnectionRefusedError:
            break
        if not is_open(socks[-1]):
            break
        others += accept(door)
    n = len(others)
    reset(socks)
    close(others)
    return n"
	done
	at_each_call "$1"
}

# expect_admitted N...: expects that so many sessions, one of these numbers, can be open; 5 stands
# for any number.
expect_admitted() {
	local got
	got=$(act "half$half" 'print(admitted())')
	[[ " $* " = *" $got "* ]] || fail "$got sessions can be open, not $*" "$(conncount status 2>&1)"
}

# configuration [KEY...] -- [LIMIT]: configures the half's listener.
configuration() {
	local keys=()
	while [ "$1" != -- ]; do
		keys+=("$1")
		shift
	done
	printf '%s\n' '[conncount]' 'group = root' "${keys[@]}" '[mx]' "listen = *:$((700 + half))" \
		"${@:2}" | configure raw
}

# Load number I brings a limit of 2, makes it one of 3, or takes it away.
changed_prepare() {
	configuration --
	conncount load -c "$CONFIG" --cgroup "$CGROUP"
	COMMAND=(conncount load -c "$CONFIG" --cgroup "$CGROUP")
	OLD=5
	changed_before 0
}

changed_before() {
	case $((($1 + FIRST) % 3)) in
	0) NEW=2 ;;
	1) NEW=3 ;;
	2) NEW=5 ;;
	esac
	if [ "$NEW" -lt 5 ]; then
		configuration -- "limit = /24,/64 over $NEW reset"
	else
		configuration --
	fi
}

changed_after() {
	expect_admitted "$OLD" "$NEW"
	expect 0 "${COMMAND[@]}"
	expect_admitted "$NEW"
	expect 0 conncount status
	expect_match '^held 0 nodes 0$' "$(limited places)"
	OLD=$NEW
	[ $(($1 % 6)) -ne 0 ] || verified 0
}

@test "a load that brings, changes or removes a limit, killed at any step, leaves the old or the new" {
	requires speed
	FIRST=$((SRANDOM % 3)) # other steps of each, the next time
	echo "FIRST=$FIRST"
	halves changed
}

rebuilt_prepare() {
	configuration -- 'limit = /24,/64 over 2 reset'
	conncount load -c "$CONFIG" --cgroup "$CGROUP"
	COMMAND=(conncount load -c "$CONFIG" --cgroup "$CGROUP")
	TOTAL=0
	rebuilt_before 0
}

rebuilt_before() {
	configuration "max_prefixes = $((1000 + $1))" -- 'limit = /24,/64 over 2 reset'
}

rebuilt_after() {
	local total
	expect_admitted 2
	expect 0 "${COMMAND[@]}"
	expect_admitted 2
	total=$(limited refusals)
	total=${total//[!0-9 ]/}
	total=${total%% 0}
	[ "$total" -gt "$TOTAL" ] || fail "total $total after $TOTAL"
	TOTAL=$total
	[ $(($1 % 6)) -ne 0 ] || verified 0
}

@test "a load that makes new maps, killed at any step, refuses all the time, and loses no total" {
	requires speed
	halves rebuilt
}

unload_prepare() {
	configuration -- 'limit = /24,/64 over 2 reset'
	conncount load -c "$CONFIG" --cgroup "$CGROUP"
	COMMAND=(conncount unload)
}

unload_before() {
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_admitted 2
}

unload_after() {
	expect_admitted 2 5
	if [ $(($1 % 2)) -eq 0 ]; then
		expect 0 conncount unload
		expect_admitted 5
		[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
	fi
	unload_before
}

@test "an unload killed at any step refuses as before or nothing, and the next command finishes" {
	requires speed
	halves unload
}
