// SPDX-License-Identifier: BSD-2-Clause
/*
 * tree.c - a listing as a tree.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer_json.h"
#include "levels.h"
#include "tree.h"

/* More than any family has levels, plus one for the listing's own length. */
enum { MAX_DEPTH = 16 };

/* --- building ----------------------------------------------------------------------------- */

struct builder {
	struct tree tree;
	size_t room;
	size_t open[MAX_DEPTH]; /* the node that was last added at each depth */
	unsigned depth;         /* how many of those there are */
};

static bool same_network(const struct conncount_cidr *a, const struct conncount_cidr *b)
{
	return a->family == b->family && a->prefixlen == b->prefixlen &&
	       !memcmp(a->addr, b->addr, sizeof(a->addr));
}

static int add_node(struct builder *builder, const struct conncount_cidr *cidr, unsigned depth)
{
	struct tree *tree = &builder->tree;

	if (tree->n == builder->room) {
		size_t room = builder->room ? builder->room * 2 : 1024;
		void *grown = realloc(tree->nodes, room * sizeof(*tree->nodes));

		if (!grown)
			return -ENOMEM;
		tree->nodes = grown;
		builder->room = room;
	}
	tree->nodes[tree->n] = (struct node){
		.entry.cidr = *cidr,
		.parent = depth ? builder->open[depth - 1] : TREE_ROOT,
		.depth = depth,
	};
	builder->open[depth] = tree->n++;
	builder->depth = depth + 1;
	return 0;
}

/* Add an entry to its network of @length, which is new if it is not the previous one. */
static int add_at(struct builder *builder, const struct conncount_entry *entry, unsigned length,
		  unsigned depth)
{
	struct conncount_cidr cidr = entry->cidr;
	struct node *nodes = builder->tree.nodes;
	int err = 0;

	conncount_cidr_mask(&cidr, length);
	if (depth >= builder->depth ||
	    !same_network(&nodes[builder->open[depth]].entry.cidr, &cidr))
		err = add_node(builder, &cidr, depth);
	if (!err)
		builder->tree.nodes[builder->open[depth]].entry.count += entry->count;
	return err;
}

static int add_entry(struct builder *builder, const struct conncount_entry *entry)
{
	const unsigned *level = levels_of(entry->cidr.family);
	unsigned depth = 0;
	int err = 0;

	for (; !err && *level && *level < entry->cidr.prefixlen; level++)
		err = add_at(builder, entry, *level, depth++);
	if (!err)
		err = add_at(builder, entry, entry->cidr.prefixlen, depth);
	return err;
}

int tree_build(const struct listing *listing, struct tree *ret_tree)
{
	struct builder builder = { .room = 0 };
	struct tree *tree = &builder.tree;
	int err = 0;

	for (size_t i = 0; !err && i < listing->n; i++)
		err = add_entry(&builder, &listing->entries[i]);
	if (!err && tree->n) {
		tree->order = calloc(tree->n, sizeof(*tree->order));
		err = tree->order ? 0 : -ENOMEM;
	}
	if (err) {
		tree_free(tree);
		return err;
	}
	for (size_t i = 0; i < tree->n; i++)
		tree->order[i] = i;
	*ret_tree = *tree;
	return 0;
}

void tree_free(struct tree *tree)
{
	free(tree->nodes);
	free(tree->order);
}

/* Whether all sessions of the network @at are in one of its parts, which was added after it. */
static bool is_one_part(const struct tree *tree, size_t n, size_t at)
{
	const struct node *part = &tree->nodes[at + 1];

	return at + 1 < n && part->parent == at && part->entry.count == tree->nodes[at].entry.count;
}

void tree_collapse(struct tree *tree)
{
	struct node *nodes = tree->nodes;
	size_t n = tree->n;

	tree->n = 0;
	for (size_t i = 0; i < n; i++) {
		struct node *node = &nodes[i];

		node->depth = node->parent == TREE_ROOT ? 0 : nodes[node->parent].depth + 1;
		if (is_one_part(tree, n, i))
			nodes[i + 1].parent = node->parent;
		else
			tree->order[tree->n++] = i;
	}
}

/* --- order ---------------------------------------------------------------------------------- */

/* Largest first, then in the order of insertion: a network before a part of the same size. */
static int by_size(const void *a, const void *b, void *arg)
{
	const struct node *nodes = arg;
	size_t first = *(const size_t *)a, second = *(const size_t *)b;
	int64_t more = nodes[second].entry.count - nodes[first].entry.count;

	if (more)
		return more > 0 ? 1 : -1;
	return first < second ? -1 : first > second;
}

/* By size, at the first level where the two networks, or those around them, differ. */
static int by_place(const void *a, const void *b, void *arg)
{
	const struct node *nodes = arg;
	size_t first = *(const size_t *)a, second = *(const size_t *)b;

	while (nodes[first].depth > nodes[second].depth)
		first = nodes[first].parent;
	while (nodes[second].depth > nodes[first].depth)
		second = nodes[second].parent;
	if (first == second) /* one is around the other, and was added before it */
		return *(const size_t *)a < *(const size_t *)b ? -1 : 1;
	while (nodes[first].parent != nodes[second].parent) {
		first = nodes[first].parent;
		second = nodes[second].parent;
	}
	return by_size(&first, &second, arg);
}

void tree_sort(struct tree *tree, size_t limit)
{
	if (limit < tree->n) {
		qsort_r(tree->order, tree->n, sizeof(*tree->order), by_size, tree->nodes);
		tree->n = limit;
	}
	if (tree->n)
		qsort_r(tree->order, tree->n, sizeof(*tree->order), by_place, tree->nodes);
}

/* --- output --------------------------------------------------------------------------------- */

void tree_print(const struct tree *tree)
{
	char text[CONNCOUNT_CIDR_SIZE];

	for (size_t i = 0; i < tree->n; i++) {
		const struct node *node = &tree->nodes[tree->order[i]];

		printf("%8" PRId64 "  %*s%s\n", node->entry.count, 2 * (int)node->depth, "",
		       conncount_cidr_format(&node->entry.cidr, text));
	}
}

json_t *tree_json(const struct tree *tree)
{
	json_t *all = json_array();
	json_t *last[MAX_DEPTH]; /* the entry that was last added at each depth */

	for (size_t i = 0; i < tree->n; i++) {
		const struct node *node = &tree->nodes[tree->order[i]];
		json_t *object = entry_json(&node->entry), *parts = all;

		if (node->depth) {
			parts = json_object_get(last[node->depth - 1], "parts");
			if (!parts) {
				parts = json_array();
				json_object_set_new(last[node->depth - 1], "parts", parts);
			}
		}
		json_array_append_new(parts, object);
		last[node->depth] = object;
	}
	return all;
}
