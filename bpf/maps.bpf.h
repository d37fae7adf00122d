/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * maps.bpf.h - the maps. abi.h describes their keys and values.
 *
 * `load` sets the sizes of `counts` (max_prefixes), `recent` and `recent_locks` (window_memory),
 * and pins all maps except `former`, `waiting` (sum.bpf.h) and those that find.bpf.h writes. A set
 * of maps that replaces another takes over `changed`, `cluster`, `nodes` and `remote`: they are not
 * about one set. It takes over `recent` and `recent_locks` if the windows are the same.
 *
 * Of the maps about limits, `load` creates none unless a listener has one.
 */
#ifndef CONNCOUNT_MAPS_BPF_H
#define CONNCOUNT_MAPS_BPF_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "recent.h"

/* Errnos of map operations: no header that defines them can be included beside vmlinux.h. */
enum {
	EAGAIN = 11,
	ENOMEM = 12,
	EEXIST = 17,
	ENOSPC = 28,
	ETIMEDOUT = 110,
};

/*
 * Which configuration is active, and whether counts are exact.
 * Written by `load`, through a mapping, so that it changes the generation by one store, and by the
 * programs when they cannot count something; read by the programs and by every query. Readers
 * without write permission look it up: a read-only file descriptor cannot be mapped, because the
 * kernel treats a shared mapping of one as a private mapping, which BPF maps refuse.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cc_control);
} control SEC(".maps");

/*
 * The two configurations: names and services of the listeners.
 * Written by `load`; read by readers when the generation has changed. No program uses it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct cc_config);
} configs SEC(".maps");

/*
 * Local address and port to listener id, for both configurations.
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
 * The networks of each listener's proxies, for both configurations.
 * Written by `load`; looked up by the programs once per connection to a listener that has any.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * CC_PROXIES_MAX);
	__type(key, struct cc_peer_key);
	__type(value, struct cc_peer);
} proxies SEC(".maps");

/*
 * Live sessions by prefix.
 * Written by the programs, only through count_change(); read by readers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); /* set by `load` */
	__type(key, struct cc_count_key);
	__type(value, struct cc_count);
} counts SEC(".maps");

/*
 * Slots of the cached nodes of `counts`, by hash of the prefix.
 * Written by the programs, only through counts.bpf.h; read by readers that report how many nodes
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
 * Written and read only by the programs; the kernel frees a record with its socket.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct cc_session);
} sessions SEC(".maps");

/* Whether there is a `former`: if not, nothing of it is loaded. `load` sets it. */
const volatile bool has_former = false;

/*
 * While a load prepares a set of maps beside one that counts: the `sessions` of that one.
 * Written by the programs of that set; read by the seed program, so that a session stays with the
 * listener it was counted under, and by session_opened().
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct cc_session);
} former SEC(".maps");

/*
 * Sessions without a record in `sessions`. Preallocated, for it is needed when there is no memory.
 * Written and read only by the programs.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CC_UNTRACKED_MAX);
	__type(key, __u64);
	__type(value, struct cc_untracked);
} untracked SEC(".maps");

/*
 * Totals per listener.
 * Written by the programs, and by `load` when it assigns an id again; read by readers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CC_LISTENERS_MAX);
	__type(key, __u32);
	__type(value, struct cc_stats);
} stats SEC(".maps");

/*
 * How full `counts` and `untracked` are: the kernel does not say.
 * Written by the programs; read by readers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cc_fill);
} fill SEC(".maps");

/*
 * Connections by network and window of time: recent.h. One group where no window is configured.
 * Written by the programs, only through recent_add(); read by readers, through a mapping.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, CC_RECENT_GROUP_SIZE(1)); /* set by `load`, as the next one */
	__uint(max_entries, 1);
} recent SEC(".maps");

struct recent_lock {
	struct bpf_spin_lock lock;
	__u32 zero;
};

/*
 * A lock for each group of `recent`. The kernel cannot freeze a map that has locks: so they are not
 * in the groups.
 * Written and read only by the programs.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* set by `load` */
	__type(key, __u32);
	__type(value, struct recent_lock);
} recent_locks SEC(".maps");

/* Whether any listener has a limit: if not, the maps up to `gated` do not exist. `load` sets it. */
const volatile bool has_limits = false;

