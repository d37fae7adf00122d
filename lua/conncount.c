// SPDX-License-Identifier: BSD-2-Clause
/*
 * conncount.c - the Lua module `conncount`, for Lua 5.1, 5.3, 5.4 and LuaJIT. It keeps to what
 * the C interfaces of all of them have; what is built for Lua 5.1 is for LuaJIT too.
 *
 * Two kinds of trouble are kept apart. A mistake in the policy (a malformed argument, an
 * unknown service type) raises an error. A failure of the system (nothing loaded, not
 * permitted) returns nil, message, errno: a policy must be able to go on.
 *
 * Raising an error is a longjmp. Nothing here owns anything across a call that may raise:
 * the handle belongs to a userdata from the moment it exists, all else is on a stack.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <lauxlib.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <lua.h>

#include "conncount.h"
#include "conncount_lua.h"

#define ACCEPT_TYPE "conncount.accept"

/* Where a state's registry has its reader, and the current session of msys.audit. */
#define READER  "conncount.reader"
#define CURRENT "conncount.current"

/* How errors name what they are about. */
#define ACCEPT       "accept"
#define NETWORK      "network"
#define SERVICE      "service"
#define SOCKET       "socket"
#define COUNT        "inbound_session_count"
#define ARG_CIDR     COUNT ": bad argument #1 (cidr)"
#define ARG_SERVICE  COUNT ": bad argument #2 (service_type)"
#define ARG_ACCEPT   ACCEPT ": bad argument #1"
#define FIELD_REMOTE ACCEPT ": bad field 'remote'"
#define FIELD_LOCAL  ACCEPT ": bad field 'local'"

/* An accept construct: one session, as a policy sees it. Written once, when it is made. */
struct accept {
	struct conncount_cidr remote; /* exactly the client's address */
	struct conncount_cidr local;  /* exactly the address it connected to */
	uint16_t port;                /* the port it connected to, host byte order */
};

/*
 * A Lua state's way to the counts: a userdata in its registry and the first upvalue of every
 * function here.
 */
struct reader {
	struct conncount *cc; /* NULL until a query needs it and it could be opened */
	int diag;             /* a socket to ask the kernel for sockets; -1: none yet */
	bool closed;          /* the state is closing: a handle opened now would leak */
};

/* --- errors ------------------------------------------------------------------------------- */

/*
 * Push a value as an error shows it: quoted, cut where it is long, control characters escaped
 * because messages end up in logs. What has no text of its own (a table) gives ''.
 */
static const char *push_quoted(lua_State *L, int idx)
{
	enum { SHOWN = 80 };
	const char *text;
	luaL_Buffer buf;
	size_t len;

	if (lua_type(L, idx) != LUA_TSTRING && lua_type(L, idx) != LUA_TNUMBER) {
		lua_pushliteral(L, "");
		return lua_tostring(L, -1);
	}

	lua_pushvalue(L, idx); /* a copy: lua_tolstring() turns a number into a string in place */
	text = lua_tolstring(L, -1, &len);
	luaL_buffinit(L, &buf);
	luaL_addstring(&buf, " '");
	for (size_t i = 0; i < len && i < SHOWN; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < ' ' || c == 0x7f) {
			luaL_addchar(&buf, '\\');
			luaL_addchar(&buf, (char)('0' + c / 100));
			luaL_addchar(&buf, (char)('0' + c / 10 % 10));
			c = '0' + c % 10;
		}
		luaL_addchar(&buf, (char)c);
	}
	luaL_addstring(&buf, len > SHOWN ? "...'" : "'");
	luaL_pushresult(&buf);
	lua_remove(L, -2);
	return lua_tostring(L, -1);
}

/*
 * Raise "WHAT 'TEXT': WHY" about the value at @idx, which may be missing. @format, as for
 * lua_pushfstring(), is the why.
 */
static _Noreturn void bad(lua_State *L, int idx, const char *what, const char *format, ...)
{
	const char *text, *why;
	va_list args;

	text = push_quoted(L, idx); /* first: the next push may get a missing value's index */
	va_start(args, format);
	why = lua_pushvfstring(L, format, args);
	va_end(args); /* not reached where Lua has no memory, which no Linux ABI minds */
	luaL_error(L, "%s%s: %s", what, text, why);
	abort(); /* not reached, which luaL_error()'s declaration does not tell the compiler */
}

