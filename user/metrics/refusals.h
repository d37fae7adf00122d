/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * refusals.h - the limits of the listeners, whether they are in force, and what they have refused.
 */
#ifndef CONNCOUNT_REFUSALS_H
#define CONNCOUNT_REFUSALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include "abi.h"
#include "snapshot.h"

/* A listener that has limits. */
struct limited {
	char name[CC_NAME_SIZE], service[CC_NAME_SIZE];
	struct cc_limits limits;
	struct cc_limit_totals totals[CC_LIMITS_MAX]; /* by index of the limit */
	const char *why_not; /* why its limits are not in force; NULL: they are */
};

struct refusals {
	struct limited *limited; /* in order of id */
	size_t n_limited;
	/* Network namespaces without a SYN gate, by inode number. */
	__u32 *ungated;
	size_t n_ungated;
};

/*
 * refusals_read() - read the limits of an instance, and their totals.
 * @snapshot: of that instance; says whether a limit is in force.
 * @ret: the caller frees it with refusals_free(). It is empty if no listener has a limit.
 *
 * Returns 0 or a negative errno.
 */
int refusals_read(const struct snapshot *snapshot, struct refusals *ret);

void refusals_free(struct refusals *refusals);

/* A network that was refused lately. */
struct refused_network {
	struct conncount_cidr cidr;
	char listener[CC_NAME_SIZE];
	uint64_t refused, would_refuse; /* as in struct cc_refused */
	uint64_t age_ms;                /* since the last time */
};

struct refused {
	struct refused_network *networks;
	size_t n;
	bool limited; /* whether any listener has a limit */
};

/*
 * refused_read() - read which networks the limits of an instance refused lately: those that were
 * refused most come first. The kernel keeps at most CC_REFUSED_MAX.
 * @dir: of the instance.
 * @listener: only on this one; NULL: on all.
 * @ret: the caller frees it with refused_free().
 *
 * A network that is first refused during the call may be missing. Returns 0 or a negative errno.
 */
int refused_read(const char *dir, const char *listener, struct refused *ret);

void refused_free(struct refused *refused);

#endif
