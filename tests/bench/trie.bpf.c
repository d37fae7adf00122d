// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * trie.bpf.c - each operation on the table of counts, for trie.c to time.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "trie.h"

/* A table of counts like the one in bpf/maps.bpf.h. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 24);
	__type(key, struct cc_count_key);
	__type(value, struct cc_count);
} table SEC(".maps");

/* The keys to work on. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TRIE_KEYS);
	__type(key, __u32);
	__type(value, struct cc_count_key);
} keys SEC(".maps");

/* What to do, with the first @n_keys keys; and how often it was not possible. */
enum trie_work work;
__u32 n_keys;
__u64 failed;

static __always_inline void add(const struct cc_count_key *key)
{
	struct cc_count *node = bpf_map_lookup_elem(&table, key);

	if (node && CC_COUNT_LENGTH(node->word) == key->prefixlen)
		__sync_fetch_and_add(&node->word, CC_COUNT_ONE);
	else
		failed++;
}

static __always_inline void pair(const struct cc_count_key *key)
{
	struct cc_count node = { .word = CC_COUNT_ZERO(key->prefixlen) + CC_COUNT_ONE };

	if (bpf_map_update_elem(&table, key, &node, BPF_NOEXIST) ||
	    bpf_map_delete_elem(&table, key))
		failed++;
}

SEC("tc")
int trie_run(void)
{
	__u32 index = n_keys ? bpf_get_prandom_u32() % n_keys : 0;
	struct cc_count_key *key = bpf_map_lookup_elem(&keys, &index);

	if (!key)
		return 0;
	switch (work) {
	case TRIE_NOTHING:
		break;
	case TRIE_ADD:
		add(key);
		break;
	case TRIE_PAIR:
		pair(key);
		break;
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
