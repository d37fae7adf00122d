// SPDX-License-Identifier: BSD-2-Clause
/*
 * list.c - all networks of one length that have sessions open.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/*
 * How often to walk while sessions come and go. The kernel's walk can miss a network: if a node on
 * its path was just deleted, it takes the other half of the subtree above as visited. A second walk
 * hardly misses the same one.
 */
enum { WALKS = 2 };

/* A node of the level that is added up. */
struct part {
	struct conncount_entry entry; /* with the requested length, but the node's address */
	uint32_t listener;
	int walk; /* the walk that found it */
};

struct collection {
	struct view *view;
	const struct cc_control *control;
	struct scope scope; /* on this host */
	int family;
	unsigned level;               /* length of the nodes that are added up */
	unsigned prefixlen;           /* length of the networks asked for */
	struct conncount_cidr within; /* they are inside this one */
	uint32_t end;                 /* no listener has this id or a higher one */
	struct cc_count_key last;     /* of the walk: no key after it is asked about */
	bool cluster;                 /* whether `others` is asked about */
	struct others others;
	bool changing; /* whether the other nodes' counts were being changed when last looked at */
	struct part *parts;
	size_t n;
	size_t room;
	int walk;
	struct conncount_entry *entries; /* the result, `n` of them */
};

static int collect(struct collection *all, uint32_t listener, const struct conncount_cidr *cidr,
		   int64_t count)
{
	if (all->n == all->room) {
		size_t room = all->room ? all->room * 2 : 1024;
		void *grown = realloc(all->parts, room * sizeof(*all->parts));

		if (!grown)
			return -ENOMEM;
		all->parts = grown;
		all->room = room;
	}
	all->parts[all->n++] = (struct part){
		.entry = { .cidr = *cidr, .count = count },
		.listener = listener,
		.walk = all->walk,
	};
	return 0;
}

static bool has_listener(const struct collection *all, uint32_t id)
{
	const struct cc_config *config = &all->view->config;

	return id == CC_LISTENER_REMOTE ||
	       (id < config_used(config) && scope_has(&all->scope, config, id));
}

/* How many bits an address has in common with `within`. */
static unsigned common_bits(const struct collection *all, const void *addr)
{
	const unsigned char *bytes = addr;
	unsigned bits = 0;

	while (bits < all->within.prefixlen &&
	       !((bytes[bits / 8] ^ all->within.addr[bits / 8]) >> (7 - bits % 8) & 1))
		bits++;
	return bits;
}

static bool is_asked_about(const struct collection *all, const struct cc_count_key *key)
{
	return ntohs(key->family) == all->family && has_listener(all, ntohs(key->listener));
}

/*
 * For counts_walk(): in a network that is not asked about, there is nothing to collect; nor in one
 * of the level.
 */
static unsigned skip_node(const struct cc_count_key *key, void *arg)
{
	const struct collection *all = arg;
	unsigned common = common_bits(all, key->addr), least = all->level;

	if (!is_asked_about(all, key))
		least = level_from(all->family, 1);
	else if (common < all->within.prefixlen && CC_COUNT_BITS_OWNER + common < key->prefixlen)
		least = level_from(all->family, common + 1);
	return CC_COUNT_BITS_OWNER + least < key->prefixlen ? CC_COUNT_BITS_OWNER + least
							    : key->prefixlen;
}

static int collect_node(const struct cc_count_key *key, int64_t count, void *arg)
{
	struct collection *all = arg;
	struct conncount_cidr cidr = { .family = all->family, .prefixlen = all->level };
	uint32_t id = ntohs(key->listener);

	if (key_before(&all->last, key))
		return 1;
	if (count == 0 || key->prefixlen != CC_COUNT_BITS_OWNER + all->level ||
	    !is_asked_about(all, key) || common_bits(all, key->addr) < all->within.prefixlen)
		return 0;
	memcpy(cidr.addr, key->addr, sizeof(cidr.addr));
	return collect(all, id, &cidr, count);
}

