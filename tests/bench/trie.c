// SPDX-License-Identifier: BSD-2-Clause
/*
 * trie.c - measures what each operation on the table of counts costs in the kernel, level by level.
 *
 *	trie 4|6 SESSIONS
 *
 * Fills a table as that many sessions from random addresses would, and has the kernel run each
 * operation on it many times (BPF_PROG_TEST_RUN). Prints for each stored level
 *
 *	LENGTH NODES NEW ADD PAIR
 *
 * NODES: how many nodes of that prefix length the table has. NEW: how many of 100 more sessions
 * would add a node. ADD: nanoseconds to add to an existing node. PAIR: nanoseconds to insert a new
 * node and delete it. `-` if there is no node to try that with.
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "abi.h"
#include "conncount.h"
#include "connections.h"
#include "trie.h"
#include "trie.skel.h"

#define LENGTH(length) length,
static const unsigned levels_ipv4[] = { CC_LEVELS_IPV4(LENGTH) 0 };
static const unsigned levels_ipv6[] = { CC_LEVELS_IPV6(LENGTH) 0 };

enum { ROUNDS = 31, PER_ROUND = 2000, TRIES = 100000 };

static struct trie_bpf *trie;
static int family;
static unsigned long sessions;

static struct cc_count_key key_of(unsigned long session, unsigned length)
{
	union address from = random_address(family, session);
	struct conncount_cidr cidr;
	struct cc_count_key key = {
		.prefixlen = CC_COUNT_BITS_OWNER + length,
		.family = htons(family == AF_INET ? CC_IPV4 : CC_IPV6),
	};

	conncount_cidr_of(&from.sa, &cidr);
	conncount_cidr_mask(&cidr, length);
	memcpy(key.addr, cidr.addr, sizeof(key.addr));
	return key;
}

/* Returns how many nodes there are then. */
static unsigned long fill(unsigned length)
{
	unsigned long nodes = 0;

	for (unsigned long i = 0; i < sessions; i++) {
		struct cc_count_key key = key_of(i, length);
		struct cc_count node = { .word = CC_COUNT_ZERO(key.prefixlen) + CC_COUNT_ONE };

		nodes += !bpf_map_update_elem(bpf_map__fd(trie->maps.table), &key, &node,
					      BPF_NOEXIST);
	}
	return nodes;
}

static bool has_node(const struct cc_count_key *key)
{
	struct cc_count node;

	return !bpf_map_lookup_elem(bpf_map__fd(trie->maps.table), key, &node) &&
	       CC_COUNT_LENGTH(node.word) == key->prefixlen;
}

/*
 * Choose keys of one level: of nodes that are there, or of addresses that have none.
 * Returns the share of the addresses tried that would do.
 */
static double choose(unsigned length, bool there)
{
	unsigned long first = there ? 0 : sessions, tries = there ? sessions : TRIES, tried = 0;
	__u32 n = 0;

	for (; tried < tries && n < TRIE_KEYS; tried++) {
		struct cc_count_key key = key_of(first + tried, length);

		if (has_node(&key) != there)
			continue;
		if (bpf_map_update_elem(bpf_map__fd(trie->maps.keys), &n, &key, BPF_ANY))
			err(1, "keys");
		n++;
	}
	trie->bss->n_keys = n;
	return tried ? (double)n / (double)tried : 0;
}

static int by_value(const void *a, const void *b)
{
	__u32 x = *(const __u32 *)a, y = *(const __u32 *)b;

	return (x > y) - (x < y);
}

/* The median over all rounds, of the nanoseconds that the kernel says a run takes. */
static double time_runs(enum trie_work work)
{
	char packet[64] = "";
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = PER_ROUND);
	__u32 ns[ROUNDS];

	trie->bss->work = work;
	for (int i = 0; i < ROUNDS; i++) {
		if (bpf_prog_test_run_opts(bpf_program__fd(trie->progs.trie_run), &opts))
			err(1, "BPF_PROG_TEST_RUN");
		ns[i] = opts.duration;
	}
	if (trie->bss->failed)
		errx(1, "%llu operations failed", trie->bss->failed);
	qsort(ns, ROUNDS, sizeof(*ns), by_value);
	return ns[ROUNDS / 2];
}

/* Print what an operation takes beyond choosing a key. */
static void print_time(enum trie_work work)
{
	if (!trie->bss->n_keys)
		printf(" -");
	else
		printf(" %.0f", time_runs(work) - time_runs(TRIE_NOTHING));
}

static void measure(unsigned length, unsigned long nodes)
{
	double share = choose(length, false);

	printf("%u %lu %.0f", length, nodes, share * 100);
	choose(length, true);
	print_time(TRIE_ADD);
	choose(length, false);
	print_time(TRIE_PAIR);
	putchar('\n');
}

int main(int argc, char **argv)
{
	const unsigned *levels;
	unsigned long nodes[sizeof(levels_ipv6) / sizeof(*levels_ipv6)];

	if (argc != 3)
		errx(2, "usage: trie 4|6 SESSIONS");
	family = strcmp(argv[1], "6") ? AF_INET : AF_INET6;
	sessions = strtoul(argv[2], NULL, 10);
	levels = family == AF_INET ? levels_ipv4 : levels_ipv6;
	trie = trie_bpf__open_and_load();
	if (!trie)
		err(1, "trie.bpf.o cannot be loaded");
	for (int i = 0; levels[i]; i++)
		nodes[i] = fill(levels[i]);
	for (int i = 0; levels[i]; i++)
		measure(levels[i], nodes[i]);
	trie_bpf__destroy(trie);
	return 0;
}
