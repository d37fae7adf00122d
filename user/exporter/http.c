// SPDX-License-Identifier: BSD-2-Clause
/*
 * http.c - answer GET over HTTP, by libmicrohttpd: the metrics, and the page with its API.
 *
 * One thread, and one request per connection. The resources of clients are limited: connections in
 * total and per address, the size of a request, and the time until the client has its answer,
 * however slowly it sends and reads.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "accept.h"
#include "api.h"
#include "clock.h"
#include "etag.h"
#include "host.h"
#include "http.h"
#include "metrics.h"
#include "page.h"
#include "report.h"

enum {
	MAX_CONNECTIONS = 32,
	MAX_CONNECTIONS_OF_ONE = 16, /* address; all local clients share one */
	MAX_REQUEST = 16384,         /* bytes, of all lines and headers */
	MAX_MS = 10000,              /* from the start of a connection to its end */
	RETRY_MS = 1000,             /* after accept(2) has failed */
	QUIET_MS = 60000,            /* a failure is not reported again within this time */
	MAPPED_LEAST = 262144,       /* bytes of memory that is the kernel's again when freed */
	/* Descriptors to make a page: those of the library, twice during a reload. */
	PAGE_DESCRIPTORS = 24,
};

struct connection {
	int fd; /* -1: not in use */
	int64_t deadline_ms;
};

struct server {
	const char *dir;
	int listen_fd;
	unsigned most;        /* connections at a time */
	int64_t retry_ms;     /* when to accept again after a failure */
	int64_t quiet_ms;     /* when to report a failure to accept again */
	struct conncount *cc; /* NULL until an instance was loaded */
	struct api api;       /* its history is NULL if the page is off */
	int err;              /* the last reported error: why it cannot be read, */
	int queues_err;       /* and why the queues are missing */
	struct connection connections[MAX_CONNECTIONS];
};

/* --- answers ------------------------------------------------------------------------------ */

/* Report only changes: a scrape every few seconds must not fill the log. */
static void report_changes(struct server *server, int err, int queues_err)
{
	char text[CONNCOUNT_ERROR_SIZE];

	if (err != server->err) {
		if (err)
			report("%s", conncount_strerror(server->dir, err, text, sizeof(text)));
		else
			report("%s: loaded", conncount_dir(server->dir));
	}
	if (queues_err && queues_err != server->queues_err)
		report("accept queues: left out: %s", queues_strerror(queues_err));
	server->err = err;
	server->queues_err = queues_err;
}

/* The metrics as a page, which the caller frees with free(); NULL if out of memory. */
static char *make_page(struct server *server, enum metrics_format format, size_t *ret_size)
{
	struct metrics metrics = { .n_programs = 0 };
	char *page = NULL;
	int err = api_open(&server->api);
	FILE *out;

	if (!err)
		err = metrics_take(server->cc, server->dir, &metrics);
	report_changes(server, err, metrics.queues_err);

	out = open_memstream(&page, ret_size);
	if (out) {
		metrics_print(err ? NULL : &metrics, format, out);
		if (fclose(out)) {
			free(page);
			page = NULL;
		}
	}
	if (!err)
		metrics_free(&metrics);
	return page;
}

