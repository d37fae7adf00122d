/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * instructions - what the BPF programs cost the kernel's verifier.
 *
 *	instructions OBJECT
 *
 * Loads a BPF object file, and prints a line for each program, `NAME INSTRUCTIONS STACK`.
 * INSTRUCTIONS is how many this kernel's verifier processed: it gives up at a million, and kernels
 * differ by orders of magnitude. STACK is the bytes of stack of the deepest chain of calls as
 * Linux 6.1 counts them, with a limit of 512. Later kernels count less.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <err.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>

/* A program with its functions, one after the other. */
struct code {
	const struct bpf_insn *insns;
	int n;
};

/* The first instruction of the function that one calls, or passes on to be called; or -1. */
static int called(const struct code *code, int i)
{
	const struct bpf_insn *insn = &code->insns[i];

	if ((insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_CALL) ||
	    (insn->code == (BPF_LD | BPF_IMM | BPF_DW) && insn->src_reg == BPF_PSEUDO_FUNC))
		return i + insn->imm + 1;
	return -1;
}

/* The instruction after the last of the function that begins at @first. */
static int function_end(const struct code *code, int first)
{
	int end = code->n;

	for (int i = 0; i < code->n; i++) {
		int target = called(code, i);

		if (target > first && target < end)
			end = target;
	}
	return end;
}

/* How far below the frame an instruction reaches; 0 if it does not. */
static int reach(const struct code *code, int i)
{
	const struct bpf_insn *insn = &code->insns[i];
	int class = BPF_CLASS(insn->code);
	bool is_copied = i && insn[-1].code == (BPF_ALU64 | BPF_MOV | BPF_X) &&
			 insn[-1].src_reg == BPF_REG_10 && insn[-1].dst_reg == insn->dst_reg;

	if ((class == BPF_LDX && insn->src_reg == BPF_REG_10) ||
	    ((class == BPF_ST || class == BPF_STX) && insn->dst_reg == BPF_REG_10))
		return -insn->off;
	if (insn->code == (BPF_ALU64 | BPF_ADD | BPF_K) && is_copied)
		return -insn->imm;
	return 0;
}

/*
 * The stack of a function and what it calls. Each frame is rounded up to 32 bytes, and none is
 * empty: check_max_stack_depth() in the kernel's verifier.c.
 */
static int stack_of(const struct code *code, int first)
{
	int end = function_end(code, first), frame = 1, deepest = 0;

	for (int i = first; i < end; i++) {
		int target = called(code, i), depth = reach(code, i);
		int below = target < 0 ? 0 : stack_of(code, target);

		if (depth > frame)
			frame = depth;
		if (below > deepest)
			deepest = below;
	}
	return (frame + 31) / 32 * 32 + deepest;
}

int main(int argc, char **argv)
{
	struct bpf_program *prog;
	struct bpf_object *object;

	if (argc != 2) {
		fprintf(stderr, "usage: instructions OBJECT\n");
		return 2;
	}
	object = bpf_object__open(argv[1]);
	if (!object)
		err(1, "instructions: %s", argv[1]);
	if (bpf_object__load(object))
		err(1, "instructions: %s: cannot be loaded", argv[1]);
	bpf_object__for_each_program(prog, object) {
		struct code code = {
			.insns = bpf_program__insns(prog),
			.n = (int)bpf_program__insn_cnt(prog),
		};
		struct bpf_prog_info info = { 0 };
		__u32 size = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &size))
			err(1, "instructions: %s", bpf_program__name(prog));
		printf("%s %u %d\n", bpf_program__name(prog), info.verified_insns,
		       stack_of(&code, 0));
	}
	bpf_object__close(object);
	return 0;
}
