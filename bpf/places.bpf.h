/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * places.bpf.h - reserve a place in a network that has a limit, until the connection is counted.
 *
 * The ACK gate (gates.bpf.h) sees the packet that ends a handshake; the sockops program, which
 * counts the connection, runs after it. If the gate only compared the count with the limit, two
 * CPUs could let two connections through where one place is left. So the gate reserves a place in
 * each network that has a limit, and counting makes the place a session:
 *
 *  - A node's word has its places beside its count. The gate compares the sum of both with the
 *    limit, and adds a place, by one compare-and-swap. Counting adds a session and subtracts the
 *    place in one addition. So at no moment is a connection missing from the sum, or in it twice.
 *  - A node with a place is not deleted, because its word is not 0. If a node is being deleted, the
 *    gate reserves nothing in it, and looks the key up again. So no place is ever carried over. If
 *    the program that deletes the node is stopped meanwhile, the gate drops the packet.
 *  - A handshake can fail after the gate: the accept queue is full, or a SYN cookie is wrong. So a
 *    CPU notes its place in its slot of `places`. If the connection is established but not counted,
 *    the sockops program gives the place back; otherwise the gate does, at the CPU's next packet to
 *    a listener. If neither runs, the place becomes stale. A gate that finds a network full because
 *    of a stale place gives it back.
 *  - The program that changes the slot's `turn` from TAKEN owns the place: it counts the session,
 *    or gives the place back.
 *
 * At most one place for each CPU is held by connections that will not be counted, and none for
 * longer than PLACE_STALE_NS if another connection wants it.
 *
 * A network can get one session more than its limit in three cases:
 *
 *  - The kernel, or the host of a virtual machine, stops a CPU for longer than PLACE_STALE_NS
 *    between the gate and the count. The place is gone by then, and the connection is counted all
 *    the same.
 *  - A program preempts another one of its CPU between the two (PREEMPT_RT).
 *  - A session without a place, of an exempt address for instance, is being carried over when it
 *    ends (counts.bpf.h).
 *
 * tests/model/ checks this, over every interleaving.
 */
#ifndef CONNCOUNT_PLACES_BPF_H
#define CONNCOUNT_PLACES_BPF_H

#include "counts.bpf.h"
#include "levels.bpf.h"

enum {
	/* Longer than the microseconds that the end of a handshake takes, and shorter than the
	 * second after which the server repeats its SYN-ACK. */
	PLACE_STALE_NS = 200000000,
	/* More than COUNT_RETRIES: here any change of the word makes a compare-and-swap fail. */
	PLACE_RETRIES = 64,
};

/* How many slots `places` has. `load` sets it. */
const volatile __u32 places_max = 1;

/* The slot of this CPU. Never NULL; a check is for the verifier. */
static __always_inline struct cc_place *place_own(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&places, &cpu);
}

static __always_inline __u64 place_state(__u64 turn)
{
	return turn & (CC_PLACE_ONE_TURN - 1);
}

/*
 * Free a slot whose `turn` was @turn, TAKEN. Returns false if another program did, or if it has
 * been used again.
 */
static __always_inline bool place_free(struct cc_place *place, __u64 turn)
{
	__u64 next = (turn & ~(__u64)(CC_PLACE_ONE_TURN - 1)) + CC_PLACE_ONE_TURN;

	return __sync_val_compare_and_swap(&place->turn, turn, next) == turn;
}

/*
 * places_return() - give back places in networks of an address.
 * @of: the listener and the address.
 * @levels: in which networks, as in struct cc_place.
 *
 * A place that cannot be given back is `lost`. A global function, as levels_add(). Returns 0.
 */
int places_return(const struct cc_session *of, __u32 levels)
{
	struct cc_count_key key = {}, evicted;
	const struct level *level;
	__u32 all;

	if (!of)
		return 0;
	key.listener = of->listener;
	key.family = of->family;
	all = level_count(of);
	level = levels_get(of);
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < all; i++, level++) {
		if (!(levels & 1U << i))
			continue;
		level_key(of, level, &key);
		if (count_change(&key, -CC_COUNT_PLACE, 0, false, &evicted) < 0)
			count_lost(&key);
		/* As in count_change(): no session of ours notes what was carried over. */
		node_note(&key);
	}
	return 0;
}

/* Copy what a slot says. */
static __always_inline __u32 place_read(const struct cc_place *place, struct cc_session *ret)
{
	ret->listener = place->listener;
	ret->family = place->family;
	__builtin_memcpy(ret->addr, place->addr, sizeof(ret->addr));
	return place->levels;
}

/*
 * place_drop() - give back the place that this CPU holds, if any. A function of its own: its stack
 * is free again before the caller's other calls.
 */
static __noinline void place_drop(void)
{
	struct cc_place *place = place_own();
	struct cc_session of = {};
	__u64 turn;
	__u32 levels;

	if (!place)
		return;
	turn = *(volatile __u64 *)&place->turn;
	if (place_state(turn) != CC_PLACE_TAKEN)
		return;
	levels = place_read(place, &of);
	if (place_free(place, turn))
		places_return(&of, levels);
}

/*
 * place_claim() - the place that the ACK gate has reserved on this CPU for a session that is about
 * to be counted. One that it has reserved for another connection of the same address does as well.
 * Returns the levels of the place, which is now the caller's; 0 if there is none.
 */
