// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * conncount.bpf.c - the programs: count a connection when its handshake is done, and stop
 * when its socket is released or closed, whichever comes first.
 *
 * Both are attached to a cgroup. cgroup programs are never skipped for being active already
 * on the same CPU, as tracing programs are: every event counts.
 */
#include "sessions.bpf.h"

/* One end of a connection. */
struct endpoint {
	__u32 family;   /* CC_IPV4 or CC_IPV6 */
	__be32 addr[4]; /* IPv4 in the first word, the rest 0 */
};

/* Make an IPv4-mapped address the IPv4 address that it is. */
static __always_inline void endpoint_unmap(struct endpoint *end)
{
	if (end->addr[0] || end->addr[1] || end->addr[2] != bpf_htonl(0xffff))
		return;
	end->family = CC_IPV4;
	end->addr[0] = end->addr[3];
	end->addr[2] = 0;
	end->addr[3] = 0;
}

static __always_inline void endpoints_get(struct bpf_sock_ops *ctx, struct endpoint *local,
					  struct endpoint *peer)
{
	local->family = peer->family = ctx->family;
	if (ctx->family == CC_IPV4) {
		local->addr[0] = ctx->local_ip4;
		peer->addr[0] = ctx->remote_ip4;
		return;
	}
	local->addr[0] = ctx->local_ip6[0];
	local->addr[1] = ctx->local_ip6[1];
	local->addr[2] = ctx->local_ip6[2];
	local->addr[3] = ctx->local_ip6[3];
	endpoint_unmap(local);
	peer->addr[0] = ctx->remote_ip6[0];
	peer->addr[1] = ctx->remote_ip6[1];
	peer->addr[2] = ctx->remote_ip6[2];
	peer->addr[3] = ctx->remote_ip6[3];
	endpoint_unmap(peer);
}

/* The listener, in the table in force, that @local and @port belong to; NULL if none does. */
static __always_inline struct cc_listener_id *listener_find(const struct endpoint *local,
							    __u32 port)
{
	__u32 zero = 0;
	struct cc_directory *dir = bpf_map_lookup_elem(&directory, &zero);
	__u64 generation;

	if (!dir)
		return NULL;
	generation = *(volatile __u64 *)&dir->generation;
	if (!generation)
		return NULL;

	struct cc_listener_key key = {
		.prefixlen = CC_LISTENER_BITS_FAMILY + (local->family == CC_IPV6 ? 128 : 32),
		.table = bpf_htons(generation & 1),
		.port = bpf_htons(port),
		.family = bpf_htons(local->family),
		.addr = { local->addr[0], local->addr[1], local->addr[2], local->addr[3] },
	};

	return bpf_map_lookup_elem(&listeners, &key);
}

/* A handshake on some listening socket is done. Count it, if the listener is one of ours. */
static __always_inline void on_established(struct bpf_sock_ops *ctx)
{
	struct endpoint local = {}, peer = {};
	struct bpf_sock *sk = ctx->sk;
	struct cc_listener_id *listener;
	struct cc_session *session;

	if (!sk)
		return;
	endpoints_get(ctx, &local, &peer);
	listener = listener_find(&local, ctx->local_port);
	if (!listener)
		return;

	/* Only sockets of our listeners pay for a call on every change of state. */
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);

	session = bpf_sk_storage_get(&sessions, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!session) {
		/* Without a record its end could not be told from that of any other. */
		struct cc_tally *tally = tally_get(listener->id, peer.family);

		if (tally)
			__sync_fetch_and_add(&tally->lost, 1);
		return;
	}

	struct cc_session as = {
		.listener = bpf_htons(listener->id),
		.family = bpf_htons(peer.family),
		.addr = { peer.addr[0], peer.addr[1], peer.addr[2], peer.addr[3] },
	};

	session_start(session, &as);
}

/* A socket with our callback flag, or somebody else's, changes its TCP state. */
static __always_inline void on_state(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct cc_session *session;

	if (ctx->args[1] != BPF_TCP_CLOSE || !sk)
		return;
	session = bpf_sk_storage_get(&sessions, sk, NULL, 0);
	if (session)
		session_end(session);
}

SEC("sockops")
int conncount_sockops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_established(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		on_state(ctx);
		break;
	}
	return 1;
}

/* The last descriptor of a socket is closed; also when its process dies. */
SEC("cgroup/sock_release")
int conncount_release(struct bpf_sock *sk)
{
	struct cc_session *session = bpf_sk_storage_get(&sessions, sk, NULL, 0);

	if (session)
		session_end(session);
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
