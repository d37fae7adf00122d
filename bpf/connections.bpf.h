/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * connections.bpf.h - find the record of a TCP connection, and start counting it.
 *
 * A plain connection is a session, whose record is the socket's. A connection of multipath TCP is a
 * subflow of a session (mptcp.bpf.h).
 */
#ifndef CONNCOUNT_CONNECTIONS_BPF_H
#define CONNCOUNT_CONNECTIONS_BPF_H

#include "mptcp.bpf.h"
#include "sockets.bpf.h"

/*
 * The cookie of the network namespace whose sockets are counted; 0: those of all. `load` sets it
 * before it loads the programs: the verifier then skips the check if it is 0.
 */
const volatile __u64 counted_netns = 0;

/* Whether sockets of a socket's network namespace are counted. */
static __always_inline bool socket_is_counted_here(struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;

	return !counted_netns ||
	       ((struct net___conncount *)sk->__sk_common.skc_net.net)->net_cookie == counted_netns;
}

/*
 * Put the listener and peer of a session into @ret: from its record or, if that has none, by the
 * active configuration. Returns false if the socket is not a session on any listener.
 *
 * A function of its own: its stack is free again before the caller's other calls.
 */
static __noinline bool session_identify(struct sock_common *skc, const struct cc_session *session,
					struct cc_session *ret)
{
	struct endpoint local = {}, peer = {};

	if (session && session->state != CC_SESSION_NEW) {
		*ret = *session;
		if (ret->family) /* not while it awaits its header */
			return true;
	}
	socket_endpoints(skc, &local, &peer);
	return session_look_up(&local, BPF_CORE_READ(skc, skc_num), &peer, ret);
}

/*
 * The record of a socket, or NULL. With BPF_SK_STORAGE_GET_F_CREATE in @flags it is made if it is
 * missing. If two programs make it at once, the helper returns NULL to the later one, though the
 * record exists (on all kernels tried, 6.1 to 7.2): look it up again.
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
 * @of: the argument of bpf_get_socket_cookie() for @sk, which only an untracked session needs.
 * @as: what to count it under. A session of MPTCP never awaits a header: its first segment may come
 * by any subflow.
 * @seeds: it was open before counting began: in no window.
 *
 * Returns false if there was no storage for its records. Then the session is untracked. But a
 * further subflow is ignored: the session ends with the others.
 */
static __always_inline bool connection_start(void *sk, struct sock *msk, void *of,
					     const struct cc_session *as, bool seeds)
{
	void *holder = msk ? (void *)msk : sk;
	struct cc_session *session, *own;
	bool started = false;

	session = record_get(holder, BPF_SK_STORAGE_GET_F_CREATE);
	own = session && msk ? record_get(sk, BPF_SK_STORAGE_GET_F_CREATE) : session;
	if (!own) {
		if (!session || session->state == CC_SESSION_NEW)
			untracked_start(bpf_get_socket_cookie(of), as, seeds);
		return false;
	}
	if (msk)
		started = subflow_start(own, session, as);
	else if (CC_SESSION_IS_AWAITED(as->state))
		session_await(session, as->state);
	else
		started = session_start(session, as);
	if (started && seeds)
		session->opened = 1;
	else if (started)
		session_opened(holder, session);
	return true;
}

#endif
