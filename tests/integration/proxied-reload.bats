# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Loads while sessions of proxies are open: identified, awaiting their header, or unidentified.

load ../lib/common
load ../lib/actors
load ../lib/proxies
load ../lib/instance

setup() {
	instance_setup
}

teardown() {
	actors_teardown
}

plain() {
	printf '%s\n' '[conncount]' 'group = root' '[mx]' 'listen = *:25' "$@" | configure raw
}

# linked: whether the program that reads headers is attached.
linked() {
	[ -e "$CONNCOUNT_DIR/live/ingress" ]
}

# three: opens an identified session, an awaiting and a split one.
three() {
	act client 'socks = connect("10.0.0.7", "192.0.2.1", 25, 3)
give(socks[0], v1("198.51.100.7")); give(socks[2], b"PRO")'
	act server 'socks = accept(door, 3)'
}

@test "a load with a proxy settles what has received, and awaits the others; without, it settles those" {
	plain
	proxy_pair
	act client 'socks = connect("10.0.0.7", "192.0.2.1", 25, 3); give(socks[0], v1("198.51.100.7"))'
	act server 'socks = accept(door, 3)'
	proxied_configure
	load
	linked
	origins '0 0 0 0 0 1' 2 1
	act client 'give(socks[1], v2("198.51.100.7"))'
	origins '1 0 0 0 0 1' 1 1
	counted_for 1 1
	plain
	load
	! linked || fail 'the link is still there'
	origins '1 0 0 0 0 2' 0 2
	counted_for 1 2
	act client 'give(socks[2], v2("198.51.100.7")); socks += connect("10.0.0.7", "192.0.2.1", 25)
give(socks[3], v1("198.51.100.8"))'
	act server 'socks += accept(door)'
	counted_for 1 3
	proxied_configure
	load
	counted_for 1 3 # open ones stay what they are
	origins '1 0 0 0 0 2' 0 2
	ended
}

# counted_for CLIENT PROXY: expects so many sessions for each.
counted_for() {
	expect_count "$1" 198.51.100.7
	expect_count "$2" 10.0.0.7
}

@test "another proxy in its place settles what awaits; what is open stays what it is" {
	proxied_configure
	load
	proxy_pair
	three
	origins '1 0 0 0 1 0' 1 1
	plain 'proxy = 10.0.5.0/24'
	load
	linked
	origins '1 0 0 0 1 1' 0 2
	counted_for 1 2
	act client 'give(socks[1], v1("198.51.100.7")); socks += connect("10.0.5.1", "192.0.2.1", 25)
give(socks[-1], v1("198.51.100.7"))'
	act server 'socks += accept(door)'
	counted_for 2 2
	ended
}

@test "a load with other maps leaves all sessions what they are" {
	proxied_configure
	load
	proxy_pair
	three
	proxied_configure 'max_prefixes = 2000'
	load
	linked
	expect_eq '1 1' "$(state listeners.0.{awaiting,unidentified} | xargs)" 'awaiting, unidentified'
	counted_for 1 1
	verified 3
	act client 'give(socks[1], v1("198.51.100.7"))'
	counted_for 2 1
	verified 3
	ended
}

@test "after unload and load, sessions that have received are unread, and the others await" {
	proxied_configure
	load
	proxy_pair
	three
	expect 0 conncount unload
	load
	origins '0 0 0 0 0 2' 1 2
	act client 'give(socks[1], v1("198.51.100.7"))'
	origins '1 0 0 0 0 2' 0 2
	counted_for 1 2
	ended
}

@test "a load killed before it enters sessions is finished by the next, which loses none" {
	requires speed
	requires strace
	local n
	proxied_configure
	load
	proxy_pair
	three
	for n in 1 2 3; do
		plain "proxy = 10.0.$n.0/24" 'proxy = 10.0.0.0/24'
		[ $((n % 2)) -eq 0 ] || plain
		stopped_at membarrier 1 "$TEST_DIR/loaded" conncount load -c "$CONFIG" --cgroup "$CGROUP"
		goes_on "$TEST_DIR/loaded" KILL
		wait "$STOPPED" || :
		remember
		load
		verified 3
		counted_for 1 2
	done
	! linked || fail 'the link is still there'
	ended
}
