// SPDX-License-Identifier: BSD-2-Clause
/*
 * instance.c - the directory that an instance is pinned in.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/magic.h>
#include <linux/types.h>

#include "abi.h"
#include "instance.h"
#include "mapping.h"
#include "report.h"

char *instance_path(const char *dir, const char *name, char *buf)
{
	snprintf(buf, PATH_MAX, "%s/%s", dir, name);
	return buf;
}

static bool is_bpffs(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && fs.f_type == BPF_FS_MAGIC;
}

/* Whether @fd is what @dir names now: a mount or unmount may have come in between. */
static bool is_current(int fd, const char *dir)
{
	struct stat by_fd, by_name;

	return !fstat(fd, &by_fd) && !stat(dir, &by_name) && by_fd.st_dev == by_name.st_dev &&
	       by_fd.st_ino == by_name.st_ino;
}

/* Open and lock what @dir names. Returns a descriptor or a negative errno. */
static int open_locked(const char *dir)
{
	for (;;) {
		int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX)) {
			int err = -errno;

			close(fd);
			return err;
		}
		if (is_current(fd, dir))
			return fd;
		close(fd);
	}
}

/* Whether the directory behind @fd has nothing in it. */
static bool is_empty(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;
	bool empty = true;

	if (!dir)
		return false;
	while (empty && (entry = readdir(dir)))
		empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
	closedir(dir);
	return empty;
}

void instance_release(struct instance *instance)
{
	if (instance->dir_fd >= 0)
		close(instance->dir_fd);
	if (instance->mount_fd >= 0)
		close(instance->mount_fd);
	instance->dir_fd = instance->mount_fd = -1;
}

/* Mount a bpffs over the directory that is locked, and lock that. */
static int mount_bpffs(struct instance *instance)
{
	if (!is_empty(instance->dir_fd)) {
		report("%s: not a directory of conncount: it is not empty (name another with "
		       "--dir)",
		       instance->dir);
		return -ENOTEMPTY;
	}
	if (mount("conncount", instance->dir, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "mode=0750")) {
		int err = -errno;

		report("%s: cannot mount a bpffs: %s%s", instance->dir, strerror(-err),
		       err == -EPERM ? " (run as root)" : "");
		return err;
	}
	instance->mount_fd = instance->dir_fd;
	instance->dir_fd = open_locked(instance->dir);
	if (instance->dir_fd < 0) {
		int err = instance->dir_fd;

		report("%s: %s", instance->dir, strerror(-err));
		return err;
	}
	return 0;
}

int instance_create(const char *dir, struct instance *ret)
{
	struct instance instance = { .dir = dir, .mount_fd = -1, .dir_fd = -1 };
	int err = 0;

	if (mkdir(dir, 0750) && errno != EEXIST)
		err = -errno;
	if (!err) {
		instance.dir_fd = open_locked(dir);
		err = instance.dir_fd < 0 ? instance.dir_fd : 0;
	}
	if (err) {
		report("%s: %s%s", dir, strerror(-err), err == -EACCES ? " (run as root)" : "");
		return err;
	}
	if (!is_bpffs(instance.dir_fd))
		err = mount_bpffs(&instance);
	if (err) {
		instance_release(&instance);
		return err;
	}
	*ret = instance;
	return 0;
}

int instance_find(const char *dir, struct instance *ret)
{
	struct instance instance = { .dir = dir, .mount_fd = -1 };

	instance.dir_fd = open_locked(dir);
	if (instance.dir_fd == -ENOENT || instance.dir_fd == -ENOTDIR)
		return -ENOENT;
	if (instance.dir_fd < 0) {
		report("%s: %s%s", dir, strerror(-instance.dir_fd),
		       instance.dir_fd == -EACCES ? " (run as root)" : "");
		return instance.dir_fd;
	}
	if (!is_bpffs(instance.dir_fd)) {
		instance_release(&instance);
		return -ENOENT;
	}
	*ret = instance;
	return 0;
}

/* Tell readers that have the instance open, of whatever ABI, that it is no more. */
static void retire(const char *dir)
{
	struct cc_directory *directory;
	char path[PATH_MAX];
	int fd = bpf_obj_get(instance_path(dir, CC_PIN_DIRECTORY, path));

	if (fd < 0)
		return;
	directory = map_value(fd, sizeof(*directory), PROT_READ | PROT_WRITE);
	if (directory)
		__atomic_store_n(&directory->generation, 0, __ATOMIC_RELEASE);
	unmap_value(directory, sizeof(*directory));
	close(fd);
}

/*
 * The links go first: nothing may be counted in maps that are no longer pinned. The directory
 * goes last: while it is there, the next load knows that something is left.
 */
int instance_clear(struct instance *instance)
{
	static const char *const pins[] = {
		CC_PIN_SOCKOPS, CC_PIN_RELEASE, CC_PIN_LISTENERS, CC_PIN_COUNTS,    CC_PIN_SESSIONS,
		CC_PIN_STATS,   CC_PIN_FILL,    CC_PIN_TABLES,    CC_PIN_DIRECTORY,
	};

	retire(instance->dir);
	for (size_t i = 0; i < sizeof(pins) / sizeof(*pins); i++) {
		if (unlinkat(instance->dir_fd, pins[i], 0) && errno != ENOENT) {
			int err = -errno;

			report("%s/%s: cannot be removed: %s", instance->dir, pins[i],
			       strerror(-err));
			return err;
		}
	}
	return 0;
}

/* Whether a file system is mounted on the directory: its parent is on another. */
static bool is_mount_point(const struct instance *instance)
{
	struct stat own, parent;

	return !fstat(instance->dir_fd, &own) && !fstatat(instance->dir_fd, "..", &parent, 0) &&
	       own.st_dev != parent.st_dev;
}

int instance_remove(struct instance *instance)
{
	int err = 0;

	/* Our own lock keeps the mount busy, so it is detached now and gone on release. */
	if (is_mount_point(instance) && umount2(instance->dir, MNT_DETACH))
		err = -errno;
	if (!err && rmdir(instance->dir) && errno != ENOENT)
		err = -errno;
	if (err)
		report("%s: cannot be removed: %s", instance->dir, strerror(-err));
	return err;
}

void instance_remove_unused(struct instance *instance)
{
	if (faccessat(instance->dir_fd, CC_PIN_DIRECTORY, F_OK, 0))
		instance_remove(instance);
}
