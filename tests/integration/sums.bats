# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Networks of a prefix length for which no counts are stored: the sum program in the kernel adds
# them up, or without it look-ups or a walk do, with the same result.

load ../lib/common
load ../lib/instance

NEWER=$BUILD/tests/newer/conncount # version 0.1.99
MARK=0x6e7563206d757332            # CC_SUM_MARK

setup() {
	requires setpriv
	instance_setup
	configure_smtp_with 'group = daemon'
	load
	sessions_start
	sessions <<-'END' >/dev/null
		listen 192.0.2.1:25
		listen [2001:db8::1]:25
		open 2 10.0.0.1 192.0.2.1:25
		open 3 10.127.3.4 192.0.2.1:25
		open 4 2001:db8::7 [2001:db8::1]:25
	END
	mkdir "$TEST_DIR/open"
	chmod 0777 "$TEST_DIR/open"
}

teardown() {
	instance_teardown
}

# sum COMMAND [ARGUMENT...]: runs tests/tools/sum.py on the test's instance.
sum() {
	python3 -I -S "$TOOLS/sum.py" "$1" "$CONNCOUNT_DIR" "${@:2}"
}

# traced N NETWORK [OPTION...]: expects that a member of the group, without capabilities, counts N
# sessions of NETWORK. Sets $runs and $look_ups to how many program runs and look-ups the process
# made, and $ran_at to the number of the bpf(2) call that was the last run.
traced() {
	local trace=$TEST_DIR/open/trace
	expect 0 as_user daemon strace -f -e trace=bpf -o "$trace" "${@:3}" conncount count "$2"
	expect_eq "$1" "$output" "count of $2"
	grep -o 'bpf(BPF_[A-Z_]*' "$trace" >"$TEST_DIR/calls"
	runs=$(grep -c 'BPF_PROG_TEST_RUN\|BPF_PROG_RUN' "$TEST_DIR/calls" || :)
	ran_at=$(sed -n '/BPF_PROG_TEST_RUN\|BPF_PROG_RUN/=' "$TEST_DIR/calls" | tail -n 1)
	look_ups=$(grep -c BPF_MAP_LOOKUP_ELEM "$TEST_DIR/calls" || :)
}

# program: prints the id of the pinned sum program.
program() {
	bpftool --json prog show pinned "$CONNCOUNT_DIR/live/sum" | json id
}

@test "for every prefix length, sums by the program and by look-ups match the open sessions" {
	local i addresses step=1
	addresses=$(scaled 20 4)
	[ "$SCALE" -eq 1 ] || step=5 # of these lengths, counts are stored only for /40
	for ((i = $(scaled 60 10); i > 0; i--)); do
		printf 'open %d %d.%d.%d.%d 192.0.2.1:25\n' $((i % 3 + 1)) $((RANDOM % 126 + 1)) \
			$((RANDOM % 256)) $((RANDOM % 256)) $((RANDOM % 256))
		printf 'open 1 10.1.%d.%d 192.0.2.1:25\n' $((RANDOM % 256)) $((RANDOM % 256))
		printf 'open 1 2%03x:%x:%x:%x::%x [2001:db8::1]:25\n' $((RANDOM % 4096)) $((RANDOM % 65536)) \
			$RANDOM $RANDOM $RANDOM
		printf 'open 1 2001:db8:1:%x::%x [2001:db8::1]:25\n' $((RANDOM % 65536)) $((RANDOM % 65536))
	done | sessions >/dev/null
	sessions ledger >"$TEST_DIR/ledger"
	expect 0 sum agree "$BUILD/libconncount.so" "$TEST_DIR/ledger" "$addresses" "$step"
	[ "$output" -ge $((2 * addresses * 33 / step)) ] || fail "asked about $output networks only"
}

@test "a member of the group gets a sum in one system call, or by look-ups if that fails" {
	requires strace
	local runs look_ups ran_at network few=16 # of the directory, the tables, and what is around
	# 10.0.0.0/9 has sessions in its last part, so that a sum cannot leave out any part.
	for network in '5 10.0.0.0/9' '4 2001:db8::/33' '4 2001:db8::/72' '4 2001:db8::/113'; do
		# shellcheck disable=SC2086 # words
		traced $network
		expect_eq 1 "$runs" "runs, for ${network#* }"
		[ "$look_ups" -lt $few ] || fail "${network#* }: $look_ups look-ups"
	done
	# A stored level.
	traced 2 10.0.0.0/24
	expect_eq 0 "$runs" 'runs, for 10.0.0.0/24'
	[ "$look_ups" -lt $few ] || fail "10.0.0.0/24: $look_ups look-ups"

	# The rest is the library's work, and the same on every kernel.
	[ "$SCALE" -eq 1 ] || return 0
	traced 5 10.0.0.0/9
	# The kernel, or a security module, refuses to run the program.
	traced 5 10.0.0.0/9 -e "inject=bpf:error=EPERM:when=$ran_at"
	expect_eq 1 "$runs" 'runs, refused'
	[ "$look_ups" -ge 128 ] || fail "refused: $look_ups look-ups"

	chmod 0600 "$CONNCOUNT_DIR/live/sum"
	traced 5 10.0.0.0/9
	expect_eq 0 "$runs" 'runs, of what may not be read'
	[ "$look_ups" -ge 128 ] || fail "not to be read: $look_ups look-ups"

	rm "$CONNCOUNT_DIR/live/sum"
	traced 5 10.0.0.0/9
	expect_eq 0 "$runs" 'runs, of what is not there'
	[ "$look_ups" -ge 128 ] || fail "not there: $look_ups look-ups"
	# The library walks the few sessions of the /64 rather than look up 32,768 addresses.
	traced 0 2001:db8::8000/113
	[ "$look_ups" -lt 600 ] || fail "/113: $look_ups look-ups"
}

