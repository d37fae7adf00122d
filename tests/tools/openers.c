/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * openers.c - open many short connections, keep a log, and compare every window with it.
 *
 * Two processes connect, from addresses of both families of which some call much more often than
 * others, and reset each connection at once. Two others accept. The log has the window in which
 * each connection was opened, by CLOCK_BOOTTIME before and after connect(2). If these differ, the
 * connection may be in any window between; the processes pause at the end of a window, so that few
 * do.
 *
 * Then every network of every level that an address is in is asked about in every window, and
 * some networks of lengths between the levels. Meanwhile this process's clock stands still: no
 * window ends, however long that takes.
 *
 * usage: openers --dir DIR --port PORT --window SECONDS,WINDOWS --connections N --addresses N
 *                [--over WINDOWS] [--scan N]
 *
 * --over spreads the connections evenly over so many windows. --scan has N more addresses connect
 * once each, after the first half.
 *
 * Prints one line: `opened N straddled N asked N outside N unequal N inexact N heavy N`.
 * straddled: connections that may be in more than one window. outside: answers whose interval
 * does not contain the truth. unequal: answers that say they are exact, and are not. inexact:
 * answers that say so. heavy: of the 100 /24 with most connections, those whose count is more than
 * 1 % too small, or is too large.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conncount.h"

enum {
	CLIENTS = 2,
	WINDOWS_MAX = 32,
	GUARD_MS = 40, /* before the end of a window no connection begins */
	HEAVY = 100,
	BACKLOG = 4096,
};

#define LOG_IS_FULL "the log has room for %d windows, and the run took longer"

static struct {
	const char *dir;
	int port;
	struct conncount_window window;
	size_t connections, addresses, scan;
	uint32_t over;
} options;

/* An address, and in how many windows it called how often. `first` is the run's first window. */
struct caller {
	struct conncount_cidr addr;
	uint32_t sure[WINDOWS_MAX]; /* in this window */
	uint32_t may[WINDOWS_MAX];  /* in this window or another */
	uint32_t straddled;         /* connections that are in `may`, in two windows or more */
};

static struct caller *callers;  /* shared; those of the scan follow the others */
static uint32_t first;          /* number of the first window */
static struct timespec stopped; /* what the clock says from now on; 0: it goes */

static void __attribute__((format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	fputs("openers: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* The clock of this process, also of the library. */
int clock_gettime(clockid_t clock, struct timespec *ret)
{
	if (clock != CLOCK_BOOTTIME || !stopped.tv_sec)
		return (int)syscall(SYS_clock_gettime, clock, ret);
	*ret = stopped;
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint32_t window_at(uint64_t ms)
{
	return (uint32_t)(ms / 1000 / options.window.seconds);
}

static void sleep_ms(uint64_t ms)
{
	const struct timespec pause = { .tv_sec = (time_t)(ms / 1000),
					.tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&pause, NULL);
}

/* A number that looks random, the same in every run. */
static uint64_t mix(uint64_t n)
{
	n = (n + 1) * 0x9e3779b97f4a7c15;
	n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9;
	n = (n ^ n >> 27) * 0x94d049bb133111eb;
	return n ^ n >> 31;
}

/* --- addresses ------------------------------------------------------------------------------- */

/* Eight callers with neighbouring numbers are in one /24, or /64. */
static void name_caller(struct caller *caller, size_t number)
{
	uint64_t network = mix(number / 16), host = mix(number);
	unsigned char *addr = caller->addr.addr;

	if (number % 2) {
		caller->addr.family = CONNCOUNT_IPV6;
		caller->addr.prefixlen = 128;
		memcpy(addr, "\x20\x01\x0d\xb8", 4);
		memcpy(addr + 4, &network, 4);
		memcpy(addr + 8, &host, 8);
	} else {
		caller->addr.family = CONNCOUNT_IPV4;
		caller->addr.prefixlen = 32;
		addr[0] = 10;
		memcpy(addr + 1, &network, 2);
		addr[3] = (unsigned char)(1 + number % 16 + host % 14 * 16);
	}
}

/* Which caller connects next: the first ones much more often. */
static size_t choose(uint64_t n)
{
	double share = (double)(mix(n) >> 11) / (double)(1ULL << 53);

	return (size_t)(share * share * share * (double)options.addresses);
}

/* --- connections ----------------------------------------------------------------------------- */

static socklen_t socket_address(const struct conncount_cidr *addr, int port,
				struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *in = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	ret->ss_family = (sa_family_t)addr->family;
	if (addr->family == CONNCOUNT_IPV4) {
		memcpy(&in->sin_addr, addr->addr, sizeof(in->sin_addr));
		in->sin_port = htons((uint16_t)port);
		return sizeof(*in);
	}
	memcpy(&in6->sin6_addr, addr->addr, sizeof(in6->sin6_addr));
	in6->sin6_port = htons((uint16_t)port);
	return sizeof(*in6);
}

static int listen_on(int family)
{
	struct conncount_cidr any = { .family = family };
	struct sockaddr_storage address;
	socklen_t size = socket_address(&any, options.port, &address);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == CONNCOUNT_IPV6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) || listen(fd, BACKLOG))
		die("cannot listen on port %d: %s", options.port, strerror(errno));
	return fd;
}

static void serve(int listener)
{
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd >= 0)
			close(fd);
	}
}

