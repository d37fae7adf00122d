/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * connections.h - TCP connections on loopback for the benchmark's programs.
 *
 * For a network namespace in which every address is local (tests/lib/instance.bash). If something
 * fails, each function prints why and ends the program.
 */
#ifndef BENCH_CONNECTIONS_H
#define BENCH_CONNECTIONS_H

#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdint.h>

union address {
	struct sockaddr sa;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

/* crowd_together() - have random_address() return IPv6 addresses of one /64 alone, from now on. */
void crowd_together(void);

/*
 * random_address() - the client address of number @index: the same each time, and in no pattern,
 * from all of IPv4's unicast space or all of 2000::/3. Its port is 0.
 * @family: AF_INET or AF_INET6.
 */
union address random_address(int family, uint64_t index);

/* server_address() - the servers' own: 192.0.2.@number, or 2001:db8::@number. */
union address server_address(int family, unsigned number, uint16_t port);

/*
 * proxy_address() - the proxy's. It is configured in tests/bench/parts/proxied.bash, too.
 */
union address proxy_address(int family);

/* send_header() - send a PROXY header that names @client, from port 40000. @version: 1 or 2. */
void send_header(int fd, int version, const union address *client, const union address *server);

/* listen_at() - a listening socket. */
int listen_at(const union address *at);

/* connect_from() - a connection from an address, of any free port, to a server. */
int connect_from(const union address *from, const union address *to);

/* accept_from() - the connection that waits at @listener. */
int accept_from(int listener);

/*
 * move_to() - move this process into a cgroup. Sockets made before stay in the one it was in, and
 * so do the connections that a listening socket among them accepts.
 * @cgroup: its directory; NULL: stay.
 */
void move_to(const char *cgroup);

/* stay_on() - keep this process on a CPU. @cpu: its number; less than 0: any. */
void stay_on(int cpu);

/* cpu_ns() - nanoseconds of CPU time that this process has taken. */
double cpu_ns(void);

/*
 * attach_empty() - attach a program that does nothing, for as long as this process lives.
 * @to: the directory of a cgroup, or the file of a network namespace.
 * Returns the program.
 */
int attach_empty(const char *to, const char *name, enum bpf_prog_type type,
		 enum bpf_attach_type attach);

#endif
