/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * gates.bpf.h - refuse a connection of a network that has as many sessions as its limit.
 *
 * A connection passes two gates before the server learns of it:
 *
 *  - The SYN gate, in each network namespace that has a listener. The kernel looks for the socket
 *    that a SYN is for, and this program can say that there is none: then the client gets a RST.
 *    It compares the count with the limit and reserves nothing, so that a SYN from a forged address
 *    uses up nothing.
 *  - The ACK gate, in the cgroup. It sees the packet that ends the handshake, whose socket is still
 *    the listener, and reserves a place (places.bpf.h) or drops the packet. The kernel takes a
 *    dropped ACK for lost: it repeats its SYN-ACK, and the client gets in if a place is free then.
 *    This gate makes the limit exact: many SYNs can pass the first one before one of them counts.
 *
 * Both let everything through while counts may be too large, or are being entered.
 */
#ifndef CONNCOUNT_GATES_BPF_H
#define CONNCOUNT_GATES_BPF_H

#include "connections.bpf.h"
#include "packet.bpf.h"

/* The network namespace of the packet, for bpf_skc_lookup_tcp(): BPF_F_CURRENT_NETNS. */
enum { NETNS_OWN = -1 };

/* The fields used of a listening socket: how many connections may wait that began with data. */
struct fastopen_queue___conncount {
	int max_qlen;
} __attribute__((preserve_access_index));

struct request_sock_queue___conncount {
	struct fastopen_queue___conncount fastopenq;
} __attribute__((preserve_access_index));

struct inet_connection_sock___conncount {
	struct request_sock_queue___conncount icsk_accept_queue;
} __attribute__((preserve_access_index));

/* The field used of a half-open connection: the sequence number of its SYN-ACK. */
struct tcp_request_sock___conncount {
	__u32 snt_isn;
} __attribute__((preserve_access_index));

/* The field used of listeners that share a port: when they last sent a SYN cookie, or 0. */
struct sock_reuseport___conncount {
	unsigned synq_overflow_ts;
} __attribute__((preserve_access_index));

/* A connection at a gate: its listener and address, and the listener's limits. */
struct arrival {
	struct cc_session as;
	struct cc_limits *limits;
};

/*
 * Find the limits of a connection, in the active configuration.
 * @port: host byte order.
 * Returns false if there is none that could refuse it.
 */
static __always_inline bool arrival_find(const struct endpoint *local, __u32 port,
					 const struct endpoint *peer, struct arrival *ret)
{
	__be16 config = 0;
	struct cc_listener_id *listener = listener_find(local, port, &config);

	if (!listener)
		return false;
	ret->limits = limits_find(listener->id, config, peer);
	if (!ret->limits || !ret->limits->resets)
		return false;
	ret->as.listener = bpf_htons(listener->id);
	session_set_peer(&ret->as, peer);
	return true;
}

/* --- the SYN gate --------------------------------------------------------------------------------
 */

/* Whether a connection is to be refused at its SYN. */
static __always_inline bool syn_is_refused(struct arrival *arrival)
{
	struct cc_count_key key = {};
	__u32 level;

	for (__u32 i = 0; i < CC_LIMITS_MAX; i++) {
		struct cc_limit *limit = limit_get(&arrival->as, arrival->limits, i, &key, &level);

		if (!limit)
			break;
		if (limit->action != CC_LIMIT_RESET || !network_has(&key, limit->over))
			continue;
		refusal_add(&key, limit->total, false);
		return true;
	}
	return false;
}

/* --- the ACK gate --------------------------------------------------------------------------------
 */

/*
 * Whether a listener may have sent a SYN cookie: then a handshake can end without a half-open
 * connection.
 */
static __always_inline bool listener_sent_cookies(struct tcp_sock *listener)
{
	struct sock_reuseport___conncount *group =
		(void *)BPF_CORE_READ((struct sock *)listener, sk_reuseport_cb);

	return BPF_CORE_READ(listener, rx_opt.ts_recent_stamp) ||
	       (group && BPF_CORE_READ(group, synq_overflow_ts));
}

/*
 * Whether an ACK answers a SYN-ACK of a listener. A forged ACK has the wrong number, or belongs to
 * no half-open connection. It must not reserve a place: a few of them could hold one on every CPU.
 * If another CPU has just ended the same handshake, this ACK opens nothing either.
 *
 * Two kinds cannot be checked here, and are taken for right. One is a SYN cookie. The other answers
 * a listener that is of MPTCP or in a sockmap: bpf_skc_to_tcp_request_sock() does not know its
 * half-open connections. A function of its own, as packet_read().
 */
static __noinline bool ack_is_expected(struct __sk_buff *skb, const struct packet *packet,
				       struct tcp_sock *listener)
{
	struct tcp_request_sock___conncount *request;
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *found;
	bool expected;

