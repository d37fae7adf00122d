/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rush.c - many clients of one network that open connections at the same time, and their server.
 *
 * usage: rush SOCKET
 *
 * It executes the orders that tests/tools/tell sends, until killed. Each begins with a verb:
 *
 * - `listen ADDR PORT BACKLOG [group]`: the server listens there, and not where it did before.
 *   `group`: with SO_REUSEPORT.
 * - `clients N ADDR SOURCES`: from now on there are N clients, at SOURCES addresses from ADDR on.
 *   All that earlier ones had open is closed.
 * - `connect [held]`: they call connect(2). `held`: the answers reach them only when all have
 *   called. Prints `connected N refused N`.
 * - `syn`: they only send their SYN, again if no answer comes. Prints `answered N refused N`.
 * - `ack`: those who were answered, and are not in, send the ACK that ends the handshake: more than
 *   once if it is ordered again.
 * - `accept`: the server accepts all that come. Prints how many sessions it has.
 * - `close N`: the server resets N of them. Prints how many are left.
 * - `flood syn|ack ADDR [N]`: send N packets from ports and sequence numbers chosen at random, at
 * 32 addresses from ADDR on; without N, until `calm`.
 * - `calm`: end the flood. Prints how many packets it had.
 *
 * Each of the first four is done by threads that begin at the same moment, one on each CPU, and
 * so is the flood. The clients of an address are on all of them.
 *
 * Clients that connect(2) have addresses that are local. For `syn`, `ack` and `flood`, which write
 * and read packets at the loopback interface, addresses must be routed to it, and not be local:
 * else the kernel answers the server's SYN-ACK by a RST.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	CLIENTS_MAX = 12000,
	FILES_MAX = 20000,
	CPUS_MAX = 16,
	WORDS_MAX = 5,
	ORDER_MAX = 256,
	PORT_FIRST = 1024,
	PORTS = 60000,
	FLOOD_SOURCES = 32,
	PATIENCE_MS = 30000, /* for a connect(2) to be decided */
	ANSWER_MS = 2000,    /* until no answer is expected any more */
	SYN_TRIES = 4,       /* as often is a SYN sent */
	QUIET_MS = 20,       /* the accept queue is empty if nothing comes for so long */
	RECEIVE_BYTES = 64 << 20,
};

struct endpoint {
	int family;
	uint8_t addr[16];
	uint16_t port; /* host byte order */
};

enum state {
	CLIENT_NEW,
	CLIENT_ANSWERED, /* by a SYN-ACK */
	CLIENT_REFUSED,  /* by a RST */
	CLIENT_RESET,    /* by a SYN-ACK, then by a RST */
	CLIENT_IN,       /* accepted */
};

struct client {
	enum state state;
	int fd;       /* of its connect(2), or -1 */
	uint32_t isn; /* of the server */
	int accepted; /* the server's socket, or -1 */
};

static struct {
	struct endpoint source; /* the first one */
	unsigned sources;
	unsigned first; /* number of the first client: each one is numbered, to choose its port */
	unsigned n;
	struct client client[CLIENTS_MAX];
} clients;

static struct endpoint server;
static int listener = -1;
static int loopback;      /* index of the interface */
static int sender;        /* of packets */
static int receiver = -1; /* of those that come from the server */

static cpu_set_t cpus;
static unsigned parts; /* how many CPUs */

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *format, ...)
{
	int err = errno;
	va_list args;

	va_start(args, format);
	fprintf(stderr, "rush: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, ": %s\n", strerror(err));
	va_end(args);
	exit(1);
}

static unsigned number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || end == text || value > 1000000000) {
		fprintf(stderr, "rush: '%s': not a number\n", text);
		exit(2);
	}
	return (unsigned)value;
}

/* --- addresses ---------------------------------------------------------------------------------
 */

static size_t address_size(int family)
{
	return family == AF_INET6 ? 16 : 4;
}

static struct endpoint endpoint(const char *text)
{
	struct endpoint ret = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };

	if (inet_pton(ret.family, text, ret.addr) != 1) {
		fprintf(stderr, "rush: '%s': not an address\n", text);
		exit(2);
	}
	return ret;
}

