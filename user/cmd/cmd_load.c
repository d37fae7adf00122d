// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_load.c - conncount load: start counting, or apply a changed configuration.
 */
#include <stdio.h>
#include <unistd.h>

#include "cmd.h"
#include "load.h"
#include "outside.h"
#include "snapshot.h"

static void print_result(const struct instance *instance, const struct cgroup *cgroup,
			 const struct config *config, enum load_result result)
{
	static const char *const text[] = {
		[LOAD_STARTED] = "counting started",
		[LOAD_CHANGED] = "configuration changed, counting goes on",
		[LOAD_UNCHANGED] = "configuration unchanged, counting goes on",
		[LOAD_REBUILT] = "counting goes on in new maps",
	};

	printf("%s: %s: %zu listener%s, cgroup %s\n", instance->dir, text[result],
	       config->n_listeners, config->n_listeners == 1 ? "" : "s", cgroup->path);
}

static void report_line(const char *line)
{
	report("%s", line);
}

/* Report the servers whose sessions will not be counted. The load has succeeded in any case. */
static void report_outside(const char *dir)
{
	struct snapshot snapshot;
	struct conncount *cc = NULL;

	if (!conncount_open(dir, &cc) && !snapshot_take(cc, dir, &snapshot)) {
		outside_tell(&snapshot, report_line);
		snapshot_free(&snapshot);
	}
	conncount_close(cc);
}

static int load_config(const char *dir, const char *cgroup_path, const struct config *config)
{
	struct instance instance;
	struct cgroup cgroup = { .fd = -1 };
	enum load_result result;
	/* Create the instance first: if it cannot stay, `ip netns exec` also hides the cgroups. */
	int err = instance_create(dir, &instance);

	if (err)
		return STATUS_FAILED;
	err = cgroup_open(cgroup_path ? cgroup_path : config->cgroup, &cgroup);
	if (!err)
		err = load(&instance, &cgroup, config, &result);
	if (cgroup.fd >= 0)
		close(cgroup.fd);
	if (!err)
		print_result(&instance, &cgroup, config, result);
	else
		instance_remove_unused(&instance);
	instance_release(&instance);
	if (!err)
		report_outside(dir);
	return err ? STATUS_FAILED : STATUS_DONE;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "cgroup", required_argument, NULL, OPTION_CGROUP },
		LONG_DIR,
		LONG_HELP,
		LONG_END,
	};
	const char *file = CONFIG_FILE, *cgroup = NULL, *dir = NULL;
	char error[CONFIG_ERROR_SIZE];
	struct config config;
	int option, status;

	while ((option = next_option(command, argc, argv, "c:", options)) != -1) {
		switch (option) {
		case 'c':
			file = optarg;
			break;
		case OPTION_CGROUP:
			cgroup = optarg;
			break;
		case OPTION_DIR:
			dir = optarg;
			break;
		}
	}
	if (!check_arguments(command, argc, argv, 0))
		return STATUS_USAGE;
	if (config_read_file(file, &config, error)) {
		report("%s", error);
		return STATUS_USAGE;
	}
	status = load_config(conncount_dir(dir), cgroup, &config);
	config_free(&config);
	return status;
}

const struct command load_command = {
	.name = "load",
	.arguments = "[-c FILE] [--cgroup PATH] [--dir DIR]",
	.summary = "Start counting, or apply a changed configuration",
	.help = "  -c FILE          the configuration (default: " CONFIG_FILE ")\n"
		"  --cgroup PATH    count only in this cgroup (a path below the cgroup v2 "
		"mount)\n" HELP_DIR,
	.persists = true,
	.run = run,
};
