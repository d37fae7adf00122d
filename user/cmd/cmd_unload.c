// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_unload.c - conncount unload: stop counting, and remove everything.
 */
#include <errno.h>
#include <stdio.h>

#include "cmd.h"
#include "instance.h"

static int unload(const char *dir)
{
	int err = instance_remove(dir);

	if (err == -ENOENT) {
		report("%s: not loaded, nothing to do", dir);
		return STATUS_DONE;
	}
	if (!err)
		printf("%s: counting stopped\n", dir);
	return err ? STATUS_FAILED : STATUS_DONE;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = { LONG_DIR, LONG_HELP, LONG_END };
	const char *dir = NULL;

	while (next_option(command, argc, argv, "", options) != -1)
		dir = optarg;
	if (!check_arguments(command, argc, argv, 0))
		return STATUS_USAGE;
	return unload(conncount_dir(dir));
}

const struct command unload_command = {
	.name = "unload",
	.arguments = "[--dir DIR]",
	.summary = "Stop counting and remove everything",
	.help = HELP_DIR,
	.persists = true,
	.run = run,
};
