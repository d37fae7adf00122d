// SPDX-License-Identifier: BSD-2-Clause
/*
 * config.c - read /etc/conncount.conf.
 *
 * libinih splits lines into names and values. It neither tells line numbers nor sections
 * without a key, and it cuts what is too long for its buffers; so the lines pass through
 * next_line() on their way to it, which sees to these.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

#include "config.h"

enum {
	/* libinih's own limits, which it does not export: MAX_SECTION and MAX_NAME are 50. */
	NAME_MOST = 49,
	LINE_MOST = INI_MAX_LINE - 2,
};

static const char byte_order_mark[] = "\xef\xbb\xbf";

struct parser {
	FILE *in;
	const char *name;
	char *error;
	unsigned line;
	bool failed;
	struct config config;
	struct config_listener *current; /* NULL: in [conncount], or before any section */
	bool in_section;
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
	/* What the file has in it goes to a terminal. */
	for (char *c = parser->error; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
}

#define fail(parser, ...) fail_at(parser, (parser)->line, __VA_ARGS__)

/* Listeners' and services' names go into messages, tables and metrics as they are. */
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
		fail(parser, "%s '%s': longer than %d characters", what, text, NAME_MOST);
	else if (!is_name(text))
		fail(parser, "%s '%s': only letters, digits and . _ - + : / @ can be in it", what,
		     text);
	return !parser->failed;
}

/* Whether a key that may stand only once is new; notes its line in @set_at. */
static bool once(struct parser *parser, const char *key, unsigned *set_at)
{
	if (*set_at)
		fail(parser, "%s: set before, at line %u", key, *set_at);
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
			fail(parser, "[%s]: begun before, at line %u", name,
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
static void begin_section(struct parser *parser, const char *line)
{
	const char *end = strchr(line, ']');
	char name[INI_MAX_LINE];

	parser->in_section = true;
	parser->current = NULL;
	if (!end) {
		fail(parser, "a section without its ']'");
		return;
	}
	if (end[1 + strspn(end + 1, " \t\r\n")]) {
		fail(parser, "text after the section's ']'");
		return;
	}
	snprintf(name, sizeof(name), "%.*s", (int)(end - line - 1), line + 1);
	if (strcmp(name, "conncount"))
		begin_listener(parser, name);
	else if (parser->config.section_line)
		fail(parser, "[conncount]: begun before, at line %u", parser->config.section_line);
	else
		parser->config.section_line = parser->line;
}

/* --- keys --------------------------------------------------------------------------------- */

static void set_cgroup(struct parser *parser, const char *value)
{
	struct config *config = &parser->config;

	if (!once(parser, "cgroup", &config->cgroup_line))
		return;
	if (value[0] != '/')
		fail(parser, "cgroup '%s': a path below the cgroup v2 mount begins with '/'",
		     value);
	else
		snprintf(config->cgroup, sizeof(config->cgroup), "%s", value);
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
		fail(parser, "max_prefixes '%s': not a number from 1 to %d", value,
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
		fail(parser, "namespaces '%s': must be own or all", value);
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
		     key);
}

static bool same_listen(const struct config_listen *a, const struct config_listen *b)
{
	return a->port == b->port && a->addr.family == b->addr.family &&
	       a->addr.prefixlen == b->addr.prefixlen &&
	       !memcmp(a->addr.addr, b->addr.addr, sizeof(a->addr.addr));
}

/* Whether @listen stands somewhere already. */
static bool listen_taken(struct parser *parser, const struct config_listen *listen,
			 const char *value)
{
	for (size_t i = 0; i < parser->config.n_listeners; i++) {
		const struct config_listener *listener = &parser->config.listeners[i];

		for (size_t j = 0; j < listener->n_listens; j++) {
			if (!same_listen(&listener->listens[j], listen))
				continue;
			fail(parser, "listen '%s': taken by [%s], at line %u", value,
			     listener->name, listener->listens[j].line);
			return true;
		}
	}
	return false;
}

/* `*:PORT`, `ADDRESS:PORT` or `[ADDRESS6]:PORT`; the address 0.0.0.0 or :: is all of its family. */
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
		fail(parser, "listen '%s': %s", value, why);
		return;
	}
	if (listen_taken(parser, &listen, value))
		return;
	grown = realloc(listener->listens, (listener->n_listens + 1) * sizeof(*grown));
	if (!grown) {
		fail(parser, "out of memory");
		return;
	}
	listener->listens = grown;
	grown[listener->n_listens++] = listen;
}

