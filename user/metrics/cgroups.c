// SPDX-License-Identifier: BSD-2-Clause
/*
 * cgroups.c - which cgroups are counted, and which are outside.
 */
#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroup_mount.h"
#include "cgroups.h"

enum { DIRECTORIES_MOST = 65536 };

struct search {
	struct cgroup_of *cgroups;
	size_t n;
	size_t missing; /* how many were not found yet */
	/* Called for one that was found at the directory @path. */
	int (*found)(struct search *search, struct cgroup_of *cgroup, const char *path);
	const char *mount; /* the part of @found's path before the cgroup's name */
};

static int compare(const void *one, const void *other)
{
	const struct cgroup_of *a = one, *b = other;

	return (a->id > b->id) - (a->id < b->id);
}

/* Returns 0, a negative errno, or 1 if it could not look at all directories. */
static int walk(struct search *search, FTS *tree)
{
	size_t directories = 0;
	FTSENT *entry;
	int err = 0, left_out = 0;

	while (!err && search->missing && (entry = fts_read(tree))) {
		if (entry->fts_info == FTS_DNR && entry->fts_errno != ENOENT)
			left_out = 1;
		if (entry->fts_info != FTS_D)
			continue;
		if (++directories > DIRECTORIES_MOST)
			return 1;
		struct cgroup_of key = { .id = entry->fts_ino };
		struct cgroup_of *cgroup =
			bsearch(&key, search->cgroups, search->n, sizeof(key), compare);
		if (cgroup)
			err = search->found(search, cgroup, entry->fts_path);
	}
	return err ? err : left_out;
}

/* Search the directory @top and those in it. Returns as walk(). */
static int search_tree(struct search *search, char *top)
{
	char *paths[] = { top, NULL };
	/* FTS_NOSTAT: each directory has some fifty files, and readdir returns their types. */
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT | FTS_XDEV, NULL);
	int err;

	if (!tree)
		return -errno;
	err = walk(search, tree);
	fts_close(tree);
	return err;
}

static int found_counted(struct search *search, struct cgroup_of *cgroup, const char *path)
{
	(void)path;
	if (cgroup->place == CGROUP_COUNTED)
		return 0;
	cgroup->place = CGROUP_COUNTED;
	search->missing--;
	return 0;
}

/* Any user may have created the cgroup: its name must be safe to print. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

static int found_path(struct search *search, struct cgroup_of *cgroup, const char *path)
{
	const char *name = path_below(path, search->mount);

	if (cgroup->place != CGROUP_OUTSIDE || cgroup->path || !name)
		return 0;
	cgroup->path = strdup(name);
	if (!cgroup->path)
		return -ENOMEM;
	make_printable(cgroup->path);
	search->missing--;
	return 0;
}

/* Find those in the counted cgroup, which is at @path. */
static int find_counted(const struct conncount_state *state, char *path, struct search *search)
{
	struct stat st;
	int left_out = 0;

	search->found = found_counted;
	/* A cgroup that was created again has another number, and is not counted. */
	if (!stat(path, &st) && st.st_ino == state->cgroup_id)
		left_out = search_tree(search, path);
	if (left_out)
		return left_out < 0 ? left_out : 0;
	for (size_t i = 0; i < search->n; i++)
		if (search->cgroups[i].place == CGROUP_UNSEEN)
			search->cgroups[i].place = CGROUP_OUTSIDE;
	return 0;
}

/* Find the paths of those outside, below the mount that shows most of the hierarchy. */
static int find_paths(struct search *search)
{
	struct cgroup_mount *mounts;
	size_t n;
	int err = cgroup2_mounts(&mounts, &n);
	bool all;

	if (err)
		return err == -ENOENT ? 0 : err;
	all = mounts[0].root_id == CGROUP_ROOT_ID;
	search->mount = mounts[0].path;
	search->found = found_path;
	err = search_tree(search, mounts[0].path);
	for (size_t i = 0; !err && all && i < search->n; i++) {
		struct cgroup_of *cgroup = &search->cgroups[i];

		if (cgroup->place != CGROUP_OUTSIDE || cgroup->path)
			continue;
		cgroup->path = strdup("");
		if (!cgroup->path)
			err = -ENOMEM;
	}
	free(mounts);
	return err < 0 ? err : 0;
}

static size_t count_places(const struct search *search, enum cgroup_place place)
{
	size_t n = 0;

	for (size_t i = 0; i < search->n; i++)
		n += search->cgroups[i].place == place;
	return n;
}

int cgroups_find(const struct conncount_state *state, bool paths, struct cgroup_of *cgroups,
		 size_t n)
{
	struct search search = { .cgroups = cgroups, .n = n };
	bool all = state->cgroup_root_id == CGROUP_ROOT_ID && !strcmp(state->cgroup, "/");
	char mount[PATH_MAX], full[2 * PATH_MAX];
	int err;

	for (size_t i = 0; i < n; i++) {
		/* If the kernel does not return the number, the cgroup is taken as counted. */
		bool counted = all || !cgroups[i].id || cgroups[i].id == state->cgroup_id;

		cgroups[i].place = counted ? CGROUP_COUNTED : CGROUP_UNSEEN;
	}
	search.missing = count_places(&search, CGROUP_UNSEEN);
	if (!search.missing)
		return 0;
	err = cgroup2_mount_of(state->cgroup_root_id, mount);
	if (err)
		return err == -ENOENT ? 0 : err;
	snprintf(full, sizeof(full), "%s%s", mount, state->cgroup);
	err = find_counted(state, full, &search);
	search.missing = count_places(&search, CGROUP_OUTSIDE);
	if (!err && paths && search.missing)
		err = find_paths(&search);
	return err;
}
