// SPDX-License-Identifier: BSD-2-Clause
/*
 * publish.c - make a configuration the active one.
 *
 * There are two configurations in the maps; the generation says which one is active (abi.h). The
 * new one is written to the other, and the last step is to increase the generation.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/membarrier.h>

#include "clock.h"
#include "mapping.h"
#include "maps.h"
#include "report.h"
#include "publish.h"

/* --- listener ids ------------------------------------------------------------------------- */

/* The id of the listener called @name in @active, or CC_LISTENERS_MAX. */
static uint32_t find_listener(const struct cc_config *active, const char *name)
{
	for (uint32_t id = 0; id < active->used; id++)
		if (active->listener[id].state != CC_LISTENER_FREE &&
		    !strcmp(active->listener[id].name, name))
			return id;
	return CC_LISTENERS_MAX;
}

static uint32_t find_free(const struct cc_config *active)
{
	uint32_t id = 0;

	while (id < CC_LISTENERS_MAX && active->listener[id].state != CC_LISTENER_FREE)
		id++;
	return id;
}

/* Whether an id has no session left, and no count that might be wrong. */
static bool is_idle(int stats_fd, uint32_t id)
{
	struct cc_stats stats;

	if (bpf_map_lookup_elem(stats_fd, &id, &stats))
		return false;
	for (int i = 0; i < CC_FAMILIES; i++) {
		const struct cc_tally *tally = &stats.tally[i];

		if (tally->live || tally->uncounted || tally->lost)
			return false;
	}
	return !stats.proxied.awaiting;
}

/*
 * Whether no window that is kept has a connection of a listener that was removed: another one that
 * gets its id would have them.
 */
static bool is_forgotten(int stats_fd, uint32_t id, const struct cc_windows *windows)
{
	struct cc_stats stats;

	if (!windows->n)
		return true;
	return !bpf_map_lookup_elem(stats_fd, &id, &stats) && stats.tally[0].removed &&
	       stats.tally[0].removed + windows->reach < boot_ns() / NS_PER_S;
}

/*
 * Prepare the old configuration's listeners for the new one: all drain, until they turn out to be
 * configured. Removes those that drained before and are idle and forgotten, but none that begins to
 * drain now: a program that runs at this moment may still find it.
 */
static void drain(struct cc_config *active, int stats_fd)
{
	for (uint32_t id = 0; id < active->used; id++) {
		struct cc_listener *listener = &active->listener[id];

		if (listener->state == CC_LISTENER_DRAINING && is_idle(stats_fd, id) &&
		    is_forgotten(stats_fd, id, &active->windows))
			memset(listener, 0, sizeof(*listener));
		else if (listener->state == CC_LISTENER_ACTIVE)
			listener->state = CC_LISTENER_DRAINING;
	}
}

/* Add the configured listeners to what drain() has left of the old configuration. */
static int enter_listeners(struct cc_config *active, const struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++) {
		const struct config_listener *from = &config->listeners[i];
		uint32_t id = find_listener(active, from->name);

		if (id == CC_LISTENERS_MAX)
			id = find_free(active);
		if (id == CC_LISTENERS_MAX) {
			report("[%s]: all %d listener ids are in use; those of removed listeners "
			       "become free when their sessions have ended and left the windows",
			       from->name, CC_LISTENERS_MAX);
			return -ENOSPC;
		}
		struct cc_listener *to = &active->listener[id];
		__u64 since = to->since ? to->since : boot_ns();

		memset(to, 0, sizeof(*to));
		memcpy(to->name, from->name, sizeof(to->name));
		memcpy(to->service, from->service, sizeof(to->service));
		to->state = CC_LISTENER_ACTIVE;
		to->since = since;
	}

	active->used = CC_LISTENERS_MAX;
	while (active->used && active->listener[active->used - 1].state == CC_LISTENER_FREE)
		active->used--;
	return 0;
}

/* --- the tries ---------------------------------------------------------------------------- */

static struct cc_listener_key listen_key(const struct config_listen *listen, unsigned slot)
{
	struct cc_listener_key key = {
		.prefixlen = CC_LISTENER_BITS_PORT,
		.config = htons((uint16_t)slot),
		.port = htons(listen->port),
	};

	if (listen->addr.family) {
		key.prefixlen = CC_LISTENER_BITS_FAMILY + listen->addr.prefixlen;
		key.family = htons((uint16_t)listen->addr.family);
		memcpy(key.addr, listen->addr.addr, sizeof(key.addr));
	}
	return key;
}

