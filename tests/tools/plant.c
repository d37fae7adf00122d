/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * plant - write a count into the table, past the programs.
 *
 *	plant MAP COUNT ADDRESS BITS	of the first listener, for an IPv4 prefix. MAP is the pin of
 *					the counts
 */
#include <linux/types.h>

#include "abi.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	struct cc_count_key key = { .family = htons(CC_IPV4) };
	struct cc_count count;
	int map;

	if (argc != 5 || inet_pton(AF_INET, argv[3], key.addr) != 1) {
		fprintf(stderr, "usage: plant MAP COUNT ADDRESS BITS\n");
		return 2;
	}
	key.prefixlen = CC_COUNT_BITS_OWNER + atoi(argv[4]);
	count.word = CC_COUNT_ZERO(key.prefixlen) + atoi(argv[2]) * CC_COUNT_ONE;
	map = bpf_obj_get(argv[1]);
	if (map < 0 || bpf_map_update_elem(map, &key, &count, BPF_ANY))
		err(1, "plant: %s", argv[1]);
	return 0;
}
