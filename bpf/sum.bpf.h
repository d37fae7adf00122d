/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * sum.bpf.h - add up counts for a reader, who would need a system call for each.
 *
 * The program is pinned beside the maps, for those who may read them. They run it by
 * BPF_PROG_TEST_RUN, for which a descriptor opened for reading is enough. With that one can also
 * attach it to a tracepoint: for that the kernel asks no privilege either. Nothing comes of it:
 *
 *  - It only reads, and only `counts`. Whoever runs it, with whatever arguments and wherever,
 *    changes nothing, and is told what the map itself would tell him.
 *  - It reads a twelfth argument, and the kernel attaches no program to a tracepoint that has
 *    fewer arguments than it reads. Two have twelve, the most there can be, and neither is often
 *    passed: mc_event (an error of the memory) and, up to 6.12, balance_dirty_pages (a writer has
 *    to wait). So nobody can be slowed down with it.
 *  - It does nothing unless that argument is CC_SUM_MARK. Theirs is a pointer, and a time.
 */
#ifndef CONNCOUNT_SUM_BPF_H
#define CONNCOUNT_SUM_BPF_H

#include "maps.bpf.h"

struct sum {
	struct cc_count_key first;
	__u32 last; /* byte of the level, in the address */
	__s64 count;
	__s64 most;
};

/* Add the count of network number @index; for bpf_loop(), which goes on while that is 0. */
static long sum_add(__u32 index, struct sum *sum)
{
	struct cc_count_key key = sum->first;
	struct cc_count *node;
	__s64 word;

	((__u8 *)key.addr)[sum->last & 15] += index;
	node = bpf_map_lookup_elem(&counts, &key);
	word = node ? *(volatile __s64 *)&node->word : 0;
	/* Below 0 only while an addition is being carried from one node to the next. */
	if (word > 0 && CC_COUNT_LENGTH(word) == key.prefixlen)
		sum->count += word >> CC_COUNT_SHIFT;
	return sum->count >= sum->most;
}

SEC("raw_tp")
int conncount_sum(const struct cc_sum *question)
{
	struct sum sum = {};

	if (question->mark != CC_SUM_MARK || question->parts > CC_SUM_PARTS)
		return 0;
	sum.first = question->first;
	sum.last = (question->first.prefixlen - CC_COUNT_BITS_OWNER) / 8 - 1;
	sum.most = question->most;
	bpf_loop(question->parts, sum_add, &sum, 0);
	return sum.count < CC_SUM_RAN ? CC_SUM_RAN | sum.count : 0;
}

#endif
