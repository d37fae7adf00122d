/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * seed.bpf.h - go through the kernel's own list of sockets, to enter the sessions that were open
 * before counting began, or to list all sessions.
 *
 * An iterator visits the sockets of one network namespace: that of the process that created it. It
 * holds the lock of each socket (from Linux 6.1 on), so the TCP state does not change during the
 * visit. The socket's release may come at any time all the same: the record's state settles which
 * came first (sessions.bpf.h).
 */
#ifndef CONNCOUNT_SEED_BPF_H
#define CONNCOUNT_SEED_BPF_H

#include "connections.bpf.h"

enum {
	SOL_TCP = 6,
	TCP_BPF_SOCK_OPS_CB_FLAGS = 1008,
};

/* Parameters and results of the iterators; `load` and `verify` set them before each run. */
struct {
	__u64 cgroup;  /* id of the cgroup whose sockets count */
	__u64 waiting; /* out: how many sessions are left for a later run: still in an accept queue
			*/
	__u32 last_chance; /* if not 0, enter those too, as uncounted */
	__u32 zero;
} scan = {};

/* Have the sockops program called on changes of a socket's state. Fails before Linux 6.12. */
static __always_inline bool socket_watch(struct tcp_sock *tp)
{
	int flags = tp->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG;

	return !bpf_setsockopt(tp, SOL_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS, &flags, sizeof(flags));
}

/* Put the listener and peer of a connection, or of the session of a subflow, into @ret. */
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

/*
 * Put what the set of maps that this one replaces counts a connection under into @ret. Returns
 * false if that does not count it.
 */
static __always_inline bool connection_was(struct tcp_sock *tp, struct cc_session *ret)
{
	struct cc_session *was = has_former ? bpf_sk_storage_get(&former, tp, NULL, 0) : NULL;

	if (!was || (was->state != CC_SESSION_COUNTED && was->state != CC_SESSION_UNCOUNTED &&
		     was->state != CC_SESSION_SUBFLOW))
		return false;
	*ret = *was;
	return true;
}

/*
 * Put what to count a connection under into @ret. Returns false if there is nothing to do.
 * @own: its record, which is NEW or AWAITED, or NULL.
 *
 * A session may await its header in vain: it came when no program could read it, or the peer is no
 * longer a proxy. Then it is counted under that.
 */
static __always_inline bool connection_to_seed(struct tcp_sock *tp, struct sock *msk,
					       const struct cc_session *own, struct cc_session *ret)
{
	bool awaits = own && CC_SESSION_IS_AWAITED(own->state), found;

	if (connection_was(tp, ret))
		return true;
	found = connection_identify(tp, msk, NULL, ret);
	if (awaits && found && ret->state == own->state && !socket_has_received(tp))
		return false;
	if (awaits)
		ret->origin = CC_ORIGIN_UNREAD;
	if (awaits || socket_has_received(tp))
		ret->state = CC_SESSION_NEW;
	return awaits || found;
}

/*
 * Count a connection that was open before, whose record is @own or missing. Returns false if it got
 * no record: there is no storage for one, or the connection is left for a later run.
 */
static __always_inline bool connection_seed(struct tcp_sock *tp, struct sock *msk,
					    struct cc_session *own, const struct cc_session *as)
{
	struct sock *accepted = socket_accepted(tp);
	bool watched = socket_watch(tp) || (own && CC_SESSION_IS_AWAITED(own->state));

	/*
	 * Before Linux 6.12 (commit 3882dccf48f9) the state of an existing socket cannot be
	 * watched. If the socket is accepted, its release ends the session all the same. If it
	 * never is, it would end unseen when its listener closes: count it once it is accepted.
	 * So, too, a session of MPTCP: until then there is no way from a subflow to its record.
	 */
	if (msk && accepted)
		return connection_start(tp, accepted, tp, as, true);
	if (!msk && (accepted || watched))
		return connection_start(tp, NULL, tp, as, true);
	if (!scan.last_chance) {
		scan.waiting++;
		return false;
	}
	own = record_get(tp, BPF_SK_STORAGE_GET_F_CREATE);
	if (own)
		session_refuse(own, as);
	else
		untracked_start(bpf_get_socket_cookie(tp), as, true);
	return own;
}

#endif