/* Takes ownership of @response; NULL: there was no memory for it. */
static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *type,
			       struct MHD_Response *response)
{
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result respond_text(struct MHD_Connection *connection, unsigned status,
				    char *constant)
{
	return respond(connection, status, "text/plain; charset=utf-8",
		       MHD_create_response_from_buffer(strlen(constant), constant,
						       MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result respond_no_memory(struct MHD_Connection *connection)
{
	return respond_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
			    "conncount exporter: out of memory\n");
}

/* A client that understands OpenMetrics asks for it; others get the older format. */
static enum MHD_Result respond_metrics(struct server *server, struct MHD_Connection *connection,
				       const struct accept *accept)
{
	enum metrics_format format = accept_format(accept);
	struct MHD_Response *response;
	size_t size;
	char *page = make_page(server, format, &size);

	if (!page)
		return respond_no_memory(connection);
	response = MHD_create_response_from_buffer(size, page, MHD_RESPMEM_MUST_FREE);
	/* For caches: another client may get another format. */
	if (response)
		MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT);
	return respond(connection, MHD_HTTP_OK,
		       format == METRICS_OPENMETRICS
			       ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
			       : "text/plain; version=0.0.4; charset=utf-8",
		       response);
}

/* A file of the page, or an answer of its API. */
struct part {
	unsigned status;
	const char *type;
	const void *data;
	size_t size;
	int64_t age_s; /* since it was made */
	enum MHD_ResponseMemoryMode mode;
};

/*
 * Respond with a part of the page, or say that the client has it already. A browser must ask
 * whether it is still the same, take it for nothing else than it is, run no script from elsewhere,
 * and show it in no other page.
 */
static enum MHD_Result respond_part(struct MHD_Connection *connection, const struct part *part)
{
	static const char *const headers[][2] = {
		{ MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache" },
		{ "Content-Security-Policy",
		  "default-src 'self'; base-uri 'none'; form-action 'none'; "
		  "frame-ancestors 'none'" },
		{ "Cross-Origin-Resource-Policy", "same-origin" },
		{ "Referrer-Policy", "no-referrer" },
		{ "X-Content-Type-Options", "nosniff" },
	};
	const char *had = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
						      MHD_HTTP_HEADER_IF_NONE_MATCH);
	struct MHD_Response *response;
	unsigned status = part->status;
	char etag[ETAG_SIZE], age[32];

	etag_of(part->data, part->size, etag);
	snprintf(age, sizeof(age), "%" PRId64, part->age_s);
	if (status == MHD_HTTP_OK && etag_matches(had, etag))
		status = MHD_HTTP_NOT_MODIFIED;
	/* libmicrohttpd sends no body with that status. */
	response = MHD_create_response_from_buffer(part->size, (void *)part->data, part->mode);
	if (!response)
		return MHD_NO;
	for (size_t i = 0; i < sizeof(headers) / sizeof(*headers); i++)
		MHD_add_response_header(response, headers[i][0], headers[i][1]);
	MHD_add_response_header(response, MHD_HTTP_HEADER_AGE, age);
	MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, etag);
	return respond(connection, status, part->type, response);
}

static enum MHD_Result add_parameter(void *arg, enum MHD_ValueKind kind, const char *name,
				     const char *value)
{
	struct parameters *parameters = arg;

	(void)kind;
	if (parameters->n < PARAMETERS_MOST)
		parameters->parameter[parameters->n] =
			(struct parameter){ name, value ? value : "" };
	parameters->n++;
	return MHD_YES;
}

static enum MHD_Result respond_api(struct server *server, struct MHD_Connection *connection,
				   const char *path)
{
	struct parameters parameters = { .n = 0 };
	enum MHD_Result result;
	struct api_answer answer;

	MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, add_parameter, &parameters);
	if (api_answer(&server->api, path, &parameters, &answer))
		return respond_no_memory(connection);
	result = respond_part(connection, &(struct part){
						  .status = answer.status,
						  .type = "application/json",
						  .data = answer.text,
						  .size = answer.size,
						  .age_s = answer.age_s,
						  .mode = MHD_RESPMEM_MUST_COPY,
					  });
	free(answer.owned);
	return result;
}

