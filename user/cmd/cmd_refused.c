// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_refused.c - conncount refused: which networks the limits refused lately, largest first.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer_json.h"
#include "cmd.h"
#include "refusals.h"

/* The question that the arguments ask. */
struct question {
	const char *dir;
	struct target target; /* of no listener: all of them */
	size_t limit;
	bool json;
};

/* --- JSON --------------------------------------------------------------------------------- */

static json_t *network_json(const struct refused_network *network)
{
	json_t *object = json_object();
	char text[CONNCOUNT_CIDR_SIZE];

	json_object_set_new(object, "cidr",
			    json_string(conncount_cidr_format(&network->cidr, text)));
	json_object_set_new(object, "listener", json_text(network->listener));
	json_object_set_new(object, "refused", json_integer((json_int_t)network->refused));
	json_object_set_new(object, "would_refuse",
			    json_integer((json_int_t)network->would_refuse));
	json_object_set_new(object, "age_ms", json_integer((json_int_t)network->age_ms));
	return object;
}

static int print_refused_json(const struct question *question, const struct refused *refused,
			      size_t shown)
{
	json_t *object = json_object(), *entries = json_array();
	const char *listener = question->target.listener;

	for (size_t i = 0; i < shown; i++)
		json_array_append_new(entries, network_json(&refused->networks[i]));
	json_object_set_new(object, "entries", entries);
	json_object_set_new(object, "networks", json_integer((json_int_t)refused->n));
	json_object_set_new(object, "listener", listener ? json_text(listener) : json_null());
	return print_json(object);
}

/* --- text --------------------------------------------------------------------------------- */

enum { AGO_SIZE = sizeof("18446744073709551615d ago") };

/* How long ago something was, in the largest unit of which it is two or more. */
static char *ago_format(uint64_t ms, char *buf)
{
	static const struct {
		char letter;
		uint64_t seconds;
	} units[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 } };
	uint64_t seconds = ms / 1000;

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (seconds < 2 * units[i].seconds)
			continue;
		snprintf(buf, AGO_SIZE, "%" PRIu64 "%c ago", seconds / units[i].seconds,
			 units[i].letter);
		return buf;
	}
	snprintf(buf, AGO_SIZE, "%" PRIu64 "s ago", seconds);
	return buf;
}

static void print_refused(const struct refused *refused, size_t shown)
{
	char cidr[CONNCOUNT_CIDR_SIZE], ago[AGO_SIZE];

	if (shown)
		printf("%9s %12s %9s  %-16s %s\n", "REFUSED", "WOULD REFUSE", "LAST", "LISTENER",
		       "NETWORK");
	for (size_t i = 0; i < shown; i++) {
		const struct refused_network *network = &refused->networks[i];

		printf("%9" PRIu64 " %12" PRIu64 " %9s  %-16s %s\n", network->refused,
		       network->would_refuse, ago_format(network->age_ms, ago), network->listener,
		       conncount_cidr_format(&network->cidr, cidr));
	}
}

/* --- the command ------------------------------------------------------------------------------
 */

static int tell(const struct question *question, const struct refused *refused)
{
	size_t shown = question->limit < refused->n ? question->limit : refused->n;
	int status = STATUS_DONE;

	if (question->json)
		status = print_refused_json(question, refused, shown);
	else
		print_refused(refused, shown);
	if (!refused->limited)
		report("no listener has a limit (see limit in conncount.conf(5))");
	return status;
}

/* Returns 0; -ESRCH if there is no such listener; or another negative errno. NULL: any listener. */
static int find_listener(struct conncount *cc, const char *name)
{
	struct conncount_listener *listeners = NULL;
	size_t n = 0;
	bool found = !name;
	int err = name ? conncount_listeners(cc, &listeners, &n) : 0;

	for (size_t i = 0; i < n; i++)
		found = found || !strcmp(listeners[i].name, name);
	free(listeners);
	return err || found ? err : -ESRCH;
}

static int refused(const struct question *question)
{
	struct refused refused;
	struct conncount *cc = NULL;
	int status, err = conncount_open(question->dir, &cc);

	if (!err)
		err = find_listener(cc, question->target.listener);
	if (!err)
		err = refused_read(conncount_dir(question->dir), question->target.listener,
				   &refused);
	if (err) {
		status = query_failed(question->dir, cc, &question->target, err);
	} else {
		status = tell(question, &refused);
		refused_free(&refused);
	}
	conncount_close(cc);
	return status;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		LONG_LISTENER,
		LONG_JSON,
		LONG_DIR,
		LONG_HELP,
		{ "limit", required_argument, NULL, OPTION_LIMIT },
		LONG_END,
	};
	struct question question = { .limit = ~0UL };
	int option;

	while ((option = next_option(command, argc, argv, "", options)) != -1) {
		if (target_option(&question.target, option))
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
		}
	}
	if (!check_arguments(command, argc, argv, 0))
		return STATUS_USAGE;
	return refused(&question);
}

const struct command refused_command = {
	.name = "refused",
	.arguments = "[--listener NAME] [--limit N] [--json] [--dir DIR]",
	.summary = "List the networks that limits refused lately, largest first",
	.help = "  --listener NAME  on this listener (default: on all)\n"
		"  --limit N        only the N largest\n" HELP_JSON HELP_DIR
		"The kernel keeps the last 4,096 networks.\n",
	.run = run,
};
