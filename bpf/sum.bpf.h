/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * sum.bpf.h - add up counts for a reader, which would need a system call for each.
 *
 * The program is pinned beside the maps, with the same permissions. Readers run it by
 * BPF_PROG_TEST_RUN, which needs only a file descriptor opened for reading. The kernel lets such a
 * descriptor also be attached to a tracepoint, without privilege. That does no harm:
 *
 *  - The program only reads, and only `counts`. A user who runs it, with any arguments and
 *    anywhere, changes nothing, and learns only what the map itself says.
 *  - It reads a twelfth argument, and the kernel attaches no program to a tracepoint that has fewer
 *    arguments than the program reads. Two tracepoints have twelve, the most that is possible, and
 *    both are rare: mc_event (a memory error) and, up to Linux 6.12, balance_dirty_pages (a writer
 *    must wait). So nobody can slow down the host with it.
 *  - It does nothing unless that argument is CC_SUM_MARK. In those two it is a pointer, and a time.
 *
 * Most prefixes of a level have no node. So the program does not look up each, but follows the
 * trie's own pointers, because the kernel has no helper for that on an LPM trie. Why it is right
 * while the trie changes:
 *
 *  - The kernel runs the program in an RCU read section, and an LPM trie frees nodes after a grace
 *    period: each pointer that was read stays valid until the run ends.
 *  - An unlinked node keeps its children. So every node that is in the trie all the time is found,
 *    whichever way the program comes.
 *  - The two children of a node have different keys below them, so no node is found twice.
 *
 * A read through an invalid pointer would fail, without harm to the kernel.
 */
#ifndef CONNCOUNT_SUM_BPF_H
#define CONNCOUNT_SUM_BPF_H

#include "maps.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

/* The fields of the kernel's trie that are used; libbpf sets the running kernel's offsets. */
struct lpm_trie_node {
	struct lpm_trie_node *child[2];
	__u32 prefixlen;
	__u32 flags;
	__u8 data[];
} __attribute__((preserve_access_index));

struct lpm_trie {
	struct lpm_trie_node *root;
} __attribute__((preserve_access_index));

enum { LPM_TREE_NODE_FLAG_IM = 1 }; /* an intermediate node: it has no value */

/* A node from its children on, as every kernel lays it out. */
struct node {
	__u64 child[2]; /* addresses; 0: none */
	__u32 prefixlen;
	__u32 flags;
	__u64 key[3]; /* in network byte order */
};

enum {
	KEY_BITS = sizeof(((struct node *)NULL)->key) * 8,
	/* How many nodes can wait: enough for each bit between two levels; a power of two. */
	WAITING_MAX = 128,
};

_Static_assert(KEY_BITS / 8 == sizeof(struct cc_count_key) - sizeof(__u32), "KEY_BITS");

/* Nodes that wait to be visited: too large for the stack. */
struct waiting {
	__u32 busy;
	__u32 n;
	__u64 node[WAITING_MAX]; /* addresses */
};

/* Only the program uses it, during a run. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct waiting);
} waiting SEC(".maps");

struct sum {
	__u64 network[4]; /* key of the network, in host byte order; then 0 */
	__u32 length;     /* its prefixlen */
	__u32 level;      /* prefixlen of the keys that are added up */
	__u64 node;       /* address of the current node */
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

/* Whether a node's key and the network's differ in the bits that both have. */
static __always_inline bool node_is_aside(const struct node *node, const struct sum *sum)
{
	__s32 bits = node->prefixlen < sum->length ? node->prefixlen : sum->length;

	return word_differs(bpf_be64_to_cpu(node->key[0]), sum->network[0], bits) ||
	       word_differs(bpf_be64_to_cpu(node->key[1]), sum->network[1], bits - 64) ||
	       word_differs(bpf_be64_to_cpu(node->key[2]), sum->network[2], bits - 128);
}

/* Go one step down towards the network; for bpf_loop(). */
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

/* The count of a node at the level. */
static __always_inline __s64 node_count(__u64 address)
{
	__s64 word;

	if (bpf_probe_read_kernel(&word, sizeof(word),
				  (void *)address +
					  bpf_core_field_offset(struct lpm_trie_node, data) +
					  KEY_BITS / 8))
		return 0;
	/* Below 0 only while a program carries an addition from one node to the next. */
	return word < 0 || word & CC_COUNT_GONE ? 0 : word >> CC_COUNT_SHIFT;
}

/* Visit a waiting node, inside the network; for bpf_loop(). */
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

/* Add up. @sum has the question. Returns what the program returns (abi.h). */
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