/* Start a process that ends with this one. Returns true in it. */
static bool start(pid_t *ret_pid)
{
	pid_t parent = getpid();

	*ret_pid = fork();
	if (*ret_pid < 0)
		die("fork: %s", strerror(errno));
	if (*ret_pid)
		return false;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	return true;
}

/* Open a connection and reset it. */
static void connect_once(const struct conncount_cidr *from)
{
	const struct conncount_cidr to[] = {
		{ .family = CONNCOUNT_IPV4, .addr = { 192, 0, 2, 1 } },
		{ .family = CONNCOUNT_IPV6, .addr = { 0x20, 1, 0xd, 0xb8, 0xff, 0xff, [15] = 1 } },
	};
	bool ipv6 = from->family == CONNCOUNT_IPV6;
	const struct linger reset = { .l_onoff = 1 };
	struct sockaddr_storage address;
	socklen_t size = socket_address(from, 0, &address);
	int fd = socket(from->family, SOCK_STREAM, 0), one = 1;

	if (ipv6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one));
	setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size))
		die("cannot bind: %s", strerror(errno));
	size = socket_address(&to[ipv6], options.port, &address);
	if (connect(fd, (struct sockaddr *)&address, size))
		die("cannot connect: %s", strerror(errno));
	close(fd);
}

/* Wait until connection @n of @all is due, and until no window is about to end. */
static void wait_turn(size_t n, size_t all)
{
	uint64_t length = options.window.seconds * 1000ULL;
	uint32_t due = first + (uint32_t)((uint64_t)n * options.over / all);
	uint64_t now = now_ms();

	while (options.over && window_at(now) < due) {
		sleep_ms(due * length - now + 1);
		now = now_ms();
	}
	if (now % length > length - GUARD_MS)
		sleep_ms(length - now % length + 1);
}

/* Connect, and note the window in the log. */
static void call(size_t number)
{
	struct caller *caller = &callers[number];
	uint32_t before = window_at(now_ms()) - first, after;

	connect_once(&caller->addr);
	after = window_at(now_ms()) - first;
	if (after >= WINDOWS_MAX)
		die(LOG_IS_FULL, WINDOWS_MAX);
	if (before == after) {
		__atomic_fetch_add(&caller->sure[after], 1, __ATOMIC_RELAXED);
		return;
	}
	__atomic_fetch_add(&caller->straddled, 1, __ATOMIC_RELAXED);
	for (uint32_t w = before; w <= after; w++)
		__atomic_fetch_add(&caller->may[w], 1, __ATOMIC_RELAXED);
}

static void call_all(size_t client)
{
	size_t all = options.connections;

	for (size_t n = client; n < all; n += CLIENTS) {
		wait_turn(n, all);
		call(choose(n));
		if (options.scan && n / CLIENTS == all / 2 / CLIENTS)
			for (size_t i = client; i < options.scan; i += CLIENTS)
				call(options.addresses + i);
	}
}

