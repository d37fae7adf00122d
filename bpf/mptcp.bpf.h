/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * mptcp.bpf.h - multipath TCP: one session, however many TCP connections (its subflows) it has.
 *
 * The session's record is that of the MPTCP socket, which a process accepts and closes. Its release
 * ends the session, like the release of any other socket. The kernel itself tears down only
 * subflows, so the record counts them. Each subflow has a record of its own, by which it is added
 * to that count once, and subtracted once. Only programs that hold the subflow's lock touch it.
 *
 * Without any subflow a session is in no count, and its record is NEW again: the client may return
 * by another subflow. So each change of `subflows` is followed by subflows_reconcile(), which
 * starts or suspends the session until `subflows` and the state agree. If a subflow starts while
 * the last one ends, then either it finds the record NEW, or the program that made it NEW sees it.
 */
#ifndef CONNCOUNT_MPTCP_BPF_H
#define CONNCOUNT_MPTCP_BPF_H

#include "sessions.bpf.h"

enum {
	/* Each further round means that another subflow started or ended meanwhile. */
	RECONCILE_ROUNDS = 4,
};

/*
 * Take a session off every level, so that a subflow can start it again, unless it has ended. This
 * claims the record, as a start does: nobody else writes it meanwhile, and an end that comes leaves
 * the rest to us.
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

/*
 * Have a session counted if, and only if, it has a subflow. Returns whether this call started it.
 *
 * The loop must be unrolled: clang 19 keeps its counter on the stack, where the verifier of Linux
 * 6.18 loses it, and then follows the loop until it gives up.
 */
static __always_inline bool subflows_reconcile(struct cc_session *session,
					       const struct cc_session *as)
{
	struct cc_tally *tally;
	bool started = false;

#pragma clang loop unroll(full)
	for (int i = 0; i < RECONCILE_ROUNDS; i++) {
		bool live = *(volatile __s32 *)&session->subflows > 0;

		if (live)
			started |= session_start(session, as);
		else
			session_suspend(session);
		if ((*(volatile __s32 *)&session->subflows > 0) == live)
			return started;
	}
	tally = tally_get(bpf_ntohs(as->listener), bpf_ntohs(as->family));
	if (tally)
		lost_add(tally);
	return started;
}

/*
 * subflow_start() - start a subflow, unless its record says that it was started before.
 * @subflow: the record of the TCP socket.
 * @session: the record of the MPTCP socket; the session starts with its first subflow.
 * @as: what to count the session under.
 *
 * A global function, to save the verifier work. Returns whether this call started the session.
 */
int subflow_start(struct cc_session *subflow, struct cc_session *session,
		  const struct cc_session *as)
{
	bool started;

	if (!subflow || !session || !as || !session_claim(subflow, CC_SESSION_NEW, as))
		return 0;
	__sync_fetch_and_add(&session->subflows, 1);
	started = subflows_reconcile(session, as);
	subflow->within = session->state;
	subflow->state = CC_SESSION_SUBFLOW;
	return started;
}

/*
 * subflow_end() - end a subflow that was started; its own record says ENDED.
 * @session: the record of the MPTCP socket; NULL if the subflow no longer has that socket. The
 * kernel takes it away only if nobody has accepted it and its listener closes: then nothing else
 * ends the session.
 *
 * A global function, as subflow_start(). Returns 0.
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
