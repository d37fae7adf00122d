// SPDX-License-Identifier: BSD-2-Clause
/*
 * split.c - measures how often and how long conncount's programs run, by the cause of the call.
 *
 *	split CGROUP
 *
 * Attaches programs of its own to the cgroup, and prints a line when it has. Load conncount there
 * before sending the first line: split then attaches other programs, which run last. For each
 * further line it prints `CAUSE RUNS NANOSECONDS` of what has run since the line before, a line
 * each, and an empty one. It ends when its standard input does.
 *
 * A CAUSE is the kernel's name of a sockops callback, `state:` and the new state for a change of
 * state, or `release`. The time is that between the programs before and after, of which measuring
 * takes some 50 ns.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "split.h"
#include "split.skel.h"

static const char *const names[SPLIT_CAUSES] = {
	[BPF_SOCK_OPS_TIMEOUT_INIT] = "timeout_init",
	[BPF_SOCK_OPS_RWND_INIT] = "rwnd_init",
	[BPF_SOCK_OPS_TCP_CONNECT_CB] = "tcp_connect",
	[BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB] = "active_established",
	[BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB] = "passive_established",
	[BPF_SOCK_OPS_NEEDS_ECN] = "needs_ecn",
	[BPF_SOCK_OPS_BASE_RTT] = "base_rtt",
	[BPF_SOCK_OPS_RTO_CB] = "rto",
	[BPF_SOCK_OPS_RETRANS_CB] = "retrans",
	[BPF_SOCK_OPS_TCP_LISTEN_CB] = "tcp_listen",
	[BPF_SOCK_OPS_RTT_CB] = "rtt",
	[SPLIT_STATE + BPF_TCP_ESTABLISHED] = "state:established",
	[SPLIT_STATE + BPF_TCP_FIN_WAIT1] = "state:fin_wait1",
	[SPLIT_STATE + BPF_TCP_FIN_WAIT2] = "state:fin_wait2",
	[SPLIT_STATE + BPF_TCP_CLOSE] = "state:close",
	[SPLIT_STATE + BPF_TCP_CLOSE_WAIT] = "state:close_wait",
	[SPLIT_STATE + BPF_TCP_LAST_ACK] = "state:last_ack",
	[SPLIT_STATE + BPF_TCP_CLOSING] = "state:closing",
	[SPLIT_RELEASE] = "release",
};

static void attach(const struct bpf_program *program, int cgroup)
{
	if (!bpf_program__attach_cgroup(program, cgroup))
		err(1, "%s: cannot be attached", bpf_program__name(program));
}

/* What has run for a cause on all CPUs, which is then forgotten. */
static struct split_runs take(int map, __u32 cause, struct split_runs *runs, int cpus)
{
	struct split_runs sum = { 0 };

	if (bpf_map_lookup_elem(map, &cause, runs))
		err(1, "causes");
	for (int cpu = 0; cpu < cpus; cpu++) {
		sum.runs += runs[cpu].runs;
		sum.ns += runs[cpu].ns;
		runs[cpu] = (struct split_runs){ 0 };
	}
	if (bpf_map_update_elem(map, &cause, runs, BPF_ANY))
		err(1, "causes");
	return sum;
}

static void print(int map, struct split_runs *runs, int cpus)
{
	for (__u32 cause = 0; cause < SPLIT_CAUSES; cause++) {
		struct split_runs sum = take(map, cause, runs, cpus);

		if (sum.runs)
			printf("%s %llu %llu\n", names[cause] ? names[cause] : "other", sum.runs,
			       sum.ns);
	}
}

static void answer_lines(const struct split_bpf *split, int cgroup)
{
	int cpus = libbpf_num_possible_cpus(), lines = 0, c;
	struct split_runs *runs = calloc((size_t)cpus, sizeof(*runs));

	if (!runs)
		err(1, "calloc");
	while ((c = getchar()) != EOF) {
		if (c != '\n')
			continue;
		if (lines++) {
			print(bpf_map__fd(split->maps.causes), runs, cpus);
		} else {
			attach(split->progs.sockops_ends, cgroup);
			attach(split->progs.release_ends, cgroup);
		}
		putchar('\n');
		fflush(stdout);
	}
	free(runs);
}

int main(int argc, char **argv)
{
	struct split_bpf *split = split_bpf__open_and_load();
	int cgroup;

	if (argc != 2)
		errx(2, "usage: split CGROUP");
	cgroup = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (cgroup < 0)
		err(1, "%s", argv[1]);
	if (!split)
		err(1, "split.bpf.o cannot be loaded");
	attach(split->progs.sockops_begins, cgroup);
	attach(split->progs.release_begins, cgroup);
	putchar('\n');
	fflush(stdout);
	answer_lines(split, cgroup);
	return 0;
}
