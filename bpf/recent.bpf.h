/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * recent.bpf.h - count connections by window of time (recent.h).
 *
 * A connection is entered for every level of its address, once: when its session starts. It is
 * never taken off; its window ends.
 *
 * The lock of a group is held from the search for an entry to the addition. Otherwise the entry
 * could be given to another network in between, which would get the addition. Nothing waits inside:
 * the kernel permits no call of a helper while a program holds a lock. So the clock is read before,
 * and a program can be stalled between the two:
 *
 *  - It may find a slot of a later epoch than its own. Its window is no longer kept: it adds
 *    nothing.
 *  - It may enter a network after another program, by a later clock, evicted that network. So an
 *    entry is born by the latest clock that any program had here, not by that of the program.
 *
 * Readers take no lock. They try again if `version` was odd or has changed meanwhile. It changes
 * only when an entry gets another network: an addition to a slot is one store.
 *
 * tests/model/ checks this.
 */
#ifndef CONNCOUNT_RECENT_BPF_H
#define CONNCOUNT_RECENT_BPF_H

#include "maps.bpf.h"

/* The configured windows. `load` sets them. */
const volatile struct cc_windows windows = {};

/*
 * Whether `recent` is also that of the set which this one replaces (the maps `former` is of). Both
 * sets may see the same connection. `load` sets it.
 */
const volatile bool windows_shared = false;

/* Whether connections are counted by window at all. */
static __always_inline bool windows_are_kept(void)
{
	return windows.n;
}

/* A moment, by the kernel's clock, and the slots of its windows. */
struct moment {
	__u32 seconds;
	__u32 epoch[CC_WINDOWS_MAX];
	__u32 slot[CC_WINDOWS_MAX];
};

static __always_inline void moment_now(struct moment *ret)
{
	__u32 first = 0;

	ret->seconds = bpf_ktime_get_boot_ns() / 1000000000;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CC_WINDOWS_MAX; i++) {
		if (i >= windows.n)
			break;
		ret->epoch[i] = ret->seconds / windows.window[i].seconds;
		ret->slot[i] = first + ret->epoch[i] % windows.window[i].slots;
		first += windows.window[i].slots;
	}
}

/* Slot @index of an array of slots. For the verifier: never one that is not there. */
static __always_inline struct cc_recent_slot *slot_at(struct cc_recent_slot *slots, __u32 index)
{
	return &slots[index < windows.slots ? index : 0];
}

/*
 * Entry @index of a group. In assembly, because up to Linux 6.1 the verifier knows the limits of a
 * product only if its second factor is a constant, and the compiler may exchange the two.
 */
static __always_inline struct cc_recent_entry *entry_at(struct cc_recent_group *group, __u32 index)
{
	__u64 offset = index & (CC_RECENT_ENTRIES - 1);

	asm("%0 *= %1" : "+r"(offset) : "r"(CC_RECENT_ENTRY_SIZE(windows.slots)));
	return (void *)((char *)CC_RECENT_ENTRY(group, windows.slots, 0) + offset);
}

/* Write a slot in one access: readers see the epoch and its count together. */
static __always_inline void slot_set(struct cc_recent_slot *slot, __u32 epoch, __u64 count)
{
	struct cc_recent_slot fresh = {
		.epoch = epoch,
		.count = count < 0xffffffff ? count : 0xffffffff,
	};

	*(volatile __u64 *)slot = *(__u64 *)&fresh;
}

/* Add 1 in every window. Returns whether any of them begins with it. */
static __always_inline bool entry_add(struct cc_recent_entry *entry, const struct moment *now)
{
	bool begins = false;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CC_WINDOWS_MAX; i++) {
		struct cc_recent_slot *slot;

		if (i >= windows.n)
			break;
		slot = slot_at(entry->slot, now->slot[i]);
		if (slot->epoch == now->epoch[i])
			slot_set(slot, now->epoch[i], (__u64)slot->count + 1);
		if (slot->epoch >= now->epoch[i])
			continue;
		slot_set(slot, now->epoch[i], 1);
		begins = true;
	}
	return begins;
}

/* --- eviction -------------------------------------------------------------------------------- */

/* What a group has lost in the window of a slot. */
static __always_inline __u32 slot_lost(const struct cc_recent_slot *lost, __u32 epoch)
{
	return lost->epoch == epoch ? lost->count : 0;
}

enum {
	COUNT_WEIGHT = 4,
	WORTH_MOST = 1 << 30,
};

