# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# For the tests of tests/model/: build a model, and tell what it must find.

refuted_with=()

# model_build NAME: builds tests/model/NAME.c, for all tests of a file.
model_build() {
	"${CC:-cc}" -O2 -Wall -Wextra -Werror -o "$BATS_FILE_TMPDIR/$1" "$ROOT/tests/model/$1.c"
}

# model STATUS ARGUMENT...: runs the model $model, which must exit with STATUS.
model() {
	local want=$1
	shift
	expect "$want" "$BATS_FILE_TMPDIR/${model:?}" "$@"
}

# holds ARGUMENT...: the model finds no run that goes wrong.
holds() {
	model 0 "$@"
	expect_match '^holds: [1-9]' "$output"
}

# refuted WHAT ARGUMENT...: the model prints a run, step by step, that ends in WHAT.
refuted() {
	local what=$1 first last
	shift
	model 1 "$@"
	first=${output%%$'\n'*}
	last=${output##*$'\n'}
	expect_match "$what" "$last" 'the end'
	expect_eq "refuted: ${last#  }" "$first" 'the first line'
	expect_match $'\n *P[0-3] [^ ]+: .*\n *P[0-3] [^ ]+: ' "$output" 'the run'
}

# without RULE WHAT ARGUMENT...: with all rules the model holds; without RULE, and with the options
# $refuted_with, a run ends in WHAT.
without() {
	local rule=$1 what=$2
	shift 2
	holds "$@"
	refuted "$what" "${refuted_with[@]}" --without "$rule" "$@"
}

# every_rule_is_left_out: each rule of $model is left out by a test of this file, by without().
every_rule_is_left_out() {
	model 0 --without list
	expect_eq "$(cut -d ' ' -f 1 <<<"$output" | sort)" \
		"$(sed -n 's/^\twithout \([a-z-]*\) .*/\1/p' "$BATS_TEST_FILENAME" | sort)" rules
}

# every_function_exists: the functions that $model follows or names are in the tree.
every_function_exists() {
	local source=$ROOT/tests/model/$model.c file name missing=() found=0
	while read -r file name; do
		found=$((found + 1))
		grep -Eq "^[a-z_].*\\b$name\\(" "$ROOT/$file" || missing+=("$file: $name()")
	done < <(awk '
		/^\/\* --- / { file = $3 ~ /\.bpf\.h$/ ? "bpf/" $3 : $3 ~ /\// ? $3 : ""; next }
		/^\/\* Not in the code/ { other = 1 }
		file && /^static / {
			if (!other && match($0, /[a-z_]+\(/))
				print file, substr($0, RSTART, RLENGTH - 1)
			other = 0
		}' "$source")
	[ "$found" -gt 4 ] || fail "only $found functions found"
	for name in $(grep -E '^ \*|/\*' "$source" | grep -oE '\b[a-z_]+\(\)' | tr -d '()' | sort -u); do
		grep -Eqs "^[a-z_].*\\b$name\\(" "$ROOT"/bpf/* "$ROOT"/tests/model/* \
			"$ROOT/user/lib/recent.c" ||
			[[ $name == __sync_* ]] || missing+=("$name()")
	done
	[ ${#missing[@]} = 0 ] || fail 'not found:' "${missing[@]}"
}
