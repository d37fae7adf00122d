/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * status_limits.h - what `conncount status` says about limits.
 */
#ifndef CONNCOUNT_STATUS_LIMITS_H
#define CONNCOUNT_STATUS_LIMITS_H

#include "refusals.h"

/* limits_print() - print a table of the limits, and notes on them; nothing if there are none. */
void limits_print(const struct refusals *refusals);

/* limits_report() - report limits that are not in force, on stderr. */
void limits_report(const struct refusals *refusals);

#endif
