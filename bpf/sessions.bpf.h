/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * sessions.bpf.h - start and end a session, each exactly once.
 *
 * The state of a session's record goes NEW -> STARTING -> COUNTED (or UNCOUNTED) -> ENDED. Two
 * events can end the session: the socket's release, and its change to TCP_CLOSE. They can run on
 * different CPUs, the release without the socket's lock, and either may come first or alone. So
 * both exchange the state for ENDED, and the old state says what to do:
 *
 *	COUNTED    take the session off every level
 *	UNCOUNTED  take it off the tally's `uncounted`
 *	STARTING   nothing: the starter will find ENDED, and take back what it has entered
 *	NEW        nothing: the starter will find ENDED, and enter nothing
 *	ENDED      nothing: the other event came first
 *	AWAITED    take it off its listener's `awaiting`
 *
 * A session from a proxy goes NEW -> AWAITED when its handshake is done, and AWAITED -> STARTING
 * when its header comes (headers.bpf.h). It is identified late rather than moved: until then it is
 * in no count. The header can be ahead of the handshake's end on another CPU: then it starts the
 * session itself, from NEW. Whichever of the two is first, the other finds what it left: so AWAITED
 * is set by one operation, with the listener in the state itself. If it were claimed first, to
 * write fields, a header that came meanwhile would find STARTING, and be lost.
 *
 * A start that finds the record in any state but NEW and AWAITED leaves it alone. So no session is
 *subtracted before it was added, and the program that subtracts it reads a complete record: the
 *starter writes the fields before it makes the state COUNTED, by an operation that orders these
 *writes.
 */
#ifndef CONNCOUNT_SESSIONS_BPF_H
#define CONNCOUNT_SESSIONS_BPF_H

#include "limits.bpf.h"
#include "recent.bpf.h"

/*
 * Add @n (+1 or -1) to the first @limit levels of a session's address, shortest prefix first. If
 * +1 cannot be entered on a level, stop there. If -1 cannot, it is `lost`, and the other levels
 * still get theirs. Then note the leaf for the cluster's daemon.
 *
 * @limit: at most how many levels the address has.
 * @places: on which levels the session has a place, which +1 makes a count (places.bpf.h). Where +1
 * was not entered, the place is given back.
 *
 * A global function, so that the verifier checks it once and not for every path to every call: a
 * tenth of the work. In return the verifier knows nothing of the arguments.
 *
 * Returns on how many levels @n was entered or lost.
 */
__u32 levels_add(const struct cc_session *session, __u32 limit, int n, __u32 places)
{
	struct cc_count_key key = {}, evicted;
	const struct level *level;
	__u32 done;
	bool cacheable;
	int absent = 0;

	if (!session)
		return 0;
	key.listener = session->listener;
	key.family = session->family;
	cacheable = n < 0 && !is_baseline() && seen_recently(session);
	level = levels_get(session);
	/* The first condition is for the verifier. */
#pragma clang loop unroll(disable)
	for (done = 0; done < LEVELS_IPV6 && done < limit; done++, level++, places >>= 1) {
		__u32 place = places & 1;
		__s64 by = (__s64)n * CC_COUNT_ONE - (__s64)place * CC_COUNT_PLACE;
		int err;

		level_key(session, level, &key);
		err = count_change(&key, by, place ? 0 : absent, cacheable, &evicted);
		if (err < 0 || evicted.prefixlen)
			err = count_finish(&key, by, err, &evicted);
		if (err < 0) {
			if (has_limits && places)
				places_return(session, places << done);
			break;
		}
		absent = err;
	}
	if (done == level_count(session) && cluster_is_joined())
		session_note(session);
	return done;
}

/* Count a connection of @session for its networks of @n levels, and of length 0. */
static __always_inline void windows_add_levels(const struct cc_session *session,
					       const struct level *level, int n)
{
	struct cc_recent_key key = { .listener = session->listener, .family = session->family };
	struct moment now;

	moment_now(&now);
	recent_add(&key, &now);
#pragma clang loop unroll(disable)
	for (int i = 0; i < n; i++) {
		key.length = level[i].prefixlen - CC_COUNT_BITS_OWNER;
		key.addr[0] = session->addr[0] & level[i].mask[0];
		key.addr[1] = session->addr[1] & level[i].mask[1];
		key.addr[2] = session->addr[2] & level[i].mask[2];
		key.addr[3] = session->addr[3] & level[i].mask[3];
		recent_add(&key, &now);
	}
}

/*
 * windows_add() - count a connection in the windows of this moment. A global function, as
 * levels_add(). Returns 0.
 */
int windows_add(const struct cc_session *session)
{
	if (!session || !windows_are_kept())
		return 0;
	if (session->family == bpf_htons(CC_IPV6))
		windows_add_levels(session, levels[CC_FAMILY_INDEX(CC_IPV6)], LEVELS_IPV6);
	else
		windows_add_levels(session, levels[CC_FAMILY_INDEX(CC_IPV4)], LEVELS_IPV4);
	return 0;
}

