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

struct instance_lock {
	char path[PATH_MAX];
	int fd; /* -1: not held */
};

/* An instance's directory, locked against other loads and unloads. Members of the group cannot lock
 * it. */
struct instance {
	const char *dir;                 /* as the user names it */
	char path[PATH_MAX];             /* without symbolic links */
	struct instance_lock lock;       /* in /run, also before the directory exists */
	struct instance_lock bpffs_lock; /* on the bpffs: containers share that, and not /run */
	int dir_fd;                      /* the directory, on its bpffs */
	/* Whether this process has mounted that: on Linux 5.10, mountinfo does not say whose it is.
	 */
	bool mounted;
};

/* instance_path() - the path DIR/SET/NAME; returns @buf, of PATH_MAX bytes. */
char *instance_path(const char *dir, const char *set, const char *name, char *buf);

/*
 * instance_create() - create and lock the directory, and mount a bpffs on it if it is not on one.
 * Returns 0, then the caller must call instance_release(); or a negative errno, reported.
 */
int instance_create(const char *dir, struct instance *ret);

/*
 * instance_find() - lock the directory if it exists and is on a bpffs. Returns 0, then the caller
 * must call instance_release(); -ENOENT, not reported, if there is no instance; or another negative
 * errno, reported.
 */
int instance_find(const char *dir, struct instance *ret);

void instance_release(struct instance *instance);

/*
 * instance_clear() - remove a set of pins, CC_DIR_LIVE or CC_DIR_NEXT, and its directory: its
 * programs stop counting, and its readers notice. A missing set is not an error. Returns 0 or a
 * negative errno, reported.
 */
int instance_clear(const struct instance *instance, const char *set);

/* instance_begin() - create the directory CC_DIR_NEXT. Returns 0 or a negative errno, reported. */
int instance_begin(const struct instance *instance);

/*
 * instance_switch() - make CC_DIR_NEXT the new CC_DIR_LIVE, in one step. A previous CC_DIR_LIVE
 * becomes CC_DIR_NEXT. Returns 0 or a negative errno, reported.
 */
int instance_switch(const struct instance *instance);

/*
 * instance_remove() - lock the directory, and remove the pins, the bpffs mounted for them, and the
 * directory. Returns 0; -ENOENT, not reported, if there is no instance; or another negative errno,
 * reported.
 */
int instance_remove(const char *dir);

/* instance_remove_unused() - the same if no live set is pinned, after a failed load. */
void instance_remove_unused(struct instance *instance);

#endif
