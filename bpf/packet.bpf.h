/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * packet.bpf.h - read the addresses, the flags and the place of the data of a TCP packet.
 */
#ifndef CONNCOUNT_PACKET_BPF_H
#define CONNCOUNT_PACKET_BPF_H

#include "listeners.bpf.h"
#include "sockets.bpf.h"

enum {
	ETH_P_IP = 0x0800,
	/* Extension headers of IPv6 that are looked past. */
	EXTENSIONS_MAX = 4,
	NEXTHDR_HOP = 0,
	NEXTHDR_ROUTING = 43,
	NEXTHDR_DEST = 60,

	TCP_FLAG_SYN = 0x02,
	TCP_FLAG_RST = 0x04,
	TCP_FLAG_ACK = 0x10,
};

/* The fields used of the protocols' headers, which the kernel declares with bit fields. */
struct ipv4_packet {
	__u8 length; /* lower half: of the header, in 4 bytes */
	__u8 unused[11];
	__be32 source, destination;
};

struct ipv6_packet {
	__u8 unused[6];
	__u8 next;
	__u8 hops;
	__be32 source[4], destination[4];
};

struct tcp_packet {
	__be16 source, destination;
	__be32 seq, ack;
	__u8 length; /* upper half: of the header, in 4 bytes */
	__u8 flags;  /* TCP_FLAG_* */
};

/* A TCP packet. */
struct packet {
	struct endpoint local, peer;
	__be16 local_port, peer_port;
	__be32 seq;       /* of its first byte, or of its SYN */
	__be32 ack;       /* if flags have TCP_FLAG_ACK: which byte comes next from the listener */
	__u32 data, size; /* where its data begins, and how many bytes that is */
	__u8 flags;       /* TCP_FLAG_* */
};

/* Read the addresses of an IPv4 packet. Returns the length of its header; 0 if there is none. */
static __always_inline __u32 ipv4_read(const struct ipv4_packet *ip, const void *end,
				       struct packet *ret)
{
	if ((const void *)(ip + 1) > end)
		return 0;
	ret->local.family = ret->peer.family = CC_IPV4;
	ret->local.addr[0] = ip->destination;
	ret->peer.addr[0] = ip->source;
	return (ip->length & 15) * 4;
}

/* The same for IPv6. Returns the length of its header with all extensions. */
static __always_inline __u32 ipv6_read(const struct ipv6_packet *ip, const void *end,
				       struct packet *ret)
{
	__u32 length = sizeof(*ip);
	__u8 next;

	if ((const void *)(ip + 1) > end)
		return 0;
	ret->local.family = ret->peer.family = CC_IPV6;
	__builtin_memcpy(ret->local.addr, ip->destination, sizeof(ip->destination));
	__builtin_memcpy(ret->peer.addr, ip->source, sizeof(ip->source));
	next = ip->next;
	for (int i = 0; i < EXTENSIONS_MAX && next != IPPROTO_TCP; i++) {
		/* the next one's type; length in 8 bytes, less 1 */
		const __u8 *extension = (const void *)ip + length;

		if (next != NEXTHDR_HOP && next != NEXTHDR_ROUTING && next != NEXTHDR_DEST)
			return 0;
		if ((const void *)(extension + 2) > end)
			return 0;
		next = extension[0];
		length += (extension[1] + 1) * 8;
	}
	return next == IPPROTO_TCP ? length : 0;
}

/*
 * packet_read() - read a packet of TCP. Returns false if it cannot be read: the kernel has its
 * headers in one piece by now.
 *
 * A function of its own: its stack is free again before the caller's other calls.
 */
static __noinline bool packet_read(struct __sk_buff *skb, struct packet *ret)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct tcp_packet *tcp;
	__u32 at;

	at = skb->protocol == bpf_htons(ETH_P_IP) ? ipv4_read(data, end, ret)
						  : ipv6_read(data, end, ret);
	tcp = data + at;
	if (!at || (void *)(tcp + 1) > end)
		return false;
	ret->local_port = tcp->destination;
	ret->peer_port = tcp->source;
	ret->seq = tcp->seq;
	ret->ack = tcp->ack;
	ret->flags = tcp->flags;
	ret->data = at + (tcp->length >> 4) * 4;
	if (skb->len > ret->data)
		ret->size = skb->len - ret->data;
	return true;
}

#endif
