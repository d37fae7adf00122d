/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cgroup.h - find a cgroup v2 directory.
 */
#ifndef CONNCOUNT_CGROUP_H
#define CONNCOUNT_CGROUP_H

#include <limits.h>
#include <stdint.h>

#include <linux/types.h>

#include "abi.h"

/* A cgroup v2 directory. */
struct cgroup {
	char path[CC_CGROUP_SIZE]; /* below a mount; "/" for its root */
	__u64 id;                  /* the kernel's number: the inode number of its directory */
	__u64 root_id;             /* that of the mount's root */
	int fd;
};

/*
 * cgroup_open() - open the cgroup @path: a path inside a cgroup v2 mount, or otherwise one below
 * the cgroup v2 mount that shows most of the hierarchy, wherever that is (hosts with cgroup v1 and
 * v2 have it elsewhere). Reports if no mount shows all of it.
 *
 * Returns 0, then the caller closes ret->fd; or a negative errno, reported.
 */
int cgroup_open(const char *path, struct cgroup *ret);

/*
 * cgroup_open_below() - open the cgroup @path below a mount that shows the cgroup @root_id as its
 * root. cgroup_open() sets both.
 *
 * Returns as cgroup_open().
 */
int cgroup_open_below(uint64_t root_id, const char *path, struct cgroup *ret);

#endif
