// SPDX-License-Identifier: BSD-2-Clause
/*
 * reasons.c - why the counts of an instance are not exact.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "reasons.h"
#include "report.h"

/* Bytes of a reason: one of them contains the path of a cgroup. */
enum { REASON_SIZE = PATH_MAX + 512 };

void reasons_tell(const struct snapshot *snapshot, void (*tell)(void *arg, const char *reason),
		  void *arg)
{
	const struct conncount_state *state = &snapshot->state;
	char text[REASON_SIZE];

	if (snapshot->uncounted) {
		snprintf(text, sizeof(text),
			 "UNCOUNTED: %" PRId64
			 " open sessions are not counted: the table of prefixes was full "
			 "(%" PRId64 " of %" PRIu32
			 " in use; raise max_prefixes and load again), the kernel was out of "
			 "memory, or the server had not accepted them when load ran (load again)",
			 snapshot->uncounted, state->nodes, state->max_prefixes);
		tell(arg, text);
	}
	if (snapshot->lost) {
		snprintf(text, sizeof(text),
			 "LOST: %" PRIu64
			 " changes of a count were lost, so counts are wrong (to count again, "
			 "without a gap: conncount load)",
			 snapshot->lost);
		tell(arg, text);
	}
	if (state->seeding)
		tell(arg, "sessions that were already open are still being counted (if no load is "
			  "running, one has died: conncount load)");
	if (state->detached)
		tell(arg, detached_text(state->cgroup, text, sizeof(text)));
	if (*snapshot->cluster.why) {
		snprintf(text, sizeof(text),
			 "service '" CONNCOUNT_SERVICE_CLUSTER "': not exact: %s (see: conncount "
			 "nodes)",
			 snapshot->cluster.why);
		tell(arg, text);
	}
}
