/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * mptcp.bpf.h - sessions of multipath TCP: one session, however many TCP connections, its
 * subflows, it goes over.
 *
 * Its record is that of the MPTCP socket, which a process accepts and closes: the release of
 * that ends the session as any other's does. What the kernel tears down is only ever a
 * subflow, so a record counts those that there are. Each subflow has a record of its own, by
 * which it comes and goes once in that count. Only programs that hold the subflow's lock touch it.
 *
 * Without any subflow a session is in no count, and its record is NEW again: a client may
 * yet come back by another subflow. So a change of `subflows` is followed by a look at both:
 * subflows_reconcile() starts or suspends the session until the two agree. A subflow that
 * comes while the last one goes has either seen the record NEW, or is seen by who made it that.
 */
#ifndef CONNCOUNT_MPTCP_BPF_H
#define CONNCOUNT_MPTCP_BPF_H

#include "sessions.bpf.h"

enum {
	/* Each further round means that another subflow has come or gone meanwhile. */
	RECONCILE_ROUNDS = 4,
};

/*
 * Take a session off every level, for a subflow to start it again, unless it has ended. It is
 * claimed for that as for a start: nobody else writes the record meanwhile, and an end that comes
 * leaves it to us.
 */
static __always_inline void session_suspend(struct cc_session *session)
{
	__u32 state = *(volatile __u32 *)&session->state;

	if (state != CC_SESSION_COUNTED && state != CC_SESSION_UNCOUNTED)
		return;
	if (__sync_val_compare_and_swap(&session->state, state, CC_SESSION_STARTING) != state)
		return;
	session_leave(session, state);
	__sync_val_compare_and_swap(&session->state, CC_SESSION_STARTING, CC_SESSION_NEW);
}

/* Count a session if it has a subflow, and do not if it has none. */
static __always_inline void subflows_reconcile(struct cc_session *session,
					       const struct cc_session *as)
{
	struct cc_tally *tally;

	for (int i = 0; i < RECONCILE_ROUNDS; i++) {
		bool live = *(volatile __s32 *)&session->subflows > 0;

		if (live)
			session_start(session, as);
		else
			session_suspend(session);
		if ((*(volatile __s32 *)&session->subflows > 0) == live)
			return;
	}
	tally = tally_get(bpf_ntohs(as->listener), bpf_ntohs(as->family));
	if (tally)
		lost_add(tally);
}

/*
 * subflow_start() - a subflow of a session, unless its record says that it was counted before.
 * @subflow: the record of the TCP socket.
 * @session: that of the MPTCP socket; it starts with its first subflow.
 * @as: what to count the session under then.
 *
 * A function of its own to the verifier, which has enough to do without it. Returns 0.
 */
int subflow_start(struct cc_session *subflow, struct cc_session *session,
		  const struct cc_session *as)
{
	if (!subflow || !session || !as || !session_claim(subflow, as))
		return 0;
	__sync_fetch_and_add(&session->subflows, 1);
	subflows_reconcile(session, as);
	subflow->within = session->state;
	subflow->state = CC_SESSION_SUBFLOW;
	return 0;
}

/*
 * subflow_end() - the end of one that was started; its own record has ended.
 * @session: NULL if there is no way to the MPTCP socket any more. The kernel takes it from a
 * subflow only where nobody has accepted it and its listener closes: nothing else ends the session.
 *
 * A function of its own, as subflow_start(). Returns 0.
 */
int subflow_end(const struct cc_session *subflow, struct cc_session *session)
{
	if (!subflow)
		return 0;
	if (!session) {
		session_leave(subflow, subflow->within);
		return 0;
	}
	__sync_fetch_and_add(&session->subflows, -1);
	subflows_reconcile(session, subflow);
	return 0;
}

#endif
