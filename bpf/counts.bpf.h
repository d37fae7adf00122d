/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * counts.bpf.h - change the count of one prefix, exactly and without a lock.
 *
 * The difficulty is the end of a node. A count that is not there is 0, so a node whose count
 * returns to 0 is deleted, sooner or later, or the trie would fill with every address that ever
 * called. But a deletion takes effect some time after the decision to delete, and a session
 * that starts in between adds to a node that is about to vanish. The protocol makes sure that such
 * an addition is either seen by the one who deletes, who carries it over to a new node, or knows
 * itself to be too late and starts again. A node's word goes through these states:
 *
 *	live        count, no flags      in the trie
 *	  | who brought the count to 0, or let go of the node, swaps exactly 0 for DEAD
 *	DEAD        count | DEAD         in the trie, then not
 *	  | the same one deletes the node, then swaps the word for DEAD|GONE
 *	DEAD|GONE   whatever             not in the trie, memory valid until our run ends
 *
 * (The word also has the length of the node's key, from beginning to end. To swap 0 is to swap the
 * word that has nothing but that, CC_COUNT_ZERO.)
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
 * Inserts and deletes are most of what counting costs, and an address that calls again and again
 * would cause one of each, for each of its networks, every time. So a few nodes are kept at 0:
 * those of an address of which another session has ended lately. But every node that is there, of
 * use or not, makes the way to others longer. So an address that calls once leaves no more than a
 * note of its hash, and the end of its session lets go of one node that is kept, if any is: what is
 * of no use any more is gone soon, and what is in use is kept anew.
 *
 *  - A cached node has CACHED, its key is in its slot, and the slot says so. All that is changed
 *    by who has the slot to himself; who finds it taken deletes his node, as if there was none.
 *  - CACHED is set by swapping exactly 0 for it. A count that returns to 0 with CACHED is left
 *alone.
 *  - Who takes the slot for another node lets go of this one: he clears CACHED by one operation,
 *    which says whether the count is 0. If it is, he goes on as the one who has brought it
 *    there; if not, that will be somebody else.
 *  - A cached node takes no room from others: where the trie is full, they are let go of.
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

/* Insert a node with a count of @n. Returns 0 or a negative errno. */
static __always_inline int node_add(const struct cc_count_key *key, __s64 n)
{
	struct cc_count node = { .word = CC_COUNT_ZERO(key->prefixlen) + n * CC_COUNT_ONE };
	int err = node_insert(key, &node);

	if (!err)
		nodes_add(1);
	return err;
}

/*
 * Delete a node that is DEAD by our hand and take its count out.
 * Returns what was in it: additions that are now the caller's to make again.
 */
static __always_inline __s64 node_reap(const struct cc_count_key *key, struct cc_count *node)
{
	__s64 zero = CC_COUNT_ZERO(key->prefixlen);
	int err = node_delete(key);

	if (err) {
		/* The trie's lock timed out. The node stays, at 0, until it is used again. */
		__sync_fetch_and_and(&node->word, ~(__s64)CC_COUNT_DEAD);
		return 0;
	}
	nodes_add(-1);
	return __sync_lock_test_and_set(&node->word, zero | CC_COUNT_DEAD | CC_COUNT_GONE) >>
	       CC_COUNT_SHIFT;
}

/* The node of a key, or NULL: a shorter prefix comes where there is none. */
static __always_inline struct cc_count *node_find(const struct cc_count_key *key)
{
	struct cc_count *node = bpf_map_lookup_elem(&counts, key);

	return node && CC_COUNT_LENGTH(node->word) == key->prefixlen ? node : NULL;
}

/* --- nodes that are kept --------------------------------------------------------------------- */

/*
 * Of what addresses sessions have ended lately, by hash. It only says what is worth keeping, so it
 * is read and written as it comes, and is not part of a set of maps.
 *
 * So few, because what is kept has to fit: 64 IPv6 addresses have 576 networks. More of them than
 * there are slots would only displace each other.
 */
enum { SEEN_MAX = 64 };
__u64 seen[SEEN_MAX];

/* Multiplicative hashing; @salt is anything else that an address may differ by. */
static __always_inline __u64 address_hash(__u64 salt, const __be32 addr[4])
{
	__u64 hash = salt * 0x9e3779b97f4a7c15;

	hash = (hash ^ addr[0] ^ (__u64)addr[1] << 32) * 0xbf58476d1ce4e5b9;
	return (hash ^ hash >> 32 ^ addr[2] ^ (__u64)addr[3] << 32) * 0x94d049bb133111eb;
}