static struct cc_peer_key peer_key(const struct config_peer *peer, uint32_t id, unsigned slot)
{
	struct cc_peer_key key = {
		.prefixlen = CC_PEER_BITS_FAMILY + peer->network.prefixlen,
		.config = htons((uint16_t)slot),
		.listener = htons((uint16_t)id),
		.family = htons((uint16_t)peer->network.family),
	};

	memcpy(key.addr, peer->network.addr, sizeof(key.addr));
	return key;
}

/* An entry of the `listeners` trie, or of one that has peers. What neither has is 0. */
struct entry {
	union {
		struct cc_listener_key listener;
		struct cc_peer_key peer;
		struct {
			__u32 prefixlen;
			__be16 config;
		}; /* both begin with these */
	} key;
	union {
		struct cc_listener_id listener;
		struct cc_peer peer;
	} value;
};

_Static_assert(offsetof(struct cc_listener_key, config) == offsetof(struct entry, key.config) &&
		       offsetof(struct cc_peer_key, config) == offsetof(struct entry, key.config),
	       "config");
_Static_assert(sizeof(struct entry) ==
		       sizeof(struct cc_listener_key) + sizeof(struct cc_listener_id),
	       "no padding");

/* The entries of one configuration in a trie. */
struct entries {
	struct entry *entry; /* to be freed */
	size_t n;
};

static int add_entry(struct entries *entries, const struct entry *entry)
{
	size_t n = entries->n;

	if (!(n & (n - 1))) { /* the array is full: double it */
		void *grown = realloc(entries->entry, (n ? 2 * n : 1) * sizeof(*entry));

		if (!grown)
			return -ENOMEM;
		entries->entry = grown;
	}
	entries->entry[entries->n++] = *entry;
	return 0;
}

static int add_listens(const struct config_listener *listener, uint32_t id, unsigned slot,
		       struct entries *entries)
{
	struct entry entry = { .value.listener = { .id = id, .proxied = listener->proxies.n > 0 } };
	int err = 0;

	for (size_t i = 0; !err && i < listener->n_listens; i++) {
		entry.key.listener = listen_key(&listener->listens[i], slot);
		err = add_entry(entries, &entry);
	}
	return err;
}

static int add_peers(const struct config_peers *peers, uint32_t id, unsigned slot,
		     struct entries *entries)
{
	struct entry entry = { 0 };
	int err = 0;

	for (size_t i = 0; !err && i < peers->n; i++) {
		entry.key.peer = peer_key(&peers->peer[i], id, slot);
		err = add_entry(entries, &entry);
	}
	return err;
}

/* The tries. */
enum { LISTENERS, PROXIES, EXEMPT, TRIES };

/* The entries of one configuration in all tries. */
struct tries {
	struct entries of[TRIES];
};

/* The descriptors of the tries; -1: it does not exist, because nothing would be in it. */
static void trie_fds(const struct config_maps *maps, int *ret)
{
	ret[LISTENERS] = maps->listeners_fd;
	ret[PROXIES] = maps->proxies_fd;
	ret[EXEMPT] = maps->limit.exempt_fd;
}

static void free_tries(struct tries *tries)
{
	for (int i = 0; i < TRIES; i++)
		free(tries->of[i].entry);
}

/* The entries of @config, with keys for slot @slot. The caller frees them, also on failure. */
static int configured_tries(const struct config *config, const struct cc_config *active,
			    unsigned slot, struct tries *ret)
{
	int err = 0;

	for (size_t i = 0; !err && i < config->n_listeners; i++) {
		const struct config_listener *listener = &config->listeners[i];
		uint32_t id = find_listener(active, listener->name);

		err = add_listens(listener, id, slot, &ret->of[LISTENERS]);
		if (!err)
			err = add_peers(&listener->proxies, id, slot, &ret->of[PROXIES]);
		if (!err)
			err = add_peers(&listener->exempt, id, slot, &ret->of[EXEMPT]);
	}
	return err;
}

/* The entries in slot @slot of a trie, read in one walk. The caller frees them, also on failure. */
static int read_trie(int fd, unsigned slot, struct entries *ret)
{
	struct entry entry = { 0 };
	void *last = NULL;
	int err;

	while (!(err = bpf_map_get_next_key(fd, last, &entry.key))) {
		last = &entry.key;
		if (ntohs(entry.key.config) != slot)
			continue;
		err = bpf_map_lookup_elem(fd, &entry.key, &entry.value);
		if (!err)
			err = add_entry(ret, &entry);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

static int compare_entries(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct entry));
}

