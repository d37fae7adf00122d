# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# tests/model/model.c runs the count protocol in every interleaving. With all its rules no addition
# is lost; without any one of them, a run goes wrong.

load ../lib/common
load ../lib/model

# shellcheck disable=SC2034 # model.bash uses it
model=model
# shellcheck disable=SC2034
refuted_with=(--ends)

setup_file() {
	model_build model
}

@test "sessions that start and end concurrently leave exact counts and no node, within the retries" {
	holds '+a -a' '+b -b' '+c -c'
	holds --levels 2 '+a -a' '+b -b' '+c -c'
	holds --levels 2 --open a '-a +b -b' '+c -c' '+d -d'
	holds --open abc '-a +d' '-b +e' '-c +f'
	holds --open ab '-a +c' '-b +d -d' '+e -e'
	holds '+a -a +d -d' '+b -b +e -e' '+c -c'
}

@test "a session whose start and both end events run at once is counted once or never" {
	holds --levels 2 '+a' '-a' '-a'
	holds --levels 2 --open a '-a' '-a' '+b -b'
	holds --levels 2 '+a -b' '-a +b' '-a -b'
	holds --levels 2 '!a' '-a' '-a'
	holds --levels 2 '+a' '!a' '-a'
}

@test "if inserts and deletes fail, each change is counted, uncounted or lost, and no key stays dead" {
	holds --failures '+a -a' '+b -b' '+c -c'
	holds --failures --open ab '-a +c' '-b +d -d' '+e -e'
	holds --failures --levels 2 '+a -a' '+b -b' '+c -c'
	holds --failures --levels 2 '+a' '-a' '-a'
	holds --failures --levels 2 '+a -b' '-a +b' '-a -b'
}

@test "a change whose retries are used up is reported" {
	local retries
	for retries in 1 2 3; do
		holds --retries "$retries" '+a -a' '+b -b' '+c -c'
		holds --retries "$retries" --failures --levels 2 '+a -b' '-a +b' '-a -b'
	done
	holds --retries 1 --failures --levels 2 '+a -a' '+b -b' '+c -c'
}

@test "the trie needs BPF_NOEXIST, the check of the prefix length, and RCU" {
	without noexist 'count of 1/n is -1; 0 are open' '+a -a' '+b -b'
	without prefixlen 'count of 1/short was 1; is 0 after' --levels 2 '+a -a' '+b -b'
	without rcu 'one more session .* is not counted' '+a -a' '+b -b'
}

@test "an addition must be atomic, must be repeated on GONE, and must not be repeated on DEAD" {
	without fetch-add 'count of 1/n is 1; 0 are open' '+a -a' '+b -b'
	without gone-retry 'count of 1/n is -1; 0 are open' '+a -a' '+b -b'
	without dead-leave 'count of 1/n is 1; 0 are open' '+a -a' '+b -b'
}

@test "each step of the end of a node is necessary" {
	without zero-cas 'the slot has 1/n, which is not CACHED' '+a -a' '+b -b' '+c -c'
	without dead-mark 'the slot has 1/n, which is not CACHED' '+a -a' '+b -b' '+c -c'
	without unlink-first 'though nothing failed' '+a -a' '+b -b'
	without reap-exchange 'count of 1/n is -1; 0 are open' '+a -a' '+b -b'
	without gone-mark 'count of 1/n is -1; 0 are open' '+a -a' '+b -b'
	without dead-carry 'count of 1/n is -1; 0 are open' '+a -a' '+b -b'
}

@test "cached nodes evict each other and make room" {
	holds --seen 1 '+a -a +d -d' '+b -b' '+c -c'
	holds --seen 1 '+a -a +b@2 -b' '+c -c' '+d@2 -d'
	holds --seen 1 --levels 2 '+a -a' '+b@2 -b' '+c -c'
	holds --seen 1 --levels 2 --open a '-a +b -b' '+c -c' '+d@2 -d'
	holds --seen 2 --failures --levels 2 '+a@1 -a +b@2 -b' '+c@1 -c +d@2 -d'
	holds --seen 1 --failures '+a -a +b@2 -b' '+c -c' '+d@2 -d'
}

