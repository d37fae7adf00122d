/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * listeners.bpf.h - find the listener of a connection, and whether its peer is a proxy.
 */
#ifndef CONNCOUNT_LISTENERS_BPF_H
#define CONNCOUNT_LISTENERS_BPF_H

#include "maps.bpf.h"
#include <bpf/bpf_endian.h>

/* One end of a connection. */
struct endpoint {
	__u32 family;   /* CC_IPV4 or CC_IPV6 */
	__be32 addr[4]; /* IPv4 in the first word, the rest 0 */
};

/* Turn an IPv4-mapped IPv6 address into the IPv4 address. */
static __always_inline void endpoint_unmap(struct endpoint *end)
{
	if (end->addr[0] || end->addr[1] || end->addr[2] != bpf_htonl(0xffff))
		return;
	end->family = CC_IPV4;
	end->addr[0] = end->addr[3];
	end->addr[2] = 0;
	end->addr[3] = 0;
}

/* Whether two ends have the same address. */
static __always_inline bool endpoint_has_address(const struct endpoint *a, const struct endpoint *b)
{
	return a->addr[0] == b->addr[0] && a->addr[1] == b->addr[1] && a->addr[2] == b->addr[2] &&
	       a->addr[3] == b->addr[3];
}

/*
 * listener_find() - find the listener of a local address in the active configuration.
 * @port: host byte order.
 * @ret_config: gets the configuration in which it was found, as proxy_find() needs it.
 * Returns NULL if there is none, or no configuration is active.
 */
static __always_inline struct cc_listener_id *listener_find(const struct endpoint *local,
							    __u32 port, __be16 *ret_config)
{
	struct cc_control *control = control_get();
	__u64 generation;

	if (!control)
		return NULL;
	generation = *(volatile __u64 *)&control->generation;
	if (!generation)
		return NULL;

	struct cc_listener_key key = {
		.prefixlen = CC_LISTENER_BITS_FAMILY + (local->family == CC_IPV6 ? 128 : 32),
		.config = bpf_htons(generation & 1),
		.port = bpf_htons(port),
		.family = bpf_htons(local->family),
		.addr = { local->addr[0], local->addr[1], local->addr[2], local->addr[3] },
	};

	*ret_config = key.config;
	return bpf_map_lookup_elem(&listeners, &key);
}

static __always_inline struct cc_peer_key peer_key(__u32 listener, __be16 config,
						   const struct endpoint *peer)
{
	return (struct cc_peer_key){
		.prefixlen = CC_PEER_BITS_FAMILY + (peer->family == CC_IPV6 ? 128 : 32),
		.config = config,
		.listener = bpf_htons(listener),
		.family = bpf_htons(peer->family),
		.addr = { peer->addr[0], peer->addr[1], peer->addr[2], peer->addr[3] },
	};
}

/*
 * proxy_find() - find out whether a peer is one of a listener's proxies.
 * @listener, @config: what listener_find() returned.
 */
static __always_inline bool proxy_find(const struct cc_listener_id *listener, __be16 config,
				       const struct endpoint *peer)
{
	struct cc_peer_key key;

	if (!listener->proxied)
		return false;
	key = peer_key(listener->id, config, peer);
	return bpf_map_lookup_elem(&proxies, &key);
}

/* exempt_find() - find out whether a listener's limits do not apply to a peer. */
static __always_inline bool exempt_find(__u32 listener, __be16 config, const struct endpoint *peer)
{
	struct cc_peer_key key = peer_key(listener, config, peer);

	return bpf_map_lookup_elem(&exempt, &key);
}

#endif
