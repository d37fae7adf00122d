// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_nodes.c - conncount nodes: the hosts of the cluster, as this one sees them.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cmd.h"
#include "nodes_json.h"
#include "snapshot.h"

/* Whether all is well. */
static bool is_well(const struct cluster_snapshot *cluster)
{
	for (size_t i = 0; i < cluster->n; i++)
		if (cluster->nodes[i].state != CONNCOUNT_NODE_OK)
			return false;
	return !cluster->state.reason;
}

static void print_cluster(const struct cluster_snapshot *cluster)
{
	printf("%-20s %-7s %8s %7s %9s %9s\n", "NODE", "STATE", "AGE", "LAG", "SESSIONS",
	       "NETWORKS");
	for (size_t i = 0; i < cluster->n; i++) {
		const struct conncount_node *node = &cluster->nodes[i];
		char age[32] = "-";

		if (node->heard)
			snprintf(age, sizeof(age), "%.1fs", (double)node->age_ms / 1000);
		printf("%-20s %-7s %8s %5" PRIu64 "ms %9" PRId64 " %9" PRId64 "%s%s\n", node->name,
		       node_state_name(node->state), age, node->lag_ms, node->sessions,
		       node->networks, node->self ? "  this host" : "",
		       node->exact ? "" : "  not exact");
	}
	if (*cluster->why)
		report("not exact: %s", cluster->why);
}

static int nodes(const char *dir, bool json)
{
	const struct target none = { NULL, NULL };
	struct cluster_snapshot cluster;
	struct conncount *cc = NULL;
	int status = STATUS_DONE;
	int err = conncount_open(dir, &cc);

	if (!err)
		err = cluster_snapshot_take(cc, &cluster);
	if (err) {
		status = query_failed(dir, cc, &none, err);
		goto cleanup;
	}
	if (json) {
		status = print_json(nodes_json(&cluster));
	} else if (!cluster.state.joined) {
		report("%s: this host is in no cluster (start the daemon: conncount cluster)",
		       conncount_dir(dir));
		status = STATUS_FAILED;
	} else {
		print_cluster(&cluster);
	}
	if (!status && (!cluster.state.joined || !is_well(&cluster)))
		status = STATUS_FAILED;
	cluster_snapshot_free(&cluster);
cleanup:
	conncount_close(cc);
	return status;
}

static int run(const struct command *command, int argc, char **argv)
{
	const char *dir;
	bool json;

	if (!json_options(command, argc, argv, &dir, &json))
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
