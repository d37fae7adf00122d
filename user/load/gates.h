/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gates.h - the programs that refuse connections (bpf/gates.bpf.h): one on the cgroup, one in each
 * network namespace that has a listener.
 */
#ifndef CONNCOUNT_GATES_H
#define CONNCOUNT_GATES_H

#include "cgroup.h"
#include "namespaces.h"

struct conncount_bpf;

/*
 * gates_attach() - have this build's programs refuse connections, by links pinned in @set. The
 * programs of links that are pinned there are replaced without a gap, and links of namespaces that
 * no longer exist are removed.
 * @skel: loaded; its `scan` names the counted cgroup.
 * @counted: as for namespaces_find().
 *
 * Returns 0 or a negative errno, reported.
 */
int gates_attach(const char *dir, const char *set, struct conncount_bpf *skel,
		 const struct cgroup *cgroup, const struct netns *counted);

/*
 * gates_detach() - have nothing refused any more by the set CC_DIR_LIVE.
 * Returns 0 or a negative errno, reported.
 */
int gates_detach(const char *dir);

/* gates_exist() - whether a set has a gate. */
bool gates_exist(const char *dir, const char *set);

/*
 * gates_reclaim() - after gates_detach(), give back the places that failed handshakes have left,
 * and forget which namespaces had a gate.
 * Returns 0 or a negative errno, reported.
 */
int gates_reclaim(struct conncount_bpf *skel);

#endif
