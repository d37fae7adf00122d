/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nodes_json.h - the hosts of the cluster, as JSON.
 */
#ifndef CONNCOUNT_NODES_JSON_H
#define CONNCOUNT_NODES_JSON_H

#include <jansson.h>

#include "snapshot.h"

/* node_state_name() - a state of a node, CONNCOUNT_NODE_*, in a word. */
const char *node_state_name(int state);

/* nodes_json() - the object that `conncount nodes --json` prints. */
json_t *nodes_json(const struct cluster_snapshot *cluster);

#endif