static __always_inline __u64 key_hash(const struct cc_count_key *key)
{
	return address_hash(key->prefixlen | (__u64)key->listener << 32 | (__u64)key->family << 48,
			    key->addr);
}

/* Have a slot to oneself, until cache_unlock(). Nobody waits: false if another program has it. */
static __always_inline bool cache_trylock(struct cc_cache_slot *slot)
{
	return !fault_busy() && __sync_val_compare_and_swap(&slot->busy, 0, 1) == 0;
}

static __always_inline void cache_unlock(struct cc_cache_slot *slot)
{
	__sync_lock_test_and_set(&slot->busy, 0);
}

/* Set whether the node that a slot names is kept; the slot is the caller's. */
static __always_inline void cache_set(struct cc_cache_slot *slot, __u32 is_cached)
{
	struct cc_fill *entry = fill_get();

	if (entry && slot->cached != is_cached)
		__sync_fetch_and_add(&entry->cached, is_cached ? 1 : -1);
	slot->cached = is_cached;
}

/*
 * Keep a node that has returned to 0.
 * @evicted: gets the key of a node that must be let go of instead; or else prefixlen 0.
 * Returns false if it is not kept.
 */
static __always_inline bool cache_enter(const struct cc_count_key *key, struct cc_count *node,
					struct cc_count_key *evicted)
{
	__s64 zero = CC_COUNT_ZERO(key->prefixlen);
	__u32 index = key_hash(key) >> 48 & (CC_CACHE_SLOTS - 1);
	struct cc_cache_slot *slot = bpf_map_lookup_elem(&cache, &index);

	if (!slot || !cache_trylock(slot))
		return false;
	/* Unless somebody has added since. */
	if (__sync_val_compare_and_swap(&node->word, zero, zero | CC_COUNT_CACHED) == zero) {
		if (slot->cached)
			*evicted = slot->key;
		cache_set(slot, 1);
		slot->key = *key;
	}
	cache_unlock(slot);
	return true;
}

/* --- a count --------------------------------------------------------------------------------- */

/* Note that a change of a count could not be entered. */
static __always_inline void count_lost(const struct cc_count_key *key)
{
	struct cc_tally *tally = tally_get(bpf_ntohs(key->listener), bpf_ntohs(key->family));

	if (tally)
		lost_add(tally);
}

/* A change of a count that is under way. */
struct change {
	struct cc_count_key key;
	int err;    /* what count_change() is to return */
	__s64 todo; /* what is yet to be entered */
	bool cacheable, carried;
	struct cc_count_key *evicted;
};

/* Try to make a change. Returns false if the node has moved to its next state meanwhile. */
static __always_inline bool change_try(struct change *change)
{
	__s64 zero = CC_COUNT_ZERO(change->key.prefixlen), word;
	struct cc_count *node = node_find(&change->key);

	if (!node) {
		int err = change->todo ? node_add(&change->key, change->todo) : 0;

		if (err == -EEXIST)
			return false;
		change->err = change->todo && !err ? 1 : err;
		return true;
	}

	if (change->todo)
		word = __sync_fetch_and_add(&node->word, change->todo * CC_COUNT_ONE) +
		       change->todo * CC_COUNT_ONE;
	else
		word = __sync_fetch_and_and(&node->word, ~(__s64)CC_COUNT_CACHED) &
		       ~(__s64)CC_COUNT_CACHED;
	if (word & CC_COUNT_GONE)
		return false;
	change->err = 0;
	/* With any flag, the node is in somebody else's care. */
	if (word != zero)
		return true;
	/* We brought it to 0. Unless it is kept, or somebody has added since, it goes. */
	if (change->cacheable && !change->carried &&
	    cache_enter(&change->key, node, change->evicted))
		return true;
	if (__sync_val_compare_and_swap(&node->word, zero, zero | CC_COUNT_DEAD) != zero)
		return true;
	change->todo = node_reap(&change->key, node);
	/* What is to be entered now is others'. */
	change->carried = change->todo;
	change->err = change->carried ? -EAGAIN : 1;
	return !change->carried;
}

/* The same, for bpf_loop(). */
static long change_retry(__u32 index, void *change)
{
	(void)index;
	return change_try(change);
}

