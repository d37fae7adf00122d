// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_nodes.c - conncount nodes: the hosts of the cluster, as this one sees them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd.h"

static const char *state_name(int state)
{
	static const char *const names[] = {
		[CONNCOUNT_NODE_OK] = "ok",
		[CONNCOUNT_NODE_RESYNC] = "resync",
		[CONNCOUNT_NODE_STALE] = "stale",
		[CONNCOUNT_NODE_GONE] = "gone",
	};

	return state >= CONNCOUNT_NODE_OK && state <= CONNCOUNT_NODE_GONE ? names[state] : "?";
}

/* What is asked of the cluster: how it is, and its nodes. */
struct answer {
	struct conncount_cluster cluster;
	struct conncount_node *nodes;
	size_t n;
	char why[CONNCOUNT_ERROR_SIZE]; /* "": exact */
};

static int ask(struct conncount *cc, struct answer *ret)
{
	int err = conncount_cluster(cc, &ret->cluster);

	ret->why[0] = '\0';
	if (!err && ret->cluster.reason)
		conncount_cluster_why(cc, ret->why, sizeof(ret->why));
	return err ? err : conncount_nodes(cc, &ret->nodes, &ret->n);
}

/* Whether all is well. */
static bool is_well(const struct answer *answer)
{
	for (size_t i = 0; i < answer->n; i++)
		if (answer->nodes[i].state != CONNCOUNT_NODE_OK)
			return false;
	return !answer->cluster.reason;
}

static json_t *node_json(const struct conncount_node *node)
{
	json_t *object = json_object();

	json_object_set_new(object, "name", json_text(node->name));
	json_object_set_new(object, "state", json_string(state_name(node->state)));
	json_object_set_new(object, "self", json_boolean(node->self));
	json_object_set_new(object, "exact", json_boolean(node->exact));
	json_object_set_new(object, "age_ms",
			    node->heard ? json_integer((json_int_t)node->age_ms) : json_null());
	json_object_set_new(object, "lag_ms", json_integer((json_int_t)node->lag_ms));
	json_object_set_new(object, "sessions", json_integer(node->sessions));
	json_object_set_new(object, "networks", json_integer(node->networks));
	return object;
}

static int print_json_answer(const struct answer *answer)
{
	const struct conncount_cluster *cluster = &answer->cluster;
	json_t *object = json_object(), *nodes = json_array();

	for (size_t i = 0; i < answer->n; i++)
		json_array_append_new(nodes, node_json(&answer->nodes[i]));
	json_object_set_new(object, "cluster",
			    cluster->joined ? json_text(cluster->name) : json_null());
	json_object_set_new(object, "exact", json_boolean(!cluster->reason));
	json_object_set_new(object, "reason", *answer->why ? json_text(answer->why) : json_null());
	json_object_set_new(object, "age_ms", json_integer((json_int_t)cluster->age_ms));
	json_object_set_new(object, "nodes", nodes);
	return print_json(object);
}

static void print_answer(const struct answer *answer)
{
	printf("%-20s %-7s %8s %7s %9s %9s\n", "NODE", "STATE", "AGE", "LAG", "SESSIONS",
	       "NETWORKS");
	for (size_t i = 0; i < answer->n; i++) {
		const struct conncount_node *node = &answer->nodes[i];
		char age[32] = "-";

		if (node->heard)
			snprintf(age, sizeof(age), "%.1fs", (double)node->age_ms / 1000);
		printf("%-20s %-7s %8s %5" PRIu64 "ms %9" PRId64 " %9" PRId64 "%s%s\n", node->name,
		       state_name(node->state), age, node->lag_ms, node->sessions, node->networks,
		       node->self ? "  this host" : "", node->exact ? "" : "  not exact");
	}
	if (*answer->why)
		report("not exact: %s", answer->why);
}

static int nodes(const char *dir, bool json)
{
	const struct target none = { NULL, NULL };
	struct answer answer = { .nodes = NULL };
	struct conncount *cc = NULL;
	int status = STATUS_DONE;
	int err = conncount_open(dir, &cc);

	if (!err)
		err = ask(cc, &answer);
	if (err) {
		status = query_failed(dir, cc, &none, err);
		goto cleanup;
	}
	if (json) {
		status = print_json_answer(&answer);
	} else if (!answer.cluster.joined) {
		report("%s: this host is in no cluster (start the daemon: conncount cluster)",
		       conncount_dir(dir));
		status = STATUS_FAILED;
	} else {
		print_answer(&answer);
	}
	if (!status && (!answer.cluster.joined || !is_well(&answer)))
		status = STATUS_FAILED;
	free(answer.nodes);
cleanup:
	conncount_close(cc);
	return status;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = { LONG_JSON, LONG_DIR, LONG_HELP, LONG_END };
	const char *dir = NULL;
	bool json = false;
	int option;

	while ((option = next_option(command, argc, argv, "", options)) != -1) {
		if (option == OPTION_JSON)
			json = true;
		else
			dir = optarg;
	}
	if (!check_arguments(command, argc, argv, 0))
		return STATUS_USAGE;
	return nodes(dir, json);
}

const struct command nodes_command = {
	.name = "nodes",
	.arguments = "[--json] [--dir DIR]",
	.summary = "Show the hosts of the cluster",
	.help = HELP_JSON HELP_DIR
	"Exits with 1 if a host is not ok, or this one is cut off or in no cluster.\n",
	.run = run,
};
