// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * conncount.bpf.c - all programs. Two count: a connection when its handshake is done, until its
 * socket is released or closed, whichever comes first. A third reads the headers of connections
 * that come from proxies, if a listener has any. They are attached to a cgroup: the kernel never
 * skips a cgroup program because it is already active on the same CPU, as it does with tracing
 * programs. Two more refuse connections, if a listener has limits.
 */
#include "find.bpf.h"
#include "gates.bpf.h"
#include "headers.bpf.h"
#include "seed.bpf.h"
#include "sum.bpf.h"

/* --- attached to a cgroup: count connections as they open and close ----------------------------
 */

static __always_inline void endpoints_get(struct bpf_sock_ops *ctx, struct endpoint *local,
					  struct endpoint *peer)
{
	local->family = peer->family = ctx->family;
	if (ctx->family == CC_IPV4) {
		local->addr[0] = ctx->local_ip4;
		peer->addr[0] = ctx->remote_ip4;
		return;
	}
	local->addr[0] = ctx->local_ip6[0];
	local->addr[1] = ctx->local_ip6[1];
	local->addr[2] = ctx->local_ip6[2];
	local->addr[3] = ctx->local_ip6[3];
	endpoint_unmap(local);
	peer->addr[0] = ctx->remote_ip6[0];
	peer->addr[1] = ctx->remote_ip6[1];
	peer->addr[2] = ctx->remote_ip6[2];
	peer->addr[3] = ctx->remote_ip6[3];
	endpoint_unmap(peer);
}

/* Whether a socket is connected to itself: such a connection has no listener. */
static __always_inline bool is_itself(struct bpf_sock_ops *ctx, const struct endpoint *local,
				      const struct endpoint *peer)
{
	return ctx->local_port == bpf_ntohl(ctx->remote_port) && endpoint_has_address(local, peer);
}

/*
 * Whether a connection is a simultaneous open: two sockets that called connect(2) to each other.
 * Such a socket has a file already. A listener's child has none before it is accepted, unless it
 * joins a session of MPTCP.
 */
static __always_inline bool is_mutual(struct bpf_sock *sk, const struct sock *msk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	return tp && (socket_is_bound(tp) || (!msk && socket_accepted(tp)));
}

/* Whether sockets of this network namespace are counted. */
static __always_inline bool is_counted_here(struct bpf_sock_ops *ctx)
{
	return !counted_netns || bpf_get_netns_cookie(ctx) == counted_netns;
}

