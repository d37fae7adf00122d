// SPDX-License-Identifier: BSD-2-Clause
/*
 * listening.c - the listening sockets of this network namespace, from the kernel's socket
 * diagnostics.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

#include "listening.h"

enum { STATE_LISTEN = 10 }; /* TCP_LISTEN, without the rest of <netinet/tcp.h> */

struct dump {
	bool ports[UINT16_MAX + 1]; /* the configured ones */
	struct listening *sockets;
	size_t n, room;
	int err;
};

static struct listening *append(struct dump *dump)
{
	if (dump->n == dump->room) {
		size_t room = dump->room ? 2 * dump->room : 64;
		void *grown = realloc(dump->sockets, room * sizeof(*dump->sockets));

		if (!grown)
			return NULL;
		dump->sockets = grown;
		dump->room = room;
	}
	return &dump->sockets[dump->n++];
}

/* Find an attribute of a socket after the fixed part; NULL if it has none. */
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

/* Read where a socket listens, in the form that the configuration uses. */
static void read_place(const struct nlmsghdr *message, struct conncount_listen *ret)
{
	const struct inet_diag_msg *socket = mnl_nlmsg_get_payload(message);
	static const uint8_t none[sizeof(ret->addr.addr)];
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

	memset(ret, 0, sizeof(*ret));
	ret->port = ntohs(socket->id.idiag_sport);
	if (socket->idiag_family == AF_INET) {
		memcpy(&v4.sin_addr, socket->id.idiag_src, sizeof(v4.sin_addr));
		conncount_cidr_of((struct sockaddr *)&v4, &ret->addr);
	} else {
		memcpy(&v6.sin6_addr, socket->id.idiag_src, sizeof(v6.sin6_addr));
		conncount_cidr_of((struct sockaddr *)&v6, &ret->addr);
	}
	/* The rest is for wildcard addresses, including ::ffff:0.0.0.0, which is IPv4. */
	if (memcmp(ret->addr.addr, none, sizeof(none)) != 0)
		return;
	ret->addr.prefixlen = 0;
	if (ret->addr.family == CONNCOUNT_IPV6 && !is_ipv6_only(message))
		ret->addr.family = 0;
}

static int on_socket(const struct nlmsghdr *message, void *arg)
{
	struct dump *dump = arg;
	const struct inet_diag_msg *socket = mnl_nlmsg_get_payload(message);
	const struct nlattr *cgroup;
	struct listening *listening;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*socket) ||
	    !dump->ports[ntohs(socket->id.idiag_sport)])
		return MNL_CB_OK;
	listening = append(dump);
	if (!listening) {
		dump->err = -ENOMEM;
		return MNL_CB_STOP;
	}
	read_place(message, &listening->at);
	cgroup = find_attribute(message, INET_DIAG_CGROUP_ID, sizeof(uint64_t));
	listening->cgroup = cgroup ? mnl_attr_get_u64(cgroup) : 0;
	listening->uid = socket->idiag_uid;
	listening->sockets = 1;
	listening->waiting = socket->idiag_rqueue;
	listening->limit = socket->idiag_wqueue;
	return MNL_CB_OK;
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

/* All listening sockets on a configured port. */
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

/* --- in order ------------------------------------------------------------------------------ */

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

int place_compare(const struct conncount_listen *a, const struct conncount_listen *b)
{
	int order = COMPARE(a->port, b->port);

	if (!order)
		order = COMPARE(a->addr.family, b->addr.family);
	if (!order)
		order = COMPARE(a->addr.prefixlen, b->addr.prefixlen);
	return order ? order : memcmp(a->addr.addr, b->addr.addr, sizeof(a->addr.addr));
}

static int compare(const void *one, const void *other)
{
	const struct listening *a = one, *b = other;
	int order = place_compare(&a->at, &b->at);

	return order ? order : COMPARE(a->cgroup, b->cgroup);
}

/* Add up the sockets at the same place and in the same cgroup. Returns how many remain. */
static size_t merge(struct listening *sockets, size_t n)
{
	size_t last = 0;

	if (!n)
		return 0;
	qsort(sockets, n, sizeof(*sockets), compare);
	for (size_t i = 1; i < n; i++) {
		struct listening *to = &sockets[last];

		if (compare(to, &sockets[i])) {
			sockets[++last] = sockets[i];
			continue;
		}
		to->sockets++;
		to->waiting += sockets[i].waiting;
		to->limit += sockets[i].limit;
		if (sockets[i].uid < to->uid)
			to->uid = sockets[i].uid;
	}
	return last + 1;
}

/* Give all sockets at a place the lowest user id of any of them. */
static void share_user(struct listening *sockets, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (!place_compare(&sockets[i].at, &sockets[i - 1].at) &&
		    sockets[i].uid > sockets[i - 1].uid)
			sockets[i].uid = sockets[i - 1].uid;
	for (size_t i = n; i-- > 1;)
		if (!place_compare(&sockets[i].at, &sockets[i - 1].at))
			sockets[i - 1].uid = sockets[i].uid;
}

int listening_read(const struct conncount_listen *listens, size_t n_listens,
		   struct listening **ret_sockets, size_t *ret_n)
{
	struct dump *dump = calloc(1, sizeof(*dump));
	int err;

	if (!dump)
		return -ENOMEM;
	for (size_t i = 0; i < n_listens; i++)
		dump->ports[listens[i].port] = true;
	err = read_all_sockets(dump);
	if (err) {
		free(dump->sockets);
	} else {
		*ret_sockets = dump->sockets;
		*ret_n = merge(dump->sockets, dump->n);
		share_user(*ret_sockets, *ret_n);
	}
	free(dump);
	return err;
}
