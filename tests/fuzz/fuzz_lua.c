// SPDX-License-Identifier: BSD-2-Clause
/*
 * lua.c - fuzz target: what a policy can give to the Lua module.
 *
 * The input is a little program, a step to a line and its operands behind tabs; run_step()
 * lists the steps, push_value() the values. The parts of libconncount that ask the kernel are
 * replaced by some that answer what the program tells them to and note what they are asked.
 *
 * Every call may only end in one of the ways that the module promises, and has to end in the
 * one that its arguments call for: an error that names the function, or nil, message, errno,
 * or the answer to exactly the question that the arguments mean. Any allocation can fail:
 * then Lua's own error for that is all right too, and nothing else is.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#include "conncount.h"
#include "conncount_lua.h"
#include "fuzz.h"

#define ACCEPT_TYPE "conncount.accept"
#define COUNT       "inbound_session_count"
#define CONNECTIONS "connections"

enum {
	STEPS_MOST = 64,
	OPERANDS_MOST = 8,
	/* Where things are on the Lua stack, below what a step uses. */
	MODULE = 1,
	AUDIT,
	HOSTILE, /* a metatable whose methods must never be called */
	SESSION, /* the accept construct at hand */
	BASE = SESSION,
};

/* --- libconncount's part that asks the kernel ---------------------------------------------- */

struct conncount {
	int unused;
};

static struct conncount_answer answer;
static struct conncount_connections connections;
static int open_error, query_error;
static unsigned handles; /* open now */

/* The last question; `service` is "" for the default one. */
static struct {
	enum { NOTHING, SERVICE, LOCAL, WINDOWS } what;
	char service[1024];
	struct conncount_cidr cidr, local;
	uint16_t port;
	struct conncount_window window;
} asked;

int conncount_open(const char *dir, struct conncount **ret)
{
	check(!dir); /* the binding leaves the instance to the library */
	check(!handles);
	if (open_error)
		return -open_error;
	*ret = malloc(sizeof(**ret));
	check(*ret);
	handles++;
	return 0;
}

void conncount_close(struct conncount *cc)
{
	if (cc)
		handles--;
	free(cc);
}

char *conncount_strerror(const char *dir, int err, char *buf, size_t size)
{
	check(!dir && err < 0);
	snprintf(buf, size, "fake error %d", -err);
	return buf;
}

char *conncount_services(struct conncount *cc, char *buf, size_t size)
{
	check(!cc || handles);
	snprintf(buf, size, "SMTP, Control");
	return buf;
}

static int give(struct conncount_answer *ret_answer)
{
	check(handles);
	if (query_error)
		return -query_error;
	*ret_answer = answer;
	return 0;
}

int conncount_count_service(struct conncount *cc, const char *service,
			    const struct conncount_cidr *cidr, struct conncount_answer *ret_answer)
{
	check(cc && cidr);
	check(!service || *service);
	asked.what = SERVICE;
	snprintf(asked.service, sizeof(asked.service), "%s", service ? service : "");
	asked.cidr = *cidr;
	return give(ret_answer);
}

int conncount_count_local(struct conncount *cc, const struct conncount_cidr *local, uint16_t port,
			  const struct conncount_cidr *cidr, struct conncount_answer *ret_answer)
{
	check(cc && local && cidr && port);
	asked.what = LOCAL;
	asked.local = *local;
	asked.port = port;
	asked.cidr = *cidr;
	return give(ret_answer);
}

int conncount_connections(struct conncount *cc, const char *service, const char *listener,
			  const struct conncount_window *window, const struct conncount_cidr *cidr,
			  struct conncount_connections *ret)
{
	check(cc && cidr && !listener && handles);
	check(!service || *service);
	asked.what = WINDOWS;
	snprintf(asked.service, sizeof(asked.service), "%s", service ? service : "");
	asked.cidr = *cidr;
	asked.window = *window;
	if (query_error)
		return -query_error;
	*ret = connections;
	return 0;
}

int conncount_windows(struct conncount *cc, struct conncount_windows *ret)
{
	check(cc && handles);
	*ret = (struct conncount_windows){
		.n = 2,
		.window = { { .seconds = 60, .windows = 1 },
			    { .seconds = UINT32_MAX, .windows = UINT32_MAX } },
	};
	return 0;
}

