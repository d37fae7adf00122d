// SPDX-License-Identifier: BSD-2-Clause
/*
 * server.c - an SMTP server that asks a Lua policy about each session, as Momentum's policies
 * expect it; what a server has to do to use conncount from its own Lua. It takes mail and throws
 * it away.
 *
 *	server -l ADDRESS:PORT [-l ADDRESS:PORT]... POLICY...
 *
 * One thread and one epoll(7) serve all sessions. policy.c has the part that is about Lua.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <conncount.h>

#include "policy.h"

enum {
	MAX_LISTENERS = 16,
	IDLE_SECONDS = 300, /* RFC 5321, 4.5.3.2.7 */
	LINE_SIZE = 2048,   /* more than the longest line there may be, RFC 5321, 4.5.3.1 */
	REPLY_SIZE = 2048,  /* more than the longest reply: that to EHLO, of many lines */
};

/* What epoll watches: the first member of whatever it is. */
struct source {
	void (*ready)(struct source *source, uint32_t events);
	int fd;
};

struct session {
	struct source source;
	TAILQ_ENTRY(session) entry;
	int policy;      /* what stands for it in policy.h */
	bool held;       /* the replies wait until `deadline` */
	bool ending;     /* ends as soon as the replies are written */
	bool greeted;    /* EHLO or HELO was accepted */
	bool mail;       /* MAIL was accepted */
	bool rcpt;       /* RCPT was accepted */
	bool body;       /* behind DATA */
	time_t deadline; /* of the client's next line, or of the hold; clock_seconds() */
	size_t in_len, out_len;
	char in[LINE_SIZE], out[2 * REPLY_SIZE];
};

static struct {
	int epoll;
	bool stop;
	bool full; /* no file descriptors: nothing is accepted until the next tick */
	struct policy *policy;
	struct source signals;
	struct source listeners[MAX_LISTENERS];
	size_t n_listeners;
	TAILQ_HEAD(, session) sessions;
	char name[256]; /* of this host */
} server = { .sessions = TAILQ_HEAD_INITIALIZER(server.sessions) };

static time_t clock_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* Have epoll report these events of a source. Returns whether it does. */
static bool watch(struct source *source, int operation, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (!epoll_ctl(server.epoll, operation, source->fd, &event))
		return true;
	fprintf(stderr, "server: epoll: %s\n", strerror(errno));
	return false;
}

static void accept_more(bool more)
{
	server.full = !more;
	for (size_t i = 0; i < server.n_listeners; i++)
		watch(&server.listeners[i], EPOLL_CTL_MOD, more ? EPOLLIN : 0);
}

/* --- sessions ----------------------------------------------------------------------------- */

static void session_end(struct session *s)
{
	policy_end(server.policy, s->policy);
	TAILQ_REMOVE(&server.sessions, s, entry);
	close(s->source.fd);
	free(s);
}

/* Add a line to the replies. One that is too long is cut: REPLY_SIZE is ample for all there are. */
static __attribute__((format(printf, 2, 3))) void reply(struct session *s, const char *format, ...)
{
	int room = (int)(sizeof(s->out) - s->out_len - strlen("\r\n"));
	va_list args;
	int len;

	if (room <= 0)
		return;
	va_start(args, format);
	len = vsnprintf(s->out + s->out_len, (size_t)room, format, args);
	va_end(args);
	s->out_len += (size_t)(len < room ? len : room - 1);
	memcpy(s->out + s->out_len, "\r\n", strlen("\r\n"));
	s->out_len += strlen("\r\n");
}

/*
 * Ask the policies. Returns true where the session goes on; otherwise they have refused, and
 * that is the reply.
 */
static bool permitted(struct session *s, const char *hook, const char *argument,
		      struct verdict *ret_verdict)
{
	policy_run(server.policy, s->policy, hook, argument, ret_verdict);
	if (ret_verdict->hold) {
		s->held = true;
		/* What is left of this second is not a whole one. */
		s->deadline = clock_seconds() + ret_verdict->hold + 1;
	}
	if (!ret_verdict->code)
		return true;
	reply(s, "%d %s", ret_verdict->code, ret_verdict->text);
	s->ending |= ret_verdict->disconnect;
	return false;
}

