// SPDX-License-Identifier: BSD-2-Clause
/*
 * namespaces.c - find the network namespaces that have sessions, and enter them.
 *
 * The kernel's own tables say which ones there are (bpf/find.bpf.h). To enter one, setns(2) needs a
 * descriptor. There are four ways to get one: from a thread in the namespace, from a socket or a
 * namespace handle that a thread has open, and from a mount of a handle.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>

#include "abi.h"
#include "conncount.skel.h"
#include "iterator.h"
#include "namespaces.h"
#include "permission.h"
#include "report.h"

enum {
	/* How many buckets one run of the program visits: a run occupies its CPU. */
	BUCKETS = 8192,
	/* How often to start again because something moved or vanished meanwhile. */
	TRIES = 100,
	REACH_TRIES = 3,
	/* PIDFD_THREAD of pidfd_open(2), since Linux 6.9: any thread, not only a process's first.
	 */
	THREAD = O_EXCL,
};

#ifndef SO_NETNS_COOKIE /* musl does not know it yet */
#define SO_NETNS_COOKIE 71
#endif

/* A namespace, and the result of looking for a way into it. */
struct entry {
	uint32_t number;
	int fd;    /* -1: missing, no way into it was found yet */
	int err;   /* why the last way failed; 0: none was found */
	pid_t pid; /* the process of that way */
};

/* --- this process's own --------------------------------------------------------------------- */

static int own_cookie(__u64 *ret)
{
	socklen_t size = sizeof(*ret);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret, &size) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

int netns_own(struct netns *ret)
{
	struct netns own;
	struct stat st;
	int err = stat("/proc/self/ns/net", &st) ? -errno : own_cookie(&own.cookie);

	if (err) {
		report("/proc/self/ns/net: %s", strerror(-err));
		return err;
	}
	own.number = (__u32)st.st_ino;
	*ret = own;
	return 0;
}

/* --- which ones have sessions --------------------------------------------------------------- */

/* Run a program in place of a tracepoint. Returns what it returned, or a negative errno. */
static int run_program(const struct bpf_program *program, void *ask, uint32_t size)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = ask, .ctx_size_in = size);
	int err = bpf_prog_test_run_opts(bpf_program__fd(program), &opts);

	return err ? err : (int)opts.retval;
}

/* The same, repeated until nothing moves meanwhile. Returns 0 or a negative errno. */
static int run_until_done(const struct bpf_program *program, void *ask, uint32_t size)
{
	for (int i = 0; i < TRIES; i++) {
		int result = run_program(program, ask, size);

		if (result == CC_FIND_DONE || result == CC_FIND_GONE)
			return 0;
		if (result < 0)
			return result;
		if (result != CC_FIND_AGAIN)
			return -ENOMEM;
	}
	return -EBUSY;
}

/* Look for sessions of other namespaces in one of the kernel's tables. */
static int look_in_table(struct conncount_bpf *skel, const struct cc_hash_table *table)
{
	struct cc_look ask = { .net = table->net, .cookie = table->cookie, .n = BUCKETS };
	int err = 0;

	for (; !err && ask.first < table->buckets; ask.first += BUCKETS) {
		if (ask.n > table->buckets - ask.first)
			ask.n = table->buckets - ask.first;
		err = run_until_done(skel->progs.conncount_look, &ask, sizeof(ask));
	}
	return err;
}

static int clear_map(int fd, void *key)
{
	int err = 0;

	while (!err && !bpf_map_get_next_key(fd, NULL, key))
		err = bpf_map_delete_elem(fd, key);
	return err;
}

/* Have the kernel write to `netns_found` which other namespaces have sessions. */
static int look_for_sessions(struct conncount_bpf *skel)
{
	int tables_fd = bpf_map__fd(skel->maps.hash_tables);
	struct cc_hash_table table;
	__u64 key, none[4] = { 0 }, *last = NULL;
	__u32 number;
	int err = clear_map(tables_fd, &key);

	if (!err)
		err = clear_map(bpf_map__fd(skel->maps.netns_found), &number);
	if (!err)
		err = run_until_done(skel->progs.conncount_tables, none, sizeof(none));
	while (!err && !bpf_map_get_next_key(tables_fd, last, &key)) {
		last = &key;
		err = bpf_map_lookup_elem(tables_fd, &key, &table);
		if (!err)
			err = look_in_table(skel, &table);
	}
	if (err)
		report("network namespaces with sessions cannot be listed: %s", strerror(-err));
	return err;
}

static int on_nothing(void *arg, const void *records, size_t size)
{
	(void)arg, (void)records, (void)size;
	return 0;
}

