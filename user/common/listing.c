// SPDX-License-Identifier: BSD-2-Clause
/*
 * listing.c - the networks that have open sessions, of both families.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "listing.h"

/* Add @entries, which are the listing's from now on, also on failure. */
static int append(struct listing *listing, struct conncount_entry *entries, size_t n)
{
	void *grown;

	if (!listing->n) {
		free(listing->entries);
		listing->entries = entries;
		listing->n = n;
		return 0;
	}
	grown = realloc(listing->entries, (listing->n + n) * sizeof(*entries));
	if (grown) {
		listing->entries = grown;
		if (n)
			memcpy(listing->entries + listing->n, entries, n * sizeof(*entries));
		listing->n += n;
	}
	free(entries);
	return grown ? 0 : -ENOMEM;
}

static void add_answer(struct conncount_answer *to, const struct conncount_answer *answer)
{
	uint32_t exact = to->flags & answer->flags & CONNCOUNT_EXACT;

	to->count += answer->count;
	to->uncounted += answer->uncounted;
	to->lost += answer->lost;
	to->flags = ((to->flags | answer->flags) & ~(uint32_t)CONNCOUNT_EXACT) | exact;
}

static int add_family(struct conncount *cc, const struct target *target, int family, int length,
		      const struct conncount_cidr *within, struct listing *listing)
{
	const struct conncount_cidr all = { .family = family };
	struct conncount_answer answer;
	struct conncount_entry *entries;
	size_t n;
	int err;

	if (length < 0)
		return 0;
	err = conncount_list_within(cc, target->listener ? NULL : target->service, target->listener,
				    within ? within : &all, (unsigned)length, &entries, &n,
				    &answer);
	if (err)
		return err;
	add_answer(&listing->answer, &answer);
	return append(listing, entries, n);
}

int listing_add(struct listing *listing, const struct listing *from, unsigned length)
{
	struct conncount_entry *entries = malloc((from->n + 1) * sizeof(*entries));
	size_t n = 0;

	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < from->n; i++) {
		struct conncount_entry entry = from->entries[i];

		conncount_cidr_mask(&entry.cidr, length);
		if (n && !network_compare(&entries[n - 1].cidr, &entry.cidr))
			entries[n - 1].count += entry.count;
		else
			entries[n++] = entry;
	}
	add_answer(&listing->answer, &from->answer);
	return append(listing, entries, n);
}

int listing_take(struct conncount *cc, const struct target *target, const struct lengths *lengths,
		 const struct conncount_cidr *within, struct listing *ret_listing)
{
	struct listing listing = { .answer.flags = CONNCOUNT_EXACT };
	int err = add_family(cc, target, CONNCOUNT_IPV4, lengths->ipv4, within, &listing);

	if (!err)
		err = add_family(cc, target, CONNCOUNT_IPV6, lengths->ipv6, within, &listing);
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

int network_compare(const struct conncount_cidr *a, const struct conncount_cidr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->addr, b->addr, sizeof(a->addr));
}

static int by_count(const void *a, const void *b)
{
	const struct conncount_entry *first = a, *second = b;

	if (first->count != second->count)
		return first->count > second->count ? -1 : 1;
	return network_compare(&first->cidr, &second->cidr);
}

/* How many entries are cheaper to pick out than all are to sort. */
enum { PICK_MOST = 1000 };

/* Move the @limit largest to the front. Of two with the same count, the first one stays first. */
static void pick(struct listing *listing, size_t limit)
{
	struct conncount_entry *entries = listing->entries;
	size_t picked = 0;

	for (size_t i = 0; i < listing->n; i++) {
		struct conncount_entry entry = entries[i];
		size_t at = picked;

		while (at && entries[at - 1].count < entry.count)
			at--;
		if (at == limit)
			continue;
		if (picked < limit)
			picked++; /* so far it was i */
		else
			entries[i] = entries[limit - 1];
		memmove(&entries[at + 1], &entries[at], (picked - at - 1) * sizeof(*entries));
		entries[at] = entry;
	}
}

void listing_sort(struct listing *listing, size_t limit)
{
	if (limit <= PICK_MOST && limit < listing->n)
		pick(listing, limit);
	else if (listing->n)
		qsort(listing->entries, listing->n, sizeof(*listing->entries), by_count);
}

int version_get(struct conncount *cc, struct version *ret_version)
{
	struct conncount_listener *listeners = NULL;
	struct conncount_state state;
	struct conncount_cluster cluster;
	struct version version;
	size_t n = 0;
	int err = conncount_state(cc, &state);

	if (!err)
		err = conncount_cluster(cc, &cluster);
	if (!err)
		err = conncount_listeners(cc, &listeners, &n);
	if (err)
		return err;
	version = (struct version){
		.generation = state.generation,
		.cluster = cluster.version,
		.cluster_reason = cluster.reason,
		.cluster_dropped = cluster.dropped,
	};
	for (size_t i = 0; i < n; i++)
		version.changes += listeners[i].ipv4.opened + listeners[i].ipv4.closed +
				   listeners[i].ipv6.opened + listeners[i].ipv6.closed;
	free(listeners);
	*ret_version = version;
	return 0;
}
