/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * json - print values out of the JSON on stdin, a line each.
 *
 *	json PATH...
 *
 * PATH is like listeners.0.live; an empty one is everything. A string is printed without quotes.
 * Exit status 1 if stdin is not one JSON value, or has nothing at a PATH.
 */
#include <err.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print(json_t *value, char *path)
{
	char *key, *state;

	for (key = strtok_r(path, ".", &state); key && value; key = strtok_r(NULL, ".", &state))
		if (json_is_array(value))
			value = json_array_get(value, strtoul(key, NULL, 10));
		else
			value = json_object_get(value, key);
	if (!value)
		errx(1, "nothing at that path");
	if (json_is_string(value))
		fputs(json_string_value(value), stdout);
	else if (json_dumpf(value, stdout, JSON_ENCODE_ANY))
		errx(1, "cannot print it");
	putchar('\n');
}

int main(int argc, char **argv)
{
	json_error_t why;
	json_t *root;

	if (argc < 2) {
		fprintf(stderr, "usage: json PATH...\n");
		return 2;
	}
	root = json_loadf(stdin, JSON_DECODE_ANY, &why);
	if (!root)
		errx(1, "line %d: %s", why.line, why.text);
	while (*++argv)
		print(root, *argv);
	json_decref(root);
	return 0;
}
