// SPDX-License-Identifier: BSD-2-Clause
/*
 * snapshot.c - an instance at one moment.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"

/* Whether any session of the listener came from a proxy. */
static bool had_proxies(const struct conncount_listener *listener)
{
	static const struct conncount_proxied none;

	return memcmp(&listener->proxied, &none, sizeof(none)) != 0;
}

static void mark_proxied(const struct snapshot *snapshot, const char *name)
{
	for (size_t i = 0; i < snapshot->n_listeners; i++)
		if (!strcmp(snapshot->listeners[i].name, name))
			snapshot->proxied[i] = true;
}

/* Find the listeners that have proxies, or had. */
static int find_proxied(struct snapshot *snapshot)
{
	const char *last = "";

	snapshot->proxied = calloc(snapshot->n_listeners + 1, sizeof(*snapshot->proxied));
	if (!snapshot->proxied)
		return -ENOMEM;
	for (size_t i = 0; i < snapshot->n_listeners; i++)
		snapshot->proxied[i] = had_proxies(&snapshot->listeners[i]);
	for (size_t i = 0; i < snapshot->n_listens; i++) {
		const struct conncount_listen *listen = &snapshot->listens[i];

		if (!listen->proxied || !strcmp(listen->name, last))
			continue;
		mark_proxied(snapshot, listen->name);
		last = listen->name;
	}
	return 0;
}

int cluster_snapshot_take(struct conncount *cc, struct cluster_snapshot *ret)
{
	struct cluster_snapshot cluster = { .n = 0 };
	int err = conncount_cluster(cc, &cluster.state);

	if (!err && cluster.state.reason)
		conncount_cluster_why(cc, cluster.why, sizeof(cluster.why));
	if (!err && cluster.state.joined)
		err = conncount_nodes(cc, &cluster.nodes, &cluster.n);
	if (!err)
		*ret = cluster;
	return err;
}

void cluster_snapshot_free(struct cluster_snapshot *cluster)
{
	free(cluster->nodes);
}

int snapshot_take(struct conncount *cc, const char *dir, struct snapshot *ret_snapshot)
{
	struct snapshot snapshot = { .dir = conncount_dir(dir) };
	int err = conncount_state(cc, &snapshot.state);

	if (!err)
		err = conncount_listeners(cc, &snapshot.listeners, &snapshot.n_listeners);
	if (!err)
		err = conncount_listens(cc, &snapshot.listens, &snapshot.n_listens);
	if (!err)
		err = find_proxied(&snapshot);
	if (!err)
		err = cluster_snapshot_take(cc, &snapshot.cluster);
	if (!err)
		err = conncount_windows(cc, &snapshot.windows);
	if (err) {
		snapshot_free(&snapshot);
		return err;
	}
	for (size_t i = 0; i < snapshot.n_listeners; i++) {
		const struct conncount_listener *listener = &snapshot.listeners[i];

		snapshot.uncounted += listener->ipv4.uncounted + listener->ipv6.uncounted;
		snapshot.lost += listener->ipv4.lost + listener->ipv6.lost;
	}
	uname(&snapshot.host);
	*ret_snapshot = snapshot;
	return 0;
}

void snapshot_free(struct snapshot *snapshot)
{
	free(snapshot->listeners);
	free(snapshot->listens);
	free(snapshot->proxied);
	cluster_snapshot_free(&snapshot->cluster);
}

struct conncount_tally tally_sum(const struct conncount_listener *listener)
{
	const struct conncount_tally *a = &listener->ipv4, *b = &listener->ipv6;

	return (struct conncount_tally){
		.live = a->live + b->live,
		.opened = a->opened + b->opened,
		.closed = a->closed + b->closed,
		.uncounted = a->uncounted + b->uncounted,
		.lost = a->lost + b->lost,
	};
}

bool snapshot_is_exact(const struct snapshot *snapshot)
{
	return !snapshot->uncounted && !snapshot->lost && !snapshot->state.seeding &&
	       !snapshot->state.detached;
}

char *listen_format(const struct conncount_listen *listen, char *buf)
{
	char addr[CONNCOUNT_CIDR_SIZE];

	if (!listen->addr.family) {
		snprintf(buf, LISTEN_SIZE, "*:%u", listen->port);
		return buf;
	}
	conncount_cidr_format(&listen->addr, addr);
	*strchr(addr, '/') = '\0';
	snprintf(buf, LISTEN_SIZE, listen->addr.family == CONNCOUNT_IPV6 ? "[%s]:%u" : "%s:%u",
		 addr, listen->port);
	return buf;
}
