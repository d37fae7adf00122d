// SPDX-License-Identifier: BSD-2-Clause
/*
 * daemons.c - measures what a query costs that a daemon answers over a unix socket.
 *
 *	daemons haproxy SOCKET SESSIONS  connect that many clients to HAProxy's port 2525, and
 *	                                 ask its admin socket about their /24s
 *	daemons anvil PROGRAM            start Postfix' anvil(8), and ask it; $MAIL_CONFIG has its
 *	                                 configuration
 *
 * Prints the median of many queries, in nanoseconds.
 */
#include <arpa/inet.h>
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "connections.h"

enum {
	ROUNDS = 1001,
	PATIENCE = 20, /* seconds */
};

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_median(double *ns)
{
	qsort(ns, ROUNDS, sizeof(*ns), by_value);
	printf("%.0f\n", ns[ROUNDS / 2]);
}

static int connect_to(const struct sockaddr_un *at, socklen_t size)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)at, size))
		err(1, "connect");
	return fd;
}

/* --- HAProxy: a connection for each question ---------------------------------------------------
 */

/* Whether it knows of sessions of the network asked about. */
static int ask_haproxy(const struct sockaddr_un *at, const char *question)
{
	int fd = connect_to(at, sizeof(*at));
	char answer[4096];
	ssize_t n, size = 0;

	if (write(fd, question, strlen(question)) < 0)
		err(1, "haproxy");
	while ((n = read(fd, answer + size, sizeof(answer) - 1 - (size_t)size)) > 0)
		size += n;
	answer[size] = 0;
	close(fd);
	return strstr(answer, "conn_cur=") != NULL;
}

static void haproxy_question(char *question, size_t size, unsigned long client)
{
	union address address = random_address(AF_INET, client);
	char network[INET_ADDRSTRLEN];

	address.in4.sin_addr.s_addr &= htonl(0xffffff00);
	inet_ntop(AF_INET, &address.in4.sin_addr, network, sizeof(network));
	snprintf(question, size, "show table mx key %s\n", network);
}

static void measure_haproxy(const char *path, unsigned long sessions)
{
	union address server = server_address(AF_INET, 1, 2525);
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	double ns[ROUNDS];
	char question[128];

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	for (unsigned long i = 0; i < sessions; i++) {
		union address from = random_address(AF_INET, i);

		connect_from(&from, &server);
	}
	alarm(PATIENCE);
	haproxy_question(question, sizeof(question), sessions - 1);
	while (!ask_haproxy(&at, question))
		usleep(1000);
	for (int i = 0; i < ROUNDS; i++) {
		double start;

		haproxy_question(question, sizeof(question), (unsigned long)rand() % sessions);
		start = now();
		if (!ask_haproxy(&at, question))
			errx(1, "HAProxy does not know a session");
		ns[i] = now() - start;
	}
	print_median(ns);
}

/* --- anvil: one connection, as smtpd(8) has it ---------------------------------------------------
 */

/* The descriptors that Postfix' master(8) gives to a service, from 3 on. */
enum { FLOW_READ = 3, FLOW_WRITE, STATUS, LISTEN, MASTER_FDS };

static pid_t start_anvil(const char *program, int listener, int status)
{
	int flow[2], fds[MASTER_FDS];
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (pipe(flow))
		err(1, "pipe");
	/* Out of the way first, then each to its place. */
	fds[FLOW_READ] = dup2(flow[0], 100);
	fds[FLOW_WRITE] = dup2(flow[1], 101);
	fds[STATUS] = dup2(status, 102);
	fds[LISTEN] = dup2(listener, 103);
	for (int fd = FLOW_READ; fd < MASTER_FDS; fd++)
		dup2(fds[fd], fd);
	execl(program, "anvil", "-l", "-n", "anvil", "-t", "unix", (char *)NULL);
	err(127, "%s", program);
}

/* The first answer comes after a greeting. */
static void ask_anvil(int fd, int client)
{
	char question[128], answer[256] = "";
	int size =
		snprintf(question, sizeof(question), "request=connect\nident=smtp:10.0.%d.%d\n\n",
			 client / 256, client % 256);

	if (write(fd, question, (size_t)size) != size)
		err(1, "anvil");
	while (!strstr(answer, "rate=")) {
		ssize_t n = read(fd, answer, sizeof(answer) - 1);

		if (n <= 0)
			err(1, "anvil");
		answer[n] = 0;
	}
}

static void measure_anvil(const char *program)
{
	const struct timeval patience = { .tv_sec = PATIENCE };
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	socklen_t size = sizeof(at.sun_family); /* any name that is free */
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), status[2], fd;
	double ns[ROUNDS];
	pid_t pid;

	if (listener < 0 || bind(listener, (struct sockaddr *)&at, size) || listen(listener, 8) ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, status))
		err(1, "socket");
	size = sizeof(at);
	getsockname(listener, (struct sockaddr *)&at, &size);
	pid = start_anvil(program, listener, status[1]);
	if (pid < 0)
		err(1, "fork");
	close(listener);
	close(status[1]);
	fd = connect_to(&at, size);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	for (int i = 0; i < ROUNDS; i++) {
		char reports[256];
		double start = now();

		ask_anvil(fd, i);
		ns[i] = now() - start;
		/* It tells its master when it is busy, and ends where nobody listens. */
		while (recv(status[0], reports, sizeof(reports), MSG_DONTWAIT) > 0)
			;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	print_median(ns);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "haproxy"))
		measure_haproxy(argv[2], strtoul(argv[3], NULL, 10));
	else if (argc == 3 && !strcmp(argv[1], "anvil"))
		measure_anvil(argv[2]);
	else
		errx(2, "usage: daemons haproxy SOCKET SESSIONS | anvil PROGRAM");
	return 0;
}
