/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * binding.h - what the files of the Lua module share. Its functions are named ccl_*, because
 * libconncount-lua*.a is linked into servers; conncount.so does not export them.
 */
#ifndef BINDING_H
#define BINDING_H

#include <stdbool.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#include "conncount.h"

#pragma GCC visibility push(hidden)

#define ACCEPT_TYPE "conncount.accept"

/* An accept construct: one session, as a policy sees it. It never changes. */
struct accept {
	struct conncount_cidr remote; /* the client's address */
	struct conncount_cidr local;  /* the address that the client connected to */
	uint16_t port;                /* and its port, host byte order */
};

/*
 * How a Lua state reads the counts: a userdata in its registry, and the first upvalue of every
 * function of the module.
 */
struct reader {
	struct conncount *cc; /* NULL until a query has opened it */
	int diag;             /* a sock_diag socket; -1: none yet */
	bool closed;          /* the state is closing: a handle opened now would leak */
};

/* One end of a connection. */
struct endpoint {
	struct conncount_cidr addr; /* a single address */
	uint16_t port;              /* host byte order */
};

/* arguments.c */

/*
 * ccl_bad() - raise "WHAT 'TEXT': WHY" about the value at @idx, which may be missing. @format, as
 * for lua_pushfstring(), is the why.
 */
_Noreturn void ccl_bad(lua_State *L, int idx, const char *what, const char *format, ...);

/* ccl_bad_type() - raise "WHAT 'TEXT': EXPECTED expected, got TYPE" about the value at @idx. */
_Noreturn void ccl_bad_type(lua_State *L, int idx, const char *what, const char *expected);

/*
 * ccl_refuse_surplus() - raise an error if there are more than @max arguments. @self: the number of
 * values on the stack before the first.
 */
void ccl_refuse_surplus(lua_State *L, const char *function, int self, int max);

/*
 * ccl_check_string() - the string at @idx, valid while it is on the stack. Raises an error if the
 * value is not a string, or contains a NUL byte.
 */
const char *ccl_check_string(lua_State *L, int idx, const char *what);

/*
 * ccl_is_text() - whether the value at @idx is the string @text. Converts no number, which would
 * confuse lua_next().
 */
bool ccl_is_text(lua_State *L, int idx, const char *text);

/*
 * ccl_check_network() - the network at @idx. A prefix length alone is the network around the client
 * of @ac; NULL: there is no session. Raises an error if the network is malformed.
 */
void ccl_check_network(lua_State *L, int idx, const char *what, const struct accept *ac,
		       struct conncount_cidr *ret_cidr);

/* ccl_check_endpoint() - the 'ADDRESS:PORT' at @idx. Raises an error if it is malformed. */
struct endpoint ccl_check_endpoint(lua_State *L, int idx, const char *what);

/* conncount.c */

/*
 * ccl_reader_handle() - the handle of the calling function's reader. If opening it fails, the next
 * call tries again. Returns 0 or a negative errno.
 */
int ccl_reader_handle(lua_State *L, struct conncount **ret_cc);

/* ccl_push_failure() - push nil, message, errno for an error of the library. Returns 3. */
int ccl_push_failure(lua_State *L, int err);

/* ccl_push_current() - push the current session of msys.audit, and return it; NULL if there is
 * none. */
const struct accept *ccl_push_current(lua_State *L);

/*
 * ccl_unknown_service() - raise "WHAT 'TEXT': unknown service type (known: ...)" about the value at
 * @idx. @cc: whose service types are known; NULL: those of every configuration.
 */
_Noreturn void ccl_unknown_service(lua_State *L, int idx, const char *what, struct conncount *cc);

/* opened_connections.c: the functions of the module that it describes */

int ccl_connections(lua_State *L);
int ccl_audit_connections(lua_State *L);
int ccl_audit_receptions(lua_State *L);
int ccl_audit_rejections(lua_State *L);

/* accept_construct.c */

/*
 * ccl_push_accept_metatable() - push the metatable of accept constructs. Its __index is the table
 * of their methods, empty until a module adds some.
 */
void ccl_push_accept_metatable(lua_State *L);

/* ccl_test_accept() - the accept construct at @idx; NULL if the value is not one. */
const struct accept *ccl_test_accept(lua_State *L, int idx);

int ccl_accept(lua_State *L); /* conncount.accept() */

/* socket_lookup.c */

int ccl_socket(lua_State *L); /* conncount.socket() */

#pragma GCC visibility pop

#endif