static int socket_of(struct MHD_Connection *connection)
{
	return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

/* Whatever is not metrics. */
static enum MHD_Result respond_page(struct server *server, struct MHD_Connection *connection,
				    const char *path, const char *host)
{
	static const char api[] = "/api/";
	const struct page_file *file = page_find(path);
	bool is_api = !strncmp(path, api, strlen(api));

	if (!server->api.history)
		return respond_text(connection, MHD_HTTP_NOT_FOUND,
				    "conncount exporter: the metrics are at /metrics\n");
	if (!file && !is_api)
		return respond_text(connection, MHD_HTTP_NOT_FOUND,
				    "conncount exporter: the page is at /, the metrics are at "
				    "/metrics\n");
	if (host_is_foreign(socket_of(connection), host))
		return respond_text(connection, MHD_HTTP_MISDIRECTED_REQUEST,
				    "conncount exporter: on this host itself, the page is at "
				    "localhost or 127.0.0.1 (make a proxy send such a Host "
				    "field)\n");
	if (is_api)
		return respond_api(server, connection, path + strlen(api));
	return respond_part(connection, &(struct part){
						.status = MHD_HTTP_OK,
						.type = file->type,
						.data = file->data,
						.size = file->size,
						.mode = MHD_RESPMEM_PERSISTENT,
					});
}

/* --- requests ------------------------------------------------------------------------------ */

/* The fields of a request that libmicrohttpd leaves to us. */
struct fields {
	struct accept accept;
	unsigned hosts;
	const char *host;   /* Host; NULL: none */
	const char *length; /* Content-Length; NULL: none */
	const char *coding; /* the last Transfer-Encoding; NULL: none */
	bool malformed;
};

/* Whether a text has only letters, digits and these marks. */
static bool consists_of(const char *text, const char *marks)
{
	while (*text && (isalnum((unsigned char)*text) || strchr(marks, *text)))
		text++;
	return !*text;
}

/* Called for each field, in the request's order. */
static enum MHD_Result on_field(void *arg, enum MHD_ValueKind kind, const char *name,
				const char *value)
{
	struct fields *fields = arg;

	(void)kind;
	value = value ? value : "";
	/* For example a blank before the colon, or two lines that the library has joined. */
	fields->malformed |= !consists_of(name, "!#$%&'*+-.^_`|~");
	if (!strcasecmp(name, MHD_HTTP_HEADER_ACCEPT)) {
		accept_read(&fields->accept, value);
	} else if (!strcasecmp(name, MHD_HTTP_HEADER_HOST)) {
		fields->hosts++;
		fields->host = value;
		fields->malformed |= !consists_of(value, "-._~%!$&'()*+,;=:[]");
	} else if (!strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH)) {
		fields->malformed |= fields->length && strcmp(fields->length, value) != 0;
		fields->length = value;
	} else if (!strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING)) {
		fields->coding = value;
	}
	return MHD_YES;
}

/*
 * Whether RFC 9112 allows the request: 3.2 on Host, 5.1 on names, 6.1 and 6.3 on its length.
 */
static bool is_well_formed(const struct fields *fields, const char *version)
{
	bool needs_host = strcmp(version, MHD_HTTP_VERSION_1_0) != 0;

	if (fields->malformed || fields->hosts > 1 || (needs_host && !fields->hosts))
		return false;
	if (!fields->coding)
		return true;
	return needs_host && !fields->length && !strcasecmp(fields->coding, "chunked");
}

/* The path of a request's target, which may have the form `http://host/path`. */
static const char *path_of(const char *target)
{
	const char *path;

	if (strncasecmp(target, "http://", strlen("http://")) != 0)
		return target;
	path = strchr(target + strlen("http://"), '/');
	return path ? path : "/";
}

