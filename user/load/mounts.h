/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mounts.h - the bpffs that load mounts, and others.
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
 * mount_lasts() - whether what this process mounted, as @device, stays when the process ends:
 * a mount namespace of its own, as of `ip netns exec`, ends with it. If that cannot be found
 * out, it is taken to stay.
 */
bool mount_lasts(dev_t device);

/*
 * mount_report_lost() - report that what is mounted on @dir would not stay, and which command
 * would do in this network namespace.
 */
void mount_report_lost(const char *dir);

/*
 * mount_warn_writable() - report each mounted bpffs that users other than root can write to:
 * members of the @group that can read the maps could pin them there, and open them for writing.
 */
void mount_warn_writable(const char *group);

#endif
