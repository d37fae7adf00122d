/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * cluster.bpf.h - note which counts have changed, for the cluster's daemon.
 *
 * The daemon sends the other hosts the counts of leaves, and learns here which to read. A program
 * notes a leaf after it has changed its count, or may have: a program that deletes a node can carry
 * the additions of others over to the next one (counts.bpf.h), and until it has, a reader sees too
 * small a count. So it notes the leaf after that, whatever the others noted before.
 *
 * While no daemon runs, all this is one test of a flag for each event.
 */
#ifndef CONNCOUNT_CLUSTER_BPF_H
#define CONNCOUNT_CLUSTER_BPF_H

#include "maps.bpf.h"
#include <bpf/bpf_endian.h>

/* The one value of `cluster`. Never NULL; a check is for the verifier. */
static __always_inline struct cc_cluster *cluster_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cluster, &zero);
}

/* Whether a daemon wants to know of changes. */
static __always_inline bool cluster_is_joined(void)
{
	struct cc_cluster *entry = cluster_get();

	return entry && *(volatile __u32 *)&entry->joined;
}

/* Note a leaf. @family: network byte order. Returns 0. */
static __always_inline int note(__be16 family, const __be32 addr[4])
{
	struct cc_changed key = {
		.addr = { addr[0], addr[1], addr[2], addr[3] },
		.family = family,
	};
	struct cc_cluster *entry;

	/* Nobody reads the value: the key's first bytes do. */
	if (!bpf_map_update_elem(&changed, &key, &key, BPF_ANY))
		return 0;
	entry = cluster_get();
	if (entry)
		__sync_fetch_and_add(&entry->unnoted, 1);
	return 0;
}

/*
 * session_note() - note that a session was entered on its leaf, or taken off.
 *
 * A function of its own, as node_note(): its stack is free again before the caller's other calls.
 * Returns 0.
 */
__noinline int session_note(const struct cc_session *session)
{
	return session ? note(session->family, session->addr) : 0;
}

/* node_note() - note that a node may have changed, if it is a leaf's and a daemon wants to know.
 * Returns 0. */
__noinline int node_note(const struct cc_count_key *of)
{
	if (!of || !cluster_is_joined() ||
	    of->prefixlen != CC_COUNT_BITS_OWNER + (of->family == bpf_htons(CC_IPV6) ? 128 : 32))
		return 0;
	return note(of->family, of->addr);
}

#endif
