/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * counts.bpf.h - change the count of one prefix, exactly and without a lock.
 *
 * The difficulty is the end of a node. A missing node means a count of 0, so a node whose count
 * returns to 0 is deleted, sooner or later: otherwise the trie would fill with the address of every
 * past client. But a deletion takes effect some time after the decision to delete, and a session
 * that starts in between adds to a node that is about to go. The protocol makes sure of one of two
 * things. Either the deleting program sees such an addition, and carries it over to a new node; or
 * the adding program sees that it is too late, and starts again. A node's word has these states:
 *
 *	live        count, no flags      in the trie
 *	  | the program that brought the count to 0, or evicts the node, swaps exactly 0 for DEAD
 *	DEAD        count | DEAD         in the trie, then not
 *	  | the same program deletes the node, then swaps the word for DEAD|GONE
 *	DEAD|GONE   any                  not in the trie, memory valid until our run ends
 *
 * (The word always holds the length of the node's key as well. "To swap 0" means to swap the word
 * that holds nothing else, CC_COUNT_ZERO.)
 *
 * Why no count is lost or entered twice:
 *
 *  - One fetch-and-add both enters an addition and returns the flags, which say where the addition
 *    went. No flag: it is in a live count. DEAD alone: nobody has taken the word out yet, and the
 *    program that does will find the addition in it. GONE: the word was taken out before, nobody
 *    will read it again, and we must make the addition again.
 *  - Only one program can swap 0 for DEAD. So only one deletes the node, and only one takes the
 *    word out, exactly once.
 *  - The deletion cannot hit another node of the same key: while this one is linked, inserts
 *    with BPF_NOEXIST fail, and nobody else deletes it.
 *  - Another program may delete the node between our look-up and our addition. But its memory is
 *    not used for another node before our run ends: the run is an RCU read section, and an LPM
 *    trie frees nodes after a grace period.
 *  - DEAD becomes live again only if the deletion failed, by the program that set it. An addition
 *    that found DEAD meanwhile is then in the live count, as if it had found no flag.
 *
 * Inserts and deletes are most of the cost of counting. A client that connects again and again
 * would cause one of each, for each of its prefixes, every time. So a few nodes are cached at 0:
 * those of an address of which another session has ended recently. But every node, useful or not,
 * lengthens the look-up of others. So an address that connects once leaves only its hash, and the
 * end of its session evicts one cached node, if there is one. Nodes that nobody uses are soon gone,
 * and nodes in use are cached again.
 *
 *  - A cached node has CACHED, a slot has its key, and the slot says so. Only the program that
 *    holds the slot changes any of this. A program that finds the slot held deletes its node, as
 *    if there were no cache.
 *  - CACHED is set by swapping exactly 0 for it. A count that returns to 0 with CACHED stays.
 *  - Reusing the slot evicts its node by clearing CACHED, in one operation, which also says
 *    whether the count is 0. If it is, the evicting program goes on as if it had brought the count
 *    to 0; if not, another program will do that later.
 *  - A cached node takes no room from others: where the trie is full, cached nodes are evicted.
 *
 * The protocol needs LPM tries that honour BPF_NOEXIST (Linux commit eae6a075e953: 6.13, and
 * 6.12.5, 6.1.120, 5.10.231) and free nodes by RCU (all do).
 *
 * tests/model/ checks all this, over every interleaving.
 *
 * What a reader may see: an addition that found DEAD is in no node from the deletion until the
 * deleting program has entered it again. For that moment the count is too small: well under a
 * microsecond, unless the program loses its CPU there. Three programs stalled at the right steps
 * can make it too large. It is right whenever no program deletes or carries that key.
 *
 * Counts are signed. A session never subtracts before it has added (sessions.bpf.h). But an
 * addition being carried over is in no count for a moment, and the same session's end can overtake
 * it: then a node of -1 is in the trie until the carried +1 arrives.
 */
#ifndef CONNCOUNT_COUNTS_BPF_H
#define CONNCOUNT_COUNTS_BPF_H

#include "cluster.bpf.h"
#include "faults.bpf.h"
#include "maps.bpf.h"
#include <bpf/bpf_endian.h>

enum {
	/*
	 * Each retry means that another CPU, or a program that this one interrupted, moved the
	 * node to its next state meanwhile. Two are rare.
	 */
	COUNT_RETRIES = 16,
};

/* Count @n more nodes in the trie. */
static __always_inline void nodes_add(__s64 n)
{
	struct cc_fill *entry = fill_get();

	if (entry)
		__sync_fetch_and_add(&entry->nodes, n);
}

