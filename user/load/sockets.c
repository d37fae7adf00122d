// SPDX-License-Identifier: BSD-2-Clause
/*
 * sockets.c - run the iterators over the sockets of every network namespace.
 *
 * A TCP iterator sees the network namespace of the process that makes it. Which ones there
 * are is found by the sockets of all processes, not by processes or mounts: a server can hold
 * a socket in a namespace that it, and everybody else, has left.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/sockios.h>

#include "conncount.skel.h"
#include "report.h"
#include "sockets.h"

enum {
	READ_SIZE = 65536,
	/* How long to wait for connections to be accepted, where that matters (seed.bpf.h). */
	WAIT_MS = 5000,
	WAIT_STEP_MS = 50,
};

/* --- running an iterator ------------------------------------------------------------------ */

/* Called with what an iterator wrote: whole records. Returns 0 or a negative errno. */
typedef int (*on_records)(void *arg, const void *records, size_t size);

/* Read an iterator to its end. Records may be cut by a read: the rest of one comes next. */
static int read_records(int fd, size_t record_size, on_records each, void *arg)
{
	char *buf = malloc(READ_SIZE);
	size_t have = 0;
	int err = buf ? 0 : -ENOMEM;

	while (!err) {
		ssize_t n = read(fd, buf + have, READ_SIZE - have);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0) {
			err = n < 0 ? -errno : 0;
			break;
		}
		have += (size_t)n;
		size_t whole = have - have % record_size;
		err = each(arg, buf, whole);
		have -= whole;
		memmove(buf, buf + whole, have);
	}
	free(buf);
	return err;
}

static int run_iterator(struct bpf_program *program, size_t record_size, on_records each, void *arg)
{
	struct bpf_link *link = bpf_program__attach_iter(program, NULL);
	int err = link ? 0 : -errno;
	int fd = -1;

	if (!err) {
		fd = bpf_iter_create(bpf_link__fd(link));
		err = fd < 0 ? fd : read_records(fd, record_size, each, arg);
	}
	if (fd >= 0)
		close(fd);
	bpf_link__destroy(link);
	if (err)
		report("%s: the sockets cannot be listed: %s", bpf_program__name(program),
		       strerror(-err));
	return err;
}

/* --- network namespaces ------------------------------------------------------------------- */

struct namespaces {
	int home; /* our own */
	struct {
		uint32_t number; /* inode */
		int fd;          /* -1: none of the sockets found in it could be reached */
		pid_t refused;   /* a process that may not be asked for its socket; 0: none */
	} * others;
	size_t n;
};

static void namespaces_free(struct namespaces *all)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->others[i].fd >= 0)
			close(all->others[i].fd);
	free(all->others);
	close(all->home);
}

/*
 * The network namespace, of inode @number, of a socket of another process. Returns a descriptor
 * or a negative errno: -EPERM if it is there and we may not, anything else if it has gone.
 */
static int socket_namespace(uint32_t number, pid_t pid, int target)
{
	int process = (int)syscall(SYS_pidfd_open, pid, 0);
	int sock = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, target, 0);
	int fd = sock < 0 ? -1 : ioctl(sock, SIOCGSKNS);
	int err = fd < 0 ? -errno : 0;
	struct stat st;

	if (sock >= 0)
		close(sock);
	if (process >= 0)
		close(process);
	/* The descriptor may have been closed meanwhile, and be something else now. */
	if (!err && (fstat(fd, &st) || st.st_ino != number)) {
		close(fd);
		err = -ESRCH;
	}
	return err ? err : fd;
}

/* One more socket in another namespace: open that, unless it is open already. */
static int namespaces_add(struct namespaces *all, const struct cc_found *found)
{
	size_t i = 0;

	while (i < all->n && all->others[i].number != found->netns)
		i++;
	if (i == all->n) {
		void *grown = realloc(all->others, (i + 1) * sizeof(*all->others));

		if (!grown)
			return -ENOMEM;
		all->others = grown;
		all->others[i].number = found->netns;
		all->others[i].fd = -1;
		all->others[i].refused = 0;
		all->n++;
	}
	if (all->others[i].fd < 0) {
		int fd = socket_namespace(found->netns, (pid_t)found->pid, (int)found->fd);

		if (fd == -EPERM)
			all->others[i].refused = (pid_t)found->pid;
		all->others[i].fd = fd < 0 ? -1 : fd;
	}
	return 0;
}

/* Where there are sockets that cannot be listed, no count would be right. */
static int namespaces_check(const struct namespaces *all)
{
	for (size_t i = 0; i < all->n; i++) {
		if (all->others[i].fd >= 0 || !all->others[i].refused)
			continue;
		report("network namespace %u: its sockets cannot be listed: process %d may not be "
		       "asked for one (run as root, with CAP_SYS_PTRACE and CAP_NET_ADMIN; "
		       "kernel.yama.ptrace_scope=3 forbids it too)",
		       all->others[i].number, (int)all->others[i].refused);
		return -EPERM;
	}
	return 0;
}

static int on_found(void *arg, const void *records, size_t size)
{
	const struct cc_found *found = records;
	int err = 0;

	for (size_t i = 0; !err && i < size / sizeof(*found); i++)
		err = namespaces_add(arg, &found[i]);
	return err;
}

