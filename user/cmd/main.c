// SPDX-License-Identifier: BSD-2-Clause
/*
 * main.c - conncount: live inbound TCP sessions, counted in the kernel.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

static const struct command *const commands[] = {
	&load_command,     &unload_command,  &count_command,  &list_command,    &top_command,
	&watch_command,    &refused_command, &status_command, &nodes_command,   &metrics_command,
	&exporter_command, &verify_command,  &check_command,  &cluster_command,
};

enum { N_COMMANDS = sizeof(commands) / sizeof(*commands) };

static void print_usage(FILE *out)
{
	fputs("Usage: conncount COMMAND [OPTION]... [ARGUMENT]...\n"
	      "Count the inbound TCP sessions that are open now, by network.\n\n",
	      out);
	for (int i = 0; i < N_COMMANDS; i++)
		fprintf(out, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\n'conncount COMMAND --help' lists the options of a command, 'conncount --version' "
	      "prints the version.\n",
	      out);
}

/* Check that everything was written: a full disk is a failure. */
static int finish(int status)
{
	if (fflush(stdout) || ferror(stdout)) {
		report("standard output: cannot be written");
		return status == STATUS_DONE ? STATUS_FAILED : status;
	}
	return status;
}

/*
 * If the reader leaves, as in `conncount list | head`, the command ends at once, without a message,
 * even if its parent ignores SIGPIPE. Commands that change something or serve continue.
 */
static int run_command(const struct command *command, int argc, char **argv)
{
	signal(SIGPIPE, command->persists ? SIG_IGN : SIG_DFL);
	return finish(command->run(command, argc, argv));
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : NULL;

	if (!verb) {
		print_usage(stderr);
		return STATUS_USAGE;
	}
	if (!strcmp(verb, "--help") || !strcmp(verb, "help")) {
		print_usage(stdout);
		return finish(STATUS_DONE);
	}
	if (!strcmp(verb, "--version")) {
		printf("conncount %s\n", conncount_version());
		return finish(STATUS_DONE);
	}
	for (int i = 0; i < N_COMMANDS; i++)
		if (!strcmp(verb, commands[i]->name))
			return run_command(commands[i], argc - 1, argv + 1);
	report("%s: no such command (conncount --help lists them)", verb);
	return STATUS_USAGE;
}
