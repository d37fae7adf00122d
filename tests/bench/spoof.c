// SPDX-License-Identifier: BSD-2-Clause
/*
 * spoof.c - measures what a packet from a forged address costs a server.
 *
 *	spoof [--cpu N] [--sources N] [--closed] syn|ack syn-ack|reset|none 4|6 PORT PACKETS
 *
 * Sends SYNs, or ACKs that belong to no connection, to a listening socket of its own. They enter by
 * the TUN device `outside`, which must exist, and to which the answers are routed. The kernel
 * handles each packet within the system call that enters it, so this process is charged for it.
 *
 *	--cpu N       stay on that CPU
 *	--sources N   use N random client addresses in turn (default 65000); with 1, that of
 *	              `live --sources 1`
 *	--closed      do not listen
 *
 * Prints how many nanoseconds of CPU time a packet takes, on average. It fails unless nearly every
 * packet gets the answer that is expected.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if_tun.h>

#include "connections.h"

/* The device keeps up to 500 answers that nobody has read. */
enum { BATCH = 200, PACKET_MAX = 128 };

#define DEVICE "outside"

static struct {
	unsigned long sources;
	int cpu, closed;
	uint8_t flags;  /* of the packets */
	uint8_t answer; /* its flags; 0: none */
	int family;
	uint16_t port;
	unsigned long packets;
} options = { .sources = 65000, .cpu = -1 };

struct packet {
	size_t size;
	uint8_t data[PACKET_MAX];
};

/* --- packets ------------------------------------------------------------------------------------
 */

/* The Internet checksum of an even number of bytes, added to @sum. */
static uint16_t checksum(const void *data, size_t size, uint32_t sum)
{
	for (size_t i = 0; i < size; i += 2) {
		uint16_t word;

		memcpy(&word, (const char *)data + i, sizeof(word));
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/*
 * Writes the IP header of a packet with @size bytes of TCP. Returns the sum of its addresses, for
 * the checksum of TCP.
 */
static uint32_t write_ip(struct packet *ret, const union address *from, const union address *to,
			 size_t size)
{
	struct ip6_hdr *ip6 = (void *)ret->data;
	struct iphdr *ip = (void *)ret->data;

	if (options.family == AF_INET) {
		*ip = (struct iphdr){
			.version = 4,
			.ihl = 5,
			.tot_len = htons((uint16_t)(sizeof(*ip) + size)),
			.ttl = 64,
			.protocol = IPPROTO_TCP,
			.saddr = from->in4.sin_addr.s_addr,
			.daddr = to->in4.sin_addr.s_addr,
		};
		ip->check = checksum(ip, sizeof(*ip), 0);
		ret->size = sizeof(*ip);
		return (uint16_t)~checksum(&ip->saddr, 8, 0);
	}
	*ip6 = (struct ip6_hdr){
		.ip6_flow = htonl(6U << 28),
		.ip6_plen = htons((uint16_t)size),
		.ip6_nxt = IPPROTO_TCP,
		.ip6_hlim = 64,
		.ip6_src = from->in6.sin6_addr,
		.ip6_dst = to->in6.sin6_addr,
	};
	ret->size = sizeof(*ip6);
	return (uint16_t)~checksum(&ip6->ip6_src, 32, 0);
}

/* Writes packet number @n: its port and its sequence numbers are in no pattern. */
static void write_packet(struct packet *ret, const union address *from, const union address *to,
			 unsigned long n)
{
	static const uint8_t mss[] = { 2, 4, 5, 180 };
	uint32_t number = (uint32_t)n * 2654435761U, sum;
	struct tcphdr tcp = {
		.th_sport = htons((uint16_t)(1024 + (number >> 8) % 60000)),
		.th_dport = to->in4.sin_port, /* in6's is there, too */
		.th_seq = htonl(number),
		.th_ack = options.flags & TH_ACK ? htonl(~number) : 0,
		.th_off = (sizeof(tcp) + sizeof(mss)) / 4,
		.th_flags = options.flags,
		.th_win = htons(65535),
	};
	uint8_t segment[sizeof(tcp) + sizeof(mss)];

	sum = write_ip(ret, from, to, sizeof(segment));
	sum += (uint32_t)htons(IPPROTO_TCP) + htons(sizeof(segment));
	memcpy(segment, &tcp, sizeof(tcp));
	memcpy(segment + sizeof(tcp), mss, sizeof(mss));
	tcp.th_sum = checksum(segment, sizeof(segment), sum);
	memcpy(segment, &tcp, sizeof(tcp));
	memcpy(ret->data + ret->size, segment, sizeof(segment));
	ret->size += sizeof(segment);
}

/* --- the device ---------------------------------------------------------------------------------
 */

/* The kernel sends nothing to a device before it has noticed that somebody has it open. */
static void wait_until_running(void)
{
	struct ifreq request = { .ifr_name = DEVICE };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	do {
		usleep(1000);
		if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request))
			err(1, DEVICE);
	} while (!(request.ifr_flags & IFF_RUNNING));
	close(fd);
}

