/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * levels.bpf.h - the levels, and the network of an address at each.
 */
#ifndef CONNCOUNT_LEVELS_BPF_H
#define CONNCOUNT_LEVELS_BPF_H

#include "maps.bpf.h"
#include <bpf/bpf_endian.h>

/* A level, and the mask of an address at that level. */
struct level {
	__u32 prefixlen;
	__be32 mask[4];
};

/* The mask of the first @length bits of an address, in the word that begins at bit @at. */
#define WORD_MASK(length, at)                 \
	((length) <= (at)        ? 0          \
	 : (length) >= (at) + 32 ? 0xffffffff \
				 : bpf_htonl(~(0xffffffff >> (length) % 32)))
#define LEVEL(length)                                                                   \
	{ .prefixlen = CC_COUNT_BITS_OWNER + (length),                                  \
	  .mask = { WORD_MASK(length, 0), WORD_MASK(length, 32), WORD_MASK(length, 64), \
		    WORD_MASK(length, 96) } },

/*
 * Masks come from a table: masking by a length that the verifier does not know took it 900,000
 * instructions on Linux 7.0, and did not load on 6.19, 7.2 and 7.3.
 */
enum {
#define ONE(length) +1
	LEVELS_IPV4 = CC_LEVELS_IPV4(ONE),
	LEVELS_IPV6 = CC_LEVELS_IPV6(ONE),
#undef ONE
};

static const struct level levels[CC_FAMILIES][LEVELS_IPV6] = {
	[CC_FAMILY_INDEX(CC_IPV4)] = { CC_LEVELS_IPV4(LEVEL) },
	[CC_FAMILY_INDEX(CC_IPV6)] = { CC_LEVELS_IPV6(LEVEL) },
};

#undef LEVEL
#undef WORD_MASK

/* How many levels the family of a session has. */
static __always_inline __u32 level_count(const struct cc_session *session)
{
	return session->family == bpf_htons(CC_IPV6) ? LEVELS_IPV6 : LEVELS_IPV4;
}

/* The levels of a session's family, shortest prefix first. */
static __always_inline const struct level *levels_get(const struct cc_session *session)
{
	return levels[CC_FAMILY_INDEX(bpf_ntohs(session->family))];
}

/* Set the prefix length and address of @ret: the network of a session at @level. */
static __always_inline void level_key(const struct cc_session *session, const struct level *level,
				      struct cc_count_key *ret)
{
	ret->prefixlen = level->prefixlen;
	ret->addr[0] = session->addr[0] & level->mask[0];
	ret->addr[1] = session->addr[1] & level->mask[1];
	ret->addr[2] = session->addr[2] & level->mask[2];
	ret->addr[3] = session->addr[3] & level->mask[3];
}

#endif
