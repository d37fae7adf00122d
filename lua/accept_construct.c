// SPDX-License-Identifier: BSD-2-Clause
/*
 * accept_construct.c - accept constructs, from a table, a file descriptor, or a server's addresses.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "binding.h"
#include "conncount_lua.h"

#define ACCEPT       "accept"
#define ARG_ACCEPT   ACCEPT ": bad argument #1"
#define FIELD_REMOTE ACCEPT ": bad field 'remote'"
#define FIELD_LOCAL  ACCEPT ": bad field 'local'"

/* tostring(ac) - "conncount.accept: 192.0.2.7 to 198.51.100.1:25", for logs. */
static int accept_tostring(lua_State *L)
{
	const struct accept *ac = luaL_checkudata(L, 1, ACCEPT_TYPE);
	char remote[INET6_ADDRSTRLEN], local[INET6_ADDRSTRLEN];
	bool v6 = ac->local.family == CONNCOUNT_IPV6;

	inet_ntop(ac->remote.family, ac->remote.addr, remote, sizeof(remote));
	inet_ntop(ac->local.family, ac->local.addr, local, sizeof(local));
	lua_pushfstring(L, "%s: %s to %s%s%s:%d", ACCEPT_TYPE, remote, v6 ? "[" : "", local,
			v6 ? "]" : "", ac->port);
	return 1;
}

/*
 * The metatable goes into the registry when it is complete, because building it can run out of
 * memory halfway.
 */
void ccl_push_accept_metatable(lua_State *L)
{
	luaL_getmetatable(L, ACCEPT_TYPE);
	if (lua_istable(L, -1))
		return;

	lua_pop(L, 1);
	lua_createtable(L, 0, 4);
	lua_pushliteral(L, ACCEPT_TYPE);
	lua_setfield(L, -2, "__name");
	lua_pushcfunction(L, accept_tostring);
	lua_setfield(L, -2, "__tostring");
	lua_newtable(L);
	lua_setfield(L, -2, "__index");
	lua_pushliteral(L, ACCEPT_TYPE);
	lua_setfield(L, -2, "__metatable");
	lua_pushvalue(L, -1);
	lua_setfield(L, LUA_REGISTRYINDEX, ACCEPT_TYPE);
}

/* Push a copy of @ac as an accept construct. */
static void push_accept(lua_State *L, const struct accept *ac)
{
	*(struct accept *)lua_newuserdata(L, sizeof(*ac)) = *ac;
	ccl_push_accept_metatable(L);
	lua_setmetatable(L, -2);
}

const struct accept *ccl_test_accept(lua_State *L, int idx)
{
	const struct accept *ac = lua_touserdata(L, idx);

	if (!ac || !lua_getmetatable(L, idx))
		return NULL;
	luaL_getmetatable(L, ACCEPT_TYPE);
	if (!lua_rawequal(L, -1, -2))
		ac = NULL;
	lua_pop(L, 2);
	return ac;
}

static int accept_of_sockaddrs(const struct sockaddr *remote, const struct sockaddr *local,
			       struct accept *ret_ac)
{
	struct accept ac = {};
	int err;

	err = conncount_cidr_of(remote, &ac.remote);
	if (err)
		return err;
	err = conncount_cidr_of(local, &ac.local);
	if (err)
		return err;
	if (local->sa_family == AF_INET6)
		ac.port = ntohs(((const struct sockaddr_in6 *)local)->sin6_port);
	else
		ac.port = ntohs(((const struct sockaddr_in *)local)->sin_port);
	if (!ac.port)
		return -EINVAL;
	*ret_ac = ac;
	return 0;
}

#if LUA_VERSION_NUM >= 502

/* push_accept() for lua_pcall(): its argument is a light userdata. */
static int protected_push_accept(lua_State *L)
{
	push_accept(L, lua_touserdata(L, 1));
	return 1;
}

/*
 * push_accept() that raises no error: returns LUA_OK, or another status, and may then leave an
 * error on the stack.
 */
static int try_push_accept(lua_State *L, struct accept *ac)
{
	if (!lua_checkstack(L, 2))
		return LUA_ERRMEM;
	lua_pushcfunction(L, protected_push_accept);
	lua_pushlightuserdata(L, ac);
	return lua_pcall(L, 1, 1, 0);
}

#else

#define LUA_OK 0

static const char pushed; /* its address is the registry key that keep_accept() uses */

static int make_room(lua_State *L)
{
	luaL_checkstack(L, LUA_MINSTACK, ACCEPT_TYPE);
	return 0;
}

static int keep_accept(lua_State *L)
{
	lua_pushlightuserdata(L, (void *)&pushed);
	push_accept(L, lua_touserdata(L, 1));
	lua_rawset(L, LUA_REGISTRYINDEX);
	return 0;
}

/*
 * The same for Lua 5.1, where lua_checkstack() and lua_pushcfunction() raise an error if there is
 * no memory. lua_cpcall() raises none and needs no room, but returns no values, so the registry
 * hands over the construct. After make_room(), lua_checkstack() has nothing to allocate.
 */