/* For the module to be complete: what takes no network is not tried here. */
int conncount_service_of(struct conncount *cc, const struct conncount_cidr *local, uint16_t port,
			 char *ret_service)
{
	check(cc && local && port);
	snprintf(ret_service, CONNCOUNT_NAME_SIZE, "SMTP");
	return 0;
}

/* The client that every session is counted for. */
static const struct conncount_cidr counted = {
	.family = CONNCOUNT_IPV4,
	.prefixlen = 32,
	.addr = { 203, 0, 113, 9 },
};

char *conncount_cluster_why(struct conncount *cc, char *buf, size_t size)
{
	check(cc);
	snprintf(buf, size, "cluster: cut off for 14 s");
	return buf;
}

int conncount_client_of(struct conncount *cc, int fd, struct conncount_cidr *ret_client)
{
	check(cc && fd >= 0);
	if (query_error)
		return -query_error;
	*ret_client = counted;
	return 0;
}

const char *conncount_version(void)
{
	return "0.0.0";
}

/* --- the state of a run -------------------------------------------------------------------- */

/* A session as an accept construct holds it. */
struct session {
	struct conncount_cidr remote, local;
	uint16_t port;
};

static struct session session; /* at SESSION */
static struct session current; /* msys.audit's */
static bool have_current;

/* 0: memory never runs out. 1: it has. More: it will. */
static unsigned long fuse;
static unsigned long fuse_next; /* for the next call only */

static void *allocate(void *arg, void *ptr, size_t old_size, size_t size)
{
	(void)arg;
	if (!size) {
		free(ptr);
		return NULL;
	}
	if (fuse && (!ptr || size > old_size)) { /* Lua minds if it cannot shrink something */
		if (fuse == 1)
			return NULL;
		fuse--;
	}
	return realloc(ptr, size);
}

/* Sockets for accept(), made once; -1 where this machine has no such thing. */
enum { FDS = 6 };
static int fds[FDS] = { -1, -1, -1, -1, -1, -1 };

/* Connect two TCP sockets over the loopback interface; leave the accepted one in @ret. */
static void connected_pair(const struct sockaddr *sa, socklen_t len, int *ret)
{
	struct sockaddr_storage at;
	socklen_t at_len = sizeof(at);
	int listener = socket(sa->sa_family, SOCK_STREAM, 0);
	int client = socket(sa->sa_family, SOCK_STREAM, 0);

	if (!bind(listener, sa, len) && !listen(listener, 1) &&
	    !getsockname(listener, (struct sockaddr *)&at, &at_len) &&
	    !connect(client, (struct sockaddr *)&at, at_len))
		*ret = accept(listener, NULL, NULL);
	close(listener); /* the client's stays open */
}

static void make_fds(void)
{
	static bool made;
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int pair[2];

	if (made)
		return;
	made = true;
	connected_pair((struct sockaddr *)&sin, sizeof(sin), &fds[0]);
	connected_pair((struct sockaddr *)&sin6, sizeof(sin6), &fds[5]);
	fds[1] = socket(AF_INET, SOCK_STREAM, 0);
	fds[2] = socket(AF_INET, SOCK_DGRAM, 0);
	if (!socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		fds[3] = pair[0];
	fds[4] = INT_MAX; /* no descriptor at all */
}

/* --- operands ------------------------------------------------------------------------------ */

/* An operand: what kind of value it is, and the text behind that. */
struct operand {
	char kind; /* '\0': no text at all, a value that is not there */
	const char *text;
	size_t len;
};

/* The number that an operand's text begins with. */
static long long number_in(const struct operand *op)
{
	char *text = string_of(op->text, op->len);
	long long number = strtoll(text, NULL, 10);

	free(text);
	return number;
}

/* The same for an operand that is a number without a kind, from 0 to @most. */
static long long plain_number(const struct operand *op, long long most)
{
	struct operand whole;
	long long number;

	if (!op->kind)
		return 0;
	whole = (struct operand){ .text = op->text - 1, .len = op->len + 1 };
	number = number_in(&whole);
	return number < 0 || number > most ? most : number;
}

static double real_in(const struct operand *op)
{
	char *text = string_of(op->text, op->len);
	double number = strtod(text, NULL);

	free(text);
	return number;
}

static int must_not_be_called(lua_State *L)
{
	(void)L;
	check(!"a metamethod is called");
	return 0;
}

static void push_hostile_metatable(lua_State *L)
{
	static const char *const events[] = { "__index",    "__newindex", "__len",
					      "__tostring", "__pairs",    "__call",
					      "__concat",   "__eq",       "__lt" };

	lua_newtable(L);
	for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++) {
		lua_pushcfunction(L, must_not_be_called);
		lua_setfield(L, -2, events[i]);
	}
	lua_pushliteral(L, ACCEPT_TYPE);
	lua_setfield(L, -2, "__name");
}

