/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clock.h - time that only goes forward.
 */
#ifndef CONNCOUNT_CLOCK_H
#define CONNCOUNT_CLOCK_H

#include <stdint.h>
#include <time.h>

/* now_ms() - milliseconds since an unspecified moment, without the time that the machine was
 * suspended. */
static inline int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
