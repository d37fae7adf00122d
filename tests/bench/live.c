// SPDX-License-Identifier: BSD-2-Clause
/*
 * live.c - open many sessions and hold them.
 *
 *	live [--clients CGROUP] [--sources N] [--crowd] 4|6 PORT SESSIONS
 *
 * Session number I comes from random_address(I), or with --sources from that of I modulo N. With
 * --crowd, all sessions come from one /64.
 * It holds only the server's ends, and removes the clients' ends without a packet (TCP_REPAIR), so
 * that this host has the sockets of a server, and needs half the memory. It starts as many
 * processes as the limit of open files requires.
 *
 * Prints a line when all sessions are open. When its standard input ends, it ends all of them.
 */
#include <err.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/tcp.h>

#include "connections.h"

enum {
	SPARE_FILES = 64,
	WORKERS_MAX = 250, /* one server address each */
};

static struct {
	const char *clients;
	unsigned long sources;
	int family;
	uint16_t port;
	unsigned long sessions;
} options = { .sources = ULONG_MAX };

static void vanish(int fd)
{
	const int on = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)))
		err(1, "TCP_REPAIR");
	close(fd);
}

/* Opens sessions @first to @end - 1 at a server of its own, says so, and waits to be ended. */
static void work(unsigned number, unsigned long first, unsigned long end, int done)
{
	union address to = server_address(options.family, 2 + number, options.port);
	int listener = listen_at(&to);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	move_to(options.clients);
	for (unsigned long i = first; i < end; i++) {
		union address from = random_address(options.family, i % options.sources);
		int client = connect_from(&from, &to);

		accept_from(listener);
		vanish(client);
	}
	if (write(done, "", 1) != 1)
		err(1, "write");
	close(done);
	for (;;)
		pause();
}

/* How many sessions a process can hold. */
static unsigned long room(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files))
		err(1, "getrlimit");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files))
		err(1, "setrlimit");
	return files.rlim_cur - SPARE_FILES;
}

static void parse(int argc, char **argv)
{
	static const struct option known[] = {
		{ "clients", required_argument, NULL, 'c' },
		{ "sources", required_argument, NULL, 's' },
		{ "crowd", no_argument, NULL, 'r' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 'c':
			options.clients = optarg;
			break;
		case 's':
			options.sources = strtoul(optarg, NULL, 10);
			break;
		case 'r':
			crowd_together();
			break;
		default:
			exit(2);
		}
	}
	if (optind + 3 != argc)
		errx(2, "usage: live [--clients CGROUP] [--sources N] [--crowd] 4|6 PORT SESSIONS");
	options.family = strcmp(argv[optind], "6") ? AF_INET : AF_INET6;
	options.port = (uint16_t)strtoul(argv[optind + 1], NULL, 10);
	options.sessions = strtoul(argv[optind + 2], NULL, 10);
	if (!options.port || (options.sessions && !options.sources))
		errx(2, "sources and port are numbers from 1 on");
}

int main(int argc, char **argv)
{
	pid_t workers[WORKERS_MAX];
	unsigned long first = 0, each;
	unsigned n = 0, ready = 0;
	int done[2];
	char byte;

	parse(argc, argv);
	each = room();
	if (pipe(done))
		err(1, "pipe");
	if (options.sessions > each * WORKERS_MAX)
		errx(2, "%lu sessions: at most %lu", options.sessions, each * WORKERS_MAX);
	for (; first < options.sessions; first += each) {
		unsigned long end = first + each;

		workers[n] = fork();
		if (workers[n] < 0)
			err(1, "fork");
		if (!workers[n])
			work(n, first, end < options.sessions ? end : options.sessions, done[1]);
		n++;
	}
	close(done[1]);
	while (ready < n && read(done[0], &byte, 1) == 1)
		ready++;
	if (ready < n)
		errx(1, "a worker failed");
	printf("%lu\n", options.sessions);
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	for (unsigned i = 0; i < n; i++)
		kill(workers[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}
