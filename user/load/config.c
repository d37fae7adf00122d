// SPDX-License-Identifier: BSD-2-Clause
/*
 * config.c - read /etc/conncount.conf.
 */
#include <ctype.h>
#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "limit_text.h"
#include "lines.h"
#include "number.h"

enum { NAME_MOST = 49 };

/* Node of the tree of all `listen`, `proxy` and `exempt` lines, which detects duplicates. */
struct taken {
	struct conncount_cidr addr;
	uint16_t port;     /* 0: a line that names a network */
	uint16_t listener; /* its index */
	bool exempt;
	unsigned line;
};

struct parser {
	struct lines lines;
	struct config config;
	struct config_listener *current; /* NULL: in [conncount], or before any section */
	bool in_section;
	void *taken; /* root of a tsearch() tree of struct taken */
	size_t n_listens, n_proxies, n_exempt;
};

#define fail(parser, ...)   lines_fail(&(parser)->lines, __VA_ARGS__)
#define quote(parser, text) lines_quote(&(parser)->lines, text)

/* The names of listeners and services appear in messages, tables and metrics unescaped. */
static bool check_name(struct parser *parser, const char *what, const char *text)
{
	return lines_check_name(&parser->lines, what, text, "._-+:/@", NAME_MOST);
}

#define once(parser, key, set_at) lines_once(&(parser)->lines, key, set_at)

/* --- sections ----------------------------------------------------------------------------- */

static void begin_listener(struct parser *parser, const char *name)
{
	struct config *config = &parser->config;
	struct config_listener *grown;

	if (!check_name(parser, "listener", name))
		return;
	for (size_t i = 0; i < config->n_listeners; i++) {
		if (!strcmp(config->listeners[i].name, name)) {
			fail(parser, "[%s]: there already is such a section, at line %u", name,
			     config->listeners[i].line);
			return;
		}
	}
	if (config->n_listeners == CC_LISTENERS_MAX) {
		fail(parser, "[%s]: more than %d listeners", name, CC_LISTENERS_MAX);
		return;
	}
	grown = realloc(config->listeners, (config->n_listeners + 1) * sizeof(*grown));
	if (!grown) {
		fail(parser, "out of memory");
		return;
	}
	config->listeners = grown;
	parser->current = &grown[config->n_listeners++];
	memset(parser->current, 0, sizeof(*parser->current));
	strcpy(parser->current->name, name);
	strcpy(parser->current->service, CONNCOUNT_SERVICE);
	parser->current->line = parser->lines.line;
}

/* @line begins with '['. */
static void begin_section(struct parser *parser, char *line)
{
	const char *name = lines_section(&parser->lines, line);

	parser->in_section = true;
	parser->current = NULL;
	if (!name)
		return;
	if (strcmp(name, "conncount"))
		begin_listener(parser, name);
	else if (parser->config.section_line)
		fail(parser, "[conncount]: there already is such a section, at line %u",
		     parser->config.section_line);
	else
		parser->config.section_line = parser->lines.line;
}

/* --- keys --------------------------------------------------------------------------------- */

static bool has_control(const char *text)
{
	while (*text && !iscntrl((unsigned char)*text))
		text++;
	return *text;
}

static void set_cgroup(struct parser *parser, const char *value)
{
	struct config *config = &parser->config;

	if (!once(parser, "cgroup", &config->cgroup_line))
		return;
	if (value[0] != '/')
		fail(parser,
		     "cgroup '%s': must be a path below the cgroup v2 mount and begin with '/'",
		     quote(parser, value));
	else if (strlen(value) >= sizeof(config->cgroup))
		fail(parser, "cgroup '%s': longer than %zu characters", quote(parser, value),
		     sizeof(config->cgroup) - 1);
	else if (has_control(value))
		fail(parser, "cgroup '%s': contains a control character", quote(parser, value));
	else
		strcpy(config->cgroup, value);
}

static void set_max_prefixes(struct parser *parser, const char *value)
{
	struct config *config = &parser->config;
	const char *end = value;
	uint32_t number;

	if (!once(parser, "max_prefixes", &config->max_prefixes_line))
		return;
	if (number_read(&end, CONFIG_MAX_PREFIXES_MOST, &number) && number && !*end)
		config->max_prefixes = number;
	else
		fail(parser, "max_prefixes '%s': not a number from 1 to %d", quote(parser, value),
		     CONFIG_MAX_PREFIXES_MOST);
}