static void push_table(lua_State *L)
{
	lua_newtable(L);
	lua_pushvalue(L, HOSTILE);
	lua_setmetatable(L, -2);
}

/* Not an accept construct, whatever it looks like. */
static void push_impostor(lua_State *L)
{
	memset(lua_newuserdatauv(L, sizeof(struct session), 1), 0x5a, sizeof(struct session));
	lua_pushvalue(L, HOSTILE);
	lua_setmetatable(L, -2);
}

/* An unknown kind is nil. */
static void push_value(lua_State *L, const struct operand *op)
{
	switch (op->kind) {
	case 's':
		lua_pushlstring(L, op->text, op->len);
		break;
	case 'i':
		lua_pushinteger(L, number_in(op));
		break;
	case 'd':
		lua_pushnumber(L, real_in(op));
		break;
	case 't':
	case 'f':
		lua_pushboolean(L, op->kind == 't');
		break;
	case 'e':
		push_table(L);
		break;
	case 'l':
		lua_pushlightuserdata(L, &session);
		break;
	case 'U':
		push_impostor(L);
		break;
	case 'F':
		lua_pushcfunction(L, must_not_be_called);
		break;
	case 'h':
		lua_newthread(L);
		break;
	case 'o':
		lua_pushvalue(L, SESSION);
		break;
	case 'x':
		lua_pushinteger(L, fds[(unsigned long long)number_in(op) % FDS]);
		break;
	default:
		lua_pushnil(L);
	}
}

/* A string without NUL, as the module wants its texts. NULL: it is not; else to be freed. */
static char *text_at(lua_State *L, int idx)
{
	const char *text;
	size_t len;

	if (lua_type(L, idx) != LUA_TSTRING)
		return NULL;
	text = lua_tolstring(L, idx, &len);
	return memchr(text, '\0', len) ? NULL : string_of(text, len);
}

/* --- calls --------------------------------------------------------------------------------- */

