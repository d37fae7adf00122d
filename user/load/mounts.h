/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mounts.h - the bpffs that load mounts, and those of others.
 */
#ifndef CONNCOUNT_MOUNTS_H
#define CONNCOUNT_MOUNTS_H

#include <stdbool.h>
#include <sys/types.h>

/* The source that load gives its own bpffs, by which it is recognised. */
#define MOUNT_SOURCE "conncount"

/* mount_is_own() - whether @device is a bpffs that load mounted, in this mount namespace. */
bool mount_is_own(dev_t device);

/*
 * mount_lasts() - whether a mount that this process made, of @device, stays when the process ends:
 * a private mount namespace, as of `ip netns exec`, ends with it. Returns true if that is unknown.
 */
bool mount_lasts(dev_t device);

/*
 * mount_report_lost() - report that the mount on @dir would not stay, and which command to use
 * instead in this network namespace.
 */
void mount_report_lost(const char *dir);

/*
 * mount_note_container() - print a note if the first process of a container started this one, and
 * the mount of @device on @dir is seen only there: it ends when that process does.
 */
void mount_note_container(dev_t device, const char *dir);

/*
 * mount_warn_writable() - report each mounted bpffs that users other than root can write to:
 * members of @group, which can read the maps, could pin them there and open them for writing.
 */
void mount_warn_writable(const char *group);

#endif
