// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_cluster.c - conncount cluster: add up the counts of several hosts.
 */
#include "cluster_config.h"
#include "cmd.h"

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		LONG_DIR,
		LONG_HELP,
		LONG_END,
	};
	const char *file = CLUSTER_CONFIG_FILE, *dir = NULL;
	char error[LINES_ERROR_SIZE];
	struct cluster_config config;
	int option;

	while ((option = next_option(command, argc, argv, "c:", options)) != -1) {
		if (option == 'c')
			file = optarg;
		else
			dir = optarg;
	}
	if (!check_arguments(command, argc, argv, 0))
		return STATUS_USAGE;
	/* An error in it is one whether the daemon is installed or not. */
	if (cluster_config_read_file(file, &config, error)) {
		report("%s", error);
		return STATUS_USAGE;
	}
	cluster_config_free(&config);
	return become("conncount-cluster", file, conncount_dir(dir),
		      "install the package conncount-cluster");
}

const struct command cluster_command = {
	.name = "cluster",
	.arguments = "[-c FILE] [--dir DIR]",
	.summary = "Add up the counts of several hosts, by Redis or Valkey, until SIGTERM",
	.help = "  -c FILE          the configuration (default: " CLUSTER_CONFIG_FILE
		")\n" HELP_DIR,
	.persists = true,
	.run = run,
};
