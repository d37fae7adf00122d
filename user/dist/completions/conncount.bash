# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Completion of conncount's command line in bash. Commands and options are those of its --help,
# listeners and services those of its status.

# _conncount_column N: column N of the listeners' table of `conncount status`. Among the services
# (2) is that of the cluster, if there is one. The table ends before an empty line, or notes.
_conncount_column() {
	conncount status "${_conncount_dir[@]}" 2>/dev/null |
		awk -v n="$1" '/^cluster/ && n == 2 { print "inbound_cidr" }
			/^LISTENER/ { table = 1; next } table && /^($|note:)/ { exit }
			table { print $n }' | sort -u
}

# _conncount_options COMMAND: its options, as the lines of its --help begin.
_conncount_options() {
	conncount "$1" --help 2>/dev/null | sed -n '/^  -/{ s/^  //; s/  .*//; p; }' |
		grep -oE -- '(^| )--?[a-z0-9][a-z-]*'
	echo --help
}

_conncount() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local command=${COMP_WORDS[1]} list='' i
	local _conncount_dir=()

	COMPREPLY=()
	for ((i = 2; i < COMP_CWORD - 1; i++)); do
		[ "${COMP_WORDS[i]}" != --dir ] || _conncount_dir=(--dir "${COMP_WORDS[i + 1]}")
	done
	if ((COMP_CWORD == 1)); then
		list=$(conncount --help 2>/dev/null | sed -n 's/^  \([a-z]\{1,\}\) .*/\1/p')
		list+=$'\n--help\n--version'
	else
		case $previous in
		-c)
			compopt -o default
			return
			;;
		--dir | --cgroup)
			compopt -o dirnames
			return
			;;
		--listener) list=$(_conncount_column 1) ;;
		--service) list=$(_conncount_column 2) ;;
		*)
			case $command,$current in
			*,-*) list=$(_conncount_options "$command") ;;
			check,*)
				compopt -o default
				return
				;;
			esac
			;;
		esac
	fi
	while IFS= read -r i; do
		[ -z "$i" ] || COMPREPLY+=("$i")
	done < <(compgen -W "$list" -- "$current")
}

complete -F _conncount conncount
