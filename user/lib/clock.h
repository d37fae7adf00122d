/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clock.h - time that only goes forward.
 */
#ifndef CONNCOUNT_CLOCK_H
#define CONNCOUNT_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Durations are in ns. */
#define NS_PER_MS 1000000ULL
#define NS_PER_S  (1000 * NS_PER_MS)

/* now_ms() - milliseconds since an unspecified moment, without the time that the machine was
 * suspended. */
static inline int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * boot_ns() - CLOCK_BOOTTIME in ns, as the kernel's programs have it: the time that the machine was
 * suspended counts, too, and a time namespace changes nothing.
 */
uint64_t boot_ns(void);

#endif
