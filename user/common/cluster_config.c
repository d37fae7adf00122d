// SPDX-License-Identifier: BSD-2-Clause
/*
 * cluster_config.c - read /etc/conncount-cluster.conf.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster_config.h"
#include "conncount.h"

enum {
	NAME_MOST = 49,
	MAX_PREFIXES_MOST = CC_REMOTE_MAX,
};

struct parser {
	struct lines lines;
	struct cluster_config config;
	bool in_section;
	unsigned section_line;
};

#define fail(parser, ...)   lines_fail(&(parser)->lines, __VA_ARGS__)
#define quote(parser, text) lines_quote(&(parser)->lines, text)

/* --- values ------------------------------------------------------------------------------------
 */

/* A copy of @text. Returns NULL, with an error, if there is no memory. */
static char *copy(struct parser *parser, const char *text)
{
	char *made = strdup(text);

	if (!made)
		fail(parser, "out of memory");
	return made;
}

/* A name, into @to, of CC_NAME_SIZE bytes. */
static void set_name(struct parser *parser, const char *key, const char *value, char *to)
{
	if (lines_check_name(&parser->lines, key, value, CLUSTER_NAME_CHARACTERS, NAME_MOST))
		strcpy(to, value);
}

static void set_username(struct parser *parser, const char *key, const char *value, char **to)
{
	if (lines_check_name(&parser->lines, key, value, "._-@", NAME_MOST))
		*to = copy(parser, value);
}

static void set_service(struct parser *parser, const char *value)
{
	if (!strcmp(value, CONNCOUNT_SERVICE_CLUSTER))
		fail(parser, "service '%s': that is what the daemon makes of the service", value);
	else if (lines_check_name(&parser->lines, "service", value, "._-+:/@", NAME_MOST))
		strcpy(parser->config.service, value);
}

static void set_bool(struct parser *parser, const char *key, const char *value, bool *to)
{
	*to = !strcmp(value, "yes");
	if (!*to && strcmp(value, "no"))
		fail(parser, "%s '%s': neither yes nor no", key, quote(parser, value));
}

/* A number with a unit: `250ms`, `10s`, `2m`. */
static bool parse_duration(const char *text, uint64_t *ret_ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = { { "ms", NS_PER_MS }, { "s", NS_PER_S }, { "m", 60 * NS_PER_S } };
	unsigned long long number;
	char *end;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || errno || number > 1000000)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (strcmp(end, units[i].name))
			continue;
		*ret_ns = number * units[i].ns;
		return true;
	}
	return false;
}

/* A duration from @least to @most, which @range says in words. */
static void set_duration(struct parser *parser, const char *key, const char *value, uint64_t least,
			 uint64_t most, const char *range, uint64_t *to)
{
	uint64_t ns;

	if (!parse_duration(value, &ns))
		fail(parser, "%s '%s': not a number with a unit: ms, s or m (as in 250ms)", key,
		     quote(parser, value));
	else if (ns < least || ns > most)
		fail(parser, "%s '%s': not from %s", key, quote(parser, value), range);
	else
		*to = ns;
}

static void set_max_prefixes(struct parser *parser, const char *value)
{
	unsigned long number;
	char *end;

	errno = 0;
	number = strtoul(value, &end, 10);
	if (!isdigit((unsigned char)value[0]) || *end || errno || number < 1 ||
	    number > MAX_PREFIXES_MOST)
		fail(parser, "max_prefixes '%s': not a number from 1 to %d", quote(parser, value),
		     MAX_PREFIXES_MOST);
	else
		parser->config.max_prefixes = (uint32_t)number;
}

/* --- files -------------------------------------------------------------------------------------
 */

/* Open a file. @secret: only its owner and group may read it. Returns NULL after an error. */
static FILE *open_file(struct parser *parser, const char *key, const char *path, bool secret)
{
	/* Not blocking: nobody may write to a FIFO. */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
	struct stat st;

	if (!in || fstat(fd, &st))
		fail(parser, "%s '%s': %s", key, quote(parser, path), strerror(errno));
	else if (!S_ISREG(st.st_mode))
		fail(parser, "%s '%s': not a file", key, quote(parser, path));
	else if (secret && st.st_mode & (S_IROTH | S_IWOTH))
		fail(parser, "%s '%s': other users may read or write it (chmod o-rw)", key,
		     quote(parser, path));
	else
		return in;
	if (in)
		fclose(in);
	else if (fd >= 0)
		close(fd);
	return NULL;
}