/* Have us called on every change of state: only sockets of our listeners pay for that. */
static __always_inline void watch(struct bpf_sock_ops *ctx)
{
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/*
 * Put what to count a new connection under into @ret. Returns false if it is not to be counted. A
 * function of its own, as session_identify().
 */
static __noinline bool identify(struct bpf_sock_ops *ctx, struct cc_session *ret)
{
	struct endpoint local = {}, peer = {};

	endpoints_get(ctx, &local, &peer);
	if (is_itself(ctx, &local, &peer) || !session_look_up(&local, ctx->local_port, &peer, ret))
		return false;
	if (CC_SESSION_IS_AWAITED(ret->state))
		header_take(ctx, &peer, ret);
	return true;
}

/* The MPTCP socket of a subflow; NULL for plain TCP. */
static __always_inline struct sock *mptcp_get(struct bpf_sock *sk)
{
	if (!bpf_core_field_exists(struct tcp_sock, is_mptcp))
		return NULL;
	return (struct sock *)bpf_skc_to_mptcp_sock(sk);
}

/* A handshake on a listening socket is done. Count the connection if the listener is ours. */
static __always_inline void on_established(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock *msk = sk ? mptcp_get(sk) : NULL;
	struct sock_common *skc = (struct sock_common *)msk;
	struct cc_session as;
	bool ours;

	if (!sk || !is_counted_here(ctx))
		return;
	/*
	 * The session has the addresses of its first subflow, and a further one may have others.
	 * (On Linux 6.1 the MPTCP socket has them only once it is accepted.)
	 */
	if (msk && socket_has_peer(skc))
		ours = session_identify(skc, record_get(msk, 0), &as);
	else
		ours = identify(ctx, &as);
	if (!ours || is_mutual(sk, msk))
		return;
	watch(ctx);
	connection_start(sk, msk, ctx, &as, false);
}

/*
 * An outgoing connection is established. It may be a subflow that our side of a session of MPTCP
 * has opened, in the session's own network namespace.
 */
static __always_inline void on_connected(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock *msk = sk ? mptcp_get(sk) : NULL;
	struct cc_session *session = msk ? record_get(msk, 0) : NULL;
	struct cc_session as;

	if (!sk || !session || !session_identify((struct sock_common *)msk, session, &as))
		return;
	watch(ctx);
	connection_start(sk, msk, ctx, &as, false);
}

/*
 * The peer of a session has closed its side. If the session awaits its header, that no longer
 * comes: count it under the proxy. A function of its own, as session_identify().
 */
static __noinline void on_peer_closed(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
				      struct cc_session *session)
{
	struct endpoint local = {}, peer = {};
	struct cc_session as = { .origin = CC_ORIGIN_ABSENT };

	if (!CC_SESSION_IS_AWAITED(*(volatile __u32 *)&session->state))
		return;
	endpoints_get(ctx, &local, &peer);
	session_set_peer(&as, &peer);
	if (session_start(session, &as))
		session_opened(sk, session);
}

/* A socket with the callback flag, ours or another program's, changes its TCP state. */
static __always_inline void on_state(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct cc_session *own;
	struct sock *msk;

	if (!sk || (ctx->args[1] != BPF_TCP_CLOSE && ctx->args[1] != BPF_TCP_CLOSE_WAIT))
		return;
	own = record_get(sk, 0);
	if (ctx->args[1] == BPF_TCP_CLOSE_WAIT) {
		if (own)
			on_peer_closed(ctx, sk, own);
		return;
	}
	if (!own) {
		if (untracked_exist())
			untracked_end(bpf_get_socket_cookie(ctx));
		return;
	}
	if (session_end(own) != CC_SESSION_SUBFLOW)
		return;
	msk = mptcp_get(sk);
	subflow_end(own, msk ? record_get(msk, 0) : NULL);
}

SEC("sockops")
int conncount_sockops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_established(ctx);
		if (has_limits)
			place_drop(); /* that of a connection that was not counted */
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		on_connected(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		on_state(ctx);
		break;
	}
	return 1;
}

/*
 * A socket without a record is released. It may be an untracked session. And while a load enters
 * the sessions that were open before, it may be one of those, about to be entered: it gets a record
 * that says ENDED. Its address cannot be read here, so every TCP socket gets one.
 */
static __always_inline void on_unknown_release(struct bpf_sock *sk)
{
	struct cc_control *control = control_get();
	struct cc_session *session;

	if (sk->protocol != IPPROTO_TCP && sk->protocol != IPPROTO_MPTCP)
		return;
	if (untracked_exist())
		untracked_end(bpf_get_socket_cookie(sk));
	if (!control || !*(volatile __u32 *)&control->seeding)
		return;
	session = record_get(sk, BPF_SK_STORAGE_GET_F_CREATE);
	if (session)
		session_end(session);
}

/* The last file descriptor of a socket is closed, perhaps because its process died. */
SEC("cgroup/sock_release")
int conncount_release(struct bpf_sock *sk)
{
	struct cc_session *session = record_get(sk, 0);

	if (!session)
		on_unknown_release(sk);
	else if (session_end(session) == CC_SESSION_SUBFLOW)
		subflow_end(session, NULL);
	return 1;
}

/* A packet for a socket. Never drops it. */
SEC("cgroup_skb/ingress")
int conncount_ingress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct bpf_tcp_sock *tp;

	sk = sk ? bpf_sk_fullsock(sk) : NULL;
	if (!sk || sk->protocol != IPPROTO_TCP)
		return 1;
	if (sk->state == BPF_TCP_LISTEN) {
		header_keep(skb);
		return 1;
	}
	/* First of all: of most sockets this is the last question. */
	tp = bpf_tcp_sock(sk);
	if (tp && !tp->bytes_received)
		header_arrives(skb, sk, tp->rcv_nxt);
	return 1;
}

/* --- gates: refuse connections (gates.bpf.h) ----------------------------------------------------
 */

/* A packet for a socket. Drops the end of a handshake if the connection is over a limit. */
SEC("cgroup_skb/ingress")
int conncount_ack_gate(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	/* First of all: of packets of connections this is the only question. */
	if (!sk || sk->state != BPF_TCP_LISTEN)
		return 1;
	return packet_is_admitted(skb, sk);
}

