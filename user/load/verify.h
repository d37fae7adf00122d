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
	size_t prefixes;  /* counts compared, with those that should be there */
	size_t in_flight; /* of them: sessions came or went while they were compared */
};

/*
 * verify() - compare all counts of an instance, on all levels, with the kernel's socket list.
 *
 * The list is taken before and after the counts. A count is wrong if it is less than the
 * sockets that are in both, or more than those in either, ten times in a row: a session that
 * came and went in between makes a difference once, and hardly ever ten times. With no
 * traffic, that is any difference at all.
 *
 * A difference is noted in the instance: the next load counts anew.
 *
 * It fails with -ESTALE if the cgroup that is counted in was removed: the sockets of a new one
 * of the same name are not counted.
 *
 * Returns 0, then ret_result->differences is the caller's to free(); or a negative errno,
 * reported.
 */
int verify(const char *dir, struct verify_result *ret_result);

#endif
