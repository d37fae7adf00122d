// SPDX-License-Identifier: BSD-2-Clause
/*
 * queues.c - the accept queues of the listeners' sockets, from the kernel's socket diagnostics.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

#include "cgroup_mount.h"
#include "queues.h"

enum { STATE_LISTEN = 10 }; /* TCP_LISTEN, which <netinet/tcp.h> has beside much else */

struct queues {
	struct accept_queue *queues;
	size_t n;
};

static bool same_place(const struct conncount_listen *a, const struct conncount_listen *b)
{
	return a->port == b->port && a->addr.family == b->addr.family &&
	       a->addr.prefixlen == b->addr.prefixlen &&
	       !memcmp(a->addr.addr, b->addr.addr, sizeof(a->addr.addr));
}

/* Whether @outer is all of @inner, or more. */
static bool covers(const struct conncount_listen *outer, const struct conncount_listen *inner)
{
	if (same_place(outer, inner))
		return true;
	return outer->port == inner->port &&
	       (!outer->addr.family ||
		(outer->addr.family == inner->addr.family && !outer->addr.prefixlen));
}

/* Whether @other is more specific than @one, and has @part of it for its own. */
static bool takes(const struct conncount_listen *other, const struct conncount_listen *one,
		  const struct conncount_listen *part)
{
	return covers(one, other) && !same_place(one, other) && covers(other, part);
}

/* The queue of that listener and socket; or NULL. */
static struct accept_queue *find(const struct queues *all, const struct conncount_listen *at)
{
	for (size_t i = 0; i < all->n; i++)
		if (same_place(&all->queues[i].at, at) && !strcmp(all->queues[i].at.name, at->name))
			return &all->queues[i];
	return NULL;
}

static int append(struct queues *all, const struct accept_queue *queue)
{
	void *grown = realloc(all->queues, (all->n + 1) * sizeof(*all->queues));

	if (!grown)
		return -ENOMEM;
	all->queues = grown;
	all->queues[all->n++] = *queue;
	return 0;
}

/* --- which sockets are counted --------------------------------------------------------- */

/* The cgroups that are counted in, by the kernel's numbers: those of their directories. */
struct cgroups {
	uint64_t *ids;
	size_t n;
	bool all; /* whatever cgroup it is */
};

static int add_cgroup(struct cgroups *cgroups, uint64_t id)
{
	void *grown = realloc(cgroups->ids, (cgroups->n + 1) * sizeof(*cgroups->ids));

	if (!grown)
		return -ENOMEM;
	cgroups->ids = grown;
	cgroups->ids[cgroups->n++] = id;
	return 0;
}

/* Find the cgroup that is counted in and those in it. Where it cannot be seen from here, nothing is
 * known. */
static int find_cgroups(const struct conncount_state *state, struct cgroups *ret_cgroups)
{
	struct cgroups cgroups = { .all = false };
	char mount[PATH_MAX], full[2 * PATH_MAX];
	char *paths[] = { full, NULL };
	FTSENT *entry;
	FTS *tree;
	int err = 0;

	if (strcmp(state->cgroup, "/") && !cgroup2_mount_of(state->cgroup_root_id, mount)) {
		snprintf(full, sizeof(full), "%s%s", mount, state->cgroup);
		tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
		if (!tree)
			return -errno;
		while (!err && (entry = fts_read(tree)))
			if (entry->fts_info == FTS_D)
				err = add_cgroup(&cgroups, entry->fts_statp->st_ino);
		fts_close(tree);
	}
	if (err) {
		free(cgroups.ids);
		return err;
	}
	cgroups.all = !cgroups.n;
	*ret_cgroups = cgroups;
	return 0;
}

/* --- what the kernel says --------------------------------------------------------------- */

struct dump {
	const struct conncount_listen *listens;
	size_t n_listens;
	struct cgroups cgroups;
	struct queues sockets; /* without a listener's name */
	struct queues others;  /* the same, of cgroups that are not counted in */
	int err;
};

static bool has_port(const struct dump *dump, uint16_t port)
{
	for (size_t i = 0; i < dump->n_listens; i++)
		if (dump->listens[i].port == port)
			return true;
	return false;
}

/* What is told of a socket beside the fixed part; or NULL. */
static const struct nlattr *find_attribute(const struct nlmsghdr *message, uint16_t type,
					   size_t size)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, message, sizeof(struct inet_diag_msg))
		if (mnl_attr_get_type(attr) == type && mnl_attr_get_payload_len(attr) >= size)
			return attr;
	return NULL;
}

static bool is_ipv6_only(const struct nlmsghdr *message)
{
	const struct nlattr *attr = find_attribute(message, INET_DIAG_SKV6ONLY, 1);

	return attr && mnl_attr_get_u8(attr);
}

static bool is_counted(const struct nlmsghdr *message, const struct cgroups *cgroups)
{
	const struct nlattr *attr = find_attribute(message, INET_DIAG_CGROUP_ID, sizeof(uint64_t));

	if (cgroups->all || !attr)
		return true;
	for (size_t i = 0; i < cgroups->n; i++)
		if (cgroups->ids[i] == mnl_attr_get_u64(attr))
			return true;
	return false;
}