union sockaddrs {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static union sockaddrs sockaddrs(const struct endpoint *from, socklen_t *ret_size)
{
	union sockaddrs ret = { 0 };

	if (from->family == AF_INET6) {
		ret.in6.sin6_family = AF_INET6;
		ret.in6.sin6_port = htons(from->port);
		memcpy(&ret.in6.sin6_addr, from->addr, 16);
		*ret_size = sizeof(ret.in6);
	} else {
		ret.in.sin_family = AF_INET;
		ret.in.sin_port = htons(from->port);
		memcpy(&ret.in.sin_addr, from->addr, 4);
		*ret_size = sizeof(ret.in);
	}
	return ret;
}

/* The endpoint that is @n further than @from in its last byte. */
static struct endpoint endpoint_plus(const struct endpoint *from, unsigned n)
{
	struct endpoint ret = *from;

	ret.addr[address_size(from->family) - 1] += (uint8_t)n;
	return ret;
}

static struct endpoint client_endpoint(unsigned i)
{
	unsigned n = clients.first + i;
	struct endpoint ret = endpoint_plus(&clients.source, n % clients.sources);

	ret.port = (uint16_t)(PORT_FIRST + n / clients.sources % PORTS);
	return ret;
}

/* The client at an endpoint, or NULL. */
static struct client *client_at(const struct endpoint *at)
{
	size_t last = address_size(clients.source.family) - 1;
	unsigned offset = (uint8_t)(at->addr[last] - clients.source.addr[last]);
	unsigned all = PORTS * clients.sources;
	unsigned i =
		((at->port - PORT_FIRST) * clients.sources + offset + all - clients.first % all) %
		all;

	if (at->family != clients.source.family || at->port < PORT_FIRST ||
	    at->port >= PORT_FIRST + PORTS || offset >= clients.sources ||
	    memcmp(at->addr, clients.source.addr, last) != 0 || i >= clients.n)
		return NULL;
	return &clients.client[i];
}

static unsigned clients_in(enum state state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < clients.n; i++)
		n += clients.client[i].state == state;
	return n;
}

/* --- threads -----------------------------------------------------------------------------------
 */

struct threads {
	pthread_barrier_t barrier; /* for them alone */
	void (*work)(unsigned part);
	struct thread {
		struct threads *all;
		unsigned part;
		pthread_t id;
	} thread[CPUS_MAX];
};

/* Have this thread run on the CPU that is the @n-th of those that we may use. */
static void cpu_choose(unsigned n)
{
	cpu_set_t own;
	size_t cpu = 0;

	while (!CPU_ISSET(cpu, &cpus) || n-- > 0)
		cpu++;
	CPU_ZERO(&own);
	CPU_SET(cpu, &own);
	if (sched_setaffinity(0, sizeof(own), &own))
		die("sched_setaffinity");
}

static void *thread_run(void *arg)
{
	struct thread *thread = arg;

	cpu_choose(thread->part);
	pthread_barrier_wait(&thread->all->barrier);
	thread->all->work(thread->part);
	return NULL;
}

/* Start a thread on each CPU. They begin at the same moment. */
static void threads_start(struct threads *all, void (*work)(unsigned part))
{
	all->work = work;
	errno = pthread_barrier_init(&all->barrier, NULL, parts);
	if (errno)
		die("pthread_barrier_init");
	for (unsigned i = 0; i < parts; i++) {
		all->thread[i].all = all;
		all->thread[i].part = i;
		errno = pthread_create(&all->thread[i].id, NULL, thread_run, &all->thread[i]);
		if (errno)
			die("pthread_create");
	}
}

static void threads_wait(struct threads *all)
{
	for (unsigned i = 0; i < parts; i++)
		pthread_join(all->thread[i].id, NULL);
	pthread_barrier_destroy(&all->barrier);
}

static void on_each_cpu(void (*work)(unsigned part))
{
	struct threads all;

	threads_start(&all, work);
	threads_wait(&all);
}

/* --- clients that connect ----------------------------------------------------------------------
 */

static bool connect_held;

