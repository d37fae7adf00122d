// SPDX-License-Identifier: BSD-2-Clause
/*
 * opened_connections.c - Lua: how many connections a network has opened in windows of time.
 */
#include <errno.h>
#include <math.h>

#include "binding.h"

#define CONNECTIONS "connections"
#define ARG_MONITOR CONNECTIONS ": bad argument #1 (monitor)"
#define ARG_OPTIONS CONNECTIONS ": bad argument #2 (options)"
#define ARG_STARTV  CONNECTIONS ": bad argument #2 (startv)"
#define ARG_ENDV    CONNECTIONS ": bad argument #2 (endv)"
#define ARG_CIDR    CONNECTIONS ": bad argument #2 (cidr)"
#define ARG_CLUSTER CONNECTIONS ": bad argument #2 (cluster)"
#define ARG_SERVICE CONNECTIONS ": bad argument #2 (service)"

/* Where things are on the stack: the session or nil, the arguments, the values of the options. */
enum { AC = 1, MONITOR, OPTIONS, STARTV, ENDV, CIDR, CLUSTER, SERVICE };

/* --- arguments ---------------------------------------------------------------------------- */

/* Where the value of the option belongs whose name is at @idx. */
static int option_place(lua_State *L, int idx)
{
	static const char *const names[] = { "startv", "endv", "cidr", "cluster", "service" };

	for (int i = STARTV; i <= SERVICE; i++)
		if (ccl_is_text(L, idx, names[i - STARTV]))
			return i;
	ccl_bad(L, idx, CONNECTIONS ": unknown option",
		"the options are 'startv', 'endv', 'cidr', 'cluster' and 'service'");
}

/* Put the values of the options in their places. The table is read raw, so it runs no code. */
static void place_options(lua_State *L)
{
	enum { KEY = SERVICE + 1 };

	lua_settop(L, SERVICE);
	switch (lua_type(L, OPTIONS)) {
	case LUA_TNIL:
		break;
	case LUA_TSTRING:
		lua_pushvalue(L, OPTIONS);
		lua_replace(L, CIDR);
		break;
	case LUA_TTABLE:
		lua_pushnil(L);
		while (lua_next(L, OPTIONS))
			lua_replace(L, option_place(L, KEY));
		break;
	default:
		ccl_bad_type(L, OPTIONS, ARG_OPTIONS, "table or string");
	}
}

static struct conncount_window check_monitor(lua_State *L)
{
	struct conncount_window window;

	if (conncount_window_parse(ccl_check_string(L, MONITOR, ARG_MONITOR), &window))
		ccl_bad(L, MONITOR, ARG_MONITOR, "expected 'SECONDS,WINDOWS', such as '60,1'");
	return window;
}

/* Push "60,1". */
static const char *push_window(lua_State *L, const struct conncount_window *window)
{
	char text[CONNCOUNT_WINDOW_SIZE];

	lua_pushstring(L, conncount_window_format(window, text));
	return lua_tostring(L, -1);
}

/* The number of one of the windows; nil is the current one. */
static uint32_t check_number(lua_State *L, int idx, const char *what,
			     const struct conncount_window *window)
{
	lua_Number number;

	if (lua_isnil(L, idx))
		return 0;
	if (lua_type(L, idx) != LUA_TNUMBER)
		ccl_bad_type(L, idx, what, "number");
	number = lua_tonumber(L, idx);
	if (!(number >= 0 && number <= window->windows) || number != (uint32_t)number)
		ccl_bad(L, idx, what,
			"expected the number of a window of '%s' (0 is the current one)",
			push_window(L, window));
	return (uint32_t)number;
}

/* Either order selects the same windows. */
static void check_range(lua_State *L, struct conncount_window *window)
{
	uint32_t start = check_number(L, STARTV, ARG_STARTV, window);
	uint32_t end = check_number(L, ENDV, ARG_ENDV, window);

	window->from = start < end ? start : end;
	window->to = start < end ? end : start;
}

static void check_cidr(lua_State *L, struct conncount_cidr *ret_cidr)
{
	const struct accept *ac = lua_touserdata(L, AC);

	if (!lua_isnil(L, CIDR))
		ccl_check_network(L, CIDR, ARG_CIDR, ac, ret_cidr);
	else if (ac)
		*ret_cidr = ac->remote;
	else
		luaL_error(L, CONNECTIONS ": without a cidr it needs a current session "
					  "(msys.audit.current(ac) sets it)");
}

/* The service; NULL: the default one. */
static const char *check_service(lua_State *L)
{
	const char *service;

	if (!lua_isnil(L, CLUSTER) && !lua_isboolean(L, CLUSTER))
		ccl_bad_type(L, CLUSTER, ARG_CLUSTER, "boolean");
	if (lua_isnil(L, SERVICE))
		return lua_toboolean(L, CLUSTER) ? CONNCOUNT_SERVICE_CLUSTER : NULL;
	service = ccl_check_string(L, SERVICE, ARG_SERVICE);
	if (lua_toboolean(L, CLUSTER))
		ccl_bad(L, SERVICE, ARG_SERVICE, "cluster = true excludes a service");
	if (!*service) /* unknown in every configuration, so none needs to be loaded */
		ccl_unknown_service(L, SERVICE, ARG_SERVICE, NULL);
	return service;
}

