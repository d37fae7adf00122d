// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * conncount.bpf.c - the programs: count a connection when its handshake is done, and stop
 * when its socket is released or closed, whichever comes first. (seed.bpf.h has those that
 * go through the sockets there are, sum.bpf.h the one that readers run.)
 *
 * Both are attached to a cgroup. cgroup programs are never skipped for being active already
 * on the same CPU, as tracing programs are: every event counts.
 */
#include "find.bpf.h"
#include "sum.bpf.h"

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

/* Whether a socket is connected to itself: that takes no listener. */
static __always_inline bool is_itself(struct bpf_sock_ops *ctx, const struct endpoint *local,
				      const struct endpoint *peer)
{
	return ctx->local_port == bpf_ntohl(ctx->remote_port) && local->addr[0] == peer->addr[0] &&
	       local->addr[1] == peer->addr[1] && local->addr[2] == peer->addr[2] &&
	       local->addr[3] == peer->addr[3];
}

/*
 * Whether a connection is between two sockets that have called each other. Such a socket has a file
 * already; a listener's child has none before it is accepted, unless it joins a session of MPTCP.
 */
static __always_inline bool is_mutual(struct bpf_sock *sk, const struct sock *msk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	return tp && (socket_is_bound(tp) || (!msk && socket_accepted(tp)));
}

/*
 * The cookie of the network namespace whose sockets are counted; 0: those of every one. Set by
 * `load`, so that what is not configured is not even verified.
 */
const volatile __u64 counted_netns = 0;

/* Whether connections in the network namespace of this socket are counted. */
static __always_inline bool is_counted_here(struct bpf_sock_ops *ctx)
{
	return !counted_netns || bpf_get_netns_cookie(ctx) == counted_netns;
}

/* Only sockets of our listeners pay for a call on every change of state. */
static __always_inline void watch(struct bpf_sock_ops *ctx)
{
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/*
 * What to count a new connection under; false if that is nothing. A function of its own, as
 * session_identify().
 */
static __noinline bool identify(struct bpf_sock_ops *ctx, struct cc_session *ret)
{
	struct endpoint local = {}, peer = {};

	endpoints_get(ctx, &local, &peer);
	if (is_itself(ctx, &local, &peer))
		return false;
	return session_look_up(&local, ctx->local_port, &peer, ret);
}

/* The MPTCP socket that a new connection is a subflow of, or NULL. */
static __always_inline struct sock *mptcp_get(struct bpf_sock *sk)
{
	if (!bpf_core_field_exists(struct tcp_sock, is_mptcp))
		return NULL;
	return (struct sock *)bpf_skc_to_mptcp_sock(sk);
}

/* A handshake on some listening socket is done. Count it, if the listener is one of ours. */
static __always_inline void on_established(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock *msk = sk ? mptcp_get(sk) : NULL;
	struct sock_common *skc = (struct sock_common *)msk;
	struct cc_session as;
	bool ours;

	if (!sk || !is_counted_here(ctx))
		return;
	/* A further subflow may have other addresses. (6.1 has the first's when it is accepted.) */
	if (msk && socket_has_peer(skc))
		ours = session_identify(skc, record_get(msk, 0), &as);
	else
		ours = identify(ctx, &as);
	if (!ours || is_mutual(sk, msk))
		return;
	watch(ctx);
	connection_start(sk, msk, ctx, &as);
}

/*
 * A connection out is established. It may be a subflow that a session of MPTCP has called for, in
 * the session's own network namespace.
 */
static __always_inline void on_connected(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock *msk = sk ? mptcp_get(sk) : NULL;
	struct cc_session *session = msk ? record_get(msk, 0) : NULL;
	struct cc_session as;

	if (!sk || !session || !session_identify((struct sock_common *)msk, session, &as))
		return;
	watch(ctx);
	connection_start(sk, msk, ctx, &as);
}

/* A socket with our callback flag, or somebody else's, changes its TCP state. */
static __always_inline void on_state(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct cc_session *own;
	struct sock *msk;

	if (ctx->args[1] != BPF_TCP_CLOSE || !sk)
		return;
	own = record_get(sk, 0);
	if (!own) {
		if (strays_exist())
			stray_end(bpf_get_socket_cookie(ctx));
		return;
	}
	if (session_end(own) != CC_SESSION_SUBFLOW)
		return;
	msk = mptcp_get(sk);
	subflow_end(own, msk ? record_get(msk, 0) : NULL);
}

SEC("sockops")
int conncount_sockops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_established(ctx);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		on_connected(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		on_state(ctx);
		break;
	}
	return 1;
}

/*
 * A socket without a record is released. It may be a stray. And while the sessions that were
 * open before are being entered, it may be one of them, and about to be entered: it gets a
 * record that says that it has ended. Its address cannot be read here, so every TCP socket
 * gets one.
 */
static __always_inline void on_unknown_release(struct bpf_sock *sk)
{
	struct cc_directory *dir = directory_get();
	struct cc_session *session;

	if (sk->protocol != IPPROTO_TCP && sk->protocol != IPPROTO_MPTCP)
		return;
	if (strays_exist())
		stray_end(bpf_get_socket_cookie(sk));
	if (!dir || !*(volatile __u32 *)&dir->seeding)
		return;
	session = record_get(sk, BPF_SK_STORAGE_GET_F_CREATE);
	if (session)
		session_end(session);
}

/* The last descriptor of a socket is closed; also when its process dies. */
SEC("cgroup/sock_release")
int conncount_release(struct bpf_sock *sk)
{
	struct cc_session *session = record_get(sk, 0);

	if (!session)
		on_unknown_release(sk);
	else if (session_end(session) == CC_SESSION_SUBFLOW)
		subflow_end(session, NULL);
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
