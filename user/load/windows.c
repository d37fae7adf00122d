// SPDX-License-Identifier: BSD-2-Clause
/*
 * windows.c - the map of connections by window of time, for a load.
 */
#include <string.h>
#include <sys/random.h>

#include <bpf/libbpf.h>

#include "conncount.skel.h"
#include "recent.h"
#include "windows.h"

bool windows_are_same(const struct cc_windows *a, const struct cc_windows *b)
{
	_Static_assert(sizeof(*a) == sizeof(a->seed) + sizeof(a->n) + sizeof(a->slots) +
					     sizeof(a->groups) + sizeof(a->reach) +
					     sizeof(a->window),
		       "no padding");
	return !memcmp(a, b, sizeof(*a));
}

struct cc_windows windows_plan(const struct config *config, const struct cc_config *live)
{
	struct cc_windows plan = { .n = (uint32_t)config->n_windows };

	if (!plan.n)
		return plan;
	for (uint32_t i = 0; i < plan.n; i++) {
		uint32_t seconds = config->windows[i].seconds;
		uint32_t slots = config->windows[i].windows + 1;

		plan.window[i].seconds = seconds;
		plan.window[i].slots = slots;
		plan.slots += slots;
		if (plan.reach < seconds * slots)
			plan.reach = seconds * slots;
	}
	plan.groups = config->window_memory / (uint32_t)CC_RECENT_GROUP_SIZE(plan.slots);
	if (live)
		plan.seed = live->windows.seed;
	if (live && windows_are_same(&plan, &live->windows))
		return plan;
	/* The kernel always fills this few bytes. */
	(void)!getrandom(&plan.seed, sizeof(plan.seed), 0);
	return plan;
}

int windows_set(struct conncount_bpf *skel, const struct cc_windows *windows)
{
	uint32_t slots = windows->n ? windows->slots : 1;
	uint32_t groups = windows->n ? windows->groups : 1;
	int err;

	memcpy((void *)&skel->rodata->windows, windows, sizeof(*windows));
	err = bpf_map__set_value_size(skel->maps.recent, (uint32_t)CC_RECENT_GROUP_SIZE(slots));
	if (!err)
		err = bpf_map__set_max_entries(skel->maps.recent, groups);
	if (!err)
		err = bpf_map__set_max_entries(skel->maps.recent_locks, groups);
	return err;
}