/* A function of its own for each family: the compiler would merge the reads of both. */
static __noinline void ipv6_endpoints(struct bpf_sk_lookup *ctx, struct endpoint *local,
				      struct endpoint *peer)
{
	local->addr[0] = ctx->local_ip6[0];
	local->addr[1] = ctx->local_ip6[1];
	local->addr[2] = ctx->local_ip6[2];
	local->addr[3] = ctx->local_ip6[3];
	peer->addr[0] = ctx->remote_ip6[0];
	peer->addr[1] = ctx->remote_ip6[1];
	peer->addr[2] = ctx->remote_ip6[2];
	peer->addr[3] = ctx->remote_ip6[3];
}

/* The kernel looks for the listener of a packet: there is none for a SYN over a limit. */
SEC("sk_lookup")
int conncount_syn_gate(struct bpf_sk_lookup *ctx)
{
	struct endpoint local = { .family = ctx->family }, peer = { .family = ctx->family };
	struct arrival arrival = {};

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	if (ctx->family == CC_IPV6) {
		ipv6_endpoints(ctx, &local, &peer);
	} else {
		local.addr[0] = ctx->local_ip4;
		peer.addr[0] = ctx->remote_ip4;
	}
	if (arrival_find(&local, ctx->local_port, &peer, &arrival) && syn_is_refused(&arrival))
		return SK_DROP;
	return SK_PASS;
}

/* --- iterators over sockets (seed.bpf.h) ------------------------------------------- */

/*
 * Enter the connections that have no record. Writes a byte for each, to show progress.
 */
SEC("iter/tcp")
int conncount_seed(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct tcp_sock *tp = skc ? bpf_skc_to_tcp_sock(skc) : NULL;
	struct sock *msk = tp ? socket_mptcp(tp) : NULL;
	struct cc_session *own, as;
	__u8 byte = 0;

	if (!tp)
		return 0;
	own = record_get(tp, 0);
	if (socket_is_dead(socket_holder(tp, msk))) {
		/*
		 * Its release began before our release program was attached, and ended after a
		 * run had entered it. (A session of MPTCP ends with its last subflow.)
		 */
		if (own && !msk)
			session_end(own);
		return 0;
	}
	if (own && own->state != CC_SESSION_NEW && !CC_SESSION_IS_AWAITED(own->state))
		return 0;
	if (!socket_is_session(tp, msk) || !socket_in_cgroup(tp, scan.cgroup) ||
	    !connection_to_seed(tp, msk, own, &as))
		return 0;
	if (connection_seed(tp, msk, own, &as))
		bpf_seq_write(ctx->meta->seq, &byte, sizeof(byte));
	return 0;
}

/*
 * Write all sessions, counted or not, as struct cc_scanned. A session of several subflows is
 * written once for each.
 */
SEC("iter/tcp")
int conncount_scan(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct tcp_sock *tp = skc ? bpf_skc_to_tcp_sock(skc) : NULL;
	struct sock *msk = tp ? socket_mptcp(tp) : NULL;
	struct cc_session *own, as;

	if (!tp || !socket_is_session(tp, msk) || !socket_in_cgroup(tp, scan.cgroup))
		return 0;
	own = record_get(tp, 0);
	if (own && CC_SESSION_IS_AWAITED(own->state))
		as = (struct cc_session){ .listener = bpf_htons(own->state >> 16) };
	else if (!connection_identify(tp, msk, own, &as))
		return 0;

	struct cc_scanned out = {
		.id = msk ? (__u64)msk : bpf_get_socket_cookie(tp),
		.listener = bpf_ntohs(as.listener),
		.family = bpf_ntohs(as.family),
		.addr = { as.addr[0], as.addr[1], as.addr[2], as.addr[3] },
	};

	bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
	return 0;
}

/* --- run by `load` and `verify`, to find network namespaces (find.bpf.h) -------------------- */

/* Write the kernel's hash tables of connections to `hash_tables`: usually one for all. */
SEC("raw_tp")
int conncount_tables(void *unused)
{
	struct net___conncount *own = net_own();
	struct nets nets = { .own = own, .at = own, .ops = BPF_CORE_READ(own, ns.ops) };

	(void)unused;
	bpf_loop(NETS_MOST, net_visit, &nets, 0);
	if (nets.full)
		return CC_FIND_FULL;
	return nets.at == own ? CC_FIND_DONE : CC_FIND_AGAIN;
}

