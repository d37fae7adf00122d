// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_exporter.c - conncount exporter: the metrics and the page over HTTP.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd.h"

/* Prometheus' list of exporter ports, 9100 to 9999, has no free one. */
#define EXPORTER_LISTEN "127.0.0.1:10125"

enum {
	ACTIVATION_FD = 3
}; /* the first descriptor that a service manager passes: sd_listen_fds(3) */

static int listen_on(const char *text, const struct conncount_cidr *addr, uint16_t port)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	bool six = addr->family == CONNCOUNT_IPV6;
	const struct sockaddr *sa = six ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	memcpy(&v4.sin_addr, addr->addr, sizeof(v4.sin_addr));
	memcpy(&v6.sin6_addr, addr->addr, sizeof(v6.sin6_addr));
	if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) &&
	    !bind(fd, sa, six ? sizeof(v6) : sizeof(v4)) && !listen(fd, SOMAXCONN)) {
		report("serving http://%s/metrics", text);
		return fd;
	}
	report("%s: cannot listen: %s (choose another address and port with --listen)", text,
	       strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* How many sockets the service manager has passed to this process. */
static unsigned long passed_sockets(void)
{
	const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
	unsigned long number;

	if (!pid || !n || !parse_number(pid, 1, ~0UL, &number) || number != (unsigned long)getpid())
		return 0;
	return parse_number(n, 0, ~0UL, &number) ? number : 0;
}

static bool is_set(int fd, int option, int value)
{
	int got;
	socklen_t size = sizeof(got);

	return !getsockopt(fd, SOL_SOCKET, option, &got, &size) && got == value;
}

/* Use the passed socket. Returns its descriptor, or -1, reported. */
static int take_passed(unsigned long n)
{
	if (n > 1) {
		report("%lu sockets were passed (LISTEN_FDS), but an exporter serves only one (run "
		       "one exporter for each)",
		       n);
		return -1;
	}
	if (!is_set(ACTIVATION_FD, SO_TYPE, SOCK_STREAM) ||
	    !is_set(ACTIVATION_FD, SO_ACCEPTCONN, 1)) {
		report("the passed socket (LISTEN_FDS) is not a listening stream socket (set "
		       "ListenStream= and Accept=no in its unit)");
		return -1;
	}
	fcntl(ACTIVATION_FD, F_SETFD, FD_CLOEXEC);
	fcntl(ACTIVATION_FD, F_SETFL, fcntl(ACTIVATION_FD, F_GETFL) | O_NONBLOCK);
	report("serving /metrics on the passed socket");
	return ACTIVATION_FD;
}

/* Execute the program that serves (user/exporter/). Returns only on failure. */
static int become_server(const char *dir, bool page, int fd)
{
	if (fd != STDIN_FILENO && dup2(fd, STDIN_FILENO) < 0) {
		report("exporter: %s", strerror(errno));
		return STATUS_FAILED;
	}
	return become("conncount-exporter", dir, page ? NULL : "--no-page", "reinstall conncount");
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{ "listen", required_argument, NULL, OPTION_LISTEN },
		{ "no-page", no_argument, NULL, OPTION_NO_PAGE },
		LONG_DIR,
		LONG_HELP,
		LONG_END,
	};
	const char *dir = NULL, *text = NULL, *why;
	unsigned long passed = passed_sockets();
	struct conncount_cidr addr;
	uint16_t port;
	bool page = true;
	int option, fd;

	while ((option = next_option(command, argc, argv, "", options)) != -1) {
		if (option == OPTION_LISTEN)
			text = optarg;
		else if (option == OPTION_NO_PAGE)
			page = false;
		else
			dir = optarg;
	}
	if (!check_arguments(command, argc, argv, 0))
		return STATUS_USAGE;
	if (text && passed)
		return usage_error(command,
				   "--listen cannot be combined with a passed socket (LISTEN_FDS)");
	if (!text)
		text = EXPORTER_LISTEN;
	if (conncount_address_parse(text, &addr, &port, &why))
		return usage_error(command, "--listen '%s': %s", text, why);
	fd = passed ? take_passed(passed) : listen_on(text, &addr, port);
	if (fd < 0)
		return STATUS_FAILED;
	return become_server(conncount_dir(dir), page, fd);
}

const struct command exporter_command = {
	.name = "exporter",
	.arguments = "[--listen ADDR:PORT] [--no-page] [--dir DIR]",
	.summary = "Serve the metrics and a page over HTTP, until SIGTERM",
	.help = "  --listen ADDR:PORT  the address and port to listen on (default: " EXPORTER_LISTEN
		")\n"
		"  --no-page           serve only the metrics, not the page and its API\n"
		"  --dir DIR           the instance (default: $CONNCOUNT_DIR or " CONNCOUNT_DIR
		")\n"
		"If a service manager passes a listening socket (LISTEN_FDS), the exporter serves "
		"that one.\n",
	.persists = true,
	.run = run,
};
