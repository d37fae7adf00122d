/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * churn.c - open and close TCP connections as fast as the machine allows.
 *
 * Half of the processes connect, half accept. Each holds some sessions for a while and ends
 * them in every way: either side closes first, either side resets, or the process is killed
 * with its sessions open, and another takes its place. In turns they hold many sessions and
 * almost none: only then do counts return to 0 and rise again all the time, which is the
 * difficult part. At the end every socket is closed, the listener too.
 *
 * usage: churn --connections N --to ADDR:PORT --from-base ADDR [--procs N] [--addresses N]
 *              [--end mix|close|reset] [--seconds N] [--headers N] [--limited] [--in-turn]
 *
 * With --headers the clients are proxies: they begin most connections with a PROXY header of either
 * version, which names one of N clients of each family. Some headers are cut, wrong or missing, and
 * some come with the end of the handshake.
 *
 * Without --limited, a connection that is refused is a failure. With it, the client ends one of its
 * own in place of it.
 *
 * With --in-turn, each client has one session at a time, which the server ends at once: so there
 * are never more than half as many sessions as processes.
 *
 * Prints how many connections were opened, accepted and refused, how many processes were killed,
 * the most sessions that can have been open at once, and the most that the servers have had. (These
 * include sessions that the client has reset, or that end because a server is killed.)
 * Exit status 1 if it took longer than --seconds (120) or something failed. IPv4 only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
	PROCS_MAX = 64,
	HELD = 48, /* sessions a process holds */
	BACKLOG = 4096,
	PHASE = 1024,       /* connections until they begin, or cease, to hold sessions */
	IN_FLIGHT = 1024,   /* opened and not yet accepted: far from a full accept queue */
	IN_FLIGHT_BARE = 3, /* the same while none are held */
	KILL_EVERY = 1000,  /* connections of a process, on average, before it is killed */
	DRAIN_MS = 200,     /* the accept queue is empty if nothing comes for so long */
	YIELD_MS = 1,     /* the same, before a server of a listener with a limit ends a session */
	HEADER_MAX = 128, /* bytes of a PROXY header */
};

enum end { END_MIX, END_CLOSE, END_RESET };

/* What all processes share. */
struct shared {
	unsigned long opened;
	unsigned long accepted;
	unsigned long retried; /* connects that found no free port */
	unsigned long refused;
	long held; /* by servers */
	long peak; /* the most of these */
	int drain; /* no more clients: accept what is left and end */
};

static struct {
	unsigned long connections;
	struct sockaddr_in to;
	in_addr_t from; /* host byte order */
	unsigned addresses;
	int procs;
	int seconds;
	unsigned headers;
	int limited, in_turn;
	enum end end;
} options = { .addresses = 4, .procs = 8, .seconds = 120 };

static struct shared *shared;
static int listener = -1;
static int serving; /* whether this process accepts */

static void die(const char *format, ...)
{
	int err = errno;
	va_list args;

	va_start(args, format);
	fprintf(stderr, "churn: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, ": %s\n", strerror(err));
	va_end(args);
	exit(1);
}

/* xorshift: each process has its own sequence. */
static unsigned random_below(unsigned limit)
{
	static unsigned long long state;

	if (state == 0)
		state = (unsigned long long)getpid() * 0x9e3779b97f4a7c15ULL | 1;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state >> 33) % limit;
}

static void end_session(int fd)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	int by_reset = options.end == END_RESET || (options.end == END_MIX && random_below(2) == 0);

	if (by_reset && setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)))
		die("setsockopt SO_LINGER");
	if (serving)
		__atomic_add_fetch(&shared->held, -1, __ATOMIC_RELAXED);
	if (close(fd))
		die("close");
}

