// SPDX-License-Identifier: BSD-2-Clause
/*
 * arguments.c - the errors that the module raises, and checks of arguments.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "binding.h"

/*
 * Push a value as an error message shows it: quoted, cut if it is long, with control characters
 * escaped, because messages go to logs. A value without a text (a table) gives an empty string.
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

_Noreturn void ccl_bad(lua_State *L, int idx, const char *what, const char *format, ...)
{
	const char *text, *why;
	va_list args;

	text = push_quoted(L, idx); /* first: the next push could take a missing value's index */
	va_start(args, format);
	why = lua_pushvfstring(L, format, args);
	va_end(args); /* not reached if Lua has no memory, which is harmless in every Linux ABI */
	luaL_error(L, "%s%s: %s", what, text, why);
	abort(); /* not reached, but luaL_error() is not declared _Noreturn */
}

_Noreturn void ccl_bad_type(lua_State *L, int idx, const char *what, const char *expected)
{
	ccl_bad(L, idx, what, "%s expected, got %s", expected, luaL_typename(L, idx));
}

void ccl_refuse_surplus(lua_State *L, const char *function, int self, int max)
{
	int n = lua_gettop(L) - self;

	if (n > max)
		luaL_error(L, "%s: %d %s at most, got %d", function, max,
			   max == 1 ? "argument" : "arguments", n);
}

const char *ccl_check_string(lua_State *L, int idx, const char *what)
{
	const char *text;
	size_t len;

	if (lua_type(L, idx) != LUA_TSTRING)
		ccl_bad_type(L, idx, what, "string");
	text = lua_tolstring(L, idx, &len);
	if (strlen(text) != len)
		ccl_bad(L, idx, what, "contains a NUL byte");
	return text;
}

bool ccl_is_text(lua_State *L, int idx, const char *text)
{
	const char *value;
	size_t len;

	if (lua_type(L, idx) != LUA_TSTRING)
		return false;
	value = lua_tolstring(L, idx, &len);
	return len == strlen(text) && !memcmp(value, text, len);
}

void ccl_check_network(lua_State *L, int idx, const char *what, const struct accept *ac,
		       struct conncount_cidr *ret_cidr)
{
	const char *text = ccl_check_string(L, idx, what);
	const char *why = NULL;

	if (!ac && *text == '/')
		ccl_bad(L, idx, what,
			"a prefix length alone needs a current session "
			"(msys.audit.current(ac) sets it)");
	if (conncount_cidr_parse(text, ac ? &ac->remote : NULL, ret_cidr, &why))
		ccl_bad(L, idx, what, "%s", why);
}

struct endpoint ccl_check_endpoint(lua_State *L, int idx, const char *what)
{
	struct endpoint end;
	const char *why = NULL;

	if (conncount_address_parse(ccl_check_string(L, idx, what), &end.addr, &end.port, &why))
		ccl_bad(L, idx, what, "%s", why);
	return end;
}
