/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * verify.h - compare every count with the kernel's own list of sockets.
 */
#ifndef CONNCOUNT_VERIFY_H
#define CONNCOUNT_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#include "conncount.h"

/* A count that is not what the sockets say. */
struct verify_difference {
	char listener[CONNCOUNT_NAME_SIZE];
	struct conncount_cidr cidr; /* length 0: the total of its family */
	int64_t expected;
	int64_t found;
};

struct verify_result {
	struct verify_difference *differences; /* in order of listener and address */
	size_t n_differences;
	size_t sessions;  /* in the kernel's list */
	size_t prefixes;  /* counts compared, including those that should exist */
	size_t in_flight; /* of them, those whose sessions came or went during the comparison */
};

/*
 * verify() - compare all counts of an instance, on all levels, with the kernel's socket list.
 *
 * The list is taken before and after the counts. A count is wrong if it is less than the number of
 * sockets that are in both lists, or more than those in either, ten times in a row: a session that
 * came and went in between makes a difference once, but hardly ever ten times. Without traffic,
 * every difference counts.
 *
 * A difference is noted in the instance: the next load counts again in new maps.
 *
 * It fails with -ESTALE if the counted cgroup was removed: the sockets of a new one with the same
 * name are not counted.
 *
 * Returns 0, then the caller frees ret_result->differences; or a negative errno, reported.
 */
int verify(const char *dir, struct verify_result *ret_result);

#endif