/* A server has one more session. */
static void count_held(void)
{
	long held = __atomic_add_fetch(&shared->held, 1, __ATOMIC_RELAXED);
	long peak = __atomic_load_n(&shared->peak, __ATOMIC_RELAXED);

	while (held > peak && !__atomic_compare_exchange_n(&shared->peak, &peak, held, 0,
							   __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* Whether sessions are to be held now. */
static int holding(void)
{
	return __atomic_load_n(&shared->accepted, __ATOMIC_RELAXED) / PHASE % 4 == 0;
}

static void end_all(int *held)
{
	for (int i = 0; i < HELD; i++) {
		if (held[i] >= 0)
			end_session(held[i]);
		held[i] = -1;
	}
}

/*
 * Hold a new session in place of another, chosen at random, and end that; some end at once.
 * Now and then, end by SIGKILL with everything open.
 */
static void hold(int *held, int fd)
{
	unsigned place = random_below(HELD);

	if (options.end == END_MIX && random_below(KILL_EVERY) == 0)
		raise(SIGKILL);
	if (options.in_turn) {
		end_session(fd);
		return;
	}
	if (!holding()) {
		end_session(fd);
		end_all(held);
		return;
	}
	if (random_below(2) == 0) {
		end_session(fd);
		return;
	}
	if (held[place] >= 0)
		end_session(held[place]);
	held[place] = fd;
}

/* A connection was refused: end another one, if there is one in a place chosen at random. */
static void end_one(int *held)
{
	unsigned place = random_below(HELD);

	if (held[place] >= 0)
		end_session(held[place]);
	held[place] = -1;
}

static void none_held(int *held)
{
	for (int i = 0; i < HELD; i++)
		held[i] = -1;
}

/* Make a PROXY header of a random version, which names a random client. Returns its length. */
static size_t header_make(char *header)
{
	unsigned char binary[52] = "\r\n\r\n\0\r\nQUIT\n\x21";
	unsigned client = random_below(options.headers), ipv6 = random_below(2);
	size_t size = ipv6 ? 52 : 28;

	if (random_below(2) == 0)
		return (size_t)snprintf(header, HEADER_MAX,
					ipv6 ? "PROXY TCP6 2001:db8:f::%x 2001:db8::25 40000 25\r\n"
					     : "PROXY TCP4 198.51.%u.%u 192.0.2.1 40000 25\r\n",
					ipv6 ? client : client >> 8, client & 255);
	binary[13] = ipv6 ? 0x21 : 0x11;
	binary[15] = (unsigned char)(size - 16);
	memcpy(binary + 16, ipv6 ? "\x20\x01\x0d\xb8\0\x0f" : "\xc6\x33", ipv6 ? 6 : 2);
	binary[ipv6 ? 30 : 18] = (unsigned char)(client >> 8);
	binary[ipv6 ? 31 : 19] = (unsigned char)client;
	memcpy(header, binary, size);
	return size;
}

/* Begin a connection as a proxy. The peer may have closed or reset it. */
static void header_send(int fd)
{
	const int on = 1;
	char header[HEADER_MAX];
	size_t size = header_make(header), cut = random_below((unsigned)size);

	switch (random_below(8)) {
	case 0: /* none */
		break;
	case 1: /* a part */
		send(fd, header, cut, MSG_NOSIGNAL);
		break;
	case 2: /* both parts */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		send(fd, header, cut, MSG_NOSIGNAL);
		send(fd, header + cut, size - cut, MSG_NOSIGNAL);
		break;
	case 3: /* garbage, perhaps after a right beginning */
		header[cut] ^= 1;
		/* fall through */
	default:
		send(fd, header, size, MSG_NOSIGNAL);
	}
	/* If nothing was sent, end the handshake: the others wait until it is accepted. */
	setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

/* Wait until the server has ended a session. */
static void await_end(int fd)
{
	char byte;

	if (read(fd, &byte, 1) && errno != ECONNRESET)
		die("read");
}

/*
 * Returns a connected socket, or -1 where no port was free. A connection that is refused costs one
 * of those held.
 */
static int open_session(int *held)
{
	const int on = 1, off = 0;
	struct sockaddr_in from = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	from.sin_addr.s_addr = htonl(options.from + random_below(options.addresses));
	if (setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)))
		die("setsockopt IP_BIND_ADDRESS_NO_PORT");
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)))
		die("bind");
	/* The header comes with the ACK that ends the handshake. */
	if (options.headers && random_below(2) == 0 &&
	    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off)))
		die("setsockopt TCP_QUICKACK");
	if (connect(fd, (struct sockaddr *)&options.to, sizeof(options.to)) == 0) {
		if (options.headers)
			header_send(fd);
		return fd;
	}
	if (options.limited && errno == ECONNREFUSED) {
		__atomic_add_fetch(&shared->refused, 1, __ATOMIC_RELAXED);
		close(fd);
		end_one(held);
		return -1;
	}
	/* The other side may have accepted and reset it, or closed and reset it (EPIPE), before
	   connect(2) returned. */
	if (errno != EADDRNOTAVAIL && errno != ECONNRESET && errno != EPIPE)
		die("connect");
	__atomic_add_fetch(&shared->retried, 1, __ATOMIC_RELAXED);
	close(fd);
	return -1;
}

