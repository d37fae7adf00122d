// SPDX-License-Identifier: BSD-2-Clause
/*
 * rows.c - the networks that top shows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

/* How much each entry of @now has grown since @before; both are sorted by address. */
static void compare(const struct listing *before, const struct listing *now, int64_t *changes)
{
	size_t i = 0;

	for (size_t j = 0; j < now->n; j++) {
		const struct conncount_cidr *cidr = &now->entries[j].cidr;

		while (i < before->n && network_compare(&before->entries[i].cidr, cidr) < 0)
			i++;
		changes[j] = now->entries[j].count;
		if (i < before->n && !network_compare(&before->entries[i].cidr, cidr))
			changes[j] -= before->entries[i].count;
	}
}

int rows_look(struct rows *rows, struct conncount *cc, const struct target *target,
	      const struct lengths *lengths, const struct conncount_window *window, bool fresh)
{
	struct opened opened = { 0 };
	struct listing now;
	int64_t *changes;
	int err = window ? opened_listing(cc, target, lengths, window, &now, &opened)
			 : listing_take(cc, target, lengths, NULL, &now);

	if (err)
		return err;
	changes = calloc(now.n + 1, sizeof(*changes));
	if (!changes) {
		listing_free(&now);
		return -ENOMEM;
	}
	if (!fresh)
		compare(&rows->listing, &now, changes);
	listing_free(&rows->listing);
	free(rows->changes);
	rows->listing = now;
	rows->opened = opened;
	rows->changes = changes;
	return 0;
}

void rows_rest(struct rows *rows)
{
	if (rows->listing.n)
		memset(rows->changes, 0, rows->listing.n * sizeof(*rows->changes));
}

static int by_network(const void *a, const void *b)
{
	const struct row *first = a, *second = b;

	return network_compare(&first->entry.cidr, &second->entry.cidr);
}

static int by_count(const void *a, const void *b)
{
	const struct row *first = a, *second = b;

	if (first->entry.count != second->entry.count)
		return first->entry.count > second->entry.count ? -1 : 1;
	return by_network(a, b);
}

static int by_change(const void *a, const void *b)
{
	const struct row *first = a, *second = b;

	if (first->change != second->change)
		return first->change > second->change ? -1 : 1;
	return by_count(a, b);
}

/* Whether one of two networks is inside the other. */
static bool overlap(const struct conncount_cidr *a, const struct conncount_cidr *b)
{
	struct conncount_cidr first = *a, second = *b;
	unsigned length = a->prefixlen < b->prefixlen ? a->prefixlen : b->prefixlen;

	conncount_cidr_mask(&first, length);
	conncount_cidr_mask(&second, length);
	return !network_compare(&first, &second);
}

int rows_arrange(struct rows *rows, enum order order, const struct conncount_cidr *within)
{
	static int (*const compares[ORDERS])(const void *a, const void *b) = {
		[ORDER_COUNT] = by_count,
		[ORDER_CHANGE] = by_change,
		[ORDER_NETWORK] = by_network,
	};
	const struct listing *listing = &rows->listing;

	free(rows->shown);
	rows->n_shown = 0;
	rows->shown = calloc(listing->n + 1, sizeof(*rows->shown));
	if (!rows->shown)
		return -ENOMEM;
	for (size_t i = 0; i < listing->n; i++)
		if (!within || overlap(&listing->entries[i].cidr, within))
			rows->shown[rows->n_shown++] =
				(struct row){ listing->entries[i], rows->changes[i], -1 };
	qsort(rows->shown, rows->n_shown, sizeof(*rows->shown), compares[order]);
	return 0;
}

void rows_free(struct rows *rows)
{
	listing_free(&rows->listing);
	free(rows->changes);
	free(rows->shown);
}
