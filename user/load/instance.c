// SPDX-License-Identifier: BSD-2-Clause
/*
 * instance.c - the directory that an instance is pinned in.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/types.h>

#include "abi.h"
#include "instance.h"
#include "mapping.h"
#include "mounts.h"
#include "permission.h"
#include "report.h"

/* /run: only root can write to it. */
#define LOCK_PREFIX "/run/conncount-lock-"

/* An instance whose directory is neither open nor locked. */
#define CLOSED(dir_)                                                            \
	{                                                                       \
		.dir = (dir_), .lock.fd = -1, .bpffs_lock.fd = -1, .dir_fd = -1 \
	}

enum {
	LINKS_MAX = 40, /* symbolic links to follow, as the kernel does */
	LOCK_PAUSE_MS = 10,
	LOCK_REPORT_MS = 1000,
};

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

/* What to do about a file that could not be opened, made or removed. */
static const char *remedy(int err)
{
	return permission_remedy(err, CAP_DAC_OVERRIDE);
}

/* A stream of the entries of the directory behind @fd, which stays open. */
static DIR *open_entries(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return copy < 0 ? NULL : fdopendir(copy);
}

/* Check that the directory @fd is empty. Returns 0, -ENOTEMPTY, or another negative errno. */
static int check_empty(int fd)
{
	DIR *dir = open_entries(fd);
	const struct dirent *entry;
	bool empty = true;

	if (!dir)
		return -errno;
	while (empty && (entry = readdir(dir)))
		empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
	closedir(dir);
	return empty ? 0 : -ENOTEMPTY;
}

/* --- the path --------------------------------------------------------------------------------- */

/* Split @path into its directory and its name there, neither longer than @path. */
static void split(const char *path, char *parent, char *name)
{
	size_t end = strlen(path);
	const char *slash;

	while (end > 1 && path[end - 1] == '/')
		end--;
	slash = memrchr(path, '/', end);
	snprintf(parent, PATH_MAX, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	slash = slash ? slash + 1 : path;
	snprintf(name, PATH_MAX, "%.*s", (int)(path + end - slash), slash);
}

/* Write @a/@b to @buf. Returns 0 or -ENAMETOOLONG. */
static int join(char *buf, const char *a, const char *b)
{
	int length = snprintf(buf, PATH_MAX, "%s/%s", a, b);

	return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/*
 * Find the canonical path of @dir, following symbolic links. @dir need not exist, but its parent
 * directory must.
 */
static int resolve(const char *dir, char *path)
{
	char at[PATH_MAX], parent[PATH_MAX], real[PATH_MAX], name[PATH_MAX];
	int err = strlen(dir) < sizeof(at) ? 0 : -ENAMETOOLONG;

	if (err)
		return err;
	strcpy(at, dir);
	for (int links = 0; links < LINKS_MAX; links++) {
		if (realpath(at, path))
			return 0;
		if (errno != ENOENT)
			return -errno;
		split(at, parent, name);
		if (!realpath(parent, real))
			return -errno;
		err = join(path, real, name);
		if (err)
			return err;
		ssize_t length = readlink(path, name, sizeof(name) - 1);
		if (length < 0)
			return 0;
		name[length] = '\0';
		err = join(at, name[0] == '/' ? "" : real, name);
		if (err)
			return err;
	}
	return -ELOOP;
}

/* --- the locks -------------------------------------------------------------------------------- */

/*
 * Two locks, always taken in this order. Only root can open them. (Every user who can read the
 * instance's directory could lock that.) A command removes them when it ends; one that is killed
 * leaves them, unlocked.
 *
 * The first is a file named after the directory's parent (device and inode) and its name there. So
 * every path to the instance gives the same lock, also if the directory does not exist yet or has a
 * mount on it. The second is a directory on the instance's bpffs, which containers share; they do
 * not share /run. A bpffs cannot have a regular file.
 */
static int name_lock(struct instance *instance)
{
	char parent[PATH_MAX], name[PATH_MAX];
	struct stat st;

	split(instance->path, parent, name);
	if (stat(parent, &st))
		return -errno;
	/* Cut to the maximum length of a name: instances with the same first 200 characters share a
	 * lock. */
	snprintf(instance->lock.path, sizeof(instance->lock.path), LOCK_PREFIX "%lx-%lx-%.200s",
		 (unsigned long)st.st_dev, (unsigned long)st.st_ino, name);
	return 0;
}

/* Read the process's command line, made printable. @buf is empty if the process has ended. */
static void read_command(pid_t pid, char *buf, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	buf[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, buf, size - 1);
	close(fd);
	while (n > 0 && !buf[n - 1])
		n--;
	for (ssize_t i = 0; i < n; i++)
		if (!isprint((unsigned char)buf[i]))
			buf[i] = buf[i] ? '?' : ' ';
	buf[n > 0 ? n : 0] = '\0';
}

/* The process that holds the lock on @fd; 0 if none is found. */
static pid_t find_holder(int fd)
{
	FILE *locks = fopen("/proc/locks", "re");
	unsigned major, minor;
	unsigned long inode;
	char line[256];
	pid_t pid = 0, holder = 0;
	struct stat st;

	if (!locks)
		return 0;
	while (!holder && !fstat(fd, &st) && fgets(line, sizeof(line), locks))
		if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%lu", &pid, &major, &minor, &inode) ==
			    4 &&
		    inode == st.st_ino && makedev(major, minor) == st.st_dev)
			holder = pid;
	fclose(locks);
	return holder;
}

static void report_holder(const char *dir, const struct instance_lock *lock, int fd)
{
	pid_t pid = find_holder(fd);
	char command[128];

	if (pid <= 0) {
		report("%s: waiting for another process, which holds the lock %s", dir, lock->path);
		return;
	}
	read_command(pid, command, sizeof(command));
	report("%s: waiting for process %d (%s), which holds the lock %s", dir, pid, command,
	       lock->path);
}

/* Lock the file @fd. After a second, reports the process that holds it. Returns 0 or a negative
 * errno. */
static int lock_file(const char *dir, const struct instance_lock *lock, int fd)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000L };

	for (int ms = 0; ms < LOCK_REPORT_MS; ms += LOCK_PAUSE_MS) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK)
			return -errno;
		nanosleep(&pause, NULL);
	}
	report_holder(dir, lock, fd);
	return flock(fd, LOCK_EX) ? -errno : 0;
}