static void client(void)
{
	int held[HELD];

	none_held(held);
	close(listener);
	for (;;) {
		unsigned long accepted = __atomic_load_n(&shared->accepted, __ATOMIC_RELAXED);
		unsigned long opened = __atomic_load_n(&shared->opened, __ATOMIC_RELAXED);
		int fd;

		if (accepted >= options.connections)
			break;
		/*
		 * May both be of different moments, and so the difference be negative. Where
		 * connections are refused, it says nothing, and the accept queue is short.
		 */
		if (!options.limited && !options.in_turn &&
		    (long)(opened - accepted) > (holding() ? IN_FLIGHT : IN_FLIGHT_BARE)) {
			sched_yield();
			continue;
		}
		fd = open_session(held);
		if (fd < 0) {
			usleep(1000);
			continue;
		}
		__atomic_add_fetch(&shared->opened, 1, __ATOMIC_RELAXED);
		if (options.in_turn)
			await_end(fd);
		hold(held, fd);
	}
	end_all(held);
}

static void server(void)
{
	struct pollfd ready = { .fd = listener, .events = POLLIN };
	int held[HELD];

	serving = 1;
	none_held(held);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), drain;

		if (fd >= 0) {
			__atomic_add_fetch(&shared->accepted, 1, __ATOMIC_RELAXED);
			count_held();
			hold(held, fd);
			continue;
		}
		if (errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN)
			die("accept");
		drain = __atomic_load_n(&shared->drain, __ATOMIC_RELAXED);
		if (poll(&ready, 1, options.limited && !drain ? YIELD_MS : DRAIN_MS) > 0)
			continue;
		if (drain)
			break;
		/* Perhaps nobody gets in because of those that are held. */
		if (options.limited)
			end_one(held);
	}
	end_all(held);
}

/* Starts worker number @n: the even ones accept, the odd ones connect. */
static pid_t start(int n)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (n % 2)
		client();
	else
		server();
	exit(0);
}

/*
 * Keep the workers going: who was killed is replaced, who ended is done. The servers are
 * told to end once the clients have. Returns how many were killed.
 */
static unsigned long supervise(void)
{
	pid_t pids[PROCS_MAX] = { 0 };
	unsigned long killed = 0;
	int clients = options.procs / 2;
	int running = options.procs;

	for (int n = 0; n < options.procs; n++)
		pids[n] = start(n);
	while (running > 0) {
		int status, n = 0;
		pid_t pid = wait(&status);

		if (pid < 0 && errno == EINTR) {
			for (n = 0; n < options.procs; n++)
				if (pids[n] > 0)
					kill(pids[n], SIGKILL);
			fprintf(stderr, "churn: not done in %d s: %lu of %lu accepted\n",
				options.seconds, shared->accepted, options.connections);
			exit(1);
		}
		if (pid < 0)
			die("wait");
		while (n < options.procs && pids[n] != pid)
			n++;
		if (n == options.procs)
			continue;
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
			killed++;
			pids[n] = start(n);
			continue;
		}
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
			fprintf(stderr, "churn: a worker failed\n");
			exit(1);
		}
		pids[n] = 0;
		running--;
		if (n % 2 && --clients == 0)
			__atomic_store_n(&shared->drain, 1, __ATOMIC_RELAXED);
	}
	return killed;
}

/*
 * The most sessions open on the server's side at once: those in flight, to which each client
 * may add one at the same time, and those that the servers hold, or have just accepted. An
 * attempt that was reset before connect(2) returned was accepted, but not counted as opened.
 */
