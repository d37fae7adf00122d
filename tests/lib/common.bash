# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# common.bash - what every test file loads: paths, checks that say what differed, polling, and
# requires(), by which a test says what it needs.
#
# It uses no namespace and no privilege; instance.bash adds those.

# bats records its position before each command of a test, which takes longer than most commands
# do. So turn that off while this file is read (see also instance_setup).
set +T

bats_require_minimum_version 1.5.0

ROOT=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
# Tests can run on another build of the same sources, one with sanitizers for instance.
BUILD=${CONNCOUNT_BUILD:-$ROOT/build}
TOOLS=$ROOT/tests/tools
PATH=$BUILD:$PATH
# The interpreter of the Lua suites, by the name of its command and of its pkg-config module.
LUA=${CONNCOUNT_LUA:-lua5.4}
LUA_PATH="$ROOT/lua/?.lua;$ROOT/lua/?/init.lua;;"
PYTHONDONTWRITEBYTECODE=1
LC_ALL=C
export ROOT BUILD TOOLS PATH LUA LUA_PATH PYTHONDONTWRITEBYTECODE LC_ALL
unset CONNCOUNT_DIR LUA_INIT LUA_INIT_5_{3,4} LUA_PATH_5_{3,4} LUA_CPATH_5_{3,4}

# lua_version INTERPRETER: prints the version of Lua whose modules it loads.
lua_version() {
	case $1 in
	luajit) echo 5.1 ;;
	*) echo "${1#lua}" ;;
	esac
}
LUA_VERSION=$(lua_version "$LUA")
export LUA_CPATH="$BUILD/lua/$LUA_VERSION/?.so;;"

# time_limit SECONDS: raises the limit for a file whose tests take long on a busy machine. bats ends
# a test at the limit of tests/run, which must end only tests that hang.
time_limit() {
	[ -z "${BATS_TEST_TIMEOUT:-}" ] || ((BATS_TEST_TIMEOUT >= $1)) || BATS_TEST_TIMEOUT=$1
}

# Set by expect: what the command wrote, and how it ended.
output='' errors='' status=0
EXPECTS=0

# fail MESSAGE...: ends the test.
fail() {
	printf '%s\n' "$@" >&2
	return 1
}

# expect STATUS COMMAND...: runs COMMAND, and fails unless it exits with STATUS. Sets $output to its
# standard output, $errors to its standard error, and $status to its exit status. bats shows all of
# these if the test fails.
expect() {
	local want=$1 out
	shift
	# Unique names: expect may also run in another process of this test, or within COMMAND.
	out=$BATS_TEST_TMPDIR/expect.$BASHPID.$((++EXPECTS))
	status=0
	"$@" >"$out" 2>"$out.err" || status=$?
	output=$(<"$out")
	errors=$(<"$out.err")
	printf '$ %s\n' "${*@Q}"
	[ -z "$output" ] || printf '%s\n' "$output"
	[ -z "$errors" ] || printf 'stderr: %s\n' "${errors//$'\n'/$'\n'stderr: }"
	printf 'exit %d\n' "$status"
	[ "$status" -eq "$want" ] || fail "exit status $status, expected $want: $*"
}

# expect_eq WANT GOT [WHAT]
expect_eq() {
	[ "$1" = "$2" ] || fail "${3:-value}: expected '$1', got '$2'"
}

# expect_match REGEX TEXT [WHAT]: expects a match of the extended regular expression in TEXT.
expect_match() {
	[[ $2 =~ $1 ]] || fail "${3:-text}: no match of '$1' in '$2'"
}

# json PATH...: prints values out of the JSON object on stdin, a line each. PATH is like
# listeners.0.live; an empty PATH is everything. Fails if the input is not one JSON value.
json() {
	"$BUILD/tests/json" "$@"
}

# The divisor of the sizes of heavy tests: 1, or more on an emulated machine.
SCALE=${CONNCOUNT_TEST_SCALE:-1}
# On a fast machine, a test that repeats something does one in PART: CI tests each change, and each
# time other steps (see replace-killed.bats).
PART=$((SCALE > 1 ? 1 : ${CONNCOUNT_TEST_PART:-1}))
# The factor of all waiting times.
PATIENCE=$((SCALE > 1 ? 10 : 1))

# scaled N [LEAST]: prints a size: N divided by SCALE and PART, but at least LEAST (1).
scaled() {
	local n=$(($1 / SCALE / PART)) least=${2:-1}
	echo $((n > least ? n : least))
}

