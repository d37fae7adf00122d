// SPDX-License-Identifier: BSD-2-Clause
/*
 * publish.c - make a configuration the one in force.
 *
 * There are two tables; the generation says which one holds (abi.h). The new one is made up
 * in the other, and stepping the generation is the last thing done.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/membarrier.h>

#include "mapping.h"
#include "maps.h"
#include "report.h"
#include "publish.h"

/* --- listener ids ------------------------------------------------------------------------- */

/* The id of the listener called @name in @table, or CC_LISTENERS_MAX. */
static uint32_t table_find(const struct cc_table *table, const char *name)
{
	for (uint32_t id = 0; id < table->used; id++)
		if (table->listener[id].state != CC_LISTENER_FREE &&
		    !strcmp(table->listener[id].name, name))
			return id;
	return CC_LISTENERS_MAX;
}

static uint32_t table_find_free(const struct cc_table *table)
{
	uint32_t id = 0;

	while (id < CC_LISTENERS_MAX && table->listener[id].state != CC_LISTENER_FREE)
		id++;
	return id;
}

/* Whether no count is left under an id, nor any that might be wrong. */
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
	return true;
}

/*
 * What is left of the old table: all listeners drain, until the configuration is found to
 * have them. Those that drained before and are idle are forgotten. Not those that begin to
 * drain now: a program that runs at this moment may still find them.
 */
static void drain(struct cc_table *table, int stats_fd)
{
	for (uint32_t id = 0; id < table->used; id++) {
		struct cc_listener *listener = &table->listener[id];

		if (listener->state == CC_LISTENER_DRAINING && is_idle(stats_fd, id))
			memset(listener, 0, sizeof(*listener));
		else if (listener->state == CC_LISTENER_ACTIVE)
			listener->state = CC_LISTENER_DRAINING;
	}
}

/* Enter the configured listeners into what is left of the old table. */
static int enter_listeners(struct cc_table *table, const struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++) {
		const struct config_listener *from = &config->listeners[i];
		uint32_t id = table_find(table, from->name);

		if (id == CC_LISTENERS_MAX)
			id = table_find_free(table);
		if (id == CC_LISTENERS_MAX) {
			report("[%s]: all %d listener ids are in use; those of removed listeners "
			       "are free again when their sessions have ended",
			       from->name, CC_LISTENERS_MAX);
			return -ENOSPC;
		}
		struct cc_listener *to = &table->listener[id];
		memset(to, 0, sizeof(*to));
		memcpy(to->name, from->name, sizeof(to->name));
		memcpy(to->service, from->service, sizeof(to->service));
		to->state = CC_LISTENER_ACTIVE;
	}

	table->used = CC_LISTENERS_MAX;
	while (table->used && table->listener[table->used - 1].state == CC_LISTENER_FREE)
		table->used--;
	return 0;
}

/* --- addresses and ports ------------------------------------------------------------------ */

static struct cc_listener_key listen_key(const struct config_listen *listen, unsigned table)
{
	struct cc_listener_key key = {
		.prefixlen = CC_LISTENER_BITS_PORT,
		.table = htons((uint16_t)table),
		.port = htons(listen->port),
	};

	if (listen->addr.family) {
		key.prefixlen = CC_LISTENER_BITS_FAMILY + listen->addr.prefixlen;
		key.family = htons((uint16_t)listen->addr.family);
		memcpy(key.addr, listen->addr.addr, sizeof(key.addr));
	}
	return key;
}

/* Addresses and ports with the ids of their listeners, as a table of the trie has them. */
struct listens {
	struct listen_entry {
		struct cc_listener_key key;
		struct cc_listener_id value;
	} * entry; /* to be freed */
	size_t n;
};

static int add_entry(struct listens *listens, const struct listen_entry *entry)
{
	size_t n = listens->n;

	if (!(n & (n - 1))) { /* as many as there is room for, which doubles */
		void *grown = realloc(listens->entry, (n ? 2 * n : 1) * sizeof(*entry));

		if (!grown)
			return -ENOMEM;
		listens->entry = grown;
	}
	listens->entry[listens->n++] = *entry;
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct listen_entry));
}

