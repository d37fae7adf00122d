/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * faults.bpf.h - in builds for the tests, make map operations fail (make FAULTS=N), lose decrements
 * (make LOSES=N) or have records made by another (make RACES=N); in one for the benchmark, count
 * without the protocol (make BASELINE=N).
 */
#ifndef CONNCOUNT_FAULTS_BPF_H
#define CONNCOUNT_FAULTS_BPF_H

#include "maps.bpf.h"

#ifdef CONNCOUNT_FAULTS

__u64 fault_calls;

/*
 * 0, or on every CONNCOUNT_FAULTS-th call one of the errnos that an LPM trie's insert (all of
 * them) or delete (the last) gives, in turn.
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

/* No slot can be had: a node that is kept is not deleted, and deletions are what is to fail. */
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

/* True on every CONNCOUNT_LOSES-th call: what a test must find when all is said and done. */
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

/* True on every CONNCOUNT_RACES-th call: as if another program had made the record at once. */
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
 * In place of count_change(): the least that would do if no two programs ever ran at once; with
 * CONNCOUNT_BASELINE 1 no node is ever deleted.
 */
static __always_inline int baseline_add(const struct cc_count_key *key, int n, bool absent)
{
	struct cc_count fresh = { .word = CC_COUNT_ZERO(key->prefixlen) + CC_COUNT_ONE };
	struct cc_count *node = NULL;

	if (!absent)
		node = bpf_map_lookup_elem(&counts, key);
	if (!node || CC_COUNT_LENGTH(node->word) != key->prefixlen)
		return n > 0 && !bpf_map_update_elem(&counts, key, &fresh, BPF_NOEXIST);
	if (__sync_fetch_and_add(&node->word, n * CC_COUNT_ONE) == fresh.word && n < 0 &&
	    CONNCOUNT_BASELINE != 1)
		bpf_map_delete_elem(&counts, key);
	return 0;
}

#else

static __always_inline bool is_baseline(void)
{
	return false;
}

static __always_inline int baseline_add(const struct cc_count_key *key, int n, bool absent)
{
	(void)key, (void)n, (void)absent;
	return 0;
}

#endif

#endif
