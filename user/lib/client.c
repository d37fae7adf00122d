// SPDX-License-Identifier: BSD-2-Clause
/*
 * client.c - the client that a session is counted for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include <bpf/bpf.h>

#include "internal.h"

/* How often to look up a record that a program is writing, which takes it microseconds. */
enum { LOOK_UPS = 1000 };

/*
 * Look up a socket's record. The kernel copies it while programs may write it: a copy is
 * whole if the next one is the same.
 *
 * Returns 0; -ENOENT: the socket has no record; -EAGAIN: it is still being written; or another
 * negative errno.
 */
static int record_get(int map_fd, int fd, struct cc_session *ret_record)
{
	struct cc_session before;
	int err = bpf_map_lookup_elem(map_fd, &fd, &before);

	for (int i = 0; !err && i < LOOK_UPS; i++) {
		err = bpf_map_lookup_elem(map_fd, &fd, ret_record);
		if (!err && ret_record->state != CC_SESSION_STARTING &&
		    !memcmp(ret_record, &before, sizeof(before)))
			return 0;
		before = *ret_record;
		sched_yield();
	}
	return err ? err : -EAGAIN;
}

static int record_of(struct conncount *cc, int fd, struct cc_session *ret_record)
{
	bool current;
	int err;

	do {
		err = view_acquire(cc, NULL);
		if (err)
			return err;
		err = record_get(cc->view.sessions_fd, fd, ret_record);
		current = view_is_current(&cc->view);
		view_release(cc);
	} while (!current);
	/* Without a record the session is not counted. */
	if (err == -ENOENT) {
		*ret_record = (struct cc_session){ .state = CC_SESSION_NEW };
		return 0;
	}
	return err;
}

static int peer_of(int fd, struct conncount_cidr *ret_peer)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	if (getpeername(fd, (struct sockaddr *)&peer, &len))
		return -errno;
	return conncount_cidr_of((struct sockaddr *)&peer, ret_peer);
}

int conncount_client_of(struct conncount *cc, int fd, struct conncount_cidr *ret_client)
{
	struct cc_session record;
	int err, family;

	err = record_of(cc, fd, &record);
	if (err)
		return err;
	if (CC_SESSION_IS_AWAITED(record.state))
		return -EAGAIN;
	family = ntohs(record.family);
	/* A record that says ENDED has no address if the session ended before it was counted. */
	if (record.state == CC_SESSION_NEW || (family != CC_IPV4 && family != CC_IPV6))
		return peer_of(fd, ret_client);
	*ret_client = (struct conncount_cidr){
		.family = family,
		.prefixlen = family == CC_IPV4 ? 32 : 128,
	};
	memcpy(ret_client->addr, record.addr, ret_client->prefixlen / 8);
	return 0;
}
