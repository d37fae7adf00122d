# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# scripts/deps: what it says while a stand-in for apt-get works. unit/package.bats installs with the real one.

load ../lib/common

setup() {
	requires root netns
	mkdir "$BATS_TEST_TMPDIR/bin" "$BATS_TEST_TMPDIR/sbin"
	tool dpkg-query <<<':' # nothing is installed
	tool apt-get <<-'END'
		case $* in
		*update) echo 'apt: updating' ;;
		*install*)
			echo 'apt: installing' # which nobody needs to see
			printf '%s\n' dlstatus:1:50.5:gcc pmstatus:gcc:66.6:Unpacking media-change:x >&3
			;;
		esac
	END
	tool deps <<-END
		mount --bind "$BATS_TEST_TMPDIR/sbin" /usr/sbin # where it has apt start no servers
		exec "$ROOT/scripts/deps" build
	END
	PATH=$BATS_TEST_TMPDIR/bin:$PATH
}

# tool NAME: makes a program of this name from a script on standard input.
tool() {
	(echo '#!/bin/bash' && cat) >"$BATS_TEST_TMPDIR/bin/$1"
	chmod +x "$BATS_TEST_TMPDIR/bin/$1"
}

@test "deps: says that packages are missing before apt works, and which, and nothing else" {
	expect 0 unshare --mount -- deps
	expect_match "^deps: [0-9]+ packages are missing; updating apt's lists
apt: updating
deps: installing, which can take minutes: .*gcc.*$" "$output"
	expect_eq 3 "$(wc -l <<<"$output")" lines
	expect_eq '' "$(ls "$BATS_TEST_TMPDIR/sbin")" 'policy-rc.d'
}

@test "deps: on a terminal, shows how far apt is" {
	expect 0 script -qec 'unshare --mount -- deps' /dev/null
	expect_match $'\rdeps:  50 % fetched  \rdeps:  66 % installed' "$output"
}

@test "deps: fails if apt fails" {
	tool apt-get <<<'case $* in *install*) exit 100 ;; esac'
	expect 100 unshare --mount -- deps
}