static _Noreturn void bad_type(lua_State *L, int idx, const char *what, const char *expected)
{
	bad(L, idx, what, "%s expected, got %s", expected, luaL_typename(L, idx));
}

/* Raise an error where there are more than @max arguments, @self of them before the first. */
static void refuse_surplus(lua_State *L, const char *function, int self, int max)
{
	int n = lua_gettop(L) - self;

	if (n > max)
		luaL_error(L, "%s: %d %s at most, got %d", function, max,
			   max == 1 ? "argument" : "arguments", n);
}

/* The string at @idx, which stays valid for as long as it is there. */
static const char *check_string(lua_State *L, int idx, const char *what)
{
	const char *text;
	size_t len;

	if (lua_type(L, idx) != LUA_TSTRING)
		bad_type(L, idx, what, "string");
	text = lua_tolstring(L, idx, &len);
	if (strlen(text) != len)
		bad(L, idx, what, "a NUL byte in it");
	return text;
}

/* --- accept constructs -------------------------------------------------------------------- */

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
 * Push the metatable of accept constructs. Its __index is the table of their methods, empty
 * until a module adds some. It goes into the registry only when it is complete: building it
 * can run out of memory half way.
 */
static void push_accept_metatable(lua_State *L)
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
	push_accept_metatable(L);
	lua_setmetatable(L, -2);
}

/* The accept construct at @idx; NULL: what is there is none. */
static const struct accept *test_accept(lua_State *L, int idx)
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

/* push_accept() with its argument in a light userdata, to be called in protected mode. */
static int protected_push_accept(lua_State *L)
{
	push_accept(L, lua_touserdata(L, 1));
	return 1;
}

/*
 * push_accept() that raises no error: returns LUA_OK, or why not, and may then leave an error
 * on the stack.
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

static const char pushed; /* its address is where keep_accept() leaves the construct */

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
 * The same where lua_checkstack() and lua_pushcfunction() raise an error when there is no
 * memory. lua_cpcall() does not, needs no room, and gives no result back: the construct is
 * handed over in the registry. By the first call, lua_checkstack() has nothing left to allocate.
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

static void check_remote(lua_State *L, int idx, struct accept *ac)
{
	const char *text = check_string(L, idx, FIELD_REMOTE);
	const char *why = NULL;

	if (strchr(text, '/'))
		bad(L, idx, FIELD_REMOTE, "an address is wanted, without a length");
	if (conncount_cidr_parse(text, NULL, &ac->remote, &why))
		bad(L, idx, FIELD_REMOTE, "%s", why);
}

static void check_local(lua_State *L, int idx, struct accept *ac)
{
	const char *text = check_string(L, idx, FIELD_LOCAL);
	const char *why = NULL;

	if (conncount_address_parse(text, &ac->local, &ac->port, &why))
		bad(L, idx, FIELD_LOCAL, "%s", why);
}

/* Whether the value at @idx is this string. A number is not made one: lua_next() forbids it. */
static bool is_text(lua_State *L, int idx, const char *text)
{
	const char *value;
	size_t len;

	if (lua_type(L, idx) != LUA_TSTRING)
		return false;
	value = lua_tolstring(L, idx, &len);
	return len == strlen(text) && !memcmp(value, text, len);
}

/* Read the table at index 1. Raw, field by field: one that is misspelt must not pass unseen. */
static void check_accept_table(lua_State *L, struct accept *ac)
{
	enum { KEY = 2, VALUE };
	bool remote = false, local = false;

	lua_pushnil(L);
	while (lua_next(L, 1)) {
		if (is_text(L, KEY, "remote")) {
			check_remote(L, VALUE, ac);
			remote = true;
		} else if (is_text(L, KEY, "local")) {
			check_local(L, VALUE, ac);
			local = true;
		} else {
			bad(L, KEY, ACCEPT ": unknown field",
			    "the fields are 'remote' and 'local'");
		}
		lua_pop(L, 1);
	}
	if (!remote || !local)
		luaL_error(L, ACCEPT ": field '%s' is missing", remote ? "local" : "remote");
}

