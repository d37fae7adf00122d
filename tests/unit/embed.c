// SPDX-License-Identifier: BSD-2-Clause
/*
 * embed.c - a server that embeds Lua, as small as it gets: it accepts connections, hands each
 * to a policy with conncount_lua_push_accept(), and runs the policy.
 *
 *	embed POLICY		once for each kind of session
 *	embed -m POLICY		the same under every possible shortage of memory
 *	embed -e		the errors of conncount_lua_push_accept()
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "conncount_lua.h"

#define CHECK(condition)                                                                      \
	do {                                                                                  \
		if (!(condition)) {                                                           \
			fprintf(stderr, "%s:%d: not so: %s (errno %d)\n", __FILE__, __LINE__, \
				#condition, errno);                                           \
			exit(1);                                                              \
		}                                                                             \
	} while (0)

struct session {
	const char *kind;
	int listener;
	int client;
	int server;
	struct sockaddr_storage remote;
	struct sockaddr_storage local;
};

/* Sockets that are no session, and what asking about them gives. */
struct other {
	const char *name;
	int fd;
	int err;
};

static struct other others[] = {
	{ .name = "listening", .err = ENOTCONN },
	{ .name = "udp", .err = EPROTOTYPE },
	{ .name = "unix", .err = EAFNOSUPPORT },
};

/* An allocator that has nothing more to give after so many requests. */
struct shortage {
	long left;
	bool hit;
};

static void *scarce_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
	struct shortage *shortage = ud;

	if (!nsize) {
		free(ptr);
		return NULL;
	}
	if (ptr && nsize <= osize)
		return realloc(ptr, nsize);
	if (shortage->left <= 0) {
		shortage->hit = true;
		return NULL;
	}
	shortage->left--;
	return realloc(ptr, nsize);
}

/* --- sessions ----------------------------------------------------------------------------- */

/* Returns the size of the address. @port: network byte order. */
static socklen_t set_address(struct sockaddr_storage *addr, const char *text, in_port_t port)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)addr;
	struct sockaddr_in *v4 = (struct sockaddr_in *)addr;

	memset(addr, 0, sizeof(*addr));
	if (strchr(text, ':')) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = port;
		CHECK(inet_pton(AF_INET6, text, &v6->sin6_addr) == 1);
		return sizeof(*v6);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = port;
	CHECK(inet_pton(AF_INET, text, &v4->sin_addr) == 1);
	return sizeof(*v4);
}

/* Listen on the address @at, on any port, connect to @to there, and accept. */
static void open_session(struct session *s, const char *kind, const char *at, const char *to)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int off = 0;

	s->kind = kind;
	len = set_address(&addr, at, 0);
	s->listener = socket(addr.ss_family, SOCK_STREAM, 0);
	if (addr.ss_family == AF_INET6)
		CHECK(!setsockopt(s->listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)));
	CHECK(!bind(s->listener, (struct sockaddr *)&addr, len));
	CHECK(!listen(s->listener, 1));
	CHECK(!getsockname(s->listener, (struct sockaddr *)&addr, &len));

	/* The port is at the same place in addresses of both families. */
	len = set_address(&addr, to, ((struct sockaddr_in *)&addr)->sin_port);
	s->client = socket(addr.ss_family, SOCK_STREAM, 0);
	CHECK(!connect(s->client, (struct sockaddr *)&addr, len));

	len = sizeof(s->remote);
	s->server = accept(s->listener, (struct sockaddr *)&s->remote, &len);
	CHECK(s->server >= 0);
	len = sizeof(s->local);
	CHECK(!getsockname(s->server, (struct sockaddr *)&s->local, &len));
}

static void close_session(struct session *s)
{
	close(s->client);
	close(s->server);
	close(s->listener);
}

static void open_others(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int pair[2];

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	others[0].fd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!listen(others[0].fd, 1));
	others[1].fd = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(!connect(others[1].fd, (struct sockaddr *)&to, sizeof(to)));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	others[2].fd = pair[0];
	close(pair[1]);
}

/* --- the policy --------------------------------------------------------------------------- */

/* As conncount_lua.h says it is done. */
static void register_module(lua_State *L)
{
#if LUA_VERSION_NUM >= 502
	luaL_requiref(L, "conncount", luaopen_conncount, 0);
	lua_pop(L, 1);
#else
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "preload");
	lua_pushcfunction(L, luaopen_conncount);
	lua_setfield(L, -2, "conncount");
	lua_pop(L, 2);
#endif
}

struct run {
	const struct session *session;
	const char *policy; /* its file */
};

/* Called protected, with the run in a light userdata. */
static int run_policy(lua_State *L)
{
	const struct run *run = lua_touserdata(L, 1);
	const struct session *s = run->session;
	int err;

	luaL_openlibs(L);
	register_module(L);

	err = conncount_lua_push_accept(L, (const struct sockaddr *)&s->remote,
					(const struct sockaddr *)&s->local);
	if (err)
		return luaL_error(L, "conncount_lua_push_accept: %s", strerror(-err));
	lua_setglobal(L, "ac");
	lua_pushinteger(L, s->server);
	lua_setglobal(L, "fd");
	lua_pushstring(L, s->kind);
	lua_setglobal(L, "kind");

	lua_newtable(L);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		lua_newtable(L);
		lua_pushinteger(L, others[i].fd);
		lua_setfield(L, -2, "fd");
		lua_pushinteger(L, others[i].err);
		lua_setfield(L, -2, "errno");
		lua_setfield(L, -2, others[i].name);
	}
	lua_setglobal(L, "others");

	if (luaL_loadfile(L, run->policy))
		return lua_error(L);
	lua_call(L, 0, 0);
	return 0;
}

