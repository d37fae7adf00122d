// SPDX-License-Identifier: BSD-2-Clause
/*
 * smtp_session.c - sessions: enough of SMTP to accept mail, which is thrown away. Asks the policies
 * in each phase.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "smtp_policy.h"
#include "smtp_session.h"

enum {
	IDLE_SECONDS = 300, /* RFC 5321, 4.5.3.2.7 */
	LINE_SIZE = 2048,   /* more than the longest line of RFC 5321, 4.5.3.1 */
	REPLY_SIZE = 2048,  /* more than the longest reply, that to EHLO, which has many lines */
};

struct session {
	struct source source;
	TAILQ_ENTRY(session) entry;
	int policy;      /* its id from policy_begin() */
	bool held;       /* replies wait until `deadline` */
	bool ending;     /* ends when the replies are written */
	bool greeted;    /* EHLO or HELO was accepted */
	bool mail;       /* MAIL was accepted */
	bool rcpt;       /* RCPT was accepted */
	bool body;       /* after DATA */
	time_t deadline; /* of the client's next line, or of the hold; clock_seconds() */
	size_t in_len, out_len;
	char in[LINE_SIZE], out[2 * REPLY_SIZE];
};

static struct {
	struct policy *policy;
	TAILQ_HEAD(, session) list;
	char name[256]; /* of this host */
} sessions = { .list = TAILQ_HEAD_INITIALIZER(sessions.list) };

static void session_end(struct session *s)
{
	policy_end(sessions.policy, s->policy);
	TAILQ_REMOVE(&sessions.list, s, entry);
	close(s->source.fd);
	free(s);
}

/* --- SMTP --------------------------------------------------------------------------------- */

/* Add a line to the replies, cut if it is too long. REPLY_SIZE is enough for every reply. */
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
 * Ask the policies. Returns true if the session goes on; otherwise they have refused, and the reply
 * says so.
 */
static bool permitted(struct session *s, const char *hook, const char *argument,
		      struct verdict *ret_verdict)
{
	policy_run(sessions.policy, s->policy, hook, argument, ret_verdict);
	if (ret_verdict->hold) {
		s->held = true;
		/* One more, because the rest of this second is not a whole one. */
		s->deadline = clock_seconds() + ret_verdict->hold + 1;
	}
	if (!ret_verdict->code)
		return true;
	reply(s, "%d %s", ret_verdict->code, ret_verdict->text);
	s->ending |= ret_verdict->disconnect;
	return false;
}

/* Reply to EHLO: the host's name, then the capabilities in @text, one per line. */
static void reply_capabilities(struct session *s, char *text)
{
	char *line, *rest = *text ? text : NULL, *previous = sessions.name;

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

/* Cut the address out of @text, KEYWORD<ADDRESS>. Returns NULL if the text has another form. */
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

static void greet(struct session *s, const char *name, bool extended)
{
	struct verdict verdict;

	reset(s);
	if (!*name) {
		reply(s, "501 5.5.4 a name must follow");
	} else if (permitted(s, "validate_ehlo", name, &verdict)) {
		s->greeted = true;
		if (!extended)
			verdict.text[0] = '\0';
		reply_capabilities(s, verdict.text);
	}
}

static void ehlo(struct session *s, char *name)
{
	greet(s, name, true);
}

static void helo(struct session *s, char *name)
{
	greet(s, name, false);
}

static void mail(struct session *s, char *from)
{
	char *address = path(from, "FROM:");
	struct verdict verdict;

	if (!s->greeted || s->mail) {
		reply(s, "503 5.5.1 not now");
	} else if (!address) {
		reply(s, "501 5.5.4 FROM:<address> must follow");
	} else if (permitted(s, "validate_mailfrom", address, &verdict)) {
		s->mail = true;
		reply(s, "250 2.1.0 OK");
	}
}

static void rcpt(struct session *s, char *to)
{
	char *address = path(to, "TO:");
	struct verdict verdict;

	if (!s->mail) {
		reply(s, "503 5.5.1 MAIL first");
	} else if (!address) {
		reply(s, "501 5.5.4 TO:<address> must follow");
	} else if (permitted(s, "validate_rcptto", address, &verdict)) {
		s->rcpt = true;
		reply(s, "250 2.1.5 OK");
	}
}

static void data(struct session *s, char *argument)
{
	struct verdict verdict;

	(void)argument;
	if (!s->rcpt) {
		reply(s, "503 5.5.1 RCPT first");
	} else if (permitted(s, "validate_data", NULL, &verdict)) {
		s->body = true;
		reply(s, "354 end with a dot on a line of its own");
	}
}

static void rset(struct session *s, char *argument)
{
	(void)argument;
	reset(s);
	reply(s, "250 2.0.0 OK");
}

static void noop(struct session *s, char *argument)
{
	(void)argument;
	reply(s, "250 2.0.0 OK");
}

static void vrfy(struct session *s, char *argument)
{
	(void)argument;
	reply(s, "252 2.5.0 try and see");
}

static void quit(struct session *s, char *argument)
{
	(void)argument;
	reply(s, "221 2.0.0 %s closing connection", sessions.name);
	s->ending = true;
}

static const struct {
	const char *verb;
	void (*run)(struct session *s, char *argument);
} commands[] = {
	{ "EHLO", ehlo }, { "HELO", helo }, { "MAIL", mail }, { "RCPT", rcpt }, { "DATA", data },
	{ "RSET", rset }, { "NOOP", noop }, { "VRFY", vrfy }, { "QUIT", quit },
};

static void command(struct session *s, char *line)
{
	char *argument = line;
	const char *verb = strsep(&argument, " ");

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcasecmp(verb, commands[i].verb)) {
			if (!argument)
				argument = line + strlen(line);
			commands[i].run(s, argument + strspn(argument, " "));
			return;
		}
	}
	reply(s, "500 5.5.2 command not known");
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
 * Execute complete lines of the input, as long as there is room for their replies and the session
 * is not held.
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

