// SPDX-License-Identifier: BSD-2-Clause
/*
 * listing.c - who is connected: the networks of both families.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "listing.h"

static int append(struct listing *listing, const struct conncount_entry *entries, size_t n,
		  const struct conncount_answer *answer)
{
	listing->answer.count += answer->count;
	listing->answer.uncounted += answer->uncounted;
	listing->answer.lost += answer->lost;
	listing->answer.flags &= answer->flags;
	if (!n)
		return 0;

	void *grown = realloc(listing->entries, (listing->n + n) * sizeof(*entries));
	if (!grown)
		return -ENOMEM;
	listing->entries = grown;
	memcpy(listing->entries + listing->n, entries, n * sizeof(*entries));
	listing->n += n;
	return 0;
}

static int add_family(struct conncount *cc, const struct target *target, int family, int length,
		      struct listing *listing)
{
	struct conncount_answer answer;
	struct conncount_entry *entries;
	size_t n;
	int err;

	if (length < 0)
		return 0;
	err = conncount_list(cc, target->listener ? NULL : target->service, target->listener,
			     family, (unsigned)length, &entries, &n, &answer);
	if (err)
		return err;
	err = append(listing, entries, n, &answer);
	free(entries);
	return err;
}

int listing_take(struct conncount *cc, const struct target *target, const struct lengths *lengths,
		 struct listing *ret_listing)
{
	struct listing listing = { .answer.flags = CONNCOUNT_EXACT };
	int err = add_family(cc, target, CONNCOUNT_IPV4, lengths->ipv4, &listing);

	if (!err)
		err = add_family(cc, target, CONNCOUNT_IPV6, lengths->ipv6, &listing);
	if (err)
		listing_free(&listing);
	else
		*ret_listing = listing;
	return err;
}

void listing_free(struct listing *listing)
{
	free(listing->entries);
}

static int by_count(const void *a, const void *b)
{
	const struct conncount_entry *first = a, *second = b;

	if (first->count != second->count)
		return first->count > second->count ? -1 : 1;
	if (first->cidr.family != second->cidr.family)
		return first->cidr.family < second->cidr.family ? -1 : 1;
	return memcmp(first->cidr.addr, second->cidr.addr, sizeof(first->cidr.addr));
}

void listing_sort(struct listing *listing)
{
	if (listing->n)
		qsort(listing->entries, listing->n, sizeof(*listing->entries), by_count);
}

json_t *entry_json(const struct conncount_entry *entry)
{
	json_t *object = json_object();
	char text[CONNCOUNT_CIDR_SIZE];

	json_object_set_new(object, "cidr", json_string(conncount_cidr_format(&entry->cidr, text)));
	json_object_set_new(object, "count", json_integer(entry->count));
	return object;
}
