// SPDX-License-Identifier: BSD-2-Clause
/*
 * config.c - read /etc/conncount.conf.
 */
#include <ctype.h>
#include <errno.h>
#include <search.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

enum {
	NAME_MOST = 49,
	/* Bytes of a line without its newline and its comment: enough for a key and the longest
	   path. */
	LINE_MOST = 2 * PATH_MAX,
	/* Bytes of a text that a message quotes. */
	QUOTE_MOST = 100,
};

static const char byte_order_mark[] = "\xef\xbb\xbf";

/* Node of the tree of all `listen` and `proxy` lines, which detects duplicates. */
struct taken {
	struct conncount_cidr addr;
	uint16_t port;     /* 0: a `proxy` line */
	uint16_t listener; /* its index */
	unsigned line;
};

struct parser {
	FILE *in;
	const char *name;
	char *error;
	unsigned line;
	bool failed;
	struct config config;
	struct config_listener *current; /* NULL: in [conncount], or before any section */
	bool in_section;
	void *taken; /* root of a tsearch() tree of struct taken */
	size_t n_listens, n_proxies;
	char quoted[QUOTE_MOST + sizeof("...")]; /* of quote() */
};

static void __attribute__((format(printf, 3, 4)))
fail_at(struct parser *parser, unsigned line, const char *format, ...)
{
	va_list args;
	int used;

	if (parser->failed)
		return;
	parser->failed = true;
	if (line)
		used = snprintf(parser->error, CONFIG_ERROR_SIZE, "%s:%u: ", parser->name, line);
	else
		used = snprintf(parser->error, CONFIG_ERROR_SIZE, "%s: ", parser->name);
	if (used >= CONFIG_ERROR_SIZE)
		return;
	va_start(args, format);
	vsnprintf(parser->error + used, CONFIG_ERROR_SIZE - (size_t)used, format, args);
	va_end(args);
	/* The file's text goes to a terminal. */
	for (char *c = parser->error; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
}

#define fail(parser, ...) fail_at(parser, (parser)->line, __VA_ARGS__)

/* @text, or only its start if it is long: the message must have room for the reason. */
static const char *quote(struct parser *parser, const char *text)
{
	size_t len = strlen(text);

	if (len <= QUOTE_MOST)
		return text;
	/* Do not cut inside a UTF-8 character, which has up to three bytes after its first. */
	for (len = QUOTE_MOST; len > QUOTE_MOST - 3 && (text[len] & 0xc0) == 0x80; len--)
		;
	snprintf(parser->quoted, sizeof(parser->quoted), "%.*s...", (int)len, text);
	return parser->quoted;
}

/* The names of listeners and services appear in messages, tables and metrics unescaped. */
static bool is_name(const char *text)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr("._-+:/@", *text))
			return false;
	return true;
}

static bool check_name(struct parser *parser, const char *what, const char *text)
{
	if (strlen(text) > NAME_MOST)
		fail(parser, "%s '%s': longer than %d characters", what, quote(parser, text),
		     NAME_MOST);
	else if (!is_name(text))
		fail(parser, "%s '%s': may contain only letters, digits and . _ - + : / @", what,
		     quote(parser, text));
	return !parser->failed;
}

/* Whether a key that is allowed once is new. Notes its line in @set_at. */
static bool once(struct parser *parser, const char *key, unsigned *set_at)
{
	if (*set_at)
		fail(parser, "%s: already set, at line %u", key, *set_at);
	else
		*set_at = parser->line;
	return !parser->failed;
}

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
	parser->current->line = parser->line;
}

/* @line begins with '['. */
static void begin_section(struct parser *parser, char *line)
{
	char *name = line + 1, *end = strchr(name, ']');

	parser->in_section = true;
	parser->current = NULL;
	if (!end) {
		fail(parser, "a section without a closing ']'");
		return;
	}
	if (end[1]) {
		fail(parser, "text after the section's ']'");
		return;
	}
	*end = '\0';
	if (strcmp(name, "conncount"))
		begin_listener(parser, name);
	else if (parser->config.section_line)
		fail(parser, "[conncount]: there already is such a section, at line %u",
		     parser->config.section_line);
	else
		parser->config.section_line = parser->line;
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
	unsigned long number;
	char *end;

	if (!once(parser, "max_prefixes", &config->max_prefixes_line))
		return;
	errno = 0;
	number = strtoul(value, &end, 10);
	if (!isdigit((unsigned char)value[0]) || *end || errno || number < 1 ||
	    number > CONFIG_MAX_PREFIXES_MOST)
		fail(parser, "max_prefixes '%s': not a number from 1 to %d", quote(parser, value),
		     CONFIG_MAX_PREFIXES_MOST);
	else
		config->max_prefixes = (uint32_t)number;
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
	else
		fail(parser,
		     "unknown key '%s' in [conncount] (known: cgroup, namespaces, max_prefixes, "
		     "group)",
		     quote(parser, key));
}

