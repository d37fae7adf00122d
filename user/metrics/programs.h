/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * programs.h - how often the BPF programs ran, and how long that took.
 */
#ifndef CONNCOUNT_PROGRAMS_H
#define CONNCOUNT_PROGRAMS_H

#include <stddef.h>
#include <stdint.h>

struct program_stats {
	const char *name; /* as it is pinned, up to a `-` */
	uint64_t runs;    /* since it was loaded, while the kernel measured */
	uint64_t run_ns;  /* nanoseconds of all of them */
};

enum { PROGRAMS = 5 };

/*
 * program_stats() - the statistics of the programs loaded in @dir.
 * @ret_stats: PROGRAMS of them.
 *
 * Returns how many: none unless the kernel measures (kernel.bpf_stats_enabled is 1), and none
 * without CAP_SYS_ADMIN, which the kernel requires.
 */
size_t program_stats(const char *dir, struct program_stats *ret_stats);

#endif