static void sort_listens(struct listens *listens)
{
	if (listens->n)
		qsort(listens->entry, listens->n, sizeof(*listens->entry), compare_entries);
}

/* What @config has, for number @slot. To be freed whatever is returned. */
static int configured_listens(const struct config *config, const struct cc_table *table,
			      unsigned slot, struct listens *ret)
{
	int err = 0;

	for (size_t i = 0; i < config->n_listeners; i++) {
		const struct config_listener *listener = &config->listeners[i];
		struct listen_entry entry = { .value.id = table_find(table, listener->name) };

		for (size_t j = 0; !err && j < listener->n_listens; j++) {
			entry.key = listen_key(&listener->listens[j], slot);
			err = add_entry(ret, &entry);
		}
	}
	sort_listens(ret);
	return err;
}

/* What the trie has as number @slot, in one walk. To be freed whatever is returned. */
static int entered_listens(int fd, unsigned slot, struct listens *ret)
{
	struct cc_listener_key *last = NULL;
	struct listen_entry entry;
	int err;

	while (!(err = bpf_map_get_next_key(fd, last, &entry.key))) {
		last = &entry.key;
		if (ntohs(entry.key.table) != slot)
			continue;
		err = bpf_map_lookup_elem(fd, &entry.key, &entry.value);
		if (!err)
			err = add_entry(ret, &entry);
		if (err)
			return err;
	}
	sort_listens(ret);
	return err == -ENOENT ? 0 : err;
}

/* Whether number @slot of the trie is what @config has. Returns 0 or a negative errno. */
static int compare_listens(int fd, const struct config *config, const struct cc_table *table,
			   unsigned slot, bool *ret_same)
{
	struct listens entered = { 0 }, wanted = { 0 };
	int err = entered_listens(fd, slot, &entered);

	if (!err)
		err = configured_listens(config, table, slot, &wanted);
	*ret_same = entered.n == wanted.n &&
		    (!wanted.n ||
		     !memcmp(entered.entry, wanted.entry, wanted.n * sizeof(*wanted.entry)));
	free(entered.entry);
	free(wanted.entry);
	return err;
}

/* Remove what an earlier configuration, or a load that died, has left as number @slot. */
static int clear_listens(int fd, unsigned slot)
{
	struct listens listens = { 0 };
	int err = entered_listens(fd, slot, &listens);

	for (size_t i = 0; !err && i < listens.n; i++)
		err = bpf_map_delete_elem(fd, &listens.entry[i].key);
	free(listens.entry);
	return err;
}

static int enter_listens(int fd, const struct config *config, const struct cc_table *table,
			 unsigned slot)
{
	struct listens listens = { 0 };
	int err = configured_listens(config, table, slot, &listens);

	for (size_t i = 0; !err && i < listens.n; i++)
		err = bpf_map_update_elem(fd, &listens.entry[i].key, &listens.entry[i].value,
					  BPF_NOEXIST);
	free(listens.entry);
	return err;
}

/* --- publishing --------------------------------------------------------------------------- */

/* Totals begin anew with an id that was not in use. */
static int clear_tallies(int stats_fd, const struct cc_table *from, const struct cc_table *to)
{
	static const struct cc_stats zero;
	int err = 0;

	for (uint32_t id = 0; !err && id < to->used; id++)
		if (to->listener[id].state != CC_LISTENER_FREE &&
		    strcmp(from->listener[id].name, to->listener[id].name))
			err = bpf_map_update_elem(stats_fd, &id, &zero, BPF_ANY);
	return err;
}

