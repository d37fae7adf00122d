// SPDX-License-Identifier: BSD-2-Clause
/*
 * mounts.c - the bpffs that load mounts, and those of others.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mountinfo.h"
#include "mounts.h"
#include "report.h"

#define NETNS_DIR "/run/netns"

/* The inode number of the initial PID namespace, the same on every kernel. */
#define FIRST_PID_NAMESPACE 0xEFFFFFFCU

/* --- ours ------------------------------------------------------------------------------------- */

static int is_device(const struct mount_entry *entry, void *device)
{
	return entry->device == *(dev_t *)device;
}

static int is_own(const struct mount_entry *entry, void *device)
{
	return is_device(entry, device) && !strcmp(entry->source, MOUNT_SOURCE) &&
	       !strcmp(entry->type, "bpf");
}

static int is_shared(const struct mount_entry *entry, void *device)
{
	return is_device(entry, device) && entry->shared;
}

bool mount_is_own(dev_t device)
{
	return mountinfo_each("self", is_own, &device) > 0;
}

/* --- how long a mount stays ------------------------------------------------------------------- */

static int note_root(const struct mount_entry *entry, void *root)
{
	if (!strcmp(entry->path, "/"))
		*(struct mount_entry *)root = *entry;
	return 0; /* the last one is on top */
}

/*
 * Whether process 1 has our root directory; true if that is unknown. Compares mountinfo, which is
 * readable even if /proc/1/root is not.
 */
static bool has_first_root(void)
{
	struct mount_entry own = { 0 }, first = { 0 };

	return mountinfo_each("self", note_root, &own) < 0 ||
	       mountinfo_each("1", note_root, &first) < 0 ||
	       (own.device == first.device && !strcmp(own.root, first.root));
}

/* Whether another process is in our mount namespace. */
static bool has_company(void)
{
	DIR *dir = opendir("/proc");
	const struct dirent *entry;
	bool found = false;
	struct stat own, other;

	if (!dir || stat("/proc/self/ns/mnt", &own)) {
		if (dir)
			closedir(dir);
		return true;
	}
	while (!found && (entry = readdir(dir))) {
		char path[PATH_MAX];

		if (!isdigit((unsigned char)entry->d_name[0]) || atoi(entry->d_name) == getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/%s/ns/mnt", entry->d_name);
		found = !stat(path, &other) && other.st_ino == own.st_ino;
	}
	closedir(dir);
	return found;
}

/*
 * A mount that process 1 sees stays. If process 1 does not see it, but has our root directory, this
 * is `ip netns exec`, `unshare -m` or a systemd unit with its own mount namespace. If its root
 * directory is another one, this is a container, which lasts as long as it has other processes.
 */
bool mount_lasts(dev_t device)
{
	if (getpid() == 1)
		return mountinfo_each("self", is_shared, &device);
	return mountinfo_each("1", is_device, &device) || (!has_first_root() && has_company());
}

/* Whether our process IDs are not the host's; false if that is unknown. */
static bool is_in_pid_namespace(void)
{
	struct stat st;

	return !stat("/proc/self/ns/pid", &st) && st.st_ino != FIRST_PID_NAMESPACE;
}

void mount_note_container(dev_t device, const char *dir)
{
	if (getppid() == 1 && is_in_pid_namespace() && !mountinfo_each("self", is_shared, &device))
		report("note: %s: counting ends with this container (to have it go on, give the "
		       "container a directory of the host's bpffs as a volume)",
		       dir);
}

/* Find the `ip netns` name of our network namespace; writes @buf, of NAME_MAX + 1 bytes. */
static bool find_netns(char *buf)
{
	DIR *dir = opendir(NETNS_DIR);
	const struct dirent *entry;
	struct stat own, other;
	bool found = false;

	if (!dir)
		return false;
	while (!found && !stat("/proc/self/ns/net", &own) && (entry = readdir(dir))) {
		snprintf(buf, NAME_MAX + 1, "%s", entry->d_name);
		found = !fstatat(dirfd(dir), buf, &other, 0) && other.st_dev == own.st_dev &&
			other.st_ino == own.st_ino;
	}
	closedir(dir);
	return found;
}

void mount_report_lost(const char *dir)
{
	char netns[NAME_MAX + 1];

	if (find_netns(netns))
		report("%s: counting would end with this command, because its mount namespace ends "
		       "then (instead of ip netns exec: nsenter --net=" NETNS_DIR
		       "/%s conncount load)",
		       dir, netns);
	else
		report("%s: counting would end with this command, because its mount namespace ends "
		       "then (run it without unshare -m, PrivateTmp= and the like)",
		       dir);
}

/* --- those of others -------------------------------------------------------------------------- */

static int warn(const struct mount_entry *entry, void *group)
{
	struct stat st;

	if (strcmp(entry->type, "bpf") || !strcmp(entry->source, MOUNT_SOURCE) ||
	    stat(entry->path, &st) || st.st_dev != entry->device)
		return 0;
	if (st.st_uid || st.st_mode & S_IWOTH || (st.st_gid && st.st_mode & S_IWGRP))
		report("note: %s: users other than root can write to this bpffs, so members of "
		       "the group '%s' can change counts through it (close it: chmod 0700 %s)",
		       entry->path, (const char *)group, entry->path);
	return 0;
}

void mount_warn_writable(const char *group)
{
	mountinfo_each("self", warn, (char *)group);
}
