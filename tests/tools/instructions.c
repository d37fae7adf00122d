/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * instructions - how many instructions this kernel's verifier processed for each program.
 *
 *	instructions OBJECT
 *
 * Loads a BPF object file, and prints a line for each program, `NAME INSTRUCTIONS`. The verifier
 * gives up at a million, and what it needs differs between kernels by orders of magnitude.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <err.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>

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
		struct bpf_prog_info info = { 0 };
		__u32 size = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &size))
			err(1, "instructions: %s", bpf_program__name(prog));
		printf("%s %u\n", bpf_program__name(prog), info.verified_insns);
	}
	bpf_object__close(object);
	return 0;
}
