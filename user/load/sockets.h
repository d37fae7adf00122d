/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sockets.h - the kernel's own list of sockets, by the iterators.
 */
#ifndef CONNCOUNT_SOCKETS_H
#define CONNCOUNT_SOCKETS_H

#include <stddef.h>

#include "cgroup.h"
#include "namespaces.h"

struct conncount_bpf;

/*
 * sockets_seed() - count the open sessions that have no record, once each, while others come and
 * go. Reports its progress if it takes more than a second.
 * @skel: loaded, with its programs attached and its configuration active.
 *
 * Returns 0 or a negative errno, reported.
 */
int sockets_seed(struct conncount_bpf *skel, const struct cgroup *cgroup,
		 const struct netns *counted);

/*
 * sockets_scan() - list the sessions there are, counted or not.
 * @ret_sockets: an array sorted by id, without duplicates; the caller frees it with free().
 *
 * Returns 0 or a negative errno, reported.
 */
int sockets_scan(struct conncount_bpf *skel, const struct cgroup *cgroup,
		 const struct netns *counted, struct cc_scanned **ret_sockets, size_t *ret_n);

#endif