/*
 * What an entry is worth: of all that a network can take, the one worth least is evicted. That is
 * what it has counted in the windows that are kept, and with less weight what it may have missed.
 * Without the latter, the errors of all who come and go would grow much faster; with the same
 * weight they would evict networks that have counted more (tests/bench/README.md). It is kept in
 * the group, where 32 are compared at once, and found again when a window begins.
 */
static __always_inline __u32 entry_worth(struct cc_recent_group *group,
					 struct cc_recent_entry *entry, const struct moment *now)
{
	volatile __u64 *worth = &group->sum;
	__u32 index = 0;

	*worth = 0;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CC_WINDOWS_MAX; i++) {
		if (i >= windows.n)
			break;
#pragma clang loop unroll(disable)
		for (__u32 j = 0; j < CC_WINDOW_SLOTS_MAX; j++, index++) {
			const struct cc_recent_slot *slot;

			if (j >= windows.window[i].slots)
				break;
			slot = slot_at(entry->slot, index);
			if (slot->count && slot->epoch + windows.window[i].slots > now->epoch[i])
				*worth += (__u64)slot->count * COUNT_WEIGHT +
					  cc_recent_error(entry->born, entry->error, slot->epoch,
							  windows.window[i].seconds, entry->error);
		}
	}
	return *worth < WORTH_MOST ? *worth : WORTH_MOST;
}

/* Have the group remember what an entry has counted that is about to get another network. */
static __always_inline void entry_evict(struct cc_recent_group *group,
					struct cc_recent_entry *entry)
{
	__u32 index = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CC_WINDOWS_MAX; i++) {
		if (i >= windows.n)
			break;
#pragma clang loop unroll(disable)
		for (__u32 j = 0; j < CC_WINDOW_SLOTS_MAX; j++, index++) {
			const struct cc_recent_slot *slot;
			struct cc_recent_slot *lost;
			__u32 before;
			__u64 sum;

			if (j >= windows.window[i].slots)
				break;
			slot = slot_at(entry->slot, index);
			lost = slot_at(group->lost, index);
			if (!slot->count || lost->epoch > slot->epoch)
				continue;
			before = slot_lost(lost, slot->epoch);
			sum = (__u64)slot->count +
			      cc_recent_error(entry->born, entry->error, slot->epoch,
					      windows.window[i].seconds, before);
			slot_set(lost, slot->epoch, sum > before ? sum : before);
		}
	}
}

/* --- entries --------------------------------------------------------------------------------- */

/* The most that any network has lost in a window of a moment: the error of a new entry. */
static __always_inline __u32 group_error(struct cc_recent_group *group, const struct moment *now)
{
	__u32 error = 0;

	/* The windows that the latest clock was in may be later ones than those of this moment. */
	if (now->seconds < group->latest)
		return 0xffffffff;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CC_WINDOWS_MAX; i++) {
		__u32 lost;

		if (i >= windows.n)
			break;
		lost = slot_lost(slot_at(group->lost, now->slot[i]), now->epoch[i]);
		error = lost > error ? lost : error;
	}
	return error;
}

/* Whether an entry counts in no window that is kept. */
static __always_inline bool entry_is_free(const struct cc_recent_group *group, __u32 index)
{
	index &= CC_RECENT_ENTRIES - 1;
	return !group->tag[index] || group->last[index] + windows.reach < group->latest;
}

/*
 * Tell readers that an entry begins, or ends, to get another network. An exchange is a full
 * barrier; an addition whose result nobody needs is none on arm64.
 */
static __always_inline void version_next(struct cc_recent_group *group)
{
	__sync_lock_test_and_set(&group->version, group->version + 1);
}

/* Give an entry to a network. Returns whether that evicts another one. */
static __always_inline bool entry_take(struct cc_recent_group *group, __u32 index,
				       const struct cc_recent_key *key, __u32 tag,
				       const struct moment *now)
{
	struct cc_recent_entry *entry = entry_at(group, index);
	bool evicts = !entry_is_free(group, index);

	version_next(group);
	entry_evict(group, entry);
	entry->key = *key;
	entry->born = group->latest + 1;
	entry->error = group_error(group, now);
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CC_WINDOW_SLOTS_MAX; i++) {
		if (i >= windows.slots)
			break;
		slot_set(slot_at(entry->slot, i), 0, 0);
	}
	group->tag[index & (CC_RECENT_ENTRIES - 1)] = tag;
	version_next(group);
	return evicts;
}

/* --- a group --------------------------------------------------------------------------------- */

static __always_inline bool key_equal(const struct cc_recent_key *a, const struct cc_recent_key *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}