/* Read the first line of a file. */
static void set_password(struct parser *parser, const char *key, const char *path, char **to)
{
	char text[CLUSTER_PASSWORD_MOST + 2] = "";
	FILE *in = open_file(parser, key, path, true);

	if (!in)
		return;
	if (!fgets(text, sizeof(text), in))
		text[0] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	if (!*text)
		fail(parser, "%s '%s': its first line is empty", key, quote(parser, path));
	else if (strlen(text) > CLUSTER_PASSWORD_MOST)
		fail(parser, "%s '%s': longer than %d characters", key, quote(parser, path),
		     CLUSTER_PASSWORD_MOST);
	else
		*to = copy(parser, text);
	explicit_bzero(text, sizeof(text));
	fclose(in);
}

/* The name of a file that can be read. */
static void set_file(struct parser *parser, const char *key, const char *path, bool secret,
		     char **to)
{
	FILE *in = open_file(parser, key, path, secret);

	if (!in)
		return;
	fclose(in);
	*to = copy(parser, path);
}

/* --- servers -----------------------------------------------------------------------------------
 */

/* Whether @text, of @len bytes, can be the name of a host, and is no address. */
static bool is_host(const char *text, size_t len)
{
	bool letter = false;

	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)text[i]) && !strchr(".-", text[i]))
			return false;
		letter = letter || isalpha((unsigned char)text[i]);
	}
	return letter;
}

/* `ADDRESS:PORT`, `[ADDRESS6]:PORT` or `NAME:PORT`. Returns 0; or -EINVAL, with the reason. */
static int parse_host(const char *text, size_t *ret_len, uint16_t *ret_port, const char **ret_why)
{
	const char *colon = strrchr(text, ':');
	struct conncount_cidr addr;
	char with_address[32];

	if (!colon || !is_host(text, (size_t)(colon - text)))
		return conncount_address_parse(text, &addr, ret_port, ret_why);
	*ret_len = (size_t)(colon - text);
	/* The port is read as that of an address. */
	snprintf(with_address, sizeof(with_address), "127.0.0.1%s", colon);
	return conncount_address_parse(with_address, &addr, ret_port, ret_why);
}

/* The address in `ADDRESS:PORT` or `[ADDRESS6]:PORT`, which is right. */
static size_t address_length(const char **text)
{
	size_t len = (size_t)(strrchr(*text, ':') - *text);

	if (**text != '[')
		return len;
	++*text;
	return len - 2;
}

static void add_server(struct parser *parser, const char *key, const char *text,
		       struct cluster_servers *to)
{
	struct cluster_server *server = &to->at[to->n];
	const char *why, *host = text;
	size_t len = 0;

	if (to->n == CLUSTER_SERVERS_MOST) {
		fail(parser, "%s: more than %d", key, CLUSTER_SERVERS_MOST);
		return;
	}
	if (text[0] != '/' && parse_host(text, &len, &server->port, &why)) {
		fail(parser, "%s '%s': %s", key, quote(parser, text), why);
		return;
	}
	to->n++;
	server->text = copy(parser, text);
	if (text[0] == '/') {
		server->path = copy(parser, text);
		return;
	}
	if (!len)
		len = address_length(&host);
	server->host = strndup(host, len);
	if (!server->host)
		fail(parser, "out of memory");
}

static void set_servers(struct parser *parser, const char *key, char *value,
			struct cluster_servers *to)
{
	char *rest = value, *text;

	while ((text = strsep(&rest, " \t")))
		if (*text && !parser->lines.failed)
			add_server(parser, key, text, to);
	if (!to->n)
		fail(parser, "%s: is empty", key);
}

/* --- keys --------------------------------------------------------------------------------------
 */

enum key {
	KEY_NAME,
	KEY_NODE,
	KEY_SERVERS,
	KEY_SERVICE,
	KEY_SENTINELS,
	KEY_SENTINEL_MASTER,
	KEY_USERNAME,
	KEY_PASSWORD_FILE,
	KEY_SENTINEL_USERNAME,
	KEY_SENTINEL_PASSWORD_FILE,
	KEY_TLS,
	KEY_TLS_CA,
	KEY_TLS_CERT,
	KEY_TLS_KEY,
	KEY_INTERVAL,
	KEY_LEASE,
	KEY_HOLD,
	KEY_MAX_PREFIXES,
	KEYS,
};

static const char *const keys[KEYS] = {
	[KEY_NAME] = "name",
	[KEY_NODE] = "node",
	[KEY_SERVERS] = "servers",
	[KEY_SERVICE] = "service",
	[KEY_SENTINELS] = "sentinels",
	[KEY_SENTINEL_MASTER] = "sentinel_master",
	[KEY_USERNAME] = "username",
	[KEY_PASSWORD_FILE] = "password_file",
	[KEY_SENTINEL_USERNAME] = "sentinel_username",
	[KEY_SENTINEL_PASSWORD_FILE] = "sentinel_password_file",
	[KEY_TLS] = "tls",
	[KEY_TLS_CA] = "tls_ca",
	[KEY_TLS_CERT] = "tls_cert",
	[KEY_TLS_KEY] = "tls_key",
	[KEY_INTERVAL] = "interval",
	[KEY_LEASE] = "lease",
	[KEY_HOLD] = "hold",
	[KEY_MAX_PREFIXES] = "max_prefixes",
};