/*
 * The two operations on the trie. Cast the helpers' results to int before comparing them: before
 * Linux 6.4 (commit d7ba4cc900bf) an inlined call does not sign-extend the upper half of the
 * register.
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

/* Insert a node of which @by is the first addition. Returns 0 or a negative errno. */
static __always_inline int node_add(const struct cc_count_key *key, __s64 by)
{
	struct cc_count node = { .word = CC_COUNT_ZERO(key->prefixlen) + by };
	int err = node_insert(key, &node);

	if (!err)
		nodes_add(1);
	return err;
}

/*
 * Delete a node that we have set DEAD, and take its word out.
 * Returns the sum of the additions in it, which the caller must now make again.
 */
static __always_inline __s64 node_reap(const struct cc_count_key *key, struct cc_count *node)
{
	__s64 zero = CC_COUNT_ZERO(key->prefixlen);
	int err = node_delete(key);

	if (err) {
		/*
		 * The trie's lock timed out (Linux 6.15, commit 47979314c0fe). The node stays, at
		 * 0, until it is used again.
		 */
		__sync_fetch_and_and(&node->word, ~(__s64)CC_COUNT_DEAD);
		return 0;
	}
	nodes_add(-1);
	return __sync_lock_test_and_set(&node->word, zero | CC_COUNT_DEAD | CC_COUNT_GONE) -
	       (zero | CC_COUNT_DEAD);
}

/* The node of a key, or NULL: the helper returns a shorter prefix if there is none. */
static __always_inline struct cc_count *node_find(const struct cc_count_key *key)
{
	struct cc_count *node = bpf_map_lookup_elem(&counts, key);

	return node && CC_COUNT_LENGTH(node->word) == key->prefixlen ? node : NULL;
}

/* --- cached nodes ---------------------------------------------------------------------------- */

/*
 * Hashes of the addresses whose sessions ended recently. They only say what is worth caching, so
 * programs read and write them without synchronisation, and they are not part of a set of maps.
 *
 * They are few, because all their nodes must fit into the cache: 64 IPv6 addresses have 576
 * prefixes. With more prefixes than slots, nodes would only evict each other.
 */
enum { SEEN_MAX = 64 };
__u64 seen[SEEN_MAX];

/* Multiplicative hashing. @salt: what else tells one address from another. */
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

/* Hold a slot until cache_unlock(). Returns false at once if another program holds it. */
static __always_inline bool cache_trylock(struct cc_cache_slot *slot)
{
	return !fault_busy() && __sync_val_compare_and_swap(&slot->busy, 0, 1) == 0;
}

static __always_inline void cache_unlock(struct cc_cache_slot *slot)
{
	__sync_lock_test_and_set(&slot->busy, 0);
}

/* Set whether the node of a slot's key is cached. The caller must hold the slot. */
static __always_inline void cache_set(struct cc_cache_slot *slot, __u32 is_cached)
{
	struct cc_fill *entry = fill_get();

	if (entry && slot->cached != is_cached)
		__sync_fetch_and_add(&entry->cached, is_cached ? 1 : -1);
	slot->cached = is_cached;
}

/*
 * Cache a node whose count has returned to 0.
 * @evicted: gets the key of a node that loses its slot; unchanged if there is none.
 * Returns false if another program holds the slot.
 */
static __always_inline bool cache_enter(const struct cc_count_key *key, struct cc_count *node,
					struct cc_count_key *evicted)
{
	__s64 zero = CC_COUNT_ZERO(key->prefixlen);
	__u32 index = key_hash(key) >> 48 & (CC_CACHE_SLOTS - 1);
	struct cc_cache_slot *slot = bpf_map_lookup_elem(&cache, &index);

	if (!slot || !cache_trylock(slot))
		return false;
	/* Unless another program has added since. */
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

/* Count a change of a count that could not be entered. */
static __always_inline void count_lost(const struct cc_count_key *key)
{
	struct cc_tally *tally = tally_get(bpf_ntohs(key->listener), bpf_ntohs(key->family));

	if (tally)
		lost_add(tally);
}

/* A change of a count, in progress. */
struct change {
	struct cc_count_key key;
	int err;    /* what count_change() will return */
	__s64 todo; /* still to be entered */
	bool cacheable, carried;
	struct cc_count_key *evicted;
};

/* Try to make a change. Returns false if the node moved to its next state meanwhile. */
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
		word = __sync_fetch_and_add(&node->word, change->todo) + change->todo;
	else
		word = __sync_fetch_and_and(&node->word, ~(__s64)CC_COUNT_CACHED) &
		       ~(__s64)CC_COUNT_CACHED;
	if (word & CC_COUNT_GONE)
		return false;
	change->err = 0;
	/* With any flag, the node is another program's to delete, or cached. */
	if (word != zero)
		return true;
	/* We brought it to 0: delete it, unless it is cached or another program has added since. */
	if (change->cacheable && !change->carried &&
	    cache_enter(&change->key, node, change->evicted))
		return true;
	if (__sync_val_compare_and_swap(&node->word, zero, zero | CC_COUNT_DEAD) != zero)
		return true;
	change->todo = node_reap(&change->key, node);
	/* What remains to be entered now is other programs' additions. */
	change->carried = change->todo;
	change->err = change->carried ? -EAGAIN : 1;
	return !change->carried;
}