/* Count @n more sessions that await their header. */
static __always_inline void awaiting_add(__u32 listener, __s64 n)
{
	struct cc_proxied *proxied = proxied_get(listener);

	if (proxied)
		__sync_fetch_and_add(&proxied->awaiting, n);
}

/* Count a session by its origin, when it starts (@n: 1) or ends (-1). */
static __always_inline void origin_add(const struct cc_session *session, __s64 n)
{
	struct cc_proxied *proxied;
	__u32 index = session->origin - 1; /* of CC_ORIGIN_DIRECT: out of range */

	if (index >= CC_ORIGINS - 1)
		return;
	proxied = proxied_get(bpf_ntohs(session->listener));
	if (!proxied)
		return;
	if (n > 0)
		__sync_fetch_and_add(&proxied->total[index], 1);
	if (index >= CC_ORIGIN_ABSENT - 1)
		__sync_fetch_and_add(&proxied->unidentified, n);
}

/*
 * Enter a session on every level; if that fails, on none, and as uncounted.
 * Returns its new state: CC_SESSION_COUNTED or CC_SESSION_UNCOUNTED.
 */
static __always_inline __u32 session_enter(const struct cc_session *session)
{
	struct cc_tally *tally =
		tally_get(bpf_ntohs(session->listener), bpf_ntohs(session->family));
	__u32 all = level_count(session);
	__u32 done = levels_add(session, all, 1, place_claim(session));

	if (!tally)
		return CC_SESSION_UNCOUNTED;
	origin_add(session, 1);
	if (done < all) {
		levels_add(session, done, -1, 0);
		uncounted_add(tally, 1);
		return CC_SESSION_UNCOUNTED;
	}
	__sync_fetch_and_add(&tally->live, 1);
	__sync_fetch_and_add(&tally->opened, 1);
	return CC_SESSION_COUNTED;
}

/*
 * Undo session_enter(), which returned @state, or session_await(), which set it. With any other
 * state there is nothing to undo.
 */
static __always_inline void session_leave(const struct cc_session *session, __u32 state)
{
	struct cc_tally *tally;

	if (CC_SESSION_IS_AWAITED(state))
		awaiting_add(state >> 16, -1);
	if (state != CC_SESSION_UNCOUNTED && state != CC_SESSION_COUNTED)
		return;
	tally = tally_get(bpf_ntohs(session->listener), bpf_ntohs(session->family));
	if (!tally)
		return;
	origin_add(session, -1);
	if (state == CC_SESSION_UNCOUNTED) {
		uncounted_add(tally, -1);
		return;
	}
	levels_add(session, level_count(session), -1, 0);
	__sync_fetch_and_add(&tally->live, -1);
	__sync_fetch_and_add(&tally->closed, 1);
}

/*
 * Claim a record in state @from, which is NEW or AWAITED, and write what to count it under. Returns
 * false if it was claimed, or ended, before. Two starters may disagree on the fields, if a load
 * comes between them: only the one that has the claim writes them, and nobody else reads them
 * before session_finish().
 */
static __always_inline bool session_claim(struct cc_session *session, __u32 from,
					  const struct cc_session *as)
{
	if (__sync_val_compare_and_swap(&session->state, from, CC_SESSION_STARTING) != from)
		return false;
	session->listener = as->listener;
	if (CC_SESSION_IS_AWAITED(from)) {
		session->listener = bpf_htons(from >> 16);
		awaiting_add(from >> 16, -1);
	}
	session->family = as->family;
	session->origin = as->origin;
	__builtin_memcpy(session->addr, as->addr, sizeof(session->addr));
	return true;
}

/* Set the state of a claimed record to @state; if its end came meanwhile, take it off again. */
static __always_inline void session_finish(struct cc_session *session, __u32 state)
{
	if (__sync_val_compare_and_swap(&session->state, CC_SESSION_STARTING, state) !=
	    CC_SESSION_STARTING)
		session_leave(session, state);
}

/* Have a session counted for the other end of its connection. */
static __always_inline void session_set_peer(struct cc_session *session,
					     const struct endpoint *peer)
{
	session->family = bpf_htons(peer->family);
	__builtin_memcpy(session->addr, peer->addr, sizeof(session->addr));
}

/*
 * session_look_up() - find what to count a connection under, in the active configuration.
 * @port: the local port, host byte order.
 * @ret: its state is AWAITED if the peer is a proxy, whose header may name the client. If the
 * session is started all the same, it is unidentified.
 * Returns false if it is on no listener; then @ret has only the peer.
 */
static __always_inline bool session_look_up(const struct endpoint *local, __u32 port,
					    const struct endpoint *peer, struct cc_session *ret)
{
	__be16 config = 0;
	struct cc_listener_id *listener = listener_find(local, port, &config);

	*ret = (struct cc_session){};
	session_set_peer(ret, peer);
	if (!listener)
		return false;
	ret->listener = bpf_htons(listener->id);
	if (proxy_find(listener, config, peer)) {
		ret->state = CC_SESSION_AWAITED_ON(listener->id);
		ret->origin = CC_ORIGIN_UNREAD;
	}
	return true;
}

