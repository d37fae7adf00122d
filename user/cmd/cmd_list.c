// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_list.c - conncount list: who is connected, largest first.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "listing.h"
#include "tree.h"

/* Print the object with the entries. Takes ownership of @entries. */
static int print_listing_object(const struct target *target, const struct listing *listing,
				json_t *entries)
{
	json_t *object = json_object();

	json_object_set_new(object, "entries", entries);
	json_object_set_new(object, "prefixes", json_integer((json_int_t)listing->n));
	json_object_set_new(object, "total", json_integer(listing->answer.count));
	add_exactness(object, listing->answer.flags & CONNCOUNT_EXACT, listing->answer.uncounted,
		      listing->answer.lost);
	add_target(object, target);
	return print_json(object);
}

static int print_listing_json(const struct target *target, const struct listing *listing,
			      size_t shown)
{
	json_t *entries = json_array();

	for (size_t i = 0; i < shown; i++)
		json_array_append_new(entries, entry_json(&listing->entries[i]));
	return print_listing_object(target, listing, entries);
}

static void print_listing(const struct listing *listing, size_t shown)
{
	char text[CONNCOUNT_CIDR_SIZE];

	for (size_t i = 0; i < shown; i++)
		printf("%8" PRId64 "  %s\n", listing->entries[i].count,
		       conncount_cidr_format(&listing->entries[i].cidr, text));
}

static int print(const struct target *target, struct listing *listing, size_t limit, bool json)
{
	if (limit > listing->n)
		limit = listing->n;
	listing_sort(listing, limit);
	if (json)
		return print_listing_json(target, listing, limit);
	print_listing(listing, limit);
	return STATUS_DONE;
}

static int print_tree(const struct target *target, const struct listing *listing, size_t limit,
		      bool json)
{
	struct tree tree;
	int status = STATUS_DONE;
	int err = tree_build(listing, &tree);

	if (err) {
		report("tree: %s", strerror(-err));
		return STATUS_FAILED;
	}
	if (!json)
		tree_collapse(&tree);
	tree_sort(&tree, limit);
	if (json)
		status = print_listing_object(target, listing, tree_json(&tree));
	else
		tree_print(&tree);
	tree_free(&tree);
	return status;
}

static int list(const char *dir, const struct target *target, const struct lengths *lengths,
		size_t limit, bool tree, bool json)
{
	struct conncount *cc = NULL;
	struct listing listing;
	int status;
	int err = conncount_open(dir, &cc);

	if (!err)
		err = listing_take(cc, target, lengths, &listing);
	if (err) {
		status = query_failed(dir, cc, target, err);
		goto cleanup;
	}
	status = tree ? print_tree(target, &listing, limit, json)
		      : print(target, &listing, limit, json);
	report_inexact(cc, &listing.answer);
	listing_free(&listing);
cleanup:
	conncount_close(cc);
	return status;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		LONG_LISTENER,
		LONG_SERVICE,
		LONG_PREFIX,
		LONG_JSON,
		LONG_DIR,
		LONG_HELP,
		{ "limit", required_argument, NULL, OPTION_LIMIT },
		{ "tree", no_argument, NULL, OPTION_TREE },
		LONG_END,
	};
	struct target target = { NULL, NULL };
	struct lengths lengths = LENGTHS_UNSET;
	unsigned long limit = ~0UL;
	const char *dir = NULL;
	bool json = false, tree = false;
	int option;

	while ((option = next_option(command, argc, argv, LETTERS_PREFIX, options)) != -1) {
		if (target_option(&target, option) || lengths_option(command, &lengths, option))
			continue;
		switch (option) {
		case OPTION_JSON:
			json = true;
			break;
		case OPTION_DIR:
			dir = optarg;
			break;
		case OPTION_LIMIT:
			limit = number_option(command, 1, ~0UL - 1);
			break;
		case OPTION_TREE:
			tree = true;
			break;
		}
	}
	if (!target_check(command, &target) || !check_arguments(command, argc, argv, 0) ||
	    !lengths_check(command, &lengths))
		return STATUS_USAGE;
	return list(dir, &target, &lengths, limit, tree, json);
}

const struct command list_command = {
	.name = "list",
	.arguments = "[--listener NAME | --service TYPE] [--prefix N | -4 N -6 N] [--limit N] "
		     "[--tree]",
	.summary = "List the networks that have open sessions, largest first",
	.help = HELP_TARGET HELP_PREFIX
	"                   (default: single addresses of both families)\n"
	"  --limit N        only the N largest\n"
	"  --tree           each network above the networks inside it, down to that "
	"length\n" HELP_JSON HELP_DIR,
	.run = run,
};
