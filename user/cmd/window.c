// SPDX-License-Identifier: BSD-2-Clause
/*
 * window.c - what commands share that answer by windows of time.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
		options->text = optarg;
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

	if (!options->text && (options->range || window->smooth)) {
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

char *windows_format(const struct conncount_windows *windows, char *buf)
{
	char window[WINDOW_SIZE];

	strcpy(buf, windows->n ? "" : "none");
	for (uint32_t i = 0; i < windows->n; i++) {
		strcat(buf, i ? " and " : "");
		strcat(buf, window_format(&windows->window[i], window));
	}
	return buf;
}

/* The windows that an instance has, as text. */
static const char *configured(struct conncount *cc, char *buf)
{
	struct conncount_windows windows;

	if (conncount_windows(cc, &windows))
		windows.n = 0;
	return windows_format(&windows, buf);
}

int window_failed(const char *dir, struct conncount *cc, const struct target *target,
		  const struct window_options *options, int err)
{
	char text[WINDOWS_SIZE];

	switch (err) {
	case -ENODATA:
		report("--window '%s': not configured (configured: %s; add a line 'window = %s' to "
		       "[conncount] in the configuration, then: conncount load)",
		       options->text, configured(cc, text), options->text);
		return STATUS_USAGE;
	case -ERANGE:
		if (options->window.smooth)
			report("--smooth: '%s' keeps no window before the current one (configure "
			       "%" PRIu32 ",1)",
			       options->text, options->window.seconds);
		else
			report("--to %" PRIu32 ": '%s' keeps the windows 0 to %" PRIu32,
			       options->window.to, options->text, options->window.windows);
		return STATUS_USAGE;
	case -EDOM:
		report("windows are not kept for the prefix lengths from 65 to 127 (ask about /64 "
		       "or /128)");
		return STATUS_USAGE;
	}
	return query_failed(dir, cc, target, err);
}

void report_missed(const struct window_options *options, const struct conncount_connections *answer)
{
	if (answer->most == INT64_MAX)
		report("not exact: there may have been more: the windows reach back before "
		       "counting "
		       "began");
	else if (answer->least != answer->most && !options->window.smooth)
		report("not exact: between %" PRId64 " and %" PRId64 ": networks were evicted "
		       "(raise window_memory)",
		       answer->least, answer->most);
}

void add_range(json_t *object, int64_t count, int64_t least, int64_t most, bool exact)
{
	json_object_set_new(object, "count", json_integer(count));
	json_object_set_new(object, "exact", json_boolean(exact));
	json_object_set_new(object, "least", json_integer(least));
	json_object_set_new(object, "most", most == INT64_MAX ? json_null() : json_integer(most));
}

void add_window(json_t *object, const struct window_options *options)
{
	const struct conncount_window *window = &options->window;
	char text[WINDOW_SIZE];

	json_object_set_new(object, "window", json_string(window_format(window, text)));
	if (window->smooth) {
		json_object_set_new(object, "smooth", json_true());
		return;
	}
	json_object_set_new(object, "from", json_integer(window->from));
	json_object_set_new(object, "to", json_integer(window->to));
}
