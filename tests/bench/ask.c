// SPDX-License-Identifier: BSD-2-Clause
/*
 * ask.c - what a query costs.
 *
 *	ask [--lengths|--crowd|--window SECONDS,WINDOWS] 4|6 PORT SESSIONS
 *
 * Asks the instance $CONNCOUNT_DIR, in which sessions from random_address(0) on are open, about
 * networks of their clients. Prints two kinds of lines:
 *
 *	query NAME NANOSECONDS LOOK-UPS
 *	length N MEDIAN WORST
 *
 * The first is for queries about a network whose count is stored (a /24, a /64), or about a total.
 * All take turns in the same rounds. LOOK-UPS is how many times as long as `lookup` a query takes,
 * the median of all rounds' ratios; `lookup` is one look-up of the same key in the same BPF map.
 * With --window, they are queries about the connections in a window of time and the one before it:
 * `level` about the same networks, `absent` about networks that have opened none, and `between`
 * about a /20 or /60, whose count is a sum.
 *
 * The second, with --lengths, is for each prefix length, in nanoseconds, over as many networks as
 * fit into a fraction of a second. The shortest of several queries counts for each network, so that
 * WORST is a network's, and not that of a moment when the machine did something else. With --crowd,
 * all sessions are from one /64, and the prefix lengths are those beyond it.
 */
#include <arpa/inet.h>
#include <err.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "abi.h"
#include "conncount.h"
#include "conncount_lua.h"
#include "connections.h"

enum {
	CLIENTS = 256, /* asked about, each once a round */
	ROUNDS = 101,
	TRIES = 3, /* of each network of each length */
	NETWORKS_LEAST = 8,
	LENGTH_NS = 100000000, /* for a length, if that is enough for NETWORKS_LEAST */
};

static struct {
	struct conncount *cc;
	int counts; /* the BPF map */
	int array;  /* another, of one value */
	int family;
	uint16_t port;
	struct conncount_cidr local;
	unsigned stored; /* length */
	struct conncount_cidr client[CLIENTS];
	struct conncount_cidr network[CLIENTS]; /* theirs, of the length `stored` */
	struct conncount_cidr absent[CLIENTS];  /* of that length; without clients */
	struct conncount_cidr between[CLIENTS]; /* theirs, of a length that is no level */
	struct conncount_window window;         /* 0: not asked about */
	struct cc_count_key key[CLIENTS];       /* of that in the map */
	lua_State *lua;                         /* with the policy on its stack */
} asked;

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

/* --- the queries: all clients, once -------------------------------------------------------- */

static void ask_array(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		__u32 key = 0;
		__u64 value;

		if (bpf_map_lookup_elem(asked.array, &key, &value))
			err(1, "look-up in an array");
	}
}

static void ask_lookup(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct cc_count value;

		if (bpf_map_lookup_elem(asked.counts, &asked.key[i], &value))
			err(1, "look-up in the map of counts");
	}
}

static void ask_count(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct conncount_answer answer;

		if (conncount_count_service(asked.cc, NULL, &asked.network[i], &answer) ||
		    answer.count < 1 || answer.flags != CONNCOUNT_EXACT)
			errx(1, "a query failed, or a session is missing");
	}
}

static void ask_local(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct conncount_answer answer;

		if (conncount_count_local(asked.cc, &asked.local, asked.port, &asked.client[i],
					  &answer) ||
		    answer.count < 1)
			errx(1, "a query failed, or a session is missing");
	}
}

static void ask_total(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct conncount_answer answer;

		if (conncount_count_service(asked.cc, NULL, NULL, &answer) || answer.count < 1)
			errx(1, "a query failed, or a session is missing");
	}
}

static void ask_lua(void)
{
	lua_pushvalue(asked.lua, -1);
	if (lua_pcall(asked.lua, 0, 0, 0))
		errx(1, "%s", lua_tostring(asked.lua, -1));
}

