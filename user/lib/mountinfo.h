/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mountinfo.h - the mounts that a process sees.
 */
#ifndef CONNCOUNT_MOUNTINFO_H
#define CONNCOUNT_MOUNTINFO_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

/* A line of /proc/PID/mountinfo. */
struct mount_entry {
	unsigned id;         /* as statx() returns it */
	dev_t device;        /* of the file system */
	char root[PATH_MAX]; /* the directory of the file system that is mounted */
	char path[PATH_MAX]; /* the mount point */
	bool shared;         /* mounts on it propagate to other mount namespaces */
	char type[64];
	char source[64];
};

/*
 * mountinfo_each() - call @visit for each mount that a process sees, oldest first, until it returns
 * something other than 0.
 * @process: its number, or "self".
 *
 * Returns what @visit returned last, or the negative errno of reading the list.
 */
int mountinfo_each(const char *process, int (*visit)(const struct mount_entry *entry, void *arg),
		   void *arg);

#endif
