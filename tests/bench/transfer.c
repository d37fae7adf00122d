// SPDX-License-Identifier: BSD-2-Clause
/*
 * transfer.c - measures the throughput of one long connection on loopback.
 *
 *	transfer [--clients CGROUP] [--cpu N] [--proxy] [--back] [--empty CGROUP]
 *	         4|6 PORT CHUNK MEGABYTES
 *
 * The client sends a PROXY header, and then so many megabytes, CHUNK bytes at once; the server
 * reads all of it. One thread does both: the kernel handles each packet within the system call that
 * sends it.
 *
 *	--clients CGROUP   create the client's socket in that cgroup, and the server's in the one
 *	                   that transfer was started in
 *	--cpu N            stay on that CPU
 *	--proxy            connect from the proxy's address
 *	--empty CGROUP     attach to that cgroup an ingress program that does nothing
 *	--back             the server sends, and the client nothing at all: no header
 *
 * Prints how many nanoseconds of CPU time a megabyte takes at both ends: the median over slices of
 * one megabyte, so that neither other processes nor interrupts count.
 */
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connections.h"

enum { CHUNK_MAX = 64 * 1024, MEGABYTE = 1000 * 1000 };

static void transfer(int from, int to, size_t bytes, size_t chunk)
{
	static char data[CHUNK_MAX];

	while (bytes) {
		size_t n = bytes < chunk ? bytes : chunk, received = 0;

		if (send(from, data, n, 0) != (ssize_t)n)
			err(1, "send");
		while (received < n) {
			ssize_t got = recv(to, data, n - received, 0);

			if (got <= 0)
				err(1, "recv");
			received += (size_t)got;
		}
		bytes -= n;
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct {
	const char *clients;
	int proxy, back, family;
	uint16_t port;
	size_t chunk;
	unsigned long slices;
} options;

static void measure(void)
{
	union address to = server_address(options.family, 1, options.port);
	union address by = proxy_address(options.family);
	union address from = random_address(options.family, (uint64_t)getpid());
	unsigned long slices = options.slices;
	double *ns = calloc(slices, sizeof(*ns));
	int listener = listen_at(&to), client, server;
	char header[256];

	if (!ns)
		err(1, "calloc");
	move_to(options.clients);
	client = connect_from(options.proxy ? &by : &from, &to);
	server = accept_from(listener);
	if (!options.back) {
		send_header(client, 2, &from, &to);
		if (recv(server, header, sizeof(header), 0) <= 0)
			err(1, "recv");
	}
	for (unsigned long slice = 0; slice < slices; slice++) {
		double start = cpu_ns();

		if (options.back)
			transfer(server, client, MEGABYTE, options.chunk);
		else
			transfer(client, server, MEGABYTE, options.chunk);
		ns[slice] = cpu_ns() - start;
	}
	qsort(ns, slices, sizeof(*ns), by_value);
	printf("%.0f\n", ns[slices / 2]);
	free(ns);
	close(client);
	close(server);
}

int main(int argc, char **argv)
{
	static const struct option known[] = {
		{ "clients", required_argument, NULL, 'c' },
		{ "cpu", required_argument, NULL, 'p' },
		{ "proxy", no_argument, &options.proxy, 1 },
		{ "empty", required_argument, NULL, 'e' },
		{ "back", no_argument, &options.back, 1 },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (option == 'c') {
			options.clients = optarg;
		} else if (option == 'p') {
			stay_on(atoi(optarg));
		} else if (option == 'e') {
			attach_empty(optarg, "empty", BPF_PROG_TYPE_CGROUP_SKB,
				     BPF_CGROUP_INET_INGRESS);
		} else if (option) {
			exit(2);
		}
	}
	if (optind + 4 != argc)
		errx(2, "usage: transfer [--clients CGROUP] [--cpu N] [--proxy] [--back] "
			"[--empty CGROUP] "
			"4|6 PORT CHUNK MEGABYTES");
	options.family = strcmp(argv[optind], "6") ? AF_INET : AF_INET6;
	options.port = (uint16_t)strtoul(argv[optind + 1], NULL, 10);
	options.chunk = strtoul(argv[optind + 2], NULL, 10);
	options.slices = strtoul(argv[optind + 3], NULL, 10);
	if (!options.port || !options.chunk || options.chunk > CHUNK_MAX || !options.slices)
		errx(2, "port, chunk (up to %d) and megabytes are numbers from 1 on", CHUNK_MAX);
	measure();
	return 0;
}
