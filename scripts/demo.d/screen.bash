# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# screen.bash - what the demos print, and how they end. They set $dir to a directory of their own.

bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
	bold=$'\e[1m' plain=$'\e[0m'
fi

die() {
	echo "demo: $*" >&2
	exit 1
}

step() {
	printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

# Run a command, its text on the screen before what it prints.
show() {
	echo "\$ $*"
	"$@"
}

# give_build: what was built belongs to the user who called the demo by sudo.
give_build() {
	[ -z "${SUDO_UID-}" ] || [ ! -d build ] || chown -Rh "$SUDO_UID:${SUDO_GID-}" build
}

# end_by FUNCTION: has the demo end by it, however it ends.
end_by() {
	[ "$(id -u)" = 0 ] || die 'run as root: sudo ./scripts/demo'
	# shellcheck disable=SC2064 # now
	trap "$1" EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 141' PIPE
	trap 'exit 143' TERM
}
