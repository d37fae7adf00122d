// SPDX-License-Identifier: BSD-2-Clause
/* connections.c - see connections.h */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "connections.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* splitmix64: a number in no pattern for each number. */
static uint64_t scramble(uint64_t n)
{
	n += 0x9e3779b97f4a7c15ULL;
	n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9ULL;
	n = (n ^ n >> 27) * 0x94d049bb133111ebULL;
	return n ^ n >> 31;
}

static socklen_t size_of(const union address *address)
{
	return address->sa.sa_family == AF_INET ? sizeof(address->in4) : sizeof(address->in6);
}

static bool one_network;

void crowd_together(void)
{
	one_network = true;
}

union address random_address(int family, uint64_t index)
{
	union address address = { .sa.sa_family = (sa_family_t)family };
	uint64_t n = scramble(2 * index), m = scramble(2 * index + 1);
	uint32_t first = 1 + (uint32_t)(n >> 32) % 222; /* 1 to 126, 128 to 223 */

	if (family == AF_INET) {
		first += first >= 127;
		address.in4.sin_addr.s_addr = htonl(first << 24 | (n & 0xffffff));
		return address;
	}
	memcpy(address.in6.sin6_addr.s6_addr, &n, sizeof(n));
	if (one_network)
		inet_pton(AF_INET6, "2001:db8:1:2::", &address.in6.sin6_addr);
	memcpy(address.in6.sin6_addr.s6_addr + 8, &m, sizeof(m));
	address.in6.sin6_addr.s6_addr[0] = 0x20 | (address.in6.sin6_addr.s6_addr[0] & 0x1f);
	return address;
}

union address server_address(int family, unsigned number, uint16_t port)
{
	union address address = { .sa.sa_family = (sa_family_t)family };

	if (family == AF_INET) {
		address.in4.sin_addr.s_addr = htonl(0xc0000200 | number);
		address.in4.sin_port = htons(port);
		return address;
	}
	inet_pton(AF_INET6, "2001:db8::", &address.in6.sin6_addr);
	address.in6.sin6_addr.s6_addr[15] = (uint8_t)number;
	address.in6.sin6_port = htons(port);
	return address;
}

union address proxy_address(int family)
{
	union address address = { .sa.sa_family = (sa_family_t)family };

	if (family == AF_INET)
		inet_pton(AF_INET, "203.0.113.1", &address.in4.sin_addr);
	else
		inet_pton(AF_INET6, "2001:db8:ffff::1", &address.in6.sin6_addr);
	return address;
}

/* Its address, and how many bytes that is. */
static const void *bytes_of(const union address *address, size_t *size)
{
	if (address->sa.sa_family == AF_INET) {
		*size = sizeof(address->in4.sin_addr);
		return &address->in4.sin_addr;
	}
	*size = sizeof(address->in6.sin6_addr);
	return &address->in6.sin6_addr;
}

void send_header(int fd, int version, const union address *client, const union address *server)
{
	static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";
	static const uint16_t client_port = 40000;
	int family = client->sa.sa_family;
	uint16_t ports[2] = { htons(client_port), server->in4.sin_port }; /* in6's is there, too */
	char text[2][INET6_ADDRSTRLEN], header[128];
	const void *from, *to;
	size_t size, n;

	from = bytes_of(client, &size);
	to = bytes_of(server, &size);
	if (version == 1) {
		n = (size_t)snprintf(header, sizeof(header), "PROXY TCP%d %s %s %u %u\r\n",
				     family == AF_INET ? 4 : 6,
				     inet_ntop(family, from, text[0], sizeof(text[0])),
				     inet_ntop(family, to, text[1], sizeof(text[1])), client_port,
				     ntohs(ports[1]));
	} else {
		memcpy(header, signature, sizeof(signature) - 1);
		header[12] = 0x21;                            /* version 2, PROXY */
		header[13] = family == AF_INET ? 0x11 : 0x21; /* over TCP */
		header[14] = 0;
		header[15] = (char)(2 * size + sizeof(ports));
		memcpy(header + 16, from, size);
		memcpy(header + 16 + size, to, size);
		memcpy(header + 16 + 2 * size, ports, sizeof(ports));
		n = 16 + 2 * size + sizeof(ports);
	}
	if (send(fd, header, n, 0) != (ssize_t)n)
		err(1, "send");
}

int listen_at(const union address *at)
{
	const int on = 1;
	int fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, &at->sa, size_of(at)) || listen(fd, SOMAXCONN))
		err(1, "listen");
	return fd;
}

int connect_from(const union address *from, const union address *to)
{
	const int on = 1;
	int fd = socket(from->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) ||
	    bind(fd, &from->sa, size_of(from)) || connect(fd, &to->sa, size_of(to)))
		err(1, "connect");
	return fd;
}

int accept_from(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		err(1, "accept");
	return fd;
}

void move_to(const char *cgroup)
{
	char path[4096];
	FILE *file;

	if (!cgroup)
		return;
	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	file = fopen(path, "we");
	if (!file || fprintf(file, "%d\n", getpid()) < 0 || fclose(file))
		err(1, "%s", path);
}

void stay_on(int cpu)
{
	cpu_set_t cpus;

	if (cpu < 0)
		return;
	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		err(1, "CPU %d", cpu);
}

double cpu_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
	return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

int attach_empty(const char *to, const char *name, enum bpf_prog_type type,
		 enum bpf_attach_type attach)
{
	/* r0 = 1; exit */
	static const struct bpf_insn instructions[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int target = open(to, O_RDONLY | O_CLOEXEC);
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach);
	int program = bpf_prog_load(type, name, "GPL", instructions,
				    sizeof(instructions) / sizeof(*instructions), &opts);

	if (target < 0 || program < 0 || bpf_link_create(program, target, attach, NULL) < 0)
		err(1, "a program that does nothing, at %s", to);
	close(target);
	return program;
}
