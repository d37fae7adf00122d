// SPDX-License-Identifier: BSD-2-Clause
/*
 * read_limits - read a configuration as load does, and print its limits.
 *
 *	read_limits FILE
 *
 * Prints for each listener its section, its limits, and for each family the numbers of these
 * limits in the order in which the programs ask them.
 */
#include <err.h>
#include <stdio.h>

#include "config.h"
#include "limit_text.h"

static void print_limits(const struct cc_limits *limits)
{
	char text[LIMIT_TEXT_SIZE];

	for (__u32 i = 0; i < limits->n; i++)
		puts(limit_format(&limits->limit[i], text));
	for (int family = 0; family < CC_FAMILIES; family++) {
		printf("IPv%d:", family == CC_FAMILY_INDEX(CC_IPV6) ? 6 : 4);
		for (__u32 i = 0; i < limits->n; i++)
			printf(" %u", limits->order[family][i]);
		puts("");
	}
}

int main(int argc, char **argv)
{
	char error[CONFIG_ERROR_SIZE];
	struct config config;

	if (argc != 2)
		return 2;
	if (config_read_file(argv[1], &config, error))
		errx(1, "%s", error);
	for (size_t i = 0; i < config.n_listeners; i++) {
		printf("[%s]\n", config.listeners[i].name);
		print_limits(&config.listeners[i].limits);
	}
	config_free(&config);
	return 0;
}
