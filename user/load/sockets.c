// SPDX-License-Identifier: BSD-2-Clause
/*
 * sockets.c - run the iterators over the sockets of every counted network namespace.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "conncount.skel.h"
#include "iterator.h"
#include "report.h"
#include "sockets.h"

enum {
	/* How long to wait until connections are accepted, if that matters (seed.bpf.h). */
	WAIT_MS = 5000,
	WAIT_STEP_MS = 50,
};

/* An iterator, to be run in each namespace. */
struct iterator {
	struct bpf_program *program;
	size_t record_size;
	on_records each;
	void *arg;
};

static int run_here(void *arg)
{
	const struct iterator *iterator = arg;

	return iterator_run(iterator->program, iterator->record_size, iterator->each,
			    iterator->arg);
}

/* --- seeding ------------------------------------------------------------------------------ */

struct progress {
	size_t entered;
	int64_t next_ms; /* time of the next report */
};

static void show_progress(struct progress *progress, uint64_t waiting)
{
	if (now_ms() < progress->next_ms)
		return;
	progress->next_ms = now_ms() + 1000;
	if (waiting)
		report("%zu open sessions counted; %llu wait to be accepted", progress->entered,
		       (unsigned long long)waiting);
	else
		report("%zu open sessions counted so far", progress->entered);
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
 * A run may miss sockets (the iterator itself is inexact up to Linux 6.1) and leave some for later,
 * so run until there is nothing to do. The last run also ends sessions whose release was under way
 * when our release program was attached.
 */
static int seed_in(struct conncount_bpf *skel, const struct namespaces *all)
{
	const struct timespec step = { .tv_nsec = WAIT_STEP_MS * 1000000L };
	struct progress progress = { .next_ms = now_ms() + 1000 };
	struct iterator iterator = { skel->progs.conncount_seed, 1, on_entered, &progress };
	int64_t give_up = now_ms() + WAIT_MS;
	uint64_t waiting = 0;

	for (;;) {
		size_t before = progress.entered;
		int err;

		skel->bss->scan.last_chance = waiting && now_ms() > give_up;
		skel->bss->scan.waiting = 0;
		err = namespaces_enter(all, run_here, &iterator);
		if (err)
			return err;
		if (skel->bss->scan.last_chance)
			report("%llu connections are uncounted: the server has not accepted them "
			       "yet, and they can only be counted once it has (MPTCP; before Linux "
			       "6.12 all); load again then",
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

int sockets_seed(struct conncount_bpf *skel, const struct cgroup *cgroup,
		 const struct netns *counted)
{
	struct namespaces all;
	int err;

	skel->bss->scan.cgroup = cgroup->id;
	err = namespaces_find(skel, counted, &all);
	if (err)
		return err;
	err = seed_in(skel, &all);
	namespaces_free(&all);
	return err;
}

/* --- a scan ------------------------------------------------------------------------------ */

struct scan {
	struct cc_scanned *sockets;
	size_t n, room;
};

static int on_scanned(void *arg, const void *records, size_t size)
{
	struct scan *all = arg;
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
 * Sort by id and remove duplicates: a session may have several subflows, and up to Linux 6.1 the
 * iterator may visit a socket twice.
 */
static void scan_sort(struct scan *all)
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
		 const struct netns *counted, struct cc_scanned **ret_sockets, size_t *ret_n)
{
	struct scan scan = { .n = 0 };
	struct iterator iterator = { skel->progs.conncount_scan, sizeof(struct cc_scanned),
				     on_scanned, &scan };
	struct namespaces all;
	int err;

	skel->bss->scan.cgroup = cgroup->id;
	err = namespaces_find(skel, counted, &all);
	if (err)
		return err;
	err = namespaces_enter(&all, run_here, &iterator);
	namespaces_free(&all);
	if (err) {
		free(scan.sockets);
		return err;
	}
	scan_sort(&scan);
	*ret_sockets = scan.sockets;
	*ret_n = scan.n;
	return 0;
}
