// SPDX-License-Identifier: BSD-2-Clause
/*
 * kernel.c - whether this kernel has the features that exact counting needs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/capability.h>

#include "kernel.h"
#include "permission.h"
#include "report.h"

enum { DESCRIPTORS = 64 };

/*
 * There are enough file descriptors: libbpf would take their lack for the lack of a feature.
 */
static int try_descriptors(void)
{
	int fds[DESCRIPTORS], n = 0, err = 0;

	while (!err && n < DESCRIPTORS) {
		int fd = open("/", O_PATH | O_CLOEXEC);

		if (fd < 0)
			err = -errno;
		else
			fds[n++] = fd;
	}
	while (n)
		close(fds[--n]);
	return err;
}

/* A BPF map can be created. */
static int try_map(void)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "conncount_try", 4, 8, 1, NULL);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* The programs find fields of the kernel's types by its BTF. */
static int try_btf(void)
{
	return access("/sys/kernel/btf/vmlinux", R_OK) ? -errno : 0;
}

/*
 * LPM tries honour BPF_NOEXIST only since commit eae6a075e953. Before, two sessions that
 * start at once could lose a count.
 */
static int try_noexist(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	struct {
		__u32 prefixlen, data;
	} key = { .prefixlen = 32 };
	__u64 value = 0;
	int fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "conncount_try", sizeof(key), sizeof(value),
				2, &opts);
	int err;

	if (fd < 0)
		return fd;
	err = bpf_map_update_elem(fd, &key, &value, BPF_NOEXIST);
	if (!err)
		err = bpf_map_update_elem(fd, &key, &value, BPF_NOEXIST);
	close(fd);
	return err == -EEXIST ? 0 : err ? err : -EOPNOTSUPP;
}

/* The kernel accepts a program of @n instructions. */
static int try_program(enum bpf_prog_type type, const struct bpf_insn *insns, size_t n)
{
	int fd = bpf_prog_load(type, "conncount_try", "GPL", insns, n, NULL);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* Atomic operations that return the old value. */
static int try_atomics(void)
{
	const struct bpf_insn insns[] = {
		/* *(u64 *)(r10 - 8) = 0 */
		{ .code = BPF_ST | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_10, .off = -8 },
		/* r0 = 1 */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		/* r0 = atomic_fetch_add(r10 - 8, r0) */
		{ .code = BPF_STX | BPF_ATOMIC | BPF_DW,
		  .dst_reg = BPF_REG_10,
		  .src_reg = BPF_REG_0,
		  .off = -8,
		  .imm = BPF_ADD | BPF_FETCH },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return try_program(BPF_PROG_TYPE_SOCKET_FILTER, insns, sizeof(insns) / sizeof(*insns));
}

/* A program that does nothing, of a type for which a capability of its own is needed. */
static int try_type(enum bpf_prog_type type)
{
	const struct bpf_insn insns[] = {
		/* r0 = 1 */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return try_program(type, insns, sizeof(insns) / sizeof(*insns));
}

static int try_tracing(void)
{
	return try_type(BPF_PROG_TYPE_RAW_TRACEPOINT);
}

static int try_sockops(void)
{
	return try_type(BPF_PROG_TYPE_SOCK_OPS);
}

static const struct {
	int (*try)(void);
	const char *missing;
	int capability; /* that is needed to use it */
} features[] = {
	{ try_descriptors, "files cannot be opened", CAP_DAC_OVERRIDE },
	{ try_map, "BPF maps cannot be created", CAP_BPF },
	{ try_btf, "it has no BTF (CONFIG_DEBUG_INFO_BTF; Debian's kernels have it)", CAP_BPF },
	{ try_noexist,
	  "its LPM tries do not honour BPF_NOEXIST (fixed in Linux 6.13, 6.12.5 and 6.1.120)",
	  CAP_BPF },
	{ try_atomics,
	  "its BPF programs have no atomic operations that fetch (added in Linux 5.12)", CAP_BPF },
	{ try_tracing, "it has no BPF programs that read the kernel", CAP_PERFMON },
	{ try_sockops, "it has no BPF programs on the sockets of cgroups", CAP_NET_ADMIN },
};

/* Whether a try failed for want of resources, which says nothing about the kernel's features. */
static bool is_shortage(int err)
{
	switch (-err) {
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case ENOSPC:
	case EAGAIN:
	case EINTR:
	case EIO:
		return true;
	}
	return false;
}

int kernel_check(void)
{
	for (size_t i = 0; i < sizeof(features) / sizeof(*features); i++) {
		int err = features[i].try();

		if (err == -EPERM || err == -EACCES) {
			report("BPF: %s%s", strerror(-err),
			       permission_remedy(err, features[i].capability));
			return err;
		}
		if (is_shortage(err)) {
			report("BPF: %s (nothing was changed; try again when there is enough)",
			       strerror(-err));
			return err;
		}
		if (err) {
			report("this kernel cannot count exactly: %s; conncount "
			       "needs " KERNEL_OLDEST " or later",
			       features[i].missing);
			return err;
		}
	}
	return 0;
}
