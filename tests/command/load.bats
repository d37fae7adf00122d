# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# load, unload and check: what they print, which directory and cgroup they use, what a changed
# configuration does, and errors that change nothing.
# shellcheck disable=SC2030,SC2031 # each test has its own $output

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	configure_smtp
}

teardown() {
	instance_teardown
}

# bad WHERE WORD: check and load refuse the configuration on stdin, with a message that has the
# file, line WHERE and WORD. The caller checks that counting goes on.
bad() {
	local conf=$TEST_DIR/bad.conf
	cat >"$conf"
	expect 2 conncount check "$conf"
	expect_match "bad\.conf:$1:" "$errors" 'message of check'
	expect_match "$2" "$errors" 'message of check'
	expect 2 conncount load -c "$conf" --cgroup "$CGROUP"
	expect_match "bad\.conf:$1:" "$errors" 'message of load'
	expect_match "$2" "$errors" 'message of load'
}

# refused COMMAND...: a load that would not outlast COMMAND fails, says so, and leaves nothing.
refused() {
	expect 1 "$@"
	expect_eq '' "$output" output
	expect_match "$CONNCOUNT_DIR: counting would end with this command, because its mount namespace ends then" "$errors"
	expect_eq '' "$("$BUILD/tests/objects" attached "$CGROUP_PATH")" attached
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}

@test "unload: exits with 0 and prints a note if nothing is loaded" {
	expect 0 conncount unload
	expect_eq '' "$output" output
	expect_match 'not loaded' "$errors"
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR was made"
}

@test "status, count and list say so and exit with 1 if nothing is loaded" {
	local command
	for command in status count list 'count --json' 'list --json'; do
		# shellcheck disable=SC2086
		expect 1 conncount $command
		expect_eq '' "$output" "output of $command"
		expect_match '^conncount: .*not loaded' "$errors" "$command"
		expect_match 'conncount load' "$errors" "$command"
	done
	expect 1 conncount status --json
	expect 2 conncount load -c "$TEST_DIR/none.conf" --cgroup "$CGROUP"
	expect_match 'none\.conf: No such file' "$errors"
}

@test "load and unload say what they did" {
	expect 0 load
	expect_eq '' "$errors" stderr
	expect_match "^$CONNCOUNT_DIR: " "$output"
	expect_match "1 listener" "$output"
	expect 0 conncount unload
	expect_eq '' "$errors" stderr
	expect_match "^$CONNCOUNT_DIR: " "$output"
}

@test "load: another order and comments do not change the configuration" {
	local generation
	load
	generation=$(state generation)
	printf '# a comment\n[conncount]\ngroup = root\nnamespaces = all\n[smtp]\nservice = SMTP\nlisten = *:25\n' >"$CONFIG"
	expect 0 load
	expect_match 'configuration unchanged' "$output"
	expect_eq "$generation" "$(state generation)" generation
}

@test "--dir names another instance, independent of that of CONNCOUNT_DIR" {
	load
	configure <<-'END'
		[smtp]
		listen = *:25
		service = Control
	END
	load --dir "$TEST_DIR/j"
	counting 1
	expect_count 1 --dir "$TEST_DIR/j" --service Control
	expect_count 0 --dir "$TEST_DIR/j" --service SMTP
	expect_count 0 --service Control
	expect 0 conncount unload --dir "$TEST_DIR/j"
	expect 1 conncount count --dir "$TEST_DIR/j"
	counting 2
}

@test "load: takes the cgroup from --cgroup, also as a file system path, or from the configuration" {
	load
	expect 0 conncount unload
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP_PATH"
	counting 1
	expect 0 conncount unload
	configure_smtp_with "cgroup = $CGROUP"
	expect 0 conncount load -c "$CONFIG"
	remember
	sessions close server
	counting 1
	expect 0 conncount unload
	expect 1 conncount load -c "$CONFIG" --cgroup "$CGROUP/none"
	expect_match "none" "$errors"
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}

