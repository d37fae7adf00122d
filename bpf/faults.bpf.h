/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * faults.bpf.h - make map operations fail, in builds for the tests (make FAULTS=N).
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

#else

static __always_inline int fault(bool deletes)
{
	(void)deletes;
	return 0;
}

#endif

#endif
