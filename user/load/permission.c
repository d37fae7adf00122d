// SPDX-License-Identifier: BSD-2-Clause
/*
 * permission.c - what a process lacks to which the kernel refuses something.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/seccomp.h>

#include "permission.h"

/* The inode number of the initial user namespace, the same on every kernel. */
#define FIRST_USER_NAMESPACE 0xEFFFFFFDU

/* Whether the process has a capability; true if that is unknown. */
static bool has(int capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capget, &header, data) ||
	       data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability);
}

static bool is_in_user_namespace(void)
{
	struct stat st;

	return !stat("/proc/self/ns/user", &st) && st.st_ino != FIRST_USER_NAMESPACE;
}

static const char *missing(int capability)
{
	switch (capability) {
	case CAP_BPF:
		return " (CAP_BPF is missing)";
	case CAP_PERFMON:
		return " (CAP_PERFMON is missing)";
	case CAP_NET_ADMIN:
		return " (CAP_NET_ADMIN is missing)";
	case CAP_SYS_ADMIN:
		return " (CAP_SYS_ADMIN is missing)";
	case CAP_CHOWN:
		return " (CAP_CHOWN is missing)";
	default:
		return " (CAP_DAC_OVERRIDE is missing)";
	}
}

const char *permission_remedy(int err, int capability)
{
	if (err != -EPERM && err != -EACCES)
		return "";
	if (geteuid())
		return " (run as root)";
	if (is_in_user_namespace())
		return " (root of a user namespace, as in a rootless container, is not enough: "
		       "run as root of the host)";
	if (!has(capability) && !(capability != CAP_CHOWN && has(CAP_SYS_ADMIN)))
		return missing(capability);
	if (err == -EACCES)
		return " (a security module, such as AppArmor or SELinux, may forbid it)";
	if (prctl(PR_GET_SECCOMP) == SECCOMP_MODE_FILTER)
		return " (the system call filter of this container or unit may forbid it)";
	return "";
}
