// SPDX-License-Identifier: BSD-2-Clause
/*
 * cgroup_mount.c - where cgroup v2 is mounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/stat.h>

#include "cgroup_mount.h"
#include "mountinfo.h"

const char *path_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	if (!strcmp(top, "/"))
		return path;
	if (strncmp(path, top, len) || (path[len] && path[len] != '/'))
		return NULL;
	return path[len] ? path + len : "/";
}

static int depth_of(const char *root)
{
	int depth = 0;

	for (const char *slash = root; slash && slash[1]; slash = strchr(slash + 1, '/'))
		depth += !strncmp(slash, "/..", 3) && (!slash[3] || slash[3] == '/') ? -1 : 1;
	return depth;
}

/*
 * Look at the path of a cgroup v2 mount. Returns false if another mount hides it, or if it cannot
 * be reached.
 */
static bool look_at(const struct mount_entry *entry, struct cgroup_mount *ret)
{
	struct statx st;

	/* musl has statx() only since 1.2.5, and no stx_mnt_id in its struct. */
	if (syscall(SYS_statx, AT_FDCWD, entry->path, AT_NO_AUTOMOUNT, STATX_INO | STATX_MNT_ID,
		    &st) ||
	    !(st.stx_mask & STATX_MNT_ID) || st.stx_mnt_id != entry->id)
		return false;
	strcpy(ret->path, entry->path);
	strcpy(ret->root, entry->root);
	ret->root_id = st.stx_ino;
	ret->depth = depth_of(ret->root);
	return true;
}

static bool is_higher(const struct cgroup_mount *a, const struct cgroup_mount *b)
{
	bool a_all = a->root_id == CGROUP_ROOT_ID, b_all = b->root_id == CGROUP_ROOT_ID;

	return a_all != b_all ? a_all : a->depth < b->depth;
}

struct cgroup_mounts {
	struct cgroup_mount *mounts;
	size_t n;
};

/* Insert it after mounts of the same rank, so that the one mounted first comes first. */
static int insert(struct cgroup_mounts *all, const struct cgroup_mount *mount)
{
	struct cgroup_mount *grown = realloc(all->mounts, (all->n + 1) * sizeof(*grown));
	size_t at = all->n;

	if (!grown)
		return -ENOMEM;
	all->mounts = grown;
	while (at && is_higher(mount, &grown[at - 1]))
		at--;
	memmove(&grown[at + 1], &grown[at], (all->n - at) * sizeof(*grown));
	grown[at] = *mount;
	all->n++;
	return 0;
}

static int visit(const struct mount_entry *entry, void *all)
{
	struct cgroup_mount mount;

	if (strcmp(entry->type, "cgroup2") || !look_at(entry, &mount))
		return 0;
	return insert(all, &mount);
}

int cgroup2_mounts(struct cgroup_mount **ret_mounts, size_t *ret_n)
{
	struct cgroup_mounts all = { 0 };
	int err = mountinfo_each("self", visit, &all);

	if (!err && !all.n)
		err = -ENOENT;
	if (err) {
		free(all.mounts);
		return err;
	}
	*ret_mounts = all.mounts;
	*ret_n = all.n;
	return 0;
}

int cgroup2_mount_of(uint64_t root_id, char *buf)
{
	struct cgroup_mount *mounts;
	size_t n;
	int err = cgroup2_mounts(&mounts, &n);

	if (err)
		return err;
	err = -ENOENT;
	for (size_t i = 0; err && i < n; i++) {
		if (mounts[i].root_id != root_id)
			continue;
		strcpy(buf, mounts[i].path);
		err = 0;
	}
	free(mounts);
	return err;
}
