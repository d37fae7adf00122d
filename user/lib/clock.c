// SPDX-License-Identifier: BSD-2-Clause
/*
 * clock.c - the kernel's clock.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include "clock.h"

/* CLOCK_BOOTTIME of this process less that of the kernel, in ns. */
static int64_t offset;

/*
 * Not between unshare(2) and fork(2). Then the process is taken to be where everyone is: what
 * offsets it has itself, nothing says.
 */
static bool is_in_namespace_of_children(void)
{
	struct stat own, of_children;

	return !stat("/proc/self/ns/time", &own) &&
	       !stat("/proc/self/ns/time_for_children", &of_children) &&
	       own.st_ino == of_children.st_ino;
}

/* A process can change its time namespace only by becoming another one, or while it has one thread.
 */
static void read_offset(void)
{
	FILE *in = NULL;
	long long seconds, ns;
	char line[128];

	/* The file has the offsets of the namespace that children will be in. */
	if (is_in_namespace_of_children())
		in = fopen("/proc/self/timens_offsets", "re");
	while (in && fgets(line, sizeof(line), in))
		if (sscanf(line, "boottime %lld %lld", &seconds, &ns) == 2)
			offset = seconds * (int64_t)NS_PER_S + ns;
	if (in)
		fclose(in);
}

uint64_t boot_ns(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct timespec now;

	pthread_once(&once, read_offset);
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec - (uint64_t)offset;
}
