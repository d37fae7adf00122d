// SPDX-License-Identifier: BSD-2-Clause
/*
 * config.c - fuzz target: the configuration file.
 *
 * The input is the file. Where it is read, every line of it has to be accounted for, and to
 * mean what it says: nothing may be skipped in silence. Written out and read again, it has
 * to be the same. Where it is not read, the message has to name the first line that is
 * wrong, so everything before that line has to be right.
 */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>

#include "config.h"
#include "conncount.h"
#include "fuzz.h"
#include "levels.h"
#include "limit_text.h"

#define NAME "fuzz.conf"

enum { LINE_MOST = 8192 };

struct text {
	const char *start;
	size_t size;
};

static int parse(struct text text, struct config *ret, char *error)
{
	FILE *in = fmemopen((void *)text.start, text.size, "r");
	int err;

	check(in);
	err = config_read(in, NAME, ret, error);
	fclose(in);
	return err;
}

/* --- lines --------------------------------------------------------------------------------- */

static bool is_space(char c)
{
	return isspace((unsigned char)c);
}

static struct text trim(struct text text)
{
	while (text.size && is_space(*text.start)) {
		text.start++;
		text.size--;
	}
	while (text.size && is_space(text.start[text.size - 1]))
		text.size--;
	return text;
}

static bool is_text(struct text text, const char *string)
{
	return text.size == strlen(string) && !memcmp(text.start, string, text.size);
}

/* Cuts the first line off @rest. False: there is none left. */
static bool next_line(struct text *rest, struct text *ret_line)
{
	const char *end;

	if (!rest->size)
		return false;
	end = memchr(rest->start, '\n', rest->size);
	ret_line->start = rest->start;
	ret_line->size = end ? (size_t)(end + 1 - rest->start) : rest->size;
	rest->start += ret_line->size;
	rest->size -= ret_line->size;
	return true;
}

static unsigned count_lines(struct text text)
{
	struct text line;
	unsigned n = 0;

	while (next_line(&text, &line))
		n++;
	return n;
}

/* What a line says: no comment, no space around it, no byte order mark. */
static struct text meaning(struct text line, unsigned number)
{
	if (number == 1 && line.size >= 3 && !memcmp(line.start, "\xef\xbb\xbf", 3)) {
		line.start += 3;
		line.size -= 3;
	}
	for (size_t i = 0; i < line.size; i++) {
		if ((line.start[i] == '#' || line.start[i] == ';') &&
		    (i == 0 || is_space(line.start[i - 1]))) {
			line.size = i;
			break;
		}
	}
	return trim(line);
}

/* What line @number says. */
static struct text line_at(struct text file, unsigned number)
{
	struct text line;

	for (unsigned i = 1; next_line(&file, &line); i++)
		if (i == number)
			return meaning(line, number);
	fprintf(stderr, "fuzz: there is no line %u\n", number);
	abort();
}

static unsigned count_meaningful(struct text text)
{
	unsigned n = 0, number = 0;
	struct text line;

	while (next_line(&text, &line))
		if (meaning(line, ++number).size)
			n++;
	return n;
}

/* --- a configuration that was read --------------------------------------------------------- */

static void check_section(struct text file, unsigned number, const char *name)
{
	struct text line = line_at(file, number);

	check(line.size >= 2 && line.start[0] == '[' && line.start[line.size - 1] == ']');
	line.start++;
	line.size -= 2;
	check(is_text(line, name));
}

/* Line @number is `key = value`, or `key: value`. Returns the value, to be freed. */
static char *value_at(struct text file, unsigned number, const char *key)
{
	struct text line = line_at(file, number), name = line, value;
	size_t i = 0;

	while (i < line.size && line.start[i] != '=' && line.start[i] != ':')
		i++;
	check(i < line.size);
	name.size = i;
	check(is_text(trim(name), key));
	value.start = line.start + i + 1;
	value.size = line.size - i - 1;
	value = trim(value);
	return string_of(value.start, value.size);
}

static void check_value(struct text file, unsigned number, const char *key, const char *wanted)
{
	char *value = value_at(file, number, key);

	check(!strcmp(value, wanted));
	free(value);
}

