// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * split.bpf.c - times each run of conncount's programs, by the cause of the call. The kernel calls
 * these programs right before conncount's, and right after. split.c attaches them.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "split.h"

/* When the first program of an event was called. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} began SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SPLIT_CAUSES);
	__type(key, __u32);
	__type(value, struct split_runs);
} causes SEC(".maps");

static __always_inline int begin(void)
{
	__u32 zero = 0;
	__u64 *at = bpf_map_lookup_elem(&began, &zero);

	if (at)
		*at = bpf_ktime_get_ns();
	return 1;
}

static __always_inline int end(__u32 cause)
{
	__u64 now = bpf_ktime_get_ns();
	__u32 zero = 0;
	__u64 *at = bpf_map_lookup_elem(&began, &zero);
	struct split_runs *runs = bpf_map_lookup_elem(&causes, &cause);

	if (at && runs) {
		runs->runs++;
		runs->ns += now - *at;
	}
	return 1;
}

SEC("sockops")
int sockops_begins(void)
{
	return begin();
}

SEC("sockops")
int sockops_ends(struct bpf_sock_ops *ctx)
{
	return end(ctx->op == BPF_SOCK_OPS_STATE_CB ? SPLIT_STATE + ctx->args[1] : ctx->op);
}

SEC("cgroup/sock_release")
int release_begins(void)
{
	return begin();
}

SEC("cgroup/sock_release")
int release_ends(void)
{
	return end(SPLIT_RELEASE);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
