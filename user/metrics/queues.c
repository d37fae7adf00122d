// SPDX-License-Identifier: BSD-2-Clause
/*
 * queues.c - the sockets that accept for the listeners.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroups.h"
#include "listening.h"
#include "queues.h"

/* Sockets of one place and cgroup, and a listener for which they accept. */
struct acceptor {
	const char *name; /* the listener's */
	const struct listening *sockets;
	bool configured; /* they listen on a configured address, or on a wildcard that includes it
			  */
	enum cgroup_place where;
	char *cgroup; /* owned by a struct cgroup_of */
};

struct work {
	const struct conncount_listen **listens; /* sorted by place */
	size_t n_listens;
	struct listening *sockets;
	size_t n_sockets;
	struct acceptor *acceptors;
	size_t n_acceptors, room;
	struct cgroup_of *cgroups; /* of the acceptors, sorted by number */
	size_t n_cgroups;
};

static bool same_place(const struct conncount_listen *a, const struct conncount_listen *b)
{
	return !place_compare(a, b);
}

/* Widen an address to all of its family, and that to all of both. Returns false if it is that
 * already. */
static bool widen(struct conncount_listen *place)
{
	if (!place->addr.family)
		return false;
	if (place->addr.prefixlen)
		place->addr.prefixlen = 0;
	else
		place->addr.family = 0;
	memset(place->addr.addr, 0, sizeof(place->addr.addr));
	return true;
}

/* --- look-ups by place ------------------------------------------------------------------- */

static int compare_to_listen(const void *place, const void *listen)
{
	return place_compare(place, *(const struct conncount_listen *const *)listen);
}

static int compare_to_socket(const void *place, const void *socket)
{
	return place_compare(place, &((const struct listening *)socket)->at);
}

static const struct conncount_listen *find_listen(const struct work *work,
						  const struct conncount_listen *place)
{
	const struct conncount_listen **found = bsearch(place, work->listens, work->n_listens,
							sizeof(*work->listens), compare_to_listen);

	return found ? *found : NULL;
}

/* The first of the sockets at @place, which has one for each cgroup. */
static const struct listening *find_sockets(const struct work *work,
					    const struct conncount_listen *place)
{
	const struct listening *found = NULL;

	if (work->n_sockets) /* otherwise there is no array */
		found = bsearch(place, work->sockets, work->n_sockets, sizeof(*work->sockets),
				compare_to_socket);
	while (found && found > work->sockets && same_place(&found[-1].at, place))
		found--;
	return found;
}

/* --- which sockets accept for which listener ----------------------------------------------- */

/*
 * Whether connections to @part go to another, more specific, socket or listener. @part is what
 * @socket and @listen have in common: one of the two.
 */
static bool is_taken(const struct work *work, const struct conncount_listen *socket,
		     const struct conncount_listen *listen, const struct conncount_listen *part)
{
	struct conncount_listen place = *part;

	for (bool more = true; more && !same_place(&place, socket); more = widen(&place))
		if (find_sockets(work, &place))
			return true;
	place = *part;
	for (bool more = true; more && !same_place(&place, listen); more = widen(&place))
		if (find_listen(work, &place))
			return true;
	return false;
}

static int append(struct work *work, const char *name, const struct listening *sockets,
		  bool configured)
{
	struct acceptor acceptor = { .name = name, .sockets = sockets, .configured = configured };

	if (work->n_acceptors == work->room) {
		size_t room = work->room ? 2 * work->room : 64;
		void *grown = realloc(work->acceptors, room * sizeof(*work->acceptors));

		if (!grown)
			return -ENOMEM;
		work->acceptors = grown;
		work->room = room;
	}
	work->acceptors[work->n_acceptors++] = acceptor;
	return 0;
}

/* Add the sockets that listen where @listen does, or on a wildcard that includes it. */
static int enter_wider_sockets(struct work *work, const struct conncount_listen *listen)
{
	const struct listening *end = work->sockets + work->n_sockets;
	struct conncount_listen place = *listen;
	int err = 0;

	do {
		const struct listening *socket = find_sockets(work, &place);

		if (!socket || is_taken(work, &place, listen, listen))
			continue;
		for (; !err && socket < end && same_place(&socket->at, &place); socket++)
			err = append(work, listen->name, socket, true);
	} while (!err && widen(&place));
	return err;
}

/* Add @socket for the listeners of which it accepts only a part. */
static int enter_wider_listens(struct work *work, const struct listening *socket)
{
	struct conncount_listen place = socket->at;
	int err = 0;

	while (!err && widen(&place)) {
		const struct conncount_listen *listen = find_listen(work, &place);

		if (listen && !is_taken(work, &socket->at, listen, &socket->at))
			err = append(work, listen->name, socket, false);
	}
	return err;
}

