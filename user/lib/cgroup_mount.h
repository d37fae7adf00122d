/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cgroup_mount.h - where cgroup v2 is mounted.
 */
#ifndef CONNCOUNT_CGROUP_MOUNT_H
#define CONNCOUNT_CGROUP_MOUNT_H

/*
 * cgroup2_mount() - the first cgroup v2 mount; on a host that has cgroup v1 as well it is not
 * at /sys/fs/cgroup. Writes @buf, of PATH_MAX bytes. Returns 0 or a negative errno, -ENOENT
 * if there is none.
 */
int cgroup2_mount(char *buf);

#endif
