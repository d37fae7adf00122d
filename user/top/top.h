/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * top.h - what top shows, and what its user is doing.
 */
#ifndef CONNCOUNT_TOP_H
#define CONNCOUNT_TOP_H

#include <stdbool.h>
#include <stddef.h>

#include "rows.h"

/* A line that the user is typing. */
enum prompt {
	PROMPT_NONE,
	PROMPT_WITHIN,  /* a network to show the parts of */
	PROMPT_LENGTHS, /* prefix lengths */
};

struct top {
	const char *dir;
	struct conncount *cc;
	struct target target;
	char service[CONNCOUNT_NAME_SIZE]; /* what `target` names, once it was chosen here */
	struct lengths lengths;            /* of both families, shown or not */
	int family;                        /* the one that is shown; 0: both */
	enum order order;
	bool filtered; /* by `within` */
	struct conncount_cidr within;
	unsigned long interval; /* seconds */

	struct rows rows;
	struct version seen; /* what they are of */
	int err;             /* negative errno: why they could not be looked at */

	size_t first; /* the row at the top of the screen */
	bool help;    /* shown in place of the rows */
	enum prompt prompt;
	char typed[CONNCOUNT_CIDR_SIZE];
	char note[128]; /* about what was last typed; "" if there is nothing to say */
};

#endif