/* Programs run in RCU read sections, and this is an RCU grace period. */
void table_wait_for_programs(void)
{
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

/* Write @table and its listens as number @slot, and step to @generation, which selects it. */
static int publish(const struct table_maps *maps, const struct config *config,
		   const struct cc_table *old, const struct cc_table *table, uint64_t generation)
{
	__u32 slot = generation & 1;
	int err = clear_listens(maps->listeners_fd, slot);

	if (!err)
		err = enter_listens(maps->listeners_fd, config, table, slot);
	if (!err)
		err = clear_tallies(maps->stats_fd, old, table);
	if (!err)
		err = bpf_map_update_elem(maps->tables_fd, &slot, table, BPF_ANY);
	if (err) {
		report("listeners: cannot be entered: %s", strerror(-err));
		return err;
	}
	maps->directory->abi = CC_ABI;
	__atomic_store_n(&maps->directory->seeding, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&maps->directory->generation, generation, __ATOMIC_RELEASE);
	table_wait_for_programs();
	return 0;
}

/* Whether two tables have the same listeners configured, under the same ids. */
static bool same_listeners(const struct cc_table *a, const struct cc_table *b)
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

/* The table in force; empty if none is. */
static int read_table(const struct table_maps *maps, struct cc_table *ret)
{
	uint64_t generation = maps->directory->generation;
	__u32 slot = generation & 1;
	int err = generation ? bpf_map_lookup_elem(maps->tables_fd, &slot, ret) : 0;

	table_bound(ret);
	return err;
}

int table_publish(const struct table_maps *maps, const struct table_maps *former,
		  const struct config *config, const struct cgroup *cgroup,
		  const struct netns *counted, bool *ret_changed)
{
	const struct table_maps *from = former ? former : maps;
	uint64_t generation = maps->directory->generation;
	__u32 slot = generation & 1;
	struct cc_table *old = calloc(1, sizeof(*old));
	struct cc_table *table = calloc(1, sizeof(*table));
	bool same_addresses;
	int err = -ENOMEM;

	if (!old || !table)
		goto cleanup;
	err = read_table(from, old);
	if (err)
		goto cleanup;
	*table = *old;
	drain(table, from->stats_fd);
	err = enter_listeners(table, config);
	if (err)
		goto cleanup;
	memset(table->build, 0, sizeof(table->build));
	snprintf(table->build, sizeof(table->build), "%s", conncount_version());
	memset(table->cgroup, 0, sizeof(table->cgroup));
	snprintf(table->cgroup, sizeof(table->cgroup), "%s", cgroup->path);
	table->cgroup_id = cgroup->id;
	table->cgroup_root_id = cgroup->root_id;
	table->netns_cookie = counted->cookie;
	table->netns = counted->number;

	err = compare_listens(maps->listeners_fd, config, table, slot, &same_addresses);
	if (err) {
		report("listeners: cannot be read: %s", strerror(-err));
		goto cleanup;
	}
	*ret_changed = !generation || !same_listeners(table, old) || !same_addresses;
	/* Else it is another build, or a listener that has drained is forgotten. */
	if (*ret_changed || memcmp(table, old, sizeof(*table)))
		err = publish(maps, config, old, table, generation + 1);
cleanup:
	free(old);
	free(table);
	return err;
}

/* --- totals ------------------------------------------------------------------------------- */

/* Raise both totals of a tally by the same, so that what they say is open stays that. */
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

static int carry_tallies(struct cc_stats *stats, const struct cc_table *table,
			 const struct table_maps *former, const struct cc_table *was)
{
	for (uint32_t id = 0; id < table->used; id++) {
		struct cc_stats old;
		int err;

		/* An id that was given out again begins with its listener. */
		if (table->listener[id].state == CC_LISTENER_FREE ||
		    strcmp(table->listener[id].name, was->listener[id].name))
			continue;
		err = bpf_map_lookup_elem(former->stats_fd, &id, &old);
		if (err)
			return err;
		for (int i = 0; i < CC_FAMILIES; i++)
			carry_tally(&stats[id].tally[i], &old.tally[i]);
	}
	return 0;
}

int table_carry_totals(const struct table_maps *maps, const struct table_maps *former)
{
	const size_t size = CC_LISTENERS_MAX * sizeof(struct cc_stats);
	struct cc_stats *stats = map_value(maps->stats_fd, size, PROT_READ | PROT_WRITE);
	struct cc_table *table = calloc(1, sizeof(*table)), *was = calloc(1, sizeof(*was));
	int err = stats && table && was ? 0 : -ENOMEM;

	if (!err)
		err = read_table(maps, table);
	if (!err)
		err = read_table(former, was);
	if (!err)
		err = carry_tallies(stats, table, former, was);
	if (err)
		report("totals: cannot be carried over: %s", strerror(-err));
	unmap_value(stats, size);
	free(table);
	free(was);
	return err;
}
