// SPDX-License-Identifier: BSD-2-Clause
/*
 * policy_client.c - asks a policy service as Postfix's processes do: over several connections at a
 * time, with one request after the other on each.
 *
 * usage: policy_client ADDRESS CONNECTIONS [REQUESTS]
 *
 * ADDRESS is the path of a unix socket, or IPV4:PORT. The requests come from standard input,
 * each with an empty line at its end, and are sent unchanged; after the last comes the first
 * again. Ends after that many REQUESTS, or without REQUESTS on SIGTERM, and then waits for the
 * outstanding answers. Prints how many requests it sent, how many of them had no answer, the
 * median and the 99th percentile of the time that an answer took, and how many requests a second
 * it sent; then each different answer, and how often it came:
 *
 *	requests 20000 lost 0 median 41.3 us p99 120.1 us rate 21034
 *	      20000 action=DUNNO
 *
 * Exit status: 0, or 1 if a request had no answer or a malformed one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	REQUESTS_SIZE = 4 << 20,
	ANSWER_SIZE = 1024,
	ANSWERS = 16,      /* different ones */
	BUCKETS = 1000000, /* for times in steps of BUCKET_NS */
	BUCKET_NS = 100,
	WAIT_MS = 20000,
};

struct connection {
	int fd;
	uint64_t asked; /* when, ns */
	size_t received;
	char answer[ANSWER_SIZE];
};

static char requests[REQUESTS_SIZE + 1];
static const char *request = requests; /* the next */
static unsigned long asked, answered, wanted;
static unsigned times[BUCKETS];
static struct {
	char text[ANSWER_SIZE];
	unsigned long n;
} answers[ANSWERS];
static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "policy_client: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int dial(const char *address)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET };
	const char *colon = strrchr(address, ':');
	char host[INET_ADDRSTRLEN] = "";
	bool is_unix = strchr(address, '/');
	int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (is_unix) {
		strncpy(un.sun_path, address, sizeof(un.sun_path) - 1);
	} else if (colon && (size_t)(colon - address) < sizeof(host)) {
		memcpy(host, address, (size_t)(colon - address));
		in.sin_port = htons((uint16_t)atoi(colon + 1));
		inet_pton(AF_INET, host, &in.sin_addr);
	}
	if (connect(fd, is_unix ? (struct sockaddr *)&un : (struct sockaddr *)&in,
		    is_unix ? sizeof(un) : sizeof(in)))
		die(address);
	return fd;
}

/* Ask once more, unless it is enough. */
static void ask(struct connection *c)
{
	const char *end;

	if (stopped || (wanted && asked >= wanted))
		return;
	end = strstr(request, "\n\n") + 2;
	asked++;
	c->received = 0;
	c->asked = now();
	if (write(c->fd, request, (size_t)(end - request)) != end - request)
		die("write");
	request = *end ? end : requests;
}

static void tally(const char *answer)
{
	for (int i = 0; i < ANSWERS; i++) {
		if (!answers[i].n)
			strcpy(answers[i].text, answer);
		if (strcmp(answers[i].text, answer) == 0) {
			answers[i].n++;
			return;
		}
	}
	fprintf(stderr, "policy_client: more than %d different answers\n", ANSWERS);
	exit(1);
}

/* Read what is there of an answer. */
static void on_readable(struct connection *c)
{
	ssize_t n = read(c->fd, c->answer + c->received, ANSWER_SIZE - 1 - c->received);
	uint64_t bucket;

	if (n <= 0)
		die(n ? "read" : "disconnected");
	c->received += (size_t)n;
	c->answer[c->received] = '\0';
	if (c->received < 2 || strcmp(c->answer + c->received - 2, "\n\n"))
		return;
	if (strncmp(c->answer, "action=", 7) ||
	    strchr(c->answer, '\n') != c->answer + c->received - 2) {
		fprintf(stderr, "policy_client: not an answer: %s\n", c->answer);
		exit(1);
	}
	bucket = (now() - c->asked) / BUCKET_NS;
	times[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
	c->answer[c->received - 2] = '\0';
	tally(c->answer);
	answered++;
	ask(c);
}

/* The time within which that part of the requests was answered, in us. */
static double percentile(double part)
{
	unsigned long seen = 0;
	size_t i = 0;

	while (i < BUCKETS && (double)(seen += times[i]) < part * (double)answered)
		i++;
	return (double)i * BUCKET_NS / 1000;
}

static void report(uint64_t ns)
{
	printf("requests %lu lost %lu median %.1f us p99 %.1f us rate %.0f\n", asked,
	       asked - answered, percentile(0.5), percentile(0.99),
	       (double)answered * 1e9 / (double)ns);
	for (int i = 0; i < ANSWERS && answers[i].n; i++)
		printf("%11lu %s\n", answers[i].n, answers[i].text);
}

int main(int argc, char **argv)
{
	int poll = epoll_create1(EPOLL_CLOEXEC);
	struct connection *all;
	struct epoll_event event;
	struct sigaction action = { .sa_handler = stop };
	uint64_t start;
	size_t size;
	int n;

	if (argc < 3 || argc > 4 || atoi(argv[2]) < 1) {
		fprintf(stderr, "usage: policy_client ADDRESS CONNECTIONS [REQUESTS] <REQUEST\n");
		return 2;
	}
	n = atoi(argv[2]);
	wanted = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
	size = fread(requests, 1, REQUESTS_SIZE, stdin);
	if (size < 2 || strcmp(requests + size - 2, "\n\n")) {
		fprintf(stderr, "policy_client: no request on standard input\n");
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	all = calloc((size_t)n, sizeof(*all));
	for (int i = 0; i < n; i++) {
		all[i].fd = dial(argv[1]);
		event = (struct epoll_event){ .events = EPOLLIN, .data.ptr = &all[i] };
		if (epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event))
			die("epoll_ctl");
	}

	start = now();
	for (int i = 0; i < n; i++)
		ask(&all[i]);
	while (answered < asked) {
		int ready = epoll_wait(poll, &event, 1, WAIT_MS);

		if (ready > 0)
			on_readable(event.data.ptr);
		else if (ready == 0 || errno != EINTR)
			break;
	}
	report(now() - start);
	return answered < asked;
}