# counts_in PATH: sessions of a server in the cgroup PATH, below the test's own, are counted, and
# the commands name that cgroup.
counts_in() {
	local top=$CGROUP_PATH
	local CGROUP=$CGROUP$1 CGROUP_PATH=$CGROUP_PATH$1
	mkdir -p "$CGROUP_PATH"
	configure_smtp_with "cgroup = $CGROUP"
	expect 0 conncount load -c "$CONFIG"
	remember
	counting 1
	expect_eq "$CGROUP" "$(state cgroup)" cgroup
	expect_eq false "$(state detached)" detached
	expect 0 conncount status
	expect 0 in_ns conncount metrics
	expect_match 'conncount_accept_queue_limit\{.*smtp' "$output"
	expect 0 conncount verify
	expect 0 conncount load -c "$CONFIG"
	expect_match 'configuration unchanged' "$output"
	sessions_stop
	expect 0 conncount unload
	(cd "$top" && rmdir -p ".$1" 2>/dev/null) || [ ! -e "$CGROUP_PATH" ]
}

@test "sessions in the cgroup of a Kubernetes pod, whose path is long, are counted" {
	local uid=0b3c8a9e_7d7e_4c6f_9f4b_2a1d5e6f7a8b
	counts_in "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod$uid.slice$(printf \
		'/cri-containerd-%064d.scope' 0)"
}

@test "sessions in a cgroup whose path has 3,700 characters are counted" {
	counts_in "$(printf '/%0230d' {1..16})"
}

@test "load: another max_prefixes makes new maps, and open sessions stay counted" {
	load
	counting 1
	counting 2
	configure_smtp_with 'max_prefixes = 100'
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'new maps' "$output"
	expect_eq 100 "$(state max_prefixes)"
	expect_count 2
	counting 3
	sessions close server
	expect_count 0
	expect_eq 0 "$(state nodes)" nodes
}

@test "load: with another cgroup, only the sessions of that cgroup are counted" {
	load
	counting 1
	mkdir "$CGROUP_PATH/other"
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP/other"
	expect_match 'new maps' "$output"
	expect_count 0
	expect_eq "$CGROUP/other" "$(state cgroup)"
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	rmdir "$CGROUP_PATH/other"
	expect_count 1
}

@test "1,024 listeners can be loaded, and one more is an error" {
	local i
	for i in {1..1024}; do
		printf '[l%d]\nlisten = *:%d\nservice = %s\n' "$i" "$i" SMTP
	done | configure
	load
	sessions_start
	sessions <<-'END'
		listen *:1
		listen *:1024
		open 1 10.1.2.3 192.0.2.1:1
		open 2 10.1.2.3 192.0.2.1:1024
	END
	expect_count 1 --listener l1
	expect_count 2 --listener l1024 10.0.0.0/8
	expect_count 3 10.1.2.3
	expect_eq 1024 "$(conncount status --json | grep -o '"name":' | wc -l)" listeners
	printf '[last]\nlisten = *:2000\n' >>"$CONFIG"
	expect 2 conncount check "$CONFIG"
	expect_match ' more than 1024 listeners' "$errors"
}

@test "load: counts the uncounted sessions if the table is no longer full" {
	configure_smtp_with 'max_prefixes = 64'
	load
	sessions_start
	sessions listen '*:25'
	sessions open 100 10.0.0.1+ 192.0.2.1:25
	expect 1 conncount status
	expect_match '^conncount: UNCOUNTED: [0-9]+ open sessions .*raise max_prefixes.*load ran' "$errors" \
		'the column, why, and the remedy'
	sessions close both 1-90
	load
	expect 0 conncount status
	counted 10
	sessions close both
	nothing_left
}

