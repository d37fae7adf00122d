// SPDX-License-Identifier: BSD-2-Clause
/*
 * socket_lookup.c - conncount.socket(): a session's socket, looked up in the kernel by
 * sock_diag(7).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

#include "binding.h"

#define SOCKET "socket"

/*
 * Look up a connection's socket that is bound to @interface or to none; 0: only to none.
 *
 * Returns 0; -ENOENT: there is no such socket; or another negative errno.
 */
static int diag_ask(int fd, const struct endpoint *remote, const struct endpoint *local,
		    unsigned interface, struct inet_diag_msg *ret_socket)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 ask;
	} request = {
		.head = {
			.nlmsg_len = sizeof(request),
			.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST,
		},
		.ask = {
			.sdiag_family = (__u8)local->addr.family,
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_states = ~0U,
			.id = {
				.idiag_sport = htons(local->port),
				.idiag_dport = htons(remote->port),
				.idiag_if = interface,
				.idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE },
			},
		},
	};
	union {
		struct nlmsghdr head;
		char bytes[4096];
	} answer;
	ssize_t n;

	memcpy(request.ask.id.idiag_src, local->addr.addr, sizeof(local->addr.addr));
	memcpy(request.ask.id.idiag_dst, remote->addr.addr, sizeof(remote->addr.addr));
	/* The kernel answers before send() returns. */
	if (send(fd, &request, sizeof(request), 0) < 0)
		return -errno;
	n = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if (n >= (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) &&
	    answer.head.nlmsg_type == NLMSG_ERROR)
		return ((const struct nlmsgerr *)NLMSG_DATA(&answer.head))->error;
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(*ret_socket)))
		return -EPROTO;
	*ret_socket = *(const struct inet_diag_msg *)NLMSG_DATA(&answer.head);
	return 0;
}

/* diag_ask() for a socket that a process holds. @ret_cookie: the socket's cookie. */
static int find_held(int fd, const struct endpoint *remote, const struct endpoint *local,
		     unsigned interface, uint64_t *ret_cookie)
{
	enum { LISTENING = 10 }; /* TCP_LISTEN: the kernel finds the listener if no session */
	struct inet_diag_msg found;
	int err = diag_ask(fd, remote, local, interface, &found);

	if (err)
		return err;
	/* A socket without an inode belongs to no process. */
	if (found.idiag_state == LISTENING || !found.idiag_inode)
		return -ENOENT;
	*ret_cookie = (uint64_t)found.id.idiag_cookie[1] << 32 | found.id.idiag_cookie[0];
	return 0;
}

/*
 * find_held() for any interface that the socket is bound to. Sockets of link-local clients, in a
 * VRF, or of a listener with SO_BINDTODEVICE are bound. The kernel looks up one interface at a
 * time.
 */
static int find_bound(int fd, const struct endpoint *remote, const struct endpoint *local,
		      unsigned *ret_interface, uint64_t *ret_cookie)
{
	struct if_nameindex *interfaces;
	int err = find_held(fd, remote, local, 0, ret_cookie);

	*ret_interface = 0;
	if (err != -ENOENT)
		return err;
	interfaces = if_nameindex();
	if (!interfaces)
		return -errno;
	for (size_t i = 0; err == -ENOENT && interfaces[i].if_index; i++) {
		*ret_interface = interfaces[i].if_index;
		err = find_held(fd, remote, local, *ret_interface, ret_cookie);
	}
	if_freenameindex(interfaces);
	return err;
}

/* The interface index at @idx. The interface need not exist any more. */
static unsigned check_interface(lua_State *L, int idx)
{
	static const char what[] = SOCKET ": bad argument #3 (interface)";
	lua_Number number;

	if (lua_type(L, idx) != LUA_TNUMBER)
		ccl_bad_type(L, idx, what, "number");
	number = lua_tonumber(L, idx);
	if (!(number >= 0 && number <= INT_MAX) || number != (int)number)
		ccl_bad(L, idx, what, "not an interface index");
	return (unsigned)number;
}

/*
 * conncount.socket(remote, local, interface) - look up a server's socket of the session between two
 * addresses, each 'ADDRESS:PORT', in the caller's network namespace.
 * interface: the second result of an earlier call, to look up the same socket again. That is
 * quicker if there are many interfaces, and right even if two of them have a session of these
 * addresses, or the interface is gone. nil: any interface that the socket is bound to.
 *
 * Returns the socket's cookie, a number that no other socket ever has, and the index of the
 * interface that the socket is bound to, 0 for none. The session is open as long as a process holds
 * the socket. Returns false if no process holds one: the session is closed, or not accepted yet.
 * Returns nil, message, errno if the system fails. Raises an error if an argument is malformed.
 */
int ccl_socket(lua_State *L)
{
	struct reader *rd = lua_touserdata(L, lua_upvalueindex(1));
	struct endpoint remote, local;
	bool anywhere = lua_isnoneornil(L, 3);
	unsigned interface = 0;
	uint64_t cookie = 0;
	int err = 0;

	ccl_refuse_surplus(L, SOCKET, 0, 3);
	remote = ccl_check_endpoint(L, 1, SOCKET ": bad argument #1 (remote)");
	local = ccl_check_endpoint(L, 2, SOCKET ": bad argument #2 (local)");
	if (remote.addr.family != local.addr.family)
		return luaL_error(L, SOCKET ": one address is IPv4, the other IPv6");
	if (!anywhere)
		interface = check_interface(L, 3);

	if (rd->closed)
		err = -EBADF;
	else if (rd->diag < 0)
		rd->diag = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (!err && rd->diag < 0)
		err = -errno;
	if (!err && anywhere)
		err = find_bound(rd->diag, &remote, &local, &interface, &cookie);
	else if (!err)
		err = find_held(rd->diag, &remote, &local, interface, &cookie);
	if (err && err != -ENOENT) {
		lua_pushnil(L);
		lua_pushfstring(L, "cannot look up the socket: %s", strerror(-err));
		lua_pushinteger(L, -err);
		return 3;
	}
	if (err) {
		lua_pushboolean(L, false);
		return 1;
	}
	lua_pushinteger(L, (lua_Integer)cookie);
	lua_pushinteger(L, (lua_Integer)interface);
	return 2;
}