# strict COMMAND...: runs COMMAND in a process of its own, in which each statement that fails ends it:
# in a condition, bash ignores all but the last one otherwise, also in functions. (A command
# substitution would not help.) Sets $out to its output.
strict() {
	local fd rc
	# The status comes last: bash may wait for ever for such a process, if that has ended already.
	exec {fd}< <(
		trap - ERR
		set +e
		(
			set -e
			"$@" 2>&1
		)
		printf '\0%d\0' $?
	)
	IFS='' read -r -d '' -u "$fd" out || :
	IFS='' read -r -d '' -u "$fd" rc || :
	exec {fd}<&-
	return "${rc:-1}"
}

# wait_until [-t SECONDS] COMMAND...: repeats COMMAND, as `strict` runs it, until it succeeds. Fails
# after SECONDS (10) times PATIENCE, and then shows the output of the last run; but not before some
# runs: the machine may have stood still in one. $! is another process then.
wait_until() {
	local seconds=10 runs=0 end out
	if [ "$1" = -t ]; then
		seconds=$2
		shift 2
	fi
	end=$((${EPOCHREALTIME/./} + seconds * PATIENCE * 1000000))
	until strict "$@"; do
		if ((++runs >= 5 && ${EPOCHREALTIME/./} > end)); then
			fail "not within $((seconds * PATIENCE)) s: $*" "$out"
			return 1
		fi
		nap
	done
}

# commands: prints the commands that `conncount --help` lists.
commands() {
	conncount --help | sed -n 's/^  \([a-z]\{1,\}\) .*/\1/p'
}

# options_of COMMAND: prints the options that `conncount COMMAND --help` mentions, sorted.
options_of() {
	conncount "$1" --help | grep -oE -- '(^|[^-[:alnum:]])--?[[:alnum:]][-[:alnum:]]*' |
		grep -oE -- '--?[[:alnum:]][-[:alnum:]]*$' | sort -u
}

# nap: sleeps 20 ms. Nothing is ever written to this pipe; sleep(1) would start a process each time.
exec {NAP}<> <(:)
nap() {
	! read -r -t 0.02 -u "$NAP"
}

