/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cgroups.h - which cgroups are counted in, and which are outside.
 */
#ifndef CONNCOUNT_CGROUPS_H
#define CONNCOUNT_CGROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conncount.h"

enum cgroup_place {
	CGROUP_UNSEEN,  /* it cannot be told from here */
	CGROUP_COUNTED, /* the cgroup that is counted in, or one in it */
	CGROUP_OUTSIDE,
};

struct cgroup_of {
	uint64_t id; /* the kernel's number, the inode number of its directory */
	enum cgroup_place place;
	char *path; /* of one outside, allocated; "" if it was removed; NULL if that is not known */
};

/*
 * cgroups_find() - fill in the places of @cgroups, which are in the order of their numbers.
 * @state: what is counted, as of conncount_state().
 * @paths: whether to look for the paths of those outside as well.
 *
 * Looks at the directories of the cgroup that is counted in, and for paths at those of the whole
 * hierarchy, until all of @cgroups are found; at 65,536 at most. At none where all of the hierarchy
 * is counted. Returns 0 or a negative errno.
 */
int cgroups_find(const struct conncount_state *state, bool paths, struct cgroup_of *cgroups,
		 size_t n);

#endif
