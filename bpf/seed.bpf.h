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

#include "sessions.bpf.h"
#include "sockets.bpf.h"

enum {
	SOL_TCP = 6,
	TCP_BPF_SOCK_OPS_CB_FLAGS = 1008,
};

/* What the iterators are told, and tell; set by `load` and `verify` before each run. */
struct {
	__u64 cgroup;      /* id of the cgroup that is counted in */
	__u32 netns;       /* inode number of the asker's network namespace */
	__u32 last_chance; /* enter also what can only be entered as uncounted */
	__u64 waiting;     /* out: sessions left for a later run: still in an accept queue */
} scan = {};

/* Ask for a call when a socket's state changes, as on_established() does. */
static __always_inline bool socket_watch(struct tcp_sock *tp)
{
	int flags = tp->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG;

	return !bpf_setsockopt(tp, SOL_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS, &flags, sizeof(flags));
}

/* Whether a process has accepted the connection: until then the socket has no file. */
static __always_inline bool socket_is_accepted(struct tcp_sock *tp)
{
	return ((struct sock *)tp)->sk_socket;
}

/* Count a session that was open before, or leave it for a later run: false. */
static __always_inline bool session_seed(struct tcp_sock *tp, struct cc_session *session,
					 const struct cc_session *as)
{
	/*
	 * Before Linux 6.12 the state of an existing socket cannot be watched. One that was
	 * accepted ends by its release all the same. One that was not, and never is, would
	 * end without a trace when its listener closes: it is counted once it is accepted.
	 */
	if (socket_watch(tp) || socket_is_accepted(tp)) {
		session_start(session, as);
	} else if (scan.last_chance) {
		session_refuse(session, as);
	} else {
		scan.waiting++;
		return false;
	}
	return true;
}

/*
 * The listener and peer of a session, in @ret: what its record says, or else what the table
 * in force says. False if the socket is no session on any listener.
 */
static __always_inline bool session_identify(struct tcp_sock *tp, const struct cc_session *session,
					     struct cc_session *ret)
{
	struct endpoint local = {}, peer = {};
	struct cc_listener_id *listener;

	if (session && session->state != CC_SESSION_NEW) {
		*ret = *session;
		if (ret->family)
			return true;
	}
	socket_endpoints(tp, &local, &peer);
	listener = listener_find(&local, ((struct sock_common *)tp)->skc_num);
	if (!listener)
		return false;
	*ret = (struct cc_session){
		.listener = bpf_htons(listener->id),
		.family = bpf_htons(peer.family),
		.addr = { peer.addr[0], peer.addr[1], peer.addr[2], peer.addr[3] },
	};
	return true;
}

/* Enter the sessions that have no record. Writes a byte for each, for progress to be seen. */
SEC("iter/tcp")
int conncount_seed(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct tcp_sock *tp = skc ? bpf_skc_to_tcp_sock(skc) : NULL;
	struct cc_session *session, as;
	__u8 byte = 0;

	if (!tp)
		return 0;
	session = bpf_sk_storage_get(&sessions, tp, NULL, 0);
	if (socket_is_dead(tp)) {
		/*
		 * Its release began before ours was attached and ended after a run had
		 * entered it.
		 */
		if (session)
			session_end(session);
		return 0;
	}
	if (session && session->state != CC_SESSION_NEW)
		return 0;
	if (!socket_is_session(tp) || !session_identify(tp, NULL, &as) ||
	    !socket_in_cgroup(tp, scan.cgroup))
		return 0;
	if (!session)
		session = bpf_sk_storage_get(&sessions, tp, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!session)
		stray_start(bpf_get_socket_cookie(tp), &as);
	else if (session_seed(tp, session, &as))
		bpf_seq_write(ctx->meta->seq, &byte, sizeof(byte));
	return 0;
}

/* Write all sessions as struct cc_scanned, whether they are counted or not. */
SEC("iter/tcp")
int conncount_scan(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct tcp_sock *tp = skc ? bpf_skc_to_tcp_sock(skc) : NULL;
	struct cc_session *session, as;

	if (!tp || !socket_is_session(tp))
		return 0;
	session = bpf_sk_storage_get(&sessions, tp, NULL, 0);
	if (!session_identify(tp, session, &as) || !socket_in_cgroup(tp, scan.cgroup))
		return 0;

	struct cc_scanned out = {
		.cookie = bpf_get_socket_cookie(tp),
		.listener = bpf_ntohs(as.listener),
		.family = bpf_ntohs(as.family),
		.addr = { as.addr[0], as.addr[1], as.addr[2], as.addr[3] },
	};

	bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
	return 0;
}

/*
 * Write the TCP sockets of all processes that are in another network namespace than the
 * asker, as struct cc_found: so that it finds every namespace where sessions may be open.
 */
SEC("iter/task_file")
int conncount_find(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct task_struct *task = ctx->task;
	struct socket *sock;
	struct sock *sk;

	if (!file || !task)
		return 0;
	sock = bpf_sock_from_file(file);
	sk = sock ? sock->sk : NULL;
	if (!sk ||
	    (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6) ||
	    sk->sk_type != SOCK_STREAM)
		return 0;

	struct cc_found out = {
		.netns = socket_netns(sk),
		.pid = task->tgid,
		.fd = ctx->fd,
	};

	if (out.netns != scan.netns)
		bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
	return 0;
}

#endif
