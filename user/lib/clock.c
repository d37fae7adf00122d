// SPDX-License-Identifier: BSD-2-Clause
/*
 * clock.c - the kernel's clock.
 */
#include <pthread.h>
#include <stdio.h>

#include "clock.h"

/* CLOCK_BOOTTIME of this process less that of the kernel, in ns. */
static int64_t offset;

/* A process can change its time namespace only by becoming another one, or while it has one thread.
 */
static void read_offset(void)
{
	FILE *in = fopen("/proc/self/timens_offsets", "re");
	long long seconds, ns;
	char line[128];

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
