/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * publish.h - make a configuration the one in force.
 */
#ifndef CONNCOUNT_PUBLISH_H
#define CONNCOUNT_PUBLISH_H

#include <stdbool.h>

#include "cgroup.h"
#include "config.h"
#include "namespaces.h"

/* The maps that say which listener is which, of a loaded instance. */
struct config_maps {
	int listeners_fd, configs_fd, stats_fd;
	struct cc_control *control; /* mapped for writing, unless it is of a former set */
};

/*
 * config_publish() - put @config, for @cgroup and @counted, in force in one step; nothing at
 * all if it is already.
 *
 * @former: where @maps are new, those they are to replace; or NULL.
 *
 * A listener keeps its id as long as it keeps its name. One that is gone from @config drains:
 * its sessions stay counted, and its id is given out again only by a later load that finds
 * none left.
 *
 * What changed may have brought listeners with sessions already open: the directory's
 * `seeding` is set, and clearing it when they are entered is the caller's.
 *
 * @ret_changed: whether that is another configuration than the one that was in force.
 * Returns 0, or a negative errno, reported, with the old configuration still in force.
 */
int config_publish(const struct config_maps *maps, const struct config_maps *former,
		   const struct config *config, const struct cgroup *cgroup,
		   const struct netns *counted, bool *ret_changed);

/*
 * config_carry_totals() - have `opened` and `closed` of each listener in @maps go on from where
 * they are in
 * @former, whose place they are about to take: never less, for a metric that goes back is taken for
 * a restart. What happens meanwhile may be in them twice.
 *
 * Returns 0, or a negative errno, reported.
 */
int config_carry_totals(const struct config_maps *maps, const struct config_maps *former);

/*
 * programs_wait() - wait until every run of a program that began before this call
 * has ended.
 */
void programs_wait(void);

#endif
