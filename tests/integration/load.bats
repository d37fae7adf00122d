# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# load, unload and check: what a person expects, errors that change nothing, permissions.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	configure <<-'END'
		[smtp]
		listen = *:25
		service = SMTP
	END
}

teardown() {
	instance_teardown
}

# counting: opens a session and sees it counted, as the $1-th.
counting() {
	if [ -z "$SESSIONS_PID" ]; then
		sessions_start
		sessions listen '*:25'
	fi
	sessions open 1 10.1.2.3 192.0.2.1:25
	expect_count "$1" 10.1.2.3
}

# bad WHERE WORD: the configuration on stdin is refused by check and by load, with a message
# that names the file, line WHERE and WORD, and counting goes on as it was.
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

@test "unload of nothing: done, with a note" {
	requires speed
	expect 0 conncount unload
	expect_eq '' "$output" output
	expect_match 'not loaded' "$errors"
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR was made"
}

@test "not loaded: status, count and list say so and fail" {
	requires speed
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

@test "load, load, unload, load: and counting each time" {
	load
	counting 1
	load
	counting 2
	expect 0 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
	wait_until no_leaks_but_sessions
	expect 1 conncount count
	sessions close server
	load
	counting 1
}

# no_leaks_but_sessions: nothing is left except sessions.py.
no_leaks_but_sessions() {
	local left
	left=$(leaks | grep -v '^process .*sessions\.py')
	[ -z "$left" ] || fail "$left"
}

@test "load and unload say what they did" {
	requires speed
	expect 0 load
	expect_eq '' "$errors" stderr
	expect_match "^$CONNCOUNT_DIR: " "$output"
	expect_match "1 listener" "$output"
	expect 0 conncount unload
	expect_eq '' "$errors" stderr
	expect_match "^$CONNCOUNT_DIR: " "$output"
}

@test "--dir names another instance, beside that of CONNCOUNT_DIR" {
	requires speed
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

@test "the cgroup by its path in the file system, by the configuration, by the option" {
	requires speed
	load
	expect 0 conncount unload
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP_PATH"
	counting 1
	expect 0 conncount unload
	configure raw <<-END
		[conncount]
		group = root
		cgroup = $CGROUP
		[smtp]
		listen = *:25
		service = SMTP
	END
	expect 0 conncount load -c "$CONFIG"
	remember
	sessions close server
	counting 1
	expect 0 conncount unload
	expect 1 conncount load -c "$CONFIG" --cgroup "$CGROUP/none"
	expect_match "none" "$errors"
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}

@test "a directory that has something in it is refused, and stays as it is" {
	requires speed
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

@test "another size of the table: counted anew in other maps, without a gap" {
	load
	counting 1
	counting 2
	configure raw <<-'END'
		[conncount]
		group = root
		max_prefixes = 100
		[smtp]
		listen = *:25
		service = SMTP
	END
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'new maps' "$output"
	expect_eq 100 "$(state max_prefixes)"
	expect_count 2
	counting 3
	sessions close server
	expect_count 0
	expect_eq 0 "$(state nodes)" nodes
}

@test "another cgroup: only its sessions are counted from then on" {
	requires speed
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

@test "eight loads at once: one instance" {
	local i pids=()
	for i in {1..8}; do
		conncount load -c "$CONFIG" --cgroup "$CGROUP" 3>&- &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i"
	done
	remember
	expect_eq 2 "$(grep -c ^prog "$TEST_DIR/bpf-ids")" 'programs attached'
	expect_eq 1 "$(grep -c " $CONNCOUNT_DIR " /proc/self/mountinfo)" mounts
	counting 1
}

@test "1,024 listeners" {
	requires speed
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

@test "check: a good configuration" {
	requires speed
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

@test "a configuration error names file and line, and leaves counting untouched" {
	requires speed
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

@test "a listener with nothing to listen on, a file with no listener" {
	requires speed
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

@test "a listener that names no service is of service SMTP" {
	requires speed
	configure <<-'END'
		[smtp]
		listen = *:25
	END
	load
	expect_eq SMTP "$(state listeners.0.service)"
	counting 1
}

# as_user GROUP COMMAND...: COMMAND as an ordinary user, member of GROUP, with no capability,
# on copies of the command and the modules: the tree may be in a place closed to users.
as_user() {
	local group=$1
	shift
	if [ ! -d "$TEST_DIR/copy" ]; then
		mkdir "$TEST_DIR/copy"
		cp -Lr "$BUILD/conncount" "$BUILD"/libconncount.so.0 "$BUILD/lua" "$TEST_DIR/copy/"
		cp -r "$ROOT/lua" "$TEST_DIR/copy/modules"
		chmod -R a+rX "$TEST_DIR/copy"
	fi
	setpriv --reuid=65534 --regid=65534 --groups="$group" --inh-caps=-all --bounding-set=-all \
		--no-new-privs env PATH="$TEST_DIR/copy:$PATH" LD_LIBRARY_PATH="$TEST_DIR/copy" \
		LUA_PATH="$TEST_DIR/copy/modules/?.lua" LUA_CPATH="$TEST_DIR/copy/lua/$LUA_VERSION/?.so" "$@"
}

@test "who is in the group reads, and cannot change anything; nobody else reads" {
	requires setpriv lua
	configure raw <<-'END'
		[conncount]
		group = daemon
		[smtp]
		listen = *:25
		service = SMTP
	END
	load
	counting 1
	expect_eq 'root:daemon 750' "$(stat -c '%U:%G %a' "$CONNCOUNT_DIR")" directory

	expect 0 as_user daemon conncount count 10.1.2.3
	expect_eq 1 "$output" count
	expect 0 as_user daemon conncount list
	expect_match '10\.1\.2\.3/32' "$output"
	expect 0 as_user daemon conncount status
	local policy='print(require("msys.audit").inbound_session_count("10.0.0.0/8", "SMTP"))'
	expect 0 as_user daemon "$LUA" -e "$policy"
	expect_eq 1 "$output" Lua

	# Not by the command, and not by the kernel either.
	expect 1 as_user daemon conncount unload
	expect_match '^conncount: ' "$errors"
	expect 1 as_user daemon conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match '^conncount: ' "$errors"
	cp "$TOOLS/bpf.py" "$TEST_DIR/copy/"
	expect 0 as_user daemon python3 -I "$TEST_DIR/copy/bpf.py" writable "$CONNCOUNT_DIR"
	expect_eq '' "$output" 'pins that may be written'
	expect 0 python3 -I "$TOOLS/bpf.py" writable "$CONNCOUNT_DIR"
	expect_match /counts "$output" 'pins that root may write'

	expect 1 as_user nogroup conncount count
	expect_eq '' "$output" output
	expect_match '[Pp]ermi' "$errors"
	expect_match 'group' "$errors"
	expect 0 as_user nogroup "$LUA" -e "$policy"
	expect_match $'^nil\t.+\t13$' "$output" Lua
	counting 2
}

@test "a group that does not exist: an error that names it" {
	requires speed
	configure raw <<-'END'
		[conncount]
		group = no-such-group-at-all
		[smtp]
		listen = *:25
		service = SMTP
	END
	run conncount load -c "$CONFIG" --cgroup "$CGROUP"
	[ "$status" -ne 0 ] || fail 'load went on'
	expect_match 'no-such-group-at-all' "$output"
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}
