/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rows.h - the networks that top shows: what it last saw, and in which order.
 */
#ifndef CONNCOUNT_ROWS_H
#define CONNCOUNT_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "listing.h"

enum order {
	ORDER_COUNT,   /* largest first */
	ORDER_CHANGE,  /* what has grown most since the look before first */
	ORDER_NETWORK, /* IPv4 before IPv6, by address */
	ORDERS,
};

struct row {
	struct conncount_entry entry;
	int64_t change; /* since the look before */
};

struct rows {
	struct listing listing; /* the last look, by address */
	int64_t *changes;       /* of each of its entries */
	struct row *shown;
	size_t n_shown;
};

/*
 * rows_look() - look again.
 * @fresh: what is looked at is another than before, so nothing of it is a change.
 *
 * Returns 0 or a negative errno, with the rows as they were.
 */
int rows_look(struct rows *rows, struct conncount *cc, const struct target *target,
	      const struct lengths *lengths, bool fresh);

/* rows_rest() - nothing has changed since the last look. */
void rows_rest(struct rows *rows);

/*
 * rows_arrange() - choose what is shown, and in which order.
 * @within: only networks that are in it, or around it; NULL: all.
 *
 * Returns 0 or -ENOMEM, with nothing shown.
 */
int rows_arrange(struct rows *rows, enum order order, const struct conncount_cidr *within);

void rows_free(struct rows *rows);

#endif