/* Decode a path in place, for libmicrohttpd, unless it contains a NUL. */
static size_t unescape(void *arg, struct MHD_Connection *connection, char *text)
{
	(void)arg;
	(void)connection;
	return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

/* Called by libmicrohttpd when it has a request's headers. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *target,
				  const char *method, const char *version, const char *body,
				  size_t *body_size, void **state)
{
	struct fields fields = { .hosts = 0 };

	(void)body;
	(void)body_size;
	(void)state;
	MHD_get_connection_values(connection, MHD_HEADER_KIND, on_field, &fields);
	if (!is_well_formed(&fields, version))
		return respond_text(
			connection, MHD_HTTP_BAD_REQUEST,
			"conncount exporter: not an HTTP/1.1 request (RFC 9112): a field's name, "
			"Host, Content-Length or Transfer-Encoding is wrong\n");
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return respond_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
				    "conncount exporter: only GET and HEAD\n");
	if (!strcmp(path_of(target), "/metrics"))
		return respond_metrics(arg, connection, &fields.accept);
	return respond_page(arg, connection, path_of(target), fields.host);
}

/* --- connections ----------------------------------------------------------------------------- */

/* Called by libmicrohttpd when a connection begins and ends. */
static void on_connection(void *arg, struct MHD_Connection *connection, void **slot,
			  enum MHD_ConnectionNotificationCode what)
{
	struct server *server = arg;
	struct connection *entry = *slot;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (entry)
			entry->fd = -1;
		return;
	}
	for (size_t i = 0; !entry && i < MAX_CONNECTIONS; i++)
		if (server->connections[i].fd < 0)
			entry = &server->connections[i];
	if (!entry)
		return; /* libmicrohttpd allows no more */
	entry->fd = socket_of(connection);
	entry->deadline_ms = now_ms() + MAX_MS;
	*slot = entry;
}

/*
 * How many connections to allow: their answers need free descriptors, or they would say that
 * nothing can be read. @used: the lowest free descriptor.
 */
static unsigned connections_allowed(int used)
{
	const rlim_t wanted = (rlim_t)used + PAGE_DESCRIPTORS + MAX_CONNECTIONS;
	struct rlimit limit;
	unsigned most = 1;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted)
		return MAX_CONNECTIONS;
	if (limit.rlim_cur > (rlim_t)used + PAGE_DESCRIPTORS)
		most = (unsigned)(limit.rlim_cur - (rlim_t)used - PAGE_DESCRIPTORS);
	report("exporter: %u of %d connections at a time: only %llu file descriptors may be open "
	       "(allow %llu, with LimitNOFILE= or ulimit -n)",
	       most, MAX_CONNECTIONS, (unsigned long long)limit.rlim_cur,
	       (unsigned long long)wanted);
	return most;
}

static bool may_accept(const struct server *server)
{
	unsigned n = 0;

	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		n += server->connections[i].fd >= 0;
	return n < server->most && server->retry_ms <= now_ms();
}

/*
 * Accept one connection and give it to the library. If the host is out of descriptors or memory,
 * the socket stays readable: wait for a moment instead of retrying all the time.
 */
static void accept_connection(struct server *server, struct MHD_Daemon *daemon)
{
	struct sockaddr_storage addr;
	socklen_t size = sizeof(addr);
	int fd = accept4(server->listen_fd, (struct sockaddr *)&addr, &size,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);
	int err = errno;
	int64_t now = now_ms();

	if (fd >= 0) {
		MHD_add_connection(daemon, fd, (struct sockaddr *)&addr, size);
		return;
	}
	if (err == EAGAIN || err == ECONNABORTED || err == EINTR)
		return; /* the client left, or another process was faster */
	if (server->quiet_ms <= now)
		report("exporter: cannot accept connections: %s; trying again every second",
		       strerror(err));
	server->quiet_ms = now + QUIET_MS;
	server->retry_ms = now + RETRY_MS;
}

/* End the connections whose time is over: libmicrohttpd notices, and frees them. */
static void cut_connections(const struct server *server)
{
	int64_t now = now_ms();

	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		if (server->connections[i].fd >= 0 && server->connections[i].deadline_ms <= now)
			shutdown(server->connections[i].fd, SHUT_RDWR);
}

