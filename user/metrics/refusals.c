// SPDX-License-Identifier: BSD-2-Clause
/*
 * refusals.c - the limits of the listeners, whether they are in force, and what they have refused.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "clock.h"
#include "listing.h"
#include "maps.h"
#include "refusals.h"

/* --- the maps ----------------------------------------------------------------------------------
 */

/* The maps of the live set, which has limits, and its active configuration. */
struct limit_set {
	int limits_fd, refusals_fd, refused_fd, gated_fd, control_fd, configs_fd;
	uint64_t live; /* of live_set() */
	__u64 generation;
	struct cc_config config;
};

static int read_generation(const struct limit_set *set, __u64 *ret)
{
	struct cc_control control;
	__u32 zero = 0;
	int err = bpf_map_lookup_elem(set->control_fd, &zero, &control);

	if (err)
		return err;
	if (!control.generation)
		return -ENOENT;
	if (control.abi != CC_ABI)
		return -EPROTO;
	*ret = control.generation;
	return 0;
}

static int read_config(struct limit_set *set)
{
	int err = read_generation(set, &set->generation);
	__u32 slot = set->generation & 1;

	if (!err)
		err = bpf_map_lookup_elem(set->configs_fd, &slot, &set->config);
	config_bound(&set->config);
	return err;
}

static int open_maps(const char *dir, struct limit_set *set)
{
	const struct {
		const char *name;
		int *fd;
	} maps[] = {
		{ CC_PIN_LIMITS, &set->limits_fd },   { CC_PIN_REFUSALS, &set->refusals_fd },
		{ CC_PIN_REFUSED, &set->refused_fd }, { CC_PIN_GATED, &set->gated_fd },
		{ CC_PIN_CONTROL, &set->control_fd }, { CC_PIN_CONFIGS, &set->configs_fd },
	};
	int err = 0;

	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++)
		*maps[i].fd = -1;
	for (size_t i = 0; !err && i < sizeof(maps) / sizeof(*maps); i++) {
		*maps[i].fd = map_open(dir, CC_DIR_LIVE, maps[i].name, BPF_F_RDONLY, NULL);
		err = *maps[i].fd < 0 ? *maps[i].fd : 0;
	}
	/* `load` makes these maps, then lets the group read them, and then limits become active. */
	return err == -EACCES ? -ENOENT : err;
}

static bool set_is_current(const char *dir, const struct limit_set *set)
{
	__u64 generation;

	return live_set(dir) == set->live &&
	       (!set->generation ||
		(!read_generation(set, &generation) && generation == set->generation));
}

/*
 * End with a set. Returns -EAGAIN if a load has changed it since set_open(): then drop what was
 * read, and read again. Otherwise returns @err.
 */
static int set_close(const char *dir, struct limit_set *set, int err)
{
	const int fds[] = {
		set->limits_fd, set->refusals_fd, set->refused_fd,
		set->gated_fd,  set->control_fd,  set->configs_fd,
	};

	if (!set_is_current(dir, set))
		err = -EAGAIN;
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(set);
	return err;
}

/*
 * Open the live set. Returns -ENOENT if it has no limits; -EAGAIN as set_close(); or another
 * negative errno.
 */
static int set_open(const char *dir, struct limit_set **ret)
{
	struct limit_set *set = calloc(1, sizeof(*set));
	int err;

	if (!set)
		return -ENOMEM;
	set->live = live_set(dir);
	err = open_maps(dir, set);
	if (!err)
		err = read_config(set);
	if (err)
		return set_close(dir, set, err);
	*ret = set;
	return 0;
}

/*
 * Read a hash map at once.
 * @ret_n: how many keys and values were read, of @max.
 */
static int read_hash(int fd, void *keys, void *values, __u32 max, __u32 *ret_n)
{
	__u32 next;
	int err = bpf_map_lookup_batch(fd, NULL, &next, keys, values, &max, NULL);

	if (err && err != -ENOENT) /* -ENOENT: these are all */
		return err;
	*ret_n = max;
	return 0;
}

/* --- limits and their totals -------------------------------------------------------------------
 */