	if (packet->peer.family == CC_IPV4) {
		tuple.ipv4.saddr = packet->peer.addr[0];
		tuple.ipv4.daddr = packet->local.addr[0];
		tuple.ipv4.sport = packet->peer_port;
		tuple.ipv4.dport = packet->local_port;
		found = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), NETNS_OWN, 0);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, packet->peer.addr, sizeof(tuple.ipv6.saddr));
		__builtin_memcpy(tuple.ipv6.daddr, packet->local.addr, sizeof(tuple.ipv6.daddr));
		tuple.ipv6.sport = packet->peer_port;
		tuple.ipv6.dport = packet->local_port;
		found = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), NETNS_OWN, 0);
	}
	if (!found)
		return listener_sent_cookies(listener);
	request = (void *)bpf_skc_to_tcp_request_sock(found);
	if (request)
		expected = request->snt_isn + 1 == bpf_ntohl(packet->ack);
	else
		expected = found->state == BPF_TCP_NEW_SYN_RECV || listener_sent_cookies(listener);
	bpf_sk_release(found);
	return expected;
}

/* Whether a packet to a listener may open a connection: a SYN does so only by TCP fast open. */
static __always_inline bool packet_can_open(struct __sk_buff *skb, const struct packet *packet,
					    struct tcp_sock *listener)
{
	struct inet_connection_sock___conncount *icsk = (void *)listener;

	if (packet->flags & TCP_FLAG_RST)
		return false;
	if (packet->flags & TCP_FLAG_SYN)
		return icsk->icsk_accept_queue.fastopenq.max_qlen > 0;
	return packet->flags & TCP_FLAG_ACK && ack_is_expected(skb, packet, listener);
}

/*
 * Reserve a place in each network of a connection that has a limit. Returns 0. If a network has no
 * room, returns its result, PLACE_FULL or PLACE_HELD, and reserves no place in any.
 * @last: refuse the connection also for PLACE_HELD.
 * A function of its own, as packet_read().
 */
static __noinline int arrival_reserve(struct arrival *arrival, bool last)
{
	struct cc_count_key key = {};
	__u32 levels = 0, total = 0, level;
	int refused = 0;

	for (__u32 i = 0; i < CC_LIMITS_MAX; i++) {
		struct cc_limit *limit = limit_get(&arrival->as, arrival->limits, i, &key, &level);
		int result;

		if (!limit)
			break;
		/* Of two limits for one length, the lower one comes first. */
		if (limit->action != CC_LIMIT_RESET || levels & 1U << level)
			continue;
		result = place_reserve(&key, limit->over);
		if (result == PLACE_RESERVED)
			levels |= 1U << level;
		refused = result == PLACE_FULL || result == PLACE_HELD ? result : 0;
		total = limit->total;
		if (refused)
			break;
	}
	if (refused && (refused == PLACE_FULL || last))
		refusal_add(&key, total, false);
	if (levels && (refused || !place_note(&arrival->as, levels)))
		places_return(&arrival->as, levels);
	return refused;
}

/*
 * Where all network namespaces are counted, note that this one has no SYN gate: it was made after
 * the last load. A function of its own, as packet_read().
 */
static __noinline void ungated_note(struct tcp_sock *listener)
{
	struct net___conncount *net = (void *)((struct sock *)listener)->__sk_common.skc_net.net;
	struct cc_gated value = { .netns = net->ns.inum };
	__u64 cookie = net->net_cookie;

	if (!counted_netns && !bpf_map_lookup_elem(&gated, &cookie))
		bpf_map_update_elem(&gated, &cookie, &value, BPF_NOEXIST);
}

/*
 * Find the limits of the connection that a packet may open. Returns false if there is none that
 * could refuse it. A function of its own, as packet_read().
 */
static __noinline bool packet_find(struct __sk_buff *skb, struct tcp_sock *listener,
				   struct arrival *ret)
{
	struct packet packet = {};

	return packet_read(skb, &packet) &&
	       arrival_find(&packet.local, bpf_ntohs(packet.local_port), &packet.peer, ret) &&
	       packet_can_open(skb, &packet, listener);
}

/* Whether a packet to a listener may go on to TCP. */
static __always_inline bool packet_is_admitted(struct __sk_buff *skb, struct bpf_sock *sk)
{
	struct tcp_sock *listener = bpf_skc_to_tcp_sock(sk);
	struct arrival arrival = {};
	int refused;

	if (!listener || !socket_is_counted_here(listener) || !packet_find(skb, listener, &arrival))
		return true;
	ungated_note(listener);
	place_drop();
	refused = arrival_reserve(&arrival, false);
	if (refused == PLACE_HELD) {
		places_reclaim(&arrival.as);
		refused = arrival_reserve(&arrival, true);
	}
	return !refused;
}

#endif
