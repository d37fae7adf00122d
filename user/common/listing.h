/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listing.h - the networks that have open sessions, of both families.
 */
#ifndef CONNCOUNT_LISTING_H
#define CONNCOUNT_LISTING_H

#include <stddef.h>
#include <stdint.h>

#include "target.h"

struct listing {
	struct conncount_entry *entries;
	size_t n;
	struct conncount_answer answer; /* the library's answers for both families, added up */
};

/*
 * listing_take() - list the networks of @lengths that have sessions open: IPv4 before IPv6, each
 * in order of address.
 * @within: NULL, or only the networks inside this one; @lengths has only its family then.
 * @ret_listing: the caller frees it with listing_free().
 *
 * Returns 0 or a negative errno, as conncount_list().
 */
int listing_take(struct conncount *cc, const struct target *target, const struct lengths *lengths,
		 const struct conncount_cidr *within, struct listing *ret_listing);

/*
 * listing_add() - append the networks of a length that those of a longer one are in.
 * @listing: as listing_take() returned it; if it is new, its answer has the flag CONNCOUNT_EXACT.
 * @from: of one family.
 *
 * Returns 0 or -ENOMEM.
 */
int listing_add(struct listing *listing, const struct listing *from, unsigned length);

void listing_free(struct listing *listing);

/*
 * listing_sort() - sort the largest @limit to the front: largest first, then by address.
 * @listing: as listing_take() returned it.
 */
void listing_sort(struct listing *listing, size_t limit);

/*
 * What a listing depends on, and cheap to read: if this is unchanged, so is the listing. It has no
 * padding, so memcmp() can compare it.
 */
struct version {
	uint64_t generation;                      /* of the configuration; 0: of none */
	uint64_t changes;                         /* sessions opened and closed, of all listeners */
	uint64_t cluster;                         /* of the other nodes' counts */
	uint64_t cluster_reason, cluster_dropped; /* as of struct conncount_cluster */
};

/* version_get() - read the current version. Returns 0 or a negative errno, as
 * conncount_listeners(). */
int version_get(struct conncount *cc, struct version *ret_version);

/* network_compare() - the order of listing_take(), as of memcmp(). */
int network_compare(const struct conncount_cidr *a, const struct conncount_cidr *b);

#endif
