# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# What bash and zsh offer to complete on conncount's command line. The tests call the completion
# functions as the shells do, first with nothing loaded and then with an instance.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	configure <<-'END'
		[mx]
		listen = *:25
		limit = /24,/64 over 1 log
		[msa]
		listen = *:587
		service = submission
		proxy = 192.0.2.0/24
	END
}

teardown() {
	instance_teardown
}

# in_bash WORD...: prints what bash offers for the last word, sorted; `files` or `dirs` if it leaves
# it to file names.
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

# in_zsh WORD...: prints what zsh offers for the last word, sorted, without descriptions.
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

# lines WORD...: prints the words, one a line, sorted.
lines() {
	printf '%s\n' "$@" | sort
}

# offers SHELL: checks what is the same in both shells.
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
	expect_eq files "$($in cluster -c '')" 'cluster -c'
	expect_eq dirs "$($in count --dir '')" 'count --dir'
	expect_eq dirs "$($in nodes --dir '')" 'nodes --dir'
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

@test "bash completes commands, options, files, listeners and services" {
	offers bash
}

@test "zsh completes commands, options, files, listeners and services" {
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
