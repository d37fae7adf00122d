// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_list.c - conncount list: who is connected, or has connected lately, largest first.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "answer_json.h"
#include "listing.h"
#include "openers_json.h"
#include "tree.h"
#include "window.h"

/* The question that the arguments ask. */
struct question {
	const char *dir;
	struct target target;
	struct window_options window;
	struct lengths lengths;
	size_t limit;
	bool tree, json;
};

/* --- sessions that are open --------------------------------------------------------------------
 */

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
		return print_json(listing_json(target, listing, entries_json(listing, limit)));
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
		status = print_json(listing_json(target, listing, tree_json(&tree)));
	else
		tree_print(&tree);
	tree_free(&tree);
	return status;
}

static int list_open(struct conncount *cc, const struct question *question)
{
	struct listing listing;
	int status;
	int err = listing_take(cc, &question->target, &question->lengths, NULL, &listing);

	if (err)
		return query_failed(question->dir, cc, &question->target, err);
	status = question->tree
			 ? print_tree(&question->target, &listing, question->limit, question->json)
			 : print(&question->target, &listing, question->limit, question->json);
	report_inexact(cc, &listing.answer);
	listing_free(&listing);
	return status;
}

/* --- connections that were opened --------------------------------------------------------------
 */

static void print_openers(const struct openers *openers, size_t shown)
{
	char text[CONNCOUNT_CIDR_SIZE];

	for (size_t i = 0; i < shown; i++)
		printf("%8" PRId64 "  %s\n", openers->entries[i].count,
		       conncount_cidr_format(&openers->entries[i].cidr, text));
}

static int list_opened(struct conncount *cc, const struct question *question)
{
	const struct target *target = &question->target;
	int status = STATUS_DONE;
	struct openers openers;
	size_t shown;
	int err = openers_take(cc, target, &question->lengths, &question->window.window, &openers);

	if (err)
		return window_failed(question->dir, cc, target, &question->window.window, err);
	openers_sort(&openers);
	shown = question->limit < openers.n ? question->limit : openers.n;
	if (question->json)
		status =
			print_json(openers_json(target, &question->window.window, &openers, shown));
	else
		print_openers(&openers, shown);
	report_missed(cc, target, &question->window, &openers.all);
	openers_free(&openers);
	return status;
}

/* --- the command -------------------------------------------------------------------------------
 */

static int list(const struct question *question)
{
	struct conncount *cc = NULL;
	int status, err = conncount_open(question->dir, &cc);

	if (err)
		status = query_failed(question->dir, NULL, &question->target, err);
	else if (question->window.given)
		status = list_opened(cc, question);
	else
		status = list_open(cc, question);
	conncount_close(cc);
	return status;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		LONG_LISTENER,
		LONG_SERVICE,
		LONG_PREFIX,
		LONG_WINDOW,
		LONG_FROM,
		LONG_TO,
		LONG_SMOOTH,
		LONG_JSON,
		LONG_DIR,
		LONG_HELP,
		{ "limit", required_argument, NULL, OPTION_LIMIT },
		{ "tree", no_argument, NULL, OPTION_TREE },
		LONG_END,
	};
	struct question question = { .lengths = LENGTHS_UNSET, .limit = ~0UL };
	int option;

	while ((option = next_option(command, argc, argv, LETTERS_PREFIX, options)) != -1) {
		if (target_option(&question.target, option) ||
		    window_option(command, &question.window, option) ||
		    lengths_option(command, &question.lengths, option))
			continue;
		switch (option) {
		case OPTION_JSON:
			question.json = true;
			break;
		case OPTION_DIR:
			question.dir = optarg;
			break;
		case OPTION_LIMIT:
			question.limit = number_option(command, 1, ~0UL - 1);
			break;
		case OPTION_TREE:
			question.tree = true;
			break;
		}
	}
	if (!target_check(command, &question.target) || !window_check(command, &question.window) ||
	    !check_arguments(command, argc, argv, 0) || !lengths_check(command, &question.lengths))
		return STATUS_USAGE;
	if (question.tree && question.window.given)
		return usage_error(command, "--tree and --window cannot be combined");
	return list(&question);
}

const struct command list_command = {
	.name = "list",
	.arguments = "[--listener NAME | --service TYPE] [--prefix N | -4 N -6 N] [--limit N] "
		     "[--tree | --window S,N]",
	.summary = "List the networks that have open sessions, largest first",
	.help = HELP_TARGET HELP_PREFIX
	"                   (default: single addresses of both families)\n"
	"  --limit N        only the N largest\n"
	"  --tree           each network above the networks inside it, down to that "
	"length\n" HELP_WINDOW HELP_RANGE HELP_JSON HELP_DIR,
	.run = run,
};
