// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * contend.bpf.c - the program of contend.c: only programs can write to a table of counts.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "contend.h"

enum { ETIMEDOUT = 110 };

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); /* an instance's map takes its place */
	__type(key, struct cc_count_key);
	__type(value, struct cc_count);
} counts SEC(".maps");

/* Insert or delete a prefix of @length bits, all ones. Returns the errno. */
static int change(__u32 length, bool insert)
{
	struct cc_count value = { .word = CC_COUNT_ZERO(length) };
	struct cc_count_key key = { .prefixlen = length };
	unsigned char *bytes = (unsigned char *)&key.listener;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < (sizeof(key) - sizeof(key.prefixlen)); i++)
		if (length > 8 * i)
			bytes[i] = length >= 8 * i + 8 ? 0xff : 0xff << (8 * i + 8 - length);
	return -(int)(insert ? bpf_map_update_elem(&counts, &key, &value, BPF_NOEXIST)
			     : bpf_map_delete_elem(&counts, &key));
}

SEC("raw_tp")
int contend(const struct contend *ask)
{
	__u32 failed = 0, length = ask->length;

	if (!ask->rounds)
		return change(length, ask->insert);
	for (__u32 i = 0; i < CONTEND_ROUNDS; i++) {
		failed += change(length, true) == ETIMEDOUT;
		failed += change(length, false) == ETIMEDOUT;
	}
	return failed;
}

char LICENSE[] SEC("license") = "GPL";
