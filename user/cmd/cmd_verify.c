// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_verify.c - conncount verify: compare the counts with the kernel's socket list.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd.h"
#include "verify.h"

/* What a difference is in: a network, written to @buf, or the listener's `awaiting`. */
static const char *difference_of(const struct verify_difference *difference, char *buf)
{
	return difference->cidr.family ? conncount_cidr_format(&difference->cidr, buf) : "awaiting";
}

static int print_result_json(const struct verify_result *result)
{
	json_t *object = json_object(), *differences = json_array();
	char text[CONNCOUNT_CIDR_SIZE];

	for (size_t i = 0; i < result->n_differences; i++) {
		const struct verify_difference *difference = &result->differences[i];
		json_t *item = json_object();

		json_object_set_new(item, "listener", json_string(difference->listener));
		json_object_set_new(item, "cidr", json_string(difference_of(difference, text)));
		json_object_set_new(item, "expected", json_integer(difference->expected));
		json_object_set_new(item, "found", json_integer(difference->found));
		json_array_append_new(differences, item);
	}
	json_object_set_new(object, "differences", differences);
	json_object_set_new(object, "sessions", json_integer((json_int_t)result->sessions));
	json_object_set_new(object, "prefixes", json_integer((json_int_t)result->prefixes));
	json_object_set_new(object, "in_flight", json_integer((json_int_t)result->in_flight));
	return print_json(object);
}

static void print_result(const struct verify_result *result)
{
	char text[CONNCOUNT_CIDR_SIZE];

	for (size_t i = 0; i < result->n_differences; i++) {
		const struct verify_difference *difference = &result->differences[i];

		printf("%s %s: expected %" PRId64 ", found %" PRId64 "\n", difference->listener,
		       difference_of(difference, text), difference->expected, difference->found);
	}
	printf("%zu differences: %zu prefixes of %zu sessions compared, %zu in flight\n",
	       result->n_differences, result->prefixes, result->sessions, result->in_flight);
}

static int run(const struct command *command, int argc, char **argv)
{
	struct verify_result result;
	const char *dir;
	bool json;
	int status = STATUS_DONE;

	if (!json_options(command, argc, argv, &dir, &json))
		return STATUS_USAGE;
	if (verify(dir, &result))
		return STATUS_FAILED;
	if (json)
		status = print_result_json(&result);
	else
		print_result(&result);
	if (result.n_differences) {
		report("%zu counts differ from the kernel's list of sockets (to count again, "
		       "without a gap: conncount load)",
		       result.n_differences);
		status = STATUS_FAILED;
	}
	free(result.differences);
	return status;
}

const struct command verify_command = {
	.name = "verify",
	.arguments = "[--json] [--dir DIR]",
	.summary = "Compare the counts with the kernel's list of sockets",
	.help = HELP_JSON HELP_DIR "Exits with 1 if a count is wrong. Needs root.\n",
	.run = run,
};