static void connect_all(void)
{
	pid_t servers[2], clients[CLIENTS];
	const int families[] = { CONNCOUNT_IPV4, CONNCOUNT_IPV6 };
	int status;

	for (int i = 0; i < 2; i++) {
		int listener = listen_on(families[i]);

		if (start(&servers[i]))
			serve(listener);
		close(listener);
	}
	sleep_ms(options.window.seconds * 1000ULL - now_ms() % (options.window.seconds * 1000ULL));
	first = window_at(now_ms());
	for (size_t i = 0; i < CLIENTS; i++)
		if (start(&clients[i])) {
			call_all(i);
			_exit(0);
		}
	for (size_t i = 0; i < CLIENTS; i++)
		if (waitpid(clients[i], &status, 0) < 0 || status)
			die("a client failed");
	for (int i = 0; i < 2; i++) {
		kill(servers[i], SIGKILL);
		waitpid(servers[i], &status, 0);
	}
}

/* --- the comparison -------------------------------------------------------------------------- */

static struct {
	uint64_t opened, straddled, asked, outside, unequal, inexact, heavy;
} result;

/* What a network did, by window: between `least` and `most`. */
struct truth {
	struct conncount_cidr cidr;
	uint64_t least[WINDOWS_MAX], most[WINDOWS_MAX];
};

static int compare(const void *a, const void *b)
{
	const struct conncount_cidr *x = &((const struct caller *)a)->addr;
	const struct conncount_cidr *y = &((const struct caller *)b)->addr;

	return x->family != y->family ? x->family - y->family
				      : memcmp(x->addr, y->addr, sizeof(x->addr));
}

static void truth_add(struct truth *truth, const struct caller *caller)
{
	for (int i = 0; i < WINDOWS_MAX; i++) {
		truth->least[i] += caller->sure[i];
		truth->most[i] += caller->sure[i] + caller->may[i];
	}
}

/* The windows that can be asked about: those of the run, but for what is too long ago. */
static uint32_t oldest, latest;

/* Ask for the windows @from to @to of the run. */
static struct conncount_connections ask(struct conncount *cc, const struct conncount_cidr *cidr,
					uint32_t from, uint32_t to)
{
	struct conncount_window window = options.window;
	struct conncount_connections answer;
	int err;

	window.from = latest - to;
	window.to = latest - from;
	err = conncount_connections(cc, NULL, NULL, &window, cidr, &answer);
	if (err)
		die("conncount_connections: %s", strerror(-err));
	return answer;
}

static void judge(const struct conncount_connections *answer, uint64_t least, uint64_t most)
{
	result.asked++;
	if ((uint64_t)answer->least > most || (uint64_t)answer->most < least)
		result.outside++;
	if (!(answer->flags & CONNCOUNT_EXACT))
		result.inexact++;
	else if ((uint64_t)answer->count < least || (uint64_t)answer->count > most)
		result.unequal++;
}

static uint64_t sum(const uint64_t *of)
{
	uint64_t all = 0;

	for (uint32_t i = oldest; i <= latest; i++)
		all += of[i];
	return all;
}

/* The heaviest /24, largest first. */
static struct truth heavy[HEAVY + 1];

static void heavy_add(const struct truth *truth)
{
	int at = HEAVY;

	heavy[at] = *truth;
	while (at && sum(heavy[at].least) > sum(heavy[at - 1].least)) {
		struct truth swap = heavy[at];

		heavy[at] = heavy[at - 1];
		heavy[--at] = swap;
	}
}

static void check_network(struct conncount *cc, const struct truth *truth)
{
	struct conncount_connections answer;

	for (uint32_t i = oldest; i <= latest; i++) {
		answer = ask(cc, &truth->cidr, i, i);
		judge(&answer, truth->least[i], truth->most[i]);
	}
	if (truth->cidr.family == CONNCOUNT_IPV4 && truth->cidr.prefixlen == 24)
		heavy_add(truth);
}