/*
 * Write the network namespaces of the sessions in some buckets of a table to `netns_found`. Returns
 * CC_FIND_GONE if the namespace by which the table was found no longer exists.
 */
SEC("raw_tp")
int conncount_look(const struct cc_look *ask)
{
	struct net___conncount *net = (void *)ask->net;
	struct look look = {
		.buckets = BPF_CORE_READ(net, ipv4.tcp_death_row.hashinfo, ehash),
		.own = net_own(),
		.first = ask->first,
		.result = CC_FIND_DONE,
	};

	if (BPF_CORE_READ(net, net_cookie) != ask->cookie)
		return CC_FIND_GONE;
	bpf_loop(ask->n, look_at_bucket, &look, 0);
	return look.result;
}

/* Write the network namespaces of listening sockets in the counted cgroup to `netns_found`. */
SEC("iter/task_file")
int conncount_listening(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct socket *sock = file ? bpf_sock_from_file(file) : NULL;
	struct sock *sk = sock ? sock->sk : NULL;
	__u32 number, one = 1;

	if (!sk || sk->__sk_common.skc_state != BPF_TCP_LISTEN ||
	    (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6) ||
	    (void *)sk->__sk_common.skc_net.net == (void *)net_own() ||
	    !socket_in_cgroup((struct tcp_sock *)sk, scan.cgroup))
		return 0;
	number = socket_netns(sk);
	bpf_map_update_elem(&netns_found, &number, &one, BPF_ANY);
	return 0;
}

/* Write the files of all threads by which a process can enter the namespaces in `netns_found`. */
SEC("iter/task_file")
int conncount_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	bool is_socket;
	__u32 number;

	if (!file || !task)
		return 0;
	number = file_netns(file, &is_socket);
	if (!number || !bpf_map_lookup_elem(&netns_found, &number))
		return 0;

	struct cc_found out = {
		.netns = number,
		.pid = task_number(BPF_CORE_READ(task, group_leader, thread_pid)),
		.tid = task_number(BPF_CORE_READ(task, thread_pid)),
		.fd = ctx->fd,
		.is_socket = is_socket,
	};

	bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
	return 0;
}

/* --- run by `load`, when no gate is left ------------------------------------------------------ */

/* Give back all places: their handshakes have failed. */
SEC("raw_tp")
int conncount_reclaim(void *unused)
{
	struct place_sweep all = { .all = true };

	(void)unused;
	bpf_loop(places_max, place_sweep, &all, 0);
	return 0;
}

/* --- run by readers (sum.bpf.h) ----------------------------------------------------------------
 */

SEC("raw_tp")
int conncount_sum(const struct cc_sum *question)
{
	struct cc_count_key key;
	struct sum sum = {};
	__u32 zero = 0, result;

	if (question->mark != CC_SUM_MARK)
		return 0;
	key = question->network;
	sum.network[0] = (__u64)bpf_ntohs(key.listener) << 48 | (__u64)bpf_ntohs(key.family) << 32 |
			 bpf_ntohl(key.addr[0]);
	sum.network[1] = (__u64)bpf_ntohl(key.addr[1]) << 32 | bpf_ntohl(key.addr[2]);
	sum.network[2] = (__u64)bpf_ntohl(key.addr[3]) << 32;
	sum.length = key.prefixlen;
	sum.level = question->level;
	sum.most = question->most;
	sum.node = (__u64)((struct lpm_trie *)&counts)->root;
	/* The verifier refuses a choice between two maps, which the compiler would make of it. */
	barrier_var(sum.node);
	if (key.listener == bpf_htons(CC_LISTENER_REMOTE))
		sum.node = (__u64)((struct lpm_trie *)&remote)->root;
	sum.waiting = bpf_map_lookup_elem(&waiting, &zero);
	if (!sum.waiting || sum.length > KEY_BITS || !node_is_known())
		return 0;
	/* Nothing else runs on the CPU during a test run; if a kernel changes that, nobody waits.
	 */
	if (__sync_val_compare_and_swap(&sum.waiting->busy, 0, 1))
		return 0;
	result = sum_take(&sum);
	__sync_lock_test_and_set(&sum.waiting->busy, 0);
	return result;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