/* Order by listener, then by place and cgroup, which is the order of the sockets. */
static int compare_acceptors(const void *one, const void *other)
{
	const struct acceptor *a = one, *b = other;
	int order = strcmp(a->name, b->name);

	return order ? order : (a->sockets > b->sockets) - (a->sockets < b->sockets);
}

static int assign(struct work *work)
{
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; !err && i < work->n_listens; i++)
		err = enter_wider_sockets(work, work->listens[i]);
	for (size_t i = 0; !err && i < work->n_sockets; i++)
		err = enter_wider_listens(work, &work->sockets[i]);
	if (err || !work->n_acceptors)
		return err;
	/* A socket may accept for several addresses of a listener. */
	qsort(work->acceptors, work->n_acceptors, sizeof(*work->acceptors), compare_acceptors);
	for (size_t i = 1; i < work->n_acceptors; i++) {
		if (compare_acceptors(&work->acceptors[n], &work->acceptors[i]))
			work->acceptors[++n] = work->acceptors[i];
		else
			work->acceptors[n].configured |= work->acceptors[i].configured;
	}
	work->n_acceptors = n + 1;
	return 0;
}

/* --- in which cgroups they are -------------------------------------------------------------- */

static int compare_cgroups(const void *one, const void *other)
{
	const struct cgroup_of *a = one, *b = other;

	return (a->id > b->id) - (a->id < b->id);
}

static int locate(struct work *work, const struct conncount_state *state, bool paths)
{
	int err;

	if (!work->n_acceptors)
		return 0;
	work->cgroups = calloc(work->n_acceptors, sizeof(*work->cgroups));
	if (!work->cgroups)
		return -ENOMEM;
	for (size_t i = 0; i < work->n_acceptors; i++)
		work->cgroups[i].id = work->acceptors[i].sockets->cgroup;
	qsort(work->cgroups, work->n_acceptors, sizeof(*work->cgroups), compare_cgroups);
	for (size_t i = 0; i < work->n_acceptors; i++)
		if (!i || work->cgroups[i].id != work->cgroups[i - 1].id)
			work->cgroups[work->n_cgroups++] = work->cgroups[i];
	err = cgroups_find(state, paths, work->cgroups, work->n_cgroups);
	for (size_t i = 0; !err && i < work->n_acceptors; i++) {
		struct acceptor *acceptor = &work->acceptors[i];
		struct cgroup_of key = { .id = acceptor->sockets->cgroup };
		const struct cgroup_of *cgroup =
			bsearch(&key, work->cgroups, work->n_cgroups, sizeof(key), compare_cgroups);

		acceptor->where = cgroup->place;
		acceptor->cgroup = cgroup->path;
	}
	return err;
}

/* --- what is told of them ------------------------------------------------------------------- */

/*
 * Order by listener, configured sockets first, then by user id, lowest first: other users who
 * listen on a port of the configuration must not crowd out the queues of the host's own servers.
 */
static int compare_importance(const void *one, const void *other)
{
	const struct acceptor *a = one, *b = other;
	int order = strcmp(a->name, b->name);

	if (!order)
		order = b->configured - a->configured;
	if (!order)
		order = (a->sockets->uid > b->sockets->uid) - (a->sockets->uid < b->sockets->uid);
	return order ? order : compare_acceptors(a, b);
}

static void name_place(struct conncount_listen *place, const struct acceptor *acceptor)
{
	*place = acceptor->sockets->at;
	strcpy(place->name, acceptor->name);
}

/* Add to the listener's last queue if that is the socket's, otherwise begin a new one. */
static void tell_queue(struct queues *queues, const struct acceptor *acceptor, size_t *beside)
{
	struct accept_queue *last = queues->n_queues ? &queues->queues[queues->n_queues - 1] : NULL;
	struct acceptors *listener = &queues->acceptors[queues->n_acceptors - 1];
	bool others = !acceptor->configured && *beside == QUEUES_MOST;

	if (others)
		listener->others += acceptor->sockets->sockets;
	if (!last || strcmp(last->at.name, acceptor->name) != 0 || last->others != others ||
	    (!others && !same_place(&last->at, &acceptor->sockets->at))) {
		last = &queues->queues[queues->n_queues++];
		name_place(&last->at, acceptor);
		last->others = others;
		*beside += !others && !acceptor->configured;
	}
	last->waiting += acceptor->sockets->waiting;
	last->limit += acceptor->sockets->limit;
}