static void set_in_listener(struct parser *parser, const char *key, const char *value)
{
	struct config_listener *listener = parser->current;

	if (!strcmp(key, "listen"))
		add_listen(parser, listener, value);
	else if (strcmp(key, "service"))
		fail(parser, "unknown key '%s' in [%s] (known: listen, service)", key,
		     listener->name);
	else if (once(parser, "service", &listener->service_line) &&
		 check_name(parser, "service", value))
		strcpy(listener->service, value);
}

/* Called by libinih for each name and value. Its @section is cut to size; ours is not. */
static int on_key(void *arg, const char *section, const char *key, const char *value)
{
	struct parser *parser = arg;

	(void)section;
	if (parser->failed)
		return 0;
	if (!parser->in_section)
		fail(parser, "'%s' stands before any [section]", key);
	else if (parser->current)
		set_in_listener(parser, key, value);
	else
		set_global(parser, key, value);
	return !parser->failed;
}

/* --- lines -------------------------------------------------------------------------------- */

/* Cut a comment: '#' or ';' at the start of a line or behind a space. */
static void cut_comment(char *line)
{
	for (char *c = line; *c; c++) {
		if ((*c == '#' || *c == ';') && (c == line || isspace((unsigned char)c[-1]))) {
			strcpy(c, "\n");
			return;
		}
	}
}

static bool starts_with_mark(const char *text)
{
	return !strncmp(text, byte_order_mark, strlen(byte_order_mark));
}

/*
 * libinih's reader, called as fgets(). Lines lose their comments and their indentation, which
 * libinih would take for the continuation of a value.
 */
static char *next_line(char *buf, int size, void *arg)
{
	struct parser *parser = arg;
	char *text = NULL;
	size_t room = 0;
	ssize_t len;

	if (parser->failed)
		return NULL;
	len = getline(&text, &room, parser->in);
	if (len < 0) {
		free(text);
		return NULL;
	}
	parser->line++;
	if (strlen(text) != (size_t)len) {
		fail(parser, "a NUL byte in the text");
	} else {
		cut_comment(text);
		char *start = text;
		if (parser->line == 1 && starts_with_mark(start))
			start += strlen(byte_order_mark);
		start += strspn(start, " \t\r\v\f\n");
		if (strlen(start) > LINE_MOST || strlen(start) >= (size_t)size)
			fail(parser, "longer than %d characters", LINE_MOST);
		else if (*start == '[')
			begin_section(parser, start);
		else if (*start && (!strpbrk(start, "=:") || starts_with_mark(start)))
			fail(parser, "neither a [section] nor 'key = value'");
		snprintf(buf, (size_t)size, "%s", parser->failed ? "" : start);
	}
	free(text);
	return parser->failed ? NULL : buf;
}

static void check_listeners(struct parser *parser)
{
	const struct config *config = &parser->config;

	if (!config->n_listeners)
		fail(parser, "no listener: a section such as [smtp] with 'listen = *:25'");
	for (size_t i = 0; i < config->n_listeners; i++)
		if (!config->listeners[i].n_listens)
			fail_at(parser, config->listeners[i].line,
				"[%s]: no 'listen = ADDRESS:PORT' in it",
				config->listeners[i].name);
}

int config_read(FILE *in, const char *name, struct config *ret_config, char *error)
{
	struct parser parser = { .in = in, .name = name, .error = error };
	int line;

	strcpy(parser.config.cgroup, "/");
	strcpy(parser.config.group, "conncount");
	parser.config.max_prefixes = CONFIG_MAX_PREFIXES;

	line = ini_parse_stream(next_line, &parser, on_key, &parser);
	if (line > 0)
		fail_at(&parser, (unsigned)line, "neither a [section] nor 'key = value'");
	else if (line < 0)
		fail(&parser, "out of memory");
	if (!parser.failed && ferror(in))
		fail_at(&parser, 0, "cannot be read");
	check_listeners(&parser);
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
		snprintf(error, CONFIG_ERROR_SIZE, "%s: %s", path, strerror(-err));
		return err;
	}
	err = config_read(in, path, ret_config, error);
	fclose(in);
	return err;
}

void config_free(struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++)
		free(config->listeners[i].listens);
	free(config->listeners);
	memset(config, 0, sizeof(*config));
}
