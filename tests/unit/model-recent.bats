# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# tests/model/recent_table.c runs the programs and readers of the table of recent connections in every
# interleaving. With all its rules each answer includes the truth; without any one of them, a run
# goes wrong.

load ../lib/common
load ../lib/model

# shellcheck disable=SC2034 # model.bash uses it
model=recent_table

setup_file() {
	model_build recent_table
}

@test "without evictions each answer is exact, whatever the clocks and however late a program is" {
	holds --entries 2 '+a +a' '+a +b' '+b' '2 2'
	holds --entries 2 '+a +b' '+a' '?a' '1 3'
	holds --entries 2 --window 2,1 --window 3,0 '+a +b' '+b' '3 3'
}

@test "networks that are evicted, absent, or back again are between least and most" {
	holds '+a +b +a' '+b +a' '2 2'
	holds '+a' '+a +b' '+b +c' '2 2'
	holds --entries 2 '+a +b' '+c +a' '+b' '1 3'
	holds --entries 2 '+a +b +c +a +b +c' '+b +a' '2 2'
	holds --window 2,1 --window 3,1 '+a +b +a' '+b' '+a' '1 1 2'
}

@test "a reader gets the truth of some moment while it reads" {
	holds '+a +b' '+a' '?a' '2 2'
	holds --window 1,1 '+a' '+b' '?a' '1 1'
	holds --window 2,0 --window 1,2 '+a +b' '?a' '1 1'
	holds --entries 2 '+a +b +c' '?a' '4'
}

@test "each rule of an addition is necessary" {
	without lock-held 'a has opened 1 in .*; the table says 0 to 0' '+a' '+b'
	without later-slot 'a has opened 1 in the 2s from 4; the table says 2 to 2' '+a' '+a' '4'
	without slots-clear 'b has opened 1 in .*; the table says 2 to 3' '+a' '+b'
	without free-reach '0 to 1, though nothing was evicted' '+a' '+b' '3'
}

@test "each rule of the error is necessary" {
	without born-latest 'a has opened 1 in the 2s from 2; the table says 0 to 0' \
		'+a' '+a +b' '2'
	without error-latest 'a has opened 1 in the 2s from 2; the table says 0 to 0' \
		'+a' '+a +b' '2'
	without newcomer-error 'a has opened 2 in .*; the table says 1 to 1' '+a +b +a'
	without absent-error 'a has opened 1 in .*; the table says 0 to 0' '+a +b' '?a'
}

@test "each rule of an eviction is necessary" {
	without later-lost 'b has opened 2 in the 2s from 4; the table says 1 to 1' \
		'+a +b' '+a +b' '4'
	without lost-max 'a has opened 3 in .*; the table says 1 to 2' --entries 2 '+a +a +b +c +a'
	without lost-error 'a has opened 2 in .*; the table says 0 to 1' '+a +b +a +b'
}

@test "each rule of a reader is necessary" {
	without version-odd 'P1 is told 1 to 1; it was 0 before' '+a +b' '?b'
	without version-same 'P1 is told 1 to 1; it was 0 before' '+a +b' '?b'
	without clock-same 'P1 is told 0 to 0; it was 1 before' '+a' '?a' '4' '+a'
}

@test "every rule that the model of recent can leave out is left out by a test" {
	every_rule_is_left_out
}

@test "every function that the model of recent follows or names is in the tree" {
	every_function_exists
}

@test "bad usage of the model of recent exits with 2" {
	local arguments
	model 2
	for arguments in '--window 2' '--window 0,1' '--window 1,6' '--entries 3' '--without rule' \
		'--all' +d '0' '9 1' '+a +a +a +a +a'; do
		# shellcheck disable=SC2086 # words
		model 2 $arguments
	done
}
