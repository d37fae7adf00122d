/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table.h - counts by network: a hash table.
 */
#ifndef CONNCOUNT_TABLE_H
#define CONNCOUNT_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include "abi.h"

/* A network and its count. A leaf has the length of its family. */
struct count {
	__be32 addr[4];  /* IPv4 in the first word; bits past the length are 0 */
	uint16_t family; /* CC_IPV4 or CC_IPV6; 0: the slot is empty */
	uint16_t length;
	int64_t n; /* never 0 in a table */
};

/* All zero is an empty table. */
struct table {
	struct count *slots;
	size_t size; /* 0, or a power of two */
	size_t used;
	int64_t sum;       /* of all counts */
	uint64_t checksum; /* of a table of leaves: the sum of leaf_hash() * count */
};

/* leaf() - the key of an address. */
struct count leaf(uint16_t family, const __be32 addr[4]);

/*
 * leaf_hash() - a hash of a leaf that is the same on every host, and of every version. The top bits
 * are the number of its chunk (batch.h).
 */
uint64_t leaf_hash(const struct count *leaf);

/* table_get() - the count of @key's network; 0 if it is not in the table. */
int64_t table_get(const struct table *table, const struct count *key);

/*
 * table_set() - have the count of @key's network be @n; 0 takes it out.
 * Returns 0, or -ENOMEM if it was not in the table and there is no room for it.
 */
int table_set(struct table *table, const struct count *key, int64_t n);

/* table_free() - empty a table. */
void table_free(struct table *table);

/* table_next() - the first count at or after the slot *@at, which becomes the one after. NULL:
 * none.
 */
const struct count *table_next(const struct table *table, size_t *at);

#endif
