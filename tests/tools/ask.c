// SPDX-License-Identifier: BSD-2-Clause
/*
 * ask - what a query costs, in the time of one look-up in a BPF map: for tests/bench.
 *
 *	ask CIDR...
 *
 * Asks the service SMTP of the instance $CONNCOUNT_DIR for each network in turn, and looks up
 * a key in a map of its own in between, so that whatever else the machine does slows both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#include "conncount.h"

enum { ROUNDS = 200, PER_ROUND = 500 };

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static double time_lookups(int fd)
{
	double start = now();

	for (int i = 0; i < PER_ROUND; i++) {
		__u64 value;
		__u32 key = 0;

		if (bpf_map_lookup_elem(fd, &key, &value))
			abort();
	}
	return now() - start;
}

static double time_queries(struct conncount *cc, const struct conncount_cidr *cidr)
{
	double start = now();

	for (int i = 0; i < PER_ROUND; i++) {
		struct conncount_answer answer;

		if (conncount_count_service(cc, NULL, cidr, &answer))
			abort();
	}
	return now() - start;
}

int main(int argc, char **argv)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ask", sizeof(__u32), sizeof(__u64), 1, NULL);
	struct conncount *cc;
	const char *why;

	if (fd < 0 || conncount_open(NULL, &cc)) {
		fprintf(stderr, "ask: nothing is loaded, or not run as root\n");
		return 1;
	}
	for (int i = 1; i < argc; i++) {
		struct conncount_cidr cidr;
		double lookups = 0, queries = 0;

		if (conncount_cidr_parse(argv[i], NULL, &cidr, &why)) {
			fprintf(stderr, "ask: '%s': %s\n", argv[i], why);
			return 2;
		}
		for (int round = 0; round < ROUNDS; round++) {
			lookups += time_lookups(fd);
			queries += time_queries(cc, &cidr);
		}
		printf("%-24s %6.1f look-ups  (%.2f us)\n", argv[i], queries / lookups,
		       queries / ROUNDS / PER_ROUND * 1e6);
	}
	conncount_close(cc);
	return 0;
}
