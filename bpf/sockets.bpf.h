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

/* What is needed of the tables of connections, and of struct net, which is 1,500 lines. */
struct inet_ehash_bucket___conncount {
	struct hlist_nulls_head___conncount {
		struct hlist_nulls_node *first;
	} chain;
} __attribute__((preserve_access_index));

struct inet_hashinfo___conncount {
	struct inet_ehash_bucket___conncount *ehash;
	unsigned ehash_mask;
} __attribute__((preserve_access_index));

struct inet_timewait_death_row___conncount {
	struct inet_hashinfo___conncount *hashinfo;
} __attribute__((preserve_access_index));

struct netns_ipv4___conncount {
	struct inet_timewait_death_row___conncount tcp_death_row;
} __attribute__((preserve_access_index));

struct net___conncount {
	struct ns_common ns;
	struct list_head list;
	struct netns_ipv4___conncount ipv4;
	__u64 net_cookie;
} __attribute__((preserve_access_index));

/* What is needed of a port's bucket, which is nowhere else complete. */
struct inet_bind_bucket___conncount {
	signed char fastreuse;
} __attribute__((preserve_access_index));

/* And of an MPTCP socket. */
struct mptcp_pm_data___conncount {
	bool server_side;
} __attribute__((preserve_access_index));

struct mptcp_sock___conncount {
	struct mptcp_pm_data___conncount pm;
} __attribute__((preserve_access_index));

/* The inode number of a socket's network namespace. */
static __always_inline __u32 socket_netns(const struct sock *sk)
{
	return ((struct net___conncount *)sk->__sk_common.skc_net.net)->ns.inum;
}

/* To be read by probes. */
static __always_inline void socket_endpoints(struct sock_common *skc, struct endpoint *local,
					     struct endpoint *peer)
{
	local->family = peer->family = BPF_CORE_READ(skc, skc_family);
	if (local->family == AF_INET) {
		local->addr[0] = BPF_CORE_READ(skc, skc_rcv_saddr);
		peer->addr[0] = BPF_CORE_READ(skc, skc_daddr);
		return;
	}
	BPF_CORE_READ_INTO(&local->addr, skc, skc_v6_rcv_saddr.in6_u.u6_addr32);
	BPF_CORE_READ_INTO(&peer->addr, skc, skc_v6_daddr.in6_u.u6_addr32);
	endpoint_unmap(local);
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
 * accepted, and what its close(2) releases. Read by probes; and so must it be: to the verifier it
 * is no socket.
 */
static __always_inline struct sock *socket_mptcp(struct tcp_sock *tp)
{
	struct mptcp_subflow_context *subflow;

	if (!bpf_core_field_exists(tp->is_mptcp) || !BPF_CORE_READ(tp, is_mptcp))
		return NULL;
	subflow = (struct mptcp_subflow_context *)BPF_CORE_READ(tp, inet_conn.icsk_ulp_data);
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
 * Whether what a socket has had acknowledged begins with its SYN. The SYN of connect(2) is counted
 * with the bytes, and a child's is the listener's. Not known once a FIN may be among them.
 */
static __always_inline bool socket_sent_syn(struct tcp_sock *tp)
{
	__u64 sent = BPF_CORE_READ(tp, bytes_sent) - BPF_CORE_READ(tp, bytes_retrans);
	__u32 in_flight = BPF_CORE_READ(tp, snd_nxt) - BPF_CORE_READ(tp, snd_una);

	switch (BPF_CORE_READ((struct sock_common *)tp, skc_state)) {
	case BPF_TCP_ESTABLISHED:
	case BPF_TCP_CLOSE_WAIT:
		return BPF_CORE_READ(tp, bytes_acked) + in_flight == sent + 1;
	default:
		return false;
	}
}

/*
 * Whether a connected socket has called out, rather than come from a listener. Of a session of
 * MPTCP the kernel knows. Of a TCP socket it keeps no note. One that was bound to its port is no
 * child. A child has its listener's backlog. Without a backlog it has called if connect(2) took the
 * port, which marks that, and has had it to itself; or else if it has sent a SYN. To be read by
 * probes.
 */
static __noinline bool socket_has_called(struct tcp_sock *tp, struct sock *msk)
{
	struct sock *sk = (struct sock *)tp;
	struct inet_bind_bucket___conncount *port;

	if (msk)
		return !BPF_CORE_READ((struct mptcp_sock___conncount *)msk, pm.server_side);
	if (BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_BINDPORT_LOCK)
		return true;
	if (!BPF_CORE_READ(sk, sk_socket) || BPF_CORE_READ(sk, sk_max_ack_backlog))
		return false;
	port = (struct inet_bind_bucket___conncount *)BPF_CORE_READ(tp, inet_conn.icsk_bind_hash);
	return BPF_CORE_READ(port, fastreuse) < 0 || socket_sent_syn(tp);
}

/*
 * Whether a socket is the server's side of a session that is live: connected, on a listener's
 * child rather than a socket that has called out, and held by a process or an accept queue. A
 * connection by TCP fast open is live from its SYN on. To be read by probes.
 */
static __always_inline bool socket_is_session(struct tcp_sock *tp, struct sock *msk)
{
	switch (BPF_CORE_READ((struct sock_common *)tp, skc_state)) {
	case BPF_TCP_ESTABLISHED:
	case BPF_TCP_FIN_WAIT1:
	case BPF_TCP_FIN_WAIT2:
	case BPF_TCP_CLOSE_WAIT:
	case BPF_TCP_CLOSING:
	case BPF_TCP_LAST_ACK:
		break;
	case BPF_TCP_SYN_RECV:
		if (!BPF_CORE_READ(tp, fastopen_rsk))
			return false;
		break;
	default:
		return false;
	}
	return !socket_is_dead(socket_holder(tp, msk)) && !socket_has_called(tp, msk);
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

/* Whether a socket is in the cgroup of number @id, or below it. To be read by probes. */
static __always_inline bool socket_in_cgroup(struct tcp_sock *tp, __u64 id)
{
	struct cgroup *cgroup = BPF_CORE_READ((struct sock *)tp, sk_cgrp_data.cgroup);
	struct ancestry ancestry = { .cgroup = cgroup, .id = id };

	if (!cgroup)
		return false;
	bpf_loop(BPF_CORE_READ(cgroup, level) + 1, ancestor_compare, &ancestry, 0);
	return ancestry.found;
}

#endif