/* change_try(), for bpf_loop(). */
static long change_retry(__u32 index, void *change)
{
	(void)index;
	return change_try(change);
}

/*
 * count_change() - add to the count of one prefix, or to its places, or evict its node.
 * @of: its key.
 * @by: what to add to the word: CC_COUNT_ONE for each session, CC_COUNT_PLACE for each place; 0
 * evicts a node that was cached.
 * @absent: the node is probably missing: try to insert it before looking it up.
 * @cacheable: cache the node if @by brings it to 0.
 * @evicted: gets the key of a node that the caller must evict; else prefixlen 0. It may be @of.
 *
 * May run on any CPU at any time, also in a program that interrupts another one here. A global
 * function, so that the verifier checks it once and not once per level.
 *
 * Returns 0, or 1 if it inserted or deleted the node; or a negative errno if @by was not entered:
 * the trie is full (-ENOSPC), there is no memory (-ENOMEM), the trie's lock timed out (-ETIMEDOUT,
 * from Linux 6.15, commit 47979314c0fe), or all retries were used (-EAGAIN). Additions of other
 * programs that it could not carry over are `lost`.
 */
int count_change(const struct cc_count_key *of, __s64 by, int absent, bool cacheable,
		 struct cc_count_key *evicted)
{
	struct change change;

	if (!of || !evicted)
		return 0;
	change = (struct change){
		.key = *of, /* up to Linux 6.2, a map's key must be on the current frame's stack */
		.err = -EAGAIN,
		.todo = by,
		.cacheable = cacheable,
		.evicted = evicted,
	};
	evicted->prefixlen = 0;
	if (is_baseline())
		return baseline_add(&change.key, by, absent);
	if (by < 0 && loses())
		return 0;
	if (absent && by > 0 && node_add(&change.key, by) == 0)
		return 1;
	/* bpf_loop(), because the verifier follows every iteration of a loop of ours. */
	if (!change_try(&change))
		bpf_loop(COUNT_RETRIES - 1, change_retry, &change, 0);
	/* Other programs' additions may have been carried over, to a node of another session. */
	if (!by)
		node_note(&change.key);
	if (change.err >= 0 || !change.carried)
		return change.err;
	count_lost(&change.key);
	return 0;
}

/* --- making room ----------------------------------------------------------------------------- */

/* Evict the node of a slot; for bpf_loop(), which goes on until one is deleted. */
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

/* Whether any node is cached. */
static __always_inline bool cache_is_used(void)
{
	struct cc_fill *entry = fill_get();

	return entry && *(volatile __s64 *)&entry->cached > 0;
}

/* Evict a node to make room in a full trie. Returns false if none was deleted. */
static __always_inline bool cache_evict(void)
{
	/* One iteration past the last slot means that no node was deleted. */
	return cache_is_used() &&
	       bpf_loop(CC_CACHE_SLOTS + 1, cache_evict_one, NULL, 0) <= CC_CACHE_SLOTS;
}

/* The next slot whose node will be evicted; read and written without synchronisation. */
__u32 cache_turn;

/*
 * seen_recently() - note the end of a session, and tell whether another one of the same address
 * ended recently. If none did, evict the node of the next slot, if it has one.
 *
 * A function of its own: its stack is free again before the caller's other calls.
 *
 * Returns 1 if another session ended recently, else 0.
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
 * count_finish() - finish a change that was not made, or one that took the slot of another node.
 * @key, @by: the arguments of count_change().
 * @err: what it returned.
 * @evicted: what it has set.
 *
 * A function of its own, because it seldom runs.
 *
 * Returns what count_change() would, except that a subtraction that cannot be entered is `lost`:
 * then it returns 0.
 */
int count_finish(const struct cc_count_key *key, __s64 by, int err, struct cc_count_key *evicted)
{
	if (!key || !evicted)
		return 0;
	if (err == -ENOSPC && cache_evict())
		err = count_change(key, by, 0, false, evicted);
	if (evicted->prefixlen)
		count_change(evicted, 0, 0, false, evicted);
	if (err >= 0 || by > 0)
		return err;
	count_lost(key);
	return 0;
}

#endif