/*
 * Only one listener can have an address and port, but several can have the same proxy. Only
 * tsearch() uses this order.
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
			.line = parser->line,
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
	return !parser->failed;
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
	struct config_listen listen = { .line = parser->line }, *grown;
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

static void add_proxy(struct parser *parser, struct config_listener *listener, const char *value)
{
	struct config_proxy proxy = { .line = parser->line }, *grown;
	const char *why;

	if (conncount_cidr_parse(value, NULL, &proxy.network, &why)) {
		fail(parser, "proxy '%s': %s", quote(parser, value), why);
		return;
	}
	if (!proxy.network.prefixlen) {
		fail(parser,
		     "proxy '%s': every client could choose the address it is counted for (name "
		     "only the hosts that send the PROXY header)",
		     value);
		return;
	}
	if (!take(parser, &proxy.network, 0, "proxy", value))
		return;
	if (++parser->n_proxies > CC_PROXIES_MAX) {
		fail(parser,
		     "proxy '%s': more than %d networks (write adjacent networks as a larger one)",
		     value, CC_PROXIES_MAX);
		return;
	}
	grown = grow(parser, listener->proxies, listener->n_proxies, sizeof(proxy));
	if (!grown)
		return;
	listener->proxies = grown;
	listener->proxies[listener->n_proxies++] = proxy;
}

static void set_in_listener(struct parser *parser, const char *key, const char *value)
{
	struct config_listener *listener = parser->current;

	if (!strcmp(key, "listen"))
		add_listen(parser, listener, value);
	else if (!strcmp(key, "proxy"))
		add_proxy(parser, listener, value);
	else if (strcmp(key, "service"))
		fail(parser, "unknown key '%s' in [%s] (known: listen, proxy, service)",
		     quote(parser, key), listener->name);
	else if (once(parser, "service", &listener->service_line) &&
		 check_name(parser, "service", value))
		strcpy(listener->service, value);
}

/* --- lines -------------------------------------------------------------------------------- */

/* Returns @text without the space around it; changes @text. */
static char *trim(char *text)
{
	char *end = text + strlen(text);

	while (isspace((unsigned char)*text))
		text++;
	while (end > text && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return text;
}

static bool is_mark(const char *text)
{
	return !strncmp(text, byte_order_mark, strlen(byte_order_mark));
}

/*
 * Read the next line into @buf, of LINE_MOST + 1 bytes. Leaves out a comment of any length, from a
 * '#' or ';' at the start of the line or after a space, and a byte order mark at the start of the
 * file. Returns the text in @buf; NULL at the end of the file or on an error.
 */
static char *read_line(struct parser *parser, char *buf)
{
	int c = getc_unlocked(parser->in);
	size_t start = 0, len = 0;
	bool comment = false;

	if (c == EOF)
		return NULL;
	parser->line++;
	for (; c != EOF && c != '\n'; c = getc_unlocked(parser->in)) {
		if (!c) {
			fail(parser, "a NUL byte in the text (use UTF-8 or ASCII)");
			return NULL;
		}
		if ((c == '#' || c == ';') &&
		    (len == start || isspace((unsigned char)buf[len - 1])))
			comment = true;
		if (comment)
			continue;
		if (len == LINE_MOST) {
			fail(parser, "longer than %d bytes", LINE_MOST);
			return NULL;
		}
		buf[len++] = (char)c;
		if (parser->line == 1 && len == strlen(byte_order_mark) && is_mark(buf))
			start = len;
	}
	buf[len] = '\0';
	return buf + start;
}

/* @line is `key = value` or `key: value`. Changes it. */
static void set_key(struct parser *parser, char *line)
{
	char *value = strpbrk(line, "=:");
	const char *key;

	if (!value) {
		fail(parser, "neither a [section] nor 'key = value'");
		return;
	}
	*value++ = '\0';
	key = trim(line);
	value = trim(value);
	if (!parser->in_section)
		fail(parser, "'%s' stands before any [section]", quote(parser, key));
	else if (parser->current)
		set_in_listener(parser, key, value);
	else
		set_global(parser, key, value);
}

static void parse_line(struct parser *parser, char *line)
{
	line = trim(line);
	if (is_mark(line))
		fail(parser, "a byte order mark, which is allowed only at the start of the file");
	else if (*line == '[')
		begin_section(parser, line);
	else if (*line)
		set_key(parser, line);
}

static void check_listeners(struct parser *parser)
{
	const struct config *config = &parser->config;

	if (!config->n_listeners)
		fail(parser, "no listener: add a section such as [smtp] with 'listen = *:25'");
	for (size_t i = 0; i < config->n_listeners; i++)
		if (!config->listeners[i].n_listens)
			fail_at(parser, config->listeners[i].line,
				"[%s]: no 'listen = ADDRESS:PORT' line", config->listeners[i].name);
}

int config_read(FILE *in, const char *name, struct config *ret_config, char *error)
{
	struct parser parser = { .in = in, .name = name, .error = error };
	char buf[LINE_MOST + 1], *line;

	strcpy(parser.config.cgroup, "/");
	strcpy(parser.config.group, "conncount");
	parser.config.max_prefixes = CONFIG_MAX_PREFIXES;

	while (!parser.failed && (line = read_line(&parser, buf)))
		parse_line(&parser, line);
	if (ferror(in))
		fail_at(&parser, 0, "cannot be read");
	check_listeners(&parser);
	tdestroy(parser.taken, free);
	if (parser.failed) {
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
		if (config->listeners[i].n_proxies)
			return true;
	return false;
}

void config_free(struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++) {
		free(config->listeners[i].listens);
		free(config->listeners[i].proxies);
	}
	free(config->listeners);
	memset(config, 0, sizeof(*config));
}