/* A listener's or a service's name: not empty, and fit to be shown and put into metrics. */
static void check_name(const char *name, size_t size)
{
	static const char others[] = "._-+:/@";

	check(memchr(name, '\0', size));
	check(*name);
	for (; *name; name++)
		check((isascii((unsigned char)*name) && isalnum((unsigned char)*name)) ||
		      strchr(others, *name));
}

static void check_listen(struct text file, const struct config_listen *listen)
{
	static const unsigned char zero[16];
	char *value = value_at(file, listen->line, "listen");
	struct conncount_cidr addr = {};
	uint16_t port;

	if (value[0] == '*') {
		char any[8];

		snprintf(any, sizeof(any), "*:%u", listen->port);
		check(!strcmp(value, any));
	} else {
		check(!conncount_address_parse(value, &addr, &port, NULL));
		check(port == listen->port);
		if (!memcmp(addr.addr, zero, sizeof(zero)))
			addr.prefixlen = 0;
	}
	check(!memcmp(&addr, &listen->addr, sizeof(addr)));
	check(listen->port);
	free(value);
}

/* Address and port are this one's alone: it is the first to have them, and the only one. */
static void check_only(const struct config *config, const struct config_listen *listen)
{
	unsigned n = 0;

	for (size_t i = 0; i < config->n_listeners; i++) {
		const struct config_listener *listener = &config->listeners[i];

		for (size_t j = 0; j < listener->n_listens; j++)
			n += listener->listens[j].port == listen->port &&
			     !memcmp(&listener->listens[j].addr, &listen->addr,
				     sizeof(listen->addr));
	}
	check(n == 1);
}

/* Each of these lines, `@key = network`, means what it says, and no other in the section does. */
static void check_peers(struct text file, const struct config_listener *listener,
			const struct config_peers *peers, const char *key)
{
	unsigned line = listener->line;

	for (size_t i = 0; i < peers->n; i++) {
		const struct conncount_cidr *network = &peers->peer[i].network;
		struct conncount_cidr said;
		char *value;

		check(peers->peer[i].line > line);
		line = peers->peer[i].line;
		value = value_at(file, line, key);
		check(!conncount_cidr_parse(value, NULL, &said, NULL));
		check(!memcmp(&said, network, sizeof(said)));
		check(network->prefixlen);
		for (size_t j = 0; j < i; j++)
			check(memcmp(&peers->peer[j].network, network, sizeof(*network)) != 0);
		free(value);
	}
}

/* Write a limit as limit_format() does: one blank between words, and no number begins with 0. */
static void tidy(char *value)
{
	char *out = value, last = '\0';

	for (const char *c = value; *c; c++) {
		bool blank = is_space(*c);

		if (blank && is_space(last))
			continue;
		if (*c == '0' && !isdigit((unsigned char)last) && isdigit((unsigned char)c[1]))
			continue;
		last = blank ? ' ' : *c;
		*out++ = last;
	}
	*out = '\0';
}

static void check_limit(struct text file, unsigned line, const struct cc_limit *limit)
{
	static const int families[CC_FAMILIES] = { CC_IPV4, CC_IPV6 };
	char *value = value_at(file, line, "limit"), text[LIMIT_TEXT_SIZE];

	tidy(value);
	check(!strcmp(value, limit_format(limit, text)));
	for (int i = 0; i < CC_FAMILIES; i++)
		check(levels_of(families[i])[limit->level[i]] == limit->length[i]);
	check(limit->over);
	free(value);
}

/* Whether a family's limits are asked in this order: the longest first, of one length the lowest.
 */
static bool is_in_order(const struct cc_limit *a, const struct cc_limit *b, int family)
{
	return a->length[family] > b->length[family] ||
	       (a->length[family] == b->length[family] && a->over <= b->over);
}

static void check_order(const struct cc_limits *limits, int family)
{
	const __u8 *order = limits->order[family];
	unsigned seen = 0;

	for (__u32 i = 0; i < limits->n; i++) {
		check(order[i] < limits->n);
		seen |= 1U << order[i];
		check(!i ||
		      is_in_order(&limits->limit[order[i - 1]], &limits->limit[order[i]], family));
	}
	check(seen == (1U << limits->n) - 1);
}

