// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_check.c - conncount check: parse a configuration, of an instance or of a cluster.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cluster_config.h"
#include "cmd.h"
#include "config.h"

/* Check the configuration of a cluster. */
static int check_cluster(FILE *in, const char *name)
{
	struct cluster_config config;
	char error[LINES_ERROR_SIZE];
	size_t n;

	if (cluster_config_read(in, name, &config, error)) {
		report("%s", error);
		return STATUS_USAGE;
	}
	n = config.sentinels.n ? config.sentinels.n : config.servers.n;
	printf("%s: cluster %s, this host as %s, by %zu %s%s\n", name, config.name, config.node, n,
	       config.sentinels.n ? "sentinel" : "server", n == 1 ? "" : "s");
	cluster_config_free(&config);
	return STATUS_DONE;
}

/* Check the configuration of an instance. */
static int check_instance(FILE *in, const char *name)
{
	struct config config;
	char error[CONFIG_ERROR_SIZE];
	size_t n_listens = 0;

	if (config_read(in, name, &config, error)) {
		report("%s", error);
		return STATUS_USAGE;
	}
	for (size_t i = 0; i < config.n_listeners; i++)
		n_listens += config.listeners[i].n_listens;
	printf("%s: %zu listener%s on %zu address%s\n", name, config.n_listeners,
	       config.n_listeners == 1 ? "" : "s", n_listens, n_listens == 1 ? "" : "es");
	config_free(&config);
	return STATUS_DONE;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = { LONG_HELP, LONG_END };
	int status;
	FILE *in;

	while (next_option(command, argc, argv, "", options) != -1)
		;
	if (!check_arguments(command, argc, argv, 1))
		return STATUS_USAGE;
	if (optind == argc)
		return usage_error(command, "FILE is missing");
	in = fopen(argv[optind], "re");
	if (!in) {
		report("%s: %s", argv[optind], strerror(errno));
		return STATUS_USAGE;
	}
	status = cluster_config_is(in) ? check_cluster(in, argv[optind])
				       : check_instance(in, argv[optind]);
	fclose(in);
	return status;
}

const struct command check_command = {
	.name = "check",
	.arguments = "FILE",
	.summary = "Check a configuration file",
	.help = "",
	.run = run,
};
