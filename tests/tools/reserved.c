/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reserved - print the places that are reserved in networks.
 *
 *	reserved DIR	DIR has the pins of an instance
 *
 * Prints `nodes N slots N`: places in nodes of the table, which are 0 or more in each, and CPUs
 *that hold a place. Fails if a node has as many as can only be a mistake.
 */
#include <linux/types.h>

#include "abi.h"

#include <bpf/bpf.h>
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Returns the descriptor of a pinned map, and how many entries it can have. */
static int map_open(const char *dir, const char *name, __u32 *ret_entries)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size))
		err(1, "reserved: %s", path);
	*ret_entries = info.max_entries;
	return fd;
}

/* The places in all nodes. */
static unsigned long nodes_reserved(const char *dir, unsigned most)
{
	struct cc_count_key key, *at = NULL;
	struct cc_count node;
	unsigned long sum = 0;
	__u32 entries;
	int map = map_open(dir, CC_PIN_COUNTS, &entries);

	while (bpf_map_get_next_key(map, at, &key) == 0) {
		at = &key;
		if (bpf_map_lookup_elem(map, &key, &node))
			continue; /* deleted meanwhile */
		if (CC_COUNT_PLACES(node.word) > most)
			errx(1, "reserved: a node has %u places", CC_COUNT_PLACES(node.word));
		if (CC_COUNT_LENGTH(node.word) == key.prefixlen)
			sum += CC_COUNT_PLACES(node.word);
	}
	if (errno != ENOENT)
		err(1, "reserved: " CC_PIN_COUNTS);
	return sum;
}

static unsigned slots_taken(const char *dir, unsigned *ret_cpus)
{
	int map = map_open(dir, CC_PIN_PLACES, ret_cpus);
	unsigned taken = 0;

	for (__u32 cpu = 0; cpu < *ret_cpus; cpu++) {
		struct cc_place place;

		if (bpf_map_lookup_elem(map, &cpu, &place))
			err(1, "reserved: " CC_PIN_PLACES);
		taken += (place.turn & (CC_PLACE_ONE_TURN - 1)) != CC_PLACE_FREE;
	}
	return taken;
}

static unsigned long long all_refused(const char *dir)
{
	__u32 listeners;
	int map = map_open(dir, CC_PIN_REFUSALS, &listeners);
	unsigned long long sum = 0;

	for (__u32 id = 0; id < listeners; id++) {
		struct cc_refusals refusals;

		if (bpf_map_lookup_elem(map, &id, &refusals))
			err(1, "reserved: " CC_PIN_REFUSALS);
		for (int i = 0; i < CC_LIMITS_MAX; i++)
			sum += refusals.limit[i].refused;
	}
	return sum;
}

int main(int argc, char **argv)
{
	unsigned slots, cpus;

	if (argc != 2) {
		fprintf(stderr, "usage: reserved DIR\n");
		return 2;
	}
	slots = slots_taken(argv[1], &cpus);
	printf("nodes %lu slots %u refused %llu\n", nodes_reserved(argv[1], cpus), slots,
	       all_refused(argv[1]));
	return 0;
}
