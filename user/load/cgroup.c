// SPDX-License-Identifier: BSD-2-Clause
/*
 * cgroup.c - find a cgroup v2 directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "cgroup.h"
#include "cgroup_mount.h"
#include "report.h"

static __u64 inode(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

/* What of @full is below @mount, or NULL if it is not. */
static const char *below(const char *full, const char *mount)
{
	size_t len = strlen(mount);

	if (strncmp(full, mount, len) || (full[len] && full[len] != '/'))
		return NULL;
	return full[len] ? full + len : "/";
}

/* The canonical directory that @path stands for; writes @full, of PATH_MAX bytes. */
static int resolve(const char *path, const char *mount, char *full)
{
	char joined[2 * PATH_MAX];

	if (realpath(path, full) && below(full, mount))
		return 0;
	snprintf(joined, sizeof(joined), "%s/%s", mount, path);
	if (!realpath(joined, full))
		return -errno;
	return below(full, mount) ? 0 : -ENOENT;
}

int cgroup_open(const char *path, struct cgroup *ret)
{
	char mount[PATH_MAX], full[PATH_MAX];
	struct cgroup cgroup;
	int err = cgroup2_mount(mount);

	if (err) {
		report("cgroup v2: not mounted (mount it: mount -t cgroup2 none /sys/fs/cgroup)");
		return err;
	}
	cgroup.root_id = inode(mount);
	err = resolve(path, mount, full);
	if (!err && strlen(below(full, mount)) >= sizeof(cgroup.path))
		err = -ENAMETOOLONG;
	if (!err) {
		strcpy(cgroup.path, below(full, mount));
		cgroup.id = inode(full);
		cgroup.fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (cgroup.fd < 0)
			err = -errno;
	}
	if (err) {
		report("cgroup %s: %s (it is looked for below %s)", path, strerror(-err), mount);
		return err;
	}
	*ret = cgroup;
	return 0;
}
