#compdef conncount
# SPDX-License-Identifier: BSD-2-Clause
#
# Completion of conncount's command line in zsh. Commands and options are those of its --help,
# listeners and services those of its status.

# Column $1 of the listeners' table of `conncount status`. Among the services (2) is that of the
# cluster, if there is one. The table ends before an empty line, or notes.
_conncount_column() {
	local dir=${words[(i)--dir]}
	local -a names
	((dir < CURRENT - 1)) && dir=(--dir ${words[dir + 1]}) || dir=()
	names=(${(fu)"$(conncount status $dir 2>/dev/null |
		awk -v n=$1 '/^cluster/ && n == 2 { print "inbound_cidr" }
			/^LISTENER/ { table = 1; next } table && /^($|note:)/ { exit }
			table { print $n }')"})
	compadd -a names
}

_conncount_commands() {
	local -a commands
	commands=(${(f)"$(conncount --help 2>/dev/null |
		sed -n 's/^  \([a-z]\{1,\}\)  *\(.*\)/\1:\2/p')"})
	_describe command commands
}

_conncount_options() {
	local -a options
	# Of "  --prefix N  text" and "  -4 N, -6 N  text"; a text goes on in a second line.
	options=(${(f)"$(conncount $1 --help 2>/dev/null | awk '/^  -/ {
		match($0, /[^ ]  +/)
		text = substr($0, RSTART + RLENGTH)
		n = split(substr($0, 3, RSTART - 2), names, ", ")
		for (i = 1; i <= n; i++) {
			sub(/ .*/, "", names[i])
			print names[i] ":" text
		}
	}')"} '--help:print how it is used')
	_describe -o option options
}

_conncount() {
	local previous=${words[CURRENT - 1]}

	if ((CURRENT == 2)); then
		_conncount_commands
		return
	fi
	case $previous in
	-c) _files ;;
	--dir | --cgroup) _files -/ ;;
	--listener) _conncount_column 1 ;;
	--service) _conncount_column 2 ;;
	*)
		if [[ ${words[CURRENT]} == -* ]]; then
			_conncount_options ${words[2]}
		elif [[ ${words[2]} == check ]]; then
			_files
		fi
		;;
	esac
}

_conncount "$@"
