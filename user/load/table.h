/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table.h - make a configuration the one in force.
 */
#ifndef CONNCOUNT_TABLE_H
#define CONNCOUNT_TABLE_H

#include <stdbool.h>

#include "config.h"

/* The maps that say which listener is which, of a loaded instance. */
struct table_maps {
	int listeners_fd, tables_fd, stats_fd;
	struct cc_directory *directory; /* mapped for writing */
};

/*
 * table_publish() - put @config, for the cgroup at @cgroup, in force in one step; nothing at
 * all if it is already.
 *
 * A listener keeps its id as long as it keeps its name. One that is gone from @config drains:
 * its sessions stay counted, and its id is given out again only by a later load that finds
 * none left.
 *
 * @ret_changed: whether anything was changed.
 * Returns 0, or a negative errno, reported, with the old configuration still in force.
 */
int table_publish(const struct table_maps *maps, const struct config *config, const char *cgroup,
		  bool *ret_changed);

#endif