static int tell_outside(struct queues *queues, const struct acceptor *acceptor)
{
	struct outside *outside = &queues->outside[queues->n_outside++];

	name_place(&outside->at, acceptor);
	outside->sockets = acceptor->sockets->sockets;
	outside->cgroup = acceptor->cgroup ? strdup(acceptor->cgroup) : NULL;
	return acceptor->cgroup && !outside->cgroup ? -ENOMEM : 0;
}

static int tell(const struct work *work, struct queues *queues)
{
	struct acceptors *listener = NULL;
	size_t beside = 0;
	int err = 0;

	if (!work->n_acceptors)
		return 0;
	queues->queues = calloc(work->n_acceptors, sizeof(*queues->queues));
	queues->outside = calloc(work->n_acceptors, sizeof(*queues->outside));
	queues->acceptors = calloc(work->n_acceptors, sizeof(*queues->acceptors));
	if (!queues->queues || !queues->outside || !queues->acceptors)
		return -ENOMEM;
	qsort(work->acceptors, work->n_acceptors, sizeof(*work->acceptors), compare_importance);
	for (size_t i = 0; !err && i < work->n_acceptors; i++) {
		const struct acceptor *acceptor = &work->acceptors[i];

		if (!listener || strcmp(listener->name, acceptor->name) != 0) {
			listener = &queues->acceptors[queues->n_acceptors++];
			listener->name = acceptor->name;
			beside = 0;
		}
		if (acceptor->where == CGROUP_OUTSIDE) {
			listener->outside += acceptor->sockets->sockets;
			err = tell_outside(queues, acceptor);
			continue;
		}
		listener->counted += acceptor->sockets->sockets;
		if (acceptor->where == CGROUP_UNSEEN)
			queues->unseen += acceptor->sockets->sockets;
		tell_queue(queues, acceptor, &beside);
	}
	return err;
}

static int compare_to_acceptors(const void *name, const void *acceptors)
{
	return strcmp(name, ((const struct acceptors *)acceptors)->name);
}

const struct acceptors *queues_acceptors(const struct queues *queues, const char *name)
{
	if (!queues->n_acceptors)
		return NULL;
	return bsearch(name, queues->acceptors, queues->n_acceptors, sizeof(*queues->acceptors),
		       compare_to_acceptors);
}

void queues_free(struct queues *queues)
{
	for (size_t i = 0; i < queues->n_outside; i++)
		free(queues->outside[i].cgroup);
	free(queues->queues);
	free(queues->outside);
	free(queues->acceptors);
}

static int compare_listens(const void *one, const void *other)
{
	return compare_to_listen(*(const struct conncount_listen *const *)one, other);
}

static int sort_listens(struct work *work, const struct conncount_listen *listens)
{
	work->listens = calloc(work->n_listens + 1, sizeof(*work->listens));
	if (!work->listens)
		return -ENOMEM;
	for (size_t i = 0; i < work->n_listens; i++)
		work->listens[i] = &listens[i];
	qsort(work->listens, work->n_listens, sizeof(*work->listens), compare_listens);
	return 0;
}

static void work_free(struct work *work)
{
	for (size_t i = 0; i < work->n_cgroups; i++)
		free(work->cgroups[i].path);
	free(work->listens);
	free(work->sockets);
	free(work->acceptors);
	free(work->cgroups);
}

/* Whether sockets of this network namespace are counted. */
static bool is_counted_here(const struct conncount_state *state)
{
	struct stat own;

	return !state->netns || stat("/proc/self/ns/net", &own) || own.st_ino == state->netns;
}

const char *queues_strerror(int err)
{
	return err == -EXDEV ? "another network namespace is counted (run this there: nsenter "
			       "--net=FILE conncount ...)"
			     : strerror(-err);
}

int queues_read(const struct conncount_state *state, const struct conncount_listen *listens,
		size_t n_listens, bool paths, struct queues *ret_queues)
{
	struct work work = { .n_listens = n_listens };
	struct queues queues = { .queues = NULL };
	int err = is_counted_here(state) ? sort_listens(&work, listens) : -EXDEV;

	if (!err)
		err = listening_read(listens, n_listens, &work.sockets, &work.n_sockets);
	if (!err)
		err = assign(&work);
	if (!err)
		err = locate(&work, state, paths);
	if (!err)
		err = tell(&work, &queues);
	work_free(&work);
	if (err) {
		queues_free(&queues);
		return err;
	}
	*ret_queues = queues;
	return 0;
}
