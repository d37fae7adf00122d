/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * target.h - what a query is about.
 */
#ifndef CONNCOUNT_TARGET_H
#define CONNCOUNT_TARGET_H

#include <stdbool.h>

#include "conncount.h"

/* What a query is about. */
struct target {
	const char *listener; /* NULL: a service */
	const char *service;  /* NULL: the default one */
};

/* target_count() - the sessions of a target, in a network or, NULL, in all. As the library's. */
int target_count(struct conncount *cc, const struct target *target,
		 const struct conncount_cidr *cidr, struct conncount_answer *ret_answer);

/* target_exists() - whether there is the listener that @target names, if it names one. Returns 0;
 * -ESRCH; or another negative errno. */
int target_exists(struct conncount *cc, const struct target *target);

/*
 * target_strerror() - what a negative errno of a query about a target means, with the names that
 * are known if its name is not.
 * @dir: as given to conncount_open().
 * @cc: NULL if it is not open.
 *
 * Cut if @size is too small. Returns @buf.
 */
char *target_strerror(const char *dir, struct conncount *cc, const struct target *target, int err,
		      char *buf, size_t size);

/* Lengths of the networks to list. */
struct lengths {
	int ipv4; /* -1: not this family */
	int ipv6;
	bool prefix; /* --prefix was given */
	bool letter; /* -4 or -6 was given */
};

#define LENGTHS_UNSET                  \
	{                              \
		.ipv4 = -1, .ipv6 = -1 \
	}

#endif
