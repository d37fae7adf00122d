// SPDX-License-Identifier: BSD-2-Clause
/*
 * nodes.c - what the cluster's daemon says of the other nodes, and what a query makes of it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "clock.h"
#include "internal.h"

_Static_assert((int)CONNCOUNT_NODE_OK == (int)CC_NODE_OK, "states");
_Static_assert((int)CONNCOUNT_NODE_RESYNC == (int)CC_NODE_RESYNC, "states");
_Static_assert((int)CONNCOUNT_NODE_STALE == (int)CC_NODE_STALE, "states");
_Static_assert((int)CONNCOUNT_NODE_GONE == (int)CC_NODE_GONE, "states");

static int cluster_get(const struct view *view, struct cc_cluster *ret)
{
	__u32 zero = 0;

	if (view->cluster) {
		copy_words(ret, view->cluster, sizeof(*ret));
		return 0;
	}
	return bpf_map_lookup_elem(view->cluster_fd, &zero, ret);
}

/* How long ago the engine answered. */
static uint64_t age_of(const struct cc_cluster *cluster)
{
	uint64_t now = boot_ns();

	return now > cluster->answered ? now - cluster->answered : 0;
}

static uint32_t reason_of(const struct cc_cluster *cluster, uint64_t age)
{
	return age > cluster->patience ? CC_CLUSTER_CUT_OFF : cluster->reason;
}

/* Whether the other nodes' counts still count. */
static bool is_held(const struct cc_cluster *cluster, uint64_t age)
{
	return age <= cluster->patience || age <= cluster->hold;
}

int others_get(const struct view *view, struct others *ret)
{
	struct cc_cluster cluster;
	uint64_t age;
	int err = cluster_get(view, &cluster);

	*ret = (struct others){ .exact = true, .service = CONNCOUNT_SERVICE };
	if (err || !cluster.joined)
		return err;
	memcpy(ret->service, cluster.service, sizeof(ret->service) - 1);
	age = age_of(&cluster);
	ret->exact = reason_of(&cluster, age) == CC_CLUSTER_EXACT;
	ret->counted = is_held(&cluster, age);
	ret->version = cluster.version;
	for (int i = 0; i < CC_FAMILIES; i++)
		ret->tally[i].live = cluster.sessions[i];
	return 0;
}

static int node_get(const struct view *view, uint32_t index, struct cc_node *ret)
{
	int err = bpf_map_lookup_elem(view->nodes_fd, &index, ret);

	ret->name[sizeof(ret->name) - 1] = '\0';
	return err;
}

static int read_cluster(const struct view *view, struct conncount_cluster *ret)
{
	struct cc_cluster from;
	struct cc_node node;
	int err = cluster_get(view, &from);

	if (err)
		return err;
	memset(ret, 0, sizeof(*ret));
	if (!from.joined)
		return 0;
	ret->joined = 1;
	ret->age_ms = age_of(&from) / NS_PER_MS;
	ret->reason = reason_of(&from, age_of(&from));
	ret->dropped = !is_held(&from, age_of(&from));
	memcpy(ret->name, from.name, sizeof(ret->name) - 1);
	if (ret->reason && ret->reason != CC_CLUSTER_CUT_OFF && !node_get(view, from.node, &node))
		memcpy(ret->node, node.name, sizeof(ret->node));
	ret->nodes = from.nodes;
	ret->sessions = from.sessions[0] + from.sessions[1];
	ret->applied = from.applied;
	ret->resyncs = from.resyncs;
	ret->mended = from.mended;
	ret->diverged = from.diverged;
	ret->unnoted = from.unnoted;
	ret->prefixes = from.prefixes;
	ret->max_prefixes = from.max_prefixes;
	ret->version = from.version;
	return 0;
}

int conncount_cluster(struct conncount *cc, struct conncount_cluster *ret_cluster)
{
	struct conncount_cluster cluster;
	int err = view_acquire(cc, NULL);

	if (err)
		return err;
	err = read_cluster(&cc->view, &cluster);
	view_release(cc);
	if (!err)
		*ret_cluster = cluster;
	return err;
}

char *conncount_cluster_why(struct conncount *cc, char *buf, size_t size)
{
	struct conncount_cluster cluster;

	if (!cc || conncount_cluster(cc, &cluster)) {
		snprintf(buf, size, "cluster: its state cannot be read");
		return buf;
	}
	switch (cluster.reason) {
	case CC_CLUSTER_CUT_OFF:
		snprintf(buf, size, "cluster: cut off for %" PRIu64 " s%s", cluster.age_ms / 1000,
			 cluster.dropped ? ", only this host's sessions are counted" : "");
		break;
	case CC_CLUSTER_NAME:
		snprintf(buf, size, "cluster: more than one host is called %s", cluster.node);
		break;
	case CC_CLUSTER_RESYNC:
		snprintf(buf, size, "cluster: %s resynchronising", cluster.node);
		break;
	case CC_CLUSTER_STALE:
		snprintf(buf, size, "cluster: %s silent", cluster.node);
		break;
	case CC_CLUSTER_INEXACT:
		snprintf(buf, size, "cluster: the counts of %s are not exact", cluster.node);
		break;
	case CC_CLUSTER_FULL:
		snprintf(buf, size, "cluster: no room for the counts of %s (raise max_prefixes)",
			 cluster.node);
		break;
	case CC_CLUSTER_MANY:
		snprintf(buf, size, "cluster: it has more than %d hosts", CC_NODES_MAX);
		break;
	default:
		snprintf(buf, size, "cluster: exact again");
	}
	return buf;
}

/* Read the nodes to @nodes, of CC_NODES_MAX. */
static int read_nodes(const struct view *view, struct conncount_node *nodes, size_t *ret_n)
{
	struct cc_cluster cluster;
	uint64_t now = boot_ns();
	size_t n = 0;
	int err = cluster_get(view, &cluster);

	for (uint32_t i = 0; !err && cluster.joined && i < cluster.nodes && i < CC_NODES_MAX; i++) {
		struct conncount_node *to = &nodes[n];
		struct cc_node from;

		err = node_get(view, i, &from);
		if (err || !from.state)
			continue;
		memset(to, 0, sizeof(*to));
		memcpy(to->name, from.name, sizeof(to->name));
		to->state = (int)from.state;
		to->self = i == 0;
		to->exact = !from.inexact;
		to->heard = from.heard != 0;
		to->age_ms = now > from.heard ? (now - from.heard) / NS_PER_MS : 0;
		to->lag_ms = from.lag / NS_PER_MS;
		to->sessions = from.sessions;
		to->networks = from.networks;
		n++;
	}
	*ret_n = n;
	return err;
}

int conncount_nodes(struct conncount *cc, struct conncount_node **ret_nodes, size_t *ret_n)
{
	struct conncount_node *nodes = calloc(CC_NODES_MAX, sizeof(*nodes));
	size_t n;
	int err;

	if (!nodes)
		return -ENOMEM;
	err = view_acquire(cc, NULL);
	if (!err) {
		err = read_nodes(&cc->view, nodes, &n);
		view_release(cc);
	}
	if (err) {
		free(nodes);
		return err;
	}
	*ret_nodes = nodes;
	*ret_n = n;
	return 0;
}
