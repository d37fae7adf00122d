/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * sockets.bpf.h - what the kernel knows about a socket, read by CO-RE.
 *
 * Functions that use BPF_CORE_READ() take any pointer to a socket. The others need one that the
 * verifier knows to be a socket.
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

	/* Set by bind(2) to a port; the children of a listener do not inherit it. */
	SOCK_BINDPORT_LOCK = 8,
};

/* The fields used of the hash tables of connections, and of struct net, which is 1,500 lines. */
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

/* The field used of a port's bucket, a type that is incomplete elsewhere. */
struct inet_bind_bucket___conncount {
	signed char fastreuse;
} __attribute__((preserve_access_index));

/* The field used of an MPTCP socket. */
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

/* Get both ends of a connection. */
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
 * The MPTCP socket of a subflow; NULL for plain TCP. A process accepts the MPTCP socket, and its
 * close(2) releases that. The caller must read it by probes, too: to the verifier it is not a
 * socket.
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
 * The socket that a process has accepted, or will accept: the MPTCP socket or, if @msk is NULL, the
 * TCP socket itself.
 */
static __always_inline struct sock *socket_holder(struct tcp_sock *tp, struct sock *msk)
{
	return msk ? msk : (struct sock *)tp;
}

/* Whether neither a process nor an accept queue holds a socket any longer. */
static __always_inline bool socket_is_dead(struct sock *holder)
{
	return BPF_CORE_READ(holder, __sk_common.skc_flags) & (1 << SOCK_DEAD);
}

/* Whether anything has been received on a connection, be it only a FIN. */
static __always_inline bool socket_has_received(struct tcp_sock *tp)
{
	return BPF_CORE_READ(tp, bytes_received);
}

/* Whether bind(2) gave a socket its port: a listener's child inherits it instead. */
static __always_inline bool socket_is_bound(struct tcp_sock *tp)
{
	return BPF_CORE_READ_BITFIELD((struct sock *)tp, sk_userlocks) & SOCK_BINDPORT_LOCK;
}

/*
 * Whether the acknowledged bytes of a socket include a SYN. The SYN of connect(2) counts as one of
 * them; a child has not sent its SYN itself, but the listener has. False, too, once a FIN may be
 * among them.
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
 * Whether a connected socket called connect(2), rather than come from a listener. For MPTCP the
 * kernel knows. For TCP it does not record that:
 *  - A socket that bind(2) gave its port is not a child.
 *  - A socket with a backlog is a child: it inherits its listener's.
 *  - Otherwise it called if connect(2) took the port and has it to itself, which marks the port's
 *    bucket; or if it sent a SYN.
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
 * Whether a socket is the server's side of a live session: connected, a listener's child rather
 * than a socket that called connect(2), and held by a process or an accept queue. A connection by
 * TCP fast open is live from its SYN on.
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

/* For bpf_loop(): whether an ancestor of a cgroup is the one with this id. */
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

/* Whether a socket is in the cgroup with id @id, or below it. */
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