static int try_push_accept(lua_State *L, struct accept *ac)
{
	int status;

	status = lua_cpcall(L, make_room, NULL);
	if (status)
		return status;
	if (!lua_checkstack(L, 3))
		return LUA_ERRMEM;
	status = lua_cpcall(L, keep_accept, ac);
	if (status)
		return status;
	lua_pushlightuserdata(L, (void *)&pushed);
	lua_rawget(L, LUA_REGISTRYINDEX);
	lua_pushlightuserdata(L, (void *)&pushed);
	lua_pushnil(L);
	lua_rawset(L, LUA_REGISTRYINDEX);
	return LUA_OK;
}

#endif

int conncount_lua_push_accept(lua_State *L, const struct sockaddr *remote,
			      const struct sockaddr *local)
{
	int top = lua_gettop(L);
	struct accept ac;
	int err;

	err = accept_of_sockaddrs(remote, local, &ac);
	if (err)
		return err;
	switch (try_push_accept(L, &ac)) {
	case LUA_OK:
		return 0;
	case LUA_ERRMEM:
		err = -ENOMEM;
		break;
	default:
		err = -ECANCELED;
	}
	lua_settop(L, top); /* without the error */
	return err;
}

static int accept_of_fd(int fd, struct accept *ret_ac)
{
	struct sockaddr_storage remote, local;
	socklen_t remote_len = sizeof(remote), local_len = sizeof(local);
	int type;
	socklen_t type_len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len))
		return -errno;
	if (type != SOCK_STREAM)
		return -EPROTOTYPE;
	if (getpeername(fd, (struct sockaddr *)&remote, &remote_len) ||
	    getsockname(fd, (struct sockaddr *)&local, &local_len))
		return -errno;
	return accept_of_sockaddrs((struct sockaddr *)&remote, (struct sockaddr *)&local, ret_ac);
}

/*
 * The client that the session is counted for. With nothing loaded it is the peer, which is already
 * in @remote: a load counts an open session under its peer.
 */
static int counted_client(lua_State *L, int fd, struct conncount_cidr *remote)
{
	struct conncount *cc;
	int err = ccl_reader_handle(L, &cc);

	if (!err)
		err = conncount_client_of(cc, fd, remote);
	return err == -ENOENT ? 0 : err;
}

static void check_remote(lua_State *L, int idx, struct accept *ac)
{
	const char *text = ccl_check_string(L, idx, FIELD_REMOTE);
	const char *why = NULL;

	if (strchr(text, '/'))
		ccl_bad(L, idx, FIELD_REMOTE, "expected an address without a prefix length");
	if (conncount_cidr_parse(text, NULL, &ac->remote, &why))
		ccl_bad(L, idx, FIELD_REMOTE, "%s", why);
}

static void check_local(lua_State *L, int idx, struct accept *ac)
{
	const char *text = ccl_check_string(L, idx, FIELD_LOCAL);
	const char *why = NULL;

	if (conncount_address_parse(text, &ac->local, &ac->port, &why))
		ccl_bad(L, idx, FIELD_LOCAL, "%s", why);
}

/* Read the table at index 1, raw, field by field, so that a misspelt field is an error. */
static void check_accept_table(lua_State *L, struct accept *ac)
{
	enum { KEY = 2, VALUE };
	bool remote = false, local = false;

	lua_pushnil(L);
	while (lua_next(L, 1)) {
		if (ccl_is_text(L, KEY, "remote")) {
			check_remote(L, VALUE, ac);
			remote = true;
		} else if (ccl_is_text(L, KEY, "local")) {
			check_local(L, VALUE, ac);
			local = true;
		} else {
			ccl_bad(L, KEY, ACCEPT ": unknown field",
				"the fields are 'remote' and 'local'");
		}
		lua_pop(L, 1);
	}
	if (!remote || !local)
		luaL_error(L, ACCEPT ": field '%s' is missing", remote ? "local" : "remote");
}

/*
 * conncount.accept{ remote = ADDRESS, ['local'] = 'ADDRESS:PORT' } - make an accept construct from
 * the client's address, and the address and port that it connected to.
 * conncount.accept(fd) - make it from a connected TCP socket. The caller still owns fd. The
 * client is the one that the session is counted for.
 *
 * Returns the accept construct; nil, message, errno if fd is not a connected TCP socket, if its
 * PROXY header has not come yet (EAGAIN), or if the system fails. Raises an error if an argument is
 * malformed.
 */
int ccl_accept(lua_State *L)
{
	struct accept ac = {};
	lua_Number number;
	int fd, err;

	ccl_refuse_surplus(L, ACCEPT, 0, 1);
	if (lua_type(L, 1) == LUA_TTABLE) {
		check_accept_table(L, &ac);
		push_accept(L, &ac);
		return 1;
	}

	if (lua_type(L, 1) != LUA_TNUMBER)
		ccl_bad_type(L, 1, ARG_ACCEPT, "table or file descriptor");
	number = lua_tonumber(L, 1);
	fd = number >= 0 && number <= INT_MAX ? (int)number : -1;
	if (number != fd || fd < 0)
		ccl_bad(L, 1, ARG_ACCEPT, "not a file descriptor");
	err = accept_of_fd(fd, &ac);
	if (err) {
		lua_pushnil(L);
		lua_pushfstring(L, ACCEPT ": file descriptor %d: %s", fd, strerror(-err));
		lua_pushinteger(L, -err);
		return 3;
	}
	err = counted_client(L, fd, &ac.remote);
	if (err)
		return ccl_push_failure(L, err);
	push_accept(L, &ac);
	return 1;
}