# cgroup2_root: prints where the cgroup v2 hierarchy is mounted.
cgroup2_root() {
	local mounts mount
	mapfile -t mounts </proc/self/mounts
	for mount in "${mounts[@]}"; do
		[[ $mount = *' cgroup2 '* ]] || continue
		mount=${mount#* }
		echo "${mount%% *}"
		return
	done
	return 1
}

# playwright, axe: print the paths of the modules by which tests use Chromium. From 1.62 on, playwright wants a
# newer Node.js than Debian 12 has.
playwright() {
	"$TOOLS/npm-package" playwright-core 1.61.1
}

axe() {
	"$TOOLS/npm-package" axe-core 4.14.1
}

# kubernetes_types, grafana_types, typescript: print the paths of the modules by which tests check a
# manifest and the dashboard.
kubernetes_types() {
	"$TOOLS/npm-package" kubernetes-types 1.30.0
}

grafana_types() {
	"$TOOLS/npm-package" @grafana/schema 13.2.3
}

typescript() {
	"$TOOLS/npm-package" typescript 5.9.3
}

# have WORD: succeeds if this machine has what WORD stands for; otherwise sets $missing to the
# reason. Returns 2 for an unknown word.
have() {
	local root
	missing=
	case $1 in
	root)
		[ "$(id -u)" = 0 ] || missing='not run as root'
		;;
	bpf)
		[ -e /proc/sys/kernel/unprivileged_bpf_disabled ] ||
			missing='the kernel has no BPF' ;;
	btf)
		[ -r /sys/kernel/btf/vmlinux ] || missing='the kernel has no BTF' ;;
	cgroup2)
		if ! root=$(cgroup2_root); then
			missing='no cgroup v2 hierarchy is mounted'
		elif ! [ -w "$root/cgroup.procs" ]; then
			missing="$root is not writable"
		fi
		;;
	netns)
		unshare --net true 2>/dev/null || missing='cannot make a network namespace'
		;;
	ipv6)
		[ -e /proc/net/if_inet6 ] || missing='the kernel has no IPv6'
		;;
	mptcp)
		[ "$(cat /proc/sys/net/mptcp/enabled 2>/dev/null)" = 1 ] ||
			missing='the kernel has no MPTCP, or has it turned off'
		;;
	build)
		if ! [ -x "$BUILD/conncount" ]; then
			missing="$BUILD/conncount is not built"
		elif ! [ -x "$BUILD/tests/tell" ]; then
			missing="$BUILD/tests/tell is not built: make tests"
		fi
		;;
	lua)
		have "$LUA" || return
		;;
	lua5.1 | lua5.3 | lua5.4 | luajit)
		if ! command -v "$1" >/dev/null; then
			missing="no command $1"
		elif ! [ -x "$BUILD/tests/embed-$1" ]; then
			missing="$BUILD/tests/embed-$1 is not built: is the -dev package of $1 there?"
		fi
		;;
	speed)
		[ "$SCALE" -eq 1 ] ||
			missing='this machine is emulated: tried is what depends on the kernel, and nothing long'
		;;
	vrf)
		unshare --net ip link add vrf0 type vrf table 10 2>/dev/null || missing='the kernel has no VRF'
		;;
	watch-open)
		# An option of bpf_setsockopt(), in an enum that the kernel's BTF names.
		grep -qa TCP_BPF_SOCK_OPS_CB_FLAGS /sys/kernel/btf/vmlinux ||
			missing='the kernel cannot watch the state of a socket that is open already'
		;;
	thread-pidfd)
		python3 -I -S -c 'import os; os.pidfd_open(os.getpid(), os.O_EXCL)' 2>/dev/null ||
			missing='the kernel gives no descriptor of a thread (before Linux 6.9)'
		;;
	vm-*)
		local machine=(--kernel "${1#vm-}")
		[ "$1" != vm-arm64 ] || machine=(--arch arm64)
		missing=$("$ROOT/scripts/vm" "${machine[@]}" --fetch 2>&1) && missing= ||
			missing=${missing##*$'\n'}
		;;
	ct-count)
		unshare --net nft 'table t { chain c { ct count over 1 drop; }; }' 2>/dev/null ||
			missing='nft or the kernel has no ct count'
		;;
	timens)
		unshare -T -- true 2>/dev/null || missing='this kernel has no time namespaces'
		;;
	churn | openers | rush)
		[ -x "$BUILD/tests/$1" ] || missing="$BUILD/tests/$1 is not built"
		;;
	dovecot-core | dovecot-imapd | exim4-daemon-heavy | exim4-daemon-light | iptables | opensmtpd | postfix)
		missing=$("$TOOLS/debian-package" "$1" 2>&1 >/dev/null)
		;;
	openmetrics)
		# Only Debian's Python has Debian's modules; another one may come first in PATH.
		/usr/bin/python3 -I -c 'import prometheus_client.openmetrics.parser' 2>/dev/null ||
			missing='no package python3-prometheus-client'
		;;
	clang-format-14)
		# The version of Debian 12. Others break some lines differently.
		clang-format --version 2>/dev/null | grep -q ' version 14\.' ||
			missing='clang-format is not version 14'
		;;
	jsonschema)
		/usr/bin/python3 -I -c 'import jsonschema' 2>/dev/null || missing='no package python3-jsonschema'
		;;
	grafana-types)
		missing=$({ grafana_types && typescript; } 2>&1 >/dev/null) ;;
	playwright)
		missing=$({ playwright && axe; } 2>&1 >/dev/null) ;;
	kubernetes-types)
		missing=$({ kubernetes_types && typescript && python3 -c 'import yaml'; } 2>&1 >/dev/null) ;;
	aarch64-linux-gnu-ld | bpftool | bsdtar | chromium | clang | cmake | curl | debootstrap | dpkg-buildpackage | fakeroot | \
		gcc | haproxy | ip | lintian | luarocks | makepkg | mandoc | musl-gcc | nft | node | openssl | prometheus | \
		promtool | python3 | redis-server | rpmbuild | rpmlint | rspamd | setpriv | smtp-sink | \
		smtp-source | ss | strace | systemd-analyze | systemd-nspawn | systemd-socket-activate | \
		tmux | valgrind | zsh)
		command -v "$1" >/dev/null || missing="no command $1"
		;;
	*)
		missing="tests: requires: unknown word '$1'"
		return 2
		;;
	esac
	[ -z "$missing" ]
}

# requires WORD...: skips the test, saying why, unless this machine has all of these. With
# TESTS_NO_SKIP set (tests/run --no-skip), the test fails instead.
requires() {
	local word missing rc
	for word in "$@"; do
		rc=0
		have "$word" || rc=$?
		case $rc in
		0) ;;
		2) fail "$missing" || return ;;
		*)
			[ -z "${TESTS_NO_SKIP:-}" ] || fail "requires $word: $missing" || return
			skip "requires $word: $missing"
			;;
		esac
	done
}

set -T