static unsigned long most_open(void)
{
	unsigned long pairs = (unsigned long)options.procs / 2;

	return IN_FLIGHT + 2 * pairs + pairs * (HELD + 1) + shared->retried;
}

/* It interrupts wait(2); or if that is not where we are, the next one will. */
static void on_alarm(int signal)
{
	(void)signal;
	alarm(1);
}

static unsigned long number(const char *text, unsigned long max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || end == text || value == 0 || value > max) {
		fprintf(stderr, "churn: '%s': not a number from 1 to %lu\n", text, max);
		exit(2);
	}
	return value;
}

static in_addr_t ipv4(const char *text)
{
	struct in_addr addr;

	if (inet_pton(AF_INET, text, &addr) != 1) {
		fprintf(stderr, "churn: '%s': not an IPv4 address\n", text);
		exit(2);
	}
	return ntohl(addr.s_addr);
}

static void set_to(char *text)
{
	char *colon = strrchr(text, ':');

	if (!colon) {
		fprintf(stderr, "churn: '%s': not ADDR:PORT\n", text);
		exit(2);
	}
	*colon = 0;
	options.to.sin_family = AF_INET;
	options.to.sin_addr.s_addr = htonl(ipv4(text));
	options.to.sin_port = htons((uint16_t)number(colon + 1, 65535));
}

static void set_end(const char *text)
{
	if (strcmp(text, "mix") == 0) {
		options.end = END_MIX;
	} else if (strcmp(text, "close") == 0) {
		options.end = END_CLOSE;
	} else if (strcmp(text, "reset") == 0) {
		options.end = END_RESET;
	} else {
		fprintf(stderr, "churn: '%s': not mix, close or reset\n", text);
		exit(2);
	}
}

static void parse(int argc, char **argv)
{
	static const struct option known[] = {
		{ "connections", required_argument, NULL, 'c' },
		{ "to", required_argument, NULL, 't' },
		{ "from-base", required_argument, NULL, 'f' },
		{ "procs", required_argument, NULL, 'p' },
		{ "addresses", required_argument, NULL, 'a' },
		{ "end", required_argument, NULL, 'e' },
		{ "seconds", required_argument, NULL, 's' },
		{ "headers", required_argument, NULL, 'h' },
		{ "limited", no_argument, &options.limited, 1 },
		{ "in-turn", no_argument, &options.in_turn, 1 },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 0:
			break;
		case 'c':
			options.connections = number(optarg, 1000000000);
			break;
		case 't':
			set_to(optarg);
			break;
		case 'f':
			options.from = ipv4(optarg);
			break;
		case 'p':
			options.procs = (int)number(optarg, PROCS_MAX);
			break;
		case 'a':
			options.addresses = (unsigned)number(optarg, 65536);
			break;
		case 'h':
			options.headers = (unsigned)number(optarg, 65536);
			break;
		case 'e':
			set_end(optarg);
			break;
		case 's':
			options.seconds = (int)number(optarg, 3600);
			break;
		default:
			exit(2);
		}
	}
	if (optind < argc || !options.connections || !options.to.sin_port || !options.from ||
	    options.procs % 2) {
		fprintf(stderr, "churn: --connections, --to and --from-base are needed, "
				"and --procs is even\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	const struct sigaction act = { .sa_handler = on_alarm };
	const int on = 1;
	struct timespec begin, end;
	unsigned long killed;

	parse(argc, argv);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		die("mmap");
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(listener, (struct sockaddr *)&options.to, sizeof(options.to)) ||
	    listen(listener, BACKLOG))
		die("listen");
	sigaction(SIGALRM, &act, NULL);
	alarm((unsigned)options.seconds);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	killed = supervise();
	clock_gettime(CLOCK_MONOTONIC, &end);
	close(listener);
	printf("opened=%lu accepted=%lu killed=%lu retried=%lu most=%lu refused=%lu peak=%ld "
	       "seconds=%.1f\n",
	       shared->opened, shared->accepted, killed, shared->retried, most_open(),
	       shared->refused, shared->peak,
	       (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
	return 0;
}
