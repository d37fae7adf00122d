# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# page: what the exporter's page costs while many networks are connected. A part of tests/bench/bench.
# shellcheck disable=SC2119 # exporter takes options, and none here

PAGE=127.0.0.1:10125

# exporter_cpu: prints nanoseconds of processor time that the exporter has taken.
exporter_cpu() {
	cut -d ' ' -f 1 "/proc/$EXPORTER/schedstat"
}

# exporter_took COMMAND...: prints the nanoseconds that it takes while COMMAND runs, then what that prints.
exporter_took() {
	local before output
	before=$(exporter_cpu)
	output=$("$@")
	echo "$(($(exporter_cpu) - before)) $output"
}

# list_took: prints the processor time of the command that prints what the page begins with, in nanoseconds.
list_took() (
	TIMEFORMAT='%3U %3S'
	{ time conncount list --json -4 24 -6 64 --limit 100 >/dev/null; } 2>&1 | awk '{ printf "%.0f\n", ($1 + $2) * 1e9 }'
)

# ask_page PATH [ARGUMENT...]
ask_page() {
	in_ns curl -sSf -o "$TEST_DIR/answer" "http://$PAGE$1" "${@:2}"
}

page_new() {
	local i
	for ((i = 0; i < rounds; i += 6)); do
		exporter
		note page list "$1" "$(list_took)"
		note page new "$1" "$(exporter_took ask_page '/api/networks?limit=100')"
		exporter_stop
	done
}

# page_unchanged FAMILY: fifty times by one client: such a list is kept for seconds.
page_unchanged() {
	local tag urls
	mapfile -t urls < <(yes "http://$PAGE/api/networks?limit=100" | head -n 50)
	exporter
	ask_page '/api/networks?limit=100' -D "$TEST_DIR/head"
	tag=$(sed -n 's/^ETag: "\(.*\)".*/"\1"/p' "$TEST_DIR/head")
	note page unchanged "$1" ${#urls[@]} \
		"$(exporter_took in_ns curl -sSf -H "If-None-Match: $tag" -o /dev/null "${urls[@]}")"
	exporter_stop
}

page_open() {
	local seconds=60 n which
	[ -z "$quick" ] || seconds=3
	for which in 'different 20' 'same 20' 'same 1'; do
		n=${which#* }
		exporter
		# shellcheck disable=SC2046 # words
		note page open "${which% *}" "$n" "$seconds" \
			$(exporter_took in_ns python3 -I tests/bench/pages.py $PAGE "$n" "${which% *}" "$seconds")
		exporter_stop
	done
	exporter
	note page idle "$seconds" "$(exporter_took sleep "$seconds")"
	exporter_stop
}

page_paint() {
	local missing
	if ! have chromium || ! have playwright; then
		skipped paint "$missing"
		return
	fi
	exporter
	in_ns env HOME="$TEST_DIR" node tests/bench/paint.js "$(playwright)" "http://$PAGE/" $((rounds / 3)) | noted page paint
	exporter_stop
}

measure_page() {
	local family
	# shellcheck source=tests/lib/exporting.bash
	. tests/lib/exporting.bash
	# shellcheck disable=SC2034 # bench has it
	ENDS=(exporter_stop)
	for family in 4 6; do
		echo "page: IPv$family, $live sessions from random addresses"
		load_build
		live_start "$family" "$live"
		page_new "$family"
		page_unchanged "$family"
		if [ "$family" = 4 ]; then
			page_paint
			page_open
		fi
		live_stop
		conncount unload >/dev/null
	done
	# shellcheck disable=SC2034
	ENDS=()
}
