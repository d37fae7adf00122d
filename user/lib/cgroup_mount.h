/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cgroup_mount.h - where cgroup v2 is mounted.
 */
#ifndef CONNCOUNT_CGROUP_MOUNT_H
#define CONNCOUNT_CGROUP_MOUNT_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

/* The inode number of the root of the hierarchy. That of any other cgroup is higher. */
enum { CGROUP_ROOT_ID = 1 };

/*
 * A cgroup v2 mount. A container's mount, or a bind mount, may show only a part of the hierarchy.
 */
struct cgroup_mount {
	char path[PATH_MAX]; /* the mount point */
	char root[PATH_MAX]; /* the cgroup that it shows, as this process's cgroup namespace names
				it: above its own root with "/.." */
	uint64_t root_id;    /* the inode number of that cgroup */
	int depth;           /* of that cgroup, below the namespace's root; above it, negative */
};

/*
 * cgroup2_mounts() - the cgroup v2 mounts that can be reached from here, except those hidden by
 * another mount. The one that shows most comes first: that of the hierarchy's root, if there is
 * one.
 * @ret_mounts: an array that the caller frees with free().
 *
 * Returns 0 or a negative errno, -ENOENT if there is none.
 */
int cgroup2_mounts(struct cgroup_mount **ret_mounts, size_t *ret_n);

/*
 * cgroup2_mount_of() - the mount point of a mount that shows the cgroup @root_id as its root.
 * @buf: PATH_MAX bytes.
 *
 * Returns 0 or a negative errno, -ENOENT if there is none.
 */
int cgroup2_mount_of(uint64_t root_id, char *buf);

/*
 * path_below() - the part of @path below the directory @top: "/..." or, for @top itself, "/".
 * Returns NULL if @path is not below @top. Both must be canonical.
 */
const char *path_below(const char *path, const char *top);

#endif