/* All networks of one length. @callers is sorted. */
static void check_length(struct conncount *cc, int family, unsigned length, size_t n)
{
	struct truth truth = { .cidr = { .family = 0 } };

	for (size_t i = 0; i < n; i++) {
		struct conncount_cidr cidr = callers[i].addr;

		if (cidr.family != family)
			continue;
		conncount_cidr_mask(&cidr, length);
		if (memcmp(&cidr, &truth.cidr, sizeof(cidr))) {
			if (truth.cidr.family)
				check_network(cc, &truth);
			memset(&truth, 0, sizeof(truth));
			truth.cidr = cidr;
		}
		truth_add(&truth, &callers[i]);
	}
	if (truth.cidr.family)
		check_network(cc, &truth);
}

static void check_heavy(struct conncount *cc)
{
	for (int i = 0; i < HEAVY; i++) {
		uint64_t least = sum(heavy[i].least), most = sum(heavy[i].most);
		struct conncount_connections answer;

		if (!least)
			break;
		answer = ask(cc, &heavy[i].cidr, oldest, latest);
		if ((uint64_t)answer.count > most || (uint64_t)answer.count * 100 < least * 99)
			result.heavy++;
	}
}

static void stop_clock(void)
{
	clock_gettime(CLOCK_BOOTTIME, &stopped);
	latest = window_at(now_ms()) - first;
	if (latest >= WINDOWS_MAX)
		die(LOG_IS_FULL, WINDOWS_MAX);
	if (latest > options.window.windows)
		oldest = latest - options.window.windows;
}

static void check_all(struct conncount *cc)
{
	static const unsigned ipv4[] = { 0, 8, 16, 24, 32, 13, 23, 31 };
	static const unsigned ipv6[] = { 0, 8, 16, 24, 32, 40, 48, 56, 64, 128, 29, 44, 63 };
	size_t n = options.addresses + options.scan;

	qsort(callers, n, sizeof(*callers), compare);
	for (size_t i = 0; i < n; i++) {
		result.straddled += callers[i].straddled;
		result.opened += callers[i].straddled;
		for (int w = 0; w < WINDOWS_MAX; w++)
			result.opened += callers[i].sure[w];
	}
	for (size_t i = 0; i < sizeof(ipv4) / sizeof(*ipv4); i++)
		check_length(cc, CONNCOUNT_IPV4, ipv4[i], n);
	for (size_t i = 0; i < sizeof(ipv6) / sizeof(*ipv6); i++)
		check_length(cc, CONNCOUNT_IPV6, ipv6[i], n);
	check_heavy(cc);
}

/* --- all of it ------------------------------------------------------------------------------- */

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "port", required_argument, NULL, 'p' },
		{ "window", required_argument, NULL, 'w' },
		{ "connections", required_argument, NULL, 'c' },
		{ "addresses", required_argument, NULL, 'a' },
		{ "over", required_argument, NULL, 'o' },
		{ "scan", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (option) {
		case 'd':
			options.dir = optarg;
			break;
		case 'p':
			options.port = atoi(optarg);
			break;
		case 'w':
			if (conncount_window_parse(optarg, &options.window))
				die("--window %s: not SECONDS,WINDOWS", optarg);
			break;
		case 'c':
			options.connections = strtoul(optarg, NULL, 10);
			break;
		case 'a':
			options.addresses = strtoul(optarg, NULL, 10);
			break;
		case 'o':
			options.over = (uint32_t)atoi(optarg);
			break;
		case 's':
			options.scan = strtoul(optarg, NULL, 10);
			break;
		default:
			exit(2);
		}
	}
	if (!options.port || !options.window.seconds || !options.connections || !options.addresses)
		die("--port, --window, --connections and --addresses are needed");
}

int main(int argc, char **argv)
{
	struct conncount *cc;
	size_t n;
	int err;

	parse(argc, argv);
	n = options.addresses + options.scan;
	callers = mmap(NULL, n * sizeof(*callers), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (callers == MAP_FAILED)
		die("no memory");
	for (size_t i = 0; i < n; i++)
		name_caller(&callers[i], i);
	err = conncount_open(options.dir, &cc);
	if (err)
		die("%s: %s", options.dir, strerror(-err));
	connect_all();
	stop_clock();
	check_all(cc);
	conncount_close(cc);
	printf("opened %lu straddled %lu asked %lu outside %lu unequal %lu inexact %lu heavy %lu\n",
	       result.opened, result.straddled, result.asked, result.outside, result.unequal,
	       result.inexact, result.heavy);
	return 0;
}
