/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mask.h - clear the bits of an address past a prefix length.
 */
#ifndef CONNCOUNT_MASK_H
#define CONNCOUNT_MASK_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* A word with its first @n bits set. */
static inline uint64_t first_bits(unsigned n)
{
	return n < 64 ? ~(UINT64_MAX >> n) : UINT64_MAX;
}

/* mask_address() - copy the 16 bytes of an address, the bits past @prefixlen cleared. */
static inline void mask_address(void *to, const void *from, unsigned prefixlen)
{
	uint64_t words[2];

	memcpy(words, from, sizeof(words));
	words[0] &= htobe64(first_bits(prefixlen));
	words[1] &= htobe64(first_bits(prefixlen > 64 ? prefixlen - 64 : 0));
	memcpy(to, words, sizeof(words));
}

#endif