/* Messages end up in logs: no control character, and not without end. */
static void check_message(lua_State *L, int idx)
{
	const char *text;
	size_t len;

	check(lua_type(L, idx) == LUA_TSTRING);
	text = lua_tolstring(L, idx, &len);
	check(len && len < 1024);
	for (size_t i = 0; i < len; i++)
		check((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
}

/* How a call ended. */
enum ending {
	VALUES,  /* its results are on the stack */
	RAISED,  /* an error */
	STARVED, /* Lua's error for no memory */
};

/* Call the function below @n arguments; an error has to name it as @name. */
static enum ending call(lua_State *L, int n, const char *name)
{
	int base = lua_gettop(L) - n - 1, status;
	bool may_starve = fuse_next;

	asked.what = NOTHING;
	fuse = fuse_next;
	status = lua_pcall(L, n, LUA_MULTRET, 0);
	fuse = fuse_next = 0;
	if (status == LUA_OK)
		return VALUES;
	check(lua_gettop(L) == base + 1);
	if (status == LUA_ERRMEM) {
		check(may_starve);
		return STARVED;
	}
	check(status == LUA_ERRRUN);
	check_message(L, -1);
	check(strstr(lua_tostring(L, -1), name));
	return RAISED;
}

/* The results from @first on are nil, message, errno; @err is that, or 0 for any. */
static void check_failure(lua_State *L, int first, int err)
{
	check(lua_gettop(L) == first + 2);
	check(lua_isnil(L, first));
	check_message(L, first + 1);
	check(lua_isinteger(L, first + 2) && lua_tointeger(L, first + 2) > 0);
	check(!err || lua_tointeger(L, first + 2) == err);
}

/* The result from @first on is an accept construct that is @wanted. It becomes SESSION. */
static void check_accept(lua_State *L, int first, const struct session *wanted)
{
	char remote[INET6_ADDRSTRLEN], local[INET6_ADDRSTRLEN], text[256];
	bool v6 = wanted->local.family == CONNCOUNT_IPV6;

	check(lua_gettop(L) == first);
	check(luaL_testudata(L, first, ACCEPT_TYPE));
	inet_ntop(wanted->remote.family, wanted->remote.addr, remote, sizeof(remote));
	inet_ntop(wanted->local.family, wanted->local.addr, local, sizeof(local));
	snprintf(text, sizeof(text), ACCEPT_TYPE ": %s to %s%s%s:%u", remote, v6 ? "[" : "", local,
		 v6 ? "]" : "", wanted->port);
	check(!strcmp(luaL_tolstring(L, first, NULL), text));
	lua_pop(L, 1);
	lua_replace(L, SESSION);
	session = *wanted;
}

/* --- what the arguments call for ----------------------------------------------------------- */

static bool same(const struct conncount_cidr *a, const struct conncount_cidr *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* The fields of the table at @idx. False: they are not what accept() takes. */
static bool want_fields(lua_State *L, int idx, struct session *ret)
{
	unsigned seen = 0;
	bool valid = true;

	*ret = (struct session){};
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		char *key = text_at(L, -2), *value = text_at(L, -1);

		seen++;
		if (!key || !value)
			valid = false;
		else if (!strcmp(key, "remote"))
			valid &= !strchr(value, '/') &&
				 !conncount_cidr_parse(value, NULL, &ret->remote, NULL);
		else if (!strcmp(key, "local"))
			valid &= !conncount_address_parse(value, &ret->local, &ret->port, NULL);
		else
			valid = false;
		free(key);
		free(value);
		lua_pop(L, 1);
	}
	return valid && seen == 2;
}

static bool want_sockaddrs(const struct sockaddr *remote, const struct sockaddr *local,
			   struct session *ret)
{
	*ret = (struct session){};
	if (conncount_cidr_of(remote, &ret->remote) || conncount_cidr_of(local, &ret->local))
		return false;
	/* The port is at the same place in both families. */
	ret->port = ntohs(((const struct sockaddr_in *)local)->sin_port);
	return ret->port;
}

static bool want_fd(int fd, struct session *ret)
{
	struct sockaddr_storage remote, local;
	socklen_t remote_len = sizeof(remote), local_len = sizeof(local);
	int type;
	socklen_t type_len = sizeof(type);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) && type == SOCK_STREAM &&
	       !getpeername(fd, (struct sockaddr *)&remote, &remote_len) &&
	       !getsockname(fd, (struct sockaddr *)&local, &local_len) &&
	       want_sockaddrs((struct sockaddr *)&remote, (struct sockaddr *)&local, ret);
}

/* The errno of accept(fd), 0 for none; then the client goes into @ret. */
static int want_client(struct session *ret)
{
	int err = !handles && open_error ? open_error : query_error;

	if (!err)
		ret->remote = counted;
	return err == ENOENT ? 0 : err;
}

/* What a count has to end in, and what it has to ask before. */
struct wanted {
	enum { ERROR, FAILURE, NO_LISTENER, ANSWER } end;
	int err; /* of FAILURE */
	bool local;
	char *service; /* NULL: the default one */
	struct conncount_cidr cidr;
};

/* The way through the library, once the arguments are right. */
static void want_query(struct wanted *wanted)
{
	if (!handles && open_error) {
		wanted->end = FAILURE;
		wanted->err = open_error;
	} else if (query_error == ESRCH) {
		wanted->end = wanted->local ? NO_LISTENER : ERROR;
	} else {
		wanted->end = query_error ? FAILURE : ANSWER;
		wanted->err = query_error;
	}
}

/* A count of the sessions of @at (NULL: none), with @n arguments from the index @first on. */
static void want_count(lua_State *L, int first, int n, const struct session *at, bool audit,
		       struct wanted *ret)
{
	bool no_cidr = n < 1 || lua_isnil(L, first), no_service = n < 2 || lua_isnil(L, first + 1);
	char *cidr = no_cidr ? NULL : text_at(L, first);
	char *service = no_service ? NULL : text_at(L, first + 1);
	bool valid = n <= 2 && (no_cidr || cidr) && (no_service || service);

	*ret = (struct wanted){ .end = ERROR };
	if (audit)
		valid = valid && cidr && service;
	else
		ret->local = no_cidr && no_service;
	if (valid && cidr)
		valid = !conncount_cidr_parse(cidr, at ? &at->remote : NULL, &ret->cidr, NULL);
	else if (at)
		ret->cidr = at->remote;
	if (service && !*service)
		valid = false;
	if (valid)
		want_query(ret);
	free(cidr);
	ret->service = service;
}

/* What a question about windows has to end in, and what it has to ask before. */
struct wanted_windows {
	bool valid; /* the arguments are right */
	struct conncount_window window;
	char *service; /* NULL: the default one */
	struct conncount_cidr cidr;
};

/* The text of the value at @idx in place of *@text. False: it has none. */
static bool want_text(lua_State *L, int idx, char **text)
{
	*text = text_at(L, idx);
	return *text;
}

static bool want_number(lua_State *L, int idx, uint32_t most, uint32_t *ret)
{
	int is_integer;
	lua_Integer number = lua_tointegerx(L, idx, &is_integer);

	*ret = (uint32_t)number;
	return lua_type(L, idx) == LUA_TNUMBER && is_integer && number >= 0 && number <= most;
}

/* The options in the table at @idx. */
static bool want_options(lua_State *L, int idx, struct wanted_windows *ret, char **cidr)
{
	bool valid = true, cluster = false;
	uint32_t from = 0, to = 0;

	lua_pushnil(L);
	while (lua_next(L, idx)) {
		char *key = text_at(L, -2);
		const char *name = key ? key : "";

		if (!strcmp(name, "startv")) {
			valid &= want_number(L, -1, ret->window.windows, &from);
		} else if (!strcmp(name, "endv")) {
			valid &= want_number(L, -1, ret->window.windows, &to);
		} else if (!strcmp(name, "cidr")) {
			valid &= want_text(L, -1, cidr);
		} else if (!strcmp(name, "service")) {
			valid &= want_text(L, -1, &ret->service) && *ret->service;
		} else if (!strcmp(name, "cluster")) {
			valid &= lua_isboolean(L, -1);
			cluster = lua_toboolean(L, -1);
		} else {
			valid = false;
		}
		free(key);
		lua_pop(L, 1);
	}
	ret->window.from = from < to ? from : to;
	ret->window.to = from < to ? to : from;
	if (cluster && ret->service)
		return false;
	if (cluster)
		ret->service =
			string_of(CONNCOUNT_SERVICE_CLUSTER, strlen(CONNCOUNT_SERVICE_CLUSTER));
	return valid;
}

/* A question about windows, by a session at @at (NULL: none), with @n arguments from @first on. */
static void want_windows(lua_State *L, int first, int n, const struct session *at,
			 struct wanted_windows *ret)
{
	char *monitor = n < 1 ? NULL : text_at(L, first), *cidr = NULL;

	*ret = (struct wanted_windows){};
	ret->valid = monitor && !conncount_window_parse(monitor, &ret->window);
	if (n > 1 && lua_istable(L, first + 1))
		ret->valid &= want_options(L, first + 1, ret, &cidr);
	else if (n > 1 && !lua_isnil(L, first + 1))
		ret->valid &= want_text(L, first + 1, &cidr);
	if (cidr)
		ret->valid &=
			!conncount_cidr_parse(cidr, at ? &at->remote : NULL, &ret->cidr, NULL);
	else if (at)
		ret->cidr = at->remote;
	else
		ret->valid = false;
	free(monitor);
	free(cidr);
}

/* The answer, from @first on, is the library's, and so is the question. */
static void check_windows(lua_State *L, int first, const struct wanted_windows *wanted)
{
	bool exact = connections.flags & CONNCOUNT_EXACT;
	bool known = connections.most != INT64_MAX && !(connections.flags & CONNCOUNT_DETACHED);

	check(lua_isinteger(L, first) && lua_tointeger(L, first) == connections.count);
	check(lua_gettop(L) == (exact ? first : first + 1));
	if (!exact && known)
		check(lua_isinteger(L, first + 1) &&
		      lua_tointeger(L, first + 1) == connections.most - connections.count);
	else if (!exact)
		check(lua_tonumber(L, first + 1) == HUGE_VAL);
	check(asked.what == WINDOWS && same(&asked.cidr, &wanted->cidr));
	check(!strcmp(asked.service, wanted->service ? wanted->service : ""));
	check(!memcmp(&asked.window, &wanted->window, sizeof(asked.window)));
}

/* As try_count(), of connections in windows. */
static void try_windows(lua_State *L, int n, int self, const struct session *at)
{
	int first = lua_gettop(L) - n, err = !handles ? open_error : 0;
	struct wanted_windows wanted;
	enum ending ending;
	bool raises;

	want_windows(L, first + 1 + self, n - self, at, &wanted);
	if (!err)
		err = query_error;
	raises = !wanted.valid ||
		 ((handles || !open_error) && (err == ENODATA || err == ESRCH || err == EDOM));
	ending = call(L, n, CONNECTIONS);
	check(ending != (raises ? VALUES : RAISED));
	if (ending == VALUES && err)
		check_failure(L, first, err);
	else if (ending == VALUES)
		check_windows(L, first, &wanted);
	free(wanted.service);
}

/* The answer, from @first on, is the library's. */
static void check_answer(lua_State *L, int first)
{
	check(lua_isinteger(L, first) && lua_tointeger(L, first) == answer.count);
	if (answer.flags & CONNCOUNT_EXACT) {
		check(lua_gettop(L) == first);
		return;
	}
	check(lua_gettop(L) == first + 1);
	check_message(L, first + 1);
}

static void check_asked(const struct wanted *wanted, const struct session *at)
{
	check(asked.what == (wanted->local ? LOCAL : SERVICE));
	check(same(&asked.cidr, &wanted->cidr));
	if (wanted->local)
		check(same(&asked.local, &at->local) && asked.port == at->port);
	else
		check(!strcmp(asked.service, wanted->service ? wanted->service : ""));
}

/*
 * Make the count whose function and arguments are on the stack, @self of these before the
 * first that counts.
 */
static void try_count(lua_State *L, int n, int self, const struct session *at, bool audit)
{
	int first = lua_gettop(L) - n; /* of the results */
	struct wanted wanted;
	enum ending ending;

	want_count(L, first + 1 + self, n - self, at, audit, &wanted);
	ending = call(L, n, COUNT);
	if (ending == VALUES) {
		switch (wanted.end) {
		case ERROR:
			check(!"a count that has to raise an error returns");
			break;
		case FAILURE:
			check_failure(L, first, wanted.err);
			break;
		case NO_LISTENER:
			check_failure(L, first, ESRCH);
			break;
		case ANSWER:
			check_answer(L, first);
			check_asked(&wanted, at);
			break;
		}
	} else if (ending == RAISED) {
		check(wanted.end == ERROR);
	}
	free(wanted.service);
}

/* --- steps --------------------------------------------------------------------------------- */

static int push_values(lua_State *L, const struct operand *ops, int n)
{
	for (int i = 0; i < n; i++)
		push_value(L, &ops[i]);
	return n;
}

/* { KEY = VALUE, ... } */
static void push_fields(lua_State *L, const struct operand *ops, int n)
{
	push_table(L);
	for (int i = 0; i + 1 < n; i += 2) {
		push_value(L, &ops[i]);
		push_value(L, &ops[i + 1]);
		if (lua_isnil(L, -2) || !lua_rawequal(L, -2, -2)) /* nil and NaN are no keys */
			lua_pop(L, 2);
		else
			lua_rawset(L, -3);
	}
}

/* accept{ KEY = VALUE, ... } */
static void step_accept_table(lua_State *L, const struct operand *ops, int n)
{
	struct session wanted;
	enum ending ending;
	bool valid;
	int first;

	push_fields(L, ops, n);
	first = lua_gettop(L);
	valid = want_fields(L, first, &wanted);
	lua_getfield(L, MODULE, "accept");
	lua_insert(L, first);
	ending = call(L, 1, "accept");
	check(ending != (valid ? RAISED : VALUES));
	if (ending == VALUES)
		check_accept(L, first, &wanted);
}

/* accept(VALUE...) */
static void step_accept(lua_State *L, const struct operand *ops, int n)
{
	bool number = n == 1 && (ops[0].kind == 'i' || ops[0].kind == 'd' || ops[0].kind == 'x');
	struct session wanted;
	enum ending ending;
	lua_Integer fd = -1;
	int first, is_int, err;
	bool connected;

	lua_getfield(L, MODULE, "accept");
	first = lua_gettop(L);
	push_values(L, ops, n);
	if (number)
		fd = lua_tointegerx(L, -1, &is_int);
	if (number && !is_int)
		fd = -1;
	connected = want_fd((int)fd, &wanted);
	err = want_client(&wanted);
	ending = call(L, n, "accept");
	check(ending != (fd >= 0 && fd <= INT_MAX ? RAISED : VALUES));
	if (ending != VALUES)
		return;
	if (connected && !err)
		check_accept(L, first, &wanted);
	else
		check_failure(L, first, connected ? err : 0);
}

/* inbound_session_count(VALUE...) */
static void step_count(lua_State *L, const struct operand *ops, int n)
{
	lua_getfield(L, MODULE, COUNT);
	push_values(L, ops, n);
	if (n && ops[0].kind == 'o')
		try_count(L, n, 1, &session, false);
	else
		check(call(L, n, COUNT) != VALUES);
}

/* ac:inbound_session_count(VALUE...) */
static void step_method(lua_State *L, const struct operand *ops, int n)
{
	lua_getfield(L, SESSION, COUNT);
	lua_pushvalue(L, SESSION);
	push_values(L, ops, n);
	try_count(L, n + 1, 1, &session, false);
}

/* audit.inbound_session_count(VALUE...) */
static void step_audit(lua_State *L, const struct operand *ops, int n)
{
	lua_getfield(L, AUDIT, COUNT);
	push_values(L, ops, n);
	try_count(L, n, 0, have_current ? &current : NULL, true);
}

/* The arguments of connections(): MONITOR; MONITOR, OPTIONS; or MONITOR, { KEY = VALUE, ... } */
static int push_window_arguments(lua_State *L, const struct operand *ops, int n)
{
	if (n < 3)
		return push_values(L, ops, n);
	push_value(L, &ops[0]);
	push_fields(L, &ops[1], n - 1);
	return 2;
}

/* ac:connections(...) */
static void step_windows(lua_State *L, const struct operand *ops, int n)
{
	lua_getfield(L, SESSION, CONNECTIONS);
	lua_pushvalue(L, SESSION);
	n = push_window_arguments(L, ops, n);
	try_windows(L, n + 1, 1, &session);
}

/* audit.connections(...) */
static void step_audit_windows(lua_State *L, const struct operand *ops, int n)
{
	lua_getfield(L, AUDIT, CONNECTIONS);
	n = push_window_arguments(L, ops, n);
	try_windows(L, n, 0, have_current ? &current : NULL);
}

/* audit.current(VALUE...) */
static void step_current(lua_State *L, const struct operand *ops, int n)
{
	enum ending ending;
	bool valid, is_session;
	int first;

	lua_getfield(L, AUDIT, "current");
	first = lua_gettop(L);
	push_values(L, ops, n);
	is_session = n == 1 && ops[0].kind == 'o';
	valid = is_session || (n == 1 && lua_isnil(L, -1));
	ending = call(L, n, "current");
	check(ending != (valid ? RAISED : VALUES));
	if (ending != VALUES)
		return;
	check(lua_gettop(L) == first - 1);
	have_current = is_session;
	current = session;
}

/* A socket address: the family, and the bytes behind it. */
static void sockaddr_in(const struct operand *op, struct sockaddr_storage *ret)
{
	size_t room = sizeof(struct sockaddr_in6) - sizeof(ret->ss_family);

	memset(ret, 0, sizeof(*ret));
	ret->ss_family = op->kind == '4' ? AF_INET : op->kind == '6' ? AF_INET6 : AF_UNIX;
	if (op->len)
		memcpy((char *)ret + sizeof(ret->ss_family), op->text,
		       op->len < room ? op->len : room);
}

/* conncount_lua_push_accept(): a server hands over a session. */
static void step_push(lua_State *L, const struct operand *ops)
{
	struct sockaddr_storage remote, local;
	bool may_starve = fuse_next, valid;
	struct session wanted;
	int top = lua_gettop(L), err;

	sockaddr_in(&ops[0], &remote);
	sockaddr_in(&ops[1], &local);
	valid = want_sockaddrs((struct sockaddr *)&remote, (struct sockaddr *)&local, &wanted);
	fuse = fuse_next;
	err = conncount_lua_push_accept(L, (struct sockaddr *)&remote, (struct sockaddr *)&local);
	fuse = fuse_next = 0;
	if (!err) {
		check(valid);
		check_accept(L, top + 1, &wanted);
		return;
	}
	check(lua_gettop(L) == top);
	if (valid)
		check(err == -ENOMEM && may_starve);
	else
		check(err == -EAFNOSUPPORT || err == -EINVAL);
}

/* What the library answers: count, uncounted, lost, inexact, errno of open, errno of a query. */
static void step_answer(const struct operand *ops)
{
	answer = (struct conncount_answer){
		.count = plain_number(&ops[0], INT64_MAX),
		.uncounted = plain_number(&ops[1], INT64_MAX),
		.lost = (uint64_t)plain_number(&ops[2], INT64_MAX),
	};
	if (plain_number(&ops[3], 1))
		answer.flags = CONNCOUNT_SEEDING | CONNCOUNT_DETACHED | CONNCOUNT_CLUSTER;
	else if (!answer.uncounted && !answer.lost)
		answer.flags = CONNCOUNT_EXACT;
	connections = (struct conncount_connections){
		.count = answer.count,
		.least = answer.count,
		.most = (int64_t)answer.lost > INT64_MAX - answer.count
				? INT64_MAX
				: answer.count + (int64_t)answer.lost,
		.flags = answer.flags & (CONNCOUNT_EXACT | CONNCOUNT_DETACHED),
	};
	open_error = (int)plain_number(&ops[4], EHWPOISON);
	if (open_error == ESRCH) /* conncount_open() never says so: nothing is named yet */
		open_error = ENOENT;
	query_error = (int)plain_number(&ops[5], EHWPOISON);
}

/* The collector: 'i': at work all the time, 'n': as usual, otherwise a whole cycle now. */
static void step_collect(lua_State *L, const struct operand *ops)
{
	if (ops[0].kind == 'i')
		lua_gc(L, LUA_GCINC, 1, 1000, 0);
	else if (ops[0].kind == 'n')
		lua_gc(L, LUA_GCGEN, 0, 0);
	else
		lua_gc(L, LUA_GCCOLLECT, 0);
}

static void run_step(lua_State *L, char step, const struct operand *ops, int n)
{
	switch (step) {
	case 'a':
		step_accept_table(L, ops, n);
		break;
	case 'A':
		step_accept(L, ops, n);
		break;
	case 'c':
		step_count(L, ops, n);
		break;
	case 'm':
		step_method(L, ops, n);
		break;
	case 'q':
		step_audit(L, ops, n);
		break;
	case 'w':
		step_windows(L, ops, n);
		break;
	case 'W':
		step_audit_windows(L, ops, n);
		break;
	case 'u':
		step_current(L, ops, n);
		break;
	case 'p':
		step_push(L, ops);
		break;
	case 'v':
		step_answer(ops);
		break;
	case 'g':
		step_collect(L, ops);
		break;
	case 'k': /* memory runs out at this allocation of the next call */
		fuse_next = (unsigned long)plain_number(&ops[0], 1000);
		break;
	}
	lua_settop(L, BASE);
}

/* --- the program --------------------------------------------------------------------------- */

static void run_line(lua_State *L, const char *line, const char *end)
{
	struct operand ops[OPERANDS_MOST] = {};
	const char *at;
	int n = 0;

	if (line == end)
		return;
	at = memchr(line, '\t', (size_t)(end - line));
	while (at && n < OPERANDS_MOST) {
		const char *text = at + 1;

		at = text < end ? memchr(text, '\t', (size_t)(end - text)) : NULL;
		ops[n].text = text;
		ops[n].len = (size_t)((at ? at : end) - text);
		if (ops[n].len) {
			ops[n].kind = *ops[n].text++;
			ops[n].len--;
		}
		n++;
	}
	run_step(L, *line, ops, n);
}

static lua_State *start(void)
{
	const struct operand fields[] = {
		{ 's', "remote", 6 },
		{ 's', "192.0.2.77", 10 },
		{ 's', "local", 5 },
		{ 's', "198.51.100.1:25", 15 },
	};
	lua_State *L = lua_newstate(allocate, NULL);

	check(L);
	fuse_next = 0;
	have_current = false;
	step_answer((struct operand[6]){});
	luaL_requiref(L, "conncount", luaopen_conncount, 0);
	lua_getfield(L, MODULE, "audit");
	push_hostile_metatable(L);
	/* What msys.extended.ac does. */
	lua_getfield(L, MODULE, "methods");
	lua_getfield(L, MODULE, COUNT);
	lua_setfield(L, -2, COUNT);
	lua_getfield(L, MODULE, CONNECTIONS);
	lua_setfield(L, -2, CONNECTIONS);
	lua_settop(L, HOSTILE);
	lua_pushnil(L);
	step_accept_table(L, fields, 4);
	check(lua_gettop(L) == BASE && lua_isuserdata(L, SESSION));
	return L;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *line = (const char *)data, *end = line + size;
	lua_State *L;

	make_fds();
	L = start();
	for (int i = 0; line < end && i < STEPS_MOST; i++) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));

		if (!stop)
			stop = end;
		run_line(L, line, stop);
		line = stop + 1;
	}
	lua_close(L);
	check(!handles);
	return 0;
}