static void client_connect(unsigned i)
{
	struct sock_filter drop[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	const struct sock_fprog deaf = { .len = 1, .filter = drop };
	struct endpoint from = client_endpoint(i);
	socklen_t size, to_size;
	union sockaddrs as = sockaddrs(&from, &size), to = sockaddrs(&server, &to_size);
	int fd = socket(from.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, &as.any, size))
		die("bind client %u", i);
	if (connect_held && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &deaf, sizeof(deaf)))
		die("SO_ATTACH_FILTER");
	if (connect(fd, &to.any, to_size) && errno != EINPROGRESS && errno != ECONNREFUSED)
		die("connect");
	clients.client[i].fd = fd;
}

/* Wait until the kernel has connected a client, or says that it was refused. */
static void client_decide(struct client *client)
{
	struct pollfd ready = { .fd = client->fd, .events = POLLOUT };
	socklen_t size = sizeof(errno);
	int err;

	if (poll(&ready, 1, PATIENCE_MS) != 1) {
		errno = ETIMEDOUT;
		die("connect");
	}
	if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &err, &size))
		die("SO_ERROR");
	switch (err) {
	case 0:
		client->state = CLIENT_ANSWERED;
		break;
	case ECONNREFUSED:
		client->state = CLIENT_REFUSED;
		break;
	case ECONNRESET:
		client->state = CLIENT_RESET;
		break;
	default:
		errno = err;
		die("connect");
	}
}

static void connect_part(unsigned part)
{
	for (unsigned i = part; i < clients.n; i += parts)
		if (clients.client[i].state == CLIENT_NEW)
			client_connect(i);
}

/* Let the answers reach those who have called. */
static void release_part(unsigned part)
{
	for (unsigned i = part; i < clients.n; i += parts)
		if (clients.client[i].state == CLIENT_NEW &&
		    setsockopt(clients.client[i].fd, SOL_SOCKET, SO_DETACH_FILTER, &part,
			       sizeof(part)))
			die("SO_DETACH_FILTER");
}

static void decide_part(unsigned part)
{
	for (unsigned i = part; i < clients.n; i += parts)
		if (clients.client[i].state == CLIENT_NEW)
			client_decide(&clients.client[i]);
}

/* --- clients that are packets ------------------------------------------------------------------
 */

struct pseudo_header {
	uint8_t from[16], to[16]; /* of IPv4, the first 4 bytes, and the rest 0 */
	uint32_t protocol, size;  /* big endian */
};

struct packet {
	union {
		struct iphdr ip;
		struct ip6_hdr ip6;
	};
	struct tcphdr tcp;
};

/* Add big-endian words to the Internet's checksum. */
static uint32_t checksum_add(uint32_t sum, const void *data, size_t size)
{
	const uint8_t *at = data;

	for (size_t i = 0; i < size; i += 2)
		sum += (uint32_t)(at[i] << 8 | at[i + 1]);
	return sum;
}

