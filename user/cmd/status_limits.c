// SPDX-License-Identifier: BSD-2-Clause
/*
 * status_limits.c - what `conncount status` says about limits.
 */
#include <inttypes.h>
#include <stdio.h>

#include "limit_text.h"
#include "report.h"
#include "status_limits.h"

enum { UNGATED_MOST = 20 }; /* network namespaces that are named */

static void print_limits(const struct limited *limited)
{
	char text[LIMIT_TEXT_SIZE];

	for (__u32 i = 0; i < limited->limits.n; i++)
		printf("%-16s %-32s %9llu %12llu  %s%s\n", limited->name,
		       limit_format(&limited->limits.limit[i], text), limited->totals[i].refused,
		       limited->totals[i].would_refuse, limited->why_not ? "no: " : "yes",
		       limited->why_not ? limited->why_not : "");
}

static void note_ungated(const struct refusals *refusals)
{
	size_t n = refusals->n_ungated;

	for (size_t i = 0; i < n && i < UNGATED_MOST; i++)
		printf("note: network namespace %" PRIu32
		       " has no SYN gate: no server listened in it at the last load, so clients "
		       "over a limit wait instead of being refused (attach one: conncount load)\n",
		       refusals->ungated[i]);
	if (n > UNGATED_MOST)
		printf("note: %zu more network namespaces have no SYN gate\n", n - UNGATED_MOST);
}

void limits_print(const struct refusals *refusals)
{
	if (refusals->n_limited)
		printf("\n%-16s %-32s %9s %12s  %s\n", "LIMITED", "LIMIT", "REFUSED",
		       "WOULD REFUSE", "IN FORCE");
	for (size_t i = 0; i < refusals->n_limited; i++)
		print_limits(&refusals->limited[i]);
	note_ungated(refusals);
}

void limits_report(const struct refusals *refusals)
{
	size_t n = 0;

	for (size_t i = 0; i < refusals->n_limited; i++)
		if (refusals->limited[i].why_not)
			n += refusals->limited[i].limits.n;
	if (n)
		report("limits that are not in force, and refuse nothing: %zu (a message before "
		       "says what to do)",
		       n);
}