@test "load: refuses a directory that is not empty, and leaves it as it is" {
	mkdir "$TEST_DIR/mine"
	echo text >"$TEST_DIR/mine/file"
	expect 1 conncount load -c "$CONFIG" --cgroup "$CGROUP" --dir "$TEST_DIR/mine"
	expect_match "$TEST_DIR/mine: .*not empty" "$errors"
	expect 0 conncount unload --dir "$TEST_DIR/mine"
	expect_match 'not loaded' "$errors"
	expect_eq text "$(cat "$TEST_DIR/mine/file")"
	expect 1 conncount load -c "$CONFIG" --cgroup "$CGROUP" --dir "$TEST_DIR/mine/file"
	expect_match "$TEST_DIR/mine/file: Not a directory" "$errors"
}

@test "check: exits with 0 for a good configuration, with 2 for a missing file or wrong arguments" {
	expect 0 conncount check "$CONFIG"
	cat >"$TEST_DIR/full.conf" <<-'END'
		# a comment
		[conncount]
		cgroup = /system.slice/mta.service
		max_prefixes = 1000
		group = root

		[smtp]            # another
		listen = *:25
		service = SMTP
		[msa]
		listen = 192.0.2.10:587
		listen = [2001:db8::10]:587
		service = my-own
	END
	expect 0 conncount check "$TEST_DIR/full.conf"
	expect 2 conncount check "$TEST_DIR/none.conf"
	expect_match 'none\.conf' "$errors"
	expect 2 conncount check
	expect 2 conncount check "$CONFIG" "$CONFIG"
}

