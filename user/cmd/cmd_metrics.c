// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_metrics.c - conncount metrics: the instance as OpenMetrics text.
 */
#include <string.h>

#include "cmd.h"
#include "metrics.h"

static int metrics(const char *dir)
{
	struct metrics metrics;
	struct conncount *cc = NULL;
	char text[CONNCOUNT_ERROR_SIZE];
	int err = conncount_open(dir, &cc);

	if (!err)
		err = metrics_take(cc, dir, &metrics);
	conncount_close(cc);
	if (err) {
		report("%s", conncount_strerror(dir, err, text, sizeof(text)));
		return STATUS_FAILED;
	}
	metrics_print(&metrics, METRICS_OPENMETRICS, stdout);
	if (metrics.queues_err)
		report("accept queues: left out: %s", queues_strerror(metrics.queues_err));
	metrics_free(&metrics);
	return STATUS_DONE;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = { LONG_DIR, LONG_HELP, LONG_END };
	const char *dir = NULL;

	while (next_option(command, argc, argv, "", options) != -1)
		dir = optarg;
	if (!check_arguments(command, argc, argv, 0))
		return STATUS_USAGE;
	return metrics(dir);
}

const struct command metrics_command = {
	.name = "metrics",
	.arguments = "[--dir DIR]",
	.summary = "Print the totals as metrics, in the OpenMetrics text format",
	.help = HELP_DIR,
	.run = run,
};
