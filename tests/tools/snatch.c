/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * snatch.c - accept connections as early as the kernel allows, and close them at once.
 *
 * A server can accept a connection a moment before the kernel calls the sockops programs for it:
 * the connection is in the accept queue before the kernel has processed the last packet of its
 * handshake. Two processes that call accept all the time, instead of waiting, can be that early.
 *
 * usage: snatch CONNECTIONS ADDR PORT FROM
 *
 * Makes CONNECTIONS (up to 19,000) from the IPv4 address FROM and keeps its side of them open
 * until stdin ends. Prints `closed` once the server's side of each is closed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SERVERS = 2 };

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void snatch(int listener, const unsigned long *wanted, unsigned long *taken)
{
	while (__atomic_load_n(taken, __ATOMIC_RELAXED) < *wanted) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

		if (fd >= 0) {
			close(fd);
			__atomic_add_fetch(taken, 1, __ATOMIC_RELAXED);
		} else if (errno != EAGAIN && errno != ECONNABORTED) {
			die("accept");
		}
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET }, from = { .sin_family = AF_INET };
	unsigned long wanted, *taken;
	const int on = 1;
	char c;

	if (argc != 5 || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1 ||
	    inet_pton(AF_INET, argv[4], &from.sin_addr) != 1) {
		fprintf(stderr, "usage: snatch CONNECTIONS ADDR PORT FROM\n");
		return 2;
	}
	wanted = strtoul(argv[1], NULL, 10);
	to.sin_port = htons((unsigned short)atoi(argv[3]));
	taken = mmap(NULL, sizeof(*taken), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (taken == MAP_FAILED)
		die("mmap");
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(listener, (struct sockaddr *)&to, sizeof(to)) || listen(listener, 4096))
		die("listen");
	for (int i = 0; i < SERVERS; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			snatch(listener, &wanted, taken);
			_exit(0);
		}
	}
	close(listener);
	for (unsigned long i = 0; i < wanted; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)) ||
		    connect(fd, (struct sockaddr *)&to, sizeof(to)))
			die("connect");
	}
	for (int i = 0; i < SERVERS; i++) {
		int status;

		if (wait(&status) < 0 || status)
			die("a server");
	}
	puts("closed");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}
