// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_count.c - conncount count: how many sessions a network has open.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cmd.h"

static int print_answer(const struct target *target, const char *cidr,
			const struct conncount_answer *answer)
{
	json_t *object = json_object();

	json_object_set_new(object, "count", json_integer(answer->count));
	add_exactness(object, answer->flags & CONNCOUNT_EXACT, answer->uncounted, answer->lost);
	add_target(object, target);
	json_object_set_new(object, "cidr", cidr ? json_string(cidr) : json_null());
	return print_json(object);
}

static int count(const char *dir, const struct target *target, const struct conncount_cidr *cidr,
		 bool json)
{
	struct conncount *cc = NULL;
	struct conncount_answer answer;
	char text[CONNCOUNT_CIDR_SIZE];
	int status = STATUS_DONE;
	int err = conncount_open(dir, &cc);

	if (!err)
		err = target_count(cc, target, cidr, &answer);
	if (err) {
		status = query_failed(dir, cc, target, err);
		goto cleanup;
	}
	if (json)
		status = print_answer(target, cidr ? conncount_cidr_format(cidr, text) : NULL,
				      &answer);
	else
		printf("%" PRId64 "\n", answer.count);
	report_inexact(cc, &answer);
cleanup:
	conncount_close(cc);
	return status;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		LONG_LISTENER, LONG_SERVICE, LONG_JSON, LONG_DIR, LONG_HELP, LONG_END,
	};
	struct target target = { NULL, NULL };
	struct conncount_cidr cidr;
	const char *dir = NULL, *why;
	bool json = false;
	int option;

	while ((option = next_option(command, argc, argv, "", options)) != -1) {
		if (target_option(&target, option))
			continue;
		switch (option) {
		case OPTION_JSON:
			json = true;
			break;
		case OPTION_DIR:
			dir = optarg;
			break;
		}
	}
	if (!target_check(command, &target) || !check_arguments(command, argc, argv, 1))
		return STATUS_USAGE;
	if (optind == argc)
		return count(dir, &target, NULL, json);
	if (conncount_cidr_parse(argv[optind], NULL, &cidr, &why)) {
		report("'%s': %s", argv[optind], why);
		return STATUS_USAGE;
	}
	return count(dir, &target, &cidr, json);
}

const struct command count_command = {
	.name = "count",
	.arguments = "[--listener NAME | --service TYPE] [CIDR]",
	.summary = "Print how many sessions are open, from all addresses or from one network",
	.help = HELP_TARGET HELP_JSON HELP_DIR,
	.run = run,
};
