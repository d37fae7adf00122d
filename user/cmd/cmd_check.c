// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_check.c - conncount check: parse a configuration.
 */
#include <stdio.h>

#include "cmd.h"
#include "config.h"

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = { LONG_HELP, LONG_END };
	struct config config;
	char error[CONFIG_ERROR_SIZE];
	size_t n_listens = 0;

	while (next_option(command, argc, argv, "", options) != -1)
		;
	if (!check_arguments(command, argc, argv, 1))
		return STATUS_USAGE;
	if (optind == argc)
		return usage_error(command, "FILE is missing");
	if (config_read_file(argv[optind], &config, error)) {
		report("%s", error);
		return STATUS_USAGE;
	}
	for (size_t i = 0; i < config.n_listeners; i++)
		n_listens += config.listeners[i].n_listens;
	printf("%s: %zu listener%s on %zu address%s\n", argv[optind], config.n_listeners,
	       config.n_listeners == 1 ? "" : "s", n_listens, n_listens == 1 ? "" : "es");
	config_free(&config);
	return STATUS_DONE;
}

const struct command check_command = {
	.name = "check",
	.arguments = "FILE",
	.summary = "Check a configuration file",
	.help = "",
	.run = run,
};