/*
 * conncount.accept{ remote = ADDRESS, ['local'] = 'ADDRESS:PORT' } - a session as an accept
 * construct: the client's address, and the address and port it connected to.
 * conncount.accept(fd) - the same from the file descriptor of a connected TCP socket, which
 * stays the caller's.
 *
 * Returns the accept construct; for a file descriptor that is no connected TCP socket, nil,
 * message, errno. Raises an error where an argument is malformed.
 */
static int l_accept(lua_State *L)
{
	struct accept ac = {};
	lua_Number number;
	int fd, err;

	refuse_surplus(L, ACCEPT, 0, 1);
	if (lua_type(L, 1) == LUA_TTABLE) {
		check_accept_table(L, &ac);
		push_accept(L, &ac);
		return 1;
	}

	if (lua_type(L, 1) != LUA_TNUMBER)
		bad_type(L, 1, ARG_ACCEPT, "table or file descriptor");
	number = lua_tonumber(L, 1);
	fd = number >= 0 && number <= INT_MAX ? (int)number : -1;
	if (number != fd || fd < 0)
		bad(L, 1, ARG_ACCEPT, "not a file descriptor");
	err = accept_of_fd(fd, &ac);
	if (err) {
		lua_pushnil(L);
		lua_pushfstring(L, ACCEPT ": file descriptor %d: %s", fd, strerror(-err));
		lua_pushinteger(L, -err);
		return 3;
	}
	push_accept(L, &ac);
	return 1;
}

/* --- the handle --------------------------------------------------------------------------- */

static int reader_gc(lua_State *L)
{
	struct reader *rd = lua_touserdata(L, 1);

	conncount_close(rd->cc);
	rd->cc = NULL;
	if (rd->diag >= 0)
		close(rd->diag);
	rd->diag = -1;
	rd->closed = true;
	return 0;
}

/* Push the state's reader, made when it is first asked for. */
static void push_reader(lua_State *L)
{
	struct reader *rd;

	lua_getfield(L, LUA_REGISTRYINDEX, READER);
	if (lua_isuserdata(L, -1))
		return;

	lua_pop(L, 1);
	rd = lua_newuserdata(L, sizeof(*rd));
	*rd = (struct reader){ .diag = -1 };
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, reader_gc);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	lua_pushvalue(L, -1);
	lua_setfield(L, LUA_REGISTRYINDEX, READER);
}

/* The handle of the calling function's reader. A failure to open it lasts one query only. */
static int reader_handle(lua_State *L, struct conncount **ret_cc)
{
	struct reader *rd = lua_touserdata(L, lua_upvalueindex(1));
	int err;

	if (rd->closed)
		return -EBADF;
	if (!rd->cc) {
		err = conncount_open(NULL, &rd->cc);
		if (err)
			return err;
	}
	*ret_cc = rd->cc;
	return 0;
}

/* --- queries ------------------------------------------------------------------------------ */

static int push_failure(lua_State *L, int err)
{
	char buf[CONNCOUNT_ERROR_SIZE];

	lua_pushnil(L);
	lua_pushstring(L, conncount_strerror(NULL, err, buf, sizeof(buf)));
	lua_pushinteger(L, -err);
	return 3;
}

/* Push why a count is not exact, as in "2 sessions are not counted". */
static void push_inexact(lua_State *L, const struct conncount_answer *answer)
{
	char number[32];
	int n = 0;

	if (answer->uncounted) {
		snprintf(number, sizeof(number), "%" PRId64, answer->uncounted);
		lua_pushfstring(L, "%s %s not counted", number,
				answer->uncounted == 1 ? "session is" : "sessions are");
		n++;
	}
	if (answer->lost) {
		snprintf(number, sizeof(number), "%" PRIu64, answer->lost);
		lua_pushfstring(L, "%s%s %s lost", n ? ", " : "", number,
				answer->lost == 1 ? "change was" : "changes were");
		n++;
	}
	if (answer->flags & CONNCOUNT_SEEDING) {
		lua_pushfstring(L, "%ssessions that were open before are still being entered",
				n ? ", " : "");
		n++;
	}
	if (answer->flags & CONNCOUNT_DETACHED) {
		lua_pushfstring(L, "%sthe cgroup that is counted in is gone", n ? ", " : "");
		n++;
	}
	lua_concat(L, n);
}