/*
 * How many sessions have begun and ended, of all listeners, and the version of the other nodes'
 * counts: the same if nothing has changed. Notes whether those counts are changing.
 */
static int count_changes(struct collection *all, uint64_t *ret)
{
	const struct view *view = all->view;
	uint64_t changes = 0;

	for (uint32_t id = 0; id < config_used(&view->config); id++) {
		struct cc_stats stats;
		int err = stats_get(view, id, &stats);

		if (err)
			return err;
		for (int i = 0; i < CC_FAMILIES; i++)
			changes += stats.tally[i].opened + stats.tally[i].closed;
	}
	if (all->cluster) {
		struct others others;
		int err = others_get(view, &others);

		if (err)
			return err;
		changes += others.version;
		all->changing = others.version % 2;
	}
	*ret = changes;
	return 0;
}

/* Walk the counts of which @last is the listener with the highest id. */
static int walk_until(struct collection *all, uint32_t last)
{
	int err;

	count_key(&all->last, last, &all->within, all->within.prefixlen);
	err = counts_walk(counts_fd_of(all->view, last), NULL, collect_node, skip_node, all);
	return err < 0 ? err : 0; /* 1: past the last network */
}

/* Walk this host's counts, and those of the other nodes if they are asked about. */
static int walk_nodes(struct collection *all)
{
	int err = all->end ? walk_until(all, all->end - 1) : 0;

	if (!err && all->others.counted)
		err = walk_until(all, CC_LISTENER_REMOTE);
	return err;
}

/* Walk until nothing has changed meanwhile, at most WALKS times. Keeps what any of the walks found.
 */
static int collect_nodes(struct collection *all)
{
	uint64_t before, after = 0;
	int err = count_changes(all, &before);

	for (all->walk = 0; !err && all->walk < WALKS; all->walk++) {
		err = walk_nodes(all);
		if (!err)
			err = count_changes(all, &after);
		if (after == before && !all->changing)
			break;
		before = after;
	}
	return err;
}

static int by_node(const void *a, const void *b)
{
	const struct part *first = a, *second = b;
	int order = memcmp(first->entry.cidr.addr, second->entry.cidr.addr,
			   sizeof(first->entry.cidr.addr));

	if (order)
		return order;
	if (first->listener != second->listener)
		return first->listener < second->listener ? -1 : 1;
	return first->walk - second->walk;
}

/* Sort the parts. One walk of one listener has found them in this order already. */
static void sort_parts(struct collection *all)
{
	size_t i = 1;

	while (i < all->n && by_node(&all->parts[i - 1], &all->parts[i]) <= 0)
		i++;
	if (i < all->n)
		qsort(all->parts, all->n, sizeof(*all->parts), by_node);
}

/*
 * Merge the parts of each network, also of several listeners, into one entry. If several walks
 * found a part, the last one's count holds.
 */
static int merge(struct collection *all)
{
	struct conncount_entry *entry = NULL;

	if (!all->n)
		return 0;
	all->entries = malloc(all->n * sizeof(*all->entries));
	if (!all->entries)
		return -ENOMEM;
	sort_parts(all);
	for (size_t i = 0; i < all->n; i++) {
		struct part *part = &all->parts[i];
		const struct part *next = i + 1 < all->n ? part + 1 : NULL;

		if (next && part->listener == next->listener &&
		    !memcmp(part->entry.cidr.addr, next->entry.cidr.addr,
			    sizeof(part->entry.cidr.addr)))
			continue;
		conncount_cidr_mask(&part->entry.cidr, all->prefixlen);
		if (entry &&
		    !memcmp(entry->cidr.addr, part->entry.cidr.addr, sizeof(entry->cidr.addr))) {
			entry->count += part->entry.count;
		} else {
			entry = entry ? entry + 1 : all->entries;
			*entry = part->entry;
		}
	}
	all->n = (size_t)(entry - all->entries) + 1;
	return 0;
}

