/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conncount_lua.h - the Lua module `conncount`, for programs that embed Lua.
 *
 * A server that runs policies in an embedded Lua links libconncount-lua5.4.a (or that of the
 * version it embeds; 5.1 for LuaJIT), registers the module once per state and hands each
 * session to the policy:
 *
 *	luaL_requiref(L, "conncount", luaopen_conncount, 0);
 *	lua_pop(L, 1);
 *	...
 *	err = conncount_lua_push_accept(L, remote, local);
 *
 * Lua 5.1 and LuaJIT have no luaL_requiref(). Register the module there by
 *
 *	lua_getglobal(L, "package");
 *	lua_getfield(L, -1, "preload");
 *	lua_pushcfunction(L, luaopen_conncount);
 *	lua_setfield(L, -2, "conncount");
 *	lua_pop(L, 2);
 *
 * Then a policy's require('conncount') finds the module that is linked in, and does not load a
 * conncount.so, perhaps of another version.
 */
#ifndef CONNCOUNT_LUA_H
#define CONNCOUNT_LUA_H

#include <lua.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sockaddr;

/*
 * luaopen_conncount() - open the module, as require('conncount') does.
 *
 * Stack effect: [-0, +1], the module's table. Raises an error only if Lua has no memory.
 */
int luaopen_conncount(lua_State *L);

/*
 * conncount_lua_push_accept() - hand a session to a policy as an accept construct.
 * @L: the state; the module need not have been opened in it.
 * @remote: the client's address, AF_INET or AF_INET6, as getpeername(2) returns it. Behind a proxy,
 *          pass the one that conncount_client_of() returns, or that the PROXY header names: it is
 *          believed.
 * @local: the address and port that accepted the session, as getsockname(2) returns them.
 *
 * Stack effect: [-0, +1] if it returns 0, otherwise [-0, +0]. It makes room on the stack itself and
 * raises no error, so it can be called outside a protected call. It copies the addresses. The
 * accept construct is garbage collected, needs no closing, and may outlive the session.
 *
 * Returns 0; -EAFNOSUPPORT: an address is neither IPv4 nor IPv6; -EINVAL: @local has no
 * port; -ENOMEM: Lua has no memory or no room on its stack; -ECANCELED: Lua refused the call
 * (a debug hook raised an error, or calls are nested too deeply).
 */
int conncount_lua_push_accept(lua_State *L, const struct sockaddr *remote,
			      const struct sockaddr *local);

#ifdef __cplusplus
}
#endif

#endif
