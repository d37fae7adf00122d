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

char *instance_path(const char *dir, const char *set, const char *name, char *buf)
{
	snprintf(buf, PATH_MAX, "%s/%s/%s", dir, set, name);
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

/* A stream of the entries of the directory behind @fd, which stays open. */
static DIR *open_entries(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return copy < 0 ? NULL : fdopendir(copy);
}

/* Whether the directory behind @fd has nothing in it. */
static bool is_empty(int fd)
{
	DIR *dir = open_entries(fd);
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

/*
 * Open and lock what was just mounted on @dir. Returns a descriptor or a negative errno; -ENOENT
 * if an unload has unmounted it already: what @dir names then is the directory that we hold the
 * lock on, and to wait for that would be for ever.
 */
static int lock_mount(const char *dir)
{
	for (;;) {
		int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		int err = fd < 0 ? -errno : 0;

		if (!err && !is_bpffs(fd))
			err = -ENOENT;
		if (!err && flock(fd, LOCK_EX))
			err = -errno;
		if (!err && is_current(fd, dir))
			return fd;
		if (fd >= 0)
			close(fd);
		if (err)
			return err;
	}
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

		if (err == -ENOENT)
			return err;
		report("%s: cannot mount a bpffs: %s%s", instance->dir, strerror(-err),
		       err == -EPERM ? " (run as root)" : "");
		rmdir(instance->dir); /* nothing is in it, and we hold its lock */
		return err;
	}
	instance->mount_fd = instance->dir_fd;
	instance->dir_fd = lock_mount(instance->dir);
	if (instance->dir_fd < 0 && instance->dir_fd != -ENOENT)
		report("%s: %s", instance->dir, strerror(-instance->dir_fd));
	return instance->dir_fd < 0 ? instance->dir_fd : 0;
}

/* One attempt; -ENOENT, not reported, if an unload removed the directory meanwhile. */
static int try_create(struct instance *instance)
{
	int err = 0;

	if (mkdir(instance->dir, 0750) && errno != EEXIST) {
		err = -errno;
	} else {
		instance->dir_fd = open_locked(instance->dir);
		if (instance->dir_fd == -ENOENT)
			return -ENOENT;
		err = instance->dir_fd < 0 ? instance->dir_fd : 0;
	}
	if (err) {
		report("%s: %s%s", instance->dir, strerror(-err),
		       err == -EACCES ? " (run as root)" : "");
		return err == -ENOENT ? -ENOTDIR : err;
	}
	return is_bpffs(instance->dir_fd) ? 0 : mount_bpffs(instance);
}

int instance_create(const char *dir, struct instance *ret)
{
	struct instance instance = { .dir = dir, .mount_fd = -1, .dir_fd = -1 };
	int err;

	do {
		err = try_create(&instance);
		if (err)
			instance_release(&instance);
	} while (err == -ENOENT);
	if (!err)
		*ret = instance;
	return err;
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

/* Tell readers that have a set open, of whatever ABI, that it is no more. */
static void retire(const char *dir, const char *set)
{
	struct cc_directory *directory;
	char path[PATH_MAX];
	int fd = bpf_obj_get(instance_path(dir, set, CC_PIN_DIRECTORY, path));

	if (fd < 0)
		return;
	directory = map_value(fd, sizeof(*directory), PROT_READ | PROT_WRITE);
	if (directory)
		__atomic_store_n(&directory->generation, 0, __ATOMIC_RELEASE);
	unmap_value(directory, sizeof(*directory));
	close(fd);
}

/* Remove what is pinned in the directory @fd, but for the pin @but. */
static int unlink_pins(int fd, const char *but)
{
	DIR *dir = open_entries(fd);
	const struct dirent *entry;
	int err = 0;

	if (!dir)
		return -errno;
	while (!err && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, but) &&
		    unlinkat(fd, entry->d_name, 0) && errno != ENOENT)
			err = -errno;
	closedir(dir);
	return err;
}

/*
 * The links go first: nothing may be counted in maps that are no longer pinned. The directory
 * goes last: while it is there, the set can be told from one that was never finished.
 */
static int clear(const struct instance *instance, const char *set, int fd)
{
	static const char *const links[] = { CC_PIN_SOCKOPS, CC_PIN_RELEASE };
	int err = 0;

	retire(instance->dir, set);
	for (size_t i = 0; !err && i < sizeof(links) / sizeof(*links); i++)
		if (unlinkat(fd, links[i], 0) && errno != ENOENT)
			err = -errno;
	if (!err)
		err = unlink_pins(fd, CC_PIN_DIRECTORY);
	if (!err && unlinkat(fd, CC_PIN_DIRECTORY, 0) && errno != ENOENT)
		err = -errno;
	if (!err && unlinkat(instance->dir_fd, set, AT_REMOVEDIR))
		err = -errno;
	return err;
}

int instance_clear(const struct instance *instance, const char *set)
{
	int fd = openat(instance->dir_fd, set, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err;

	if (fd < 0 && errno == ENOENT)
		return 0;
	err = fd < 0 ? -errno : clear(instance, set, fd);
	if (fd >= 0)
		close(fd);
	if (err)
		report("%s/%s: cannot be removed: %s%s", instance->dir, set, strerror(-err),
		       err == -EPERM || err == -EACCES ? " (run as root)" : "");
	return err;
}

int instance_begin(const struct instance *instance)
{
	if (!mkdirat(instance->dir_fd, CC_DIR_NEXT, 0750))
		return 0;

	int err = -errno;
	report("%s/%s: %s%s", instance->dir, CC_DIR_NEXT, strerror(-err),
	       err == -EPERM || err == -EACCES ? " (run as root)" : "");
	return err;
}

int instance_switch(const struct instance *instance)
{
	int fd = instance->dir_fd;
	bool replaces = !faccessat(fd, CC_DIR_LIVE, F_OK, 0);

	if (!renameat2(fd, CC_DIR_NEXT, fd, CC_DIR_LIVE, replaces ? RENAME_EXCHANGE : 0))
		return 0;

	int err = -errno;
	report("%s: the new maps cannot take the place of the old ones: %s", instance->dir,
	       strerror(-err));
	return err;
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
	/* Busy or not empty: another load has begun here already, and that is its. */
	if (!err && rmdir(instance->dir) && errno != ENOENT && errno != EBUSY && errno != ENOTEMPTY)
		err = -errno;
	if (err)
		report("%s: cannot be removed: %s", instance->dir, strerror(-err));
	return err;
}

void instance_remove_unused(struct instance *instance)
{
	if (faccessat(instance->dir_fd, CC_DIR_LIVE, F_OK, 0))
		instance_remove(instance);
}
