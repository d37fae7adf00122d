/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sums.h - the other nodes' counts, added up on every level, and written to the `remote` trie.
 */
#ifndef CONNCOUNT_SUMS_H
#define CONNCOUNT_SUMS_H

#include <stdbool.h>

#include "table.h"

/* All zero is no counts. */
struct sums {
	struct table counts;           /* by network, of all levels */
	struct table touched;          /* networks whose count in the trie is out of date: 1 each */
	int64_t sessions[CC_FAMILIES]; /* by CC_FAMILY_INDEX */
	size_t most;                   /* how many networks there may be */
	bool lost;                     /* there was no memory to note a change */
};

/*
 * sums_add() - add @n to the count of a leaf, on every level.
 * Returns 0; or -ENOSPC if there would be more than `most` networks, or -ENOMEM: then it has added
 * nothing. What was added before can always be taken off.
 */
int sums_add(struct sums *sums, const struct count *leaf, int64_t n);

/* sums_write() - write what has changed to the trie @fd. Returns 0 or a negative errno: then it
 * remains to be written. */
int sums_write(struct sums *sums, int fd);

/*
 * sums_replace() - have sums_write() write everything, and take out what else the trie @fd has: an
 * earlier daemon may have left it. Returns 0 or a negative errno.
 */
int sums_replace(struct sums *sums, int fd);

/* sums_clear_trie() - take everything out of the trie @fd. Returns 0 or a negative errno. */
int sums_clear_trie(int fd);

void sums_free(struct sums *sums);

#endif
