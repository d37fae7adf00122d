/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * plant - write counts into the table, without conncount's programs.
 *
 *	plant MAP COUNT ADDRESS BITS	set the count of a network on the first listener. MAP is
 *					the pin of the counts
 *	plant MAP			the same for each line of stdin: COUNT ADDRESS BITS
 *
 * COUNT can end in d: then the node is DEAD, as while a program deletes it.
 *
 * It writes by a BPF program of its own: the table is frozen, so no process can write to it.
 */
#include <linux/types.h>

#include "abi.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <err.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the program is given, behind the header of a packet; and has on its stack. */
struct entry {
	struct cc_count_key key;
	__u32 zero;
	struct cc_count count;
};

enum { STACK = -(int)sizeof(struct entry), COUNT = -(int)sizeof(struct cc_count) };

static struct bpf_insn set(unsigned char reg, int imm)
{
	return (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = reg, .imm = imm };
}

static struct bpf_insn add(unsigned char reg, int imm)
{
	return (struct bpf_insn){ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = reg, .imm = imm };
}

static struct bpf_insn copy_stack(unsigned char reg)
{
	return (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_X,
				  .dst_reg = reg,
				  .src_reg = BPF_REG_10 };
}

static struct bpf_insn call(int helper)
{
	return (struct bpf_insn){ .code = BPF_JMP | BPF_CALL, .imm = helper };
}

/* A program that writes the entry in a packet, and returns what the kernel says. */
static int load_writer(int map)
{
	const struct bpf_insn code[] = {
		set(BPF_REG_2, ETH_HLEN),
		copy_stack(BPF_REG_3),
		add(BPF_REG_3, STACK),
		set(BPF_REG_4, sizeof(struct entry)),
		call(BPF_FUNC_skb_load_bytes),
		{ .code = BPF_LD | BPF_DW | BPF_IMM,
		  .dst_reg = BPF_REG_1,
		  .src_reg = BPF_PSEUDO_MAP_FD,
		  .imm = map },
		{ .code = 0 },
		copy_stack(BPF_REG_2),
		add(BPF_REG_2, STACK),
		copy_stack(BPF_REG_3),
		add(BPF_REG_3, COUNT),
		set(BPF_REG_4, BPF_ANY),
		call(BPF_FUNC_map_update_elem),
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "plant", "GPL", code,
			     sizeof(code) / sizeof(*code), NULL);
}

static void plant(int writer, const char *count, const char *address, const char *bits)
{
	char packet[ETH_HLEN + sizeof(struct entry)] = "";
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet, .data_size_in = sizeof(packet));
	int family = strchr(address, ':') ? AF_INET6 : AF_INET;
	struct entry entry = {
		.key = {
			.prefixlen = CC_COUNT_BITS_OWNER + (__u32)atoi(bits),
			.family = htons((__u16)family),
		},
	};

	if (inet_pton(family, address, entry.key.addr) != 1)
		errx(2, "plant: '%s' is no address", address);
	entry.count.word = CC_COUNT_ZERO(entry.key.prefixlen) + atoll(count) * CC_COUNT_ONE;
	if (strchr(count, 'd'))
		entry.count.word |= CC_COUNT_DEAD;
	memcpy(packet + ETH_HLEN, &entry, sizeof(entry));
	if (bpf_prog_test_run_opts(writer, &run) || run.retval)
		err(1, "plant: %s/%s: %d", address, bits, (int)run.retval);
}

int main(int argc, char **argv)
{
	char count[32], address[64], bits[8];
	int map, writer;

	if (argc != 2 && argc != 5) {
		fprintf(stderr, "usage: plant MAP [COUNT ADDRESS BITS]\n");
		return 2;
	}
	map = bpf_obj_get(argv[1]);
	writer = map < 0 ? map : load_writer(map);
	if (writer < 0)
		err(1, "plant: %s", argv[1]);
	if (argc == 5)
		plant(writer, argv[2], argv[3], argv[4]);
	while (argc == 2 && scanf("%31s %63s %7s", count, address, bits) == 3)
		plant(writer, count, address, bits);
	return 0;
}