static int open_device(void)
{
	struct ifreq request = { .ifr_name = DEVICE, .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
		err(1, "/dev/net/tun: " DEVICE);
	wait_until_running();
	return fd;
}

/* Whether a packet has the flags that the answer should have. */
static bool is_expected(const uint8_t *packet, size_t size)
{
	bool ipv4 = packet[0] >> 4 == 4;
	size_t at = ipv4 ? sizeof(struct iphdr) : sizeof(struct ip6_hdr);
	struct tcphdr tcp;

	if (size < at + sizeof(tcp) || packet[ipv4 ? 9 : 6] != IPPROTO_TCP)
		return false;
	memcpy(&tcp, packet + at, sizeof(tcp));
	return (tcp.th_flags & (TH_SYN | TH_RST)) == options.answer;
}

/* Reads all answers. Returns how many were as expected. */
static unsigned long read_answers(int device)
{
	unsigned long n = 0;
	uint8_t packet[2048];
	ssize_t size;

	while ((size = read(device, packet, sizeof(packet))) > 0)
		n += is_expected(packet, (size_t)size);
	if (errno != EAGAIN)
		err(1, DEVICE);
	return n;
}

/* --- what is measured --------------------------------------------------------------------------
 */

/* Nanoseconds of CPU time that it takes to have the packets enter. */
static double enter(int device, const struct packet *packets, unsigned long n)
{
	double start = cpu_ns();

	for (unsigned long i = 0; i < n; i++)
		if (write(device, packets[i].data, packets[i].size) < 0)
			err(1, DEVICE);
	return cpu_ns() - start;
}

/* The number of the address that packet number @n comes from: other ones in each run. */
static uint64_t source(unsigned long n)
{
	return options.sources == 1 ? 0 : (uint64_t)getpid() << 32 | n % options.sources;
}

static void measure(void)
{
	union address to = server_address(options.family, 1, options.port);
	unsigned long answers = 0;
	struct packet batch[BATCH];
	int device = open_device();
	double ns = 0;

	if (!options.closed)
		listen_at(&to);
	read_answers(device); /* what the kernel says by itself */
	for (unsigned long sent = 0; sent < options.packets; sent += BATCH) {
		for (unsigned long i = 0; i < BATCH; i++) {
			union address from = random_address(options.family, source(sent + i));

			write_packet(&batch[i], &from, &to, sent + i);
		}
		ns += enter(device, batch, BATCH);
		answers += read_answers(device);
	}
	if (options.answer && answers < options.packets - options.packets / 20)
		errx(1, "of %lu packets, only %lu got the expected answer", options.packets,
		     answers);
	printf("%.0f\n", ns / (double)options.packets);
}

/* --- the command line --------------------------------------------------------------------------
 */

static uint8_t parse_flags(const char *text)
{
	if (!strcmp(text, "syn"))
		return TH_SYN;
	if (!strcmp(text, "ack"))
		return TH_ACK;
	errx(2, "%s: neither syn nor ack", text);
}

static uint8_t parse_answer(const char *text)
{
	if (!strcmp(text, "syn-ack"))
		return TH_SYN;
	if (!strcmp(text, "reset"))
		return TH_RST;
	if (!strcmp(text, "none"))
		return 0;
	errx(2, "%s: not syn-ack, reset or none", text);
}

static void parse(int argc, char **argv)
{
	static const struct option known[] = {
		{ "sources", required_argument, NULL, 's' },
		{ "cpu", required_argument, NULL, 'p' },
		{ "closed", no_argument, &options.closed, 1 },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (option == 's')
			options.sources = strtoul(optarg, NULL, 10);
		else if (option == 'p')
			options.cpu = atoi(optarg);
		else if (option)
			exit(2);
	}
	if (optind + 5 != argc)
		errx(2, "usage: spoof [--cpu N] [--sources N] [--closed] syn|ack "
			"syn-ack|reset|none 4|6 PORT PACKETS");
	options.flags = parse_flags(argv[optind]);
	options.answer = parse_answer(argv[optind + 1]);
	options.family = strcmp(argv[optind + 2], "6") ? AF_INET : AF_INET6;
	options.port = (uint16_t)strtoul(argv[optind + 3], NULL, 10);
	options.packets = strtoul(argv[optind + 4], NULL, 10) / BATCH * BATCH;
	if (!options.sources || !options.port || !options.packets)
		errx(2, "sources and port are numbers from 1 on, packets from %d on", BATCH);
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	stay_on(options.cpu);
	measure();
	return 0;
}