static uint16_t checksum(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* Send a segment without data to the server. */
static void segment_send(const struct endpoint *from, uint32_t seq, bool is_ack, uint32_t ack)
{
	bool six = from->family == AF_INET6;
	struct tcphdr tcp = {
		.source = htons(from->port),
		.dest = htons(server.port),
		.seq = htonl(seq),
		.ack_seq = htonl(ack),
		.doff = sizeof(tcp) / 4,
		.syn = !is_ack,
		.ack = is_ack,
		.window = htons(65535),
	};
	struct pseudo_header pseudo = { .protocol = htonl(IPPROTO_TCP),
					.size = htonl(sizeof(tcp)) };
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(six ? ETH_P_IPV6 : ETH_P_IP),
		.sll_ifindex = loopback,
		.sll_halen = ETH_ALEN,
	};
	uint8_t buffer[sizeof(struct packet)];
	size_t size = six ? sizeof(struct ip6_hdr) : sizeof(struct iphdr);

	memcpy(pseudo.from, from->addr, address_size(from->family));
	memcpy(pseudo.to, server.addr, address_size(from->family));
	tcp.check =
		checksum(checksum_add(checksum_add(0, &pseudo, sizeof(pseudo)), &tcp, sizeof(tcp)));
	if (six) {
		struct ip6_hdr ip = { .ip6_flow = htonl(6U << 28),
				      .ip6_plen = htons(sizeof(tcp)),
				      .ip6_nxt = IPPROTO_TCP,
				      .ip6_hlim = 64 };

		memcpy(&ip.ip6_src, pseudo.from, 16);
		memcpy(&ip.ip6_dst, pseudo.to, 16);
		memcpy(buffer, &ip, size);
	} else {
		struct iphdr ip = { .version = 4,
				    .ihl = 5,
				    .tot_len = htons((uint16_t)(size + sizeof(tcp))),
				    .ttl = 64,
				    .protocol = IPPROTO_TCP };

		memcpy(&ip.saddr, pseudo.from, 4);
		memcpy(&ip.daddr, pseudo.to, 4);
		ip.check = checksum(checksum_add(0, &ip, size));
		memcpy(buffer, &ip, size);
	}
	memcpy(buffer + size, &tcp, sizeof(tcp));
	if (sendto(sender, buffer, size + sizeof(tcp), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("send packet");
}

/* A client's initial sequence number: any that it knows again. */
static uint32_t client_isn(unsigned i)
{
	return (clients.first + i) * 2654435761U;
}

static void syn_part(unsigned part)
{
	for (unsigned i = part; i < clients.n; i += parts) {
		struct endpoint from = client_endpoint(i);

		if (clients.client[i].state == CLIENT_NEW)
			segment_send(&from, client_isn(i), false, 0);
	}
}

static void ack_part(unsigned part)
{
	for (unsigned i = part; i < clients.n; i += parts) {
		struct endpoint from = client_endpoint(i);

		if (clients.client[i].state == CLIENT_ANSWERED)
			segment_send(&from, client_isn(i) + 1, true, clients.client[i].isn + 1);
	}
}

/* Receive packets of the server's port from now on, and none that came before. */
static void receiver_open(void)
{
	const uint32_t at =
		server.family == AF_INET6 ? sizeof(struct ip6_hdr) : sizeof(struct iphdr);
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, at),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, server.port, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, sizeof(struct packet)),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog filter = { .len = 4, .filter = code };
	const int bytes = RECEIVE_BYTES, on = 1;
	struct sockaddr_ll from = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(server.family == AF_INET6 ? ETH_P_IPV6 : ETH_P_IP),
		.sll_ifindex = loopback,
	};

	if (receiver >= 0)
		close(receiver);
	receiver = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (receiver < 0 ||
	    setsockopt(receiver, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) ||
	    setsockopt(receiver, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) ||
	    setsockopt(receiver, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) ||
	    bind(receiver, (struct sockaddr *)&from, sizeof(from)))
		die("packet socket");
}

/* Receive an answer to a SYN. Returns false if none comes. */
static bool answer_receive(void)
{
	struct pollfd ready = { .fd = receiver, .events = POLLIN };
	struct endpoint to = { .family = server.family };
	struct packet packet;
	struct tcphdr tcp;
	struct client *client;

	if (poll(&ready, 1, ANSWER_MS) != 1)
		return false;
	if (recv(receiver, &packet, sizeof(packet), 0) < 0)
		die("receive packet");
	if (to.family == AF_INET6) {
		tcp = packet.tcp;
		memcpy(to.addr, &packet.ip6.ip6_dst, 16);
	} else {
		memcpy(&tcp, &packet.ip + 1, sizeof(tcp));
		memcpy(to.addr, &packet.ip.daddr, 4);
	}
	to.port = ntohs(tcp.dest);
	client = client_at(&to);
	if (!client || client->state != CLIENT_NEW)
		return true;
	client->state = tcp.rst ? CLIENT_REFUSED : CLIENT_ANSWERED;
	client->isn = ntohl(tcp.seq);
	return true;
}

/* --- the flood ---------------------------------------------------------------------------------
 */

static struct {
	struct endpoint source;
	bool is_ack;
	unsigned most; /* packets of a CPU; 0: until `stop` */
	bool stop;
	bool runs;
	unsigned long sent;
	struct threads threads;
} flood;

