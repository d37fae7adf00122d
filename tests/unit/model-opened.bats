# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# tests/model/opened_once.c runs in every interleaving how a connection is entered in the windows once,
# while one set of maps replaces another.

load ../lib/common
load ../lib/model

# shellcheck disable=SC2034 # model.bash uses it
model=opened_once

setup_file() {
	model_build opened_once
}

@test "a connection is entered once, whatever set of maps comes and goes meanwhile" {
	holds + lsd
	holds + + lsd
	holds '?+' lsd
	holds '?+' + lsd
}

@test "a connection whose session starts again is not entered again" {
	holds +-+-+ lsd
	holds +-+ +- lsd
	holds l+sdls -+ -+
	holds +l-+sdls-+
}

@test "a connection that was open before counting began is never entered" {
	holds --before -+ -+ lsd
	holds --before lsdlsd-+
}

@test "each rule of the flags is necessary" {
	without former-flag 'entered 2 times' + lsd-+
	without own-flag 'entered 2 times' l+sdls -+
	without flag-exchange 'entered 2 times' + -+
	without seed-flag 'entered 1 times' --before lsdlsd-+
}

@test "every rule that the model of flags can leave out is left out by a test" {
	every_rule_is_left_out
}

@test "every function that the model of flags follows or names is in the tree" {
	every_function_exists
}

@test "a connection may be entered twice if its session has no subflow over two loads" {
	refuted 'entered 2 times' +-+ lsdlsd
}

@test "a connection may be entered twice if a set is detached while its programs start the session" {
	refuted 'entered 2 times' --at-once + + lsd
}

@test "bad usage of the model of flags exits with 2" {
	local arguments
	model 2
	for arguments in +a lsdlsdls --all '--without rule' '+ + + +'; do
		# shellcheck disable=SC2086 # words
		model 2 $arguments
	done
}