/* Whether @path still names @fd: the previous holder of the lock may have removed it. */
static bool is_current(int fd, const char *path)
{
	struct stat by_fd, by_name;

	return !fstat(fd, &by_fd) && !stat(path, &by_name) && by_fd.st_dev == by_name.st_dev &&
	       by_fd.st_ino == by_name.st_ino;
}

/* Take a lock whose path is set. @open_lock makes it if it is not there, and returns a descriptor
 * or a negative errno. Returns 0 or a negative errno. */
static int take(struct instance *instance, struct instance_lock *lock,
		int (*open_lock)(struct instance *instance))
{
	int err = 0;

	while (!err) {
		int fd = open_lock(instance);

		err = fd < 0 ? fd : lock_file(instance->dir, lock, fd);
		if (!err && is_current(fd, lock->path)) {
			lock->fd = fd;
			return 0;
		}
		if (fd >= 0)
			close(fd);
	}
	return err;
}

/* Report that the lock was not taken. Returns -ENOLCK. */
static int report_lock(const char *dir, const struct instance_lock *lock, int err)
{
	report("%s: cannot lock %s: %s%s", dir, lock->path, strerror(-err), remedy(err));
	return -ENOLCK;
}

static int open_lock_file(struct instance *instance)
{
	int fd = open(instance->lock.path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

static int lock(struct instance *instance)
{
	int err = name_lock(instance);

	if (!err)
		err = take(instance, &instance->lock, open_lock_file);
	return err ? report_lock(instance->dir, &instance->lock, err) : 0;
}

/* Open the directory as it is mounted now. Returns 0; -ENOENT if it is missing, or if it is a bind
 * mount whose source was removed; or another negative errno. */
static int open_directory(struct instance *instance)
{
	int fd = open(instance->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st) && !st.st_nlink) {
		close(fd);
		return -ENOENT;
	}
	if (instance->dir_fd >= 0)
		close(instance->dir_fd);
	instance->dir_fd = fd;
	return 0;
}

/* Whether we own the directory @fd, and nobody else can open it. */
static bool is_private(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_uid == geteuid() && !(st.st_mode & 077);
}

/* Open the lock. Opens the directory again first: the command that held the lock may have removed
 * it, or unmounted its bpffs. */
static int open_lock_directory(struct instance *instance)
{
	int err = open_directory(instance);
	int fd = -1;

	if (err == -ENOENT || (!err && !is_bpffs(instance->dir_fd)))
		err = -ESTALE;
	while (!err && fd < 0) {
		if (mkdirat(instance->dir_fd, CC_DIR_LOCK, 0700) && errno != EEXIST)
			return errno == ENOENT ? -ESTALE : -errno;
		fd = openat(instance->dir_fd, CC_DIR_LOCK,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && errno != ENOENT) /* or its holder has just removed it */
			err = -errno;
	}
	if (!err && !is_private(fd)) {
		close(fd);
		err = -EEXIST;
	}
	return err ? err : fd;
}

/* Take the lock on the bpffs. Returns 0; -ESTALE if the directory is gone, or no longer on a bpffs;
 * or -ENOLCK, reported. */
static int lock_bpffs(struct instance *instance)
{
	int err = join(instance->bpffs_lock.path, instance->path, CC_DIR_LOCK);

	if (!err)
		err = take(instance, &instance->bpffs_lock, open_lock_directory);
	if (err == -EROFS) /* a read-only mount in a container: `verify` works without a lock */
		return 0;
	return err && err != -ESTALE ? report_lock(instance->dir, &instance->bpffs_lock, err) : err;
}

static void unlock_bpffs(struct instance *instance)
{
	if (instance->bpffs_lock.fd < 0)
		return;
	unlinkat(instance->dir_fd, CC_DIR_LOCK, AT_REMOVEDIR);
	close(instance->bpffs_lock.fd);
	instance->bpffs_lock.fd = -1;
}

void instance_release(struct instance *instance)
{
	unlock_bpffs(instance);
	if (instance->dir_fd >= 0)
		close(instance->dir_fd);
	if (instance->lock.fd >= 0) {
		unlink(instance->lock.path);
		close(instance->lock.fd);
	}
	instance->dir_fd = instance->lock.fd = -1;
}

/* --- the directory ------------------------------------------------------------------------------
 */

static dev_t device_of(const struct instance *instance)
{
	struct stat st;

	return fstat(instance->dir_fd, &st) ? 0 : st.st_dev;
}

/* Whether load has mounted a bpffs on the directory itself. */
static bool is_mounted(const struct instance *instance)
{
	struct stat own, parent;

	if (instance->mounted)
		return true;
	return is_bpffs(instance->dir_fd) && !fstat(instance->dir_fd, &own) &&
	       !fstatat(instance->dir_fd, "..", &parent, 0) && own.st_dev != parent.st_dev &&
	       mount_is_own(own.st_dev);
}

/* Unmount the bpffs, also while processes have files open there. */
static int unmount(struct instance *instance)
{
	if (umount2(instance->path, MNT_DETACH))
		return -errno;
	instance->mounted = false;
	return open_directory(instance);
}

/* Check that the bpffs does not end with this command. */
static int check_lasts(const struct instance *instance)
{
	if (mount_lasts(device_of(instance)))
		return 0;
	mount_report_lost(instance->dir);
	return -ENOTSUP;
}

/* Mount a bpffs over the directory. */
static int mount_bpffs(struct instance *instance)
{
	int err = check_empty(instance->dir_fd);

	if (err == -ENOTEMPTY)
		report("%s: not a directory of conncount: it is not empty (choose another with "
		       "--dir)",
		       instance->dir);
	else if (err)
		report("%s: %s", instance->dir, strerror(-err));
	if (err)
		return err;
	if (mount(MOUNT_SOURCE, instance->path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "mode=0750")) {
		err = -errno;
		report("%s: cannot mount a bpffs: %s%s", instance->dir, strerror(-err),
		       permission_remedy(err, CAP_SYS_ADMIN));
		rmdir(instance->path); /* it is empty, and we hold the lock */
		return err;
	}
	instance->mounted = true;
	err = open_directory(instance);
	if (err)
		report("%s: %s", instance->dir, strerror(-err));
	return err;
}

/* Create the directory, open it, and have it on a bpffs. Returns 0 or a negative errno, reported.
 */
static int enter(struct instance *instance)
{
	int err = 0;

	if (mkdir(instance->path, 0750) && errno != EEXIST)
		err = -errno;
	if (!err)
		err = open_directory(instance);
	if (err)
		report("%s: %s%s", instance->dir, strerror(-err), remedy(err));
	return err || is_bpffs(instance->dir_fd) ? err : mount_bpffs(instance);
}

/* The same, and lock it there. While this command waits, another one may remove the directory. */
static int enter_locked(struct instance *instance)
{
	int err;

	do {
		err = enter(instance);
		if (!err)
			err = lock_bpffs(instance);
	} while (err == -ESTALE);
	return err;
}

int instance_create(const char *dir, struct instance *ret)
{
	struct instance instance = CLOSED(dir);
	int err = resolve(dir, instance.path);

	if (err)
		report("%s: %s%s", dir, strerror(-err), remedy(err));
	else
		err = lock(&instance);
	if (!err)
		err = enter_locked(&instance);
	/* The first process of a container cannot see the host's mounts, only its own. */
	if (!err && (instance.mounted || getpid() != 1))
		err = check_lasts(&instance);
	if (!err && instance.mounted)
		mount_note_container(device_of(&instance), instance.dir);
	if (err) {
		unlock_bpffs(&instance);
		if (instance.mounted) {
			unmount(&instance);
			rmdir(instance.path);
		}
		instance_release(&instance);
		return err;
	}
	*ret = instance;
	return 0;
}

/* Lock the directory if it exists, and open it. Returns 0; -ENOENT; or a negative errno, reported.
 */
static int find(const char *dir, struct instance *ret)
{
	struct instance instance = CLOSED(dir);
	int err = resolve(dir, instance.path);

	if (!err && access(instance.path, F_OK))
		err = -errno;
	if (!err && lock(&instance))
		return -ENOLCK;
	if (!err)
		err = open_directory(&instance);
	if (err == -ENOTDIR)
		err = -ENOENT;
	if (err && err != -ENOENT)
		report("%s: %s%s", dir, strerror(-err), remedy(err));
	if (!err && is_bpffs(instance.dir_fd))
		err = lock_bpffs(&instance);
	if (err == -ESTALE)
		err = -ENOENT;
	if (err)
		instance_release(&instance);
	else
		*ret = instance;
	return err;
}

int instance_find(const char *dir, struct instance *ret)
{
	struct instance instance;
	int err = find(dir, &instance);

	if (err)
		return err;
	if (!is_bpffs(instance.dir_fd)) {
		instance_release(&instance);
		return -ENOENT;
	}
	*ret = instance;
	return 0;
}

/* --- sets of pins -------------------------------------------------------------------------------
 */

/* Whether @fd is a map of one value that begins as struct cc_control does in every ABI. */
static bool is_control(int fd)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	return !bpf_obj_get_info_by_fd(fd, &info, &size) && info.type == BPF_MAP_TYPE_ARRAY &&
	       info.map_flags & BPF_F_MMAPABLE && info.max_entries == 1 &&
	       info.value_size >= offsetof(struct cc_control, inexact);
}

