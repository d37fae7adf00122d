/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * recent.h - how the `recent` map holds the connections of the last windows of time.
 *
 * The BPF programs and user space share this file. abi.h has the configuration, struct cc_windows.
 *
 * A value of the map is a group: CC_RECENT_ENTRIES entries, in sets of CC_RECENT_WAYS. The hash of
 * a network selects a group, and two sets in it: its entry is in one of them, or nowhere. So a
 * group fills evenly, and one lock is enough.
 *
 * An entry has a slot for each window that is kept, also the current ones. Windows are numbered
 * from the kernel's boot by their length: that number is an epoch. The slot of an epoch is its
 * remainder by the number of slots: so a window that begins takes the slot of the one that is no
 * longer kept, and nobody has to clear it.
 *
 * An entry that is evicted takes its counts along. The group keeps, per slot, the largest number of
 * connections that any of its networks may have lost so: that is the error of a network without an
 * entry. A network that gets an entry later is exact in every window that begins after that.
 *
 * Times are seconds of CLOCK_BOOTTIME, which the programs and every window count from 0.
 */
#ifndef CONNCOUNT_RECENT_H
#define CONNCOUNT_RECENT_H

#include "abi.h"

enum {
	CC_RECENT_ENTRIES = 256,
	CC_RECENT_WAYS = 16,
};

/* A network, on one listener. */
struct cc_recent_key {
	__be16 listener; /* id */
	__be16 family;   /* CC_IPV4 or CC_IPV6 */
	__be32 addr[4];  /* as in struct cc_count_key */
	__u32 length;    /* the network's: 0 or a level */
};

/* What happened in one window. Read and written in one access of 64 bits. */
struct cc_recent_slot {
	__u32 epoch;
	__u32 count; /* UINT32_MAX: that many or more */
} __attribute__((aligned(8)));

struct cc_recent_entry {
	struct cc_recent_key key;
	__u32 born;                   /* before this second, connections may be missing */
	__u32 error;                  /* how many at most, in the windows in which it was born */
	struct cc_recent_slot slot[]; /* as many as struct cc_windows says */
};

/* `lost` is followed by the entries. */
struct cc_recent_group {
	__u64 version; /* odd while an entry gets another network; then a reader tries again */
	__u32 latest;  /* the latest clock of a program that held the lock */
	/* Only the program that holds the lock uses these: */
	__u32 chosen, room[2];
	__u64 sum, least;
	__u32 tag[CC_RECENT_ENTRIES];   /* bits of the hash; 0: the entry was never used */
	__u32 last[CC_RECENT_ENTRIES];  /* when the entry last counted a connection */
	__u32 worth[CC_RECENT_ENTRIES]; /* what it has counted, roughly: see recent.bpf.h */
	struct cc_recent_slot lost[];   /* as many as an entry has slots */
};

/* Bytes of an entry, and of a group. @slots: of struct cc_windows. */
#define CC_RECENT_ENTRY_SIZE(slots) \
	(sizeof(struct cc_recent_entry) + (slots) * sizeof(struct cc_recent_slot))
#define CC_RECENT_GROUP_SIZE(slots)                                                 \
	(sizeof(struct cc_recent_group) + (slots) * sizeof(struct cc_recent_slot) + \
	 CC_RECENT_ENTRIES * CC_RECENT_ENTRY_SIZE(slots))

/* Entry @index of a group, which must be below CC_RECENT_ENTRIES. */
#define CC_RECENT_ENTRY(group, slots, index)                                           \
	((struct cc_recent_entry *)((char *)(group) + sizeof(struct cc_recent_group) + \
				    (slots) * sizeof(struct cc_recent_slot) +          \
				    (index)*CC_RECENT_ENTRY_SIZE(slots)))

/* Where the entry of a network can be. */
struct cc_recent_place {
	__u32 group;  /* index in the map */
	__u32 set[2]; /* index of their first entries */
	__u32 tag;    /* not 0 */
};

/*
 * Multiplicative hashing, with a secret: nobody outside can choose addresses of one group. @seed,
 * @groups: of struct cc_windows.
 */
static inline struct cc_recent_place cc_recent_place(__u64 seed, __u32 groups,
						     const struct cc_recent_key *key)
{
	__u64 hash = seed ^ ((__u64)key->listener << 32 | (__u64)key->family << 48 | key->length);
	__u32 set;

	hash = (hash ^ hash >> 29) * 0x9e3779b97f4a7c15;
	hash = (hash ^ key->addr[0] ^ (__u64)key->addr[1] << 32) * 0xbf58476d1ce4e5b9;
	/* A product changes by its highest bit with the factor's, whatever the secret is: so the
	 * rest of the address must not be able to change it back. */
	hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15;
	hash = (hash ^ hash >> 32 ^ key->addr[2] ^ (__u64)key->addr[3] << 32) * 0x94d049bb133111eb;
	hash = (hash ^ hash >> 31) * 0xbf58476d1ce4e5b9;
	hash ^= hash >> 32;
	set = hash & (CC_RECENT_ENTRIES / CC_RECENT_WAYS - 1);
	return (struct cc_recent_place){
		.group = (__u32)((hash >> 32) * groups >> 32),
		.set = { set * CC_RECENT_WAYS, (set ^ (1 + (hash >> 4 & 7))) * CC_RECENT_WAYS },
		.tag = (__u32)(hash >> 7) | 1,
	};
}

/*
 * How many connections may be missing from an entry's count of one window. @lost: what the group
 * has lost in that window.
 */
static inline __u32 cc_recent_error(__u32 born, __u32 error, __u32 epoch, __u32 seconds, __u32 lost)
{
	__u64 start = (__u64)epoch * seconds;

	if (born <= start)
		return 0;
	return born <= start + seconds && error < lost ? error : lost;
}

_Static_assert(sizeof(struct cc_recent_key) == 24, "cc_recent_key");
_Static_assert(sizeof(struct cc_recent_slot) == 8, "cc_recent_slot");
_Static_assert(sizeof(struct cc_recent_entry) == 32, "cc_recent_entry");
_Static_assert(sizeof(struct cc_recent_group) % 8 == 0, "cc_recent_group");

#endif