/*
 * session_start() - count a session, unless its record says that it was started before. One that
 * awaits its header was not.
 * @session: the socket's record.
 * @as: what to count it under; its state is ignored, and the listener that an AWAITED state has is
 * preferred to its own.
 * Returns whether this call started it: then the caller calls session_opened().
 */
static __always_inline bool session_start(struct cc_session *session, const struct cc_session *as)
{
	bool claimed = session_claim(session, CC_SESSION_NEW, as);

	/* From NEW it may just have become AWAITED, but not the other way round. */
	if (!claimed) {
		__u32 state = *(volatile __u32 *)&session->state;

		claimed = CC_SESSION_IS_AWAITED(state) && session_claim(session, state, as);
	}
	if (claimed)
		session_finish(session, session_enter(session));
	return claimed;
}

/*
 * session_await() - have a session wait for its header, unless its record says that it was started
 * before.
 * @state: AWAITED, with the listener.
 */
static __always_inline void session_await(struct cc_session *session, __u32 state)
{
	if (__sync_val_compare_and_swap(&session->state, CC_SESSION_NEW, state) == CC_SESSION_NEW)
		awaiting_add(state >> 16, 1);
}

/*
 * session_opened() - count a connection in the windows of this moment, and for the limits that only
 * count, once: its session may start again (mptcp.bpf.h), and the set of maps that this one
 * replaces may share `recent`. The record that the other set made of the session then says so for
 * both. Ours says so, too: the set that replaces this one asks it, and so do our programs when they
 * are loaded again and share no more.
 * @sk: the socket of its record.
 */
static __always_inline void session_opened(void *sk, struct cc_session *session)
{
	struct cc_session *other = NULL;

	if ((!windows_are_kept() && !has_limits) || __sync_lock_test_and_set(&session->opened, 1))
		return;
	if (has_limits)
		limits_log(session);
	if (!windows_are_kept())
		return;
	if (has_former && windows_shared)
		other = bpf_sk_storage_get(&former, sk, NULL, 0);
	if (!other || !__sync_lock_test_and_set(&other->opened, 1))
		windows_add(session);
}

/* session_refuse() - start a session that cannot be counted, as uncounted. */
static __always_inline void session_refuse(struct cc_session *session, const struct cc_session *as)
{
	struct cc_tally *tally = tally_get(bpf_ntohs(as->listener), bpf_ntohs(as->family));

	if (!tally || !session_claim(session, CC_SESSION_NEW, as))
		return;
	uncounted_add(tally, 1);
	session_finish(session, CC_SESSION_UNCOUNTED);
}

/*
 * untracked_start() - start a session whose socket got no storage for a record, as uncounted. If
 * the map is full as well, the session is lost: its end would look like that of any other socket.
 * @cookie: the socket's.
 * @seeds: as in connection_start().
 */
static __always_inline void untracked_start(__u64 cookie, const struct cc_session *as, bool seeds)
{
	struct cc_untracked session = { .listener = as->listener, .family = as->family };
	struct cc_tally *tally = tally_get(bpf_ntohs(as->listener), bpf_ntohs(as->family));
	struct cc_fill *entry = fill_get();
	int err = (int)bpf_map_update_elem(&untracked, &cookie, &session, BPF_NOEXIST);

	if (!tally || !entry || err == -EEXIST)
		return;
	if (!seeds && windows_are_kept())
		windows_add(as);
	if (err) {
		lost_add(tally);
		return;
	}
	uncounted_add(tally, 1);
	__sync_fetch_and_add(&entry->untracked, 1);
}

/*
 * untracked_end() - end a session that may be untracked. The deletion of its entry succeeds once:
 * for the event that came first.
 */
static __always_inline void untracked_end(__u64 cookie)
{
	struct cc_fill *entry = fill_get();
	struct cc_untracked *found, session;
	struct cc_tally *tally;

	found = bpf_map_lookup_elem(&untracked, &cookie);
	if (!found || !entry)
		return;
	session = *found; /* the map reuses the memory as soon as the entry is deleted */
	if (bpf_map_delete_elem(&untracked, &cookie))
		return;
	__sync_fetch_and_add(&entry->untracked, -1);
	tally = tally_get(bpf_ntohs(session.listener), bpf_ntohs(session.family));
	if (tally)
		uncounted_add(tally, -1);
}

/* Whether any session is untracked: otherwise the look-up by cookie can be saved. */
static __always_inline bool untracked_exist(void)
{
	struct cc_fill *entry = fill_get();

	return entry && *(volatile __s64 *)&entry->untracked;
}

/*
 * session_end() - stop counting a session, unless it ended before.
 * Returns the old state of its record.
 */
static __always_inline __u32 session_end(struct cc_session *session)
{
	__u32 state = __sync_lock_test_and_set(&session->state, CC_SESSION_ENDED);

	session_leave(session, state);
	return state;
}

#endif