static void check_limits(struct text file, const struct config_listener *listener)
{
	const struct cc_limits *limits = &listener->limits;
	unsigned line = listener->line;
	bool resets = false, logs = false;

	check(limits->n <= CC_LIMITS_MAX);
	check(!limits->n || !listener->proxies.n);
	check(limits->n || !listener->exempt.n);
	for (__u32 i = 0; i < limits->n; i++) {
		const struct cc_limit *limit = &limits->limit[i];

		check(listener->limit_line[i] > line);
		line = listener->limit_line[i];
		check_limit(file, line, limit);
		for (__u32 j = 0; j < i; j++)
			check(limits->limit[j].action != limit->action ||
			      memcmp(limits->limit[j].length, limit->length,
				     sizeof(limit->length)) != 0);
		resets = resets || limit->action == CC_LIMIT_RESET;
		logs = logs || limit->action == CC_LIMIT_LOG;
	}
	check(limits->resets == resets && limits->logs == logs);
	check(limits->exempts == (listener->exempt.n > 0));
	for (int family = 0; family < CC_FAMILIES; family++)
		check_order(limits, family);
}

static void check_listener(struct text file, const struct config *config,
			   const struct config_listener *listener)
{
	unsigned line = listener->line;

	check_name(listener->name, sizeof(listener->name));
	check(strcmp(listener->name, "conncount"));
	check_section(file, line, listener->name);
	for (const struct config_listener *other = config->listeners; other != listener; other++)
		check(strcmp(other->name, listener->name));

	check_name(listener->service, sizeof(listener->service));
	if (listener->service_line)
		check_value(file, listener->service_line, "service", listener->service);
	else
		check(!strcmp(listener->service, CONNCOUNT_SERVICE));

	check(listener->n_listens);
	for (size_t i = 0; i < listener->n_listens; i++) {
		check(listener->listens[i].line > line);
		line = listener->listens[i].line;
		check_listen(file, &listener->listens[i]);
		check_only(config, &listener->listens[i]);
	}
	check_peers(file, listener, &listener->proxies, "proxy");
	check_peers(file, listener, &listener->exempt, "exempt");
	check_limits(file, listener);
}

static void check_windows(const struct config *config)
{
	size_t slots = 0;

	check(config->n_windows <= CC_WINDOWS_MAX);
	for (size_t i = 0; i < config->n_windows; i++) {
		const struct conncount_window *window = &config->windows[i];

		check(window->seconds >= 1 && window->seconds <= CONFIG_WINDOW_SECONDS_MOST);
		slots += window->windows + 1;
	}
	check(slots <= CC_WINDOW_SLOTS_MAX);
	check(config->window_memory >= CONFIG_WINDOW_MEMORY_LEAST &&
	      config->window_memory <= CONFIG_WINDOW_MEMORY_MOST);
	check(config->n_windows || !config->window_memory_line);
}

static void check_global(struct text file, const struct config *config)
{
	char number[16];

	if (config->section_line)
		check_section(file, config->section_line, "conncount");

	check(memchr(config->cgroup, '\0', sizeof(config->cgroup)));
	check(config->cgroup[0] == '/');
	for (const char *c = config->cgroup; *c; c++)
		check(!iscntrl((unsigned char)*c));
	if (config->cgroup_line)
		check_value(file, config->cgroup_line, "cgroup", config->cgroup);

	check_name(config->group, sizeof(config->group));
	if (config->group_line)
		check_value(file, config->group_line, "group", config->group);

	if (config->namespaces_line)
		check_value(file, config->namespaces_line, "namespaces",
			    config->all_namespaces ? "all" : "own");

	check(config->max_prefixes >= 1 && config->max_prefixes <= CONFIG_MAX_PREFIXES_MOST);
	if (config->max_prefixes_line) {
		char *value = value_at(file, config->max_prefixes_line, "max_prefixes");
		const char *digits = value + strspn(value, "0");

		snprintf(number, sizeof(number), "%u", config->max_prefixes);
		check(!strcmp(digits, number));
		free(value);
	}
	check_windows(config);
}

