// SPDX-License-Identifier: BSD-2-Clause
/*
 * conncount.c - the Lua module `conncount`, for Lua 5.1, 5.3, 5.4 and LuaJIT. The binding uses only
 * the C interface that all of them have. LuaJIT loads the module that is built for Lua 5.1.
 *
 * A mistake in the policy (a malformed argument, an unknown service type) raises an error. A
 * failure of the system (nothing loaded, not permitted) returns nil, message, errno, so that the
 * policy can go on.
 *
 * Raising an error is a longjmp. So no C function owns a resource across a call that can raise one:
 * a userdata owns the handle from the start, and everything else is on a stack.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "binding.h"
#include "conncount_lua.h"

/* Keys in a state's registry: its reader, and the current session of msys.audit. */
#define READER  "conncount.reader"
#define CURRENT "conncount.current"

/* How error messages name functions and arguments. */
#define NETWORK     "network"
#define SERVICE     "service"
#define COUNT       "inbound_session_count"
#define ARG_CIDR    COUNT ": bad argument #1 (cidr)"
#define ARG_SERVICE COUNT ": bad argument #2 (service_type)"

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

/* Push the state's reader; the first call makes it. */
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

int ccl_reader_handle(lua_State *L, struct conncount **ret_cc)
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

int ccl_push_failure(lua_State *L, int err)
{
	char buf[CONNCOUNT_ERROR_SIZE];

	lua_pushnil(L);
	lua_pushstring(L, conncount_strerror(NULL, err, buf, sizeof(buf)));
	lua_pushinteger(L, -err);
	return 3;
}

/* Push why a count is not exact, for example "2 sessions are not counted". */
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
		lua_pushfstring(L, "%ssessions that were already open are still being counted",
				n ? ", " : "");
		n++;
	}
	if (answer->flags & CONNCOUNT_DETACHED) {
		lua_pushfstring(L, "%sthe counted cgroup was removed", n ? ", " : "");
		n++;
	}
	if (answer->flags & CONNCOUNT_CLUSTER) {
		char why[CONNCOUNT_ERROR_SIZE];
		struct conncount *cc = NULL;

		ccl_reader_handle(L, &cc);
		lua_pushfstring(L, "%s%s", n ? ", " : "",
				conncount_cluster_why(cc, why, sizeof(why)));
		n++;
	}
	lua_concat(L, n);
}

static int push_answer(lua_State *L, int err, const struct conncount_answer *answer)
{
	if (err)
		return ccl_push_failure(L, err);
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

	err = ccl_reader_handle(L, &cc);
	if (!err)
		err = conncount_count_local(cc, &ac->local, ac->port, &ac->remote, &answer);
	if (err != -ESRCH)
		return push_answer(L, err, &answer);

	/* The session exists, so a count of 0 would be wrong. */
	return push_no_listener(L, &ac->local, ac->port);
}

_Noreturn void ccl_unknown_service(lua_State *L, int idx, const char *what, struct conncount *cc)
{
	char buf[1024];

	ccl_bad(L, idx, what, "unknown service type (known: %s)",
		conncount_services(cc, buf, sizeof(buf)));
}

/* Count the sessions from @cidr to the service named at @idx; nil or none: the default service. */
static int count_service(lua_State *L, int idx, const struct conncount_cidr *cidr)
{
	struct conncount_answer answer;
	const char *service = NULL;
	struct conncount *cc = NULL;
	int err;

	if (!lua_isnoneornil(L, idx)) {
		service = ccl_check_string(L, idx, ARG_SERVICE);
		if (!*service) /* unknown in every configuration, so none needs to be loaded */
			ccl_unknown_service(L, idx, ARG_SERVICE, NULL);
	}
	err = ccl_reader_handle(L, &cc);
	if (!err)
		err = conncount_count_service(cc, service, cidr, &answer);
	if (err == -ESRCH)
		ccl_unknown_service(L, idx, ARG_SERVICE, cc);
	return push_answer(L, err, &answer);
}

/*
 * conncount.inbound_session_count(ac, cidr, service_type) - how many sessions are open now.
 * msys.extended.ac makes it a method of accept constructs.
 * cidr: the network of the clients; `/len` is the network of that length around the connecting
 * address; nil: exactly the connecting address.
 * service_type: the service that accepted the sessions; nil: 'SMTP' if cidr is given, otherwise
 * this session's listener.
 *
 * Returns an integer; if it is not exact, also a string that says why. Returns nil, message, errno
 * if the system fails, or if this session's listener is not configured. Raises an error if an
 * argument is malformed or the service type is unknown.
 */
static int l_inbound_session_count(lua_State *L)
{
	const struct accept *ac = ccl_test_accept(L, 1);
	struct conncount_cidr cidr;

	if (!ac)
		return luaL_error(L,
				  COUNT ": accept construct expected before the colon, got %s "
					"(the call is ac:" COUNT "(...))",
				  luaL_typename(L, 1));
	ccl_refuse_surplus(L, COUNT, 1, 2);
	if (lua_isnoneornil(L, 2) && lua_isnoneornil(L, 3))
		return count_local(L, ac);
	if (lua_isnoneornil(L, 2))
		return count_service(L, 3, &ac->remote);
	ccl_check_network(L, 2, ARG_CIDR, ac, &cidr);
	return count_service(L, 3, &cidr);
}