/* Why the limits of a listener are not in force; NULL: they are. See bpf/limits.bpf.h. */
static const char *why_not(const struct snapshot *snapshot, const char *name)
{
	if (snapshot->state.detached)
		return "the counted cgroup was removed";
	if (snapshot->state.seeding)
		return "open sessions are still being counted";
	for (size_t i = 0; i < snapshot->n_listeners; i++) {
		const struct conncount_listener *listener = &snapshot->listeners[i];

		if (!strcmp(listener->name, name) && listener->ipv4.lost + listener->ipv6.lost)
			return "changes of its counts were lost";
	}
	return NULL;
}

/* Read the totals of a listener's limits, which are known. */
static int read_totals(const struct limit_set *set, __u32 id, struct limited *limited)
{
	struct cc_refusals refusals;
	int err = bpf_map_lookup_elem(set->refusals_fd, &id, &refusals);

	for (__u32 i = 0; !err && i < limited->limits.n && i < CC_LIMITS_MAX; i++)
		limited->totals[i] =
			refusals.limit[limited->limits.limit[i].total % CC_LIMIT_TOTALS];
	return err;
}

static int read_limited(const struct limit_set *set, const struct snapshot *snapshot,
			struct refusals *ret)
{
	for (__u32 id = 0; id < set->config.used; id++) {
		const struct cc_listener *listener = &set->config.listener[id];
		__u32 index = CC_LIMITS_INDEX(set->generation & 1, id);
		struct limited *to = &ret->limited[ret->n_limited];
		int err;

		if (listener->state != CC_LISTENER_ACTIVE)
			continue;
		err = bpf_map_lookup_elem(set->limits_fd, &index, &to->limits);
		if (!err)
			err = read_totals(set, id, to);
		if (err)
			return err;
		if (!to->limits.n)
			continue;
		/* Whoever wrote it. */
		if (to->limits.n > CC_LIMITS_MAX)
			to->limits.n = CC_LIMITS_MAX;
		memcpy(to->name, listener->name, sizeof(to->name));
		memcpy(to->service, listener->service, sizeof(to->service));
		to->why_not = why_not(snapshot, to->name);
		ret->n_limited++;
	}
	return 0;
}

static bool any_resets(const struct refusals *refusals)
{
	for (size_t i = 0; i < refusals->n_limited; i++)
		if (refusals->limited[i].limits.resets)
			return true;
	return false;
}

static int read_ungated(const struct limit_set *set, struct refusals *ret)
{
	__u64 *cookies = calloc(CC_NETNS_MAX, sizeof(*cookies));
	struct cc_gated *gated = calloc(CC_NETNS_MAX, sizeof(*gated));
	__u32 n = 0;
	int err = cookies && gated ? read_hash(set->gated_fd, cookies, gated, CC_NETNS_MAX, &n)
				   : -ENOMEM;

	ret->ungated = calloc(n + 1, sizeof(*ret->ungated));
	if (!ret->ungated)
		err = -ENOMEM;
	for (__u32 i = 0; !err && i < n; i++)
		if (!gated[i].gated)
			ret->ungated[ret->n_ungated++] = gated[i].netns;
	free(cookies);
	free(gated);
	return err;
}

static int read_refusals(const struct snapshot *snapshot, struct refusals *ret)
{
	struct limit_set *set;
	int err = set_open(snapshot->dir, &set);

	*ret = (struct refusals){ .n_limited = 0 };
	if (err)
		return err;
	ret->limited = calloc(CC_LISTENERS_MAX, sizeof(*ret->limited));
	err = ret->limited ? read_limited(set, snapshot, ret) : -ENOMEM;
	if (!err && any_resets(ret))
		err = read_ungated(set, ret);
	err = set_close(snapshot->dir, set, err);
	if (err)
		refusals_free(ret);
	return err;
}

int refusals_read(const struct snapshot *snapshot, struct refusals *ret)
{
	struct refusals refusals;
	int err;

	do
		err = read_refusals(snapshot, &refusals);
	while (err == -EAGAIN);
	if (err && err != -ENOENT)
		return err;
	*ret = refusals;
	return 0;
}