static void fail_unknown(struct parser *parser, const char *key)
{
	char known[512] = "";
	size_t used = 0;

	for (int i = 0; i < KEYS; i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
					 keys[i]);
	fail(parser, "unknown key '%s' in [cluster] (known: %s)", quote(parser, key), known);
}

static void set_value(struct parser *parser, enum key key, char *value)
{
	struct cluster_config *config = &parser->config;

	switch (key) {
	case KEY_NAME:
		set_name(parser, keys[key], value, config->name);
		break;
	case KEY_NODE:
		set_name(parser, keys[key], value, config->node);
		break;
	case KEY_SERVERS:
		set_servers(parser, keys[key], value, &config->servers);
		break;
	case KEY_SERVICE:
		set_service(parser, value);
		break;
	case KEY_SENTINELS:
		set_servers(parser, keys[key], value, &config->sentinels);
		break;
	case KEY_SENTINEL_MASTER:
		set_name(parser, keys[key], value, config->sentinel_master);
		break;
	case KEY_USERNAME:
		set_username(parser, keys[key], value, &config->login.username);
		break;
	case KEY_PASSWORD_FILE:
		set_password(parser, keys[key], value, &config->login.password);
		break;
	case KEY_SENTINEL_USERNAME:
		set_username(parser, keys[key], value, &config->sentinel_login.username);
		break;
	case KEY_SENTINEL_PASSWORD_FILE:
		set_password(parser, keys[key], value, &config->sentinel_login.password);
		break;
	case KEY_TLS:
		set_bool(parser, keys[key], value, &config->tls.on);
		break;
	case KEY_TLS_CA:
		set_file(parser, keys[key], value, false, &config->tls.ca);
		break;
	case KEY_TLS_CERT:
		set_file(parser, keys[key], value, false, &config->tls.cert);
		break;
	case KEY_TLS_KEY:
		set_file(parser, keys[key], value, true, &config->tls.key);
		break;
	case KEY_INTERVAL:
		set_duration(parser, keys[key], value, 50 * NS_PER_MS, CLUSTER_INTERVAL_MOST,
			     "50ms to 10s", &config->interval);
		break;
	case KEY_LEASE:
		set_duration(parser, keys[key], value, NS_PER_S, 3600 * NS_PER_S, "1s to 60m",
			     &config->lease);
		break;
	case KEY_HOLD:
		set_duration(parser, keys[key], value, 0, 86400 * NS_PER_S, "0s to 1440m",
			     &config->hold);
		break;
	case KEY_MAX_PREFIXES:
		set_max_prefixes(parser, value);
		break;
	case KEYS:
		break;
	}
}

static void set_key(struct parser *parser, char *line, unsigned *set_at)
{
	char *name, *value;
	int key = 0;

	if (!lines_key(&parser->lines, line, &name, &value))
		return;
	if (!parser->in_section) {
		fail(parser, "'%s' stands before the section [cluster]", quote(parser, name));
		return;
	}
	while (key < KEYS && strcmp(keys[key], name))
		key++;
	if (key == KEYS)
		fail_unknown(parser, name);
	else if (lines_once(&parser->lines, name, &set_at[key]))
		set_value(parser, (enum key)key, value);
}

/* --- all of it ---------------------------------------------------------------------------------
 */

static void begin_section(struct parser *parser, char *line)
{
	const char *name = lines_section(&parser->lines, line);

	if (!name)
		return;
	if (strcmp(name, "cluster"))
		fail(parser, "[%s]: unknown section (known: [cluster])", quote(parser, name));
	else if (parser->in_section)
		fail(parser, "[cluster]: there already is such a section, at line %u",
		     parser->section_line);
	parser->in_section = true;
	parser->section_line = parser->lines.line;
}

/* What a host without `node` is called: its host name. */
static void name_node(struct parser *parser)
{
	char name[256] = "";

	if (gethostname(name, sizeof(name) - 1) || strlen(name) > NAME_MOST)
		lines_fail_at(&parser->lines, 0,
			      "this host has no name, or a long one: add 'node = NAME'");
	else
		set_name(parser, "node", name, parser->config.node);
}

