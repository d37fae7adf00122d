/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * find.bpf.h - find the other network namespaces that have sessions, and a way into each.
 *
 * An iterator over TCP sockets sees one network namespace (seed.bpf.h). The kernel's hash tables of
 * connections have the sockets of all namespaces, wherever they are held: by a process, by file
 * descriptors in flight, or only in an accept queue. So the tables say which namespaces have
 * sessions. Processes, with their files and mounts, are only the way into those.
 *
 * `load` and `verify` run the first two programs by BPF_PROG_TEST_RUN, in place of a tracepoint: in
 * an RCU read section. They read by probes. A session that the kernel adds meanwhile was not open
 * before: the programs on the cgroup count it.
 */
#ifndef CONNCOUNT_FIND_BPF_H
#define CONNCOUNT_FIND_BPF_H

#include "seed.bpf.h"

enum {
	NSFS_MAGIC = 0x6e736673,

	/* More than any host has: a limit that loops need. */
	NETS_MOST = 1 << 20,
	CHAIN_MOST = 1 << 20,
};

/* Kernel types: only the fields that are read here. */
struct upid {
	int nr;
} __attribute__((preserve_access_index));

struct pid {
	unsigned level;
	struct upid numbers[];
} __attribute__((preserve_access_index));

struct nsproxy___conncount {
	struct net___conncount *net_ns;
} __attribute__((preserve_access_index));

struct task_struct___conncount {
	struct nsproxy___conncount *nsproxy;
} __attribute__((preserve_access_index));

struct super_block___conncount {
	unsigned long s_magic;
} __attribute__((preserve_access_index));

struct inode___conncount {
	struct super_block___conncount *i_sb;
	unsigned long i_ino;
} __attribute__((preserve_access_index));

struct file___conncount {
	struct inode___conncount *f_inode;
} __attribute__((preserve_access_index));

/* The network namespace of the process that runs the program. */
static __always_inline struct net___conncount *net_own(void)
{
	return BPF_CORE_READ((struct task_struct___conncount *)bpf_get_current_task(), nsproxy,
			     net_ns);
}

/* --- hash tables of connections ------------------------------------------------------------- */

/* Out: inode number of the initial network namespace, the first in the kernel's list. */
__u32 first_netns = 0;

struct nets {
	struct net___conncount *own, *at;
	const struct proc_ns_operations *ops; /* the same in every network namespace */
	bool full;
};

/* The namespace after @net in the kernel's list; or the list's head, taken for a namespace. */
static __always_inline struct net___conncount *net_next(struct net___conncount *net)
{
	return (void *)BPF_CORE_READ(net, list.next) -
	       bpf_core_field_offset(struct net___conncount, list);
}

/* Record the table of a namespace, and go on to the next; for bpf_loop(). */
static long net_visit(__u32 index, struct nets *nets)
{
	struct net___conncount *net = nets->at;
	struct inet_hashinfo___conncount *hashinfo =
		BPF_CORE_READ(net, ipv4.tcp_death_row.hashinfo);
	__u64 key = (__u64)hashinfo;
	struct cc_hash_table table = {
		.net = (__u64)net,
		.cookie = BPF_CORE_READ(net, net_cookie),
		.buckets = BPF_CORE_READ(hashinfo, ehash_mask) + 1ULL,
	};

	(void)index;
	if (bpf_map_update_elem(&hash_tables, &key, &table, BPF_ANY))
		nets->full = true;
	net = net_next(net);
	if (BPF_CORE_READ(net, ns.ops) != nets->ops) {
		net = net_next(net); /* that was the head */
		first_netns = BPF_CORE_READ(net, ns.inum);
	}
	nets->at = net;
	return net == nets->own || nets->full;
}

/* --- namespaces that have sessions ---------------------------------------------------------- */

struct look {
	struct inet_ehash_bucket___conncount *buckets;
	struct net___conncount *own;
	__u64 first;
	unsigned long at; /* a socket's node, or the end of a chain */
	__u32 result;
};

/* Record the namespace of a socket, if it is another one and the socket is a session. */
static __always_inline void look_at_socket(struct look *look, struct sock_common *skc)
{
	struct net___conncount *net = (void *)BPF_CORE_READ(skc, skc_net.net);
	struct tcp_sock *tp = (struct tcp_sock *)skc;
	__u32 number, ours, *found;
	struct cc_session as;
	struct sock *msk;

	if (net == look->own)
		return;
	msk = socket_mptcp(tp);
	if (!socket_is_session(tp, msk) || !socket_in_cgroup(tp, scan.cgroup))
		return;
	ours = session_identify(skc, NULL, &as);
	number = BPF_CORE_READ(net, ns.inum);
	found = bpf_map_lookup_elem(&netns_found, &number);
	if (found)
		*found |= ours;
	else if (bpf_map_update_elem(&netns_found, &number, &ours, BPF_ANY))
		look->result = CC_FIND_FULL;
}

/* Look at a socket of a chain; for bpf_loop(). */
static long look_on(__u32 index, struct look *look)
{
	struct hlist_nulls_node *node = (void *)look->at;

	(void)index;
	if (look->at & 1)
		return 1;
	look_at_socket(look,
		       (void *)node - bpf_core_field_offset(struct sock_common, skc_nulls_node));
	look->at = (unsigned long)BPF_CORE_READ(node, next);
	return !look->at;
}

/*
 * Look at a bucket's chain; for bpf_loop(). A chain ends in its bucket's number. If it ends in
 * another bucket's number, a socket moved to that chain while we were at it.
 */
static long look_at_bucket(__u32 index, struct look *look)
{
	__u64 bucket = look->first + index;
	struct inet_ehash_bucket___conncount *at =
		(void *)look->buckets +
		bucket * bpf_core_type_size(struct inet_ehash_bucket___conncount);

	look->at = (unsigned long)BPF_CORE_READ(at, chain.first);
	bpf_loop(CHAIN_MOST, look_on, look, 0);
	if (look->at != (bucket << 1 | 1) && look->result == CC_FIND_DONE)
		look->result = CC_FIND_AGAIN;
	return look->result == CC_FIND_FULL;
}

/* --- files by which a namespace can be entered
 * ------------------------------------------------------- */

/* The id of a thread or process, in the PID namespace of the process that runs the program. */
static __always_inline __u32 task_number(struct pid *pid)
{
	struct task_struct *asker = (struct task_struct *)bpf_get_current_task();
	unsigned level = BPF_CORE_READ(asker, thread_pid, level);
	int number = 0;

	bpf_probe_read_kernel(&number, sizeof(number),
			      (void *)pid + bpf_core_field_offset(struct pid, numbers) +
				      level * bpf_core_type_size(struct upid) +
				      bpf_core_field_offset(struct upid, nr));
	return number;
}

/* The network namespace of a file that is a TCP socket or a namespace handle; 0 for others. */
static __always_inline __u32 file_netns(struct file *file, bool *ret_is_socket)
{
	struct inode___conncount *inode;
	struct socket *sock = bpf_sock_from_file(file);
	struct sock *sk = sock ? sock->sk : NULL;

	*ret_is_socket = sk;
	if (sk) {
		if (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6)
			return 0;
		return sk->sk_type == SOCK_STREAM ? socket_netns(sk) : 0;
	}
	inode = BPF_CORE_READ((struct file___conncount *)file, f_inode);
	return BPF_CORE_READ(inode, i_sb, s_magic) == NSFS_MAGIC ? BPF_CORE_READ(inode, i_ino) : 0;
}

#endif
