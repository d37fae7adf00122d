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

/* Queues of a listener beside those of its own addresses; what is more is added up. */
enum { QUEUES_MOST = 64 };

/* The queue of a listening socket, for one listener whose connections wait in it. */
struct accept_queue {
	struct conncount_listen at; /* the listener's name; the socket's address and port */
	uint64_t waiting;           /* connections established, and not accepted yet */
	uint64_t limit;             /* how many of them there is room for */
	bool others;                /* of all others together: @at has no address */
};

/* Listening sockets that accept for a listener outside of the cgroup: those are not counted. */
struct outside {
	struct conncount_listen at; /* as above */
	size_t sockets;             /* of the same cgroup */
	/* The cgroup; "" if it was removed, NULL if it cannot be seen from here, or was not asked.
	 */
	char *cgroup;
};

/* How many sockets accept for a listener. */
struct acceptors {
	const char *name; /* the listener's, in the array that was given */
	size_t counted;
	size_t outside;
	size_t others; /* of those counted, the ones without a queue of their own */
};

struct queues {
	struct accept_queue *queues;
	size_t n_queues;
	struct outside *outside; /* those of system users first */
	size_t n_outside;
	struct acceptors *acceptors; /* of each listener that has any, by name */
	size_t n_acceptors;
	/* Sockets of which not visible from here whether they are outside: taken as counted.
	 */
	size_t unseen;
};

/*
 * queues_read() - find the sockets in this network namespace that accept for the listeners.
 * @state: what is counted, as of conncount_state().
 * @listens: the configuration in force, as of conncount_listens(). Names in @ret_queues point
 * there.
 * @paths: whether to look for the names of cgroups outside.
 * @ret_queues: to be given to queues_free().
 *
 * A socket that accepts for several listeners is there for each of them. Sockets that share
 * an address (SO_REUSEPORT) are added up. Needs no privilege.
 *
 * Returns 0; -EXDEV where another network namespace is counted in; or another negative errno where
 * the kernel does not list its sockets.
 */
int queues_read(const struct conncount_state *state, const struct conncount_listen *listens,
		size_t n_listens, bool paths, struct queues *ret_queues);

/* queues_strerror() - what an error of queues_read() means. */
const char *queues_strerror(int err);

/* queues_acceptors() - those of the listener @name; NULL if there are none. */
const struct acceptors *queues_acceptors(const struct queues *queues, const char *name);

void queues_free(struct queues *queues);

#endif
