/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * local.h - this host's counts, and their changes since it last told them.
 */
#ifndef CONNCOUNT_LOCAL_H
#define CONNCOUNT_LOCAL_H

#include <stdbool.h>

#include "batch.h"
#include "conncount.h"
#include "table.h"

struct local {
	struct conncount *cc; /* the caller's */
	const char *service;
	int changed_fd;      /* of the map `changed` */
	struct table counts; /* of leaves */
	struct batch batch;  /* changes since the caller last emptied it */
	bool exact;          /* whether this host's own counts are */
	uint64_t mended;     /* changes that were not noted */
	/* What the next look depends on. */
	uint64_t generation;   /* of the configuration; 0: nothing was read yet */
	uint64_t unnoted;      /* as struct cc_cluster has it */
	uint64_t check_at;     /* when to read everything again: CLOCK_BOOTTIME, ns */
	struct table suspects; /* leaves that differed then: 1 each */
};

/*
 * local_look() - bring the counts up to date.
 * @unnoted: of struct cc_cluster.
 * @now: CLOCK_BOOTTIME, ns.
 *
 * Returns 0; -ENOENT if nothing is loaded; or another negative errno.
 */
int local_look(struct local *local, uint64_t unnoted, uint64_t now);

/* local_forget() - have the next look read everything. */
void local_forget(struct local *local);

void local_free(struct local *local);

#endif