static void set_group(struct parser *parser, const char *value)
{
	struct config *config = &parser->config;

	if (once(parser, "group", &config->group_line) && check_name(parser, "group", value))
		strcpy(config->group, value);
}

static void set_namespaces(struct parser *parser, const char *value)
{
	struct config *config = &parser->config;

	if (!once(parser, "namespaces", &config->namespaces_line))
		return;
	if (strcmp(value, "own") && strcmp(value, "all"))
		fail(parser, "namespaces '%s': must be own or all", quote(parser, value));
	config->all_namespaces = !strcmp(value, "all");
}

/* Read `SECONDS,WINDOWS`, within the limits of the configuration. */
static bool read_window(const char *text, struct conncount_window *ret)
{
	return !conncount_window_parse(text, ret) && ret->seconds <= CONFIG_WINDOW_SECONDS_MOST &&
	       ret->windows < CC_WINDOW_SLOTS_MAX;
}

static void add_window(struct parser *parser, const char *value)
{
	struct config *config = &parser->config;
	struct conncount_window window;
	size_t slots = 0;

	if (!read_window(value, &window)) {
		fail(parser,
		     "window '%s': not SECONDS,WINDOWS, a length from 1 to %d and how many to keep "
		     "beside the current one, from 0 to %d, such as 60,1",
		     quote(parser, value), CONFIG_WINDOW_SECONDS_MOST, CC_WINDOW_SLOTS_MAX - 1);
		return;
	}
	for (size_t i = 0; i < config->n_windows; i++) {
		slots += config->windows[i].windows + 1;
		if (config->windows[i].seconds == window.seconds &&
		    config->windows[i].windows == window.windows) {
			fail(parser, "window '%s': there already is such a line",
			     quote(parser, value));
			return;
		}
	}
	if (config->n_windows == CC_WINDOWS_MAX)
		fail(parser, "window '%s': more than %d", quote(parser, value), CC_WINDOWS_MAX);
	else if (slots + window.windows + 1 > CC_WINDOW_SLOTS_MAX)
		fail(parser,
		     "window '%s': more than %d windows are kept, of all lengths together and with "
		     "the current ones (keep fewer)",
		     quote(parser, value), CC_WINDOW_SLOTS_MAX);
	else
		config->windows[config->n_windows++] = window;
}

static void set_window_memory(struct parser *parser, const char *value)
{
	static const char units[] = "KMG";
	struct config *config = &parser->config;
	const char *unit, *text = value;
	uint64_t bytes = 0;
	uint32_t number;

	if (!once(parser, "window_memory", &config->window_memory_line))
		return;
	if (number_read(&text, CONFIG_WINDOW_MEMORY_MOST, &number)) {
		unit = *text ? strchr(units, *text) : NULL;
		bytes = number;
		if (unit) {
			bytes <<= 10 * (unit - units + 1);
			text++;
		}
	}
	if (*text || bytes < CONFIG_WINDOW_MEMORY_LEAST || bytes > CONFIG_WINDOW_MEMORY_MOST)
		fail(parser, "window_memory '%s': not a size from %dM to %dG, such as 16M",
		     quote(parser, value), CONFIG_WINDOW_MEMORY_LEAST >> 20,
		     CONFIG_WINDOW_MEMORY_MOST >> 30);
	else
		config->window_memory = (uint32_t)bytes;
}

static void set_global(struct parser *parser, const char *key, const char *value)
{
	if (!strcmp(key, "cgroup"))
		set_cgroup(parser, value);
	else if (!strcmp(key, "max_prefixes"))
		set_max_prefixes(parser, value);
	else if (!strcmp(key, "group"))
		set_group(parser, value);
	else if (!strcmp(key, "namespaces"))
		set_namespaces(parser, value);
	else if (!strcmp(key, "window"))
		add_window(parser, value);
	else if (!strcmp(key, "window_memory"))
		set_window_memory(parser, value);
	else
		fail(parser,
		     "unknown key '%s' in [conncount] (known: cgroup, namespaces, max_prefixes, "
		     "group, window, window_memory)",
		     quote(parser, key));
}