static void sort_entries(struct entries *entries)
{
	if (entries->n)
		qsort(entries->entry, entries->n, sizeof(*entries->entry), compare_entries);
}

/*
 * Whether slot @slot of a trie has exactly the entries @wanted, which this sorts.
 * Returns 0 or a negative errno.
 */
static int compare_trie(int fd, unsigned slot, struct entries *wanted, bool *ret_same)
{
	struct entries there = { 0 };
	int err = read_trie(fd, slot, &there);

	sort_entries(&there);
	sort_entries(wanted);
	*ret_same = there.n == wanted->n && (!there.n || !memcmp(there.entry, wanted->entry,
								 there.n * sizeof(*there.entry)));
	free(there.entry);
	return err;
}

/*
 * Replace the entries in slot @slot of a trie, which are an earlier configuration's or left by a
 * load that was killed.
 */
static int write_trie(int fd, unsigned slot, const struct entries *wanted)
{
	struct entries there = { 0 };
	int err = read_trie(fd, slot, &there);

	for (size_t i = 0; !err && i < there.n; i++)
		err = bpf_map_delete_elem(fd, &there.entry[i].key);
	for (size_t i = 0; !err && i < wanted->n; i++)
		err = bpf_map_update_elem(fd, &wanted->entry[i].key, &wanted->entry[i].value,
					  BPF_NOEXIST);
	free(there.entry);
	return err;
}

/*
 * What differs between slot @slot of the maps and @config. Returns 0 or a negative errno.
 * @ret_listeners: whether a listener's addresses or proxies do: others may have open sessions.
 * @ret_limits: whether its limits or exempt networks do.
 */
static int compare_maps(const struct config_maps *maps, const struct config *config,
			const struct cc_config *active, unsigned slot, bool *ret_listeners,
			bool *ret_limits)
{
	bool same[TRIES], same_limits = true;
	struct tries tries = { 0 };
	int fds[TRIES], err = configured_tries(config, active, slot, &tries);

	trie_fds(maps, fds);
	for (int i = 0; !err && i < TRIES; i++) {
		same[i] = true;
		if (fds[i] >= 0)
			err = compare_trie(fds[i], slot, &tries.of[i], &same[i]);
	}
	if (!err)
		err = limits_compare(&maps->limit, config, active, slot, &same_limits);
	*ret_listeners = err || !same[LISTENERS] || !same[PROXIES];
	*ret_limits = err || !same[EXEMPT] || !same_limits;
	free_tries(&tries);
	return err;
}

static int write_tries(const struct config_maps *maps, const struct config *config,
		       const struct cc_config *active, unsigned slot)
{
	struct tries tries = { 0 };
	int fds[TRIES], err = configured_tries(config, active, slot, &tries);

	trie_fds(maps, fds);
	for (int i = 0; !err && i < TRIES; i++)
		if (fds[i] >= 0)
			err = write_trie(fds[i], slot, &tries.of[i]);
	free_tries(&tries);
	return err;
}

/* --- publishing --------------------------------------------------------------------------- */

/* Reset the totals of ids that were not in use. */
static int clear_tallies(int stats_fd, const struct cc_config *from, const struct cc_config *to)
{
	static const struct cc_stats zero;
	int err = 0;

	for (uint32_t id = 0; !err && id < to->used; id++)
		if (to->listener[id].state != CC_LISTENER_FREE &&
		    strcmp(from->listener[id].name, to->listener[id].name))
			err = bpf_map_update_elem(stats_fd, &id, &zero, BPF_ANY);
	return err;
}

/*
 * Change a map of maps: the kernel then waits for an RCU grace period, for the sake of programs
 * that still use the former map (Linux commit 1ae80cf31938). Returns 0 or a negative errno.
 */
static int map_of_maps_change(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	__u32 key = 0;
	int inner, outer, err;

	inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, sizeof(__u32), sizeof(__u32), 1, NULL);
	if (inner < 0)
		return inner;
	opts.inner_map_fd = (__u32)inner;
	outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, NULL, sizeof(__u32), sizeof(__u32), 1,
			       &opts);
	err = outer < 0 ? outer : bpf_map_update_elem(outer, &key, &inner, BPF_ANY);
	if (outer >= 0)
		close(outer);
	close(inner);
	return err;
}

/*
 * Programs run in RCU read sections, and membarrier(2) waits for an RCU grace period; but it fails
 * where a CPU is nohz_full.
 */
int programs_wait(void)
{
	int err = 0;

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		err = map_of_maps_change();
	if (err)
		report("programs that still run cannot be waited for: %s", strerror(-err));
	return err;
}

