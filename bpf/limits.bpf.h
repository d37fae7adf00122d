/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * limits.bpf.h - find a listener's limits, compare a network with one, and count what is refused.
 */
#ifndef CONNCOUNT_LIMITS_BPF_H
#define CONNCOUNT_LIMITS_BPF_H

#include "listeners.bpf.h"
#include "places.bpf.h"

/* Whether a listener's counts may be compared with a limit. */
static __always_inline bool counts_are_known(__u32 listener)
{
	struct cc_stats *entry = bpf_map_lookup_elem(&stats, &listener);
	struct cc_control *control = control_get();

	return entry && control && !*(volatile __u32 *)&control->seeding &&
	       !*(volatile __u64 *)&entry->tally[0].lost &&
	       !*(volatile __u64 *)&entry->tally[1].lost;
}

/*
 * limits_find() - the limits of a listener that apply to a peer.
 * @config: as listener_find() returned it.
 * Returns NULL if there is none, or if counts must not be compared with limits now.
 */
static __always_inline struct cc_limits *limits_find(__u32 listener, __be16 config,
						     const struct endpoint *peer)
{
	__u32 index = CC_LIMITS_INDEX(bpf_ntohs(config), listener);
	struct cc_limits *found = bpf_map_lookup_elem(&limits, &index);

	if (!found || !found->n || !counts_are_known(listener) ||
	    (found->exempts && exempt_find(listener, config, peer)))
		return NULL;
	return found;
}

/*
 * Get the @i-th limit in the order in which those of the session's family are compared, and the key
 * of its network. Returns NULL if there are no more.
 */
static __always_inline struct cc_limit *limit_get(const struct cc_session *as,
						  struct cc_limits *limits, __u32 i,
						  struct cc_count_key *ret_key, __u32 *ret_level)
{
	__u32 family = CC_FAMILY_INDEX(bpf_ntohs(as->family)), index, at;
	const struct level *level;
	struct cc_limit *limit;

	if (i >= limits->n)
		return NULL;
	index = limits->order[family][i] & (CC_LIMITS_MAX - 1);
	limit = &limits->limit[index];
	at = limit->level[family];
	if (at >= LEVELS_IPV6)
		return NULL;
	level = &levels[family][at];
	ret_key->listener = as->listener;
	ret_key->family = as->family;
	level_key(as, level, ret_key);
	*ret_level = at;
	return limit;
}

/*
 * Whether a network has @n sessions or more. Places do not count: it is not known yet whether their
 * connections will be counted, so no other client may get a RST because of them.
 */
static __always_inline bool network_has(const struct cc_count_key *network, __u32 n)
{
	struct cc_count *node = node_find(network);

	return node && *(volatile __s64 *)&node->word >> CC_COUNT_SHIFT >= n;
}

/* --- what was refused ---------------------------------------------------------------------------
 */

/*
 * refusal_add() - count a connection that a limit refuses, or would refuse.
 * @network: over the limit.
 * @total: which totals are the limit's.
 * @would: the limit only counts what it would refuse.
 * A global function, as levels_add(). Returns 0.
 */
int refusal_add(const struct cc_count_key *network, __u32 total, bool would)
{
	struct cc_refused_key key = {};
	struct cc_refused fresh = {}, *entry;
	struct cc_refusals *totals;
	__u32 listener;

	/* Up to Linux 6.1 the verifier checks global functions that nothing calls. */
	if (!network || !has_limits || total >= CC_LIMIT_TOTALS)
		return 0;
	listener = bpf_ntohs(network->listener);
	totals = bpf_map_lookup_elem(&refusals, &listener);
	if (totals && would)
		__sync_fetch_and_add(&totals->limit[total].would_refuse, 1);
	else if (totals)
		__sync_fetch_and_add(&totals->limit[total].refused, 1);
	key.listener = network->listener;
	key.family = network->family;
	key.length = network->prefixlen - CC_COUNT_BITS_OWNER;
	__builtin_memcpy(key.addr, network->addr, sizeof(key.addr));
	entry = bpf_map_lookup_elem(&refused, &key);
	if (!entry) {
		bpf_map_update_elem(&refused, &key, &fresh, BPF_NOEXIST);
		entry = bpf_map_lookup_elem(&refused, &key);
	}
	if (!entry)
		return 0;
	if (would)
		__sync_fetch_and_add(&entry->would_refuse, 1);
	else
		__sync_fetch_and_add(&entry->refused, 1);
	entry->last = bpf_ktime_get_boot_ns();
	return 0;
}

/*
 * limits_log() - add a session that has just been counted to the totals of each limit of the action
 * CC_LIMIT_LOG that would have refused it. A global function, as levels_add(). Returns 0.
 */
int limits_log(const struct cc_session *session)
{
	struct cc_control *control = control_get();
	struct cc_count_key key = {};
	struct endpoint peer = {};
	struct cc_limits *found;
	__u32 level;

	if (!session || !control || !has_limits)
		return 0;
	peer.family = bpf_ntohs(session->family);
	__builtin_memcpy(peer.addr, session->addr, sizeof(peer.addr));
	found = limits_find(bpf_ntohs(session->listener), bpf_htons(control->generation & 1),
			    &peer);
	if (!found || !found->logs)
		return 0;
	for (__u32 i = 0; i < CC_LIMITS_MAX; i++) {
		struct cc_limit *limit = limit_get(session, found, i, &key, &level);

		if (!limit)
			break;
		if (limit->action == CC_LIMIT_LOG && network_has(&key, limit->over + 1))
			refusal_add(&key, limit->total, true);
	}
	return 0;
}

#endif
