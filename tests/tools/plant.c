/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * plant - write a count into the table, past the programs.
 *
 *	plant MAP COUNT ADDRESS BITS	of the first listener, for an IPv4 prefix. MAP is the pin of
 *					the counts
 *
 * By a program of its own: the table is frozen, so no process can write to it.
 */
#include <linux/types.h>

#include "abi.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <err.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY = -40, VALUE = -8 }; /* on the program's stack */

/* *(u32 *)(r10 + off) = imm */
static struct bpf_insn store(short off, unsigned imm)
{
	return (struct bpf_insn){
		.code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = BPF_REG_10, .off = off, .imm = (int)imm
	};
}

/* reg = imm */
static struct bpf_insn set(unsigned char reg, int imm)
{
	return (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = reg, .imm = imm };
}

/* reg = r10 + off; of two instructions, the second */
static struct bpf_insn add(unsigned char reg, int off)
{
	return (struct bpf_insn){ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = reg, .imm = off };
}

static struct bpf_insn copy(unsigned char reg)
{
	return (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_X,
				  .dst_reg = reg,
				  .src_reg = BPF_REG_10 };
}

/* A program that writes the one entry and returns what the kernel says. */
static int load_writer(int map, const struct cc_count_key *key, const struct cc_count *count)
{
	struct bpf_insn code[32];
	unsigned words[sizeof(*key) / 4 + sizeof(*count) / 4];
	size_t n = 0, in_key = sizeof(*key) / 4;

	memcpy(words, key, sizeof(*key));
	memcpy(words + in_key, count, sizeof(*count));
	for (size_t i = 0; i < sizeof(words) / 4; i++)
		code[n++] = store(
			(short)(i < in_key ? KEY + 4 * (int)i : VALUE + 4 * (int)(i - in_key)),
			words[i]);
	code[n++] = (struct bpf_insn){ .code = BPF_LD | BPF_DW | BPF_IMM,
				       .dst_reg = BPF_REG_1,
				       .src_reg = BPF_PSEUDO_MAP_FD,
				       .imm = map };
	code[n++] = (struct bpf_insn){ .code = 0 };
	code[n++] = copy(BPF_REG_2);
	code[n++] = add(BPF_REG_2, KEY);
	code[n++] = copy(BPF_REG_3);
	code[n++] = add(BPF_REG_3, VALUE);
	code[n++] = set(BPF_REG_4, BPF_ANY);
	code[n++] =
		(struct bpf_insn){ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_update_elem };
	code[n++] = (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT };
	return bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "plant", "GPL", code, n, NULL);
}

int main(int argc, char **argv)
{
	struct cc_count_key key = { .family = htons(CC_IPV4) };
	char packet[64] = "";
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet, .data_size_in = sizeof(packet));
	struct cc_count count;
	int map, writer;

	if (argc != 5 || inet_pton(AF_INET, argv[3], key.addr) != 1) {
		fprintf(stderr, "usage: plant MAP COUNT ADDRESS BITS\n");
		return 2;
	}
	key.prefixlen = CC_COUNT_BITS_OWNER + atoi(argv[4]);
	count.word = CC_COUNT_ZERO(key.prefixlen) + atoi(argv[2]) * CC_COUNT_ONE;
	map = bpf_obj_get(argv[1]);
	if (map < 0)
		err(1, "plant: %s", argv[1]);
	writer = load_writer(map, &key, &count);
	if (writer < 0 || bpf_prog_test_run_opts(writer, &run) || run.retval)
		err(1, "plant: %s: %d", argv[1], (int)run.retval);
	return 0;
}