/* As many lines as the configuration has things, so that none was read for nothing. */
static void check_all_lines(struct text file, const struct config *config)
{
	unsigned n = 0;

	n += !!config->section_line + !!config->cgroup_line;
	n += !!config->group_line + !!config->max_prefixes_line + !!config->namespaces_line;
	n += (unsigned)config->n_windows + !!config->window_memory_line;
	for (size_t i = 0; i < config->n_listeners; i++) {
		n += 1 + !!config->listeners[i].service_line;
		n += (unsigned)config->listeners[i].n_listens + config->listeners[i].limits.n;
		n += (unsigned)config->listeners[i].proxies.n;
		n += (unsigned)config->listeners[i].exempt.n;
	}
	check(n == count_meaningful(file));
}

/* --- written out and read again ------------------------------------------------------------ */

static void write_listen(FILE *out, const struct config_listen *listen)
{
	char addr[CONNCOUNT_CIDR_SIZE];

	if (!listen->addr.family) {
		fprintf(out, "listen=*:%u\n", listen->port);
		return;
	}
	conncount_cidr_format(&listen->addr, addr);
	*strchr(addr, '/') = '\0';
	fprintf(out, listen->addr.family == CONNCOUNT_IPV6 ? "listen=[%s]:%u\n" : "listen=%s:%u\n",
		addr, listen->port);
}

static void write_peers(FILE *out, const char *key, const struct config_peers *peers)
{
	char network[CONNCOUNT_CIDR_SIZE];

	for (size_t i = 0; i < peers->n; i++)
		fprintf(out, "%s=%s\n", key,
			conncount_cidr_format(&peers->peer[i].network, network));
}

static void write_limits(FILE *out, const struct cc_limits *limits)
{
	char text[LIMIT_TEXT_SIZE];

	for (__u32 i = 0; i < limits->n; i++)
		fprintf(out, "limit=%s\n", limit_format(&limits->limit[i], text));
}

static void write_config(FILE *out, const struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++) {
		const struct config_listener *listener = &config->listeners[i];

		fprintf(out, "[%s]\nservice=%s\n", listener->name, listener->service);
		for (size_t j = 0; j < listener->n_listens; j++)
			write_listen(out, &listener->listens[j]);
		write_peers(out, "proxy", &listener->proxies);
		write_limits(out, &listener->limits);
		write_peers(out, "exempt", &listener->exempt);
	}
	fputs("[conncount]\n", out);
	for (size_t i = 0; i < config->n_windows; i++)
		fprintf(out, "window=%u,%u\n", config->windows[i].seconds,
			config->windows[i].windows);
	if (config->n_windows)
		fprintf(out, "window_memory=%u\n", config->window_memory);
	fprintf(out, "namespaces=%s\nmax_prefixes=%u\ngroup=%s\ncgroup=%s",
		config->all_namespaces ? "all" : "own", config->max_prefixes, config->group,
		config->cgroup);
}

static void check_same_peers(const struct config_peers *a, const struct config_peers *b)
{
	check(a->n == b->n);
	for (size_t i = 0; i < a->n; i++)
		check(!memcmp(&a->peer[i].network, &b->peer[i].network,
			      sizeof(a->peer[i].network)));
}

static void check_same(const struct config *a, const struct config *b)
{
	check(!strcmp(a->cgroup, b->cgroup) && !strcmp(a->group, b->group));
	check(a->all_namespaces == b->all_namespaces);
	check(a->max_prefixes == b->max_prefixes && a->n_listeners == b->n_listeners);
	check(a->n_windows == b->n_windows && a->window_memory == b->window_memory);
	check(!memcmp(a->windows, b->windows, sizeof(a->windows)));
	for (size_t i = 0; i < a->n_listeners; i++) {
		const struct config_listener *la = &a->listeners[i], *lb = &b->listeners[i];

		check(!strcmp(la->name, lb->name) && !strcmp(la->service, lb->service));
		check(la->n_listens == lb->n_listens);
		for (size_t j = 0; j < la->n_listens; j++) {
			check(la->listens[j].port == lb->listens[j].port);
			check(!memcmp(&la->listens[j].addr, &lb->listens[j].addr,
				      sizeof(la->listens[j].addr)));
		}
		check_same_peers(&la->proxies, &lb->proxies);
		check_same_peers(&la->exempt, &lb->exempt);
		check(!memcmp(&la->limits, &lb->limits, sizeof(la->limits)));
	}
}