@test "each step for cached nodes is necessary" {
	without cache-lock '1/n stays 0.CACHED, and no slot has it' --seen 1 \
		'+a -a +b@2 -b' '+c -c' '+d@2 -d'
	without cache-cas 'the slot has 1/n, which is not CACHED' --seen 1 '+a -a' '+b -b' '+c -c'
	without cache-locked 'the slot has 1/n, which is not CACHED' --seen 1 '+a -a' '+b -b' '+c -c'
	without cache-evicted '1/n stays 0.CACHED, and no slot has it' --seen 1 \
		'+a -a +b@2 -b' '+c -c' '+d@2 -d'
	without cache-clear '1/n stays 0.CACHED, and no slot has it' --seen 1 \
		'+a -a +b@2 -b' '+c -c' '+d@2 -d'
	without cache-room 'the slot has 1/n, which is not CACHED' --seen 1 --failures \
		'+a -a +b@2 -b' '+c@2 -c'
}

@test "each step that handles a failure is necessary" {
	without delete-failure-check 'one more session .* is not counted' --failures '+a -a' '+b -b'
	without delete-failure-revive '1/n stays 0.DEAD' --failures '+a -a' '+b -b'
	without carry-lost '0 are open and counted; nothing is lost' --failures '+a -a' '+b -b'
	without end-lost '0 are open and counted; nothing is lost' --failures '+a -a' '+b -b'
	without spent-error '0 are open and counted; nothing is lost' --retries 1 '+a -a' '+b -b'
}

@test "each step of a session's start is necessary" {
	without start-claim 'session a has ended and stays COUNTED' '+a' '-a'
	without publish-cas 'session a has ended and stays COUNTED' '+a' '-a'
	without starter-takes-back 'live 1' '+a' '-a'
	without record-before-publish 'count of 0/n is -1' '+a' '-a'
	without level-undo 'count of 1/short is 1; 0 are open' --failures --levels 2 '+a' '-a'
	without undo-limit 'count of 1/n is -1; 0 are open' --failures '+a' '-a'
	without uncounted-state 'count of 1/n is -1; 0 are open' --failures '+a' '-a'
}

@test "each step of a session's end is necessary" {
	without end-exchange 'live -1' --open a '-a' '-a'
	without starting-is-starters 'live -1' '+a' '-a'
}

@test "a session is counted while it has a subflow, until its end" {
	holds --levels 2 '<a >a' '<a >a' '-a'
	holds --levels 2 --open a '>a' '<a@2 >a' '-a'
	holds --failures '<a >a' '<a' '-a'
	holds '<a >a' '<a >a' '+b -b'
	holds --rounds 1 '<a >a' '<a >a'
	holds --rounds 4 '<a >a' '<a >a' '<a >a'
}

@test "each step of the protocol of subflows is necessary" {
	without subflow-first 'session a has 0 subflows and stays COUNTED' '<a' '>a'
	without reconcile-again 'session a has 1 subflows and stays NEW' --open a '>a' '<a'
	without unreconciled-lost 'session a has 0 subflows and stays COUNTED' --rounds 1 \
		'<a >a' '<a >a'
	without suspend-claim 'count of 1/n is 1; 0 are open' --open a '>a' '<a@2'
	without suspend-cas 'session a has ended and stays NEW' --open a '>a' '-a'
}

@test "an orphan, a subflow without its MPTCP socket, ends its session at the first of its two ends" {
	holds --levels 2 --orphans a '~a' '-a' '+b -b'
	holds --orphans ab '~a' '-a ~b' '-b'
	without orphan-release 'live 1' --orphans a '~a' '-a'
}

@test "two programs that make one record at once both get it" {
	holds --fresh --levels 2 '+a' '-a' '-a'
	holds --fresh '+a' '+a' '-a'
	without record-again 'uncounted 1; 0 are open' --fresh '+a' '-a'
}