/* Entry @i of a set, as an index of the group. */
static __always_inline __u32 in_set(__u32 set, __u32 i)
{
	return (set & (CC_RECENT_ENTRIES - CC_RECENT_WAYS)) + i;
}

/* Choose the entry in a set that a network has. Returns false if it has none there. */
static __always_inline bool choose_own(struct cc_recent_group *group, __u32 set, __u32 tag,
				       const struct cc_recent_key *key)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CC_RECENT_WAYS; i++) {
		if (group->tag[in_set(set, i)] == tag &&
		    key_equal(&entry_at(group, in_set(set, i))->key, key)) {
			group->chosen = in_set(set, i);
			return true;
		}
	}
	return false;
}

/* The number of the first free entry of a set; CC_RECENT_WAYS if there is none. */
static __always_inline __u32 set_free(const struct cc_recent_group *group, __u32 set)
{
	__u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < CC_RECENT_WAYS; i++)
		if (entry_is_free(group, in_set(set, i)))
			break;
	return i;
}

/*
 * Choose a free entry: the first one of the set where it comes first, which is the set that has
 * more of them until each entry was used once. Returns false if neither set has any.
 */
static __always_inline bool choose_free(struct cc_recent_group *group,
					const struct cc_recent_place *place)
{
	volatile __u32 *room = group->room;
	bool second;

	room[0] = set_free(group, place->set[0]);
	room[1] = set_free(group, place->set[1]);
	second = room[1] < room[0];
	group->chosen = second ? in_set(place->set[1], room[1]) : in_set(place->set[0], room[0]);
	return room[second] < CC_RECENT_WAYS;
}

/* Choose the entry to evict. */
static __always_inline void choose_least(struct cc_recent_group *group,
					 const struct cc_recent_place *place)
{
	group->least = ~0ULL;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < 2 * CC_RECENT_WAYS; i++) {
		__u32 index = in_set(place->set[i / CC_RECENT_WAYS], i % CC_RECENT_WAYS);
		__u32 worth = group->worth[index & (CC_RECENT_ENTRIES - 1)];

		if (worth >= group->least)
			continue;
		group->least = worth;
		group->chosen = index;
	}
}

/*
 * Count a connection in a group, whose lock the caller holds. Returns whether that evicted another
 * network.
 *
 * The chosen entry, and the sums that an entry's worth is made of, are kept in the group, not in
 * variables: the verifier then does not tell apart the ways by which they came about.
 */
static __always_inline bool group_add(struct cc_recent_group *group,
				      const struct cc_recent_key *key,
				      const struct cc_recent_place *place, const struct moment *now)
{
	bool evicts = false;
	__u32 index;

	if (group->latest < now->seconds)
		group->latest = now->seconds;
	if (!choose_own(group, place->set[0], place->tag, key) &&
	    !choose_own(group, place->set[1], place->tag, key)) {
		if (!choose_free(group, place))
			choose_least(group, place);
		evicts = entry_take(group, *(volatile __u32 *)&group->chosen, key, place->tag, now);
	}
	index = *(volatile __u32 *)&group->chosen & (CC_RECENT_ENTRIES - 1);
	group->last[index] = group->latest;
	if (entry_add(entry_at(group, index), now))
		group->worth[index] = entry_worth(group, entry_at(group, index), now);
	else if (group->worth[index] < WORTH_MOST)
		group->worth[index] += COUNT_WEIGHT * windows.n;
	return evicts;
}

/* Count one more network that was evicted. */
static __always_inline void evicted_add(void)
{
	struct cc_fill *fill = fill_get();

	if (fill)
		__sync_fetch_and_add(&fill->evicted, 1);
}

/*
 * recent_add() - count a connection for one network.
 * @of: the network, on its listener.
 * @now: when the connection was opened.
 *
 * A global function, so that the verifier checks it once and not for every level. Returns 0.
 */
int recent_add(const struct cc_recent_key *of, const struct moment *now)
{
	struct cc_recent_group *group;
	struct cc_recent_place place;
	struct recent_lock *lock;
	bool evicted;

	if (!of || !now || !windows_are_kept())
		return 0;
	place = cc_recent_place(windows.seed, windows.groups, of);
	group = bpf_map_lookup_elem(&recent, &place.group);
	lock = bpf_map_lookup_elem(&recent_locks, &place.group);
	if (!group || !lock)
		return 0;
	bpf_spin_lock(&lock->lock);
	evicted = group_add(group, of, &place, now);
	bpf_spin_unlock(&lock->lock);
	if (evicted)
		evicted_add();
	return 0;
}

#endif