/*
 * Write @active and the entries of @config, and set the @generation that selects them.
 * @seeds: whether listeners may have open sessions that are not counted yet.
 */
static int publish(const struct config_maps *maps, const struct config *config,
		   const struct cc_config *old, const struct cc_config *active, uint64_t generation,
		   bool seeds)
{
	__u32 slot = generation & 1;
	int err = write_tries(maps, config, active, slot);

	if (!err)
		err = limits_write(&maps->limit, config, active, slot);

	if (!err)
		err = clear_tallies(maps->stats_fd, old, active);
	if (!err)
		err = bpf_map_update_elem(maps->configs_fd, &slot, active, BPF_ANY);
	if (err) {
		report("listeners: cannot be written: %s", strerror(-err));
		return err;
	}
	maps->control->abi = CC_ABI;
	if (seeds)
		__atomic_store_n(&maps->control->seeding, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&maps->control->generation, generation, __ATOMIC_RELEASE);
	return programs_wait();
}

/* Whether two configurations have the same active listeners, under the same ids. */
static bool same_listeners(const struct cc_config *a, const struct cc_config *b)
{
	for (uint32_t id = 0; id < CC_LISTENERS_MAX; id++) {
		const struct cc_listener *first = &a->listener[id], *second = &b->listener[id];
		bool active = first->state == CC_LISTENER_ACTIVE;

		if (active != (second->state == CC_LISTENER_ACTIVE))
			return false;
		if (active && memcmp(first, second, sizeof(*first)))
			return false;
	}
	return true;
}

/* The active configuration; empty if there is none. */
static int read_config(const struct config_maps *maps, struct cc_config *ret)
{
	uint64_t generation = maps->control->generation;
	__u32 slot = generation & 1;
	int err = generation ? bpf_map_lookup_elem(maps->configs_fd, &slot, ret) : 0;

	config_bound(ret);
	return err;
}

int config_publish(const struct config_maps *maps, const struct config_maps *former,
		   const struct config *config, const struct cgroup *cgroup,
		   const struct netns *counted, const struct cc_windows *windows, bool *ret_changed)
{
	const struct config_maps *from = former ? former : maps;
	uint64_t generation = maps->control->generation;
	__u32 slot = generation & 1;
	struct cc_config *old = calloc(1, sizeof(*old));
	struct cc_config *active = calloc(1, sizeof(*active));
	bool listeners_differ, limits_differ;
	int err = -ENOMEM;

	if (!old || !active)
		goto cleanup;
	err = read_config(from, old);
	if (err)
		goto cleanup;
	if (!maps->control->since)
		maps->control->since = former ? former->control->since : boot_ns();
	*active = *old;
	drain(active, from->stats_fd);
	err = enter_listeners(active, config);
	if (err)
		goto cleanup;
	memset(active->build, 0, sizeof(active->build));
	snprintf(active->build, sizeof(active->build), "%s", conncount_version());
	memset(active->cgroup, 0, sizeof(active->cgroup));
	snprintf(active->cgroup, sizeof(active->cgroup), "%s", cgroup->path);
	active->cgroup_id = cgroup->id;
	active->cgroup_root_id = cgroup->root_id;
	active->netns_cookie = counted->cookie;
	active->netns = counted->number;
	active->windows = *windows;

	err = compare_maps(maps, config, active, slot, &listeners_differ, &limits_differ);
	if (err) {
		report("listeners: cannot be read: %s", strerror(-err));
		goto cleanup;
	}
	if (!generation || !same_listeners(active, old))
		listeners_differ = true;
	*ret_changed = listeners_differ || limits_differ;
	/* Otherwise it may still be another build's, or have one drained listener less. */
	if (*ret_changed || memcmp(active, old, sizeof(*active)))
		err = publish(maps, config, old, active, generation + 1, listeners_differ);
cleanup:
	free(old);
	free(active);
	return err;
}

/* --- totals ------------------------------------------------------------------------------- */

/* Whether a listener of @active has the same id in @config. */
static bool is_same_listener(const struct cc_config *active, const struct cc_config *config,
			     uint32_t id)
{
	return active->listener[id].state != CC_LISTENER_FREE &&
	       !strcmp(active->listener[id].name, config->listener[id].name);
}

/* Raise both totals of a tally by the same amount, so that their difference stays the number of
 * open sessions. */
