/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * instance.h - an instance's directory, the lock on it, and the names of what is pinned there.
 *
 * These functions belong to the command, not to the library: they report what goes wrong on
 * stderr, by report().
 */
#ifndef CONNCOUNT_INSTANCE_H
#define CONNCOUNT_INSTANCE_H

#include <limits.h>
#include <stdbool.h>

/* An instance's directory, locked against other loads and unloads; members of the group cannot. */
struct instance {
	const char *dir;         /* as the user names it */
	char path[PATH_MAX];     /* without symbolic links */
	char lock[NAME_MAX + 1]; /* the lock's path */
	int lock_fd;
	int dir_fd; /* the directory, on its bpffs */
};

/* instance_path() - the path DIR/SET/NAME; returns @buf, of PATH_MAX bytes. */
char *instance_path(const char *dir, const char *set, const char *name, char *buf);

/*
 * instance_create() - make the directory if need be, mount a bpffs on it if it is on none,
 * and lock it.
 * Returns 0, then instance_release() is due; or a negative errno, reported.
 */
int instance_create(const char *dir, struct instance *ret);

/*
 * instance_find() - lock the directory if it is there and on a bpffs.
 * Returns 0, then instance_release() is due; -ENOENT, not reported, if nothing is there; or
 * another negative errno, reported.
 */
int instance_find(const char *dir, struct instance *ret);

void instance_release(struct instance *instance);

/*
 * instance_clear() - remove a set of pins, CC_DIR_LIVE or CC_DIR_NEXT, with its directory:
 * what it has attached stops counting, and readers that have it open notice. A set that is
 * not there is no error. Returns 0 or a negative errno, reported.
 */
int instance_clear(const struct instance *instance, const char *set);

/* instance_begin() - make the directory of CC_DIR_NEXT. Returns 0 or -errno, reported. */
int instance_begin(const struct instance *instance);

/*
 * instance_switch() - make CC_DIR_NEXT what CC_DIR_LIVE was, in one step; what that was is
 * CC_DIR_NEXT then. Returns 0 or a negative errno, reported.
 */
int instance_switch(const struct instance *instance);

/*
 * instance_remove() - lock the directory, and remove all that is pinned there, the directory,
 * and the bpffs that was mounted for it.
 * Returns 0; -ENOENT, not reported, if nothing was there; or another negative errno, reported.
 */
int instance_remove(const char *dir);

/* instance_remove_unused() - the same, if nothing is pinned: after a load that failed. */
void instance_remove_unused(struct instance *instance);

#endif
