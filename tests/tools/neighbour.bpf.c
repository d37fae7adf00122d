// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * neighbour.bpf.c - another project's programs on the same sockets, see neighbours.bats.
 *
 * They count what they see, by index of `seen`: 0 sessions established, 1 changes of state, 2
 * round trips, 3 releases of TCP sockets. If FLAGS is defined, they add these callback flags to
 * each new session; if CLEARS is, they clear all of its flags.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

static void see(__u32 index)
{
	__u64 *value = bpf_map_lookup_elem(&seen, &index);

	if (value)
		__sync_fetch_and_add(value, 1);
}

SEC("sockops")
int events(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		see(0);
#ifdef FLAGS
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | FLAGS);
#endif
#ifdef CLEARS
		bpf_sock_ops_cb_flags_set(ctx, 0);
#endif
		break;
	case BPF_SOCK_OPS_STATE_CB:
		see(1);
		break;
	case BPF_SOCK_OPS_RTT_CB:
		see(2);
		break;
	}
	return 1;
}

SEC("cgroup/sock_release")
int releases(struct bpf_sock *sk)
{
	if (sk->protocol == 6)
		see(3);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
