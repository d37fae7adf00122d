// SPDX-License-Identifier: BSD-2-Clause
/*
 * cgroup_mount.c - where cgroup v2 is mounted.
 */
#include <errno.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>

#include "cgroup_mount.h"

int cgroup2_mount(char *buf)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	char line[2 * PATH_MAX];
	struct mntent entry;
	int err = -ENOENT;

	if (!mounts)
		return -errno;
	while (err && getmntent_r(mounts, &entry, line, sizeof(line))) {
		if (strcmp(entry.mnt_type, "cgroup2"))
			continue;
		snprintf(buf, PATH_MAX, "%s", entry.mnt_dir);
		err = 0;
	}
	endmntent(mounts);
	return err;
}
