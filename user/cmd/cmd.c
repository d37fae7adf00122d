// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd.c - what the subcommands share.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

static void print_usage(FILE *out, const struct command *command)
{
	fprintf(out, "Usage: conncount %s%s%s\n", command->name, *command->arguments ? " " : "",
		command->arguments);
}

/* Report the option that getopt_long() refused, and end the program. */
static void __attribute__((noreturn))
bad_option(const struct command *command, int option, char *const *argv)
{
	char letter[] = { '-', (char)optopt, '\0' };
	/* A long option is the last argument that was read; of letters there can be several in one.
	 */
	bool is_letter = optopt > 0 && optopt < OPTION_DIR;
	const char *text = is_letter ? letter : argv[optind - 1];

	if (option == ':')
		usage_error(command, "%s: needs a value", text);
	else if (optopt >= OPTION_DIR)
		usage_error(command, "%s: takes no value", text);
	else
		usage_error(command, "%s: unknown option", text);
	exit(STATUS_USAGE);
}

int next_option(const struct command *command, int argc, char **argv, const char *letters,
		const struct option *options)
{
	char short_options[16];
	int option;

	/* The ':' makes it distinguish an option without its value from an unknown one. */
	snprintf(short_options, sizeof(short_options), ":%s", letters);
	opterr = 0;
	option = getopt_long(argc, argv, short_options, options, NULL);
	if (option == OPTION_HELP) {
		print_usage(stdout, command);
		printf("%s.\n\n%s", command->summary, command->help);
		exit(STATUS_DONE);
	}
	if (option == '?' || option == ':')
		bad_option(command, option, argv);
	/* As in: --dir "$UNSET", which must not mean the host's own instance. */
	if (option == OPTION_DIR && !*optarg)
		exit(usage_error(command, "--dir: the directory's name is empty"));
	return option;
}

int usage_error(const struct command *command, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vreport(format, args);
	va_end(args);
	print_usage(stderr, command);
	return STATUS_USAGE;
}

bool check_arguments(const struct command *command, int argc, char **argv, int most)
{
	if (argc - optind <= most)
		return true;
	usage_error(command, "%s: unexpected argument", argv[optind + most]);
	return false;
}

bool json_options(const struct command *command, int argc, char **argv, const char **ret_dir,
		  bool *ret_json)
{
	static const struct option options[] = { LONG_JSON, LONG_DIR, LONG_HELP, LONG_END };
	int option;

	*ret_dir = NULL;
	*ret_json = false;
	while ((option = next_option(command, argc, argv, "", options)) != -1) {
		if (option == OPTION_JSON)
			*ret_json = true;
		else
			*ret_dir = optarg;
	}
	return check_arguments(command, argc, argv, 0);
}

bool parse_number(const char *text, unsigned long least, unsigned long most, unsigned long *ret)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value < least || value > most)
		return false;
	*ret = value;
	return true;
}

unsigned long number_option(const struct command *command, unsigned long least, unsigned long most)
{
	unsigned long value;

	if (!parse_number(optarg, least, most, &value))
		exit(usage_error(command, "'%s': not a number from %lu to %lu", optarg, least,
				 most));
	return value;
}

bool target_option(struct target *target, int option)
{
	if (option == OPTION_LISTENER)
		target->listener = optarg;
	else if (option == OPTION_SERVICE)
		target->service = optarg;
	else
		return false;
	return true;
}

bool target_check(const struct command *command, struct target *target)
{
	if (target->listener && target->service) {
		usage_error(command, "--listener and --service cannot be combined");
		return false;
	}
	if (!target->service)
		target->service = CONNCOUNT_SERVICE;
	return true;
}

bool lengths_option(const struct command *command, struct lengths *lengths, int option)
{
	if (option == OPTION_PREFIX) {
		lengths->prefix = true;
		lengths->ipv6 = (int)number_option(command, 0, 128);
		lengths->ipv4 = lengths->ipv6 > 32 ? -1 : lengths->ipv6;
	} else if (option == '4') {
		lengths->letter = true;
		lengths->ipv4 = (int)number_option(command, 0, 32);
	} else if (option == '6') {
		lengths->letter = true;
		lengths->ipv6 = (int)number_option(command, 0, 128);
	} else {
		return false;
	}
	return true;
}

bool lengths_check(const struct command *command, struct lengths *lengths)
{
	if (lengths->prefix && lengths->letter) {
		usage_error(command,
			    "--prefix sets both families: it cannot be combined with -4 or -6");
		return false;
	}
	if (!lengths->prefix && !lengths->letter) {
		lengths->ipv4 = 32;
		lengths->ipv6 = 128;
	}
	return true;
}

int query_failed(const char *dir, struct conncount *cc, const struct target *target, int err)
{
	char text[2048];

	report("%s", target_strerror(dir, cc, target, err, text, sizeof(text)));
	return err == -ESRCH ? STATUS_USAGE : STATUS_FAILED;
}

void report_inexact(struct conncount *cc, const struct conncount_answer *answer)
{
	char text[CONNCOUNT_ERROR_SIZE];

	if (!(answer->flags & CONNCOUNT_EXACT))
		report("%s", inexact_text(cc, answer, text, sizeof(text)));
}

int print_json(json_t *object)
{
	int failed = json_dumpf(object, stdout, JSON_COMPACT);

	json_decref(object);
	putchar('\n');
	if (failed)
		report("JSON: out of memory, or standard output cannot be written");
	return failed ? STATUS_FAILED : STATUS_DONE;
}