/*
 * Limits by configuration and listener.
 * Written by `load`; read by the programs once per connection to a listener that has any, and by
 * readers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * CC_LISTENERS_MAX);
	__type(key, __u32);
	__type(value, struct cc_limits);
} limits SEC(".maps");

/*
 * The networks to which each listener's limits do not apply, for both configurations.
 * Written by `load`; looked up by the programs as `limits`, for listeners that have any.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * CC_EXEMPT_MAX);
	__type(key, struct cc_peer_key);
	__type(value, struct cc_peer);
} exempt SEC(".maps");

/*
 * The place that each CPU holds (places.bpf.h).
 * Written and read only by the programs.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* set by `load`: of the CPUs that the kernel can have */
	__type(key, __u32);
	__type(value, struct cc_place);
} places SEC(".maps");

/*
 * How many connections each limit has refused.
 * Written by the programs, and by `load` when a limit changes; read by readers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CC_LISTENERS_MAX);
	__type(key, __u32);
	__type(value, struct cc_refusals);
} refusals SEC(".maps");

/*
 * The networks refused lately.
 * Written by the programs; read by readers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CC_REFUSED_MAX);
	__type(key, struct cc_refused_key);
	__type(value, struct cc_refused);
} refused SEC(".maps");

/*
 * Network namespaces, by cookie: those that have a SYN gate, and those in which the ACK gate has
 * noticed that they have none. Only where all namespaces are counted.
 * Written by `load`, and by the ACK gate; read by readers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CC_NETNS_MAX);
	__type(key, __u64);
	__type(value, struct cc_gated);
} gated SEC(".maps");

/*
 * Network namespaces that have sessions, except the one of the program that asks, by inode number.
 * The value is not 0 if one of the sessions is on a configured listener.
 * Written by the programs that find namespaces (find.bpf.h); read and cleared by `load` and
 * `verify`.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CC_NETNS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} netns_found SEC(".maps");

/*
 * The kernel's hash tables of connections, by their address in kernel memory.
 * Written and read as `netns_found`.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CC_NETNS_MAX);
	__type(key, __u64);
	__type(value, struct cc_hash_table);
} hash_tables SEC(".maps");

/*
 * Leaves whose counts have changed since the cluster's daemon last looked: struct cc_changed.
 * Written by the programs while the daemon runs; read and cleared by it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CC_CHANGED_MAX);
	__type(key, struct cc_changed);
	__type(value, __u32);
} changed SEC(".maps");

/*
 * What the cluster's daemon says of the cluster.
 * Written by the daemon; read by the programs and by readers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cc_cluster);
} cluster SEC(".maps");

/*
 * The nodes of the cluster. No program uses it.
 * Written by the daemon; read by readers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CC_NODES_MAX);
	__type(key, __u32);
	__type(value, struct cc_node);
} nodes SEC(".maps");

/*
 * Live sessions of the cluster's other nodes, by prefix.
 * Written by the daemon; read by readers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CC_REMOTE_MAX);
	__type(key, struct cc_count_key);
	__type(value, struct cc_count);
} remote SEC(".maps");

/* A listener's totals of sessions from its proxies. Returns NULL if @listener is not an id. */
static __always_inline struct cc_proxied *proxied_get(__u32 listener)
{
	struct cc_stats *entry = bpf_map_lookup_elem(&stats, &listener);

	return entry ? &entry->proxied : NULL;
}

/* A listener's totals for one family. Returns NULL if @listener is not an id. */
static __always_inline struct cc_tally *tally_get(__u32 listener, __u32 family)
{
	struct cc_stats *entry = bpf_map_lookup_elem(&stats, &listener);

	return entry ? &entry->tally[CC_FAMILY_INDEX(family)] : NULL;
}

/* The one value of `control`. Never NULL; a check is for the verifier. */
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

/* Count @n more sessions that are in no count. */
static __always_inline void uncounted_add(struct cc_tally *tally, __s64 n)
{
	__sync_fetch_and_add(&tally->uncounted, n);
	inexact_add(n);
}

/* Count a change of a count that could not be entered. */
static __always_inline void lost_add(struct cc_tally *tally)
{
	__sync_fetch_and_add(&tally->lost, 1);
	inexact_add(1);
}

/* The one value of `fill`. Never NULL; a check is for the verifier. */
static __always_inline struct cc_fill *fill_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&fill, &zero);
}

#endif
