// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_refused.c - conncount refused: which networks the limits refused lately, largest first.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "limits_json.h"

/* The question that the arguments ask. */
struct question {
	const char *dir;
	struct target target; /* of no listener: all of them */
	size_t limit;
	bool json;
};

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
		status = print_json(refused_json(refused, question->target.listener, shown));
	else
		print_refused(refused, shown);
	if (!refused->limited)
		report("no listener has a limit (see limit in conncount.conf(5))");
	return status;
}

static int refused(const struct question *question)
{
	struct refused refused;
	struct conncount *cc = NULL;
	int status, err = conncount_open(question->dir, &cc);

	if (!err)
		err = target_exists(cc, &question->target);
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
