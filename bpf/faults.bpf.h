/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * faults.bpf.h - builds for the tests and the benchmark.
 *
 * In builds for the tests, map operations fail (make FAULTS=N), decrements are lost (make LOSES=N),
 * or another program seems to make a record at the same time (make RACES=N). The baseline of the
 * benchmark counts without the protocol (make BASELINE=N).
 */
#ifndef CONNCOUNT_FAULTS_BPF_H
#define CONNCOUNT_FAULTS_BPF_H

#include "maps.bpf.h"

#ifdef CONNCOUNT_FAULTS

__u64 fault_calls;

/*
 * Returns 0; on every CONNCOUNT_FAULTS-th call an errno instead: for an insert the three that an
 * LPM trie can return, in turn; for a delete -ETIMEDOUT, the only one.
 */
static __always_inline int fault(bool deletes)
{
	__u64 call = __sync_fetch_and_add(&fault_calls, 1);

	if (call % CONNCOUNT_FAULTS)
		return 0;
	if (deletes)
		return -ETIMEDOUT;
	switch (call / CONNCOUNT_FAULTS % 3) {
	case 0:
		return -ENOMEM;
	case 1:
		return -ENOSPC;
	default:
		return -ETIMEDOUT;
	}
}

/* Every slot is held: a cached node is not deleted, and deletions should fail here. */
static __always_inline bool fault_busy(void)
{
	return true;
}

#else

static __always_inline int fault(bool deletes)
{
	(void)deletes;
	return 0;
}

static __always_inline bool fault_busy(void)
{
	return false;
}

#endif

#ifdef CONNCOUNT_LOSES

__u64 decrements;

/* True on every CONNCOUNT_LOSES-th call: a loss that a test must find in the end. */
static __always_inline bool loses(void)
{
	return __sync_fetch_and_add(&decrements, 1) % CONNCOUNT_LOSES == CONNCOUNT_LOSES - 1;
}

#else

static __always_inline bool loses(void)
{
	return false;
}

#endif

#ifdef CONNCOUNT_RACES

__u64 records_made;

/* True on every CONNCOUNT_RACES-th call: as if another program made the record just then. */
static __always_inline bool loses_race(void)
{
	return __sync_fetch_and_add(&records_made, 1) % CONNCOUNT_RACES == CONNCOUNT_RACES - 1;
}

#else

static __always_inline bool loses_race(void)
{
	return false;
}

#endif

#ifdef CONNCOUNT_BASELINE

static __always_inline bool is_baseline(void)
{
	return true;
}

/*
 * In place of count_change(): what would suffice if no two programs ever ran at once. With
 * CONNCOUNT_BASELINE 1 it never deletes a node.
 */
static __always_inline int baseline_add(const struct cc_count_key *key, __s64 by, bool absent)
{
	struct cc_count fresh = { .word = CC_COUNT_ZERO(key->prefixlen) + CC_COUNT_ONE };
	struct cc_count *node = NULL;

	if (!absent)
		node = bpf_map_lookup_elem(&counts, key);
	if (!node || CC_COUNT_LENGTH(node->word) != key->prefixlen)
		return by > 0 && !bpf_map_update_elem(&counts, key, &fresh, BPF_NOEXIST);
	if (__sync_fetch_and_add(&node->word, by) == fresh.word && by < 0 &&
	    CONNCOUNT_BASELINE != 1)
		bpf_map_delete_elem(&counts, key);
	return 0;
}

#else

static __always_inline bool is_baseline(void)
{
	return false;
}

static __always_inline int baseline_add(const struct cc_count_key *key, __s64 by, bool absent)
{
	(void)key, (void)by, (void)absent;
	return 0;
}

#endif

#endif