/*
 * Only one listener can have an address and port, but several can have the same proxy or exempt the
 * same network. Only tsearch() uses this order.
 */
static int compare_taken(const void *a, const void *b)
{
	const struct taken *ta = a, *tb = b;
	int order = memcmp(&ta->addr, &tb->addr, sizeof(ta->addr));

	_Static_assert(sizeof(ta->addr) == 2 * sizeof(int) + sizeof(ta->addr.addr), "no padding");
	if (!order)
		order = ta->port - tb->port;
	if (!order && !ta->port)
		order = ta->listener - tb->listener;
	if (!order)
		order = ta->exempt - tb->exempt;
	return order;
}

/*
 * Note the current line, `@key = @value`, for @addr and @port.
 * Returns false, with an error, if an earlier line has them already.
 */
static bool take(struct parser *parser, const struct conncount_cidr *addr, uint16_t port,
		 const char *key, const char *value)
{
	const struct config_listener *listeners = parser->config.listeners;
	struct taken *taken = malloc(sizeof(*taken)), **found = NULL;

	if (taken) {
		*taken = (struct taken){
			.addr = *addr,
			.port = port,
			.listener = (uint16_t)(parser->current - listeners),
			.exempt = !strcmp(key, "exempt"),
			.line = parser->lines.line,
		};
		found = tsearch(taken, &parser->taken, compare_taken);
	}
	if (!found)
		fail(parser, "out of memory");
	else if (*found != taken)
		fail(parser, "%s '%s': already used by [%s], at line %u", key, value,
		     listeners[(*found)->listener].name, (*found)->line);
	if (!found || *found != taken)
		free(taken);
	return !parser->lines.failed;
}

/*
 * Make room for one more in @array of @n: double it when it is full.
 * Returns the array; NULL, with an error, if there is no memory: then @array is still valid.
 */
static void *grow(struct parser *parser, void *array, size_t n, size_t size)
{
	if (n & (n - 1))
		return array;
	array = realloc(array, (n ? 2 * n : 1) * size);
	if (!array)
		fail(parser, "out of memory");
	return array;
}

/* `*:PORT`, `ADDRESS:PORT` or `[ADDRESS6]:PORT`; the address 0.0.0.0 or :: means all of its family.
 */
static int parse_listen(const char *value, struct config_listen *ret, const char **ret_why)
{
	static const unsigned char zero[sizeof(ret->addr.addr)];
	char any_address[32];
	bool any = value[0] == '*';
	int err;

	if (any) {
		snprintf(any_address, sizeof(any_address), "0.0.0.0%s", value + 1);
		value = any_address;
	}
	err = conncount_address_parse(value, &ret->addr, &ret->port, ret_why);
	if (err)
		return err;
	if (!memcmp(ret->addr.addr, zero, sizeof(zero)))
		ret->addr.prefixlen = 0;
	if (any)
		ret->addr.family = 0;
	return 0;
}

static void add_listen(struct parser *parser, struct config_listener *listener, const char *value)
{
	struct config_listen listen = { .line = parser->lines.line }, *grown;
	const char *why;

	if (parse_listen(value, &listen, &why)) {
		fail(parser, "listen '%s': %s", quote(parser, value), why);
		return;
	}
	if (!take(parser, &listen.addr, listen.port, "listen", value))
		return;
	if (++parser->n_listens > CC_LISTENS_MAX) {
		fail(parser, "listen '%s': more than %d addresses", value, CC_LISTENS_MAX);
		return;
	}
	grown = grow(parser, listener->listens, listener->n_listens, sizeof(listen));
	if (!grown)
		return;
	listener->listens = grown;
	listener->listens[listener->n_listens++] = listen;
}

/*
 * Add the network of the current line, `@key = @value`, to those of its section.
 * @all: how many such lines there are in all sections, at most @most.
 */
static void add_peer(struct parser *parser, struct config_peers *peers, const char *key,
		     const char *value, const struct conncount_cidr *network, size_t *all,
		     size_t most)
{
	struct config_peer peer = { .network = *network, .line = parser->lines.line }, *grown;

	if (!take(parser, network, 0, key, value))
		return;
	if (++*all > most) {
		fail(parser,
		     "%s '%s': more than %zu networks (write adjacent networks as a larger one)",
		     key, value, most);
		return;
	}
	grown = grow(parser, peers->peer, peers->n, sizeof(peer));
	if (!grown)
		return;
	peers->peer = grown;
	peers->peer[peers->n++] = peer;
}

