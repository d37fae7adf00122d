/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * window.h - what commands share that answer by windows of time.
 */
#ifndef CONNCOUNT_WINDOW_H
#define CONNCOUNT_WINDOW_H

#include "cmd.h"
#include "opened.h"

/* The options --window, --from, --to and --smooth. Zeroed at first. */
struct window_options {
	bool given; /* otherwise, sessions are asked about that are open now */
	struct conncount_window window;
	bool range; /* --from or --to was given */
};

#define HELP_WINDOW                                                                            \
	"  --window S,N     connections opened in the current window of S seconds, of which\n" \
	"                   N more are kept: as in the configuration\n"
#define HELP_RANGE                                                                               \
	"  --from N, --to N  in the windows from number N to number N (0, the default, is the\n" \
	"                   current one)\n"                                                      \
	"  --smooth         in the last S seconds, as an estimate from two windows\n"

/* clang-format off */
#define LONG_WINDOW { "window", required_argument, NULL, OPTION_WINDOW }
#define LONG_FROM   { "from", required_argument, NULL, OPTION_FROM }
#define LONG_TO     { "to", required_argument, NULL, OPTION_TO }
#define LONG_SMOOTH { "smooth", no_argument, NULL, OPTION_SMOOTH }
/* clang-format on */

/* window_option() - if @option is one of the four, note its value and return true. Ends the
 * program, with a message, after a bad value. */
bool window_option(const struct command *command, struct window_options *options, int option);

/* window_check() - whether the options fit together. Returns false, with a message, if not. */
bool window_check(const struct command *command, struct window_options *options);

/*
 * window_failed() - report the negative errno of a query about @window, as query_failed().
 */
int window_failed(const char *dir, struct conncount *cc, const struct target *target,
		  const struct conncount_window *window, int err);

/* report_missed() - a line on stderr if an answer is not exact, other than by --smooth. */
void report_missed(struct conncount *cc, const struct target *target,
		   const struct window_options *options, const struct opened *opened);

#endif
