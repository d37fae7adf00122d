// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_count.c - conncount count: how many sessions a network has open, or has opened lately.
 */
#include <inttypes.h>
#include <stdio.h>

#include "answer_json.h"
#include "openers_json.h"
#include "window.h"

/* The question that the arguments ask. */
struct question {
	const char *dir;
	struct target target;
	struct window_options window;
	const struct conncount_cidr *cidr; /* NULL: all addresses */
	bool json;
};

static int print_answer(const struct question *question, json_t *object)
{
	const struct conncount_cidr *cidr = question->cidr;
	char text[CONNCOUNT_CIDR_SIZE];

	add_target(object, &question->target);
	json_object_set_new(object, "cidr",
			    cidr ? json_string(conncount_cidr_format(cidr, text)) : json_null());
	return print_json(object);
}

/* How many sessions are open. */
static int count_open(struct conncount *cc, const struct question *question)
{
	struct conncount_answer answer;
	int status = STATUS_DONE;
	int err = target_count(cc, &question->target, question->cidr, &answer);

	if (err)
		return query_failed(question->dir, cc, &question->target, err);
	if (question->json) {
		json_t *object = json_object();

		json_object_set_new(object, "count", json_integer(answer.count));
		add_exactness(object, answer.flags & CONNCOUNT_EXACT, answer.uncounted,
			      answer.lost);
		status = print_answer(question, object);
	} else {
		printf("%" PRId64 "\n", answer.count);
	}
	report_inexact(cc, &answer);
	return status;
}

/* How many connections were opened in windows of time. */
static int count_opened(struct conncount *cc, const struct question *question)
{
	const struct target *target = &question->target;
	struct opened opened = { 0 };
	const struct conncount_connections *answer = &opened.sum;
	int status = STATUS_DONE;
	int err = target_opened(cc, target, &question->window.window, question->cidr, &opened.sum);

	if (err)
		return window_failed(question->dir, cc, target, &question->window.window, err);
	if (question->json) {
		json_t *object = json_object();

		add_range(object, answer->count, answer->least, answer->most,
			  answer->flags & CONNCOUNT_EXACT);
		add_window(object, &question->window.window);
		status = print_answer(question, object);
	} else {
		printf("%" PRId64 "\n", answer->count);
	}
	report_missed(cc, target, &question->window, &opened);
	return status;
}

static int count(const struct question *question)
{
	struct conncount *cc = NULL;
	int status, err = conncount_open(question->dir, &cc);

	if (err)
		status = query_failed(question->dir, NULL, &question->target, err);
	else if (question->window.given)
		status = count_opened(cc, question);
	else
		status = count_open(cc, question);
	conncount_close(cc);
	return status;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		LONG_LISTENER, LONG_SERVICE, LONG_WINDOW, LONG_FROM, LONG_TO,
		LONG_SMOOTH,   LONG_JSON,    LONG_DIR,    LONG_HELP, LONG_END,
	};
	struct question question = { .dir = NULL };
	struct conncount_cidr cidr;
	const char *why;
	int option;

	while ((option = next_option(command, argc, argv, "", options)) != -1) {
		if (target_option(&question.target, option) ||
		    window_option(command, &question.window, option))
			continue;
		switch (option) {
		case OPTION_JSON:
			question.json = true;
			break;
		case OPTION_DIR:
			question.dir = optarg;
			break;
		}
	}
	if (!target_check(command, &question.target) || !window_check(command, &question.window) ||
	    !check_arguments(command, argc, argv, 1))
		return STATUS_USAGE;
	if (optind < argc) {
		if (conncount_cidr_parse(argv[optind], NULL, &cidr, &why)) {
			report("'%s': %s", argv[optind], why);
			return STATUS_USAGE;
		}
		question.cidr = &cidr;
	}
	return count(&question);
}

const struct command count_command = {
	.name = "count",
	.arguments = "[--listener NAME | --service TYPE] [--window S,N] [CIDR]",
	.summary = "Print how many sessions are open, from all addresses or from one network",
	.help = HELP_TARGET HELP_WINDOW HELP_RANGE HELP_JSON HELP_DIR,
	.run = run,
};
