/* SPDX-License-Identifier: BSD-2-Clause */
/* split.h - what split.bpf.c and split.c share. */
#ifndef BENCH_SPLIT_H
#define BENCH_SPLIT_H

/* Causes of a run, as indices. Below SPLIT_STATE: the operation of a sockops program. */
enum {
	SPLIT_STATE = 32,   /* plus the new state: BPF_SOCK_OPS_STATE_CB */
	SPLIT_RELEASE = 64, /* the release program */
	SPLIT_CAUSES,
};

struct split_runs {
	__u64 runs;
	__u64 ns;
};

#endif
