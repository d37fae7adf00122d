# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Neither a member of the group nor forged pins can block a command, change a count or crash a
# reader.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	HOLDERS=()
	configure_smtp_with 'group = daemon'
}

teardown() {
	local pid mount
	for pid in "${HOLDERS[@]}"; do
		kill "$pid" 2>/dev/null || :
	done
	for mount in $(mounts); do
		[[ $mount != *.bpf ]] || umount "$mount"
	done
	instance_teardown
}

# --- what a member holds ------------------------------------------------------------------------

# HOLD: a Python program that opens and locks whatever it can of an instance, prints what it
# locked, and holds it until killed.
HOLD='
import fcntl, os, sys, time
fds = []
print("process", os.getpid(), flush=True)
def hold(path):
    try:
        fds.append(os.open(path, os.O_RDONLY))
    except OSError:
        return
    for what in (fcntl.LOCK_SH, fcntl.LOCK_EX):
        try:
            fcntl.flock(fds[-1], what | fcntl.LOCK_NB)
            print("locked", path)
        except OSError:
            pass
    for what in (lambda: fcntl.fcntl(fds[-1], fcntl.F_SETLEASE, fcntl.F_RDLCK),
                 lambda: fcntl.lockf(fds[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)):
        try:
            what()
        except OSError:
            pass
top = sys.argv[1]
hold(os.path.dirname(top))
for where, directories, names in os.walk(top):
    for path in [where] + [os.path.join(where, name) for name in names]:
        hold(path)
for name in os.listdir("/run"):
    if name.startswith("conncount-lock"):
        hold("/run/" + name)
try:
    os.chdir(top + "/live")
except OSError:
    pass
print("holds", len(fds), flush=True)
time.sleep(1000)
'

# holder GROUP: starts HOLD as an ordinary user in that group.
holder() {
	as_user "$1" python3 -I -S -c "$HOLD" "$CONNCOUNT_DIR" >"$TEST_DIR/held" 2>&1 3>&- &
	wait_until grep '^holds ' "$TEST_DIR/held"
	HOLDERS+=("$(sed -n 's/^process //p' "$TEST_DIR/held")")
}

@test "a member of the group cannot block load, verify or unload by holding locks" {
	requires setpriv
	load
	counting 1
	holder daemon
	grep -qx "locked $CONNCOUNT_DIR" "$TEST_DIR/held" || fail "$(<"$TEST_DIR/held")"
	expect 0 timeout 60 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'configuration unchanged' "$output"
	expect 0 timeout 60 conncount verify
	sed -i 's/^group.*/&\nmax_prefixes = 1000/' "$CONFIG"
	expect 0 timeout 60 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'new maps' "$output"
	remember
	holder daemon
	counting 2
	expect 0 timeout 60 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
	expect 0 timeout 60 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	remember
	expect_count 2
}

@test "a user outside the group can lock nothing of the instance; only root can open the lock file" {
	requires setpriv
	load
	holder nogroup
	! grep "^locked $CONNCOUNT_DIR" "$TEST_DIR/held" || fail 'it can be locked by anybody'
	requires strace
	expect 0 strace -f -o "$TEST_DIR/trace" -e trace=openat,flock conncount load -c "$CONFIG" \
		--cgroup "$CGROUP"
	expect_match '"/run/conncount-lock-[^"]*", O_RDWR\|O_CREAT\|O_NOFOLLOW\|O_CLOEXEC, 0600\) = ([0-9]+)' \
		"$(<"$TEST_DIR/trace")"
	expect_match "^[0-9]+ +flock\(${BASH_REMATCH[1]}, LOCK_EX\|LOCK_NB\) += 0\$" \
		"$(grep -m1 flock "$TEST_DIR/trace")"
	# And the directory beside the pins, which is root's alone (replace-locks.bats).
	expect_match '"lock", O_RDONLY[^)]*O_NOFOLLOW[^)]*\) = ([0-9]+)' "$(<"$TEST_DIR/trace")"
	expect_match "^[0-9]+ +flock\(${BASH_REMATCH[1]}, LOCK_EX\|LOCK_NB\) += 0\$" \
		"$(grep flock "$TEST_DIR/trace" | tail -n +2)"
}

@test "a lock in the instance's directory that another user made is refused" {
	load
	mkdir "$CONNCOUNT_DIR/lock"
	chown daemon "$CONNCOUNT_DIR/lock"
	expect 1 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match "$CONNCOUNT_DIR: cannot lock $CONNCOUNT_DIR/lock: File exists" "$errors"
	expect 1 conncount unload
	rmdir "$CONNCOUNT_DIR/lock"
	counting 1
}

# --- what a member pins -------------------------------------------------------------------------

@test "load warns of a world-writable bpffs; pins there let no member write what only programs write" {
	requires setpriv
	mkdir "$TEST_DIR/open.bpf" "$TEST_DIR/closed.bpf"
	mount -t bpf none "$TEST_DIR/open.bpf" # world-writable by default
	mount -t bpf -o mode=0700 none "$TEST_DIR/closed.bpf"
	expect 0 load
	expect_match "note: $TEST_DIR/open\.bpf: users other than root can write to this bpffs" "$errors"
	[[ $errors != *closed.bpf* ]] || fail "$errors"
	counting 1
	expect 0 as_user daemon python3 -I -S "$TEST_DIR/copy/poke.py" "$CONNCOUNT_DIR" "$TEST_DIR/open.bpf"
	! grep -v '^pin ' <<<"$output" | grep -wE 'counts|cache|fill|sessions|untracked|sum' ||
		fail 'a member can do this'
	# A member could write to the other maps. The next load makes new ones, which the programs
	# can write.
	umount "$TEST_DIR/open.bpf"
	expect 0 load
	expect_match 'new maps' "$output"
	# Tests that run at the same time may have a world-writable bpffs, too.
	[[ $errors != *"$TEST_DIR"* ]] || fail "$errors"
	expect_count 1 10.1.2.3
	sessions open 5 10.1.2.3+ 192.0.2.1:25
	expect_count 6
	sessions close server
	nothing_left
}

@test "with the group root, load does not warn of a world-writable bpffs" {
	mkdir "$TEST_DIR/open.bpf"
	mount -t bpf none "$TEST_DIR/open.bpf"
	sed -i 's/^group.*/group = root/' "$CONFIG"
	expect 0 load
	expect_eq '' "$errors" 'messages of load'
}

# --- what is pinned in place of the maps --------------------------------------------------------

# forged NAME ARGUMENT...: puts another map in place of the pin NAME; every reader must report
# another version.
forged() {
	local name=$1 command
	shift
	python3 -I -S "$TOOLS/forge.py" map "$CONNCOUNT_DIR/live/$name" "$@" || fail "forge $name: $*" || return
	for command in count status 'list --json' 'count --listener smtp 10.0.0.0/9' metrics; do
		# shellcheck disable=SC2086
		expect 1 conncount $command
		expect_match 'loaded by another version' "$errors" "$command with $name: $*"
	done
}

@test "every reader refuses maps of another type, size or flags in place of the pins" {
	requires speed
	local lpm=11 hash=1 array=2 per_cpu_hash=5 per_cpu_array=6 lru=9 array_of_maps=12 mmapable=1024
	load
	counting 1
	mkdir "$CONNCOUNT_DIR/keep"
	local name type key value entries flags
	while read -r name type key value entries flags; do
		keep_pin "$name"
		forged "$name" "$((type))" "$key" "$value" "$entries" "$flags"
		restore_pin "$name"
	done <<-END
		control $per_cpu_array 4 32 1 0
		control $hash 4 32 1 0
		control $array 4 32 1 0
		control $array 4 32 2 $mmapable
		control $array 4 40 1 $mmapable
		control $array_of_maps 4 4 1 0
		configs $per_cpu_hash 4 16384 2 0
		configs $array 4 139576 1 0
		listeners $hash 28 4 65536 0
		listeners $lpm 20 4 65536 1
		stats $per_cpu_array 4 128 1024 0
		stats $array 4 128 1 $mmapable
		stats $array 4 128 1024 0
		fill $per_cpu_array 4 24 1 0
		cache $per_cpu_array 4 40 1024 0
		cache $lru 4 40 1024 0
		sessions $hash 4 40 1 0
		sessions $array 4 40 1 0
		counts $per_cpu_hash 28 8 1048576 1
		counts $lpm 28 16 1000 1
	END
	expect_count 1
	# load and unload do not use such maps either.
	forged control "$per_cpu_array" 4 32 1 0
	expect 0 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'new maps' "$output"
	remember
	expect_count 1
	forged stats "$per_cpu_array" 4 128 1024 0
	forged control "$array" 4 8 1 "$mmapable"
	rmdir "$CONNCOUNT_DIR/keep"
	expect 0 conncount unload
	[ ! -e "$CONNCOUNT_DIR" ] || fail "$CONNCOUNT_DIR is left"
}

# keep_pin NAME, restore_pin NAME: move a pin aside, and back.
keep_pin() {
	mv "$CONNCOUNT_DIR/live/$1" "$CONNCOUNT_DIR/keep/$1"
}

restore_pin() {
	mv -f "$CONNCOUNT_DIR/keep/$1" "$CONNCOUNT_DIR/live/$1"
}

@test "a wrong program, map or link in place of a pin causes no wrong sum" {
	local name socket_filter=1 live=$CONNCOUNT_DIR/live
	load
	sessions_start
	sessions listen '*:25'
	sessions open 3 10.1.2.3 192.0.2.1:25
	python3 -I -S "$TOOLS/forge.py" program "$live/sum" "$socket_filter"
	expect_count 3 10.1.0.0/17
	rm "$live/sum"
	mv "$live/fill" "$live/sum"
	expect 1 conncount status
	expect 1 conncount count 10.1.0.0/17
	mv "$live/sum" "$live/fill"
	expect_count 3 10.1.0.0/17
	for name in control configs stats counts; do
		mv "$live/$name" "$live/moved"
		mv "$live/release" "$live/$name"
		expect 1 conncount count
		mv "$live/$name" "$live/release"
		mv "$live/moved" "$live/$name"
	done
	expect_count 3
}

@test "unterminated texts in the configurations are cut at their maximum length" {
	local as
	printf -v as '%63s' ''
	as=${as// /A}
	load
	counting 1
	python3 -I -S "$TOOLS/forge.py" configs "$CONNCOUNT_DIR/live/configs"
	conncount status >"$TEST_DIR/out" 2>&1 || :
	expect_match $'\n'"$as +$as +" "$(<"$TEST_DIR/out")"
	! grep -q "A\{4097\}" "$TEST_DIR/out" || fail 'one text goes on into the next'
	conncount status --json >"$TEST_DIR/out" || :
	expect_eq "$as" "$(json listeners.0.name <"$TEST_DIR/out")"
	expect_eq 31 "$(json build <"$TEST_DIR/out" | tr -d '\n' | wc -c)" 'length of the build'
	expect 0 conncount count --listener "$as"
	expect 2 conncount count --listener smtp
	# The next load must not take these names for its own.
	expect 1 conncount load -c "$CONFIG" --cgroup "$CGROUP"
	expect_match 'listener ids are in use' "$errors"
}
