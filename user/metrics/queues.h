/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * queues.h - the accept queues of the listeners' sockets.
 */
#ifndef CONNCOUNT_QUEUES_H
#define CONNCOUNT_QUEUES_H

#include <stddef.h>
#include <stdint.h>

#include "conncount.h"

/* The queue of a listening socket, for one listener whose connections wait in it. */
struct accept_queue {
	struct conncount_listen at; /* the listener's name; the socket's address and port */
	uint64_t waiting;           /* connections established, and not accepted yet */
	uint64_t limit;             /* how many of them there is room for */
};

/*
 * accept_queues() - the queues of the listening sockets in this network namespace.
 * @state: as of conncount_state(). Sockets of other cgroups are left out, where it
 *          can be seen from here which cgroups are in it.
 * @listens: the configuration in force, as of conncount_listens().
 * @ret_queues: an array the caller frees with free(); NULL where there are none.
 *
 * A socket that accepts for several listeners is there for each of them. Sockets that share
 * an address (SO_REUSEPORT) are added up. Needs no privilege.
 *
 * Returns 0, or a negative errno where the kernel does not list its sockets.
 */
int accept_queues(const struct conncount_state *state, const struct conncount_listen *listens,
		  size_t n_listens, struct accept_queue **ret_queues, size_t *ret_n);

#endif
