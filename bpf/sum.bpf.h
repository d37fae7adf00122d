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
 *
 * Most networks of a level are not there, so it does not look up each: it follows the trie's own
 * pointers to those that are. The kernel has no helper for that on an LPM trie. What makes it
 * right while the trie changes:
 *
 *  - The kernel runs the program in an RCU read section, and an LPM trie frees its nodes after a
 *    grace period: each pointer that was read stays good until the run ends.
 *  - A node that is unlinked keeps its children. So whatever was in the trie all the time is
 *    found, by whatever way the program came.
 *  - The two children of a node have different keys in them, so none is found twice.
 *
 * A read of a pointer that were no good would fail, and not bring the kernel down.
 */
#ifndef CONNCOUNT_SUM_BPF_H
#define CONNCOUNT_SUM_BPF_H

#include "maps.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

/* Of the kernel's trie, what is used; libbpf puts the running kernel's offsets in. */
struct lpm_trie_node {
	struct lpm_trie_node *child[2];
	__u32 prefixlen;
	__u32 flags;
	__u8 data[];
} __attribute__((preserve_access_index));

struct lpm_trie {
	struct lpm_trie_node *root;
} __attribute__((preserve_access_index));

enum { LPM_TREE_NODE_FLAG_IM = 1 }; /* made for a fork of the tree: has no value */

/* A node from its children on, as it is in memory on every kernel. */
struct node {
	__u64 child[2]; /* addresses; 0: none */
	__u32 prefixlen;
	__u32 flags;
	__u64 key[3]; /* in network byte order */
};

enum {
	KEY_BITS = sizeof(((struct node *)NULL)->key) * 8,
	/* How many nodes can wait: one for each bit between two levels, and a power of two. */
	WAITING_MAX = 128,
};

_Static_assert(KEY_BITS / 8 == sizeof(struct cc_count_key) - sizeof(__u32), "KEY_BITS");

/* Too large for the stack. */
struct waiting {
	__u32 busy;
	__u32 n;
	__u64 node[WAITING_MAX]; /* addresses */
};

/* Used by the program alone, while it runs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct waiting);
} waiting SEC(".maps");

struct sum {
	__u64 network[4]; /* key of the network asked about, in this host's byte order; then 0 */
	__u32 length;     /* bits of it */
	__u32 level;      /* bits of the keys that are added up */
	__u64 node;       /* address of the node that is looked at */
	__s64 count;
	__s64 most;
	struct waiting *waiting;
};

/* Read the first @size bytes of a node. Returns false if that fails. */
static __always_inline bool node_read(struct node *node, __u32 size, __u64 address)
{
	return !bpf_probe_read_kernel(
		node, size, (void *)address + bpf_core_field_offset(struct lpm_trie_node, child));
}

static __always_inline bool node_is_known(void)
{
	const __u32 at = bpf_core_field_offset(struct lpm_trie_node, child);

	return bpf_core_field_offset(struct lpm_trie_node, prefixlen) - at ==
		       __builtin_offsetof(struct node, prefixlen) &&
	       bpf_core_field_offset(struct lpm_trie_node, flags) - at ==
		       __builtin_offsetof(struct node, flags) &&
	       bpf_core_field_offset(struct lpm_trie_node, data) - at ==
		       __builtin_offsetof(struct node, key);
}

static __always_inline void waiting_push(struct waiting *waiting, __u64 address)
{
	if (address)
		waiting->node[waiting->n++ & (WAITING_MAX - 1)] = address;
}

/* Whether the first @bits bits of two words differ. */
static __always_inline bool word_differs(__u64 a, __u64 b, __s32 bits)
{
	return bits > 0 && (a ^ b) >> (bits < 64 ? 64 - bits : 0);
}

/* Whether a node's key and the network's differ in the first bits, as many as both have. */
static __always_inline bool node_is_aside(const struct node *node, const struct sum *sum)
{
	__s32 bits = node->prefixlen < sum->length ? node->prefixlen : sum->length;

	return word_differs(bpf_be64_to_cpu(node->key[0]), sum->network[0], bits) ||
	       word_differs(bpf_be64_to_cpu(node->key[1]), sum->network[1], bits - 64) ||
	       word_differs(bpf_be64_to_cpu(node->key[2]), sum->network[2], bits - 128);
}

/* Go one step down to the network, if that is in the trie; for bpf_loop(). */
static long sum_descend(__u32 index, struct sum *sum)
{
	struct node node;
	__u64 word;

	(void)index;
	if (!sum->node || !node_read(&node, sizeof(node), sum->node) || node_is_aside(&node, sum))
		return 1;
	if (node.prefixlen >= sum->length) {
		waiting_push(sum->waiting, sum->node);
		return 1;
	}
	word = sum->network[node.prefixlen / 64 & 3] << (node.prefixlen & 63);
	sum->node = word >> 63 ? node.child[1] : node.child[0];
	return 0;
}

/* The count of a node of the level. */
static __always_inline __s64 node_count(__u64 address)
{
	__s64 word;

	if (bpf_probe_read_kernel(&word, sizeof(word),
				  (void *)address +
					  bpf_core_field_offset(struct lpm_trie_node, data) +
					  KEY_BITS / 8))
		return 0;
	/* Below 0 only while an addition is being carried from one node to the next. */
	return word < 0 || word & CC_COUNT_GONE ? 0 : word >> CC_COUNT_SHIFT;
}

/* Visit a node inside the network; for bpf_loop(), which goes on while that returns 0. */
static long sum_visit(__u32 index, struct sum *sum)
{
	struct waiting *waiting = sum->waiting;
	struct node node;
	__u64 address;

	(void)index;
	if (!waiting->n || sum->count >= sum->most)
		return 1;
	address = waiting->node[--waiting->n & (WAITING_MAX - 1)];
	if (!node_read(&node, __builtin_offsetof(struct node, key), address))
		return 0;
	if (node.prefixlen < sum->level) {
		waiting_push(waiting, node.child[1]);
		waiting_push(waiting, node.child[0]);
	} else if (node.prefixlen == sum->level && !(node.flags & LPM_TREE_NODE_FLAG_IM)) {
		sum->count += node_count(address);
	}
	return 0;
}

/* What the program returns (abi.h), with room for the nodes that wait. */
static __always_inline __u32 sum_take(struct sum *sum)
{
	sum->waiting->n = 0;
	bpf_loop(KEY_BITS, sum_descend, sum, 0);
	bpf_loop(CC_SUM_NODES, sum_visit, sum, 0);
	if (sum->count < sum->most && sum->waiting->n)
		return CC_SUM_MANY;
	return sum->count < CC_SUM_RAN ? CC_SUM_RAN | sum->count : 0;
}

#endif
