/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tree.h - a listing as a tree: each network with the networks inside it.
 */
#ifndef CONNCOUNT_TREE_H
#define CONNCOUNT_TREE_H

#include <stddef.h>

#include <jansson.h>

#include "listing.h"

struct node {
	struct conncount_entry entry;
	size_t parent;  /* its index; TREE_ROOT: none */
	unsigned depth; /* 0: it has no parent */
};

#define TREE_ROOT ((size_t)-1)

struct tree {
	struct node *nodes; /* a parent before its parts */
	size_t *order;      /* indices into `nodes`, of those to show */
	size_t n;           /* how many those are */
};

/*
 * tree_build() - sum up the networks of a listing, which is sorted by address, by the levels of
 * their family.
 * @ret_tree: the caller frees it with tree_free().
 *
 * Returns 0 or -ENOMEM.
 */
int tree_build(const struct listing *listing, struct tree *ret_tree);

void tree_free(struct tree *tree);

/*
 * tree_collapse() - leave out each network whose sessions are all in one part of it, for the part
 * says more. The depths are those of what is left.
 */
void tree_collapse(struct tree *tree);

/*
 * tree_sort() - put the @limit largest networks, of any length, in the order of the tree: a network
 * before its parts, and the parts largest first. No part is larger than its network, so each is
 * below the networks around it.
 */
void tree_sort(struct tree *tree, size_t limit);

/* tree_print() - a network on each line, indented by its depth. */
void tree_print(const struct tree *tree);

/* tree_json() - an array of entries, each with its parts, if any, in "parts". */
json_t *tree_json(const struct tree *tree);

#endif