static __always_inline __u32 place_claim(const struct cc_session *session)
{
	struct cc_place *place;
	__u64 turn;
	__u32 levels;

	if (!has_limits)
		return 0;
	place = place_own();
	if (!place)
		return 0;
	turn = *(volatile __u64 *)&place->turn;
	if (place_state(turn) != CC_PLACE_TAKEN || place->listener != session->listener ||
	    place->family != session->family || place->addr[0] != session->addr[0] ||
	    place->addr[1] != session->addr[1] || place->addr[2] != session->addr[2] ||
	    place->addr[3] != session->addr[3])
		return 0;
	levels = place->levels;
	return place_free(place, turn) ? levels : 0;
}

/* Note in this CPU's slot, which is free, in which networks of an address it holds a place. */
static __always_inline bool place_note(const struct cc_session *of, __u32 levels)
{
	struct cc_place *place = place_own();
	__u64 turn;

	if (!place)
		return false;
	turn = *(volatile __u64 *)&place->turn;
	/* On a kernel where programs preempt each other (PREEMPT_RT) another one may be at work. */
	if (place_state(turn) != CC_PLACE_FREE ||
	    __sync_val_compare_and_swap(&place->turn, turn, turn | CC_PLACE_WRITTEN) != turn)
		return false;
	place->since = bpf_ktime_get_coarse_ns();
	place->listener = of->listener;
	place->family = of->family;
	__builtin_memcpy(place->addr, of->addr, sizeof(place->addr));
	place->levels = levels;
	__sync_lock_test_and_set(&place->turn, turn | CC_PLACE_TAKEN);
	return true;
}

/* --- places of connections that will not be counted ----------------------------------------------
 */

/* Whose places to give back; for bpf_loop(), over all CPUs. */
struct place_sweep {
	__s64 now; /* as in `since` */
	__be16 listener, family;
	bool all; /* of all listeners and ages */
};

/* Give back the place of a CPU, if it has one that the sweep is for. */
static long place_sweep(__u32 cpu, const struct place_sweep *wanted)
{
	struct cc_place *place = bpf_map_lookup_elem(&places, &cpu);
	struct cc_session of = {};
	__u64 turn;
	__u32 levels;
	__s64 age;

	if (!place)
		return 1;
	/* An operation that orders the reads after it. */
	turn = __sync_fetch_and_add(&place->turn, 0);
	if (place_state(turn) != CC_PLACE_TAKEN)
		return 0;
	/* Less than 0 if it has been taken since. */
	age = wanted->now - (__s64)place->since;
	levels = place_read(place, &of);
	if (!wanted->all && (of.listener != wanted->listener || of.family != wanted->family ||
			     age < PLACE_STALE_NS))
		return 0;
	if (place_free(place, turn))
		places_return(&of, levels);
	return 0;
}

/*
 * places_reclaim() - give back the stale places in networks of a listener and family.
 * @of: with both.
 * A global function, as levels_add(). Returns 0.
 */
int places_reclaim(const struct cc_session *of)
{
	struct place_sweep wanted = {};

	if (!of || !has_limits)
		return 0;
	wanted.now = (__s64)bpf_ktime_get_coarse_ns();
	wanted.listener = of->listener;
	wanted.family = of->family;
	bpf_loop(places_max, place_sweep, &wanted, 0);
	return 0;
}

/* --- one network -------------------------------------------------------------------------------
 */

enum {
	PLACE_RESERVED = 0,
	PLACE_FULL,    /* the network has as many sessions as the limit */
	PLACE_HELD,    /* as many sessions and places of others; or its node did not stand still */
	PLACE_UNKNOWN, /* no memory, or no room: the session will be uncounted */
};

/* A search for a place. */
struct place_search {
	struct cc_count_key key;
	__u32 over;
	int result; /* PLACE_*; of a try that failed, HELD */
};

/* Try to reserve a place. Returns false if another program changed the node meanwhile. */
static __always_inline bool place_try(struct place_search *search)
{
	struct cc_count *node = node_find(&search->key);
	__s64 word, count;

	if (!node) {
		int err = node_add(&search->key, CC_COUNT_PLACE);

		if (err == -EEXIST)
			return false;
		search->result = err ? PLACE_UNKNOWN : PLACE_RESERVED;
		return true;
	}
	word = *(volatile __s64 *)&node->word;
	if (word & (CC_COUNT_DEAD | CC_COUNT_GONE))
		return false;
	count = word >> CC_COUNT_SHIFT;
	if (count + CC_COUNT_PLACES(word) >= search->over) {
		search->result = count >= search->over ? PLACE_FULL : PLACE_HELD;
		return true;
	}
	if (__sync_val_compare_and_swap(&node->word, word, word + CC_COUNT_PLACE) != word)
		return false;
	search->result = PLACE_RESERVED;
	return true;
}

/* place_try(), for bpf_loop(). */
static long place_retry(__u32 index, void *search)
{
	(void)index;
	return place_try(search);
}

/*
 * place_reserve() - reserve a place in a network.
 * @of: the key of the network.
 * @over: how many sessions it may have.
 *
 * If all retries are used, the result is HELD. The node can be DEAD for long, if the program that
 * deletes it is stopped, and all connections that come meanwhile would exceed the limit.
 *
 * A global function, as count_change(). Returns PLACE_*.
 */
int place_reserve(const struct cc_count_key *of, __u32 over)
{
	struct place_search search = {};

	if (!of)
		return PLACE_UNKNOWN;
	search.key = *of;
	search.over = over;
	search.result = PLACE_HELD;
	if (!place_try(&search))
		bpf_loop(PLACE_RETRIES, place_retry, &search, 0);
	return search.result;
}

#endif
