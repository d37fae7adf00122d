/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * counts.bpf.h - change the count of one prefix, exactly and without a lock.
 *
 * The difficulty is the end of a node. A count that is not there is 0, so a node whose count
 * returns to 0 is deleted, or the trie would fill with every address that ever called. But a
 * deletion takes effect some time after the decision to delete, and a session that starts in
 * between adds to a node that is about to vanish. The protocol makes sure that such an
 * addition is either seen by the one who deletes, who carries it over to a new node, or knows
 * itself to be too late and starts again. A node's word goes through these states:
 *
 *	live        count, no flags      in the trie
 *	  | the one who brought the count to 0 swaps exactly 0 for DEAD
 *	DEAD        count | DEAD         in the trie, then not
 *	  | the same one deletes the node, then swaps the word for DEAD|GONE
 *	DEAD|GONE   whatever             not in the trie, memory valid until our run ends
 *
 * Why no count is lost or entered twice:
 *
 *  - One fetch-and-add both enters an addition and says, by the flags it found, whose it is
 *    now. No flag: it is in a live count. DEAD alone: the word has not been taken out yet,
 *    and whoever takes it out will find the addition in it. GONE: the word was taken out
 *    before, nobody will ever look again, and so the addition is ours to make once more.
 *  - Only one party can swap 0 for DEAD, so only one deletes the node and only one takes its
 *    word out; the word is taken out exactly once.
 *  - The deletion cannot hit another node of the same key: while this one is linked, inserts
 *    with BPF_NOEXIST fail, and nobody else deletes it.
 *  - Between our look-up and our addition the node may be deleted, but its memory is not
 *    given to another node before we leave: our run is an RCU read section, and an LPM trie
 *    frees nodes after a grace period.
 *  - DEAD becomes live again only if the deletion failed, by the one who set it. An addition
 *    that found DEAD meanwhile is in the live count then, as if it had found no flag.
 *
 * What it rests on: LPM tries that honour BPF_NOEXIST (Linux 6.13, 6.12.5, 6.1.120, 5.10.231)
 * and free nodes by RCU (all).
 *
 * All this is checked by machine over every interleaving: tests/model/.
 *
 * What a reader may see. An addition that found DEAD is in no node from the deletion until the
 * one who carries it has entered it again: for that moment, well under a microsecond unless
 * the CPU is taken away there, the count is too small. Three programs stalled at the right
 * steps can make it too large. It is right whenever nobody deletes or carries that key.
 *
 * Counts are signed. Sessions never subtract before they have added (sessions.bpf.h), but an
 * addition being carried over is in nobody's count for a moment, and the same session's end
 * can pass it: then a node of -1 stands in the trie until the carried +1 meets it.
 */
#ifndef CONNCOUNT_COUNTS_BPF_H
#define CONNCOUNT_COUNTS_BPF_H

#include "faults.bpf.h"
#include "maps.bpf.h"
#include <bpf/bpf_endian.h>

enum {
	/*
	 * Each retry means that another CPU, or a program this one interrupted, moved the
	 * node to its next state meanwhile. Twice is rare.
	 */
	COUNT_RETRIES = 16,
};

/* Note that @n nodes have come into the trie. */
static __always_inline void nodes_add(__s64 n)
{
	struct cc_fill *entry = fill_get();

	if (entry)
		__sync_fetch_and_add(&entry->nodes, n);
}

/*
 * The two operations on the trie. Helper results are cut to int before they are compared: up
 * to 6.4 the upper half of the register is not sign-extended where the call is inlined.
 */
static __always_inline int node_insert(const struct cc_count_key *key, const struct cc_count *node)
{
	int err = fault(false);

	return err ? err : (int)bpf_map_update_elem(&counts, key, node, BPF_NOEXIST);
}

static __always_inline int node_delete(const struct cc_count_key *key)
{
	int err = fault(true);

	return err ? err : (int)bpf_map_delete_elem(&counts, key);
}

/*
 * Delete a node that is DEAD by our hand and take its count out.
 * Returns what was in it: additions that are now the caller's to make again.
 */
static __always_inline __s64 count_bury(const struct cc_count_key *key, struct cc_count *node)
{
	int err = node_delete(key);

	if (err) {
		/* The trie's lock timed out. The node stays, at 0, until it is used again. */
		__sync_fetch_and_and(&node->word, ~(__s64)CC_COUNT_DEAD);
		return 0;
	}
	nodes_add(-1);
	return __sync_lock_test_and_set(&node->word, CC_COUNT_DEAD | CC_COUNT_GONE) >> 2;
}

/*
 * count_add() - add to the count of one prefix.
 * @owner: listener id << 16 | family, host byte order.
 * @high, @low: the peer's address as stored, network byte order; bits past @length are 0.
 * @length: the level.
 * @n: +1 or -1.
 *
 * May be called on any CPU at any time, also by a program that interrupts another one here.
 * A function of its own to the verifier, which checks it once and not once per level; hence
 * scalar arguments.
 *
 * Returns 0, or a negative errno if @n was not entered: the trie is full (-ENOSPC), there is
 * no memory (-ENOMEM), its lock timed out (-ETIMEDOUT, from 6.15), or retries are spent
 * (-EAGAIN). What others added and this call could not carry over is reported as `lost`.
 */
int count_add(__u32 owner, __u64 high, __u64 low, __u32 length, int n)
{
	struct cc_count_key key = {
		.prefixlen = CC_COUNT_BITS_OWNER + length,
		.listener = bpf_htons(owner >> 16),
		.family = bpf_htons(owner),
		.addr = { high, high >> 32, low, low >> 32 },
	};
	struct cc_count fresh = { .prefixlen = key.prefixlen };
	struct cc_tally *tally;
	__s64 todo = n;
	int err = -EAGAIN;
	bool carried = false;

	if (n < 0 && loses())
		return 0;
	for (int i = 0; i < COUNT_RETRIES; i++) {
		struct cc_count *node = bpf_map_lookup_elem(&counts, &key);

		if (!node || node->prefixlen != key.prefixlen) {
			fresh.word = todo * CC_COUNT_ONE;
			err = node_insert(&key, &fresh);
			if (!err) {
				nodes_add(1);
				return 0;
			}
			if (err != -EEXIST)
				break;
			err = -EAGAIN;
			continue;
		}

		__s64 old = __sync_fetch_and_add(&node->word, todo * CC_COUNT_ONE);
		if (old & CC_COUNT_GONE)
			continue;
		if (old & CC_COUNT_DEAD || old + todo * CC_COUNT_ONE != 0)
			return 0;
		/* We brought it to 0. Unless somebody has added since, the node goes. */
		if (__sync_val_compare_and_swap(&node->word, 0, CC_COUNT_DEAD) != 0)
			return 0;
		todo = count_bury(&key, node);
		if (todo == 0)
			return 0;
		carried = true;
	}

	if (!carried)
		return err;
	tally = tally_get(owner >> 16, owner & 0xffff);
	if (tally)
		lost_add(tally);
	return 0;
}

#endif