@test "a session of a proxy is counted once its handshake and its header have come, in any order" {
	holds --levels 2 '?a' '=a' '-a'
	holds --levels 2 '?a =a' '=a' '-a'
	holds --failures --levels 2 '?a' '=a' '-a'
	holds '?a' '=a@1' '=a@2'
	holds '?a -a' '=a' '+b -b'
	holds '?a' '-a' '-a'
	holds --fresh '=a' '?a' '-a'
}

@test "each step of the wait for a header is necessary" {
	without await-new 'session a has started and stays AWAITED' '?a' '=a'
	without await-at-once 'session a has started and stays AWAITED' '?a' '=a'
	without awaited-claim 'session a has started and stays AWAITED' '?a' '=a'
	without awaited-take 'awaiting 1; 0 await' '?a =a' '=a'
	without awaited-end 'awaiting 1; 0 await' '?a' '-a'
}

@test "the cluster's daemon has the count of a leaf in the end, whatever it was noted for" {
	holds --levels 2 '+a -a' '*a *a'
	holds '+a -a' '+b' '*a *a'
	holds --seen 1 --open a '-a +b' '+c@2 -c@2' '*a *a'
	holds --seen 1 --open a '-a' '+c@2 -c@2 +b' '+d *a *a'
	holds --failures '+a -a' '+b -b' '*a'
}

@test "each step of a note is necessary" {
	without note-after 'the daemon has read 0 of listener 1, whose count is 1' '+a' '*a'
	without note-delete 'the daemon has read 1 of listener 1, whose count is 0' '+a -a' '*a'
	without note-evict 'the daemon has read 0 of listener 1, whose count is 1' \
		--seen 1 --open a '-a' '+c@2 -c@2' '+d *a'
}

@test "places come and go in a word beside the count" {
	holds '[a +a -a' '+b -b' '+c -c'
	holds '[a ]a' '[b +b -b' '+c -c'
	holds --levels 2 '[a +a -a' '[b ]b' '+c -c'
	holds --levels 2 --failures '[a +a -a' '[b ]b'
	holds --failures '[a +a -a' '[b ]b' '+c -c'
	holds --seen 1 --open a '-a [b ]b' '+c@2 -c' '[d +d -d'
	holds '[a +a -a' '[b ]b' '*a *a'
}

@test "a node with a place is not deleted, and who gives a place back notes the leaf" {
	without note-return 'the daemon has read 0 of listener 1, whose count is 1' \
		'[a ]a' '+b' '*a *a'
	# shellcheck disable=SC2034 # the harm is in what gates do: model-places.bats
	local refuted_with=()
	without place-kept '1 places reserved in 1/n, but 0 in the trie' '[a +a -a' '+b -b'
}

@test "every rule that the model can leave out is left out by a test" {
	every_rule_is_left_out
}

@test "every function that the model follows or names is in bpf/" {
	every_function_exists
}

@test "two starters of one record may disagree on the listener" {
	holds --levels 2 '+a' '+a' '-a'
	holds --levels 2 '+a@1' '+a@2' '-a'
	holds --levels 2 --failures '+a@1' '!a@2' '-a'
	without claim-before-record 'count of 1/n is 1; 0 are open' '+a@1' '+a@2' '-a'
}

@test "while a node ends, a reader may see too few sessions, or more than were ever open" {
	refuted 'sees 0; 1 are open' --check counted '+a -a' '+b -b'
	holds --check open '+a -a' '+b -b' '+c -c'
	refuted 'sees 2; 1 are open' --check open --open a '-a' '+b +c -b' '+e@2 -e -c +d'
	holds --check peak --open a '-a' '+b +c -b' '-c +d +e'
	refuted 'sees 4; no more than 3' --check peak --open a '-a +e' '+b +c -b +f' '+g@2 -g -c +d'
}

@test "bad usage exits with 2" {
	local arguments
	model 2
	for arguments in '--levels 3' '--retries x' '--without rule' '--check all' '--open h' \
		'--orphans h' +h '[h' '+a@3' '%a' '+a +a +a +a'; do
		# shellcheck disable=SC2086 # words
		model 2 $arguments
	done
	expect_match '^model: over 3 scripts' "$errors"
}
