// SPDX-License-Identifier: BSD-2-Clause
/*
 * cycle.c - measures what a connection on loopback costs: connect, accept, close at both ends.
 *
 *	cycle [--clients CGROUP] [--sources N] [--cpu N] [--server N] [--header 1|2 [--proxy]]
 *	      [--empty CGROUP] 4|6 PORT CONNECTIONS
 *
 * One thread does all of it, so that no process waits for another: the kernel handles each packet
 * within the system call that sends it. The client closes first, as most do.
 *
 *	--clients CGROUP   create the clients' sockets in that cgroup, and the server's in the one
 *	                   that cycle was started in
 *	--sources N        use N random client addresses in turn (default 65000), others in each
 *	                   run
 *	--cpu N            stay on that CPU
 *	--server N         use another address of the server
 *	--header 1|2       send a PROXY header of that version, which names the client; the server
 *	                   reads it, and closes first
 *	--proxy            connect from the proxy's address
 *	--empty CGROUP     attach programs that do nothing where the gates of limits are: to that
 *	                   cgroup, and to this network namespace
 *
 * Prints how many nanoseconds of CPU time a connection takes: the median over slices of
 * SLICE connections, so that neither other processes nor interrupts count.
 */
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "connections.h"

enum { SLICE = 100 };

static struct {
	const char *clients;
	unsigned long sources;
	int cpu;
	unsigned server;
	int header, proxy;
	int family;
	uint16_t port;
	unsigned long connections;
} options = { .sources = 65000, .cpu = -1, .server = 1 };

static void cycle(int listener, const union address *from, const union address *to)
{
	int client = connect_from(from, to);
	int server = accept_from(listener);

	close(client);
	close(server);
}

static void cycle_with_header(int listener, const union address *from, const union address *to)
{
	union address proxy = proxy_address(options.family);
	int client = connect_from(options.proxy ? &proxy : from, to);
	int server = accept_from(listener);
	char header[256];

	send_header(client, options.header, from, to);
	if (recv(server, header, sizeof(header), 0) <= 0)
		err(1, "recv");
	close(server);
	close(client);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(void)
{
	union address to = server_address(options.family, options.server, options.port);
	unsigned long slices = (options.connections + SLICE - 1) / SLICE, n = 0;
	double *ns = calloc(slices, sizeof(*ns));
	int listener = listen_at(&to);

	if (!ns)
		err(1, "calloc");
	move_to(options.clients);
	for (unsigned long slice = 0; slice < slices; slice++) {
		double start = cpu_ns();

		for (int i = 0; i < SLICE; i++, n++) {
			uint64_t source = (uint64_t)getpid() << 32 | n % options.sources;
			union address from = random_address(options.family, source);

			(options.header ? cycle_with_header : cycle)(listener, &from, &to);
		}
		ns[slice] = (cpu_ns() - start) / SLICE;
	}
	qsort(ns, slices, sizeof(*ns), by_value);
	printf("%.0f\n", ns[slices / 2]);
	free(ns);
}

static void parse(int argc, char **argv)
{
	static const struct option known[] = {
		{ "clients", required_argument, NULL, 'c' },
		{ "sources", required_argument, NULL, 's' },
		{ "cpu", required_argument, NULL, 'p' },
		{ "server", required_argument, NULL, 'n' },
		{ "header", required_argument, NULL, 'h' },
		{ "proxy", no_argument, &options.proxy, 1 },
		{ "empty", required_argument, NULL, 'e' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 0:
			break;
		case 'h':
			options.header = atoi(optarg);
			break;
		case 'c':
			options.clients = optarg;
			break;
		case 's':
			options.sources = strtoul(optarg, NULL, 10);
			break;
		case 'p':
			options.cpu = atoi(optarg);
			break;
		case 'e':
			attach_empty(optarg, "empty", BPF_PROG_TYPE_CGROUP_SKB,
				     BPF_CGROUP_INET_INGRESS);
			attach_empty("/proc/self/ns/net", "empty", BPF_PROG_TYPE_SK_LOOKUP,
				     BPF_SK_LOOKUP);
			break;
		case 'n':
			options.server = (unsigned)strtoul(optarg, NULL, 10);
			break;
		default:
			exit(2);
		}
	}
	if (optind + 3 != argc)
		errx(2, "usage: cycle [--clients CGROUP] [--sources N] [--cpu N] "
			"[--server N] [--header 1|2 [--proxy]] [--empty CGROUP] "
			"4|6 PORT CONNECTIONS");
	options.family = strcmp(argv[optind], "6") ? AF_INET : AF_INET6;
	options.port = (uint16_t)strtoul(argv[optind + 1], NULL, 10);
	options.connections = strtoul(argv[optind + 2], NULL, 10);
	if (!options.sources || !options.port || !options.connections)
		errx(2, "sources, port and connections are numbers from 1 on");
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	stay_on(options.cpu);
	measure();
	return 0;
}