/* Read the network of the current line. Returns false, with an error, if it is malformed. */
static bool read_network(struct parser *parser, const char *key, const char *value,
			 struct conncount_cidr *ret)
{
	const char *why;

	if (!conncount_cidr_parse(value, NULL, ret, &why))
		return true;
	fail(parser, "%s '%s': %s", key, quote(parser, value), why);
	return false;
}

static void add_proxy(struct parser *parser, struct config_listener *listener, const char *value)
{
	struct conncount_cidr network;

	if (!read_network(parser, "proxy", value, &network))
		return;
	if (!network.prefixlen)
		fail(parser,
		     "proxy '%s': every client could choose the address it is counted for (name "
		     "only the hosts that send the PROXY header)",
		     value);
	else
		add_peer(parser, &listener->proxies, "proxy", value, &network, &parser->n_proxies,
			 CC_PROXIES_MAX);
}

static void add_exempt(struct parser *parser, struct config_listener *listener, const char *value)
{
	struct conncount_cidr network;

	if (!read_network(parser, "exempt", value, &network))
		return;
	if (!network.prefixlen)
		fail(parser,
		     "exempt '%s': the limits would apply to no client of this family (name the "
		     "networks to which they do not apply)",
		     value);
	else
		add_peer(parser, &listener->exempt, "exempt", value, &network, &parser->n_exempt,
			 CC_EXEMPT_MAX);
}

/* Whether a limit is asked before another one: see struct cc_limits. */
static bool limit_precedes(const struct cc_limit *a, const struct cc_limit *b, int family)
{
	return a->length[family] > b->length[family] ||
	       (a->length[family] == b->length[family] && a->over < b->over);
}

/* Insert the last limit where it belongs in the order of a family. */
static void order_limit(struct cc_limits *limits, int family)
{
	__u8 *order = limits->order[family], last = (__u8)(limits->n - 1), i = last;

	while (i && limit_precedes(&limits->limit[last], &limits->limit[order[i - 1]], family)) {
		order[i] = order[i - 1];
		i--;
	}
	order[i] = last;
}

/* Where a listener has a limit of the same lengths and action; limits.n if it has none. */
static __u32 find_limit(const struct cc_limits *limits, const struct cc_limit *limit)
{
	__u32 i = 0;

	while (i < limits->n &&
	       (limits->limit[i].action != limit->action ||
		memcmp(limits->limit[i].length, limit->length, sizeof(limit->length)) != 0))
		i++;
	return i;
}

static void append_limit(struct parser *parser, struct config_listener *listener,
			 const struct cc_limit *limit)
{
	struct cc_limits *limits = &listener->limits;

	listener->limit_line[limits->n] = parser->lines.line;
	limits->limit[limits->n++] = *limit;
	if (limit->action == CC_LIMIT_RESET)
		limits->resets = 1;
	else
		limits->logs = 1;
	for (int family = 0; family < CC_FAMILIES; family++)
		order_limit(limits, family);
}

static void add_limit(struct parser *parser, struct config_listener *listener, const char *value)
{
	const struct cc_limits *limits = &listener->limits;
	char why[LIMIT_WHY_SIZE];
	struct cc_limit limit;
	__u32 same;

	if (limit_parse(value, &limit, why)) {
		fail(parser, "limit '%s': %s", quote(parser, value), why);
		return;
	}
	same = find_limit(limits, &limit);
	if (same < limits->n)
		fail(parser,
		     "limit '%s': there already is one of these lengths with %s, at line %u",
		     quote(parser, value), limit_action(&limit), listener->limit_line[same]);
	else if (limits->n == CC_LIMITS_MAX)
		fail(parser, "limit '%s': more than %d in [%s]", quote(parser, value),
		     CC_LIMITS_MAX, listener->name);
	else
		append_limit(parser, listener, &limit);
}

