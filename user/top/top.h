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
	PROMPT_WITHIN,  /* the network to show only the parts of */
	PROMPT_LENGTHS, /* prefix lengths */
};

struct top {
	const char *dir;
	struct conncount *cc;
	struct target target;
	char service[CONNCOUNT_NAME_SIZE]; /* the name that `target` points to after a service was
					      chosen by key */
	struct lengths lengths;            /* of both families, shown or not */
	bool by_window;                    /* list the connections opened in `window` */
	struct conncount_window window;    /* if not, a column has them; of 0 seconds: none has */
	int family;                        /* the family that is shown; 0: both */
	enum order order;
	bool filtered; /* by `within` */
	struct conncount_cidr within;
	unsigned long interval; /* seconds */

	struct rows rows;
	struct version seen; /* the version of the rows */
	int err;             /* negative errno of the last refresh */

	size_t first; /* the row at the top of the screen */
	bool help;    /* shown in place of the rows */
	enum prompt prompt;
	char typed[CONNCOUNT_CIDR_SIZE];
	char note[128]; /* an error in the last typed line; "": none */
};

#endif
