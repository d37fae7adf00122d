# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Fuzzing with libFuzzer, AddressSanitizer and UBSan: addresses and networks, configurations, Lua
# arguments, PROXY headers, requests to the exporter's API, and the options, arguments and environment of the command. The targets
# and their assertions are in tests/fuzz/. CONNCOUNT_FUZZ_SECONDS says how long they run.

load ../lib/common

targets=(cidr command config lua proxy_header question)
fuzz=$ROOT/tests/fuzz
seconds=${CONNCOUNT_FUZZ_SECONDS:-60}

# All targets run at once. With fewer processors than targets they run longer, so that each gets as
# much processor time as if it ran alone for $seconds.
cpus=$(nproc)
((cpus <= ${#targets[@]})) || cpus=${#targets[@]}
wall=$(((seconds * ${#targets[@]} + cpus - 1) / cpus))
# tests/run ends a test that hangs, so the limit must exceed the time that was asked for.
time_limit $((wall + 300))

pids=()

setup() {
	requires clang
	# The environment must not turn a check off.
	unset ASAN_OPTIONS LSAN_OPTIONS
	export UBSAN_OPTIONS=print_stacktrace=1
}

teardown() {
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || :
}

# sources TARGET: prints the files of the product that TARGET tests, one a line.
sources() {
	[ "$1" = proxy_header ] || printf '%s\n' user/lib/cidr.c user/lib/mask.h
	case $1 in
	config) printf '%s\n' user/load/config.c user/common/{lines,limit_text,number}.c user/lib/window_text.c ;;
	command) (cd "$ROOT" && printf '%s\n' user/cmd/*.c user/json/*.c user/common/*.c user/load/config.c user/top/rows.c user/lib/window_text.c) ;;
	lua) (cd "$ROOT" && printf '%s\n' lua/*.c user/lib/window_text.c) ;;
	proxy_header) echo bpf/proxy_header.h ;;
	question) printf '%s\n' user/exporter/{question,etag}.c user/common/number.c user/lib/window_text.c ;;
	esac
}

# Functions that the command calls and the target replaces.
wrapped=(exit poll clock_gettime fopen rmdir socket setsockopt getsockopt fcntl bind listen dup2 execl)

# build TARGET PROGRAM [DIR]: builds TARGET with the product's sources in DIR (default: $ROOT).
build() {
	local files libraries flags=(-std=gnu11 -O1 -g -fno-omit-frame-pointer -D_GNU_SOURCE
		"-fsanitize=fuzzer,address,undefined" -fno-sanitize-recover=all
		-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
		-I"${3:-$ROOT}/bpf" -I"$ROOT/bpf" -I"$ROOT/user/lib" -I"$ROOT/user/common" -I"$ROOT/user/load" -I"$ROOT/user/exporter" -I"$ROOT/lua")
	[ "$1" != command ] || flags+=(-Dmain=conncount_main -Wno-missing-prototypes
		-I"$ROOT/user/metrics" -I"$ROOT/user/top" -I"$ROOT/user/json" -I"$ROOT/user/cmd"
		"${wrapped[@]/#/-Wl,--wrap=}")
	mapfile -t files < <(sources "$1" | grep '\.c$')
	read -ra libraries <<<"$(pkg-config --cflags --libs lua5.4 jansson ncursesw)"
	expect 0 clang "${flags[@]}" -o "$2" "$fuzz/fuzz_$1.c" "${files[@]/#/${3:-$ROOT}/}" "${libraries[@]}"
}

# start TARGET PROGRAM [OPTION...]: runs PROGRAM in the background, beginning with TARGET's stored
# corpus. Its log is PROGRAM.log, and an input that finds something goes to PROGRAM.found/. New
# inputs are not added to the stored corpus.
start() {
	local target=$1 program=$2
	shift 2
	mkdir -p "$program.found" "$program.new"
	"$program" -artifact_prefix="$program.found/" -dict="$fuzz/$target.dict" \
		-timeout=20 -rss_limit_mb=2048 "$@" \
		"$program.new" "$fuzz/corpus/$target" </dev/null >"$program.log" 2>&1 3>&- &
	pids+=($!)
}

# finish PROGRAM PID: waits for what start() started, and returns its exit status. If that is not 0,
# prints what was found and the input, so that the output alone is enough to repeat it.
finish() {
	local file rc=0
	wait "$2" || rc=$?
	[ "$rc" != 0 ] || return 0
	echo "${1##*/}: exit status $rc"
	grep -vE '^(#[0-9]|\s*NEW_FUNC|INFO:)' "$1.log" | tail -n 60
	for file in "$1.found"/*; do
		[ -f "$file" ] || continue
		echo "the input, for base64 -d (tests/fuzz/fuzz_${1##*/}.c):"
		base64 "$file"
	done
	return "$rc"
}

# run_all [OPTION...]: runs all targets at once. Fails if one of them finds something.
run_all() {
	local target i found=0
	pids=()
	for target in "${targets[@]}"; do
		start "$target" "$BATS_TEST_TMPDIR/$target" "$@"
	done
	for i in "${!targets[@]}"; do
		finish "$BATS_TEST_TMPDIR/${targets[i]}" "${pids[i]}" || found=1
	done
	pids=()
	[ "$found" = 0 ] || fail 'fuzzing found something'
}

# runs TARGET: prints how many inputs it has run, according to its log.
runs() {
	sed -n 's/^Done \([0-9]*\) runs in .*/\1/p' "$BATS_TEST_TMPDIR/$1.log"
}

@test "fuzzing finds nothing, with the stored inputs and with new ones" {
	local target stored
	[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "CONNCOUNT_FUZZ_SECONDS: '$seconds'"
	for target in "${targets[@]}"; do
		build "$target" "$BATS_TEST_TMPDIR/$target"
	done

	run_all -runs=0
	for target in "${targets[@]}"; do
		stored=("$fuzz/corpus/$target"/*)
		echo "$target: ${#stored[@]} stored inputs, $(runs "$target") runs"
		((${#stored[@]} >= 50 && $(runs "$target") >= ${#stored[@]})) ||
			fail "$target: the stored corpus did not run"
	done

	run_all -max_total_time="$wall"
	for target in "${targets[@]}"; do
		echo "$target: $(runs "$target") runs"
		# A target that hardly runs finds nothing, so too few runs are a failure.
		(($(runs "$target") >= 100 * seconds)) || fail "$target: too few runs"
	done
}

planted=$((SRANDOM % 2)) # bugs so far; where a part of the tests is enough, every other one is

# planted TARGET FILE EXPRESSION WHAT [OPTION...]: plants a bug in FILE with the sed EXPRESSION.
# TARGET must find something, and report what WHAT, an extended regular expression, matches.
planted() {
	local target=$1 file=$2 expression=$3 what=$4 program source rc=0
	((PART == 1 || ++planted % 2)) || return 0
	program=$(mktemp -d "$BATS_TEST_TMPDIR/planted.XXXXXX")/$1
	shift 4
	while read -r source; do
		install -D "$ROOT/$source" "$program.src/$source"
	done < <(sources "$target")
	sed -i "$expression" "$program.src/$file"
	! cmp -s "$ROOT/$file" "$program.src/$file" || fail "$file: '$expression' changes nothing"
	build "$target" "$program" "$program.src"
	start "$target" "$program" -max_total_time=20 "$@"
	finish "$program" "${pids[-1]}" >"$program.told" || rc=$?
	unset 'pids[-1]'
	((rc != 0)) || fail "'$expression' in $file was not found"
	expect_match "$what" "$(<"$program.told")" "'$expression' in $file"
	expect_match 'the input, for base64 -d' "$(<"$program.told")" "'$expression' in $file"
}

@test "planted bugs in addresses and networks are found" {
	local cidr=user/lib/cidr.c mask=user/lib/mask.h
	planted cidr $mask 's/prefixlen - 64 : 0/prefixlen - 64 : 64/' 'not so: same'
	planted cidr $mask 's/UINT64_MAX >> n/UINT64_MAX >> n >> 1/' 'not so: same'
	planted cidr $cidr 's/len >= sizeof(buf)/len >= 2 * sizeof(buf)/' 'runtime error: .*out of bounds'
	planted cidr $cidr 's/\*ret_why = why;/(void)why;/' 'not so: why'
}

@test "a planted bug is also found without the stored inputs" {
	fuzz=$BATS_TEST_TMPDIR/fuzz
	mkdir -p "$fuzz/corpus/cidr"
	planted=0
	cp "$ROOT"/tests/fuzz/{fuzz_cidr.c,cidr.dict,fuzz.h} "$fuzz"
	planted cidr user/lib/mask.h 's/prefixlen - 64 : 0/prefixlen - 64 : 64/' 'not so: same' -seed=1
}

@test "planted bugs in the parser of configurations are found" {
	local config=user/load/config.c
	planted config $config 's/ta->port - tb->port;/ta->port - tb->port + 1;/' 'not so: n == 1'
	planted config $config 's/free(config->listeners);/;/' 'LeakSanitizer'
	planted config $config 's/(n ? 2 \* n : 1)/(n | 1)/' \
		'heap-buffer-overflow'
	planted config $config '/^\tcheck_listeners(&parser);/i\	*ret_config = parser.config;' \
		'not so: .*before'
	planted config $config 's/a->over < b->over/a->over > b->over/' 'not so: .*is_in_order'
	planted config user/common/limit_text.c 's/= (__u8)length;/= (__u8)levels[i + 1];/' 'not so: !strcmp'
}

@test "planted bugs in the reading of configuration lines are found" {
	local reader=user/common/lines.c
	planted config $reader 's/if (!c) {/if (!c \&\& len) {/' 'not so'
	planted config $reader 's/(len == start || /(!len || /' 'not so: .*meaning'
	planted config $reader 's/if (len == LINES_MOST)/if (len > LINES_MOST)/' 'stack-buffer-overflow'
	planted config user/load/config.c 's/tdestroy(parser.taken, free);/;/' 'leak of '
}

@test "planted bugs in the command's options and messages are found" {
	planted command user/common/report.c 's/if (iscntrl(.*))$/if (0)/' 'not so: !iscntrl'
	planted command user/cmd/cmd.c 's/^\texit(STATUS_USAGE);/\texit(3);/' 'not so: status'
}

@test "planted bugs in the Lua module are found" {
	local lua=lua/conncount.c arguments=lua/arguments.c connections=lua/opened_connections.c
	planted lua $arguments "s/c < ' ' || c == 0x7f/c == 0x7f/" "not so: .*text\[i\] >= ' '"
	planted lua $arguments 's/strlen(text) != len/strlen(text) > len/' 'not so'
	planted lua $lua 's/conncount_close(rd->cc);/;/' 'not so: !handles'
	planted lua $connections 's/start < end ? end : start/end/' 'not so: .*window'
	planted lua $connections 's/answer->most - answer->count/answer->most/' 'not so'
	planted lua $lua 's/= ccl_test_accept(L, 1)/= lua_touserdata(L, 1)/' 'not so|AddressS'
}

@test "planted bugs in the reading of the exporter's parameters are found" {
	local question=user/exporter/question.c
	planted question $question 's/most, &number) || \*at ||/2 * most, \&number) || *at ||/' 'not so'
	planted question $question 's/number < least/0/' 'not so: question.limit'
	planted question $question 's/within->prefixlen > length/0/' 'not so'
	planted question user/exporter/etag.c 's/return strstr(field, etag) /return strstr(field, etag + 1) /' 'not so: !etag'
}

@test "planted bugs in the reading of PROXY headers are found" {
	local header=bpf/proxy_header.h
	planted proxy_header $header 's/text->digits == 4/text->digits == 5/' 'not so: same'
	planted proxy_header $header 's/at + i >= header->size/at + i > header->size/' 'not so'
	planted proxy_header $header 's/header->tlv != header->end/header->tlv < header->end/' 'not so'
	planted proxy_header $header 's/0x82f63b78/0x82f63b79/' 'not so: same'
	planted proxy_header $header 's/return TEXT_MOST;/return TEXT_MOST - 1;/' 'not so: same'
}