/*
 * conncount.audit.current(ac) - make a session the current one of this Lua state, for
 * conncount.audit.inbound_session_count() and conncount.audit.connections(). nil: there is no
 * current session. Returns nothing.
 */
static int l_audit_current(lua_State *L)
{
	ccl_refuse_surplus(L, "current", 0, 1);
	if (lua_type(L, 1) != LUA_TNIL && !ccl_test_accept(L, 1))
		ccl_bad_type(L, 1, "current: bad argument #1", "accept construct or nil");
	lua_setfield(L, LUA_REGISTRYINDEX, CURRENT);
	return 0;
}

const struct accept *ccl_push_current(lua_State *L)
{
	lua_getfield(L, LUA_REGISTRYINDEX, CURRENT);
	return lua_touserdata(L, -1);
}

/*
 * conncount.audit.inbound_session_count(cidr, service_type) - how many sessions are open now
 * from a network to a service. Both are required; `/len` needs a current session.
 *
 * Returns and raises the same as conncount.inbound_session_count().
 */
static int l_audit_inbound_session_count(lua_State *L)
{
	struct conncount_cidr cidr;

	ccl_refuse_surplus(L, COUNT, 0, 2);
	ccl_check_string(L, 1, ARG_CIDR);
	ccl_check_string(L, 2, ARG_SERVICE);
	ccl_check_network(L, 1, ARG_CIDR, ccl_push_current(L), &cidr);
	return count_service(L, 2, &cidr);
}

/* --- for services that decide for a server ------------------------------------------------ */

/*
 * conncount.network(cidr) - normalise a network.
 *
 * Returns the network as conncount writes it, the same text for equal networks; its family, 4 or 6;
 * and its prefix length. Raises an error if it is malformed.
 */
static int l_network(lua_State *L)
{
	static const char what[] = NETWORK ": bad argument #1 (cidr)";
	char text[CONNCOUNT_CIDR_SIZE];
	struct conncount_cidr cidr;
	const char *why = NULL;

	ccl_refuse_surplus(L, NETWORK, 0, 1);
	if (conncount_cidr_parse(ccl_check_string(L, 1, what), NULL, &cidr, &why))
		ccl_bad(L, 1, what, "%s", why);
	lua_pushstring(L, conncount_cidr_format(&cidr, text));
	lua_pushinteger(L, cidr.family == CONNCOUNT_IPV4 ? 4 : 6);
	lua_pushinteger(L, cidr.prefixlen);
	return 3;
}

/*
 * conncount.service(local) - the service type of the listener at a local address, 'ADDRESS:PORT'.
 *
 * Returns its name; nil, message, errno if the system fails, or if no listener is configured for
 * that address. Raises an error if the address is malformed.
 */
static int l_service(lua_State *L)
{
	struct endpoint local = { 0 };
	char service[CONNCOUNT_NAME_SIZE];
	struct conncount *cc;
	int err;

	ccl_refuse_surplus(L, SERVICE, 0, 1);
	local = ccl_check_endpoint(L, 1, SERVICE ": bad argument #1 (local)");
	err = ccl_reader_handle(L, &cc);
	if (!err)
		err = conncount_service_of(cc, &local.addr, local.port, service);
	if (err == -ESRCH)
		return push_no_listener(L, &local.addr, local.port);
	if (err)
		return ccl_push_failure(L, err);
	lua_pushstring(L, service);
	return 1;
}

/* --- the module --------------------------------------------------------------------------- */

static const luaL_Reg functions[] = {
	{ "accept", ccl_accept },
	{ "connections", ccl_connections },
	{ "inbound_session_count", l_inbound_session_count },
	{ "network", l_network },
	{ "service", l_service },
	{ "socket", ccl_socket },
	{ NULL, NULL },
};

static const luaL_Reg audit_functions[] = {
	{ "connections", ccl_audit_connections },
	{ "current", l_audit_current },
	{ "inbound_session_count", l_audit_inbound_session_count },
	{ "receptions", ccl_audit_receptions },
	{ "rejections", ccl_audit_rejections },
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
 * The module also has `_VERSION`, and `methods`, the table of the methods of accept constructs:
 * msys.extended.ac and other modules can add some.
 */
int luaopen_conncount(lua_State *L)
{
#if LUA_VERSION_NUM >= 502
	luaL_checkversion(L);
#endif
	push_functions(L, functions);
	push_functions(L, audit_functions);
	lua_setfield(L, -2, "audit");

	ccl_push_accept_metatable(L);
	lua_getfield(L, -1, "__index");
	lua_setfield(L, -3, "methods");
	lua_pop(L, 1);

	lua_pushstring(L, conncount_version());
	lua_setfield(L, -2, "_VERSION");
	return 1;
}
