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
	SOCK_STREAM = 1,

	/* Set by bind(2) to a port, and not handed on to the children of a listener. */
	SOCK_BINDPORT_LOCK = 8,

	/* Levels of cgroups that are looked through. */
	CGROUP_DEPTH_MAX = 64,
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

static __always_inline void socket_endpoints(struct tcp_sock *tp, struct endpoint *local,
					     struct endpoint *peer)
{
	struct sock_common *skc = (struct sock_common *)tp;

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

static __always_inline bool socket_is_dead(struct tcp_sock *tp)
{
	return ((struct sock_common *)tp)->skc_flags & (1 << SOCK_DEAD);
}

/*
 * Whether a socket is a further subflow of an MPTCP connection, which is no session of its
 * own. The first subflow is.
 */
static __always_inline bool socket_is_joined(struct tcp_sock *tp)
{
	struct mptcp_subflow_context *subflow;

	if (!bpf_core_field_exists(tp->is_mptcp) || !tp->is_mptcp)
		return false;
	subflow = (struct mptcp_subflow_context *)tp->inet_conn.icsk_ulp_data;
	return BPF_CORE_READ_BITFIELD_PROBED(subflow, mp_join);
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
 */
static __always_inline bool socket_is_session(struct tcp_sock *tp)
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
	return !socket_is_dead(tp) && !socket_is_bound(tp) && !socket_is_joined(tp);
}

/* Whether a socket is in the cgroup of number @id, or below it. */
static __always_inline bool socket_in_cgroup(struct tcp_sock *tp, __u64 id)
{
	struct cgroup *cgroup = ((struct sock *)tp)->sk_cgrp_data.cgroup;
	int level;

	if (!cgroup)
		return false;
	level = cgroup->level;
	for (int i = 0; i < CGROUP_DEPTH_MAX && i <= level; i++) {
		struct cgroup *ancestor = NULL;

		bpf_core_read(&ancestor, sizeof(ancestor), &cgroup->ancestors[i]);
		if (ancestor && BPF_CORE_READ(ancestor, kn, id) == id)
			return true;
	}
	return false;
}

#endif
