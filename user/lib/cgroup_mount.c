// SPDX-License-Identifier: BSD-2-Clause
/*
 * cgroup_mount.c - where cgroup v2 is mounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroup_mount.h"

const char *path_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	if (!strcmp(top, "/"))
		return path;
	if (strncmp(path, top, len) || (path[len] && path[len] != '/'))
		return NULL;
	return path[len] ? path + len : "/";
}

/* The kernel writes a blank, a tab, a newline and a backslash as \ and three octal digits. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (from[0] == '\\' && from[1] && from[2] && from[3]) {
			*to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 |
				       (from[3] - '0'));
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

static int depth_of(const char *root)
{
	int depth = 0;

	for (const char *slash = root; slash && slash[1]; slash = strchr(slash + 1, '/'))
		depth += !strncmp(slash, "/..", 3) && (!slash[3] || slash[3] == '/') ? -1 : 1;
	return depth;
}

/* Read a line of mountinfo. False if it is not of a cgroup v2 mount. */
static bool read_mount(char *line, unsigned *ret_id, struct cgroup_mount *ret)
{
	const char *type = strstr(line, " - "); /* a blank in a path is written as \040 */

	if (!type || strncmp(type + 3, "cgroup2 ", 8) ||
	    sscanf(line, "%u %*u %*s %4095s %4095s", ret_id, ret->root, ret->path) != 3)
		return false;
	unescape(ret->root);
	unescape(ret->path);
	ret->depth = depth_of(ret->root);
	return true;
}

/* Find what is at the mount's path. False if that is another mount, or cannot be reached. */
static bool look_at(struct cgroup_mount *mount, unsigned id)
{
	struct statx st;

	if (statx(AT_FDCWD, mount->path, AT_NO_AUTOMOUNT, STATX_INO | STATX_MNT_ID, &st) ||
	    !(st.stx_mask & STATX_MNT_ID) || st.stx_mnt_id != id)
		return false;
	mount->root_id = st.stx_ino;
	return true;
}

static bool is_higher(const struct cgroup_mount *a, const struct cgroup_mount *b)
{
	bool a_all = a->root_id == CGROUP_ROOT_ID, b_all = b->root_id == CGROUP_ROOT_ID;

	return a_all != b_all ? a_all : a->depth < b->depth;
}

/* Insert behind those that are as high: of these the first mounted comes first. */
static int insert(struct cgroup_mount **mounts, size_t n, const struct cgroup_mount *mount)
{
	struct cgroup_mount *grown = realloc(*mounts, (n + 1) * sizeof(*grown));
	size_t at = n;

	if (!grown)
		return -ENOMEM;
	*mounts = grown;
	while (at && is_higher(mount, &grown[at - 1]))
		at--;
	memmove(&grown[at + 1], &grown[at], (n - at) * sizeof(*grown));
	grown[at] = *mount;
	return 0;
}

int cgroup2_mounts(struct cgroup_mount **ret_mounts, size_t *ret_n)
{
	FILE *mountinfo = fopen("/proc/self/mountinfo", "re");
	struct cgroup_mount *mounts = NULL, mount;
	size_t n = 0, size = 0;
	char *line = NULL;
	unsigned id;
	int err = 0;

	if (!mountinfo)
		return -errno;
	while (!err && getline(&line, &size, mountinfo) > 0) {
		if (!read_mount(line, &id, &mount) || !look_at(&mount, id))
			continue;
		err = insert(&mounts, n, &mount);
		if (!err)
			n++;
	}
	if (!err && ferror(mountinfo))
		err = -EIO;
	free(line);
	fclose(mountinfo);
	if (!err && !n)
		err = -ENOENT;
	if (err) {
		free(mounts);
		return err;
	}
	*ret_mounts = mounts;
	*ret_n = n;
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