void refusals_free(struct refusals *refusals)
{
	free(refusals->limited);
	free(refusals->ungated);
	*refusals = (struct refusals){ .n_limited = 0 };
}

/* --- networks refused lately -------------------------------------------------------------------
 */

/* Whether the programs can have written this key: a configured network on a known listener. */
static bool is_network(const struct limit_set *set, const struct cc_refused_key *key)
{
	__u32 id = ntohs(key->listener), most = ntohs(key->family) == CC_IPV4 ? 32 : 128;

	return id < set->config.used && set->config.listener[id].state != CC_LISTENER_FREE &&
	       (key->family == htons(CC_IPV4) || key->family == htons(CC_IPV6)) &&
	       key->length <= most;
}

static void add_network(const struct limit_set *set, const char *listener,
			const struct cc_refused_key *key, const struct cc_refused *value,
			struct refused *ret)
{
	struct refused_network *to = &ret->networks[ret->n];
	const struct cc_listener *on;
	__u64 now = boot_ns();

	/* All 0: a program is entering it. */
	if (!is_network(set, key) || !(value->refused + value->would_refuse))
		return;
	on = &set->config.listener[ntohs(key->listener)];
	if (value->last < on->since || (listener && strcmp(on->name, listener)))
		return;
	memset(to, 0, sizeof(*to));
	to->cidr.family = ntohs(key->family);
	to->cidr.prefixlen = key->length;
	memcpy(to->cidr.addr, key->addr, sizeof(to->cidr.addr));
	memcpy(to->listener, on->name, sizeof(to->listener));
	to->refused = value->refused;
	to->would_refuse = value->would_refuse;
	to->age_ms = now > value->last ? (now - value->last) / NS_PER_MS : 0;
	ret->n++;
}

static int read_networks(const struct limit_set *set, const char *listener, struct refused *ret)
{
	struct cc_refused_key *keys = calloc(CC_REFUSED_MAX, sizeof(*keys));
	struct cc_refused *values = calloc(CC_REFUSED_MAX, sizeof(*values));
	__u32 n = 0;
	int err = -ENOMEM;

	ret->networks = calloc(CC_REFUSED_MAX, sizeof(*ret->networks));
	if (keys && values && ret->networks)
		err = read_hash(set->refused_fd, keys, values, CC_REFUSED_MAX, &n);
	for (__u32 i = 0; !err && i < n; i++)
		add_network(set, listener, &keys[i], &values[i], ret);
	free(keys);
	free(values);
	return err;
}

static int read_refused(const char *dir, const char *listener, struct refused *ret)
{
	struct limit_set *set;
	int err = set_open(dir, &set);

	*ret = (struct refused){ .limited = !err };
	if (!err)
		err = set_close(dir, set, read_networks(set, listener, ret));
	if (err)
		refused_free(ret);
	return err;
}

/* Those refused most first, then those that would be; then in order of address. */
static int by_refused(const void *a, const void *b)
{
	const struct refused_network *first = a, *second = b;
	int order;

	if (first->refused != second->refused)
		return first->refused > second->refused ? -1 : 1;
	if (first->would_refuse != second->would_refuse)
		return first->would_refuse > second->would_refuse ? -1 : 1;
	order = network_compare(&first->cidr, &second->cidr);
	if (!order)
		order = (int)first->cidr.prefixlen - (int)second->cidr.prefixlen;
	return order ? order : strcmp(first->listener, second->listener);
}

int refused_read(const char *dir, const char *listener, struct refused *ret)
{
	struct refused refused;
	int err;

	do
		err = read_refused(dir, listener, &refused);
	while (err == -EAGAIN);
	if (err && err != -ENOENT)
		return err;
	if (refused.n)
		qsort(refused.networks, refused.n, sizeof(*refused.networks), by_refused);
	*ret = refused;
	return 0;
}

void refused_free(struct refused *refused)
{
	free(refused->networks);
	*refused = (struct refused){ .n = 0 };
}
