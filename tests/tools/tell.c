/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tell - send an order to sessions.py, actor.py, smtp.py or nursery.py.
 *
 *	tell SOCKET [WORD...]
 *
 * The order is the WORDs, each with a NUL behind it; without any, it is stdin. The answer is `+`
 * and what the order printed; or `-` and what went wrong, which goes to stderr, with exit status 1.
 * If nothing listens at SOCKET yet, tell waits for up to a minute.
 *
 * A C program, not a mode of those scripts: on an emulated machine an interpreter takes half a
 * second to start, and tests send thousands of orders.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_MS = 60000, NAP_MS = 5 };

static int connected(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int left = PATIENCE_MS;

	strcpy(address.sun_path, path);
	if (fd < 0)
		err(1, "tell: socket");
	while (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		if ((errno != ENOENT && errno != ECONNREFUSED) || left <= 0)
			err(1, "tell: %s", path);
		usleep(NAP_MS * 1000);
		left -= NAP_MS;
	}
	return fd;
}

static void send_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n < 0)
			err(1, "tell");
		data += n;
		size -= n;
	}
}

static void send_stdin(int fd)
{
	char buf[65536];
	ssize_t n;

	while ((n = read(STDIN_FILENO, buf, sizeof(buf))) > 0)
		send_all(fd, buf, n);
	if (n < 0)
		err(1, "tell: stdin");
}

int main(int argc, char **argv)
{
	char buf[65536], sign;
	FILE *to;
	ssize_t n;
	int fd, i;

	if (argc < 2 || strlen(argv[1]) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		fprintf(stderr, "usage: tell SOCKET [WORD...]\n");
		return 2;
	}
	fd = connected(argv[1]);
	for (i = 2; i < argc; i++)
		send_all(fd, argv[i], strlen(argv[i]) + 1);
	if (argc == 2)
		send_stdin(fd);
	shutdown(fd, SHUT_WR);
	if (read(fd, &sign, 1) != 1)
		errx(1, "no answer from %s", argv[1]);
	to = sign == '+' ? stdout : stderr;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		fwrite(buf, 1, n, to);
	if (n < 0 || fflush(to))
		err(1, "tell: answer of %s", argv[1]);
	return sign == '+' ? 0 : 1;
}
