// SPDX-License-Identifier: BSD-2-Clause
/*
 * smtp_server.c - an SMTP server that asks Lua policies about each session, as Momentum does. It
 * shows how a server uses conncount from its own Lua. It accepts mail, and throws it away.
 *
 *	server -l ADDRESS:PORT [-l ADDRESS:PORT]... POLICY...
 *
 * One thread and one epoll(7) serve all sessions. smtp_session.c speaks SMTP, and smtp_policy.c
 * calls Lua and conncount.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <conncount.h>

#include "smtp_policy.h"
#include "smtp_session.h"

enum {
	MAX_LISTENERS = 16,
};

static struct {
	int epoll;
	bool stop;
	bool full; /* no file descriptors: accepts nothing until the next tick */
	struct source signals;
	struct source listeners[MAX_LISTENERS];
	size_t n_listeners;
} server;

time_t clock_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

bool watch(struct source *source, int operation, uint32_t events)
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
		/* epoll would report it again and again. Queued sessions are counted, too. */
		fprintf(stderr, "server: accept: %s; trying again in a second\n", strerror(errno));
		accept_more(false);
	}
	/* Otherwise the client has gone already, or another process was faster. */
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

/* Turn SIGTERM and SIGINT into events, so that they interrupt nothing. */
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
		/* Without sessions there is nothing to do at a tick. */
		idle = !sessions_any() && !server.full;
		n = epoll_wait(server.epoll, events, 64, idle ? -1 : 1000);
		if (n < 0 && errno != EINTR) {
			fprintf(stderr, "server: epoll: %s\n", strerror(errno));
			return false;
		}
		/* Only its own event ends a session here, so no later event is a dead session's. */
		for (int i = 0; i < n; i++) {
			struct source *source = events[i].data.ptr;

			source->ready(source, events[i].events);
		}
		now = clock_seconds();
		if (now != ticked) {
			if (server.full)
				accept_more(true);
			sessions_tick();
		}
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
	struct policy *policy;
	bool ok = false;
	int option;

	raise_limit();
	/* Output that nobody reads any more must not end the server. */
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0); /* write the policies' output at once, also to a file */
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

	policy = policy_open(argv + optind, (size_t)(argc - optind));
	if (policy && signals_open()) {
		sessions_open(policy);
		fprintf(stderr, "server: ready\n");
		ok = serve();
		sessions_close();
	}

	for (size_t i = 0; i < server.n_listeners; i++)
		close(server.listeners[i].fd);
	policy_close(policy);
	if (server.signals.fd >= 0)
		close(server.signals.fd);
	close(server.epoll);
	return ok ? 0 : 1;
}