static int push_answer(lua_State *L, int err, const struct conncount_answer *answer)
{
	if (err)
		return push_failure(L, err);
	lua_pushinteger(L, answer->count);
	if (answer->flags & CONNCOUNT_EXACT)
		return 1;
	push_inexact(L, answer);
	return 2;
}

static int push_no_listener(lua_State *L, const struct conncount_cidr *local, uint16_t port)
{
	char addr[INET6_ADDRSTRLEN];

	lua_pushnil(L);
	lua_pushfstring(L, "no listener is configured for %s port %d",
			inet_ntop(local->family, local->addr, addr, sizeof(addr)), port);
	lua_pushinteger(L, ESRCH);
	return 3;
}

static int count_local(lua_State *L, const struct accept *ac)
{
	struct conncount_answer answer;
	struct conncount *cc;
	int err;

	err = reader_handle(L, &cc);
	if (!err)
		err = conncount_count_local(cc, &ac->local, ac->port, &ac->remote, &answer);
	if (err != -ESRCH)
		return push_answer(L, err, &answer);

	/* Not 0: the session exists, so a count of 0 for it would be a wrong answer. */
	return push_no_listener(L, &ac->local, ac->port);
}

static _Noreturn void unknown_service(lua_State *L, int idx, struct conncount *cc)
{
	char buf[1024];

	bad(L, idx, ARG_SERVICE, "unknown service type; known are %s",
	    conncount_services(cc, buf, sizeof(buf)));
}

/* Count the sessions from @cidr to the service named at @idx, or to the default one. */
static int count_service(lua_State *L, int idx, const struct conncount_cidr *cidr)
{
	struct conncount_answer answer;
	const char *service = NULL;
	struct conncount *cc = NULL;
	int err;

	if (!lua_isnoneornil(L, idx)) {
		service = check_string(L, idx, ARG_SERVICE);
		if (!*service) /* no configuration can have it, so none need be loaded */
			unknown_service(L, idx, NULL);
	}
	err = reader_handle(L, &cc);
	if (!err)
		err = conncount_count_service(cc, service, cidr, &answer);
	if (err == -ESRCH)
		unknown_service(L, idx, cc);
	return push_answer(L, err, &answer);
}

/*
 * conncount.inbound_session_count(ac, cidr, service_type) - how many sessions are open now;
 * the method that msys.extended.ac gives to accept constructs.
 * cidr: the network the sessions come from, `/len` being the connecting address's own; nil:
 * exactly the connecting address.
 * service_type: where they were accepted; nil: 'SMTP' where there is a cidr, otherwise the
 * listener of this session.
 *
 * Returns an integer; where it is not exact, also a string that says why; nil, message, errno
 * where the system fails, or where this session's listener is not configured. Raises an error
 * where an argument is malformed or the service type unknown.
 */
static int l_inbound_session_count(lua_State *L)
{
	const struct accept *ac = test_accept(L, 1);
	struct conncount_cidr cidr;
	const char *why = NULL;

	if (!ac)
		return luaL_error(L,
				  COUNT ": accept construct expected before the colon, got %s "
					"(the call is ac:" COUNT "(...))",
				  luaL_typename(L, 1));
	refuse_surplus(L, COUNT, 1, 2);
	if (lua_isnoneornil(L, 2) && lua_isnoneornil(L, 3))
		return count_local(L, ac);
	if (lua_isnoneornil(L, 2))
		return count_service(L, 3, &ac->remote);
	if (conncount_cidr_parse(check_string(L, 2, ARG_CIDR), &ac->remote, &cidr, &why))
		bad(L, 2, ARG_CIDR, "%s", why);
	return count_service(L, 3, &cidr);
}

/*
 * conncount.audit.current(ac) - make a session the current one of this Lua state, for `/len`
 * in conncount.audit.inbound_session_count(); nil: there is none. Returns nothing.
 */