/* --- input and output, start and end ------------------------------------------------------ */

/* Write replies. Returns false if the connection is gone. */
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

/* Read input. Returns false if the client has gone. */
static bool read_input(struct session *s)
{
	ssize_t n = recv(s->source.fd, s->in + s->in_len, sizeof(s->in) - s->in_len, 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	s->in_len += (size_t)n;
	return n > 0;
}

/* Continue a session as far as possible, and end it if it is complete. */
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
		/* With unread input, close() would reset the connection, and lose the reply. */
		for (int i = 0; i < 16 && recv(s->source.fd, s->in, sizeof(s->in), 0) > 0; i++)
			;
		session_end(s);
		return;
	}
	/* Do not read from a client that does not read its replies. */
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

void sessions_tick(void)
{
	time_t now = clock_seconds();
	struct session *s, *next;

	for (s = TAILQ_FIRST(&sessions.list); s; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (s->deadline > now)
			continue;
		if (!s->held && s->ending) {
			session_end(s);
			continue;
		}
		if (!s->held) {
			s->out_len = 0; /* the client did not read it */
			reply(s, "421 4.4.2 %s timeout, closing connection", sessions.name);
			s->ending = true;
		}
		s->held = false;
		s->deadline = now + IDLE_SECONDS;
		session_go_on(s);
	}
}

void session_begin(int fd, const struct sockaddr *remote)
{
	struct sockaddr_storage local;
	socklen_t len = sizeof(local);
	struct verdict verdict;
	struct session *s;

	s = calloc(1, sizeof(*s));
	if (!s || getsockname(fd, (struct sockaddr *)&local, &len)) {
		fprintf(stderr, "server: refused a connection: %s\n", strerror(errno));
		free(s);
		close(fd);
		return;
	}
	s->source = (struct source){ .ready = session_ready, .fd = fd };
	s->policy = policy_begin(sessions.policy, remote, (struct sockaddr *)&local);
	s->deadline = clock_seconds() + IDLE_SECONDS;
	TAILQ_INSERT_TAIL(&sessions.list, s, entry);
	if (!watch(&s->source, EPOLL_CTL_ADD, 0)) {
		session_end(s);
		return;
	}

	if (permitted(s, "validate_connect", NULL, &verdict))
		reply(s, "220 %s ESMTP", sessions.name);
	else
		s->ending = true;
	session_go_on(s);
}

void sessions_open(struct policy *policy)
{
	sessions.policy = policy;
	if (gethostname(sessions.name, sizeof(sessions.name) - 1))
		strcpy(sessions.name, "localhost");
}

void sessions_close(void)
{
	while (sessions_any())
		session_end(TAILQ_FIRST(&sessions.list));
}

bool sessions_any(void)
{
	return !TAILQ_EMPTY(&sessions.list);
}
