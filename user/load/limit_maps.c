// SPDX-License-Identifier: BSD-2-Clause
/*
 * limit_maps.c - the limits of a configuration, in the maps.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>

#include "limit_maps.h"
#include "mapping.h"

static int read_limits(const struct limit_maps *maps, unsigned slot, __u32 id,
		       struct cc_limits *ret)
{
	__u32 index = CC_LIMITS_INDEX(slot, id);

	return bpf_map_lookup_elem(maps->limits_fd, &index, ret);
}

/* The limits that the listener with this id has in @config; all 0 if it has none. */
static struct cc_limits configured(const struct config *config, const struct cc_config *active,
				   __u32 id)
{
	const struct cc_listener *listener = &active->listener[id];
	struct cc_limits none = { 0 };

	if (listener->state != CC_LISTENER_ACTIVE)
		return none;
	for (size_t i = 0; i < config->n_listeners; i++)
		if (!strcmp(config->listeners[i].name, listener->name))
			return config->listeners[i].limits;
	return none;
}

static bool is_same_limit(const struct cc_limit *a, const struct cc_limit *b)
{
	return a->over == b->over && a->action == b->action &&
	       !memcmp(a->length, b->length, sizeof(a->length));
}

/* Whether two listeners have the same limits, in the same order. */
static bool are_same_limits(const struct cc_limits *a, const struct cc_limits *b)
{
	bool same = a->n == b->n && a->exempts == b->exempts;

	for (__u32 i = 0; same && i < a->n; i++)
		same = is_same_limit(&a->limit[i], &b->limit[i]);
	return same;
}

int limits_compare(const struct limit_maps *maps, const struct config *config,
		   const struct cc_config *active, unsigned slot, bool *ret_same)
{
	int err = 0;

	*ret_same = true;
	for (__u32 id = 0; maps->limits_fd >= 0 && !err && *ret_same && id < CC_LISTENERS_MAX;
	     id++) {
		struct cc_limits there, wanted = configured(config, active, id);

		err = read_limits(maps, slot, id, &there);
		*ret_same = !err && are_same_limits(&there, &wanted);
	}
	return err;
}

/* The same limit among others, or NULL. */
static const struct cc_limit *find_limit(const struct cc_limits *limits,
					 const struct cc_limit *limit)
{
	for (__u32 i = 0; i < limits->n; i++)
		if (is_same_limit(&limits->limit[i], limit))
			return &limits->limit[i];
	return NULL;
}

/* --- totals --------------------------------------------------------------------------------------
 * The programs go on adding to the totals of limits that stay, so they are never written as a
 * whole.
 */

/* Map the totals of all listeners. Returns NULL with errno; otherwise the caller unmaps them. */
static struct cc_refusals *totals_map(const struct limit_maps *maps)
{
	return map_value(maps->refusals_fd, CC_LISTENERS_MAX * sizeof(struct cc_refusals),
			 PROT_READ | PROT_WRITE);
}

static void totals_unmap(struct cc_refusals *totals)
{
	unmap_value(totals, CC_LISTENERS_MAX * sizeof(*totals));
}

/* Say where the totals of each limit in @wanted are in @refusals: where they were in @was, or where
 * none were; these begin at 0. */
static void place_totals(struct cc_limits *wanted, const struct cc_limits *was,
			 struct cc_refusals *refusals)
{
	bool used[CC_LIMIT_TOTALS] = { false };
	__u8 next = 0;

	for (__u32 i = 0; i < was->n; i++)
		used[was->limit[i].total] = true;
	for (__u32 i = 0; i < wanted->n; i++) {
		const struct cc_limit *old = find_limit(was, &wanted->limit[i]);

		while (!old && used[next])
			next++;
		wanted->limit[i].total = old ? old->total : next;
		if (old)
			continue;
		memset(&refusals->limit[next++], 0, sizeof(refusals->limit[0]));
	}
}

static int write_one(const struct limit_maps *maps, struct cc_refusals *totals,
		     struct cc_limits *wanted, unsigned slot, __u32 id)
{
	__u32 index = CC_LIMITS_INDEX(slot, id);
	struct cc_limits was;
	int err = read_limits(maps, !slot, id, &was);

	if (err)
		return err;
	place_totals(wanted, &was, &totals[id]);
	return bpf_map_update_elem(maps->limits_fd, &index, wanted, BPF_ANY);
}

int limits_write(const struct limit_maps *maps, const struct config *config,
		 const struct cc_config *active, unsigned slot)
{
	struct cc_refusals *totals;
	int err = 0;

	if (maps->limits_fd < 0)
		return 0;
	totals = totals_map(maps);
	if (!totals)
		return -errno;
	for (__u32 id = 0; !err && id < CC_LISTENERS_MAX; id++) {
		struct cc_limits wanted = configured(config, active, id);

		err = write_one(maps, totals, &wanted, slot, id);
	}
	totals_unmap(totals);
	return err;
}

int limits_carry_totals(const struct limit_maps *maps, unsigned slot,
			const struct limit_maps *former, unsigned former_slot, __u32 id)
{
	struct cc_refusals was, *totals;
	struct cc_limits from, to;
	int err;

	if (maps->limits_fd < 0 || former->limits_fd < 0)
		return 0;
	err = read_limits(former, former_slot, id, &from);
	if (!err)
		err = read_limits(maps, slot, id, &to);
	if (!err)
		err = bpf_map_lookup_elem(former->refusals_fd, &id, &was);
	if (err || !from.n || !to.n)
		return err;
	totals = totals_map(maps);
	if (!totals)
		return -errno;
	for (__u32 i = 0; i < to.n; i++) {
		const struct cc_limit *old = find_limit(&from, &to.limit[i]);
		struct cc_limit_totals *total = &totals[id].limit[to.limit[i].total];

		if (!old)
			continue;
		__atomic_fetch_add(&total->refused, was.limit[old->total].refused,
				   __ATOMIC_RELAXED);
		__atomic_fetch_add(&total->would_refuse, was.limit[old->total].would_refuse,
				   __ATOMIC_RELAXED);
	}
	totals_unmap(totals);
	return 0;
}
