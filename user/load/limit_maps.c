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

int limits_compare(const struct limit_maps *maps, const struct config *config,
		   const struct cc_config *active, unsigned slot, bool *ret_same)
{
	int err = 0;

	*ret_same = true;
	for (__u32 id = 0; maps->limits_fd >= 0 && !err && *ret_same && id < CC_LISTENERS_MAX;
	     id++) {
		struct cc_limits there, wanted = configured(config, active, id);

		err = read_limits(maps, slot, id, &there);
		*ret_same = !err && !memcmp(&there, &wanted, sizeof(wanted));
	}
	return err;
}

/* Where a limit is among others. Returns CC_LIMITS_MAX if it is not. */
static __u32 find_limit(const struct cc_limits *limits, const struct cc_limit *limit)
{
	for (__u32 i = 0; i < limits->n; i++)
		if (!memcmp(&limits->limit[i], limit, sizeof(*limit)))
			return i;
	return CC_LIMITS_MAX;
}

/* Move the totals of the limits in @from to their places in @to. Others are 0. */
static struct cc_refusals arrange(const struct cc_refusals *refusals, const struct cc_limits *from,
				  const struct cc_limits *to)
{
	struct cc_refusals ret = { 0 };

	for (__u32 i = 0; i < to->n; i++) {
		__u32 was = find_limit(from, &to->limit[i]);

		if (was < CC_LIMITS_MAX)
			ret.limit[i] = refusals->limit[was];
	}
	return ret;
}

static int write_one(const struct limit_maps *maps, const struct cc_limits *wanted, unsigned slot,
		     __u32 id)
{
	__u32 index = CC_LIMITS_INDEX(slot, id);
	struct cc_refusals refusals;
	struct cc_limits was;
	int err = bpf_map_update_elem(maps->limits_fd, &index, wanted, BPF_ANY);

	if (!err)
		err = read_limits(maps, !slot, id, &was);
	if (err || (was.n == wanted->n && !memcmp(was.limit, wanted->limit, sizeof(was.limit))))
		return err;
	err = bpf_map_lookup_elem(maps->refusals_fd, &id, &refusals);
	if (err)
		return err;
	refusals = arrange(&refusals, &was, wanted);
	return bpf_map_update_elem(maps->refusals_fd, &id, &refusals, BPF_ANY);
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
	was = arrange(&was, &from, &to);
	for (__u32 i = 0; i < to.n; i++) {
		now.limit[i].refused += was.limit[i].refused;
		now.limit[i].would_refuse += was.limit[i].would_refuse;
	}
	return bpf_map_update_elem(maps->refusals_fd, &id, &now, BPF_ANY);
}
