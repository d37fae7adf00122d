/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * headers.bpf.h - read the PROXY header of a connection that comes from a proxy.
 *
 * The ingress program sees each packet before TCP does, and so before the server can read any of
 * it. It reads only a connection's first bytes, and only if its peer is a proxy of the listener.
 * Where a header is found depends on when it comes:
 *
 *  - After the handshake: the packet's socket is the connection's, whose record is AWAITED.
 *  - In the packet that ends the handshake: its socket is still the listener. The header is kept in
 *    a slot of the CPU; the sockops program runs next on the same CPU, for the same packet.
 *  - While another CPU ends the handshake: the socket is the connection's in TCP_SYN_RECV, perhaps
 *    without a record.
 *
 * A packet may still be dropped by TCP: a duplicate, one out of the window, one with a bad
 * checksum. Only a packet with the next byte that TCP expects is read, and only before TCP has
 * received any. So if the packet is dropped, what comes in its place is the same bytes again.
 */
#ifndef CONNCOUNT_HEADERS_BPF_H
#define CONNCOUNT_HEADERS_BPF_H

#include "connections.bpf.h"
#include "packet.bpf.h"
#include "proxy_header.h"

enum {
	/* Bytes by which the length of a header is known. */
	HEADER_BEGIN = 16,
};

/* The header that came with the end of a handshake, until the sockops program takes it. */
struct header_slot {
	struct endpoint peer;
	__be16 local_port, peer_port;
	__be32 seq;
	struct cc_session as; /* origin and, if identified, family and address */
};

/* What reading a header needs: too large for the stack. */
struct header_work {
	__u32 busy; /* not 0 while a program reads a header */
	__u32 full; /* the slot has a header */
	struct header_slot slot;
	struct proxy_header header;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct header_work);
} headers SEC(".maps");

static __always_inline struct header_work *header_work_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&headers, &zero);
}

/* --- the header ------------------------------------------------------------------------------ */

/* Load the first @n bytes of a packet's data. Returns false if they cannot be read. */
static __always_inline bool header_load(struct __sk_buff *skb, const struct packet *packet, __u32 n,
					struct proxy_header *header)
{
	if (n > packet->size)
		n = packet->size;
	if (n < 1 || n > CC_HEADER_MAX)
		return false;
	header->size = n;
	/* Up to Linux 6.1 the verifier does not conclude from a comparison that @n is not 0. */
	n = ((n - 1) & (CC_HEADER_MAX - 1)) + 1;
	return !bpf_skb_load_bytes(skb, packet->data, header->bytes, n);
}

/*
 * Read the header in a packet's data. Puts its origin and, if it names the client, the client into
 * @ret, which is otherwise unchanged.
 */
static __noinline void header_read(struct __sk_buff *skb, const struct packet *packet,
				   struct cc_session *ret)
{
	struct header_work *work = header_work_get();
	struct proxy_header *header;

	/* On a kernel where programs preempt each other (PREEMPT_RT) another one may be at work. */
	if (!work || __sync_val_compare_and_swap(&work->busy, 0, 1))
		return;
	header = &work->header;
	if (header_load(skb, packet, HEADER_BEGIN, header) &&
	    header_load(skb, packet, proxy_header_most(header), header)) {
		ret->origin = proxy_header_read(header);
		if (ret->origin == CC_ORIGIN_HEADER) {
			ret->family = bpf_htons(header->family);
			__builtin_memcpy(ret->addr, header->addr, sizeof(ret->addr));
		}
	}
	__sync_lock_test_and_set(&work->busy, 0);
}

/* --- headers that come with the handshake's end, or before it --------------------------------- */

/* Keep the header in a packet whose socket is a listener, for header_take(). */
static __always_inline void header_keep(struct __sk_buff *skb)
{
	struct header_work *work = header_work_get();
	struct packet packet = {};
	struct cc_session as;

	if (!work || !packet_read(skb, &packet) || !packet.size ||
	    !session_look_up(&packet.local, bpf_ntohs(packet.local_port), &packet.peer, &as) ||
	    !CC_SESSION_IS_AWAITED(as.state))
		return;
	header_read(skb, &packet, &as);
	work->slot.peer = packet.peer;
	work->slot.local_port = packet.local_port;
	work->slot.peer_port = packet.peer_port;
	work->slot.seq = packet.seq;
	work->slot.as = as;
	work->full = 1;
}

/*
 * header_take() - take the header that came with the packet that ends a handshake.
 * @peer: of the connection.
 * @as: awaits a header; if it came, what to count the session under at once.
 */
static __always_inline void header_take(struct bpf_sock_ops *ctx, const struct endpoint *peer,
					struct cc_session *as)
{
	struct tcp_packet *tcp = (void *)(long)ctx->skb_data;
	struct header_work *work = header_work_get();
	struct header_slot *slot;

	if (!work || (void *)(tcp + 1) > (void *)(long)ctx->skb_data_end ||
	    ctx->skb_len <= (tcp->length >> 4) * 4U)
		return;
	/* If the header was not kept, it is unread: a load comes between. */
	as->state = CC_SESSION_NEW;
	slot = &work->slot;
	if (!work->full || slot->seq != tcp->seq || slot->peer_port != tcp->source ||
	    slot->local_port != tcp->destination || slot->peer.family != peer->family ||
	    !endpoint_has_address(&slot->peer, peer))
		return;
	work->full = 0;
	as->origin = slot->as.origin;
	as->family = slot->as.family;
	__builtin_memcpy(as->addr, slot->as.addr, sizeof(as->addr));
}

/*
 * What to count a connection under whose handshake is about to end on another CPU. Returns false if
 * it will await no header. A simultaneous open is in the same state, but has a file.
 */
static __always_inline bool early_identify(struct bpf_sock *sk, const struct packet *packet,
					   struct cc_session *ret)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	if (!tp || socket_accepted(tp) || socket_mptcp(tp) || !socket_is_counted_here(tp))
		return false;
	return session_look_up(&packet->local, bpf_ntohs(packet->local_port), &packet->peer, ret) &&
	       CC_SESSION_IS_AWAITED(ret->state);
}

/* --- the first bytes of a connection ---------------------------------------------------------- */

/* A connection that has received nothing gets a packet. */
static __always_inline void header_arrives(struct __sk_buff *skb, struct bpf_sock *sk,
					   __u32 next_seq)
{
	/* Before the record: its handshake's end on another CPU makes that first, and leaves
	 * SYN_RECV then. In the other order both could be missed, and the header with them. */
	__u32 tcp_state = *(volatile __u32 *)&sk->state;
	struct cc_session *session = record_get(sk, 0);
	__u32 state = session ? *(volatile __u32 *)&session->state : CC_SESSION_NEW;
	bool early = state == CC_SESSION_NEW && tcp_state == BPF_TCP_SYN_RECV;
	struct cc_session as = { .origin = CC_ORIGIN_UNREAD };
	struct packet packet = {};

	if (!early && !CC_SESSION_IS_AWAITED(state))
		return;
	if (!packet_read(skb, &packet) || !packet.size || packet.seq != bpf_htonl(next_seq))
		return;
	if (early && !early_identify(sk, &packet, &as))
		return;
	session_set_peer(&as, &packet.peer);
	header_read(skb, &packet, &as);
	if (!session)
		session = record_get(sk, BPF_SK_STORAGE_GET_F_CREATE);
	if (session && session_start(session, &as))
		session_opened(sk, session);
}

#endif