static void ask_connections(const struct conncount_cidr *networks, int64_t least)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct conncount_connections answer;

		if (conncount_connections(asked.cc, NULL, NULL, &asked.window, &networks[i],
					  &answer) ||
		    answer.count < least)
			errx(1, "a query failed, or a connection is missing");
	}
}

static void ask_level(void)
{
	ask_connections(asked.network, 1);
}

static void ask_absent(void)
{
	ask_connections(asked.absent, 0);
}

static void ask_between(void)
{
	ask_connections(asked.between, 1);
}

struct query {
	const char *name;
	void (*ask)(void);
};

/* The others are compared with the first one. The last one is empty. */
static const struct query queries[] = {
	{ "lookup", ask_lookup },
	{ "array", ask_array },
	{ "count", ask_count },
	{ "local", ask_local },
	{ "lua", ask_lua },
	{ "total", ask_total },
	{ 0 },
};

static const struct query window_queries[] = {
	{ "lookup", ask_lookup },
	{ "level", ask_level },
	{ "absent", ask_absent },
	{ "between", ask_between },
	{ 0 },
};

enum { QUERIES_MAX = sizeof(queries) / sizeof(*queries) };
_Static_assert(sizeof(window_queries) <= sizeof(queries), "QUERIES_MAX");

/* --- timing ----------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), by_value);
	return values[n / 2];
}

static void time_queries(const struct query *query)
{
	static double ns[QUERIES_MAX][ROUNDS], ratio[QUERIES_MAX][ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; query[i].name; i++) {
			double start = now();

			query[i].ask();
			ns[i][round] = (now() - start) / CLIENTS;
			ratio[i][round] = ns[i][round] / ns[0][round];
		}
	}
	for (int i = 0; query[i].name; i++)
		printf("query %s %.0f %.2f\n", query[i].name, median(ns[i], ROUNDS),
		       median(ratio[i], ROUNDS));
}

static double time_network(const struct conncount_cidr *network)
{
	double shortest = 0;

	for (int i = 0; i < TRIES; i++) {
		struct conncount_answer answer;
		double start = now(), took;

		if (conncount_count_service(asked.cc, NULL, network, &answer) || answer.count < 1)
			errx(1, "a query failed, or a session is missing");
		took = now() - start;
		if (i == 0 || took < shortest)
			shortest = took;
	}
	return shortest;
}

static void time_length(unsigned length)
{
	double ns[CLIENTS], start = now(), middle;
	int n = 0;

	while (n < CLIENTS && (n < NETWORKS_LEAST || now() - start < LENGTH_NS)) {
		struct conncount_cidr network = asked.client[n];

		conncount_cidr_mask(&network, length);
		ns[n++] = time_network(&network);
	}
	middle = median(ns, n);
	printf("length %u %.0f %.0f\n", length, middle, ns[n - 1]);
}

/* --- setting up ------------------------------------------------------------------------------- */

static void open_maps(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" CC_DIR_LIVE "/" CC_PIN_COUNTS, conncount_dir(NULL));
	asked.counts = bpf_obj_get(path);
	if (asked.counts < 0)
		err(1, "%s", path);
	asked.array =
		bpf_map_create(BPF_MAP_TYPE_ARRAY, "ask", sizeof(__u32), sizeof(__u64), 1, NULL);
	if (asked.array < 0)
		err(1, "a map");
	if (conncount_open(NULL, &asked.cc))
		errx(1, "nothing is loaded, or not run as root");
}