/* The reply to EHLO: the host's name, then the capabilities, a line each in @text. */
static void reply_capabilities(struct session *s, char *text)
{
	char *line, *rest = text, *previous = server.name;

	while ((line = strsep(&rest, "\n"))) {
		reply(s, "250-%s", previous);
		previous = line;
	}
	reply(s, "250 %s", previous);
}

static void reset(struct session *s)
{
	s->mail = s->rcpt = s->body = false;
}

/* If @line is `VERB`, or VERB and a space, what follows; NULL: it is another command. */
static char *after(char *line, const char *verb)
{
	size_t len = strlen(verb);

	if (strncasecmp(line, verb, len) || (line[len] && line[len] != ' '))
		return NULL;
	line += len;
	return line + strspn(line, " ");
}

/* If @text is KEYWORD<ADDRESS>, the address, which this cuts out of it; NULL: it is not. */
static char *path(char *text, const char *keyword)
{
	size_t len = strlen(keyword);
	char *end;

	if (strncasecmp(text, keyword, len))
		return NULL;
	text += len;
	text += strspn(text, " ");
	end = strchr(text, '>');
	if (*text != '<' || !end)
		return NULL;
	*end = '\0';
	return text + 1;
}

static void command(struct session *s, char *line)
{
	struct verdict verdict;
	char *argument, *address;

	if ((argument = after(line, "EHLO")) || (argument = after(line, "HELO"))) {
		reset(s);
		if (!*argument) {
			reply(s, "501 5.5.4 a name must follow");
		} else if (permitted(s, "validate_ehlo", argument, &verdict)) {
			s->greeted = true;
			if (after(line, "EHLO"))
				reply_capabilities(s, verdict.text);
			else
				reply(s, "250 %s", server.name);
		}
	} else if ((argument = after(line, "MAIL"))) {
		address = path(argument, "FROM:");
		if (!s->greeted || s->mail) {
			reply(s, "503 5.5.1 not now");
		} else if (!address) {
			reply(s, "501 5.5.4 FROM:<address> must follow");
		} else if (permitted(s, "validate_mailfrom", address, &verdict)) {
			s->mail = true;
			reply(s, "250 2.1.0 OK");
		}
	} else if ((argument = after(line, "RCPT"))) {
		address = path(argument, "TO:");
		if (!s->mail) {
			reply(s, "503 5.5.1 MAIL first");
		} else if (!address) {
			reply(s, "501 5.5.4 TO:<address> must follow");
		} else if (permitted(s, "validate_rcptto", address, &verdict)) {
			s->rcpt = true;
			reply(s, "250 2.1.5 OK");
		}
	} else if (after(line, "DATA")) {
		if (!s->rcpt) {
			reply(s, "503 5.5.1 RCPT first");
		} else if (permitted(s, "validate_data", NULL, &verdict)) {
			s->body = true;
			reply(s, "354 end with a dot on a line of its own");
		}
	} else if (after(line, "RSET")) {
		reset(s);
		reply(s, "250 2.0.0 OK");
	} else if (after(line, "NOOP")) {
		reply(s, "250 2.0.0 OK");
	} else if (after(line, "VRFY")) {
		reply(s, "252 2.5.0 try and see");
	} else if (after(line, "QUIT")) {
		reply(s, "221 2.0.0 %s closing connection", server.name);
		s->ending = true;
	} else {
		reply(s, "500 5.5.2 command not known");
	}
}

static void body_line(struct session *s, const char *line)
{
	struct verdict verdict;

	if (strcmp(line, ".") != 0)
		return;
	if (permitted(s, "validate_data_spool", NULL, &verdict))
		reply(s, "250 2.0.0 OK, and thrown away");
	reset(s);
}

/*
 * Take whole lines out of the input for as long as there is room for what is replied to them and
 * they are not to wait.
 */
static void take_lines(struct session *s)
{
	char *line = s->in, *end = s->in + s->in_len, *newline;

	while (!s->ending && !s->held && s->out_len <= sizeof(s->out) - REPLY_SIZE &&
	       (newline = memchr(line, '\n', (size_t)(end - line)))) {
		*newline = '\0';
		if (newline > line && newline[-1] == '\r')
			newline[-1] = '\0';
		if (s->body)
			body_line(s, line);
		else
			command(s, line);
		line = newline + 1;
	}
	s->in_len = (size_t)(end - line);
	memmove(s->in, line, s->in_len);
	if (s->in_len == sizeof(s->in) && !memchr(s->in, '\n', s->in_len)) {
		reply(s, "500 5.5.2 line too long");
		s->ending = true;
	}
}