/*
 * count_change() - add to the count of one prefix, or let go of its node.
 * @of: its key.
 * @n: +1, -1, or 0 for a node that was kept and is so no more.
 * @absent: the node is thought not to be there: try to insert it before looking it up.
 * @cacheable: keep it if it returns to 0.
 * @evicted: gets the key of a node that is to be let go of; or else prefixlen 0. It may be @of.
 *
 * May be called on any CPU at any time, also by a program that interrupts another one here.
 * A function of its own to the verifier, which checks it once and not once per level.
 *
 * Returns 0, or 1 if the node was inserted or is deleted; or a negative errno if @n was not
 * entered: the trie is full (-ENOSPC), there is no memory (-ENOMEM), its lock timed out
 * (-ETIMEDOUT, from 6.15), or retries are spent (-EAGAIN). What others added and this call could
 * not carry over is reported as `lost`.
 */
int count_change(const struct cc_count_key *of, int n, int absent, bool cacheable,
		 struct cc_count_key *evicted)
{
	struct change change;

	if (!of || !evicted)
		return 0;
	change = (struct change){
		.key = *of, /* up to 6.2, a map's key is to be on one's own stack */
		.err = -EAGAIN,
		.todo = n,
		.cacheable = cacheable,
		.evicted = evicted,
	};
	evicted->prefixlen = 0;
	if (is_baseline())
		return baseline_add(&change.key, n, absent);
	if (n < 0 && loses())
		return 0;
	if (absent && n > 0 && node_add(&change.key, n) == 0)
		return 1;
	/* The kernel's loop, as the verifier goes through one of ours as often as it can run. */
	if (!change_try(&change))
		bpf_loop(COUNT_RETRIES - 1, change_retry, &change, 0);
	if (change.err >= 0 || !change.carried)
		return change.err;
	count_lost(&change.key);
	return 0;
}

/* --- making room ----------------------------------------------------------------------------- */

/* Let go of the node that a slot keeps; for bpf_loop(), which goes on until one is deleted. */
static long cache_evict_one(__u32 index, void *unused)
{
	struct cc_cache_slot *slot = bpf_map_lookup_elem(&cache, &index);
	struct cc_count_key key;
	bool was_cached;

	(void)unused;
	if (!slot || !*(volatile __u32 *)&slot->cached || !cache_trylock(slot))
		return 0;
	key = slot->key;
	was_cached = slot->cached;
	cache_set(slot, 0);
	cache_unlock(slot);
	return was_cached && count_change(&key, 0, 0, false, &key) > 0;
}

/* Whether any node is kept. */
static __always_inline bool cache_is_used(void)
{
	struct cc_fill *entry = fill_get();

	return entry && *(volatile __s64 *)&entry->cached > 0;
}

/* Make room in a trie that is full, if any node is kept. Returns whether there is. */
static __always_inline bool cache_evict(void)
{
	/* To one more than there are: who got there deleted none. */
	return cache_is_used() &&
	       bpf_loop(CC_CACHE_SLOTS + 1, cache_evict_one, NULL, 0) <= CC_CACHE_SLOTS;
}

/* The slot whose turn it is to be let go of; read and written as it comes. */
__u32 cache_turn;

/*
 * seen_recently() - note the end of a session; and if none of the same address has ended lately,
 * let go of what the next slot keeps, if anything.
 *
 * A function of its own, for its stack is not needed below.
 *
 * Returns 1 if one has, else 0.
 */
int seen_recently(const struct cc_session *session)
{
	__u64 hash, *entry;

	if (!session)
		return 0;
	hash = address_hash((__u64)session->listener << 32 | (__u64)session->family << 48,
			    session->addr);
	entry = &seen[hash >> 32 & (SEEN_MAX - 1)];
	if (*entry == hash)
		return 1;
	*entry = hash;
	if (cache_is_used())
		cache_evict_one(cache_turn++ & (CC_CACHE_SLOTS - 1), NULL);
	return 0;
}

/*
 * count_finish() - what is left to do of a change that was not made, or that evicted a node.
 * @key, @n: as they were given to count_change().
 * @err: what that returned.
 * @evicted: what it has set, or else prefixlen 0.
 *
 * A function of its own, for it is seldom called.
 *
 * Returns what count_change() would. But what cannot be taken off is `lost`, and 0 returned.
 */
int count_finish(const struct cc_count_key *key, int n, int err, struct cc_count_key *evicted)
{
	if (!key || !evicted)
		return 0;
	if (err == -ENOSPC && cache_evict())
		err = count_change(key, n, 0, false, evicted);
	if (evicted->prefixlen)
		count_change(evicted, 0, 0, false, evicted);
	if (err >= 0 || n > 0)
		return err;
	count_lost(key);
	return 0;
}

#endif