static void carry_tally(struct cc_tally *tally, const struct cc_tally *former)
{
	uint64_t opened = __atomic_load_n(&tally->opened, __ATOMIC_ACQUIRE);
	uint64_t closed = __atomic_load_n(&tally->closed, __ATOMIC_ACQUIRE);
	int64_t raise = (int64_t)(former->opened - opened);

	if (raise < (int64_t)(former->closed - closed))
		raise = (int64_t)(former->closed - closed);
	if (raise <= 0)
		return;
	__atomic_fetch_add(&tally->closed, (uint64_t)raise, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&tally->opened, (uint64_t)raise, __ATOMIC_SEQ_CST);
}

static void carry_proxied(struct cc_proxied *proxied, const struct cc_proxied *former)
{
	for (int i = 0; i < CC_ORIGINS - 1; i++) {
		uint64_t total = __atomic_load_n(&proxied->total[i], __ATOMIC_RELAXED);

		if (total < former->total[i])
			__atomic_fetch_add(&proxied->total[i], former->total[i] - total,
					   __ATOMIC_RELAXED);
	}
}

static const size_t TOTALS_SIZE = CC_LISTENERS_MAX * sizeof(struct cc_stats);

static int carry_tallies(const struct config_maps *maps, struct cc_stats *stats,
			 const struct cc_config *active, const struct config_maps *former,
			 const struct cc_config *was)
{
	for (uint32_t id = 0; id < active->used; id++) {
		struct cc_stats old;
		int err;

		/* The totals of a reused id begin with its new listener. */
		if (!is_same_listener(active, was, id))
			continue;
		err = bpf_map_lookup_elem(former->stats_fd, &id, &old);
		if (err)
			return err;
		for (int i = 0; i < CC_FAMILIES; i++)
			carry_tally(&stats[id].tally[i], &old.tally[i]);
		carry_proxied(&stats[id].proxied, &old.proxied);
		err = limits_carry_totals(&maps->limit, maps->control->generation & 1,
					  &former->limit, former->control->generation & 1, id);
		if (err)
			return err;
	}
	return 0;
}

/* The maps of two configurations, to write the totals of the first. */
struct totals {
	struct cc_stats *stats; /* mapped */
	struct cc_config *active, *was;
};

static int totals_open(const struct config_maps *maps, const struct config_maps *former,
		       struct totals *ret)
{
	int err;

	ret->stats = map_value(maps->stats_fd, TOTALS_SIZE, PROT_READ | PROT_WRITE);
	ret->active = calloc(1, sizeof(*ret->active));
	ret->was = calloc(1, sizeof(*ret->was));
	err = ret->stats && ret->active && ret->was ? 0 : -ENOMEM;
	if (!err)
		err = read_config(maps, ret->active);
	if (!err && former)
		err = read_config(former, ret->was);
	return err;
}

static void totals_close(struct totals *totals)
{
	unmap_value(totals->stats, TOTALS_SIZE);
	free(totals->active);
	free(totals->was);
}

int config_carry_totals(const struct config_maps *maps, const struct config_maps *former)
{
	struct totals totals;
	int err = totals_open(maps, former, &totals);

	if (!err)
		err = carry_tallies(maps, totals.stats, totals.active, former, totals.was);
	if (err)
		report("totals: cannot be carried over: %s", strerror(-err));
	totals_close(&totals);
	return err;
}

/* Since when the former set has all connections of a listener in its windows; 0: not known. */
static uint64_t since_before(const struct totals *totals, const struct config_maps *former,
			     uint32_t id)
{
	struct cc_stats stats;

	if (!former || !is_same_listener(totals->active, totals->was, id) ||
	    bpf_map_lookup_elem(former->stats_fd, &id, &stats))
		return 0;
	return stats.tally[0].since;
}

int config_begin_windows(const struct config_maps *maps, const struct config_maps *former)
{
	struct totals totals;
	int err = totals_open(maps, former, &totals);
	uint64_t now = boot_ns() / NS_PER_S + 1;

	if (err)
		report("windows: cannot be begun: %s", strerror(-err));
	for (uint32_t id = 0; !err && id < totals.active->used; id++) {
		struct cc_tally *tally = totals.stats[id].tally;
		uint64_t since = since_before(&totals, former, id), removed = 0;

		if (tally->since)
			since = tally->since;
		else if (!since)
			since = now;
		/* Of a listener that is not configured, no connection is counted. */
		if (totals.active->listener[id].state != CC_LISTENER_ACTIVE) {
			since = 0;
			removed = tally->removed ? tally->removed : now;
		}
		for (int i = 0; i < CC_FAMILIES; i++) {
			tally[i].removed = removed;
			__atomic_store_n(&tally[i].since, since, __ATOMIC_RELEASE);
		}
	}
	totals_close(&totals);
	return err;
}