/* Find the network namespaces that have TCP sockets. namespaces_free() is due on success. */
static int namespaces_find(struct conncount_bpf *skel, struct namespaces *ret)
{
	struct namespaces all = { .home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) };
	struct stat st;
	int err = all.home < 0 || fstat(all.home, &st) ? -errno : 0;

	if (err) {
		report("/proc/self/ns/net: %s", strerror(-err));
		return err;
	}
	skel->bss->scan.netns = (__u32)st.st_ino;
	err = run_iterator(skel->progs.conncount_find, sizeof(struct cc_found), on_found, &all);
	if (!err)
		err = namespaces_check(&all);
	if (err)
		namespaces_free(&all);
	else
		*ret = all;
	return err;
}

/* Run an iterator over the sockets of each network namespace in turn. */
static int run_everywhere(const struct namespaces *all, struct bpf_program *program,
			  size_t record_size, on_records each, void *arg)
{
	int err = run_iterator(program, record_size, each, arg);

	for (size_t i = 0; !err && i < all->n; i++) {
		if (all->others[i].fd < 0)
			continue; /* the process has gone, and its sockets with it */
		if (setns(all->others[i].fd, CLONE_NEWNET)) {
			err = -errno;
			report("network namespace %u: cannot be entered: %s", all->others[i].number,
			       strerror(-err));
			break;
		}
		err = run_iterator(program, record_size, each, arg);
	}
	if (all->n && setns(all->home, CLONE_NEWNET) && !err)
		err = -errno;
	return err;
}

/* --- seeding ------------------------------------------------------------------------------ */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct progress {
	size_t entered;
	int64_t next_ms; /* when to tell again */
};

static void show_progress(struct progress *progress, uint64_t waiting)
{
	if (now_ms() < progress->next_ms)
		return;
	progress->next_ms = now_ms() + 1000;
	if (waiting)
		report("%zu open sessions entered; %llu wait to be accepted", progress->entered,
		       (unsigned long long)waiting);
	else
		report("%zu open sessions entered so far", progress->entered);
}

static int on_entered(void *arg, const void *records, size_t size)
{
	struct progress *progress = arg;

	(void)records;
	progress->entered += size;
	show_progress(progress, 0);
	return 0;
}

/*
 * A run may miss sockets (up to 6.1, where the iterator itself is inexact) and leave some for
 * later; so runs are made until one has nothing to do. The last one also ends sessions whose
 * release was under way when ours was attached.
 */
static int seed_in(struct conncount_bpf *skel, const struct namespaces *all)
{
	const struct timespec step = { .tv_nsec = WAIT_STEP_MS * 1000000L };
	struct progress progress = { .next_ms = now_ms() + 1000 };
	int64_t give_up = now_ms() + WAIT_MS;
	uint64_t waiting = 0;

	for (;;) {
		size_t before = progress.entered;
		int err;

		skel->bss->scan.last_chance = waiting && now_ms() > give_up;
		skel->bss->scan.waiting = 0;
		err = run_everywhere(all, skel->progs.conncount_seed, 1, on_entered, &progress);
		if (err)
			return err;
		if (skel->bss->scan.last_chance)
			report("%llu connections are uncounted: they are not accepted by "
			       "now, and can only be counted then (MPTCP; before Linux 6.12 "
			       "all); load again when they are",
			       (unsigned long long)waiting);
		waiting = skel->bss->scan.waiting;
		if (!waiting && progress.entered == before)
			return 0;
		if (waiting) {
			show_progress(&progress, waiting);
			nanosleep(&step, NULL);
		}
	}
}

int sockets_seed(struct conncount_bpf *skel, const struct cgroup *cgroup)
{
	struct namespaces all;
	int err;

	skel->bss->scan.cgroup = cgroup->id;
	err = namespaces_find(skel, &all);
	if (err)
		return err;
	err = seed_in(skel, &all);
	namespaces_free(&all);
	return err;
}

/* --- listing ------------------------------------------------------------------------------ */

struct listing {
	struct cc_scanned *sockets;
	size_t n, room;
};

static int on_scanned(void *arg, const void *records, size_t size)
{
	struct listing *all = arg;
	size_t n = size / sizeof(*all->sockets);

	if (all->n + n > all->room) {
		size_t room = 2 * (all->n + n);
		void *grown = realloc(all->sockets, room * sizeof(*all->sockets));

		if (!grown)
			return -ENOMEM;
		all->sockets = grown;
		all->room = room;
	}
	memcpy(all->sockets + all->n, records, size);
	all->n += n;
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct cc_scanned *first = a, *second = b;

	return first->id < second->id ? -1 : first->id > second->id;
}

/*
 * In order of their ids, each once: a session may have several subflows, and up to 6.1 the
 * iterator may visit a socket again.
 */
static void listing_sort(struct listing *all)
{
	size_t kept = 0;

	if (!all->n)
		return;
	qsort(all->sockets, all->n, sizeof(*all->sockets), by_id);
	for (size_t i = 1; i < all->n; i++)
		if (all->sockets[i].id != all->sockets[kept].id)
			all->sockets[++kept] = all->sockets[i];
	all->n = kept + 1;
}

int sockets_scan(struct conncount_bpf *skel, const struct cgroup *cgroup,
		 struct cc_scanned **ret_sockets, size_t *ret_n)
{
	struct listing listing = { .n = 0 };
	struct namespaces all;
	int err;

	skel->bss->scan.cgroup = cgroup->id;
	err = namespaces_find(skel, &all);
	if (err)
		return err;
	err = run_everywhere(&all, skel->progs.conncount_scan, sizeof(struct cc_scanned),
			     on_scanned, &listing);
	namespaces_free(&all);
	if (err) {
		free(listing.sockets);
		return err;
	}
	listing_sort(&listing);
	*ret_sockets = listing.sockets;
	*ret_n = listing.n;
	return 0;
}
