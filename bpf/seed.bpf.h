/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * seed.bpf.h - the kernel's own list of sockets: enter the sessions that were open before
 * counting began, and tell which there are.
 *
 * An iterator visits the sockets of the network namespace of the process that made it, each
 * with its lock held: its TCP state does not change under the program. Its release may come
 * at any time all the same; what that means is for the record's state to say (sessions.bpf.h).
 */
#ifndef CONNCOUNT_SEED_BPF_H
#define CONNCOUNT_SEED_BPF_H

#include "connections.bpf.h"

enum {
	SOL_TCP = 6,
	TCP_BPF_SOCK_OPS_CB_FLAGS = 1008,
};

/* What the iterators are told, and tell; set by `load` and `verify` before each run. */
struct {
	__u64 cgroup;      /* id of the cgroup that is counted in */
	__u64 waiting;     /* out: sessions left for a later run: still in an accept queue */
	__u32 last_chance; /* enter also what can only be entered as uncounted */
	__u32 zero;
} scan = {};

/* Ask for a call when a socket's state changes, as the sockops program does. */
static __always_inline bool socket_watch(struct tcp_sock *tp)
{
	int flags = tp->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG;

	return !bpf_setsockopt(tp, SOL_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS, &flags, sizeof(flags));
}

/* The listener and peer of a connection, or of the session that it is a subflow of. */
static __always_inline bool connection_identify(struct tcp_sock *tp, struct sock *msk,
						const struct cc_session *own,
						struct cc_session *ret)
{
	struct sock *accepted = msk ? socket_accepted(tp) : NULL;
	struct cc_session *session = accepted ? record_get(accepted, 0) : NULL;

	if (accepted && socket_has_peer((struct sock_common *)accepted))
		return session_identify((struct sock_common *)accepted, own ? own : session, ret);
	return session_identify((struct sock_common *)tp, own, ret);
}

/* What a connection is counted under by the set of maps that this one is to replace. */
static __always_inline bool connection_was(struct tcp_sock *tp, struct cc_session *ret)
{
	struct cc_session *was = bpf_sk_storage_get(&former, tp, NULL, 0);

	if (!was)
		return false;
	*ret = *was;
	return ret->state == CC_SESSION_COUNTED || ret->state == CC_SESSION_UNCOUNTED ||
	       ret->state == CC_SESSION_SUBFLOW;
}

/*
 * Count a connection that was open before. False if nothing was done that is done once: there is no
 * storage for its record, or it is left for a later run.
 */
static __always_inline bool connection_seed(struct tcp_sock *tp, struct sock *msk,
					    const struct cc_session *as)
{
	struct sock *accepted = socket_accepted(tp);
	bool watched = socket_watch(tp);
	struct cc_session *own;

	/*
	 * Before Linux 6.12 the state of an existing socket cannot be watched. One that was
	 * accepted ends by its release all the same. One that was not, and never is, would
	 * end without a trace when its listener closes: it is counted once it is accepted. So is
	 * a session of MPTCP: until then there is no way from a subflow to its record.
	 */
	if (msk && accepted)
		return connection_start(tp, accepted, tp, as);
	if (!msk && (accepted || watched))
		return connection_start(tp, NULL, tp, as);
	if (!scan.last_chance) {
		scan.waiting++;
		return false;
	}
	own = record_get(tp, BPF_SK_STORAGE_GET_F_CREATE);
	if (own)
		session_refuse(own, as);
	else
		untracked_start(bpf_get_socket_cookie(tp), as);
	return own;
}

#endif