@test "the sum program answers only requests that carry CC_SUM_MARK, up to its limit" {
	local question
	for question in 10.0.0.0/9,16,1000 10.0.0.0/9,16,5 10.0.0.0/9,16,2 10.0.0.0/10,16,1000 \
		10.127.0.0/16,16,1000 11.0.0.0/9,16,1000 0.0.0.0/0,8,1000 10.0.0.0/9,200,1000; do
		set -- "$@" "$question,$MARK"
	done
	expect 0 sum run "$@" 10.0.0.0/9,16,1000,0 10.0.0.0/9,16,1000,0xffff888000000000
	# The third request wants at most 2 and gets no more; the eighth names no stored level; the
	# last two lack the mark.
	expect_eq "$(printf '%s\n' 0x80000005 0x80000005 0x80000002 0x80000002 0x80000003 0x80000000 \
		0x80000005 0x80000000 0x0 0x0)" "$output"
}

@test "sums within a /64 are exact and take few system calls, however many addresses it has" {
	requires strace
	local runs look_ups ran_at few=16 step=1
	[ "$SCALE" -eq 1 ] || step=7
	expect 0 sum crowd "$BUILD/libconncount.so" 2001:db8:2:3::/64 2000 "$step"
	# With one session elsewhere in the /64, the library cannot know the sum without looking.
	traced 0 2001:db8::8000/113
	expect_eq 1 "$runs" 'runs, for a /113'
	[ "$look_ups" -lt $few ] || fail "/113: $look_ups look-ups"
	traced 2000 2001:db8:2:3::/63
	expect_eq 1 "$runs" 'runs, for a /63'

	# Half of these addresses are consecutive: too many for one run, and so are the /65's.
	[ "$SCALE" -eq 1 ] || return 0
	expect 0 sum crowd "$BUILD/libconncount.so" 2001:db8:4:5::/64 135000 16
	traced "$(conncount count 2001:db8:4:5:8000::/65)" 2001:db8:4:5:8000::/65
	((runs > 2 && runs < 200)) || fail "/65: $runs runs"
	[ "$look_ups" -lt $few ] || fail "/65: $look_ups look-ups"
}

@test "the sum of a network is exact while sessions around it come and go" {
	requires churn
	local pid
	# Churn from addresses before and after those that stay, at the level that is added up.
	in_ns "$BUILD/tests/churn" --procs 4 --connections "$(scaled 20000 1000)" --to 192.0.2.2:25 \
		--from-base 10.0.0.33 --addresses 200 >/dev/null &
	pid=$!
	sessions open 1 10.0.0.250 192.0.2.1:25 >/dev/null
	while kill -0 "$pid" 2>/dev/null; do
		expect_count 2 10.0.0.0/27
		expect_count 1 10.0.0.248/29
		expect_count 3 10.64.0.0/10
	done
	wait "$pid"
}

@test "the sum program can be attached only to tracepoints of twelve arguments" {
	local events=$TEST_DIR/open/events found=$'^(balance_dirty_pages\n)?(mc_event\n)?[0-9]{3,}$'
	mkdir "$TEST_DIR/tracefs"
	mount -t tracefs tracefs "$TEST_DIR/tracefs"
	cp "$TEST_DIR/tracefs/available_events" "$events"
	umount "$TEST_DIR/tracefs"
	chmod 0644 "$events"
	cp "$TOOLS/bpf.py" "$TOOLS/sum.py" "$TEST_DIR/open/"
	expect 0 as_user daemon python3 -I -S "$TEST_DIR/open/sum.py" attach "$CONNCOUNT_DIR" "$events"
	expect_match "$found" "$output"
	expect 0 sum attach "$events"
	expect_match "$found" "$output"
}

@test "load replaces the sum program of another build, and restores a missing one" {
	requires speed bpftool
	local before
	before=$(program)
	expect 0 "$NEWER" load -c "$CONFIG" --cgroup "$CGROUP"
	remember
	[ "$(program)" != "$before" ] || fail "the program is still number $before"
	expect_eq 'daemon 640' "$(stat -c '%G %a' "$CONNCOUNT_DIR/live/sum")"
	expect_count 5 10.0.0.0/9
	rm "$CONNCOUNT_DIR/live/sum"
	load
	expect_eq 'daemon 640' "$(stat -c '%G %a' "$CONNCOUNT_DIR/live/sum")"
	expect_eq '' "$(find "$CONNCOUNT_DIR" -name '*next*')"
	sed -i 's/daemon/nogroup/' "$CONFIG"
	load
	expect_eq 'nogroup 640' "$(stat -c '%G %a' "$CONNCOUNT_DIR/live/sum")"
}
