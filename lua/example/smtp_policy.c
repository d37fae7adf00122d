// SPDX-License-Identifier: BSD-2-Clause
/*
 * smtp_policy.c - the server's Lua state. It runs msys.lua, which has what Momentum's policies
 * expect; this file only calls it.
 *
 * Nearly every call of Lua's C interface can raise an error, for example if there is no memory. So
 * only functions named in_*() use the state, and enter() calls them in protected mode.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <conncount_lua.h>

#include "smtp_policy.h"

struct policy {
	lua_State *L;
	int server; /* reference to the table of functions that msys.lua returns */
};

/* Add a traceback to an error message. */
static int in_handler(lua_State *L)
{
	luaL_traceback(L, L, lua_tostring(L, 1), 1);
	return 1;
}

/*
 * Call @function with @call in a light userdata. Returns whether it succeeded; if not, it has
 * printed why on standard error.
 */
static bool enter(struct policy *policy, lua_CFunction function, void *call)
{
	lua_State *L = policy->L;
	const char *message;
	bool ok;

	/* None of these needs memory: the stack has room for 20 values from the start. */
	lua_pushcfunction(L, in_handler);
	lua_pushcfunction(L, function);
	lua_pushlightuserdata(L, call);
	ok = lua_pcall(L, 1, 0, 1) == LUA_OK;
	if (!ok) {
		message = lua_tostring(L, -1);
		fprintf(stderr, "server: policy: %s\n", message ? message : "error without text");
	}
	lua_settop(L, 0);
	return ok;
}

/* Push one of the functions that msys.lua returns. */
static void push_server_function(lua_State *L, const struct policy *policy, const char *name)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, policy->server);
	lua_getfield(L, -1, name);
	lua_remove(L, -2);
}

/* --- start and end ------------------------------------------------------------------------ */

struct open_call {
	struct policy *policy;
	char *const *scripts;
	size_t n;
};

static int in_open(lua_State *L)
{
	struct open_call *call = lua_touserdata(L, 1);

	luaL_openlibs(L);
	/* The module that is linked in, not a conncount.so, perhaps of another version. */
	luaL_requiref(L, "conncount", luaopen_conncount, 0);
	lua_pop(L, 1);

	if (luaL_loadfile(L, SERVER_DIR "/msys.lua"))
		return lua_error(L);
	lua_call(L, 0, 1);
	call->policy->server = luaL_ref(L, LUA_REGISTRYINDEX);

	for (size_t i = 0; i < call->n; i++) {
		if (luaL_loadfile(L, call->scripts[i]))
			return lua_error(L);
		lua_call(L, 0, 0);
	}
	push_server_function(L, call->policy, "init");
	lua_call(L, 0, 0);
	return 0;
}

struct policy *policy_open(char *const *scripts, size_t n)
{
	struct policy *policy = calloc(1, sizeof(*policy));
	struct open_call call = { .policy = policy, .scripts = scripts, .n = n };

	if (policy)
		policy->L = luaL_newstate();
	if (!policy || !policy->L) {
		fprintf(stderr, "server: no memory for the policies\n");
		free(policy);
		return NULL;
	}
	if (!enter(policy, in_open, &call)) {
		lua_close(policy->L);
		free(policy);
		return NULL;
	}
	return policy;
}

static int in_close(lua_State *L)
{
	push_server_function(L, lua_touserdata(L, 1), "deinit");
	lua_call(L, 0, 0);
	return 0;
}

void policy_close(struct policy *policy)
{
	if (!policy)
		return;
	enter(policy, in_close, policy);
	lua_close(policy->L);
	free(policy);
}

/* --- sessions ----------------------------------------------------------------------------- */

struct begin_call {
	const struct policy *policy;
	const struct sockaddr *remote, *local;
	int session;
};

static int in_begin(lua_State *L)
{
	struct begin_call *call = lua_touserdata(L, 1);
	int err;

	push_server_function(L, call->policy, "begin");
	err = conncount_lua_push_accept(L, call->remote, call->local);
	if (err)
		return luaL_error(L, "cannot hand over a session: %s", strerror(-err));
	lua_call(L, 1, 1);
	call->session = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

int policy_begin(struct policy *policy, const struct sockaddr *remote, const struct sockaddr *local)
{
	struct begin_call call = {
		.policy = policy,
		.remote = remote,
		.local = local,
		.session = POLICY_NONE,
	};

	return enter(policy, in_begin, &call) ? call.session : POLICY_NONE;
}

void policy_end(struct policy *policy, int session)
{
	if (session != POLICY_NONE)
		luaL_unref(policy->L, LUA_REGISTRYINDEX, session); /* raises no error */
}

struct run_call {
	const struct policy *policy;
	int session;
	const char *hook;
	const char *argument;
	struct verdict *verdict;
};

static int in_run(lua_State *L)
{
	struct run_call *call = lua_touserdata(L, 1);
	struct verdict *verdict = call->verdict;

	push_server_function(L, call->policy, "run");
	lua_rawgeti(L, LUA_REGISTRYINDEX, call->session);
	lua_pushstring(L, call->hook);
	lua_pushstring(L, call->argument); /* NULL is nil */
	lua_call(L, 3, 4);

	verdict->code = (int)lua_tointeger(L, -4);
	snprintf(verdict->text, sizeof(verdict->text), "%s", luaL_optstring(L, -3, ""));
	verdict->disconnect = lua_toboolean(L, -2);
	verdict->hold = (unsigned)lua_tointeger(L, -1);
	return 0;
}

void policy_run(struct policy *policy, int session, const char *hook, const char *argument,
		struct verdict *ret_verdict)
{
	struct run_call call = {
		.policy = policy,
		.session = session,
		.hook = hook,
		.argument = argument,
		.verdict = ret_verdict,
	};

	*ret_verdict = (struct verdict){};
	if (session != POLICY_NONE && !enter(policy, in_run, &call))
		*ret_verdict = (struct verdict){};
}