/* The same for those in which a process listens. */
static int look_for_listeners(struct conncount_bpf *skel)
{
	__u32 number;
	int err = clear_map(bpf_map__fd(skel->maps.netns_found), &number);

	if (err) {
		report("network namespaces with listeners cannot be listed: %s", strerror(-err));
		return err;
	}
	return iterator_run(skel->progs.conncount_listening, 1, on_nothing, NULL);
}

/* How many of those in `netns_found` have sessions on configured listeners. */
static int count_ours(int fd)
{
	__u32 number, ours, *last = NULL;
	int n = 0;

	while (!bpf_map_get_next_key(fd, last, &number)) {
		last = &number;
		n += !bpf_map_lookup_elem(fd, &number, &ours) && ours;
	}
	return n;
}

void namespaces_explain(struct conncount_bpf *skel, const struct netns *counted)
{
	int others;

	if (!counted->cookie || look_for_sessions(skel))
		return;
	if (counted->number != skel->bss->first_netns)
		report("note: only network namespace %u is counted, where this load runs, and not "
		       "the host's own (to count that: nsenter --net=/proc/1/ns/net conncount "
		       "load; to count all: namespaces = all)",
		       counted->number);
	others = count_ours(bpf_map__fd(skel->maps.netns_found));
	if (others)
		report("note: %d other network namespace%s sessions on these listeners, which are "
		       "not counted (to count them too: namespaces = all)",
		       others, others == 1 ? " has" : "s have");
}

/* --- ways into a namespace -------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	const struct entry *first = a, *second = b;

	return first->number < second->number ? -1 : first->number > second->number;
}

static struct entry *find_entry(const struct namespaces *all, uint64_t number)
{
	struct entry key = { .number = (uint32_t)number };

	if (!all->n || number > UINT32_MAX)
		return NULL;
	return bsearch(&key, all->entries, all->n, sizeof(key), by_number);
}

static const struct entry *first_missing(const struct namespaces *all)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->entries[i].fd < 0)
			return &all->entries[i];
	return NULL;
}

/* Whether an error is this process's own, not that of the file it looked at. */
static bool is_own_error(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOMEM;
}

/* Whether a descriptor refers to that network namespace. */
static bool is_namespace(int fd, uint32_t number)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_ino == number && ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET;
}

/*
 * Note the result of a way into a namespace: a descriptor, which may refer to another namespace by
 * now, or a negative errno. Returns 0, or the error if it is this process's own.
 */
static int entry_take(struct entry *entry, int fd, pid_t pid)
{
	if (fd >= 0 && is_namespace(fd, entry->number)) {
		entry->fd = fd;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	entry->err = fd < 0 ? fd : -ESRCH;
	entry->pid = pid;
	return is_own_error(entry->err) ? entry->err : 0;
}

/* Use the file @path if it is a handle of a missing namespace. */
static int reach_by_handle(struct namespaces *all, const char *path, pid_t pid)
{
	struct entry *entry;
	struct stat st;
	int fd;

	if (stat(path, &st))
		return 0;
	entry = find_entry(all, st.st_ino);
	if (!entry || entry->fd >= 0)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return entry_take(entry, fd < 0 ? -errno : fd, pid);
}

/* Use a thread or process in the namespace. @path: its directory in /proc. */
static int reach_by_thread(struct namespaces *all, const char *path, pid_t pid)
{
	char handle[PATH_MAX];

	snprintf(handle, sizeof(handle), "%s/ns/net", path);
	return reach_by_handle(all, handle, pid);
}

/* Call @each for each numbered directory in @path, a process or a thread, until it fails. */
static int each_number(struct namespaces *all, const char *path,
		       int (*each)(struct namespaces *all, const char *path, pid_t number))
{
	DIR *dir = opendir(path);
	int err = dir || !is_own_error(-errno) ? 0 : -errno;
	const struct dirent *item;
	char sub[PATH_MAX];

	while (!err && dir && (item = readdir(dir))) {
		if (!isdigit((unsigned char)item->d_name[0]))
			continue;
		if (snprintf(sub, sizeof(sub), "%s/%s", path, item->d_name) < (int)sizeof(sub))
			err = each(all, sub, atoi(item->d_name));
	}
	if (dir)
		closedir(dir);
	return err;
}

static int reach_by_threads(struct namespaces *all, const char *path, pid_t pid)
{
	char tasks[PATH_MAX];

	(void)pid;
	snprintf(tasks, sizeof(tasks), "%s/task", path);
	return each_number(all, tasks, reach_by_thread);
}

/* Use the mounted handles that a process sees. */
static int reach_by_mounts(struct namespaces *all, const char *path, pid_t pid)
{
	char name[PATH_MAX], line[2 * PATH_MAX], handle[3 * PATH_MAX];
	struct mntent mount;
	FILE *mounts;
	int err = 0;

	snprintf(name, sizeof(name), "%s/mounts", path);
	mounts = setmntent(name, "re");
	if (!mounts)
		return is_own_error(-errno) ? -errno : 0;
	while (!err && getmntent_r(mounts, &mount, line, sizeof(line))) {
		if (strcmp(mount.mnt_type, "nsfs"))
			continue;
		snprintf(handle, sizeof(handle), "%s/root%s", path, mount.mnt_dir);
		err = reach_by_handle(all, handle, pid);
	}
	endmntent(mounts);
	return err;
}

/* The same for a process in another mount namespace. */
static int reach_by_other_mounts(struct namespaces *all, const char *path, pid_t pid)
{
	char name[PATH_MAX];
	struct stat own, other;

	snprintf(name, sizeof(name), "%s/ns/mnt", path);
	if (stat(name, &other) || stat("/proc/self/ns/mnt", &own) || own.st_ino == other.st_ino)
		return 0;
	return reach_by_mounts(all, path, pid);
}

/* The network namespace of a socket of another thread. Returns a descriptor or a negative errno. */
static int socket_namespace(const struct cc_found *found)
{
	unsigned flags = found->tid == found->pid ? 0 : THREAD;
	int thread = (int)syscall(SYS_pidfd_open, found->tid, flags);
	int sock = thread < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, thread, found->fd, 0);
	int fd = sock < 0 ? -1 : ioctl(sock, SIOCGSKNS);
	int err = fd < 0 ? -errno : 0;

	if (sock >= 0)
		close(sock);
	if (thread >= 0)
		close(thread);
	return err ? err : fd;
}

