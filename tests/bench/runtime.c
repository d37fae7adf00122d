// SPDX-License-Identifier: BSD-2-Clause
/*
 * runtime.c - measures how often and how long conncount's programs run during a command.
 *
 *	runtime CGROUP COMMAND...
 *
 * Runs the command. After its output, prints a line for each program of the instance
 * $CONNCOUNT_DIR: `NAME RUNS NANOSECONDS INSTRUCTIONS VERIFIED`. RUNS and NANOSECONDS are from the
 * kernel's own statistics, which are on only during the command; INSTRUCTIONS is how many the
 * program has, and VERIFIED how many the verifier processed.
 *
 * The kernel reads the clock before and after each run, and that takes time as well: as much as a
 * program that does nothing appears to take. Such a program is attached to CGROUP, and printed as
 * `empty`; while the ingress program or the ACK gate is attached, another as `empty_ingress`.
 *
 * The SYN gate is that of the network namespace that runtime is started in.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include "abi.h"
#include "conncount.h"
#include "connections.h"

/* Of those up to RELEASE every instance has one. */
enum { RELEASE = 1, INGRESS, ACK_GATE, SYN_GATE, EMPTY, EMPTY_INGRESS, PROGRAMS };

static const char *const names[PROGRAMS] = {
	CC_PIN_SOCKOPS,  CC_PIN_RELEASE, CC_PIN_INGRESS,  CC_PIN_ACK_GATE,
	CC_PIN_SYN_GATE, "empty",        "empty_ingress",
};

/* Where the link of a program is pinned. */
static void pin_of(int program, char path[PATH_MAX])
{
	static const char own[] = "/proc/self/ns/net";
	int n = snprintf(path, PATH_MAX, "%s/" CC_DIR_LIVE "/%s", conncount_dir(NULL),
			 names[program]);
	struct stat netns;

	if (program != SYN_GATE)
		return;
	if (stat(own, &netns))
		err(1, own);
	snprintf(path + n, PATH_MAX - (size_t)n, "-%lu", (unsigned long)netns.st_ino);
}

/* The program that an instance's link has attached. Returns -1 if the instance needs none. */
static int program_of(int name)
{
	struct bpf_link_info info = { 0 };
	__u32 size = sizeof(info);
	char path[PATH_MAX];
	int link, program;

	pin_of(name, path);
	link = bpf_obj_get(path);
	if (link < 0 && errno == ENOENT && name > RELEASE)
		return -1;
	if (link < 0 || bpf_obj_get_info_by_fd(link, &info, &size))
		err(1, "%s", path);
	close(link);
	program = bpf_prog_get_fd_by_id(info.prog_id);
	if (program < 0)
		err(1, "%s: its program", path);
	return program;
}

static void run(char **command)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		execvp(*command, command);
		err(127, "%s", *command);
	}
	if (waitpid(pid, &status, 0) < 0)
		err(1, "wait");
	if (status)
		errx(1, "%s failed", *command);
}

static struct bpf_prog_info statistics(int program)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(program, &info, &size))
		err(1, "statistics");
	return info;
}

static void measure(const int *program, char **command)
{
	struct bpf_prog_info before[PROGRAMS] = { 0 };
	int enabled = bpf_enable_stats(BPF_STATS_RUN_TIME);

	if (enabled < 0)
		err(1, "the kernel's statistics of BPF programs");
	for (int i = 0; i < PROGRAMS; i++)
		if (program[i] >= 0)
			before[i] = statistics(program[i]);
	run(command);
	for (int i = 0; i < PROGRAMS; i++) {
		struct bpf_prog_info after;

		if (program[i] < 0)
			continue;
		after = statistics(program[i]);
		printf("%s %llu %llu %zu %u\n", names[i], after.run_cnt - before[i].run_cnt,
		       after.run_time_ns - before[i].run_time_ns,
		       after.xlated_prog_len / sizeof(struct bpf_insn), after.verified_insns);
	}
	close(enabled);
}

int main(int argc, char **argv)
{
	int program[PROGRAMS];

	if (argc < 3)
		errx(2, "usage: runtime CGROUP COMMAND...");
	for (int i = 0; i < EMPTY; i++)
		program[i] = program_of(i);
	program[EMPTY] =
		attach_empty(argv[1], names[EMPTY], BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS);
	program[EMPTY_INGRESS] = -1;
	if (program[INGRESS] >= 0 || program[ACK_GATE] >= 0)
		program[EMPTY_INGRESS] =
			attach_empty(argv[1], names[EMPTY_INGRESS], BPF_PROG_TYPE_CGROUP_SKB,
				     BPF_CGROUP_INET_INGRESS);
	measure(program, argv + 2);
	return 0;
}