static int l_audit_current(lua_State *L)
{
	refuse_surplus(L, "current", 0, 1);
	if (lua_type(L, 1) != LUA_TNIL && !test_accept(L, 1))
		bad_type(L, 1, "current: bad argument #1", "accept construct or nil");
	lua_setfield(L, LUA_REGISTRYINDEX, CURRENT);
	return 0;
}

/*
 * conncount.audit.inbound_session_count(cidr, service_type) - how many sessions are open now
 * from a network to a service. Both are required; `/len` needs a current session.
 *
 * Returns and raises what conncount.inbound_session_count() does.
 */
static int l_audit_inbound_session_count(lua_State *L)
{
	const char *text, *why = NULL;
	struct conncount_cidr cidr;
	const struct accept *ac;

	refuse_surplus(L, COUNT, 0, 2);
	text = check_string(L, 1, ARG_CIDR);
	check_string(L, 2, ARG_SERVICE);

	lua_getfield(L, LUA_REGISTRYINDEX, CURRENT);
	ac = lua_touserdata(L, -1);
	if (!ac && *text == '/')
		bad(L, 1, ARG_CIDR,
		    "a length alone needs a current session "
		    "(msys.audit.current(ac) sets it)");
	if (conncount_cidr_parse(text, ac ? &ac->remote : NULL, &cidr, &why))
		bad(L, 1, ARG_CIDR, "%s", why);
	return count_service(L, 2, &cidr);
}

/* --- what a service that decides for a server needs besides -------------------------------- */

/* One end of a connection. */
struct endpoint {
	struct conncount_cidr addr; /* exactly one address */
	uint16_t port;              /* host byte order */
};

static struct endpoint check_endpoint(lua_State *L, int idx, const char *what)
{
	struct endpoint end;
	const char *why = NULL;

	if (conncount_address_parse(check_string(L, idx, what), &end.addr, &end.port, &why))
		bad(L, idx, what, "%s", why);
	return end;
}

/*
 * conncount.network(cidr) - a network as conncount writes it, by which networks can be
 * compared; its family, 4 or 6; and its length.
 *
 * Raises an error where it is malformed.
 */
static int l_network(lua_State *L)
{
	static const char what[] = NETWORK ": bad argument #1 (cidr)";
	char text[CONNCOUNT_CIDR_SIZE];
	struct conncount_cidr cidr;
	const char *why = NULL;

	refuse_surplus(L, NETWORK, 0, 1);
	if (conncount_cidr_parse(check_string(L, 1, what), NULL, &cidr, &why))
		bad(L, 1, what, "%s", why);
	lua_pushstring(L, conncount_cidr_format(&cidr, text));
	lua_pushinteger(L, cidr.family == CONNCOUNT_IPV4 ? 4 : 6);
	lua_pushinteger(L, cidr.prefixlen);
	return 3;
}

/*
 * conncount.service(local) - the service type of the listener that accepts on a local address,
 * 'ADDRESS:PORT'.
 *
 * Returns its name; nil, message, errno where the system fails, or where no listener is
 * configured for that address. Raises an error where it is malformed.
 */
static int l_service(lua_State *L)
{
	struct endpoint local = { 0 };
	char service[CONNCOUNT_NAME_SIZE];
	struct conncount *cc;
	int err;

	refuse_surplus(L, SERVICE, 0, 1);
	local = check_endpoint(L, 1, SERVICE ": bad argument #1 (local)");
	err = reader_handle(L, &cc);
	if (!err)
		err = conncount_service_of(cc, &local.addr, local.port, service);
	if (err == -ESRCH)
		return push_no_listener(L, &local.addr, local.port);
	if (err)
		return push_failure(L, err);
	lua_pushstring(L, service);
	return 1;
}

/*
 * Ask the kernel for a connection's socket: one that is bound to no interface, or to @interface.
 * With 0, only one that is bound to none. Returns 0, or a negative errno: -ENOENT, no such.
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
	/* The kernel has answered before send() returns. */
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

