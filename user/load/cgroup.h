/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cgroup.h - find a cgroup v2 directory.
 */
#ifndef CONNCOUNT_CGROUP_H
#define CONNCOUNT_CGROUP_H

#include <limits.h>

#include <linux/types.h>

#include "abi.h"

/* A cgroup v2 directory. */
struct cgroup {
	char path[CC_CGROUP_SIZE]; /* below the mount, "/" for all of it */
	__u64 id;                  /* the kernel's number: the inode number of its directory */
	__u64 root_id;             /* that of the mount */
	int fd;
};

/*
 * cgroup_open() - open the cgroup @path: a path below the cgroup v2 mount, wherever that is
 * (a host with cgroup v1 and v2 side by side has it elsewhere), or a path in the file system
 * that is in that mount.
 *
 * Returns 0, then the caller closes ret->fd; or a negative errno, reported.
 */
int cgroup_open(const char *path, struct cgroup *ret);

#endif