static void check_written(const struct config *config)
{
	char error[CONFIG_ERROR_SIZE] = "";
	struct config again;
	char *written;
	size_t size;
	FILE *out;
	int err;

	out = open_memstream(&written, &size);
	check(out);
	write_config(out, config);
	check(!fclose(out));
	err = parse((struct text){ written, size }, &again, error);
	if (err)
		fprintf(stderr, "fuzz: %s, in:\n%s\n", error, written);
	check(!err);
	check_same(config, &again);
	config_free(&again);
	free(written);
}

static void check_config(struct text file, struct config *config)
{
	static const struct config empty;

	check(config->n_listeners && config->n_listeners <= CC_LISTENERS_MAX);
	check_global(file, config);
	for (size_t i = 0; i < config->n_listeners; i++)
		check_listener(file, config, &config->listeners[i]);
	check_all_lines(file, config);
	check_written(config);
	config_free(config);
	check(!memcmp(config, &empty, sizeof(empty)));
}

/* --- a configuration that was refused ------------------------------------------------------ */

/* Whether an error is one that only the end of the file tells. */
static bool at_the_end(const char *error)
{
	return strstr(error, "no listener: ") || strstr(error, "]: no 'listen = ") ||
	       strstr(error, "window_memory: there is no ") || strstr(error, "] has a proxy, ") ||
	       strstr(error, "] has no 'limit' ");
}

/* The line that @error names; 0 if it names none, as it may where the file has no line. */
static unsigned check_message(const char *error)
{
	unsigned long line;
	char *end;

	for (const char *c = error; *c; c++)
		check(!iscntrl((unsigned char)*c));

	check(memchr(error, '\0', CONFIG_ERROR_SIZE));
	check(!strncmp(error, NAME ":", strlen(NAME ":")));
	error += strlen(NAME ":");
	if (!strncmp(error, " no listener: ", strlen(" no listener: ")))
		return 0;
	check(isdigit((unsigned char)*error));
	line = strtoul(error, &end, 10);
	check(!strncmp(end, ": ", 2) && end[2]);
	return (unsigned)line;
}

/* A line is refused for a NUL that it has, for its length if it is long, or for what it says. */
static void check_line_refused(struct text file, unsigned number, const char *error)
{
	const char *why = strstr(error, ": ") + strlen(": ");
	struct text line = { 0 };
	bool nul, is_long;

	if (!number || at_the_end(error))
		return;
	for (unsigned i = 0; i < number; i++)
		next_line(&file, &line);
	nul = !strncmp(why, "a NUL byte ", strlen("a NUL byte "));
	is_long = !strncmp(why, "longer than ", strlen("longer than "));
	check(nul || is_long || meaning(line, number).size);
	check(!nul || memchr(line.start, '\0', line.size));
	check(!is_long || line.size > LINE_MOST);
}

static void check_refused(struct text file, const char *error)
{
	char earlier[CONFIG_ERROR_SIZE] = "";
	struct text rest = file, line;
	unsigned number = check_message(error);
	struct config config;

	check(number <= count_lines(file));
	check_line_refused(file, number, error);
	check(number || at_the_end(error));
	if (!number)
		return;
	for (unsigned i = 1; i < number; i++)
		next_line(&rest, &line);
	if (!parse((struct text){ file.start, (size_t)(rest.start - file.start) }, &config,
		   earlier)) {
		config_free(&config);
		return;
	}
	if (!at_the_end(earlier))
		fprintf(stderr, "fuzz: told %s\nfuzz: before it is %s\n", error, earlier);
	check(at_the_end(earlier));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = string_of(data, size), error[CONFIG_ERROR_SIZE];
	struct text file = { copy, size };
	struct config config, before;
	int err;

	memset(&before, 0xa5, sizeof(before));
	memset(error, 'x', sizeof(error));
	config = before;
	err = parse(file, &config, error);
	if (!err) {
		check(!memchr(data, '\0', size));
		check_config(file, &config);
	} else {
		check(err == -EINVAL);
		check(!memcmp(&config, &before, sizeof(before)));
		check_refused(file, error);
	}
	free(copy);
	return 0;
}