static void check_tls(struct lines *lines, const struct cluster_tls *tls, const unsigned *set_at)
{
	for (int key = KEY_TLS_CA; key <= KEY_TLS_KEY; key++)
		if (set_at[key] && !tls->on)
			lines_fail_at(lines, set_at[key], "%s: add 'tls = yes'", keys[key]);
	if (set_at[KEY_TLS_CERT] && !set_at[KEY_TLS_KEY])
		lines_fail_at(lines, set_at[KEY_TLS_CERT], "tls_cert: add 'tls_key = PATH'");
	if (set_at[KEY_TLS_KEY] && !set_at[KEY_TLS_CERT])
		lines_fail_at(lines, set_at[KEY_TLS_KEY], "tls_key: add 'tls_cert = PATH'");
}

static void check(struct parser *parser, const unsigned *set_at)
{
	struct cluster_config *config = &parser->config;
	struct lines *lines = &parser->lines;

	if (!set_at[KEY_NODE] && !lines->failed)
		name_node(parser);
	if (!set_at[KEY_SERVERS] && !set_at[KEY_SENTINELS])
		lines_fail_at(lines, 0,
			      "no server: add a section [cluster] with 'servers = ADDRESS:PORT'");
	if (set_at[KEY_SERVERS] && set_at[KEY_SENTINELS])
		lines_fail_at(lines, set_at[KEY_SENTINELS],
			      "sentinels: cannot be combined with servers, at line %u",
			      set_at[KEY_SERVERS]);
	if (set_at[KEY_SENTINELS] && !set_at[KEY_SENTINEL_MASTER])
		lines_fail_at(lines, set_at[KEY_SENTINELS],
			      "sentinels: add 'sentinel_master = NAME', as they call the server");
	if (set_at[KEY_USERNAME] && !set_at[KEY_PASSWORD_FILE])
		lines_fail_at(lines, set_at[KEY_USERNAME], "username: add 'password_file = PATH'");
	if (set_at[KEY_SENTINEL_USERNAME] && !set_at[KEY_SENTINEL_PASSWORD_FILE])
		lines_fail_at(lines, set_at[KEY_SENTINEL_USERNAME],
			      "sentinel_username: add 'sentinel_password_file = PATH'");
	check_tls(lines, &config->tls, set_at);
	if (config->lease < 4 * config->interval)
		lines_fail_at(lines, set_at[KEY_LEASE] ? set_at[KEY_LEASE] : set_at[KEY_INTERVAL],
			      "lease: shorter than four times the interval");
}

int cluster_config_read(FILE *in, const char *name, struct cluster_config *ret_config, char *error)
{
	struct parser parser = {
		.lines = { .in = in, .name = name, .error = error },
		.config = {
			.name = "mail",
			.service = CONNCOUNT_SERVICE,
			.interval = 250 * NS_PER_MS,
			.lease = 10 * NS_PER_S,
			.hold = 60 * NS_PER_S,
			.max_prefixes = CLUSTER_MAX_PREFIXES,
		},
	};
	char buf[LINES_MOST + 1], *line;
	unsigned set_at[KEYS] = { 0 };

	while ((line = lines_next(&parser.lines, buf))) {
		if (*line == '[')
			begin_section(&parser, line);
		else
			set_key(&parser, line, set_at);
	}
	check(&parser, set_at);
	if (parser.lines.failed) {
		cluster_config_free(&parser.config);
		return -EINVAL;
	}
	*ret_config = parser.config;
	return 0;
}

int cluster_config_read_file(const char *path, struct cluster_config *ret_config, char *error)
{
	FILE *in = fopen(path, "re");
	int err;

	if (!in) {
		err = -errno;
		snprintf(error, LINES_ERROR_SIZE, "%.*s: %s", PATH_MAX, path, strerror(-err));
		return err;
	}
	err = cluster_config_read(in, path, ret_config, error);
	fclose(in);
	return err;
}

bool cluster_config_is(FILE *in)
{
	char error[LINES_ERROR_SIZE], buf[LINES_MOST + 1], *line;
	struct lines lines = { .in = in, .name = "", .error = error };
	bool found = false;

	while ((line = lines_next(&lines, buf)) && *line != '[')
		;
	if (line)
		line = lines_section(&lines, line);
	found = line && !strcmp(line, "cluster");
	rewind(in);
	return found;
}

static void free_servers(struct cluster_servers *servers)
{
	for (size_t i = 0; i < servers->n; i++) {
		free(servers->at[i].host);
		free(servers->at[i].path);
		free(servers->at[i].text);
	}
}

static void free_login(struct cluster_login *login)
{
	if (login->password)
		explicit_bzero(login->password, strlen(login->password));
	free(login->username);
	free(login->password);
}

void cluster_config_free(struct cluster_config *config)
{
	free_servers(&config->servers);
	free_servers(&config->sentinels);
	free_login(&config->login);
	free_login(&config->sentinel_login);
	free(config->tls.ca);
	free(config->tls.cert);
	free(config->tls.key);
	memset(config, 0, sizeof(*config));
}