/*
 * Add up the uncounted sessions and lost changes of the listeners in scope. Length 0 is not a
 * level: with @totals, collects the listeners' totals from their tallies.
 */
static int collect_tallies(struct collection *all, bool totals, struct conncount_answer *answer)
{
	const struct conncount_cidr whole = { .family = all->family };
	const struct cc_config *config = &all->view->config;
	int err = 0;

	for (uint32_t id = 0; !err && id < config_used(config); id++) {
		const struct cc_tally *tally;
		struct cc_stats stats;

		if (!scope_has(&all->scope, config, id))
			continue;
		err = stats_get(all->view, id, &stats);
		if (err)
			break;
		tally = &stats.tally[CC_FAMILY_INDEX(all->family)];
		answer_add(answer, tally);
		answer->listeners++;
		if (tally->live > 0 || all->control->inexact)
			all->end = id + 1;
		if (totals && tally->live > 0)
			err = collect(all, id, &whole, tally->live);
	}
	if (!err && totals && all->others.counted) {
		int64_t live = all->others.tally[CC_FAMILY_INDEX(all->family)].live;

		if (live > 0)
			err = collect(all, CC_LISTENER_REMOTE, &whole, live);
	}
	return err;
}

static int collect_all(struct collection *all, struct conncount_answer *ret_answer)
{
	struct conncount_answer answer = { 0 };
	int err = 0;

	if (all->cluster) {
		err = others_get(all->view, &all->others);
		all->scope.also = all->others.service;
	}
	if (!err)
		err = collect_tallies(all, !all->level, &answer);
	if (!err && !answer.listeners)
		err = scope_without_listeners(&all->scope);
	if (!err && all->level && (all->end || all->others.counted))
		err = collect_nodes(all);
	if (!err)
		err = merge(all);
	if (err)
		return err;
	for (size_t i = 0; i < all->n; i++)
		answer.count += all->entries[i].count;
	answer_set_flags(&answer, all->view, all->control, all->cluster ? &all->others : NULL);
	*ret_answer = answer;
	return 0;
}

int conncount_list_within(struct conncount *cc, const char *service, const char *listener,
			  const struct conncount_cidr *within, unsigned prefixlen,
			  struct conncount_entry **ret_entries, size_t *ret_n,
			  struct conncount_answer *ret_answer)
{
	struct scope scope = { .service = service, .listener = listener };
	struct cc_control control;
	struct collection all = {
		.family = within->family,
		.prefixlen = prefixlen,
		.within = *within,
	};
	int err;

	if ((within->family != CONNCOUNT_IPV4 && within->family != CONNCOUNT_IPV6) ||
	    prefixlen > (within->family == CONNCOUNT_IPV4 ? 32 : 128) ||
	    within->prefixlen > prefixlen)
		return -EINVAL;
	if (!service && !listener)
		scope.service = CONNCOUNT_SERVICE;
	all.level = level_from(within->family, prefixlen);
	all.scope = scope;
	all.cluster = scope_is_cluster(&scope);

	err = view_acquire(cc, &control);
	if (err)
		return err;
	all.view = &cc->view;
	all.control = &control;
	err = collect_all(&all, ret_answer);
	view_release(cc);

	free(all.parts);
	if (err)
		return err;
	*ret_entries = all.entries;
	*ret_n = all.n;
	return 0;
}

int conncount_list(struct conncount *cc, const char *service, const char *listener, int family,
		   unsigned prefixlen, struct conncount_entry **ret_entries, size_t *ret_n,
		   struct conncount_answer *ret_answer)
{
	const struct conncount_cidr all = { .family = family };

	return conncount_list_within(cc, service, listener, &all, prefixlen, ret_entries, ret_n,
				     ret_answer);
}