/* Milliseconds until the next timeout; -1: none. */
static int next_timeout(const struct server *server, struct MHD_Daemon *daemon)
{
	MHD_UNSIGNED_LONG_LONG library;
	int64_t least = MAX_MS, now = now_ms();
	bool any = server->retry_ms > now;

	if (any)
		least = server->retry_ms - now;
	if (server->api.history) {
		int64_t due = history_due_ms(server->api.history);

		if (!any || due < least)
			least = due;
		any = true;
	}
	for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
		int64_t left = server->connections[i].deadline_ms - now;

		if (server->connections[i].fd < 0)
			continue;
		any = true;
		/* The library ends one that was cut already. */
		if (left > 0 && left < least)
			least = left;
	}
	if (MHD_get_timeout(daemon, &library) == MHD_YES) {
		any = true;
		if (library < (MHD_UNSIGNED_LONG_LONG)least)
			least = (int64_t)library;
	}
	return any ? (int)least : -1;
}

/* --- running -------------------------------------------------------------------------------- */

static int fail_to_wait(int err)
{
	report("exporter: cannot wait for requests: %s", strerror(-err));
	return err;
}

/* Note the totals in the history, if it is time to. */
static void sample(struct server *server)
{
	struct history *history = server->api.history;

	if (!history || history_due_ms(history) > 0)
		return;
	answers_drop_unused(&server->api.answers);
	api_open(&server->api);
	history_sample(history, server->cc);
}

/*
 * Uses select(2): with epoll, libmicrohttpd 0.9.75 misses an end of stream that comes together with
 * data. The few descriptors fit.
 */
static int serve(struct server *server, struct MHD_Daemon *daemon, int signals)
{
	for (;;) {
		int timeout = next_timeout(server, daemon);
		int most = signals > server->listen_fd ? signals : server->listen_fd;
		struct timeval wait = { timeout / 1000, timeout % 1000 * 1000 };
		fd_set reading, writing, failing;

		FD_ZERO(&reading);
		FD_ZERO(&writing);
		FD_ZERO(&failing);
		FD_SET(signals, &reading);
		if (may_accept(server))
			FD_SET(server->listen_fd, &reading);
		if (MHD_get_fdset(daemon, &reading, &writing, &failing, &most) != MHD_YES)
			return fail_to_wait(-EBADF);
		if (select(most + 1, &reading, &writing, &failing, timeout < 0 ? NULL : &wait) <
		    0) {
			if (errno != EINTR)
				return fail_to_wait(-errno);
			continue;
		}
		if (FD_ISSET(signals, &reading))
			return 0;
		if (FD_ISSET(server->listen_fd, &reading))
			accept_connection(server, daemon);
		cut_connections(server);
		sample(server);
		MHD_run_from_select(daemon, &reading, &writing, &failing);
	}
}

static int start_and_serve(struct server *server, int signals)
{
	struct MHD_Daemon *daemon;
	int err;

	daemon = MHD_start_daemon(
		MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request, server,
		MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_NOTIFY_CONNECTION,
		on_connection, server, MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS_OF_ONE,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MAX_REQUEST, MHD_OPTION_END);
	if (!daemon) {
		report("exporter: libmicrohttpd cannot be started");
		return -EIO;
	}
	err = serve(server, daemon, signals);
	MHD_stop_daemon(daemon);
	return err;
}

int http_serve(const char *dir, bool page, int listen_fd)
{
	struct server server = { .dir = dir, .listen_fd = listen_fd };
	sigset_t stop;
	int signals, err;

#ifdef M_MMAP_THRESHOLD /* glibc: otherwise what long lists have needed is not given back */
	mallopt(M_MMAP_THRESHOLD, MAPPED_LEAST);
#endif

	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		server.connections[i].fd = -1;
	server.api = (struct api){ .dir = dir, .cc = &server.cc };
	if (page) {
		server.api.history = history_new();
		if (!server.api.history) {
			report("exporter: out of memory");
			return -ENOMEM;
		}
	}
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	signals = signalfd(-1, &stop, SFD_CLOEXEC);
	if (signals < 0) {
		err = -errno;
		report("exporter: signals: %s", strerror(-err));
		goto cleanup;
	}
	server.most = connections_allowed(signals + 1);
	err = start_and_serve(&server, signals);
	close(signals);
	conncount_close(server.cc);
cleanup:
	answers_free(&server.api.answers);
	history_free(server.api.history);
	return err;
}