/* --- answers ------------------------------------------------------------------------------ */

/* Push "60,1 and 900,4": the windows that are configured; or "none". */
static const char *push_configured(lua_State *L, struct conncount *cc)
{
	struct conncount_windows windows;

	if (conncount_windows(cc, &windows) || !windows.n) {
		lua_pushliteral(L, "none");
		return lua_tostring(L, -1);
	}
	for (uint32_t i = 0; i < windows.n; i++) {
		if (i)
			lua_pushliteral(L, " and ");
		push_window(L, &windows.window[i]);
	}
	lua_concat(L, 2 * (int)windows.n - 1);
	return lua_tostring(L, -1);
}

static _Noreturn void unknown_monitor(lua_State *L, const struct conncount_window *window,
				      struct conncount *cc)
{
	ccl_bad(L, MONITOR, ARG_MONITOR,
		"no such window is configured (configured: %s; add 'window = %s' to the "
		"configuration)",
		push_configured(L, cc), push_window(L, window));
}

/* Push the count, and the error if it is not exact. */
static int push_connections(lua_State *L, const struct conncount_connections *answer)
{
	lua_pushinteger(L, (lua_Integer)answer->count);
	if (answer->flags & CONNCOUNT_EXACT)
		return 1;
	if (answer->flags & CONNCOUNT_DETACHED || answer->most == INT64_MAX)
		lua_pushnumber(L, HUGE_VAL);
	else
		lua_pushinteger(L, (lua_Integer)(answer->most - answer->count));
	return 2;
}

/* Answer a call whose session and arguments are on the stack. */
static int answer_call(lua_State *L)
{
	struct conncount_connections answer;
	struct conncount *cc;
	struct conncount_window window = check_monitor(L);
	struct conncount_cidr cidr;
	const char *service;
	int err;

	place_options(L);
	check_range(L, &window);
	check_cidr(L, &cidr);
	service = check_service(L);
	err = ccl_reader_handle(L, &cc);
	if (err)
		return ccl_push_failure(L, err);
	err = conncount_connections(cc, service, NULL, &window, &cidr, &answer);
	switch (err) {
	case 0:
		return push_connections(L, &answer);
	case -ENODATA:
		unknown_monitor(L, &window, cc);
	case -ESRCH:
		ccl_unknown_service(L, SERVICE, ARG_SERVICE, cc);
	case -EDOM:
		ccl_bad(L, CIDR, ARG_CIDR,
			"windows are not kept for the prefix lengths from 65 to 127 (ask about "
			"/64 or /128)");
	default:
		return ccl_push_failure(L, err);
	}
}

/* --- functions ---------------------------------------------------------------------------- */

/*
 * conncount.connections(ac, monitor, options) - how many connections a network has opened in
 * windows of time, whether they are still open or not. msys.extended.ac makes it a method of accept
 * constructs.
 * monitor: 'SECONDS,WINDOWS', as a `window` line of the configuration has it.
 * options: a table with these fields, or only the cidr, or nil:
 *   startv, endv: the result is the sum of these windows and those between; nil: 0, the current.
 *   cidr: the network of the clients, as in conncount.inbound_session_count(); nil: exactly the
 *   connecting address.
 *   service: the service that accepted the connections; nil: 'SMTP'.
 *   cluster: true: the inbound SMTP connections of all hosts of the cluster.
 *
 * Returns an integer. If it is not exact, it is the least that the number can be, and a second
 * number says how much more it can be; math.huge: that is not known. Returns nil, message, errno if
 * the system fails. Raises an error if an argument is malformed, or if the window or the service is
 * not configured.
 */
int ccl_connections(lua_State *L)
{
	if (!ccl_test_accept(L, AC))
		return luaL_error(L,
				  CONNECTIONS ": accept construct expected before the colon, got "
					      "%s (the call is ac:" CONNECTIONS "(...))",
				  luaL_typename(L, AC));
	ccl_refuse_surplus(L, CONNECTIONS, 1, 2);
	return answer_call(L);
}

/*
 * conncount.audit.connections(monitor, options) - the same for the current session. There need be
 * none if options has an absolute cidr.
 */
int ccl_audit_connections(lua_State *L)
{
	ccl_refuse_surplus(L, CONNECTIONS, 0, 2);
	ccl_push_current(L);
	lua_insert(L, AC);
	return answer_call(L);
}

static int refuse_messages(lua_State *L, const char *function)
{
	return luaL_error(L,
			  "%s: conncount sees connections, not messages (count connections with "
			  "msys.audit.connections, or messages in the mail server)",
			  function);
}

/* conncount.audit.receptions(), conncount.audit.rejections() - raise an error that says why not. */
int ccl_audit_receptions(lua_State *L)
{
	return refuse_messages(L, "receptions");
}

int ccl_audit_rejections(lua_State *L)
{
	return refuse_messages(L, "rejections");
}