/* Write replies. Returns false where the connection is gone. */
static bool write_replies(struct session *s)
{
	ssize_t n;

	if (!s->out_len || s->held)
		return true;
	n = send(s->source.fd, s->out, s->out_len, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	s->out_len -= (size_t)n;
	memmove(s->out, s->out + n, s->out_len);
	return true;
}

/* Read what has come. Returns false where the client has gone. */
static bool read_input(struct session *s)
{
	ssize_t n = recv(s->source.fd, s->in + s->in_len, sizeof(s->in) - s->in_len, 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	s->in_len += (size_t)n;
	return n > 0;
}

/* Go on with a session as far as it goes, and end it where that is its end. */
static void session_go_on(struct session *s)
{
	size_t before;

	do {
		before = s->in_len;
		take_lines(s);
		if (!write_replies(s)) {
			session_end(s);
			return;
		}
	} while (s->in_len < before && !s->out_len);

	if (s->ending && !s->out_len) {
		/* Unread input would make close() reset the connection, and the reply be lost. */
		for (int i = 0; i < 16 && recv(s->source.fd, s->in, sizeof(s->in), 0) > 0; i++)
			;
		session_end(s);
		return;
	}
	/* A client that does not take its replies is not listened to. */
	if (!watch(&s->source, EPOLL_CTL_MOD, s->held ? 0 : s->out_len ? EPOLLOUT : EPOLLIN))
		session_end(s);
}

static void session_ready(struct source *source, uint32_t events)
{
	struct session *s = (struct session *)source;

	if (events & (EPOLLERR | EPOLLHUP)) {
		session_end(s);
		return;
	}
	if (!s->held)
		s->deadline = clock_seconds() + IDLE_SECONDS;
	if ((events & EPOLLIN) && !read_input(s)) {
		session_end(s);
		return;
	}
	session_go_on(s);
}

/* Once a second: what has been held long enough, and clients that have gone quiet. */
static void tick(void)
{
	time_t now = clock_seconds();
	struct session *s, *next;

	if (server.full)
		accept_more(true);
	for (s = TAILQ_FIRST(&server.sessions); s; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (s->deadline > now)
			continue;
		if (!s->held && s->ending) {
			session_end(s);
			continue;
		}
		if (!s->held) {
			s->out_len = 0; /* nobody has taken it */
			reply(s, "421 4.4.2 %s timeout, closing connection", server.name);
			s->ending = true;
		}
		s->held = false;
		s->deadline = now + IDLE_SECONDS;
		session_go_on(s);
	}
}

/* A connection was accepted: the client has a session from here on. */
static void session_begin(int fd, const struct sockaddr *remote)
{
	struct sockaddr_storage local;
	socklen_t len = sizeof(local);
	struct verdict verdict;
	struct session *s;

	s = calloc(1, sizeof(*s));
	if (!s || getsockname(fd, (struct sockaddr *)&local, &len)) {
		fprintf(stderr, "server: a connection is refused: %s\n", strerror(errno));
		free(s);
		close(fd);
		return;
	}
	s->source = (struct source){ .ready = session_ready, .fd = fd };
	s->policy = policy_begin(server.policy, remote, (struct sockaddr *)&local);
	s->deadline = clock_seconds() + IDLE_SECONDS;
	TAILQ_INSERT_TAIL(&server.sessions, s, entry);
	if (!watch(&s->source, EPOLL_CTL_ADD, 0)) {
		session_end(s);
		return;
	}

	if (permitted(s, "validate_connect", NULL, &verdict))
		reply(s, "220 %s ESMTP", server.name);
	else
		s->ending = true;
	session_go_on(s);
}

/* --- listeners, signals, and the rest ------------------------------------------------------ */

static void listener_ready(struct source *source, uint32_t events)
{
	struct sockaddr_storage remote;
	socklen_t len = sizeof(remote);
	int fd;

	(void)events;
	fd = accept4(source->fd, (struct sockaddr *)&remote, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		session_begin(fd, (struct sockaddr *)&remote);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		/* Would be reported again and again. What waits in the queue is counted, too. */
		fprintf(stderr, "server: accept: %s; trying again in a second\n", strerror(errno));
		accept_more(false);
	}
	/* Else the client has gone already, or another process was faster. */
}

/* Listen on `ADDRESS:PORT` or `[ADDRESS]:PORT`. [::] takes IPv4 clients as well. */
static bool listener_open(const char *text)
{
	struct source *source = &server.listeners[server.n_listeners];
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct conncount_cidr addr;
	const char *why = NULL;
	const int on = 1;
	uint16_t port;
	bool is_v6;

	if (conncount_address_parse(text, &addr, &port, &why)) {
		fprintf(stderr, "server: '%s': %s\n", text, why);
		return false;
	}
	is_v6 = addr.family == CONNCOUNT_IPV6;
	v4.sin_port = v6.sin6_port = htons(port);
	memcpy(&v4.sin_addr, addr.addr, sizeof(v4.sin_addr));
	memcpy(&v6.sin6_addr, addr.addr, sizeof(v6.sin6_addr));

	source->ready = listener_ready;
	source->fd = socket(addr.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (source->fd < 0 || setsockopt(source->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(source->fd, is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4,
		 is_v6 ? sizeof(v6) : sizeof(v4)) ||
	    listen(source->fd, SOMAXCONN)) {
		fprintf(stderr, "server: %s: %s\n", text, strerror(errno));
		return false;
	}
	server.n_listeners++;
	return watch(source, EPOLL_CTL_ADD, EPOLLIN);
}

static void signals_ready(struct source *source, uint32_t events)
{
	(void)source;
	(void)events;
	server.stop = true;
}

/* SIGTERM and SIGINT become events: nothing is interrupted half way. */
static bool signals_open(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	server.signals.ready = signals_ready;
	server.signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (server.signals.fd < 0) {
		fprintf(stderr, "server: signalfd: %s\n", strerror(errno));
		return false;
	}
	return watch(&server.signals, EPOLL_CTL_ADD, EPOLLIN);
}

static bool serve(void)
{
	struct epoll_event events[64];
	time_t ticked = clock_seconds(), now;
	bool idle;
	int n;

	while (!server.stop) {
		/* Nothing to do at a tick: no need of one. */
		idle = TAILQ_EMPTY(&server.sessions) && !server.full;
		n = epoll_wait(server.epoll, events, 64, idle ? -1 : 1000);
		if (n < 0 && errno != EINTR) {
			fprintf(stderr, "server: epoll: %s\n", strerror(errno));
			return false;
		}
		/* A session is only ever ended by its own event, so no later one is of a dead one.
		 */
		for (int i = 0; i < n; i++) {
			struct source *source = events[i].data.ptr;

			source->ready(source, events[i].events);
		}
		now = clock_seconds();
		if (now != ticked)
			tick();
		ticked = now;
	}
	return true;
}

/* Each session takes a file descriptor. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: server -l ADDRESS:PORT [-l ADDRESS:PORT]... POLICY...\n");
	return 2;
}

int main(int argc, char **argv)
{
	bool ok = false;
	int option;

	if (gethostname(server.name, sizeof(server.name) - 1))
		strcpy(server.name, "localhost");
	raise_limit();
	setvbuf(stdout, NULL, _IOLBF, 0); /* what policies print, at once, also into a file */
	server.signals.fd = -1;
	server.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (server.epoll < 0) {
		fprintf(stderr, "server: epoll: %s\n", strerror(errno));
		return 1;
	}

	while ((option = getopt(argc, argv, "l:")) != -1) {
		if (option != 'l' || server.n_listeners == MAX_LISTENERS)
			return usage();
		if (!listener_open(optarg))
			return 1;
	}
	if (!server.n_listeners || optind == argc)
		return usage();

	server.policy = policy_open(argv + optind, (size_t)(argc - optind));
	if (server.policy && signals_open()) {
		fprintf(stderr, "server: ready\n");
		ok = serve();
	}

	while (!TAILQ_EMPTY(&server.sessions))
		session_end(TAILQ_FIRST(&server.sessions));
	for (size_t i = 0; i < server.n_listeners; i++)
		close(server.listeners[i].fd);
	policy_close(server.policy);
	if (server.signals.fd >= 0)
		close(server.signals.fd);
	close(server.epoll);
	return ok ? 0 : 1;
}