/* Run the policy in a state of its own. Returns whether it succeeded. */
static bool run(const struct session *s, const char *policy, struct shortage *shortage)
{
	struct run run = { .session = s, .policy = policy };
	long left = shortage->left;
	lua_State *L;
	bool ok;

	/* LuaJIT does not get over a shortage here. */
	shortage->left = 1L << 30;
	L = lua_newstate(scarce_alloc, shortage);
	CHECK(L);
	shortage->left = left;
#if LUA_VERSION_NUM >= 502
	lua_pushcfunction(L, run_policy);
	lua_pushlightuserdata(L, &run);
	ok = lua_pcall(L, 1, 0, 0) == LUA_OK;
#else
	ok = lua_cpcall(L, run_policy, &run) == 0;
#endif
	if (!ok && !shortage->hit)
		fprintf(stderr, "%s: %s\n", s->kind, lua_tostring(L, -1));
	lua_close(L);
	return ok;
}

static void run_all(struct session *sessions, size_t n, char *policy)
{
	for (size_t i = 0; i < n; i++) {
		struct shortage plenty = { .left = 1L << 30 };

		CHECK(run(&sessions[i], policy, &plenty));
		printf("%s: done\n", sessions[i].kind);
	}
}

/* Give it one allocation more each time, until it is enough. Nothing may crash or leak. */
static void run_short(struct session *s, char *policy)
{
	struct shortage shortage;
	long n = -1;
	bool ok;

	do {
		shortage = (struct shortage){ .left = ++n };
		ok = run(s, policy, &shortage);
		CHECK(ok || shortage.hit);
	} while (!ok);
	printf("%ld allocations\n", n);
}

/* --- the errors of conncount_lua_push_accept() --------------------------------------------- */

static void refuse(lua_State *L, lua_Debug *ar)
{
	(void)ar;
	luaL_error(L, "refused");
}

static void check_errors(const struct session *s)
{
	const struct sockaddr *remote = (const struct sockaddr *)&s->remote;
	const struct sockaddr *local = (const struct sockaddr *)&s->local;
	const struct sockaddr_un other = { .sun_family = AF_UNIX };
	const struct sockaddr_in portless = { .sin_family = AF_INET };
	struct shortage shortage = { .left = 1L << 30 };
	lua_State *L = lua_newstate(scarce_alloc, &shortage);
	int top, err;

	CHECK(L);
	CHECK(conncount_lua_push_accept(L, (const struct sockaddr *)&other, local) ==
	      -EAFNOSUPPORT);
	CHECK(conncount_lua_push_accept(L, remote, (const struct sockaddr *)&other) ==
	      -EAFNOSUPPORT);
	CHECK(conncount_lua_push_accept(L, remote, (const struct sockaddr *)&portless) == -EINVAL);

	for (long n = 0;; n++) {
		shortage.left = n;
		err = conncount_lua_push_accept(L, remote, local);
		if (!err)
			break;
		CHECK(err == -ENOMEM);
		CHECK(lua_gettop(L) == 0);
	}
	CHECK(shortage.hit);
	CHECK(lua_gettop(L) == 1);
	lua_pop(L, 1);
	shortage.left = 1L << 30;

	lua_sethook(L, refuse, LUA_MASKCALL, 0);
	CHECK(conncount_lua_push_accept(L, remote, local) == -ECANCELED);
	lua_sethook(L, NULL, 0, 0);
	CHECK(lua_gettop(L) == 0);

	/* The module has not been opened in this state, nor need it have been. */
	CHECK(conncount_lua_push_accept(L, remote, local) == 0);
	CHECK(lua_gettop(L) == 1);
	CHECK(luaL_callmeta(L, 1, "__tostring"));
	CHECK(strstr(lua_tostring(L, -1), "conncount.accept: 127.0.0.1 to 127.0.0.1:"));

	/* A full stack. Some releases of Lua 5.4 then bring out a reserve, and it succeeds. */
	while (lua_checkstack(L, 1))
		lua_pushnil(L);
	top = lua_gettop(L);
	err = conncount_lua_push_accept(L, remote, local);
	CHECK(err == 0 || err == -ENOMEM || err == -ECANCELED);
	CHECK(lua_gettop(L) == top + (err == 0));
	lua_close(L);
}

int main(int argc, char **argv)
{
	struct session sessions[3];

	open_session(&sessions[0], "ipv4", "127.0.0.1", "127.0.0.1");
	open_session(&sessions[1], "ipv6", "::1", "::1");
	open_session(&sessions[2], "mapped", "::", "127.0.0.1");
	open_others();

	if (argc == 2 && !strcmp(argv[1], "-e")) {
		check_errors(&sessions[0]);
	} else if (argc == 3 && !strcmp(argv[1], "-m")) {
		run_short(&sessions[1], argv[2]);
	} else if (argc == 2) {
		run_all(sessions, 3, argv[1]);
	} else {
		fprintf(stderr, "usage: embed [-m] POLICY | embed -e\n");
		return 2;
	}

	for (size_t i = 0; i < 3; i++)
		close_session(&sessions[i]);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		close(others[i].fd);
	return 0;
}