/* Tell readers that have a set open, of any ABI, that it is retired. */
static void retire(const char *dir, const char *set)
{
	struct cc_control *control = NULL;
	char path[PATH_MAX];
	int fd = bpf_obj_get(instance_path(dir, set, CC_PIN_CONTROL, path));

	if (fd < 0)
		fd = bpf_obj_get(instance_path(dir, set, CC_PIN_CONTROL_OLD, path));
	if (fd < 0)
		return;
	if (is_control(fd))
		control = map_value(fd, sizeof(*control), PROT_READ | PROT_WRITE);
	if (control)
		__atomic_store_n(&control->generation, 0, __ATOMIC_RELEASE);
	unmap_value(control, sizeof(*control));
	close(fd);
}

/* Remove the pins in the directory @fd whose names begin with @prefix, except @but. */
static int unlink_pins(int fd, const char *prefix, const char *but)
{
	DIR *dir = open_entries(fd);
	const struct dirent *entry;
	int err = 0;

	if (!dir)
		return -errno;
	while (!err && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && !strncmp(entry->d_name, prefix, strlen(prefix)) &&
		    strcmp(entry->d_name, but) && unlinkat(fd, entry->d_name, 0) && errno != ENOENT)
			err = -errno;
	closedir(dir);
	return err;
}

