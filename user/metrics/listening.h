/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listening.h - the listening sockets of this network namespace, from the kernel's socket
 * diagnostics.
 */
#ifndef CONNCOUNT_LISTENING_H
#define CONNCOUNT_LISTENING_H

#include <stddef.h>
#include <stdint.h>

#include "conncount.h"

/* The sockets that listen at one place and were created in one cgroup (SO_REUSEPORT allows
 * several). */
struct listening {
	struct conncount_listen at; /* without a listener's name */
	uint64_t cgroup;            /* the cgroup's number; 0 if the kernel does not return it */
	uint32_t uid;               /* their owner; if a place has several, the lowest user id */
	size_t sockets;             /* how many sockets */
	uint64_t waiting;           /* connections established, and not accepted yet */
	uint64_t limit;             /* how many of them there is room for */
};

/*
 * listening_read() - the listening sockets on the ports of @listens, by place and then by cgroup.
 * @ret_sockets: an array that the caller frees with free(); NULL if there are none.
 *
 * Needs no privilege. Its time is linear in the number of listening sockets, except for sorting.
 * Returns 0, or a negative errno if the kernel does not list its sockets.
 */
int listening_read(const struct conncount_listen *listens, size_t n_listens,
		   struct listening **ret_sockets, size_t *ret_n);

/* place_compare() - the order of places: by port, family, prefix length, address. For bsearch(3).
 */
int place_compare(const struct conncount_listen *a, const struct conncount_listen *b);

#endif