/* Use a file that a thread has open: a socket or a handle. */
static int reach_by_file(struct namespaces *all, const struct cc_found *found)
{
	struct entry *entry = find_entry(all, found->netns);
	char path[PATH_MAX];

	if (!entry || entry->fd >= 0)
		return 0;
	if (found->is_socket)
		return entry_take(entry, socket_namespace(found), (pid_t)found->pid);
	snprintf(path, sizeof(path), "/proc/%u/task/%u/fd/%u", found->pid, found->tid, found->fd);
	return reach_by_handle(all, path, (pid_t)found->pid);
}

static int on_found(void *arg, const void *records, size_t size)
{
	const struct cc_found *found = records;
	int err = 0;

	for (size_t i = 0; !err && i < size / sizeof(*found); i++)
		err = reach_by_file(arg, &found[i]);
	return err;
}

/* Try every way, cheapest first, until no namespace is missing. */
static int reach(struct namespaces *all, struct conncount_bpf *skel)
{
	int err = each_number(all, "/proc", reach_by_thread);

	if (!err && first_missing(all))
		err = reach_by_mounts(all, "/proc/self", getpid());
	if (!err && first_missing(all))
		err = iterator_run(skel->progs.conncount_files, sizeof(struct cc_found), on_found,
				   all);
	if (!err && first_missing(all))
		err = each_number(all, "/proc", reach_by_threads);
	if (!err && first_missing(all))
		err = each_number(all, "/proc", reach_by_other_mounts);
	return err;
}

/* --- all of it ------------------------------------------------------------------------------- */

/* Make a missing entry of each namespace in `netns_found`. */
static int entries_read(struct namespaces *all, struct conncount_bpf *skel)
{
	int fd = bpf_map__fd(skel->maps.netns_found);
	__u32 number, *last = NULL;
	size_t room = 0;

	while (!bpf_map_get_next_key(fd, last, &number)) {
		if (all->n == room) {
			void *grown;

			room = room ? 2 * room : 64;
			grown = realloc(all->entries, room * sizeof(*all->entries));
			if (!grown)
				return -ENOMEM;
			all->entries = grown;
		}
		all->entries[all->n++] = (struct entry){ .number = number, .fd = -1 };
		last = &number;
	}
	if (all->n)
		qsort(all->entries, all->n, sizeof(*all->entries), by_number);
	return 0;
}

/* Remove missing entries that are no longer in `netns_found`: their sessions have ended. */
static void entries_drop(struct namespaces *all, struct conncount_bpf *skel)
{
	int fd = bpf_map__fd(skel->maps.netns_found);
	size_t n = 0;
	__u32 ours;

	for (size_t i = 0; i < all->n; i++)
		if (all->entries[i].fd >= 0 ||
		    !bpf_map_lookup_elem(fd, &all->entries[i].number, &ours))
			all->entries[n++] = all->entries[i];
	all->n = n;
}