static void flood_part(unsigned part)
{
	unsigned seed = part + 1, sent = 0;

	while ((!flood.most || sent < flood.most) &&
	       !__atomic_load_n(&flood.stop, __ATOMIC_RELAXED)) {
		struct endpoint from =
			endpoint_plus(&flood.source, (unsigned)rand_r(&seed) % FLOOD_SOURCES);

		from.port = (uint16_t)(PORT_FIRST + rand_r(&seed) % PORTS);
		segment_send(&from, (uint32_t)rand_r(&seed), flood.is_ack, (uint32_t)rand_r(&seed));
		sent++;
	}
	__atomic_add_fetch(&flood.sent, sent, __ATOMIC_RELAXED);
}

/* --- the server --------------------------------------------------------------------------------
 */

static void server_listen(const char *address, unsigned port, unsigned backlog, int in_group)
{
	const int on = 1;
	union sockaddrs as;
	socklen_t size;

	if (listener >= 0)
		close(listener);
	server = endpoint(address);
	server.port = (uint16_t)port;
	as = sockaddrs(&server, &size);
	listener = socket(server.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &in_group, sizeof(in_group)) ||
	    bind(listener, &as.any, size) || listen(listener, (int)backlog))
		die("listen");
	receiver_open();
}

/* Close a socket at once, with a RST. */
static void socket_reset(int *fd)
{
	const struct linger reset = { .l_onoff = 1 };

	if (*fd < 0)
		return;
	if (setsockopt(*fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) || close(*fd))
		die("close");
	*fd = -1;
}

static void server_accept(void)
{
	struct pollfd ready = { .fd = listener, .events = POLLIN };

	while (poll(&ready, 1, QUIET_MS) == 1) {
		union sockaddrs peer;
		socklen_t size = sizeof(peer);
		int fd = accept4(listener, &peer.any, &size, SOCK_CLOEXEC);
		struct endpoint at = { .family = peer.any.sa_family };
		struct client *client;

		if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED)
			die("accept");
		if (fd < 0)
			continue;
		if (at.family == AF_INET6) {
			memcpy(at.addr, &peer.in6.sin6_addr, 16);
			at.port = ntohs(peer.in6.sin6_port);
		} else {
			memcpy(at.addr, &peer.in.sin_addr, 4);
			at.port = ntohs(peer.in.sin_port);
		}
		client = client_at(&at);
		/* Its client has been closed while the connection waited here. */
		if (!client) {
			socket_reset(&fd);
			continue;
		}
		client->accepted = fd;
		client->state = CLIENT_IN;
	}
}

/* Close sessions: those that were opened last, as clients of all CPUs are among them. */
static void server_close(unsigned n)
{
	for (unsigned i = clients.n; i-- > 0 && n > 0;)
		if (clients.client[i].state == CLIENT_IN) {
			socket_reset(&clients.client[i].accepted);
			clients.client[i].state = CLIENT_REFUSED;
			n--;
		}
}

static void clients_add(unsigned n)
{
	if (clients.n + n > CLIENTS_MAX) {
		errno = EINVAL;
		die("clients");
	}
	for (unsigned i = clients.n; i < clients.n + n; i++)
		clients.client[i] = (struct client){ .fd = -1, .accepted = -1 };
	clients.n += n;
}

static void clients_replace(unsigned n, const char *address, unsigned sources)
{
	for (unsigned i = 0; i < clients.n; i++) {
		socket_reset(&clients.client[i].accepted);
		socket_reset(&clients.client[i].fd);
	}
	clients.first = sources == clients.sources ? clients.first + clients.n : 0;
	clients.source = endpoint(address);
	clients.sources = sources;
	clients.n = 0;
	clients_add(n);
}

/* --- orders ------------------------------------------------------------------------------------
 */

static bool is_order(char **words, int n, const char *verb, int least, int most)
{
	return strcmp(words[0], verb) == 0 && n > least && n <= most + 1;
}

