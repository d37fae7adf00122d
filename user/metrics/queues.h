/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * queues.h - the sockets that accept for the listeners: their accept queues, and those outside of
 * the cgroup that is counted in.
 */
#ifndef CONNCOUNT_QUEUES_H
#define CONNCOUNT_QUEUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conncount.h"

/* The most queues of a listener that are not at its own addresses; further ones are added up. */
enum { QUEUES_MOST = 64 };

/* The accept queue of a listening socket, and one listener whose connections wait in it. */
struct accept_queue {
	struct conncount_listen at; /* the listener's name; the socket's address and port */
	uint64_t waiting;           /* connections established, and not accepted yet */
	uint64_t limit;             /* how many of them there is room for */
	bool others;                /* this is the sum of all others: @at has no address */
};

/* Listening sockets outside of the cgroup that accept for a listener: their sessions are not
 * counted. */
struct outside {
	struct conncount_listen at; /* as above */
	size_t sockets;             /* of the same cgroup */
	/* The cgroup; "" if it was removed, NULL if it is not visible from here or was not
	 * requested. */
	char *cgroup;
};

/* How many sockets accept for a listener. */
struct acceptors {
	const char *name; /* the listener's; points into @listens of queues_read() */
	size_t counted;
	size_t outside;
	size_t others; /* of those counted, the ones whose queue is in the sum of others */
};

struct queues {
	struct accept_queue *queues;
	size_t n_queues;
	struct outside *outside; /* those of system users first */
	size_t n_outside;
	struct acceptors *acceptors; /* of each listener that has any, by name */
	size_t n_acceptors;
	/* Sockets that may be outside, which is not visible from here: taken as counted. */
	size_t unseen;
};

/*
 * queues_read() - find the sockets in this network namespace that accept for the listeners.
 * @state: what is counted, from conncount_state().
 * @listens: the active configuration, from conncount_listens(). Names in @ret_queues point into it.
 * @paths: whether to find the paths of cgroups outside.
 * @ret_queues: the caller frees it with queues_free().
 *
 * A socket that accepts for several listeners appears for each of them. Sockets that share an
 * address (SO_REUSEPORT) are added up. Needs no privilege.
 *
 * Returns 0; -EXDEV if another network namespace is counted; or another negative errno if the
 * kernel does not list its sockets.
 */
int queues_read(const struct conncount_state *state, const struct conncount_listen *listens,
		size_t n_listens, bool paths, struct queues *ret_queues);

/* queues_strerror() - what an error of queues_read() means. */
const char *queues_strerror(int err);

/* queues_acceptors() - the sockets of the listener @name; NULL if it has none. */
const struct acceptors *queues_acceptors(const struct queues *queues, const char *name);

void queues_free(struct queues *queues);

#endif
