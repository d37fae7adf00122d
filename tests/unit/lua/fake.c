// SPDX-License-Identifier: BSD-2-Clause
/*
 * fake.c - stands in for the parts of libconncount that ask the kernel, so that answers.lua
 * can decide what they answer and see what they were asked. It is linked with the binding
 * and the library's cidr.c and window.c into a module `conncount`, whose second entry,
 * luaopen_fake(), gives the functions that steer it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lua.h>

#include "conncount.h"

struct conncount {
	int unused;
};

static struct conncount_answer answer;
static struct conncount_connections connections;
static int open_error, query_error;
static int opened;
static char asked[256];

int conncount_open(const char *dir, struct conncount **ret)
{
	opened++;
	if (dir)
		return -EINVAL; /* the binding leaves the instance to the library */
	if (open_error)
		return -open_error;
	*ret = calloc(1, sizeof(**ret)); /* a leak checker sees whether it is closed */
	return *ret ? 0 : -ENOMEM;
}

void conncount_close(struct conncount *cc)
{
	if (cc)
		fputs("closed\n", stderr);
	free(cc);
}

char *conncount_strerror(const char *dir, int err, char *buf, size_t size)
{
	(void)dir;
	snprintf(buf, size, "fake error %d", -err);
	return buf;
}

char *conncount_services(struct conncount *cc, char *buf, size_t size)
{
	snprintf(buf, size, "SMTP, Control%s", cc ? ", mine" : "");
	return buf;
}

static int give(struct conncount_answer *ret_answer)
{
	if (query_error)
		return -query_error;
	*ret_answer = answer;
	return 0;
}

int conncount_count_service(struct conncount *cc, const char *service,
			    const struct conncount_cidr *cidr, struct conncount_answer *ret_answer)
{
	char text[CONNCOUNT_CIDR_SIZE];

	(void)cc;
	snprintf(asked, sizeof(asked), "service %s %s", service ? service : "(default)",
		 conncount_cidr_format(cidr, text));
	return give(ret_answer);
}

int conncount_count_local(struct conncount *cc, const struct conncount_cidr *local, uint16_t port,
			  const struct conncount_cidr *cidr, struct conncount_answer *ret_answer)
{
	char at[CONNCOUNT_CIDR_SIZE], from[CONNCOUNT_CIDR_SIZE];

	(void)cc;
	snprintf(asked, sizeof(asked), "local %s %u %s", conncount_cidr_format(local, at), port,
		 conncount_cidr_format(cidr, from));
	return give(ret_answer);
}

int conncount_connections(struct conncount *cc, const char *service, const char *listener,
			  const struct conncount_window *window, const struct conncount_cidr *cidr,
			  struct conncount_connections *ret)
{
	char text[CONNCOUNT_CIDR_SIZE];

	(void)cc;
	snprintf(asked, sizeof(asked), "windows %u to %u of %u,%u%s: service %s %s%s", window->from,
		 window->to, window->seconds, window->windows, window->smooth ? " smooth" : "",
		 service ? service : "(default)", conncount_cidr_format(cidr, text),
		 listener ? " listener" : "");
	if (query_error)
		return -query_error;
	*ret = connections;
	return 0;
}

int conncount_windows(struct conncount *cc, struct conncount_windows *ret_windows)
{
	(void)cc;
	*ret_windows = (struct conncount_windows){
		.n = answer.count ? 2 : 0,
		.window = { { .seconds = 60, .windows = 1 }, { .seconds = 900, .windows = 4 } },
	};
	return 0;
}

int conncount_service_of(struct conncount *cc, const struct conncount_cidr *local, uint16_t port,
			 char *ret_service)
{
	char at[CONNCOUNT_CIDR_SIZE];

	(void)cc;
	snprintf(asked, sizeof(asked), "service of %s %u", conncount_cidr_format(local, at), port);
	if (query_error)
		return -query_error;
	snprintf(ret_service, CONNCOUNT_NAME_SIZE, "mine");
	return 0;
}

char *conncount_cluster_why(struct conncount *cc, char *buf, size_t size)
{
	snprintf(buf, size, "cluster: %s", cc ? "cut off for 14 s" : "its state cannot be read");
	return buf;
}

int conncount_client_of(struct conncount *cc, int fd, struct conncount_cidr *ret_client)
{
	const char *why;

	(void)cc;
	snprintf(asked, sizeof(asked), "client of %d", fd);
	if (query_error)
		return -query_error;
	return conncount_cidr_parse("203.0.113.9", NULL, ret_client, &why);
}

const char *conncount_version(void)
{
	return "0.0.0";
}

static lua_Integer field(lua_State *L, const char *name)
{
	lua_Integer value;

	lua_getfield(L, 1, name);
	value = lua_isboolean(L, -1) ? lua_toboolean(L, -1) : luaL_optinteger(L, -1, 0);
	lua_pop(L, 1);
	return value;
}

/*
 * fake.answer{ count, uncounted, lost, seeding, detached, cluster, open_error, error }; of windows
 * count, missed (-1: not known) and detached. Windows are configured if count is not 0.
 */
static int fake_answer(lua_State *L)
{
	int64_t missed = field(L, "missed");

	answer = (struct conncount_answer){
		.count = field(L, "count"),
		.uncounted = field(L, "uncounted"),
		.lost = (uint64_t)field(L, "lost"),
	};
	if (field(L, "seeding"))
		answer.flags |= CONNCOUNT_SEEDING;
	if (field(L, "detached"))
		answer.flags |= CONNCOUNT_DETACHED;
	if (field(L, "cluster"))
		answer.flags |= CONNCOUNT_CLUSTER;
	if (!answer.uncounted && !answer.lost && !answer.flags)
		answer.flags = CONNCOUNT_EXACT;
	connections = (struct conncount_connections){
		.count = answer.count,
		.least = answer.count,
		.most = missed < 0 ? INT64_MAX : answer.count + missed,
	};
	if (answer.flags & CONNCOUNT_DETACHED)
		connections.flags = CONNCOUNT_DETACHED;
	else if (!missed)
		connections.flags = CONNCOUNT_EXACT;
	open_error = (int)field(L, "open_error");
	query_error = (int)field(L, "error");
	return 0;
}

/* fake.asked() - the last query, as text */
static int fake_asked(lua_State *L)
{
	lua_pushstring(L, asked);
	return 1;
}

/* fake.opened() - how often conncount_open() was called */
static int fake_opened(lua_State *L)
{
	lua_pushinteger(L, opened);
	return 1;
}

int luaopen_fake(lua_State *L);

int luaopen_fake(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "answer", fake_answer },
		{ "asked", fake_asked },
		{ "opened", fake_opened },
		{ NULL, NULL },
	};

	lua_newtable(L);
	for (const luaL_Reg *reg = functions; reg->name; reg++) {
		lua_pushcfunction(L, reg->func);
		lua_setfield(L, -2, reg->name);
	}
	return 1;
}