/* Execute an order, and write the answer. Returns false if there is no such order. */
static bool obey(char **words, int n, FILE *to)
{
	if (is_order(words, n, "listen", 3, 4)) {
		server_listen(words[1], number(words[2]), number(words[3]), n == 5);
	} else if (is_order(words, n, "clients", 3, 3)) {
		clients_replace(number(words[1]), words[2], number(words[3]));
	} else if (is_order(words, n, "more", 1, 1)) {
		clients_add(number(words[1]));
	} else if (is_order(words, n, "connect", 0, 1)) {
		connect_held = n == 2;
		on_each_cpu(connect_part);
		if (connect_held)
			on_each_cpu(release_part);
		on_each_cpu(decide_part);
		fprintf(to, "connected %u refused %u reset %u\n", clients_in(CLIENT_ANSWERED),
			clients_in(CLIENT_REFUSED), clients_in(CLIENT_RESET));
	} else if (is_order(words, n, "syn", 0, 0)) {
		for (int i = 0; i < SYN_TRIES && clients_in(CLIENT_NEW); i++) {
			on_each_cpu(syn_part);
			while (clients_in(CLIENT_NEW) && answer_receive())
				;
		}
		fprintf(to, "answered %u refused %u\n", clients_in(CLIENT_ANSWERED),
			clients_in(CLIENT_REFUSED));
	} else if (is_order(words, n, "ack", 0, 0)) {
		on_each_cpu(ack_part);
	} else if (is_order(words, n, "accept", 0, 0)) {
		server_accept();
		fprintf(to, "%u\n", clients_in(CLIENT_IN));
	} else if (is_order(words, n, "close", 1, 1)) {
		server_close(number(words[1]));
		fprintf(to, "%u\n", clients_in(CLIENT_IN));
	} else if (is_order(words, n, "flood", 2, 3) && !flood.runs) {
		flood.source = endpoint(words[2]);
		flood.is_ack = strcmp(words[1], "ack") == 0;
		flood.most = n == 4 ? number(words[3]) / parts : 0;
		flood.stop = false;
		flood.sent = 0;
		threads_start(&flood.threads, flood_part);
		flood.runs = n == 3;
		if (n == 4)
			threads_wait(&flood.threads);
	} else if (is_order(words, n, "calm", 0, 0) && flood.runs) {
		__atomic_store_n(&flood.stop, true, __ATOMIC_RELAXED);
		threads_wait(&flood.threads);
		flood.runs = false;
		fprintf(to, "%lu\n", flood.sent);
	} else {
		return false;
	}
	return true;
}

/* Receive an order, whose words end with a NUL each, and answer it as `tell` expects. */
static void serve(int fd)
{
	char order[ORDER_MAX] = "", *words[WORDS_MAX], *answer = NULL;
	size_t got = 0, size = 0;
	FILE *to = open_memstream(&answer, &size);
	ssize_t more;
	int n = 0;

	while ((more = recv(fd, order + got, sizeof(order) - 1 - got, 0)) > 0)
		got += (size_t)more;
	for (char *at = order; at < order + got && n < WORDS_MAX; at += strlen(at) + 1)
		words[n++] = at;
	fputc('+', to);
	if (n == 0 || !obey(words, n, to)) {
		rewind(to);
		fprintf(to, "-rush: %s: no such order", n ? words[0] : "");
	}
	fclose(to);
	send(fd, answer, size, MSG_NOSIGNAL);
	free(answer);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct rlimit files = { FILES_MAX, FILES_MAX };
	const uint32_t mark = 1;
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc != 2 || strlen(argv[1]) >= sizeof(at.sun_path)) {
		fprintf(stderr, "usage: rush SOCKET\n");
		return 2;
	}
	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		die("sched_getaffinity");
	parts = (unsigned)CPU_COUNT(&cpus);
	if (parts > CPUS_MAX)
		parts = CPUS_MAX;
	loopback = (int)if_nametoindex("lo");
	sender = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sender < 0 || setsockopt(sender, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		die("packet socket");
	strcpy(at.sun_path, argv[1]);
	if (setrlimit(RLIMIT_NOFILE, &files) || bind(control, (struct sockaddr *)&at, sizeof(at)) ||
	    listen(control, 1))
		die("%s", argv[1]);
	for (;;) {
		int fd = accept4(control, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			die("accept an order");
		serve(fd);
	}
}
