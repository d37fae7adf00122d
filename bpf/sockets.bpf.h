/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * sockets.bpf.h - what the kernel itself knows of a socket, read by CO-RE.
 */
#ifndef CONNCOUNT_SOCKETS_BPF_H
#define CONNCOUNT_SOCKETS_BPF_H

#include "listeners.bpf.h"
#include <bpf/bpf_core_read.h>

enum {
	AF_INET = 2,
	AF_INET6 = 10,
	IPPROTO_TCP = 6,
	IPPROTO_MPTCP = 262,
	SOCK_STREAM = 1,

	/* Set by bind(2) to a port, and not handed on to the children of a listener. */
	SOCK_BINDPORT_LOCK = 8,
};

/* What is needed of struct net, which is 1,500 lines with all it holds. */
struct net___conncount {
	struct ns_common ns;
} __attribute__((preserve_access_index));

/* The inode number of a socket's network namespace. */
static __always_inline __u32 socket_netns(const struct sock *sk)
{
	return ((struct net___conncount *)sk->__sk_common.skc_net.net)->ns.inum;
}

static __always_inline void socket_endpoints(struct sock_common *skc, struct endpoint *local,
					     struct endpoint *peer)
{
	local->family = peer->family = skc->skc_family;
	if (skc->skc_family == AF_INET) {
		local->addr[0] = skc->skc_rcv_saddr;
		peer->addr[0] = skc->skc_daddr;
		return;
	}
	local->addr[0] = skc->skc_v6_rcv_saddr.in6_u.u6_addr32[0];
	local->addr[1] = skc->skc_v6_rcv_saddr.in6_u.u6_addr32[1];
	local->addr[2] = skc->skc_v6_rcv_saddr.in6_u.u6_addr32[2];
	local->addr[3] = skc->skc_v6_rcv_saddr.in6_u.u6_addr32[3];
	endpoint_unmap(local);
	peer->addr[0] = skc->skc_v6_daddr.in6_u.u6_addr32[0];
	peer->addr[1] = skc->skc_v6_daddr.in6_u.u6_addr32[1];
	peer->addr[2] = skc->skc_v6_daddr.in6_u.u6_addr32[2];
	peer->addr[3] = skc->skc_v6_daddr.in6_u.u6_addr32[3];
	endpoint_unmap(peer);
}

/* Whether a socket knows the other end of its connection. */
static __always_inline bool socket_has_peer(struct sock_common *skc)
{
	struct in6_addr *peer = &skc->skc_v6_daddr;

	if (skc->skc_family == AF_INET)
		return skc->skc_daddr;
	return peer->in6_u.u6_addr32[0] || peer->in6_u.u6_addr32[1] || peer->in6_u.u6_addr32[2] ||
	       peer->in6_u.u6_addr32[3];
}

/*
 * The MPTCP socket that a TCP socket is a subflow of, or NULL. That is what a process has
 * accepted, and what its close(2) releases. To be read by probes: to the verifier it is no
 * socket.
 */
static __always_inline struct sock *socket_mptcp(struct tcp_sock *tp)
{
	struct mptcp_subflow_context *subflow;

	if (!bpf_core_field_exists(tp->is_mptcp) || !tp->is_mptcp)
		return NULL;
	subflow = (struct mptcp_subflow_context *)tp->inet_conn.icsk_ulp_data;
	return BPF_CORE_READ(subflow, conn);
}

/* The socket that a process has accepted, or NULL: until then a socket has no file. */
static __always_inline struct sock *socket_accepted(struct tcp_sock *tp)
{
	struct socket *file = ((struct sock *)tp)->sk_socket;

	return file ? file->sk : NULL;
}

/*
 * The socket that a process has accepted, or will: the MPTCP socket or, where @msk is NULL, the TCP
 * socket itself. To be read by probes.
 */
static __always_inline struct sock *socket_holder(struct tcp_sock *tp, struct sock *msk)
{
	return msk ? msk : (struct sock *)tp;
}

/* Whether no process holds a socket any more, nor an accept queue. */
static __always_inline bool socket_is_dead(struct sock *holder)
{
	return BPF_CORE_READ(holder, __sk_common.skc_flags) & (1 << SOCK_DEAD);
}

/* Whether a socket was itself bound to its port, as no child of a listener is. */
static __always_inline bool socket_is_bound(struct tcp_sock *tp)
{
	return BPF_CORE_READ_BITFIELD((struct sock *)tp, sk_userlocks) & SOCK_BINDPORT_LOCK;
}

/*
 * Whether a socket is the server's side of a session that is live: connected, on a listener's
 * child rather than a socket that was itself bound to the port and connected, and held by a
 * process or an accept queue. A connection by TCP fast open is live from its SYN on.
 * @holder: see socket_holder().
 */
static __always_inline bool socket_is_session(struct tcp_sock *tp, struct sock *holder)
{
	struct sock *sk = (struct sock *)tp;

	switch (sk->__sk_common.skc_state) {
	case BPF_TCP_ESTABLISHED:
	case BPF_TCP_FIN_WAIT1:
	case BPF_TCP_FIN_WAIT2:
	case BPF_TCP_CLOSE_WAIT:
	case BPF_TCP_CLOSING:
	case BPF_TCP_LAST_ACK:
		break;
	case BPF_TCP_SYN_RECV:
		if (!tp->fastopen_rsk)
			return false;
		break;
	default:
		return false;
	}
	return !socket_is_dead(holder) && !socket_is_bound(tp);
}

/* For bpf_loop(): whether an ancestor of a cgroup is the one that is looked for. */
struct ancestry {
	struct cgroup *cgroup;
	__u64 id;
	bool found;
};

static long ancestor_compare(__u32 level, struct ancestry *ancestry)
{
	struct cgroup *cgroup = ancestry->cgroup, *ancestor = NULL;

	bpf_core_read(&ancestor, sizeof(ancestor), &cgroup->ancestors[level]);
	ancestry->found = ancestor && BPF_CORE_READ(ancestor, kn, id) == ancestry->id;
	return ancestry->found;
}

/* Whether a socket is in the cgroup of number @id, or below it. */
static __always_inline bool socket_in_cgroup(struct tcp_sock *tp, __u64 id)
{
	struct cgroup *cgroup = ((struct sock *)tp)->sk_cgrp_data.cgroup;
	struct ancestry ancestry = { .cgroup = cgroup, .id = id };

	if (!cgroup)
		return false;
	bpf_loop(cgroup->level + 1, ancestor_compare, &ancestry, 0);
	return ancestry.found;
}

#endif