/* As diag_ask(), but only a socket that a process holds; its cookie. */
static int find_held(int fd, const struct endpoint *remote, const struct endpoint *local,
		     unsigned interface, uint64_t *ret_cookie)
{
	enum { LISTENING = 10 }; /* TCP_LISTEN: what the kernel finds where there is no session */
	struct inet_diag_msg found;
	int err = diag_ask(fd, remote, local, interface, &found);

	if (err)
		return err;
	/* Without an inode, no process has it. */
	if (found.idiag_state == LISTENING || !found.idiag_inode)
		return -ENOENT;
	*ret_cookie = (uint64_t)found.id.idiag_cookie[1] << 32 | found.id.idiag_cookie[0];
	return 0;
}

/*
 * find_held(), whatever interface the socket is bound to: those of link-local clients are, those
 * in a VRF, and those of a listener with SO_BINDTODEVICE. The kernel looks up one at a time.
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

/* The index at @idx of an interface, which may be gone since. */
static unsigned check_interface(lua_State *L, int idx)
{
	static const char what[] = SOCKET ": bad argument #3 (interface)";
	lua_Number number;

	if (lua_type(L, idx) != LUA_TNUMBER)
		bad_type(L, idx, what, "number");
	number = lua_tonumber(L, idx);
	if (!(number >= 0 && number <= INT_MAX) || number != (int)number)
		bad(L, idx, what, "not the index of an interface");
	return (unsigned)number;
}

/*
 * conncount.socket(remote, local, interface) - the socket that a server holds of a session between
 * two addresses, each 'ADDRESS:PORT', in the network namespace of who asks.
 * interface: the second result of an earlier call, to look up that socket again: quicker where
 * there are many interfaces, and right where two of them have a session of these addresses, or
 * the interface is gone. nil: whatever interface the socket is bound to.
 *
 * Returns a number that no other socket has, also not a later one of the same addresses, and the
 * index of the interface that the socket is bound to, 0 for none. For as long as the socket is
 * held, the session is open. Returns false where none is held: it is closed, or not accepted yet.
 * Returns nil, message, errno where the system fails. Raises an error where an argument is
 * malformed.
 */
static int l_socket(lua_State *L)
{
	struct reader *rd = lua_touserdata(L, lua_upvalueindex(1));
	struct endpoint remote, local;
	bool anywhere = lua_isnoneornil(L, 3);
	unsigned interface = 0;
	uint64_t cookie = 0;
	int err = 0;

	refuse_surplus(L, SOCKET, 0, 3);
	remote = check_endpoint(L, 1, SOCKET ": bad argument #1 (remote)");
	local = check_endpoint(L, 2, SOCKET ": bad argument #2 (local)");
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
		lua_pushfstring(L, "the kernel cannot be asked for a socket: %s", strerror(-err));
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

/* --- the module --------------------------------------------------------------------------- */

static const luaL_Reg functions[] = {
	{ "accept", l_accept },   { "inbound_session_count", l_inbound_session_count },
	{ "network", l_network }, { "service", l_service },
	{ "socket", l_socket },   { NULL, NULL },
};

static const luaL_Reg audit_functions[] = {
	{ "current", l_audit_current },
	{ "inbound_session_count", l_audit_inbound_session_count },
	{ NULL, NULL },
};

/* Push a table of these functions. */
static void push_functions(lua_State *L, const luaL_Reg *reg)
{
	lua_newtable(L);
	for (; reg->name; reg++) {
		push_reader(L);
		lua_pushcclosure(L, reg->func, 1);
		lua_setfield(L, -2, reg->name);
	}
}

/*
 * Beside the functions, the module has `_VERSION`, and `methods`: the methods of accept
 * constructs, for modules that add some, as msys.extended.ac does.
 */
int luaopen_conncount(lua_State *L)
{
#if LUA_VERSION_NUM >= 502
	luaL_checkversion(L);
#endif
	push_functions(L, functions);
	push_functions(L, audit_functions);
	lua_setfield(L, -2, "audit");

	push_accept_metatable(L);
	lua_getfield(L, -1, "__index");
	lua_setfield(L, -3, "methods");
	lua_pop(L, 1);

	lua_pushstring(L, conncount_version());
	lua_setfield(L, -2, "_VERSION");
	return 1;
}