static int unlink_gates(int fd)
{
	int err = unlink_pins(fd, CC_PIN_SYN_GATE, "");

	return err ? err : unlink_pins(fd, CC_PIN_ACK_GATE, "");
}

/*
 * Remove the links first: nothing may be refused by counts that nobody keeps up to date, and
 * nothing counted in maps that are no longer pinned. Remove the control map last: it distinguishes
 * the set from one that was never finished.
 */
static int clear(const struct instance *instance, const char *set, int fd)
{
	static const char *const links[] = { CC_PIN_SOCKOPS, CC_PIN_INGRESS, CC_PIN_RELEASE };
	int err = unlink_gates(fd);

	retire(instance->dir, set);
	for (size_t i = 0; !err && i < sizeof(links) / sizeof(*links); i++)
		if (unlinkat(fd, links[i], 0) && errno != ENOENT)
			err = -errno;
	if (!err)
		err = unlink_pins(fd, "", CC_PIN_CONTROL);
	if (!err && unlinkat(fd, CC_PIN_CONTROL, 0) && errno != ENOENT)
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
		       remedy(err));
	return err;
}

int instance_begin(const struct instance *instance)
{
	if (!mkdirat(instance->dir_fd, CC_DIR_NEXT, 0750))
		return 0;

	int err = -errno;
	report("%s/%s: %s%s", instance->dir, CC_DIR_NEXT, strerror(-err), remedy(err));
	return err;
}

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

