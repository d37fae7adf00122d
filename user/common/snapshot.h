/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * snapshot.h - an instance at one moment: what is counted, and whether the counts are exact.
 */
#ifndef CONNCOUNT_SNAPSHOT_H
#define CONNCOUNT_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/utsname.h>

#include "conncount.h"

/* The cluster at one moment. */
struct cluster_snapshot {
	struct conncount_cluster state;
	char why[CONNCOUNT_ERROR_SIZE]; /* why its counts are not exact; "": they are */
	struct conncount_node *nodes;
	size_t n;
};

/*
 * cluster_snapshot_take() - look at the cluster that this host is in, if it is in one.
 * @ret: the caller frees it with cluster_snapshot_free(); written only on success.
 *
 * Returns 0 or the negative errno of a library call.
 */
int cluster_snapshot_take(struct conncount *cc, struct cluster_snapshot *ret);

void cluster_snapshot_free(struct cluster_snapshot *cluster);

struct snapshot {
	const char *dir;
	struct utsname host;
	struct conncount_state state;
	struct conncount_listener *listeners;
	size_t n_listeners;
	struct conncount_listen *listens;
	size_t n_listens;
	/* By listener: whether it has proxies, or had sessions that came from some. */
	bool *proxied;
	int64_t uncounted; /* of all listeners, like `lost` */
	uint64_t lost;
	struct cluster_snapshot cluster;
	struct conncount_windows windows;
};

/*
 * snapshot_take() - look at an instance.
 * @dir: as given to conncount_open().
 * @ret_snapshot: the caller frees it with snapshot_free().
 *
 * Returns 0 or the negative errno of a library call.
 */
int snapshot_take(struct conncount *cc, const char *dir, struct snapshot *ret_snapshot);

void snapshot_free(struct snapshot *snapshot);

/* tally_sum() - the totals of a listener, for both families together. */
struct conncount_tally tally_sum(const struct conncount_listener *listener);

/* snapshot_is_exact() - whether every count of this host is exact. */
bool snapshot_is_exact(const struct snapshot *snapshot);

/* Bytes of a `listen` as text, including its NUL. */
enum { LISTEN_SIZE = CONNCOUNT_CIDR_SIZE + 10 };

/*
 * listen_format() - an address and port as the configuration writes them: *:25, 192.0.2.1:25,
 * [2001:db8::1]:25.
 * @buf: LISTEN_SIZE bytes.
 *
 * Returns @buf.
 */
char *listen_format(const struct conncount_listen *listen, char *buf);

#endif
