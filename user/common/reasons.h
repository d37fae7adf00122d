/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reasons.h - why the counts of an instance are not exact.
 */
#ifndef CONNCOUNT_REASONS_H
#define CONNCOUNT_REASONS_H

#include "snapshot.h"

/*
 * reasons_tell() - call @tell with @arg and a line for each reason why counts of the instance, or
 * of its cluster, are not exact: what, why, and what to do.
 */
void reasons_tell(const struct snapshot *snapshot, void (*tell)(void *arg, const char *reason),
		  void *arg);

#endif