/* Where a socket listens, in the terms of the configuration. */
static void read_place(const struct nlmsghdr *message, struct conncount_listen *ret)
{
	const struct inet_diag_msg *socket = mnl_nlmsg_get_payload(message);
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	bool any;

	memset(ret, 0, sizeof(*ret));
	ret->port = ntohs(socket->id.idiag_sport);
	if (socket->idiag_family == AF_INET) {
		memcpy(&v4.sin_addr, socket->id.idiag_src, sizeof(v4.sin_addr));
		any = v4.sin_addr.s_addr == htonl(INADDR_ANY);
		conncount_cidr_of((struct sockaddr *)&v4, &ret->addr);
	} else {
		memcpy(&v6.sin6_addr, socket->id.idiag_src, sizeof(v6.sin6_addr));
		any = IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr);
		conncount_cidr_of((struct sockaddr *)&v6, &ret->addr);
		if (any && !is_ipv6_only(message))
			ret->addr.family = 0;
	}
	if (any)
		ret->addr.prefixlen = 0;
}

static int on_socket(const struct nlmsghdr *message, void *arg)
{
	struct dump *dump = arg;
	const struct inet_diag_msg *socket = mnl_nlmsg_get_payload(message);
	struct accept_queue queue, *same;
	struct queues *all;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*socket) ||
	    !has_port(dump, ntohs(socket->id.idiag_sport)))
		return MNL_CB_OK;
	read_place(message, &queue.at);
	queue.waiting = socket->idiag_rqueue;
	queue.limit = socket->idiag_wqueue;
	all = is_counted(message, &dump->cgroups) ? &dump->sockets : &dump->others;
	same = find(all, &queue.at);
	if (same) {
		same->waiting += queue.waiting;
		same->limit += queue.limit;
	} else {
		dump->err = append(all, &queue);
	}
	return dump->err ? MNL_CB_STOP : MNL_CB_OK;
}

static int ask(struct mnl_socket *netlink, int family, unsigned seq)
{
	char buf[MNL_NLMSG_HDRLEN + MNL_ALIGN(sizeof(struct inet_diag_req_v2))];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buf);
	struct inet_diag_req_v2 *request;

	message->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	message->nlmsg_seq = seq;
	request = mnl_nlmsg_put_extra_header(message, sizeof(*request));
	request->sdiag_family = (uint8_t)family;
	request->sdiag_protocol = IPPROTO_TCP;
	request->idiag_states = 1U << STATE_LISTEN;
	return mnl_socket_sendto(netlink, message, message->nlmsg_len) < 0 ? -errno : 0;
}

static int read_sockets(struct mnl_socket *netlink, int family, unsigned seq, struct dump *dump)
{
	_Alignas(struct nlmsghdr) char buf[32768]; /* as <libmnl/libmnl.h> has it for dumps */
	int more = MNL_CB_OK;
	int err = ask(netlink, family, seq);

	while (!err && more > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(netlink, buf, sizeof(buf));

		if (n >= 0)
			more = mnl_cb_run(buf, (size_t)n, seq, mnl_socket_get_portid(netlink),
					  on_socket, dump);
		if (n < 0 || more < MNL_CB_STOP)
			err = -errno;
	}
	return err ? err : dump->err;
}

/* All listening sockets on a port that is configured. */
static int read_all_sockets(struct dump *dump)
{
	struct mnl_socket *netlink = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	int err;

	if (!netlink)
		return -errno;
	err = mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) ? -errno : 0;
	if (!err)
		err = read_sockets(netlink, AF_INET, 1, dump);
	if (!err)
		err = read_sockets(netlink, AF_INET6, 2, dump);
	mnl_socket_close(netlink);
	return err;
}

/* --- whose it is ------------------------------------------------------------------------- */

/* Whether a socket among @all takes @part of what @socket would accept. */
static bool is_taken(const struct queues *all, const struct conncount_listen *socket,
		     const struct conncount_listen *part)
{
	for (size_t i = 0; i < all->n; i++)
		if (takes(&all->queues[i].at, socket, part))
			return true;
	return false;
}

/* Whether connections of a configured address wait in a socket's queue. */
static bool accepts_for(const struct dump *dump, const struct conncount_listen *socket,
			const struct conncount_listen *listen)
{
	const struct conncount_listen *both = covers(socket, listen) ? listen : socket;

	if (!covers(socket, listen) && !covers(listen, socket))
		return false;
	if (is_taken(&dump->sockets, socket, both) || is_taken(&dump->others, socket, both))
		return false;
	for (size_t i = 0; i < dump->n_listens; i++)
		if (takes(&dump->listens[i], listen, both))
			return false;
	return true;
}

static int assign(const struct dump *dump, struct queues *queues)
{
	int err = 0;

	for (size_t i = 0; i < dump->n_listens; i++) {
		for (size_t j = 0; !err && j < dump->sockets.n; j++) {
			struct accept_queue queue = dump->sockets.queues[j];

			if (!accepts_for(dump, &queue.at, &dump->listens[i]))
				continue;
			memcpy(queue.at.name, dump->listens[i].name, sizeof(queue.at.name));
			if (!find(queues, &queue.at))
				err = append(queues, &queue);
		}
	}
	return err;
}

int accept_queues(const struct conncount_state *state, const struct conncount_listen *listens,
		  size_t n_listens, struct accept_queue **ret_queues, size_t *ret_n)
{
	struct dump dump = { .listens = listens, .n_listens = n_listens };
	struct queues queues = { .n = 0 };
	int err = find_cgroups(state, &dump.cgroups);

	if (!err)
		err = read_all_sockets(&dump);
	if (!err)
		err = assign(&dump, &queues);
	free(dump.cgroups.ids);
	free(dump.sockets.queues);
	free(dump.others.queues);
	if (err) {
		free(queues.queues);
		return err;
	}
	*ret_queues = queues.queues;
	*ret_n = queues.n;
	return 0;
}
