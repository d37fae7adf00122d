/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd.h - the subcommands, and what they share.
 */
#ifndef CONNCOUNT_CMD_H
#define CONNCOUNT_CMD_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "conncount.h"
#include "report.h"
#include "target.h"

/* Exit statuses, as documented. */
enum {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2, /* bad usage or bad input */
};

struct command {
	const char *name;
	const char *arguments; /* as in a usage line */
	const char *summary;   /* one line */
	const char *help;      /* the options, a line each */
	bool persists;         /* it continues if nobody reads its output */
	int (*run)(const struct command *command, int argc, char **argv);
};

/* Each in its file, cmd_NAME.c. */
extern const struct command check_command, cluster_command, count_command, exporter_command,
	list_command, load_command, metrics_command, nodes_command, refused_command, status_command,
	top_command, unload_command, verify_command, watch_command;

/* Numbers of the long options that have no letter. */
enum {
	OPTION_DIR = 256,
	OPTION_JSON,
	OPTION_LISTENER,
	OPTION_SERVICE,
	OPTION_CGROUP,
	OPTION_PREFIX,
	OPTION_LIMIT,
	OPTION_LISTEN,
	OPTION_NO_PAGE,
	OPTION_TREE,
	OPTION_OVER,
	OPTION_INTERVAL,
	OPTION_WINDOW,
	OPTION_FROM,
	OPTION_TO,
	OPTION_SMOOTH,
	OPTION_HELP,
};

#define HELP_DIR  "  --dir DIR        the instance (default: $CONNCOUNT_DIR or " CONNCOUNT_DIR ")\n"
#define HELP_JSON "  --json           print JSON\n"

#define HELP_TARGET                             \
	"  --listener NAME  on this listener\n" \
	"  --service TYPE   on all listeners of this service (default: " CONNCOUNT_SERVICE ")\n"
#define HELP_PREFIX                                                                \
	"  --prefix N       networks of this prefix length (over 32: IPv6 only)\n" \
	"  -4 N, -6 N       prefix length for IPv4, for IPv6 (one alone: only that family)\n"

#define HELP_INTERVAL "  --interval N     read the counts every N seconds (default: 1)\n"

/* The letters that go with LONG_PREFIX. */
#define LETTERS_PREFIX "4:6:"

/* Elements of a getopt_long() table. */
/* clang-format off */
#define LONG_DIR      { "dir", required_argument, NULL, OPTION_DIR }
#define LONG_JSON     { "json", no_argument, NULL, OPTION_JSON }
#define LONG_HELP     { "help", no_argument, NULL, OPTION_HELP }
#define LONG_LISTENER { "listener", required_argument, NULL, OPTION_LISTENER }
#define LONG_SERVICE  { "service", required_argument, NULL, OPTION_SERVICE }
#define LONG_PREFIX   { "prefix", required_argument, NULL, OPTION_PREFIX }
#define LONG_INTERVAL { "interval", required_argument, NULL, OPTION_INTERVAL }
#define LONG_END      { NULL, 0, NULL, 0 }
/* clang-format on */

/*
 * next_option() - getopt_long() that handles --help and bad options itself: both end the program.
 * Returns -1 after the last option.
 */
int next_option(const struct command *command, int argc, char **argv, const char *letters,
		const struct option *options);

/* usage_error() - report an error and how to use the command. Returns STATUS_USAGE. */
int __attribute__((format(printf, 2, 3)))
usage_error(const struct command *command, const char *format, ...);

/* check_arguments() - whether at most @most arguments of @argv are left; reports if not. */
bool check_arguments(const struct command *command, int argc, char **argv, int most);

/*
 * json_options() - the options of a command that takes --json and --dir, and no arguments.
 * @ret_dir: NULL if it was not given.
 *
 * Returns false after an error, reported.
 */
bool json_options(const struct command *command, int argc, char **argv, const char **ret_dir,
		  bool *ret_json);

/* parse_number() - a decimal number from @least to @most. */
bool parse_number(const char *text, unsigned long least, unsigned long most, unsigned long *ret);

/*
 * number_option() - the value of the option that next_option() returned. Ends the program, with
 * a message, if it is not a number from @least to @most.
 */
unsigned long number_option(const struct command *command, unsigned long least, unsigned long most);

enum {
	INTERVAL_MOST = 86400, /* seconds, for --interval */
};

/* target_option() - if @option is --listener or --service, note its value and return true. */
bool target_option(struct target *target, int option);

/* target_check() - set the default. Returns false, with a message, if both options were given. */
bool target_check(const struct command *command, struct target *target);

/* lengths_option() - if @option is --prefix, -4 or -6, note its value and return true. */
bool lengths_option(const struct command *command, struct lengths *lengths, int option);

/* lengths_check() - set the default. Returns false, with a message, if the options exclude each
 * other. */
bool lengths_check(const struct command *command, struct lengths *lengths);

/*
 * query_failed() - report the negative errno of a library call.
 * @dir: as given to conncount_open().
 * @cc: for the names that are known; NULL if it is not open.
 * Returns the exit status.
 */
int query_failed(const char *dir, struct conncount *cc, const struct target *target, int err);

/* report_inexact() - a line on stderr if an answer of @cc is not exact. */
void report_inexact(struct conncount *cc, const struct conncount_answer *answer);

/*
 * become() - execute a program of ours in place of this one. It is beside this one in a build
 * directory, or where `make install` puts it.
 * @first, @second: its arguments; @second can be NULL.
 * @remedy: what to do if it is not there.
 *
 * Returns, on failure only, the exit status.
 */
int become(const char *program, const char *first, const char *second, const char *remedy);

/*
 * print_json() - print an object on a line of its own, and free it.
 * Returns STATUS_DONE, or STATUS_FAILED if it cannot be written.
 */
int print_json(json_t *object);

#endif
