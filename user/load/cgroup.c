// SPDX-License-Identifier: BSD-2-Clause
/*
 * cgroup.c - find a cgroup v2 directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
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

static bool is_cgroup2(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* The innermost mount that contains the canonical path @full; NULL if there is none. */
static const struct cgroup_mount *mount_of(const struct cgroup_mount *mounts, size_t n,
					   const char *full)
{
	const struct cgroup_mount *found = NULL;

	for (size_t i = 0; i < n; i++)
		if (path_below(full, mounts[i].path) &&
		    (!found || strlen(mounts[i].path) > strlen(found->path)))
			found = &mounts[i];
	return found;
}

/*
 * Find the directory @path, in the file system or otherwise below the first mount. Writes its
 * canonical path to @full, of PATH_MAX bytes.
 */
static int resolve(const char *path, const struct cgroup_mount *mounts, char *full)
{
	char joined[2 * PATH_MAX];

	if (realpath(path, full) && is_cgroup2(full))
		return 0;
	snprintf(joined, sizeof(joined), "%s/%s", mounts[0].path, path);
	if (!realpath(joined, full))
		return -errno;
	return is_cgroup2(full) ? 0 : -ENOENT;
}

static int name_below(struct cgroup *cgroup, const struct cgroup_mount *mount, const char *path)
{
	if (strlen(path) >= sizeof(cgroup->path))
		return -ENAMETOOLONG;
	strcpy(cgroup->path, path);
	cgroup->root_id = mount->root_id;
	return 0;
}

/*
 * Name a cgroup as a path below the mount that shows most, so that other readers find it too: a
 * bind mount of a part may exist only for this process.
 */
static int name(struct cgroup *cgroup, const char *full, const struct cgroup_mount *mounts,
		size_t n)
{
	const struct cgroup_mount *own = mount_of(mounts, n, full);
	char path[3 * PATH_MAX], there[4 * PATH_MAX];

	if (!own)
		return -ENOENT;
	snprintf(path, sizeof(path), "%s%s", strcmp(own->root, "/") ? own->root : "",
		 path_below(full, own->path));
	for (size_t i = 0; i < n; i++) {
		const char *below = path_below(path, mounts[i].root);

		if (!below)
			continue;
		snprintf(there, sizeof(there), "%s%s", mounts[i].path, below);
		if (inode(there) == cgroup->id)
			return name_below(cgroup, &mounts[i], below);
	}
	return name_below(cgroup, own, path_below(full, own->path));
}

static int open_directory(struct cgroup *cgroup, const char *full)
{
	cgroup->id = inode(full);
	cgroup->fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return cgroup->fd < 0 ? -errno : 0;
}

/* Print a note if the searched mount does not show the whole hierarchy. */
static void note_part(uint64_t root_id)
{
	char mount[PATH_MAX];

	if (root_id != CGROUP_ROOT_ID && !cgroup2_mount_of(root_id, mount))
		report("note: %s shows only a part of the host's cgroups, number %" PRIu64
		       ", as in a container: servers outside of it are not counted (to count them, "
		       "give the container the host's cgroup namespace: --cgroupns=host)",
		       mount, root_id);
}

int cgroup_open(const char *path, struct cgroup *ret)
{
	struct cgroup cgroup = { .fd = -1 };
	struct cgroup_mount *mounts = NULL;
	char full[PATH_MAX];
	size_t n;
	int err = cgroup2_mounts(&mounts, &n);

	if (err && err != -ENOENT) {
		report("cgroup v2: /proc/self/mountinfo: %s", strerror(-err));
		return err;
	}
	if (err) {
		report("cgroup v2: not mounted (mount it: mount -t cgroup2 none /sys/fs/cgroup)");
		return err;
	}
	err = resolve(path, mounts, full);
	if (!err)
		err = open_directory(&cgroup, full);
	if (!err)
		err = name(&cgroup, full, mounts, n);
	if (err) {
		report("cgroup %s: %s (searched below %s)", path, strerror(-err), mounts[0].path);
		note_part(mounts[0].root_id);
		if (cgroup.fd >= 0)
			close(cgroup.fd);
	} else {
		note_part(cgroup.root_id);
		*ret = cgroup;
	}
	free(mounts);
	return err;
}

int cgroup_open_below(uint64_t root_id, const char *path, struct cgroup *ret)
{
	struct cgroup cgroup = { .root_id = root_id };
	char mount[PATH_MAX], full[2 * PATH_MAX];
	int err = cgroup2_mount_of(root_id, mount);

	if (!err) {
		snprintf(full, sizeof(full), "%s%s", mount, path);
		err = open_directory(&cgroup, full);
	}
	if (err) {
		report("cgroup %s: %s (no cgroup v2 mount visible from here shows it)", path,
		       strerror(-err));
		return err;
	}
	snprintf(cgroup.path, sizeof(cgroup.path), "%s", path);
	*ret = cgroup;
	return 0;
}
