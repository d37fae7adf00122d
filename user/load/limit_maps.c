// SPDX-License-Identifier: BSD-2-Clause
/*
 * limit_maps.c - the limits of a configuration, in the maps.
 */
#include <string.h>

#include <bpf/bpf.h>

#include "limit_maps.h"

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

/*
 * Say where the totals of each limit in @wanted are: where they were in @was, or where none were.
 * Sets these to 0 in @refusals. Returns whether there are any.
 */
static bool place_totals(struct cc_limits *wanted, const struct cc_limits *was,
			 struct cc_refusals *refusals)
{
	bool used[CC_LIMIT_TOTALS] = { false }, fresh = false;
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
		fresh = true;
	}
	return fresh;
}

static int write_one(const struct limit_maps *maps, struct cc_limits *wanted, unsigned slot,
		     __u32 id)
{
	__u32 index = CC_LIMITS_INDEX(slot, id);
	struct cc_refusals refusals;
	struct cc_limits was;
	int err = read_limits(maps, !slot, id, &was);

	if (!err)
		err = bpf_map_lookup_elem(maps->refusals_fd, &id, &refusals);
	if (!err && place_totals(wanted, &was, &refusals))
		err = bpf_map_update_elem(maps->refusals_fd, &id, &refusals, BPF_ANY);
	return err ? err : bpf_map_update_elem(maps->limits_fd, &index, wanted, BPF_ANY);
}

int limits_write(const struct limit_maps *maps, const struct config *config,
		 const struct cc_config *active, unsigned slot)
{
	int err = 0;

	for (__u32 id = 0; maps->limits_fd >= 0 && !err && id < CC_LISTENERS_MAX; id++) {
		struct cc_limits wanted = configured(config, active, id);

		err = write_one(maps, &wanted, slot, id);
	}
	return err;
}

int limits_carry_totals(const struct limit_maps *maps, unsigned slot,
			const struct limit_maps *former, unsigned former_slot, __u32 id)
{
	struct cc_refusals was, now;
	struct cc_limits from, to;
	int err;

	if (maps->limits_fd < 0 || former->limits_fd < 0)
		return 0;
	err = read_limits(former, former_slot, id, &from);
	if (!err)
		err = read_limits(maps, slot, id, &to);
	if (!err)
		err = bpf_map_lookup_elem(former->refusals_fd, &id, &was);
	if (!err)
		err = bpf_map_lookup_elem(maps->refusals_fd, &id, &now);
	if (err)
		return err;
	for (__u32 i = 0; i < to.n; i++) {
		const struct cc_limit *old = find_limit(&from, &to.limit[i]);
		__u32 at = to.limit[i].total;

		if (!old)
			continue;
		now.limit[at].refused += was.limit[old->total].refused;
		now.limit[at].would_refuse += was.limit[old->total].would_refuse;
	}
	return bpf_map_update_elem(maps->refusals_fd, &id, &now, BPF_ANY);
}
