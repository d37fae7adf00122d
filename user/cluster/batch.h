/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * batch.h - counts as bytes: what nodes write to the engine.
 *
 * A count is a byte 4 or 6, the address in network byte order, and the count of its sessions, 0 if
 * it has none any more: 7 bits a byte, the lowest first, with the top bit set in all but the last.
 */
#ifndef CONNCOUNT_BATCH_H
#define CONNCOUNT_BATCH_H

#include <stdbool.h>

#include "table.h"

/* Bytes that grow. All zero is an empty batch. */
struct batch {
	unsigned char *bytes;
	size_t n, room;
};

/* batch_add() - append a leaf with the count @n, of at most 24 bits. Returns 0 or -ENOMEM. */
int batch_add(struct batch *batch, const struct count *leaf, int64_t n);

/* batch_append() - append @n bytes. Returns 0 or -ENOMEM. */
int batch_append(struct batch *batch, const void *bytes, size_t n);

/* batch_number() - append a number of 8 bytes. Returns 0 or -ENOMEM. */
int batch_number(struct batch *batch, uint64_t number);

void batch_free(struct batch *batch);

/* What is left of received bytes. */
struct bytes {
	const unsigned char *at;
	size_t n;
};

/*
 * bytes_next() - take the next leaf off.
 * @ret: with its count in `n`.
 * Returns 1; 0 at the end; -EPROTO if they are not what batch_add() writes.
 */
int bytes_next(struct bytes *bytes, struct count *ret);

/* bytes_number() - take a number off. Returns false if there is none. */
bool bytes_number(struct bytes *bytes, uint64_t *ret);

/*
 * The snapshot of a node's counts is cut into chunks, of which it writes one at a time. chunk_of()
 * is the one that a leaf is in.
 */
enum { CHUNKS = 64 };
unsigned chunk_of(const struct count *leaf);

#endif
