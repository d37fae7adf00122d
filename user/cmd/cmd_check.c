// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_check.c - conncount check: parse a configuration, of an instance or of a cluster.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cluster_config.h"
#include "cmd.h"
#include "config.h"
#include "limit_text.h"

/* Check the configuration of a cluster. */
static int check_cluster(FILE *in, const char *name)
{
	struct cluster_config config;
	char error[LINES_ERROR_SIZE];
	size_t n;

	if (cluster_config_read(in, name, &config, error)) {
		report("%s", error);
		return STATUS_USAGE;
	}
	n = config.sentinels.n ? config.sentinels.n : config.servers.n;
	printf("%s: cluster %s, this host as %s, by %zu %s%s\n", name, config.name, config.node, n,
	       config.sentinels.n ? "sentinel" : "server", n == 1 ? "" : "s");
	cluster_config_free(&config);
	return STATUS_DONE;
}

/* --- limits ------------------------------------------------------------------------------- */

/* Whether every network of @limit is in one of @other, which refuses before @limit is reached. */
static bool comes_first(const struct cc_limit *other, const struct cc_limit *limit)
{
	for (int family = 0; family < CC_FAMILIES; family++)
		if (other->length[family] > limit->length[family])
			return false;
	if (other->action != CC_LIMIT_RESET)
		return false;
	return limit->action == CC_LIMIT_RESET ? other->over < limit->over
					       : other->over <= limit->over;
}

/* The limit because of which another one has no effect; NULL: it has one. */
static const struct cc_limit *find_first(const struct cc_limits *limits,
					 const struct cc_limit *limit)
{
	for (__u32 i = 0; i < limits->n; i++)
		if (&limits->limit[i] != limit && comes_first(&limits->limit[i], limit))
			return &limits->limit[i];
	return NULL;
}

/* Say what a limit will do. */
static void explain_limit(const char *name, const struct cc_limits *limits,
			  const struct cc_limit *limit)
{
	const struct cc_limit *first = find_first(limits, limit);
	char text[LIMIT_TEXT_SIZE];

	printf("[%s] limit = %s: ", name, limit_format(limit, text));
	if (first)
		printf("no effect, because %s comes first\n", limit_format(first, text));
	else
		printf("an IPv4 /%u or IPv6 /%u may have %u session%s; more are %s\n",
		       limit->length[CC_FAMILY_INDEX(CC_IPV4)],
		       limit->length[CC_FAMILY_INDEX(CC_IPV6)], limit->over,
		       limit->over == 1 ? "" : "s",
		       limit->action == CC_LIMIT_RESET ? "refused"
						       : "let in, and counted as WOULD REFUSE");
}

static void explain_limits(const struct config_listener *listener)
{
	for (__u32 i = 0; i < listener->limits.n; i++)
		explain_limit(listener->name, &listener->limits, &listener->limits.limit[i]);
	if (listener->exempt.n)
		printf("[%s] networks that no limit applies to: %zu\n", listener->name,
		       listener->exempt.n);
}

/* --- the command ------------------------------------------------------------------------------
 */

/* Check the configuration of an instance. */
static int check_instance(FILE *in, const char *name)
{
	struct config config;
	char error[CONFIG_ERROR_SIZE];
	size_t n_listens = 0;

	if (config_read(in, name, &config, error)) {
		report("%s", error);
		return STATUS_USAGE;
	}
	for (size_t i = 0; i < config.n_listeners; i++)
		n_listens += config.listeners[i].n_listens;
	printf("%s: %zu listener%s on %zu address%s\n", name, config.n_listeners,
	       config.n_listeners == 1 ? "" : "s", n_listens, n_listens == 1 ? "" : "es");
	for (size_t i = 0; i < config.n_listeners; i++)
		explain_limits(&config.listeners[i]);
	config_free(&config);
	return STATUS_DONE;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = { LONG_HELP, LONG_END };
	int status;
	FILE *in;

	while (next_option(command, argc, argv, "", options) != -1)
		;
	if (!check_arguments(command, argc, argv, 1))
		return STATUS_USAGE;
	if (optind == argc)
		return usage_error(command, "FILE is missing");
	in = fopen(argv[optind], "re");
	if (!in) {
		report("%s: %s", argv[optind], strerror(errno));
		return STATUS_USAGE;
	}
	status = cluster_config_is(in) ? check_cluster(in, argv[optind])
				       : check_instance(in, argv[optind]);
	fclose(in);
	return status;
}

const struct command check_command = {
	.name = "check",
	.arguments = "FILE",
	.summary = "Check a configuration file, and say what its limits will do",
	.help = "",
	.run = run,
};