static void set_in_listener(struct parser *parser, const char *key, const char *value)
{
	struct config_listener *listener = parser->current;

	if (!strcmp(key, "listen"))
		add_listen(parser, listener, value);
	else if (!strcmp(key, "proxy"))
		add_proxy(parser, listener, value);
	else if (!strcmp(key, "limit"))
		add_limit(parser, listener, value);
	else if (!strcmp(key, "exempt"))
		add_exempt(parser, listener, value);
	else if (strcmp(key, "service"))
		fail(parser,
		     "unknown key '%s' in [%s] (known: listen, service, proxy, limit, exempt)",
		     quote(parser, key), listener->name);
	else if (once(parser, "service", &listener->service_line) &&
		 check_name(parser, "service", value))
		strcpy(listener->service, value);
}

/* --- all of it ---------------------------------------------------------------------------- */

/* @line is `key = value` or `key: value`. Changes it. */
static void set_key(struct parser *parser, char *line)
{
	char *key, *value;

	if (!lines_key(&parser->lines, line, &key, &value))
		return;
	if (!parser->in_section)
		fail(parser, "'%s' stands before any [section]", quote(parser, key));
	else if (parser->current)
		set_in_listener(parser, key, value);
	else
		set_global(parser, key, value);
}

static void check_listener(struct parser *parser, struct config_listener *listener)
{
	if (!listener->n_listens)
		lines_fail_at(&parser->lines, listener->line,
			      "[%s]: no 'listen = ADDRESS:PORT' line", listener->name);
	else if (listener->limits.n && listener->proxies.n)
		lines_fail_at(&parser->lines, listener->limit_line[0],
			      "limit: [%s] has a proxy, whose connections would be refused before "
			      "they name their clients (limit clients by a policy: "
			      "conncount-servers(7))",
			      listener->name);
	else if (listener->exempt.n && !listener->limits.n)
		lines_fail_at(&parser->lines, listener->exempt.peer[0].line,
			      "exempt: [%s] has no 'limit' line (add one, or remove this line)",
			      listener->name);
	listener->limits.exempts = listener->exempt.n > 0;
}

static void check_listeners(struct parser *parser)
{
	struct config *config = &parser->config;

	if (!config->n_listeners)
		fail(parser, "no listener: add a section such as [smtp] with 'listen = *:25'");
	for (size_t i = 0; i < config->n_listeners; i++)
		check_listener(parser, &config->listeners[i]);
}

static void check_windows(struct parser *parser)
{
	const struct config *config = &parser->config;

	if (config->window_memory_line && !config->n_windows)
		lines_fail_at(&parser->lines, config->window_memory_line,
			      "window_memory: there is no 'window' line that would use it");
}

int config_read(FILE *in, const char *name, struct config *ret_config, char *error)
{
	struct parser parser = { .lines = { .in = in, .name = name, .error = error } };
	char buf[LINES_MOST + 1], *line;

	strcpy(parser.config.cgroup, "/");
	strcpy(parser.config.group, "conncount");
	parser.config.max_prefixes = CONFIG_MAX_PREFIXES;
	parser.config.window_memory = CONFIG_WINDOW_MEMORY;

	while ((line = lines_next(&parser.lines, buf))) {
		if (*line == '[')
			begin_section(&parser, line);
		else
			set_key(&parser, line);
	}
	check_listeners(&parser);
	check_windows(&parser);
	tdestroy(parser.taken, free);
	if (parser.lines.failed) {
		config_free(&parser.config);
		return -EINVAL;
	}
	*ret_config = parser.config;
	return 0;
}

int config_read_file(const char *path, struct config *ret_config, char *error)
{
	FILE *in = fopen(path, "re");
	int err;

	if (!in) {
		err = -errno;
		snprintf(error, CONFIG_ERROR_SIZE, "%.*s: %s", PATH_MAX, path, strerror(-err));
		return err;
	}
	err = config_read(in, path, ret_config, error);
	fclose(in);
	return err;
}

bool config_has_proxies(const struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++)
		if (config->listeners[i].proxies.n)
			return true;
	return false;
}

bool config_has_limits(const struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++)
		if (config->listeners[i].limits.n)
			return true;
	return false;
}

bool config_has_resets(const struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++)
		if (config->listeners[i].limits.resets)
			return true;
	return false;
}

void config_free(struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++) {
		free(config->listeners[i].listens);
		free(config->listeners[i].proxies.peer);
		free(config->listeners[i].exempt.peer);
	}
	free(config->listeners);
	memset(config, 0, sizeof(*config));
}