/* The listener's id is 0: it is the only one. */
static void choose_clients(unsigned long sessions)
{
	for (int i = 0; i < CLIENTS; i++) {
		unsigned long session = (unsigned long)rand() % sessions;
		union address from = random_address(asked.family, session);

		conncount_cidr_of(&from.sa, &asked.client[i]);
		asked.network[i] = asked.client[i];
		conncount_cidr_mask(&asked.network[i], asked.stored);
		asked.absent[i] = asked.between[i] = asked.network[i];
		asked.absent[i].addr[0] |= 0xf0; /* of no random_address() */
		conncount_cidr_mask(&asked.between[i], asked.stored - 4);
		asked.key[i].prefixlen = CC_COUNT_BITS_OWNER + asked.stored;
		asked.key[i].family = htons((uint16_t)asked.client[i].family);
		memcpy(asked.key[i].addr, asked.network[i].addr, sizeof(asked.key[i].addr));
	}
}

/* Put an array of the clients' accept constructs on the stack. */
static void push_accepts(lua_State *lua)
{
	union address local = server_address(asked.family, 1, asked.port);

	lua_newtable(lua);
	for (int i = 0; i < CLIENTS; i++) {
		union address from = { .sa.sa_family = (sa_family_t)asked.family };

		if (asked.family == AF_INET)
			memcpy(&from.in4.sin_addr, asked.client[i].addr, 4);
		else
			memcpy(&from.in6.sin6_addr, asked.client[i].addr, 16);
		if (conncount_lua_push_accept(lua, &from.sa, &local.sa))
			errx(1, "conncount_lua_push_accept");
		lua_rawseti(lua, -2, i + 1);
	}
}

static void open_lua(void)
{
	static const char policy[] = "require('msys.extended.ac')\n"
				     "local accepts, network = ...\n"
				     "return function()\n"
				     "	for i = 1, #accepts do\n"
				     "		accepts[i]:inbound_session_count(network)\n"
				     "	end\n"
				     "end\n";
	lua_State *lua = luaL_newstate();

	if (!lua)
		errx(1, "no memory for Lua");
	asked.lua = lua;
	luaL_openlibs(lua);
	luaL_requiref(lua, "conncount", luaopen_conncount, 0);
	lua_pop(lua, 1);
	if (luaL_loadstring(lua, policy))
		errx(1, "%s", lua_tostring(lua, -1));
	push_accepts(lua);
	lua_pushfstring(lua, "/%d", (int)asked.stored);
	if (lua_pcall(lua, 2, 1, 0))
		errx(1, "%s", lua_tostring(lua, -1));
}

int main(int argc, char **argv)
{
	bool crowd = argc > 1 && !strcmp(argv[1], "--crowd");
	bool lengths = crowd || (argc > 1 && !strcmp(argv[1], "--lengths"));
	bool window = argc > 2 && !strcmp(argv[1], "--window");
	int options = window ? 2 : lengths;
	union address local;
	unsigned long sessions;
	unsigned length, last;

	if (argc - options != 4)
		errx(2, "usage: ask [--lengths|--crowd|--window SECONDS,WINDOWS] 4|6 PORT "
			"SESSIONS");
	if (window && conncount_window_parse(argv[2], &asked.window))
		errx(2, "--window '%s': not SECONDS,WINDOWS", argv[2]);
	asked.window.to = 1;
	argv += options;
	if (crowd)
		crowd_together();
	asked.family = strcmp(argv[1], "6") ? AF_INET : AF_INET6;
	asked.stored = asked.family == AF_INET ? 24 : 64;
	asked.port = (uint16_t)strtoul(argv[2], NULL, 10);
	sessions = strtoul(argv[3], NULL, 10);
	if (!asked.port || !sessions)
		errx(2, "port and sessions are numbers from 1 on");
	local = server_address(asked.family, 1, asked.port);
	conncount_cidr_of(&local.sa, &asked.local);
	open_maps();
	choose_clients(sessions);
	open_lua();
	time_queries(window ? window_queries : queries);
	length = crowd ? 65 : 0;
	last = crowd ? 127 : asked.family == AF_INET ? 32 : 64;
	for (; lengths && length <= last; length++)
		time_length(length);
	lua_close(asked.lua);
	conncount_close(asked.cc);
	return 0;
}
