/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * maps.bpf.h - the maps. abi.h has their keys and values.
 *
 * All of them but `former` and those of find.bpf.h are pinned by `load`, which also sets the size
 * of `counts` (max_prefixes).
 */
#ifndef CONNCOUNT_MAPS_BPF_H
#define CONNCOUNT_MAPS_BPF_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "abi.h"

/* Errnos of map operations, which no header has that can be included beside vmlinux.h. */
enum {
	EAGAIN = 11,
	ENOMEM = 12,
	EEXIST = 17,
	ENOSPC = 28,
	ETIMEDOUT = 110,
};

/*
 * Which table is in force, and whether counts are exact.
 * Written by `load`, through a mapping, so that its step is one store, and by the programs
 * when something cannot be counted; read by the programs and by every query. Readers that may not
 * write look it up: a read-only descriptor cannot be mapped, because the kernel takes a shared
 * mapping of one for a private mapping, which BPF maps refuse.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cc_control);
} control SEC(".maps");

/*
 * Names and services of the listeners, for both tables.
 * Written by `load`; read by readers when the generation has changed. No program uses it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct cc_config);
} configs SEC(".maps");

/*
 * Local address and port to listener id, for both tables.
 * Written by `load`; looked up by the sockops program once per inbound connection, and by
 * readers that know a session's local address.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * CC_LISTENS_MAX);
	__type(key, struct cc_listener_key);
	__type(value, struct cc_listener_id);
} listeners SEC(".maps");

/*
 * Live sessions per listener and prefix, one node per level (abi.h).
 * Written by the programs, through count_change() alone; read by readers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); /* set by `load` */
	__type(key, struct cc_count_key);
	__type(value, struct cc_count);
} counts SEC(".maps");

/*
 * Nodes of `counts` that are kept at 0 for a while.
 * Written by the programs, through counts.bpf.h alone; read by readers that tell how many nodes
 * are in use.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CC_CACHE_SLOTS);
	__type(key, __u32);
	__type(value, struct cc_cache_slot);
} cache SEC(".maps");

/*
 * What each session was counted under, so that its end takes back exactly that.
 * Written and read by the programs alone; freed with the socket.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct cc_session);
} sessions SEC(".maps");

/*
 * While a set of maps is made up beside one that counts: that one's `sessions`; else empty.
 * Written by that set's programs; read by the seeding, so that what was counted under a listener
 * stays that listener's.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct cc_session);
} former SEC(".maps");

/*
 * Sessions without a record in `sessions`. Preallocated: it is for when there is no memory.
 * Written and read by the programs alone.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CC_UNTRACKED_MAX);
	__type(key, __u64);
	__type(value, struct cc_untracked);
} untracked SEC(".maps");

/*
 * Totals per listener.
 * Written by the programs, and by `load` for an id that is given out again; read by readers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CC_LISTENERS_MAX);
	__type(key, __u32);
	__type(value, struct cc_stats);
} stats SEC(".maps");

/*
 * How full `counts` and `untracked` are: the kernel does not tell.
 * Written by the programs; read by readers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cc_fill);
} fill SEC(".maps");

/*
 * Network namespaces other than the asker's that have sessions, by inode number: not 0 if one of
 * them is on a configured listener.
 * Written by the programs of find.bpf.h; read and cleared by `load` and `verify`.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CC_NETNS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} netns_found SEC(".maps");

/*
 * The kernel's tables of connections, by where they are in its memory.
 * Written and read as `netns_found`.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CC_NETNS_MAX);
	__type(key, __u64);
	__type(value, struct cc_hash_table);
} hash_tables SEC(".maps");

/* A listener's totals for one family, or NULL if @listener is no id. */
static __always_inline struct cc_tally *tally_get(__u32 listener, __u32 family)
{
	struct cc_stats *entry = bpf_map_lookup_elem(&stats, &listener);

	return entry ? &entry->tally[CC_FAMILY_INDEX(family)] : NULL;
}

/* The one value of `control`; NULL only to the verifier. */
static __always_inline struct cc_control *control_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&control, &zero);
}

static __always_inline void inexact_add(__s64 n)
{
	struct cc_control *control = control_get();

	if (control)
		__sync_fetch_and_add(&control->inexact, n);
}

/* Note that @n sessions more are in no count. */
static __always_inline void uncounted_add(struct cc_tally *tally, __s64 n)
{
	__sync_fetch_and_add(&tally->uncounted, n);
	inexact_add(n);
}

/* Note that a change of a count could not be entered. */
static __always_inline void lost_add(struct cc_tally *tally)
{
	__sync_fetch_and_add(&tally->lost, 1);
	inexact_add(1);
}

/* The one value of `fill`; NULL only to the verifier. */
static __always_inline struct cc_fill *fill_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&fill, &zero);
}

#endif
