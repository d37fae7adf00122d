// SPDX-License-Identifier: BSD-2-Clause
/*
 * table.c - a hash table with open addressing: a network is in the first free slot from its own on.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "table.h"

enum { SIZE_LEAST = 16 };

struct count leaf(uint16_t family, const __be32 addr[4])
{
	struct count key = { .family = family, .length = family == CC_IPV6 ? 128 : 32 };

	memcpy(key.addr, addr, sizeof(key.addr));
	return key;
}

static uint64_t mix(uint64_t hash)
{
	hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9;
	hash = (hash ^ hash >> 27) * 0x94d049bb133111eb;
	return hash ^ hash >> 31;
}

uint64_t leaf_hash(const struct count *key)
{
	uint64_t hash = mix((uint64_t)ntohl(key->addr[0]) << 32 | ntohl(key->addr[1]));

	return mix(hash ^ ((uint64_t)ntohl(key->addr[2]) << 32 | ntohl(key->addr[3])) ^
		   (uint64_t)key->family << 56);
}

/*
 * Where a network's slot is. Clients choose their addresses: without a secret they could choose
 * such as share a slot.
 */
static uint64_t slot_hash(const struct count *key)
{
	static uint64_t secret;

	while (!secret)
		if (getrandom(&secret, sizeof(secret), 0) < 0)
			secret = (uintptr_t)&secret | 1;
	return mix(leaf_hash(key) ^ secret ^ (uint64_t)key->length << 40) ^
	       mix(secret + ((uint64_t)key->addr[1] << 32 | key->addr[0]));
}

static bool is_same(const struct count *a, const struct count *b)
{
	return a->family == b->family && a->length == b->length &&
	       !memcmp(a->addr, b->addr, sizeof(a->addr));
}

/* The slot that has the network, or the empty one where it belongs. */
static size_t find(const struct table *table, const struct count *key)
{
	size_t at = slot_hash(key) & (table->size - 1);

	while (table->slots[at].family && !is_same(&table->slots[at], key))
		at = (at + 1) & (table->size - 1);
	return at;
}

int64_t table_get(const struct table *table, const struct count *key)
{
	return table->size ? table->slots[find(table, key)].n : 0;
}

/* Double the table when it is three quarters full. */
static int grow(struct table *table)
{
	struct table grown = { .size = table->size ? 2 * table->size : SIZE_LEAST };

	if (4 * (table->used + 1) <= 3 * table->size)
		return 0;
	grown.slots = calloc(grown.size, sizeof(*grown.slots));
	if (!grown.slots)
		return -ENOMEM;
	for (size_t i = 0; i < table->size; i++)
		if (table->slots[i].family)
			grown.slots[find(&grown, &table->slots[i])] = table->slots[i];
	free(table->slots);
	table->slots = grown.slots;
	table->size = grown.size;
	return 0;
}

/* Empty a slot, and move those after it back that would no longer be found. */
static void take_out(struct table *table, size_t at)
{
	size_t mask = table->size - 1, next = at;

	for (;;) {
		size_t own;

		table->slots[at] = (struct count){ 0 };
		do {
			next = (next + 1) & mask;
			if (!table->slots[next].family)
				return;
			own = slot_hash(&table->slots[next]) & mask;
		} while (((next - own) & mask) < ((next - at) & mask));
		table->slots[at] = table->slots[next];
		at = next;
	}
}

int table_set(struct table *table, const struct count *key, int64_t n)
{
	int64_t old = table_get(table, key);
	size_t at;

	if (n == old)
		return 0;
	if (!old && grow(table))
		return -ENOMEM;
	at = find(table, key);
	if (n) {
		table->slots[at] = *key;
		table->slots[at].n = n;
	} else {
		take_out(table, at);
	}
	table->used += (n != 0) - (size_t)(old != 0);
	table->sum += n - old;
	table->checksum += leaf_hash(key) * (uint64_t)(n - old);
	return 0;
}

void table_free(struct table *table)
{
	free(table->slots);
	*table = (struct table){ 0 };
}

const struct count *table_next(const struct table *table, size_t *at)
{
	while (*at < table->size) {
		const struct count *slot = &table->slots[(*at)++];

		if (slot->family)
			return slot;
	}
	return NULL;
}
