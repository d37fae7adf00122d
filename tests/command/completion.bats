# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# What bash and zsh offer to complete on conncount's command line, asked of their functions as
# the shells ask them, against an instance that is loaded.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	printf '%s\n' '[mx]' 'listen = *:25' '[msa]' 'listen = *:587' 'service = submission' |
		configure
}

teardown() {
	instance_teardown
}

# in_bash WORD...: what bash offers for the last of the words, sorted; `files` or `dirs` where
# it leaves it to file names.
in_bash() {
	# shellcheck disable=SC2016
	bash --norc -c '
		source "$1"
		compopt() { case $2 in default) echo files ;; dirnames) echo dirs ;; esac; }
		shift
		COMP_WORDS=(conncount "$@") COMP_CWORD=$#
		read -r _ _ function _ < <(complete -p conncount)
		"$function"
		printf "%s\n" "${COMPREPLY[@]}"' bash "$ROOT/user/dist/completions/conncount.bash" "$@" |
		sed '/^$/d' | sort
}

# in_zsh WORD...: what zsh offers for the last of the words, sorted, descriptions left out.
in_zsh() {
	# shellcheck disable=SC2016
	zsh -f -c '
		_files() { [[ $1 == -/ ]] && print dirs || print files }
		_describe() { print -l -- ${(P)@[-1]%%:*} }
		compadd() { print -l -- ${(P)@[-1]} }
		file=$1
		shift
		words=(conncount "$@") CURRENT=$((# + 1))
		source $file' zsh "$ROOT/user/dist/completions/conncount.zsh" "$@" |
		case ${*: -1} in
		'' | files | dirs) cat ;;
		*) grep -E -- "^(${*: -1}|files$|dirs$)" ;;
		esac | sort
}

# lines WORD...: a line each, sorted.
lines() {
	printf '%s\n' "$@" | sort
}

# offers SHELL: what is the same in both.
offers() {
	local in=in_$1 command
	for command in $(commands); do
		expect_match "(^|$NL)$command($NL|$)" "$($in '')" commands
		expect_eq "$({ options_of "$command" && echo --help; } | sort)" \
			"$($in "$command" -)" "options of $command"
	done
	expect_eq unload "$($in unl)" 'unl'
	expect_eq "$(lines --listener --limit)" "$($in list --li)" 'list --li'
	expect_eq files "$($in load -c '')" 'load -c'
	expect_eq dirs "$($in load --cgroup '')" 'load --cgroup'
	expect_eq dirs "$($in count --dir '')" 'count --dir'
	expect_eq files "$($in check '')" 'check'
	expect_eq '' "$($in count '')" 'count'

	expect_eq '' "$($in count --listener '' 2>&1)" 'listeners, not loaded'
	load
	expect_eq "$(lines msa mx)" "$($in count --listener '')" listeners
	expect_eq "$(lines SMTP submission)" "$($in list --service '')" services
	unset CONNCOUNT_DIR
	expect_eq "$(lines msa mx)" "$($in count --dir "$TEST_DIR/i" --listener '')" '--dir'
	export CONNCOUNT_DIR=$TEST_DIR/i
}

NL=$'\n'

@test "bash: commands, options, files, listeners and services" {
	offers bash
}

@test "zsh: commands, options, files, listeners and services" {
	requires zsh
	offers zsh
}

@test "zsh shows what an option is for" {
	requires zsh
	# shellcheck disable=SC2016
	expect 0 zsh -f -c '
		_describe() { print -l -- ${(P)@[-1]} }
		words=(conncount list -) CURRENT=3
		source $1' zsh "$ROOT/user/dist/completions/conncount.zsh"
	expect_match '--limit:only the N largest' "$output"
	expect_match '-6:prefix length for IPv4, for IPv6' "$output"
}
