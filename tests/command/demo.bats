# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# scripts/demo: compares the numbers on its screen with computed ones, and checks that it leaves
# nothing.

load ../lib/common

# The sessions that the demo opens, by client and listener.
suspect=2 suspect_submission=1 flood=$((11 * 2)) suspect6=1 flood6=23 customer6=4 ordinary=30
partner=3 user=4 console=3 partner_console=1

setup() {
	requires root bpf cgroup2 netns ipv6 build lua ss ip python3
	SCREEN=$BATS_TEST_TMPDIR/screen
}

# screen_has LINE: the screen has this line, apart from blanks.
screen_has() {
	tr -s ' \t' ' ' <"$SCREEN" | sed 's/^ //' | grep -q -x -F -e "$1" ||
		fail "not on the screen: $1" "$(<"$SCREEN")"
}

# leftover: prints what the demo on $SCREEN has left, one a line. Its processes need no check: they
# are in its cgroup, which cannot be removed before they end.
leftover() {
	local name cgroup
	name=$(grep -o -m 1 'conncount-demo\.[A-Za-z0-9]*' "$SCREEN") || return 0
	cgroup=$(cgroup2_root)/$name
	[ ! -e "/run/$name" ] || echo "/run/$name"
	[ ! -e "$cgroup" ] || echo "$cgroup"
	grep -F "$name" /proc/self/mountinfo || :
}

@test "the demo prints the counts of the sessions that it opened, and leaves nothing" {
	local network=$((suspect + suspect_submission + flood)) network6=$((suspect6 + flood6))
	local address=$((suspect + suspect_submission)) total
	total=$((network + network6 + customer6 + ordinary + partner + user))

	expect 0 "$ROOT/scripts/demo"
	printf '%s\n' "$output" >"$SCREEN"

	# Step 4: the command.
	screen_has "\$ conncount count $total"
	screen_has "\$ conncount count 198.51.100.0/24 $network"
	screen_has "\$ conncount count 2001:db8:7::/48 $((network6 + customer6))"
	screen_has "\$ conncount count --listener submission $((suspect_submission + user))"
	screen_has "\$ conncount count --service Control $console"
	screen_has "The kernel's own list of sockets has $total on the ports of mx and submission."
	screen_has "$network 198.51.100.0/24"
	screen_has "$network6 2001:db8:7:1::/64"
	screen_has 'exact yes'

	# Step 5: the policy.
	screen_has "() $suspect $suspect6 $partner this address, on this listener"
	screen_has "('/32') $address $suspect6 $partner this address, on all of the service SMTP"
	screen_has "('/24') $network $((network6 + customer6)) $partner its /24, on SMTP"
	screen_has "('/24,/64') $network $network6 $partner its /24 if it is IPv4, its /64 if it is IPv6"
	screen_has "('127.0.0.0/8') $ordinary $ordinary $ordinary all of that network, on SMTP"
	screen_has "(nil, 'Control') 0 0 $partner_console this address, on the service Control"
	screen_has "198.51.100.7 421 4.7.0 too many sessions from your network: $network"
	screen_has "2001:db8:7:1::5 421 4.7.0 too many sessions from your network: $network6"
	screen_has '192.0.2.77 220 welcome'

	# Step 6: the floods are gone.
	screen_has "('/24') $address $((suspect6 + customer6)) $partner its /24, on SMTP"
	screen_has "('/24,/64') $address $suspect6 $partner its /24 if it is IPv4, its /64 if it is IPv6"
	screen_has '198.51.100.7 220 welcome'
	screen_has '2001:db8:7:1::5 220 welcome'

	# Step 7: six sessions come and go.
	screen_has '$ conncount count 203.0.113.25 6'
	screen_has '$ conncount count 203.0.113.25 0'
	screen_has "\$ conncount count $((total - flood - flood6))"

	expect_match '^conncount: note: only network namespace [0-9]+ is counted' "$errors"
	expect_eq 1 "$(wc -l <<<"$errors")" 'lines of messages'
	expect_eq '' "$(leftover)" 'left behind'
}

@test "the demo of a cluster: each host has the sessions of all, with and without one that is dead" {
	requires redis-server
	expect 0 "$ROOT/scripts/demo" cluster
	printf '%s\n' "$output" >"$SCREEN"
	screen_has 'mx1: conncount count 198.51.100.7 2'
	screen_has 'mx2: conncount count 198.51.100.7 3'
	screen_has 'mx3: conncount count 198.51.100.7 1'
	expect_eq 9 "$(grep -c 'inbound_cidr 198.51.100.7 *6$' "$SCREEN")" 'views with all sessions'
	expect_eq 2 "$(grep -c 'inbound_cidr 198.51.100.7 *3$' "$SCREEN")" 'views without those of mx2'
	expect_eq 2 "$(grep -c 'not exact: cluster: mx2 silent' "$SCREEN")" 'views that are not exact'
	expect_match $'\nmx2 +gone ' "$output"
	expect_eq '' "$errors" 'messages'
	expect_eq '' "$(leftover)" 'left behind'
}

@test "build/ belongs to the user who called a demo by sudo" {
	local script
	for script in demo demo.d/demo_cluster; do
		expect_eq 1 "$(grep -cx $'\tgive_build' "$ROOT/scripts/$script")" "calls in $script"
	done
	mkdir -p "$BATS_TEST_TMPDIR/build/sub"
	ln -s "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/build/link"
	cd "$BATS_TEST_TMPDIR"
	expect 0 env SUDO_UID=12 SUDO_GID=34 bash -c ". '$ROOT/scripts/demo.d/screen.bash'; give_build"
	expect_eq '12:34 12:34 12:34' "$(stat -c %u:%g build build/sub build/link | xargs)" owners
	expect_eq "$(id -u)" "$(stat -c %u .)" 'owner of what a link names'
}

# interrupt SIGNAL STATUS group|itself: starts the demo in a new process session, waits until it has
# opened its connections, sends SIGNAL to its process group or to the demo itself, and checks that
# it exits with STATUS and leaves nothing.
interrupt() {
	local signal=$1 want=$2 target=$3 pid rc=0

	env --default-signal=INT setsid "$ROOT/scripts/demo" >"$SCREEN" 2>&1 3>&- &
	pid=$!
	wait_until -t 120 grep -q '^4\. Ask' "$SCREEN"
	case $target in
	group) kill "-$signal" -- "-$pid" ;;
	itself) kill "-$signal" "$pid" ;;
	esac
	wait "$pid" || rc=$?
	expect_eq "$want" "$rc" 'exit status'
	expect_eq '' "$(leftover)" 'left behind'
}

@test "the demo interrupted with Ctrl-C leaves nothing" {
	interrupt INT 130 group
}

@test "the demo terminated leaves nothing" {
	interrupt TERM 143 itself
}
