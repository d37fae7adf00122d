// SPDX-License-Identifier: BSD-2-Clause
/*
 * programs.c - the kernel's run statistics of the BPF programs.
 */
#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
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

static bool read_program(int program, struct bpf_prog_info *ret)
{
	__u32 size = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return !bpf_obj_get_info_by_fd(program, ret, &size);
}

/*
 * Open the SYN gate, which has a link in each network namespace; -1 if that fails. A link whose
 * namespace had no listener at the last load still has an older program: the newest one counts.
 */
static int syn_gate(const char *dir)
{
	static const char prefix[] = CC_PIN_SYN_GATE "-";
	struct bpf_prog_info info;
	const struct dirent *entry;
	char path[PATH_MAX];
	__u32 newest = 0;
	int found = -1;
	DIR *pins;

	if (snprintf(path, sizeof(path), "%s/" CC_DIR_LIVE, dir) >= (int)sizeof(path))
		return -1;
	pins = opendir(path);
	while (pins && (entry = readdir(pins))) {
		int program = strncmp(entry->d_name, prefix, strlen(prefix))
				      ? -1
				      : program_of(dir, entry->d_name);
		int older = program;

		if (program >= 0 && read_program(program, &info) && info.id > newest) {
			newest = info.id;
			older = found;
			found = program;
		}
		if (older >= 0)
			close(older);
	}
	if (pins)
		closedir(pins);
	return found;
}

size_t program_stats(const char *dir, struct program_stats *ret_stats)
{
	static const char *const names[PROGRAMS] = { CC_PIN_SOCKOPS, CC_PIN_RELEASE, CC_PIN_INGRESS,
						     CC_PIN_ACK_GATE, CC_PIN_SYN_GATE };
	size_t n = 0;

	if (!kernel_measures())
		return 0;
	for (size_t i = 0; i < PROGRAMS; i++) {
		struct bpf_prog_info info;
		int program = strcmp(names[i], CC_PIN_SYN_GATE) ? program_of(dir, names[i])
								: syn_gate(dir);

		if (program < 0)
			continue;
		if (read_program(program, &info))
			ret_stats[n++] =
				(struct program_stats){ names[i], info.run_cnt, info.run_time_ns };
		close(program);
	}
	return n;
}