/* If some sessions cannot be listed, no count would be right. */
static int report_missing(const struct entry *entry, int err)
{
	if (!err)
		err = entry->err;
	if (is_own_error(err))
		report("network namespace %u: its sockets cannot be listed: %s (raise the limit: "
		       "ulimit -n, or LimitNOFILE=)",
		       entry->number, strerror(-err));
	else if (err == -EPERM || err == -EACCES)
		report("network namespace %u: its sockets cannot be listed: no permission to enter "
		       "it through process %d (needed: root with CAP_SYS_PTRACE and CAP_NET_ADMIN; "
		       "kernel.yama.ptrace_scope=3 and a container's AppArmor profile also forbid "
		       "it)",
		       entry->number, (int)entry->pid);
	else
		report("network namespace %u: its sockets cannot be listed: no process visible "
		       "from here gives access to it (in a container, use the host's process ids: "
		       "--pid=host; to count only this network namespace: namespaces = own)",
		       entry->number);
	return err ? err : -ESRCH;
}

/* Have the kernel write to `netns_found`. Returns 0 or a negative errno, reported. */
typedef int (*look_for)(struct conncount_bpf *skel);

/*
 * Find a way into every entry.
 * @look_again: finds out whether a namespace to which there is none is still of interest; or NULL.
 */
static int reach_all(struct namespaces *all, struct conncount_bpf *skel, look_for look_again)
{
	const struct entry *missing;
	int err = 0;

	for (int i = 0; !err && first_missing(all) && i < REACH_TRIES; i++) {
		err = reach(all, skel);
		if (!err && first_missing(all) && look_again) {
			err = look_again(skel);
			if (err)
				return err;
			entries_drop(all, skel);
		}
	}
	missing = first_missing(all);
	return missing ? report_missing(missing, err) : err;
}

/* Raise the limit of file descriptors to the hard limit. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Find this process's own namespace, and all others that @look finds. */
static int find_all(struct conncount_bpf *skel, look_for look, struct namespaces *all)
{
	int err;

	all->home_too = true;
	err = look(skel);
	if (err)
		return err;
	err = entries_read(all, skel);
	if (err) {
		report("network namespaces: %s", strerror(-err));
		return err;
	}
	return reach_all(all, skel, look);
}

static int check_cookie(void *cookie)
{
	__u64 own;
	int err = own_cookie(&own);

	return err ? err : own == *(__u64 *)cookie ? 0 : -ESRCH;
}

/* Find the counted namespace, which is not this process's. */
static int find_one(struct conncount_bpf *skel, const struct netns *counted, struct namespaces *all)
{
	int fd = bpf_map__fd(skel->maps.netns_found);
	__u64 cookie = counted->cookie;
	__u32 number, ours = 1;
	int err = clear_map(fd, &number);

	if (!err)
		err = bpf_map_update_elem(fd, &counted->number, &ours, BPF_ANY);
	if (!err)
		err = entries_read(all, skel);
	if (err) {
		report("network namespaces: %s", strerror(-err));
		return err;
	}
	err = reach_all(all, skel, NULL);
	if (!err) {
		err = namespaces_enter(all, check_cookie, &cookie);
		if (err == -ESRCH)
			report("network namespace %u, which is counted, no longer exists (load "
			       "where the server is now: conncount load)",
			       counted->number);
	}
	return err;
}

static int find(struct conncount_bpf *skel, const struct netns *counted, look_for look,
		struct namespaces *ret)
{
	struct namespaces all = { .home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) };
	struct netns own;
	int err = all.home < 0 ? -errno : 0;

	if (err) {
		report("/proc/self/ns/net: %s", strerror(-err));
		return err;
	}
	raise_limit();
	err = netns_own(&own);
	if (!err && !counted->cookie)
		err = find_all(skel, look, &all);
	else if (!err && counted->cookie == own.cookie)
		all.home_too = true;
	else if (!err)
		err = find_one(skel, counted, &all);
	if (err)
		namespaces_free(&all);
	else
		*ret = all;
	return err;
}

int namespaces_find(struct conncount_bpf *skel, const struct netns *counted, struct namespaces *ret)
{
	return find(skel, counted, look_for_sessions, ret);
}

int namespaces_listening(struct conncount_bpf *skel, const struct netns *counted,
			 struct namespaces *ret)
{
	return find(skel, counted, look_for_listeners, ret);
}

void namespaces_free(struct namespaces *all)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->entries[i].fd >= 0)
			close(all->entries[i].fd);
	free(all->entries);
	close(all->home);
}

int namespaces_enter(const struct namespaces *all, int (*in_it)(void *arg), void *arg)
{
	int err = all->home_too ? in_it(arg) : 0;

	for (size_t i = 0; !err && i < all->n; i++) {
		if (setns(all->entries[i].fd, CLONE_NEWNET)) {
			err = -errno;
			report("network namespace %u: cannot be entered: %s%s",
			       all->entries[i].number, strerror(-err),
			       permission_remedy(err, CAP_SYS_ADMIN));
			break;
		}
		err = in_it(arg);
	}
	if (all->n && setns(all->home, CLONE_NEWNET) && !err) {
		err = -errno;
		report("network namespace: cannot return to it: %s", strerror(-err));
	}
	return err;
}