int instance_switch(const struct instance *instance)
{
	int fd = instance->dir_fd;
	bool replaces = !faccessat(fd, CC_DIR_LIVE, F_OK, 0);

	/* Not every musl has renameat2(). */
	if (!syscall(SYS_renameat2, fd, CC_DIR_NEXT, fd, CC_DIR_LIVE,
		     replaces ? RENAME_EXCHANGE : 0))
		return 0;

	int err = -errno;
	report("%s: the new maps cannot replace the old ones: %s", instance->dir, strerror(-err));
	return err;
}

/* --- all of it ----------------------------------------------------------------------------------
 */

static int remove_all(struct instance *instance)
{
	bool mounted;
	int err;

	/* There are several mounts if loads in other mount namespaces, or of a build without the
	 * lock, raced. */
	do {
		err = instance_clear(instance, CC_DIR_NEXT);
		if (!err)
			err = instance_clear(instance, CC_DIR_LIVE);
		if (err)
			return err;
		mounted = is_mounted(instance);
		unlock_bpffs(instance); /* rmdir() needs an empty directory */
		if (mounted)
			err = unmount(instance);
		if (!err)
			err = mounted && is_mounted(instance) ? lock_bpffs(instance) : -ESTALE;
	} while (!err);
	if (err == -ESTALE)
		err = 0;
	/* EBUSY, ENOTEMPTY or EROFS: something else is mounted or pinned here, or the directory
	 * must stay. */
	if (!err && rmdir(instance->path) && errno != EBUSY && errno != ENOTEMPTY && errno != EROFS)
		err = -errno;
	if (err)
		report("%s: cannot be removed: %s", instance->dir, strerror(-err));
	return err;
}

int instance_remove(const char *dir)
{
	struct instance instance;
	int err = find(dir, &instance);

	if (err)
		return err;
	if (is_bpffs(instance.dir_fd)) {
		err = remove_all(&instance);
	} else {
		/* An empty directory, left by a load or unload that died without a mount. */
		rmdir(instance.path);
		err = -ENOENT;
	}
	instance_release(&instance);
	return err;
}

void instance_remove_unused(struct instance *instance)
{
	if (faccessat(instance->dir_fd, CC_DIR_LIVE, F_OK, 0))
		remove_all(instance);
}
