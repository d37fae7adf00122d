/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * origin.h - when an instance was loaded, and for whom.
 */
#ifndef CONNCOUNT_ORIGIN_H
#define CONNCOUNT_ORIGIN_H

#include <stdbool.h>

enum {
	ORIGIN_TIME_SIZE = sizeof("2026-11-29T20:06:18Z") + 8,
	ORIGIN_GROUP_SIZE = 256,
};

/*
 * origin_since() - since when the instance counts, in UTC: loads since then have continued its
 * counts.
 * @dir: the directory of the instance.
 * @ret: ORIGIN_TIME_SIZE bytes.
 *
 * Returns false if that cannot be read.
 */
bool origin_since(const char *dir, char *ret);

/*
 * origin_time() - when the programs that count now were loaded, in UTC: each load replaces them.
 * @dir: the directory of the instance.
 * @ret: ORIGIN_TIME_SIZE bytes.
 *
 * Returns false if the kernel does not say.
 */
bool origin_time(const char *dir, char *ret);

/*
 * origin_group() - the group that may read the instance: its name, or its number if it has none.
 * @ret: ORIGIN_GROUP_SIZE bytes.
 *
 * Returns false if only root may.
 */
bool origin_group(const char *dir, char *ret);

#endif
