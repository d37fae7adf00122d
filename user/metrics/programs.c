// SPDX-License-Identifier: BSD-2-Clause
/*
 * programs.c - the kernel's run statistics of the BPF programs.
 */
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/types.h>

#include "abi.h"
#include "programs.h"

static bool kernel_measures(void)
{
	FILE *file = fopen("/proc/sys/kernel/bpf_stats_enabled", "re");
	int enabled = 0;

	if (!file)
		return false;
	if (fscanf(file, "%d", &enabled) != 1)
		enabled = 0;
	fclose(file);
	return enabled;
}

/* Open the program that a pinned link runs now; -1 if that fails. */
static int program_of(const char *dir, const char *pin)
{
	struct bpf_link_info info = { 0 };
	__u32 size = sizeof(info);
	char path[PATH_MAX];
	int link, program = -1;

	if (snprintf(path, sizeof(path), "%s/" CC_DIR_LIVE "/%s", dir, pin) >= (int)sizeof(path))
		return -1;
	link = bpf_obj_get(path);
	if (link < 0)
		return -1;
	if (!bpf_obj_get_info_by_fd(link, &info, &size))
		program = bpf_prog_get_fd_by_id(info.prog_id);
	close(link);
	return program;
}

size_t program_stats(const char *dir, struct program_stats *ret_stats)
{
	static const char *const pins[PROGRAMS] = { CC_PIN_SOCKOPS, CC_PIN_RELEASE,
						    CC_PIN_INGRESS };
	size_t n = 0;

	if (!kernel_measures())
		return 0;
	for (size_t i = 0; i < PROGRAMS; i++) {
		struct bpf_prog_info info = { 0 };
		__u32 size = sizeof(info);
		int program = program_of(dir, pins[i]);

		if (program < 0)
			continue;
		if (!bpf_obj_get_info_by_fd(program, &info, &size))
			ret_stats[n++] =
				(struct program_stats){ pins[i], info.run_cnt, info.run_time_ns };
		close(program);
	}
	return n;
}
