// SPDX-License-Identifier: BSD-2-Clause
/*
 * window.c - what commands share that answer by windows of time.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "window.h"

bool window_option(const struct command *command, struct window_options *options, int option)
{
	struct conncount_window window;

	switch (option) {
	case OPTION_WINDOW:
		if (conncount_window_parse(optarg, &window)) {
			report("--window '%s': not SECONDS,WINDOWS, such as 60,1", optarg);
			exit(STATUS_USAGE);
		}
		options->given = true;
		options->window.seconds = window.seconds;
		options->window.windows = window.windows;
		return true;
	case OPTION_FROM:
		options->window.from = (uint32_t)number_option(command, 0, WINDOWS_MOST);
		options->range = true;
		return true;
	case OPTION_TO:
		options->window.to = (uint32_t)number_option(command, 0, WINDOWS_MOST);
		options->range = true;
		return true;
	case OPTION_SMOOTH:
		options->window.smooth = 1;
		return true;
	}
	return false;
}

bool window_check(const struct command *command, struct window_options *options)
{
	const struct conncount_window *window = &options->window;

	if (!options->given && (options->range || window->smooth)) {
		usage_error(command, "%s needs --window",
			    window->smooth ? "--smooth" : "--from or --to");
		return false;
	}
	if (window->smooth && options->range) {
		usage_error(command, "--smooth excludes --from and --to");
		return false;
	}
	if (window->from > window->to) {
		usage_error(command, "--from %" PRIu32 " is an older window than --to %" PRIu32,
			    window->from, window->to);
		return false;
	}
	return true;
}

int window_failed(const char *dir, struct conncount *cc, const struct target *target,
		  const struct conncount_window *window, int err)
{
	char text[CONNCOUNT_ERROR_SIZE];

	if (!window_error_text(cc, window, err, text, sizeof(text)))
		return query_failed(dir, cc, target, err);
	report("%s", text);
	return STATUS_USAGE;
}

void report_missed(struct conncount *cc, const struct target *target,
		   const struct window_options *options, const struct opened *opened)
{
	char text[CONNCOUNT_ERROR_SIZE];

	if (opened_inexact_text(cc, target, &options->window, opened, text, sizeof(text)))
		report("%s", text);
}
