/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rows.h - the networks that top shows: the last refresh, and its order.
 */
#ifndef CONNCOUNT_ROWS_H
#define CONNCOUNT_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "listing.h"
#include "opened.h"

enum order {
	ORDER_COUNT,   /* largest first */
	ORDER_CHANGE,  /* largest growth since the refresh before first */
	ORDER_NETWORK, /* IPv4 before IPv6, by address */
	ORDERS,
};

struct row {
	struct conncount_entry entry;
	int64_t change; /* since the refresh before */
	int64_t beside; /* in the other column: connections or sessions; -1: not known */
};

struct rows {
	struct listing listing; /* the last refresh, sorted by address */
	struct opened opened;   /* with windows: by all networks */
	int64_t *changes;       /* of each of its entries */
	struct row *shown;
	size_t n_shown;
};

/*
 * rows_look() - refresh.
 * @window: list the connections opened in it; NULL: the sessions that are open.
 * @fresh: the target changed since the last refresh, so that nothing counts as a change.
 *
 * Returns 0; or a negative errno, with the rows unchanged.
 */
int rows_look(struct rows *rows, struct conncount *cc, const struct target *target,
	      const struct lengths *lengths, const struct conncount_window *window, bool fresh);

/* rows_rest() - note that nothing has changed since the last refresh. */
void rows_rest(struct rows *rows);

/*
 * rows_arrange() - choose what is shown, and in which order.
 * @within: show only networks inside or around this one; NULL: all.
 *
 * Returns 0 or -ENOMEM, with nothing shown.
 */
int rows_arrange(struct rows *rows, enum order order, const struct conncount_cidr *within);

void rows_free(struct rows *rows);

#endif
