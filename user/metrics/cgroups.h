/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cgroups.h - which cgroups are counted, and which are outside.
 */
#ifndef CONNCOUNT_CGROUPS_H
#define CONNCOUNT_CGROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conncount.h"

enum cgroup_place {
	CGROUP_UNSEEN,  /* not visible from here */
	CGROUP_COUNTED, /* the counted cgroup, or one inside it */
	CGROUP_OUTSIDE,
};

struct cgroup_of {
	uint64_t id; /* the kernel's number, the inode number of its directory */
	enum cgroup_place place;
	char *path; /* of one outside, allocated; "" if it was removed; NULL if unknown */
};

/*
 * cgroups_find() - set the places of @cgroups, which are sorted by number.
 * @state: what is counted, from conncount_state().
 * @paths: whether to look for the paths of those outside as well.
 *
 * Searches the directories of the counted cgroup, and for paths those of the whole hierarchy, until
 * all of @cgroups are found, at most 65,536. Searches none if the whole hierarchy is counted.
 * Returns 0 or a negative errno.
 */
int cgroups_find(const struct conncount_state *state, bool paths, struct cgroup_of *cgroups,
		 size_t n);

#endif
