// SPDX-License-Identifier: BSD-2-Clause
/*
 * engine.c - connect to Redis or Valkey, and ask it.
 *
 * hiredis connects, and writes and reads the protocol. The bytes in between are sent and received
 * here, through TLS or not.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "report.h"

enum {
	/* The first version with all that is used: XADD NOMKSTREAM and MINID, SET GET. */
	MAJOR_LEAST = 6,
	MINOR_LEAST = 2,
	TIMEOUT_S = 2, /* for a connection, and for each reply */
	/*
	 * Bytes of a reply, which a host that was broken into can make as long as it likes. A
	 * million addresses are 20 MB.
	 */
	REPLY_MOST = 256 << 20,
};

static const struct timeval timeout = { .tv_sec = TIMEOUT_S };

void engine_disconnect(struct engine *engine)
{
	SSL_free(engine->ssl);
	engine->ssl = NULL;
	if (engine->context)
		redisFree(engine->context);
	engine->context = NULL;
	batch_free(&engine->out);
}

void engine_refuse(struct engine *engine, const char *format, ...)
{
	char *said = engine->said[engine->at];
	char text[sizeof(*engine->said)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	engine_disconnect(engine);
	if (!strcmp(text, said))
		return;
	strcpy(said, text);
	report("%s: %s", engine->server, text);
}

/* What an error of the server means, and what to do about it; "" if nothing is known. */
static const char *remedy(const char *error)
{
	static const struct {
		const char *word, *remedy;
	} known[] = {
		{ "NOAUTH", " (add password_file, and username if it is not the default user)" },
		{ "WRONGPASS", " (see username and password_file)" },
		{ "NOPERM", " (conncount-cluster(8) has the permissions that the user needs)" },
		{ "READONLY", " (it is a replica: name its master, or use sentinels)" },
		{ "OOM", " (raise its maxmemory)" },
		{ "NOREPLICAS", " (it has fewer replicas than min-replicas-to-write)" },
		{ "LOADING", " (it is starting)" },
		{ "MISCONF", " (it cannot save its data: see its log)" },
		{ "ERR unknown command", " (Redis 6.2, Valkey, or later is needed)" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strstr(error, known[i].word))
			return known[i].remedy;
	return "";
}

void engine_refuse_error(struct engine *engine, const char *error)
{
	engine_refuse(engine, "%s%s", error, remedy(error));
}

/* --- commands ----------------------------------------------------------------------------------
 */

/* Queue a command of @n bytes, which hiredis has made; negative: it could not. */
static void queue(struct engine *engine, const char *command, long long n)
{
	if (n < 0 || batch_append(&engine->out, command, (size_t)n))
		engine_refuse(engine, "out of memory");
}

void engine_ask(struct engine *engine, const char *format, ...)
{
	char *command = NULL;
	va_list args;
	int n;

	if (!engine->context)
		return;
	va_start(args, format);
	n = redisvFormatCommand(&command, format, args);
	va_end(args);
	queue(engine, command, n);
	redisFreeCommand(command);
}

void engine_ask_with(struct engine *engine, int n, const char **words, const size_t *lengths)
{
	char *command = NULL;
	long long size;

	if (!engine->context)
		return;
	size = redisFormatCommandArgv(&command, n, words, lengths);
	queue(engine, command, size);
	redisFreeCommand(command);
}

/* The connection was lost: the last call for it has returned @n. */
static void lose(struct engine *engine, ssize_t n)
{
	const char *why = n ? strerror(errno) : "it closed the connection";
	bool is_unix = engine->context->connection_type == REDIS_CONN_UNIX; /* without TLS */

	if (n && errno == EAGAIN)
		engine_refuse(engine, "no answer for %d s", TIMEOUT_S);
	else if (n && errno == EPROTO && engine->ssl)
		engine_refuse(engine, "TLS: %s (see tls_cert and tls_key)", tls_reason());
	else if (!engine->ssl && !engine->answered && !is_unix)
		engine_refuse(engine, "%s (does it want TLS? see tls)", why);
	else
		engine_refuse(engine, "%s", why);
}

/* Send the queued commands. Returns false if the connection was lost. */
static bool send_queued(struct engine *engine)
{
	int fd = engine->context->fd;

	for (size_t done = 0; done < engine->out.n;) {
		const unsigned char *rest = engine->out.bytes + done;
		size_t size = engine->out.n - done;
		ssize_t n = engine->ssl ? tls_send(engine->ssl, rest, size) : write(fd, rest, size);

		if (n > 0) {
			done += (size_t)n;
		} else if (n == 0 || errno != EINTR) {
			lose(engine, n);
			return false;
		}
	}
	engine->out.n = 0;
	return true;
}

/* Receive some bytes for the reader. Returns how many; 0: the connection was lost. */
static size_t receive(struct engine *engine)
{
	static char buf[65536];
	ssize_t n;

	do
		n = engine->ssl ? tls_receive(engine->ssl, buf, sizeof(buf))
				: read(engine->context->fd, buf, sizeof(buf));
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		lose(engine, n);
		return 0;
	}
	if (redisReaderFeed(engine->context->reader, buf, (size_t)n)) {
		engine_refuse(engine, "out of memory");
		return 0;
	}
	return (size_t)n;
}

/* Read a reply, which may be an error of the server. Returns NULL if the connection was lost. */
static redisReply *read_reply(struct engine *engine)
{
	redisReply *reply = NULL;
	size_t received = 0;

	if (!engine->context || !send_queued(engine))
		return NULL;
	while (received <= REPLY_MOST) {
		size_t n;

		if (redisGetReplyFromReader(engine->context, (void **)&reply)) {
			engine_refuse(engine, "is neither Redis nor Valkey: %s",
				      engine->context->errstr);
			return NULL;
		}
		if (reply) {
			engine->answered = true;
			return reply;
		}
		n = receive(engine);
		if (!n)
			return NULL;
		received += n;
	}
	engine_refuse(engine, "a reply of more than %d MB", REPLY_MOST >> 20);
	return NULL;
}

redisReply *engine_reply_or_type_error(struct engine *engine)
{
	static const char type_error[] = "WRONGTYPE ";
	redisReply *reply = read_reply(engine);

	if (!reply || reply->type != REDIS_REPLY_ERROR ||
	    !strncmp(reply->str, type_error, strlen(type_error)))
		return reply;
	engine_refuse_error(engine, reply->str);
	freeReplyObject(reply);
	return NULL;
}

redisReply *engine_reply(struct engine *engine)
{
	redisReply *reply = read_reply(engine);

	if (!reply || reply->type != REDIS_REPLY_ERROR)
		return reply;
	engine_refuse_error(engine, reply->str);
	freeReplyObject(reply);
	return NULL;
}

void engine_works(struct engine *engine)
{
	char *said = engine->said[engine->at];

	if (*said)
		report("%s: connected", engine->server);
	said[0] = '\0';
}

/* --- connecting --------------------------------------------------------------------------------
 */

/* The value of @key in the reply to HELLO. */
static const char *hello_get(const redisReply *hello, const char *key)
{
	for (size_t i = 0; hello->type == REDIS_REPLY_ARRAY && i + 1 < hello->elements; i += 2)
		if (hello->element[i]->type == REDIS_REPLY_STRING &&
		    !strcmp(hello->element[i]->str, key) &&
		    hello->element[i + 1]->type == REDIS_REPLY_STRING)
			return hello->element[i + 1]->str;
	return "";
}

/* Log in, and see what the server is. @role: what it must be; NULL: anything. */
static bool greet(struct engine *engine, const struct cluster_login *login, const char *role)
{
	const char *version;
	int major = 0, minor = 0;
	redisReply *hello;
	bool fits;

	if (login->password)
		engine_ask(engine, "HELLO 2 AUTH %s %s",
			   login->username ? login->username : "default", login->password);
	else
		engine_ask(engine, "HELLO 2");
	hello = engine_reply(engine);
	if (!hello)
		return false;
	version = hello_get(hello, "version");
	fits = sscanf(version, "%d.%d", &major, &minor) == 2 &&
	       (major > MAJOR_LEAST || (major == MAJOR_LEAST && minor >= MINOR_LEAST));
	if (!*version)
		engine_refuse(engine, "is neither Redis nor Valkey");
	else if (!fits)
		engine_refuse(engine,
			      "version %s is too old (Redis %d.%d, Valkey, or later is needed)",
			      version, MAJOR_LEAST, MINOR_LEAST);
	else if (role && strcmp(hello_get(hello, "role"), role))
		engine_refuse(engine, "is a %s, not a %s (name the master, or use sentinels)",
			      hello_get(hello, "role"), role);
	freeReplyObject(hello);
	return engine->context;
}

/* Begin TLS, if it is configured. */
static void start_tls(struct engine *engine, const char *host)
{
	char error[TLS_ERROR_SIZE];

	if (!engine->tls)
		return;
	engine->ssl =
		tls_begin(engine->tls, engine->context->fd, host, engine->config->tls.ca, error);
	if (!engine->ssl)
		engine_refuse(engine, "%s", error);
}

/* Connect to a server. Returns whether it is connected. */
static bool dial(struct engine *engine, const struct cluster_server *server)
{
	snprintf(engine->server, sizeof(engine->server), "%s", server->text);
	engine->answered = false;
	engine->context = server->path
				  ? redisConnectUnixWithTimeout(server->path, timeout)
				  : redisConnectWithTimeout(server->host, server->port, timeout);
	if (!engine->context) {
		engine_refuse(engine, "out of memory");
	} else if (engine->context->err) {
		engine_refuse(engine, "cannot connect: %s", engine->context->errstr);
	} else {
		redisSetTimeout(engine->context, timeout);
		if (!server->path) {
			redisEnableKeepAlive(engine->context);
			start_tls(engine, server->host);
		}
	}
	return engine->context;
}

/* Ask a sentinel where the master is, and connect there. */
static bool dial_by(struct engine *engine, const struct cluster_server *sentinel)
{
	const struct cluster_config *config = engine->config;
	struct cluster_server master = { 0 };
	char host[256] = "", text[512];
	redisReply *reply;

	if (!dial(engine, sentinel) || !greet(engine, &config->sentinel_login, NULL))
		return false;
	engine_ask(engine, "SENTINEL get-master-addr-by-name %s", config->sentinel_master);
	reply = engine_reply(engine);
	if (!reply)
		return false;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
	    reply->element[0]->type == REDIS_REPLY_STRING &&
	    reply->element[1]->type == REDIS_REPLY_STRING) {
		snprintf(host, sizeof(host), "%s", reply->element[0]->str);
		master.port = (uint16_t)atoi(reply->element[1]->str);
	}
	freeReplyObject(reply);
	if (!*host) {
		engine_refuse(engine, "this sentinel knows no master '%s' (see sentinel_master)",
			      config->sentinel_master);
		return false;
	}
	engine_disconnect(engine);
	snprintf(text, sizeof(text), "%s:%u, by sentinel %.200s", host, master.port,
		 sentinel->text);
	master.host = host;
	master.text = text;
	return dial(engine, &master);
}

int engine_setup(struct engine *engine, const struct cluster_config *config, char *error)
{
	engine->config = config;
	return config->tls.on ? tls_setup(&config->tls, &engine->tls, error) : 0;
}

void engine_free(struct engine *engine)
{
	engine_disconnect(engine);
	SSL_CTX_free(engine->tls);
}

int engine_connect(struct engine *engine)
{
	const struct cluster_config *config = engine->config;
	const struct cluster_servers *servers =
		config->sentinels.n ? &config->sentinels : &config->servers;

	for (size_t i = 0; !engine->context && i < servers->n; i++) {
		const struct cluster_server *server = &servers->at[i];
		bool connected;

		engine->at = i;
		connected = config->sentinels.n ? dial_by(engine, server) : dial(engine, server);
		if (connected)
			greet(engine, &config->login, "master");
	}
	return engine->context ? 0 : -ENOTCONN;
}
