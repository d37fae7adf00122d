/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * connections.bpf.h - a TCP connection: find its record, and start counting it.
 *
 * A plain connection is a session, and its record is the socket's. One of multipath TCP is a
 * subflow of a session (mptcp.bpf.h).
 */
#ifndef CONNCOUNT_CONNECTIONS_BPF_H
#define CONNCOUNT_CONNECTIONS_BPF_H

#include "mptcp.bpf.h"
#include "sockets.bpf.h"

/*
 * The listener and peer of a session, in @ret: what its record says, or else what the table
 * in force says. False if the socket is no session on any listener.
 *
 * A function of its own, for its stack is not needed by those that are called after it.
 */
static __noinline bool session_identify(struct sock_common *skc, const struct cc_session *session,
					struct cc_session *ret)
{
	struct endpoint local = {}, peer = {};

	if (session && session->state != CC_SESSION_NEW) {
		*ret = *session;
		if (ret->family)
			return true;
	}
	socket_endpoints(skc, &local, &peer);
	return session_look_up(&local, BPF_CORE_READ(skc, skc_num), &peer, ret);
}

/*
 * The record of a socket; made if need be where @flags are BPF_SK_STORAGE_GET_F_CREATE. Of two
 * programs that make it at once, the helper gives the later one NULL though there is a record: look
 * again.
 */
static __always_inline struct cc_session *record_get(void *sk, __u64 flags)
{
	struct cc_session *record = bpf_sk_storage_get(&sessions, sk, NULL, flags);

	if (flags && loses_race())
		record = NULL;
	return record || !flags ? record : bpf_sk_storage_get(&sessions, sk, NULL, 0);
}

/*
 * connection_start() - count a TCP connection: a session, or a subflow of one.
 * @sk: the TCP socket.
 * @msk: its MPTCP socket, or NULL.
 * @of: what bpf_get_socket_cookie() is to be given for @sk: it is asked for strays only.
 *
 * Returns false if there was no storage for its records. It is a stray then; but a further subflow
 * is none, and the session ends with the others.
 */
static __always_inline bool connection_start(void *sk, struct sock *msk, void *of,
					     const struct cc_session *as)
{
	struct cc_session *session, *own;

	session = record_get(msk ? (void *)msk : sk, BPF_SK_STORAGE_GET_F_CREATE);
	if (session && !msk) {
		session_start(session, as);
		return true;
	}
	own = session ? record_get(sk, BPF_SK_STORAGE_GET_F_CREATE) : NULL;
	if (own) {
		subflow_start(own, session, as);
		return true;
	}
	if (!session || session->state == CC_SESSION_NEW)
		untracked_start(bpf_get_socket_cookie(of), as);
	return false;
}

#endif
