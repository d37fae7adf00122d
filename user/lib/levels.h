/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * levels.h - the levels: prefix lengths whose counts are stored.
 */
#ifndef CONNCOUNT_LEVELS_H
#define CONNCOUNT_LEVELS_H

#include <linux/types.h>

#include "abi.h"

/* levels_of() - the levels of a family, shortest first; then 0. */
static inline const unsigned *levels_of(int family)
{
#define LEVEL(length) length,
	static const unsigned ipv4[] = { CC_LEVELS_IPV4(LEVEL) 0 };
	static const unsigned ipv6[] = { CC_LEVELS_IPV6(LEVEL) 0 };
#undef LEVEL

	return family == CC_IPV4 ? ipv4 : ipv6;
}

#endif
