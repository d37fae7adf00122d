// SPDX-License-Identifier: BSD-2-Clause
/*
 * report.c - messages on stderr.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "report.h"

void vreport(const char *format, va_list args)
{
	char *text;

	fflush(stdout);
	if (vasprintf(&text, format, args) < 0) {
		fputs("conncount: out of memory\n", stderr);
		return;
	}
	/* One line, whatever it quotes: it goes to a terminal or into a log. */
	for (char *c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	fprintf(stderr, "conncount: %s\n", text);
	free(text);
}

void report(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vreport(format, args);
	va_end(args);
}

char *detached_text(const char *cgroup, char *buf, size_t size)
{
	snprintf(buf, size,
		 "cgroup %s: it was removed, so nothing is counted any more (a restarted service "
		 "has a new cgroup; to count there: conncount load)",
		 cgroup);
	return buf;
}

char *inexact_text(struct conncount *cc, const struct conncount_answer *answer, char *buf,
		   size_t size)
{
	char why[CONNCOUNT_ERROR_SIZE / 2];

	if (answer->flags & CONNCOUNT_DETACHED)
		snprintf(buf, size,
			 "not exact: the counted cgroup was removed (see: conncount status)");
	else if (answer->uncounted || answer->lost)
		snprintf(buf, size,
			 "not exact: %" PRId64 " open sessions are not counted, %" PRIu64
			 " changes were lost (see: conncount status)",
			 answer->uncounted, answer->lost);
	else if (answer->flags & CONNCOUNT_CLUSTER && !(answer->flags & CONNCOUNT_SEEDING))
		snprintf(buf, size, "not exact: %s (see: conncount nodes)",
			 conncount_cluster_why(cc, why, sizeof(why)));
	else
		snprintf(buf, size,
			 "not exact: sessions that were already open are still being counted (see: "
			 "conncount status)");
	return buf;
}
