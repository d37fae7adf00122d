# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# tests/model/places.c runs in every interleaving how connections reserve a place in a network that
# has a limit, and become sessions.

load ../lib/common
load ../lib/model

# shellcheck disable=SC2034 # model.bash uses it
model=places
# shellcheck disable=SC2034
refuted_with=(--harm)

setup_file() {
	model_build places
}

@test "a network never has more sessions than its limit, and refuses none below it" {
	holds --over 1 '+a -a' '+b -b' '+c -c'
	holds --over 1 --open a '-a' '+b' '+c +c'
	holds --over 2 '+a -a' '+b' '+c'
	holds --over 2 --open a '-a' '+b -b' '+c +d'
}

@test "a network and one in it both keep to their limits" {
	holds --over 1,1 --open a '-a' '+b' '+c@2 +d@2'
	holds --over 2,1 '+a' '+b@2' '+c'
	holds --over 0,1 '+a -a' '+b@2 -b' '+c'
	holds --over 1,0 '+a -a' '+b@2 -b' '+c'
}

@test "a failed handshake leaves a place until its CPU's next packet, or until it is stale" {
	holds --over 1 '!a +b -b' '!c +d'
	holds --over 1 --open a '-a' '+b' '+c' '!d'
	holds --over 2,1 '+a -a' '!b +c@2' '+d@2 -d'
	holds --over 1 '?a +b' '!c +d'
}

@test "settling takes back every place, and none twice" {
	holds --over 1 '!a +b -b' '!c +d' '*'
	holds --over 2,1 '!a' '+b@2' '*'
}

@test "a session without a gate takes no place, or the one left for its address" {
	holds --over 0,1 '!a =b' '+c'
	holds --over 2,1 '!a@2 =b -b' '+c'
	holds --over 1 '+a -a' '=b' '+c -c'
}

@test "if inserts fail, no place is left behind" {
	holds --failures --over 2,1 '+a -a' '+b@2 -b'
	holds --failures --over 1 '+a -a' '!b +c'
	holds --failures --over 0,1 '+a' '!b +c'
}

@test "a gate that has used its retries refuses the connection" {
	holds --retries 0 --over 2 '+a' '+b' '+c'
	holds --retries 1 --over 1 --open a '-a' '+b' '+c +c'
	without spent-held '2 are in n; the limit is 1' --over 1 --open a '-a' '+b' '+c'
	without last-try 'n stays 1.1p; 1 are open' --over 1 --open a '-a' '+b'
}

@test "a handshake that takes too long lets in one connection over the limit" {
	holds --stalls 1 --over 1 '+a' '+b' '+c'
	holds --stalls 2 --over 2 '+a' '+b' '+c +d'
	holds --stalls 1 --over 2,1 '+a' '+b@2' '+c'
	without stale '2 are in n; the limit is 1' --over 1 '+a' '+b'
}

@test "a program that preempts another one of its CPU can take its place, but loses none" {
	holds --over 1 '+a' '0:+b'
	holds --over 1 '+a' '0:!b' '+c'
	without write-claim 'n stays 0.1p; 0 are open' --over 2 '!a' '0:!b'
}

@test "a place must be reserved by one operation, in a node that is there and stays" {
	without compare-places '2 are in n; the limit is 1' --over 1 '+a' '+b'
	without place-swap '3 are in n; the limit is 2' --over 2 --open a '+b' '+c'
	without noexist 'one more connection of address 1 is admitted' --over 2 '+a' '+b'
	without exist-again '2 are in n; the limit is 1' --over 1 '+a' '+b'
	without dead-again '2 are in n; the limit is 1' --over 1 --open a '-a' '+b' '+c'
	without gone-again '2 are in n; the limit is 1' --over 1 --open a '-a' '+b' '+c'
	without place-kept 'no room for c in n, where 1 of 2 are' --over 2 --open a '-a' '+b' '+c'
	without rcu 'no room for e in inner/2, where 0 of 1 are' --over 0,1 --open ab \
		'-a +c' '-b@2 +d@2' '+e@2'
}

@test "one addition must make a place a session" {
	without place-not-first '2 are in n; the limit is 1' --over 1 '+a' '+b'
	without place-not-last 'no room for b in n, where 1 of 2 are' --over 2 '+a' '+b'
}

@test "a connection that goes no further must give its places back" {
	without refused-return 'inner/1 stays 1.1p; 1 are open' --over 1,2 --open a '+b' '+c@2'
	without undo-return 'one more connection of address 1 is refused; there is room' \
		--failures --over 0,1 '+a' '+b'
	without leftover-drop '3 are in n; the limit is 2' --over 2 '!a +b' '+c' '+d'
	without reclaim 'one more connection of address 1 is refused; there is room' \
		--over 1 '!a' '!b'
}

@test "each rule of a slot is necessary" {
	without claim-address 'no room for c in inner/1, where 0 of 1 are' --over 0,1 '!a =b@2' '+c'
	without read-first 'one more connection of address 1 is refused; there is room' \
		--over 0,1 '!a +b@2' '+c'
	without write-first 'n stays 1.1p; 1 are open' --over 1 '!a +b' '+c'
	without turn-next '2 are in n; the limit is 1' --over 1 '!a +b' '+c'
	without turn-swap 'no room for b in n, where 0 of 1 are' --over 1 '!a +b' '+c'
}

@test "every rule that the model of places can leave out is left out by a test" {
	every_rule_is_left_out
}

@test "every function that the model of places follows or names is in bpf/" {
	every_function_exists
}

@test "while a session without a place is carried over, a network may get one more than its limit" {
	refuted '2 are in n; the limit is 1' --over 1 '+a -a' '=b -b' '+c' '+d'
}

@test "bad usage of the model of places exits with 2" {
	local arguments
	model 2
	for arguments in +a '--over 1' '--over x +a' '--over 1,x +a' '--over 1 +g' '--over 1 +a@3' \
		'--over 1 %a' '--over 1 --open g +a' '--over 1 --stalls' '--over 1 --all +a' \
		'--over 1 --without rule' '--over 1 +a +a +a +a +a'; do
		# shellcheck disable=SC2086 # words
		model 2 $arguments
	done
}