@test "a configuration error is reported with file and line, and counting goes on" {
	load
	counting 1
	local before
	before=$(state generation)

	bad 6 '192\.0\.2\.1:25' <<-'END'
		[a]
		listen = 192.0.2.1:25
		service = SMTP
		[b]
		listen = *:25
		listen = 192.0.2.1:25
		service = SMTP
	END
	bad 3 'colour' <<-'END'
		[smtp]
		listen = *:25
		colour = blue
		service = SMTP
	END
	bad 2 'prefixes' <<-'END'
		[conncount]
		prefixes = 3
		[smtp]
		listen = *:25
		service = SMTP
	END
	local value
	for value in '*:0' '*:65536' '*:25x' '*:' '*' '192.0.2.1' '2001:db8::1:25' '[192.0.2.1]:25' \
		'300.1.1.1:25' 'localhost:25' 'mail.example.org:25' '[2001:db8::1%lo]:25' ':25'; do
		bad 2 'listen' <<-END
			[smtp]
			listen = $value
			service = SMTP
		END
	done
	for value in 0 -1 x 1x 99999999999; do
		bad 2 'max_prefixes' <<-END
			[conncount]
			max_prefixes = $value
			[smtp]
			listen = *:25
			service = SMTP
		END
	done
	bad 4 'smtp' <<-'END'
		[smtp]
		listen = *:25
		service = SMTP
		[smtp]
		listen = *:26
		service = SMTP
	END
	bad 1 'listen' <<-'END'
		listen = *:25
	END
	bad 2 '' <<-'END'
		[smtp]
		listen
	END
	bad 1 '' <<-'END'
		[smtp
		listen = *:25
	END
	bad 3 'service' <<-'END'
		[smtp]
		listen = *:25
		service =
	END

	expect_eq "$before" "$(state generation)" generation
	counting 2
}

@test "a listener without an address, or a file without a listener, is an error" {
	load
	counting 1
	bad 1 'smtp' <<-'END'
		[smtp]
		service = SMTP
	END
	: >"$TEST_DIR/bad.conf"
	expect 2 conncount load -c "$TEST_DIR/bad.conf" --cgroup "$CGROUP"
	expect_match 'bad\.conf' "$errors"
	counting 2
}

@test "a listener that names no service belongs to service SMTP" {
	printf '%s\n' '[smtp]' 'listen = *:25' | configure
	load
	expect_eq SMTP "$(state listeners.0.service)"
	counting 1
}

@test "a group that does not exist is an error that names it" {
	configure_smtp_with 'group = no-such-group-at-all'
	run conncount load -c "$CONFIG" --cgroup "$CGROUP"
	[ "$status" -ne 0 ] || fail 'load went on'
	expect_match 'no-such-group-at-all' "$output"
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}

@test "load and unload work repeatedly through a symbolic link to the directory" {
	local dir i
	mkdir "$TEST_DIR/sub"
	ln -s sub/real "$TEST_DIR/relative"
	ln -s "$TEST_DIR/sub/real" "$TEST_DIR/absolute"
	for dir in relative sub/../absolute/; do
		for i in 1 2; do
			expect 0 load --dir "$TEST_DIR/$dir"
			expect_match 'counting started' "$output"
			expect 0 load --dir "$TEST_DIR/sub/real"
			expect_match 'configuration unchanged' "$output"
			expect 0 conncount unload --dir "$TEST_DIR/$dir"
			expect_eq '' "$errors" 'messages of unload'
			[ ! -e "$TEST_DIR/sub/real" ] || fail 'the directory is left'
		done
	done
	ln -s round "$TEST_DIR/round"
	expect 1 load --dir "$TEST_DIR/round"
	expect_match 'Too many levels of symbolic links' "$errors"
	expect 1 load --dir "$TEST_DIR/none/i"
	expect_match "$TEST_DIR/none/i: No such file" "$errors"
	expect 0 conncount unload --dir "$TEST_DIR/none/i"
	expect 0 sh -c "cd $TEST_DIR/sub && conncount load -c $CONFIG --cgroup $CGROUP --dir i && conncount unload --dir ./i/"
	rm "$TEST_DIR/relative" "$TEST_DIR/absolute" "$TEST_DIR/round"
	rmdir "$TEST_DIR/sub"
}

@test "on a read-only file system, load and unload work if the directory exists" {
	mkdir -p "$TEST_DIR/ro/i"
	mount -t tmpfs -o size=64k none "$TEST_DIR/ro"
	mkdir "$TEST_DIR/ro/i"
	mount -o remount,ro "$TEST_DIR/ro"
	expect 0 load --dir "$TEST_DIR/ro/i"
	expect 0 conncount unload --dir "$TEST_DIR/ro/i"
	expect_eq '' "$errors" 'messages of unload'
	expect 1 load --dir "$TEST_DIR/ro/none"
	expect_match 'Read-only file system' "$errors"
	umount "$TEST_DIR/ro"
	rm -r "$TEST_DIR/ro"
}

@test "unload: in a bpffs that conncount did not mount, the mount and other directories stay" {
	mkdir "$TEST_DIR/bpf"
	mount -t bpf -o mode=0700 other "$TEST_DIR/bpf"
	mkdir "$TEST_DIR/bpf/theirs"
	expect 0 load --dir "$TEST_DIR/bpf/i"
	expect 0 conncount unload --dir "$TEST_DIR/bpf/i"
	[ ! -e "$TEST_DIR/bpf/i" ] || fail 'the directory is left'
	expect 0 load --dir "$TEST_DIR/bpf"
	expect 0 conncount unload --dir "$TEST_DIR/bpf"
	[ -d "$TEST_DIR/bpf/theirs" ] || fail 'their mount is gone'
	umount "$TEST_DIR/bpf"
	rmdir "$TEST_DIR/bpf"
}

# --- mount namespaces ---------------------------------------------------------------------------

@test "load: fails in a mount namespace that ends with the command" {
	local load=(conncount load -c "$CONFIG" --cgroup "$CGROUP")
	refused unshare -m "${load[@]}"
	refused unshare -m sh -c '"$@"; exit $?' - "${load[@]}"
	refused unshare -m --propagation slave "${load[@]}"
	refused unshare -m -p -f "${load[@]}"
	refused unshare -m -p -f --mount-proc "${load[@]}"
}

@test "load: fails in a bpffs that ends with the command" {
	mkdir "$TEST_DIR/bpf"
	CONNCOUNT_DIR=$TEST_DIR/bpf/i
	# shellcheck disable=SC2016
	refused unshare -m sh -c 'mount -t bpf -o mode=0700 none "$1"; shift; "$@"; exit $?' - "$TEST_DIR/bpf" \
		conncount load -c "$CONFIG" --cgroup "$CGROUP"
	rmdir "$TEST_DIR/bpf"
}

@test "load: fails under ip netns exec, and names the nsenter command that works" {
	local netns=${TEST_DIR##*/}
	ip netns add "$netns"
	refused ip netns exec "$netns" conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match "nsenter --net=/run/netns/$netns conncount load" "$errors"
	expect 0 nsenter --net="/run/netns/$netns" conncount load -c "$CONFIG" --cgroup "$CGROUP"
	remember
	expect_count 0
	# From there, load can update what is loaded already, and unload works.
	expect 0 unshare -m conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'counting goes on' "$output"
	expect_count 0
	expect 0 unshare -m conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
	ip netns del "$netns"
}

@test "load, count and unload work in a mount namespace whose first process stays, as in a container" {
	expect 0 unshare -m -p -f --mount-proc sh -e -c "
		conncount load -c $CONFIG --cgroup $CGROUP
		conncount count
		conncount unload"
	expect_match $'counting started.*\n0\n.*stopped' "$output"
	expect_match "^conncount: note: $CONNCOUNT_DIR: counting ends with this container" "$errors"
}

# --- shortages of the kernel --------------------------------------------------------------------

@test "load: reports a lack of file descriptors or memory as that, and not as another cause" {
	requires strace
	local n call failed=0
	for n in 10 12 14 16 24 40; do
		expect 1 prlimit --nofile="$n" conncount load -c "$CONFIG" --cgroup "$CGROUP"
		expect_match 'Too many open files' "$errors"
		[[ ! $errors =~ cannot\ count|not\ mounted|not\ empty|rejected|no\ such\ group ]] ||
			fail "another cause is told: $errors"
		[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
	done
	# Some of these calls are the library's own, and load can succeed although one of them
	# fails.
	for call in {1..10}; do
		status=0
		strace -o /dev/null -e trace=bpf -e "inject=bpf:error=ENOMEM:when=$call" \
			conncount load -c "$CONFIG" --cgroup "$CGROUP" 2>"$TEST_DIR/told" || status=$?
		! grep 'cannot count exactly' "$TEST_DIR/told" || fail "call $call: another cause is told"
		if [ "$status" -ne 0 ]; then
			grep 'Cannot allocate memory' "$TEST_DIR/told" || fail "call $call: $(<"$TEST_DIR/told")"
			failed=$((failed + 1))
			[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
		else
			conncount unload
		fi
	done
	[ "$failed" -ge 4 ] || fail "only $failed failed"
}

@test "load: waits for running programs also where membarrier(2) cannot, as with nohz_full" {
	requires strace
	local waits
	expect 0 strace -o "$TEST_DIR/trace" -e trace=bpf,membarrier -e inject=membarrier:error=EINVAL \
		conncount load -c "$CONFIG" --cgroup "$CGROUP"
	waits=$(grep -c 'membarrier.*EINVAL' "$TEST_DIR/trace")
	((waits > 0)) || fail 'it does not wait'
	# The change of a map of maps waits, too.
	expect_eq "$waits" "$(awk '
		/membarrier/ { fails = 1 }
		/BPF_MAP_CREATE.*ARRAY_OF_MAPS/ { map = fails ? $NF : "" }
		map && /BPF_MAP_UPDATE_ELEM/ && index($0, "map_fd=" map ",") { changed++; map = ""; fails = 0 }
		END { print changed + 0 }' "$TEST_DIR/trace")" 'changes of a map of maps'
}
