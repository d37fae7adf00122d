/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * publish.h - make a configuration the active one.
 */
#ifndef CONNCOUNT_PUBLISH_H
#define CONNCOUNT_PUBLISH_H

#include <stdbool.h>

#include "cgroup.h"
#include "config.h"
#include "limit_maps.h"
#include "namespaces.h"

/* The maps with the listeners of a loaded instance. */
struct config_maps {
	int listeners_fd, proxies_fd, configs_fd, stats_fd;
	struct limit_maps limit;
	struct cc_control *control; /* mapped for writing; a copy if it is a former set's */
};

/*
 * config_publish() - make @config, for @cgroup, @counted and @windows, the active configuration in
 * one step. Does nothing if it is active already.
 *
 * @former: if @maps are new, the maps that they will replace; otherwise NULL.
 *
 * A listener keeps its id as long as it keeps its name. A listener that @config no longer has
 * drains: its sessions stay counted, and a later load reuses its id when none is left.
 *
 * If listeners have changed, they may have open sessions: config_publish() sets the control map's
 * `seeding`, and the caller clears it when they are counted.
 *
 * @ret_changed: whether @config differs from the configuration that was active.
 * Returns 0; or a negative errno, reported, with the old configuration still active.
 */
int config_publish(const struct config_maps *maps, const struct config_maps *former,
		   const struct config *config, const struct cgroup *cgroup,
		   const struct netns *counted, const struct cc_windows *windows,
		   bool *ret_changed);

/*
 * config_begin_windows() - note since when each listener's connections are counted in windows: from
 * now on, unless that is known; and since when those that were removed are not. Call it after
 * config_publish().
 * @former: the maps that @maps are about to replace, if both count in the same windows; else NULL.
 *
 * Returns 0, or a negative errno, reported.
 */
int config_begin_windows(const struct config_maps *maps, const struct config_maps *former);

/*
 * config_carry_totals() - make `opened`, `closed` and the totals of `proxied` of each listener in
 * @maps continue from their values in @former, which @maps are about to replace. They never
 * decrease: a counter that does looks like a restart. Events that happen meanwhile may be in them
 * twice.
 *
 * Returns 0, or a negative errno, reported.
 */
int config_carry_totals(const struct config_maps *maps, const struct config_maps *former);

/*
 * programs_wait() - wait until all runs of programs that began before this call have ended.
 * Returns 0, or a negative errno after a message.
 */
int programs_wait(void);

#endif
