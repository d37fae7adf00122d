// SPDX-License-Identifier: BSD-2-Clause
/*
 * batch.c - write counts as bytes, and read them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"

enum {
	TYPE_IPV4 = 4,
	TYPE_IPV6 = 6,
	NUMBER_BYTES = 8,
	COUNT_BITS = 24,         /* so that no sum of them overflows */
	LEAF_BYTES = 1 + 16 + 5, /* of the longest */
};

static unsigned char *make_room(struct batch *batch, size_t n)
{
	size_t room = batch->room ? batch->room : 256;
	void *grown;

	while (room < batch->n + n)
		room *= 2;
	if (room == batch->room)
		return batch->bytes + batch->n;
	grown = realloc(batch->bytes, room);
	if (!grown)
		return NULL;
	batch->bytes = grown;
	batch->room = room;
	return batch->bytes + batch->n;
}

int batch_add(struct batch *batch, const struct count *key, int64_t n)
{
	unsigned char *at = make_room(batch, LEAF_BYTES);
	size_t bytes = key->length / 8;
	uint32_t left = (uint32_t)n;

	if (!at)
		return -ENOMEM;
	*at++ = key->family == CC_IPV6 ? TYPE_IPV6 : TYPE_IPV4;
	memcpy(at, key->addr, bytes);
	at += bytes;
	for (; left >= 0x80; left >>= 7)
		*at++ = (unsigned char)(left | 0x80);
	*at++ = (unsigned char)left;
	batch->n = (size_t)(at - batch->bytes);
	return 0;
}

int batch_append(struct batch *batch, const void *bytes, size_t n)
{
	unsigned char *at = make_room(batch, n);

	if (!at)
		return -ENOMEM;
	memcpy(at, bytes, n);
	batch->n += n;
	return 0;
}

int batch_number(struct batch *batch, uint64_t number)
{
	unsigned char *at = make_room(batch, NUMBER_BYTES);

	if (!at)
		return -ENOMEM;
	for (int shift = 56; shift >= 0; shift -= 8)
		*at++ = (unsigned char)(number >> shift);
	batch->n += NUMBER_BYTES;
	return 0;
}

void batch_free(struct batch *batch)
{
	free(batch->bytes);
	*batch = (struct batch){ 0 };
}

static bool take(struct bytes *bytes, void *to, size_t n)
{
	if (bytes->n < n)
		return false;
	memcpy(to, bytes->at, n);
	bytes->at += n;
	bytes->n -= n;
	return true;
}

int bytes_next(struct bytes *bytes, struct count *ret)
{
	unsigned char byte = 0;
	__be32 addr[4] = { 0 };
	uint64_t n = 0;

	if (!take(bytes, &byte, 1))
		return 0;
	if ((byte != TYPE_IPV4 && byte != TYPE_IPV6) ||
	    !take(bytes, addr, byte == TYPE_IPV6 ? 16 : 4))
		return -EPROTO;
	*ret = leaf(byte == TYPE_IPV6 ? CC_IPV6 : CC_IPV4, addr);
	for (int shift = 0;; shift += 7) {
		if (shift > COUNT_BITS || !take(bytes, &byte, 1))
			return -EPROTO;
		n |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			break;
	}
	if (n >> COUNT_BITS)
		return -EPROTO;
	ret->n = (int64_t)n;
	return 1;
}

bool bytes_number(struct bytes *bytes, uint64_t *ret)
{
	unsigned char from[NUMBER_BYTES];
	uint64_t number = 0;

	if (!take(bytes, from, sizeof(from)))
		return false;
	for (size_t i = 0; i < sizeof(from); i++)
		number = number << 8 | from[i];
	*ret = number;
	return true;
}

unsigned chunk_of(const struct count *key)
{
	return (unsigned)(leaf_hash(key) >> 58);
}
