// SPDX-License-Identifier: BSD-2-Clause
/*
 * nodes_json.c - the hosts of the cluster, as JSON.
 */
#include "answer_json.h"
#include "nodes_json.h"

const char *node_state_name(int state)
{
	static const char *const names[] = {
		[CONNCOUNT_NODE_OK] = "ok",
		[CONNCOUNT_NODE_RESYNC] = "resync",
		[CONNCOUNT_NODE_STALE] = "stale",
		[CONNCOUNT_NODE_GONE] = "gone",
	};

	return state >= CONNCOUNT_NODE_OK && state <= CONNCOUNT_NODE_GONE ? names[state] : "?";
}

static json_t *node_json(const struct conncount_node *node)
{
	json_t *object = json_object();

	json_object_set_new(object, "name", json_text(node->name));
	json_object_set_new(object, "state", json_string(node_state_name(node->state)));
	json_object_set_new(object, "self", json_boolean(node->self));
	json_object_set_new(object, "exact", json_boolean(node->exact));
	json_object_set_new(object, "age_ms",
			    node->heard ? json_integer((json_int_t)node->age_ms) : json_null());
	json_object_set_new(object, "lag_ms", json_integer((json_int_t)node->lag_ms));
	json_object_set_new(object, "sessions", json_integer(node->sessions));
	json_object_set_new(object, "networks", json_integer(node->networks));
	return object;
}

json_t *nodes_json(const struct cluster_snapshot *cluster)
{
	json_t *object = json_object(), *nodes = json_array();

	for (size_t i = 0; i < cluster->n; i++)
		json_array_append_new(nodes, node_json(&cluster->nodes[i]));
	json_object_set_new(object, "cluster",
			    cluster->state.joined ? json_text(cluster->state.name) : json_null());
	json_object_set_new(object, "exact", json_boolean(!cluster->state.reason));
	json_object_set_new(object, "reason",
			    *cluster->why ? json_text(cluster->why) : json_null());
	json_object_set_new(object, "age_ms", json_integer((json_int_t)cluster->state.age_ms));
	json_object_set_new(object, "nodes", nodes);
	return object;
}
