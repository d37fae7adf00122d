// SPDX-License-Identifier: BSD-2-Clause
/*
 * list.c - all networks of one length that have sessions open.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct collection {
	struct view *view;
	const struct cc_directory *directory;
	const struct scope *scope;
	int family;
	unsigned level;     /* length of the nodes that are added up */
	unsigned prefixlen; /* length of the networks asked for */
	uint32_t end;       /* from this listener id on there are none */
	struct conncount_entry *entries;
	size_t n;
	size_t room;
};

static int collect(struct collection *all, const struct conncount_cidr *cidr, int64_t count)
{
	if (all->n == all->room) {
		size_t room = all->room ? all->room * 2 : 1024;
		void *grown = realloc(all->entries, room * sizeof(*all->entries));

		if (!grown)
			return -ENOMEM;
		all->entries = grown;
		all->room = room;
	}
	all->entries[all->n].cidr = *cidr;
	all->entries[all->n].count = count;
	all->n++;
	return 0;
}

static int collect_node(const struct cc_count_key *key, int64_t count, void *arg)
{
	struct collection *all = arg;
	struct conncount_cidr cidr = { .family = all->family, .prefixlen = all->level };
	uint32_t id = ntohs(key->listener);

	if (id >= all->end || (id + 1 == all->end && ntohs(key->family) > all->family))
		return 1;
	if (count == 0 || key->prefixlen != CC_COUNT_BITS_OWNER + all->level ||
	    ntohs(key->family) != all->family || id >= table_used(&all->view->table) ||
	    !scope_has(all->scope, &all->view->table, id))
		return 0;
	memcpy(cidr.addr, key->addr, sizeof(cidr.addr));
	conncount_cidr_mask(&cidr, all->prefixlen);
	return collect(all, &cidr, count);
}

static int by_address(const void *a, const void *b)
{
	const struct conncount_entry *first = a, *second = b;

	return memcmp(first->cidr.addr, second->cidr.addr, sizeof(first->cidr.addr));
}

/* Make one entry of those with the same address: of several listeners, or parts of one. */
static void merge(struct collection *all)
{
	size_t kept = 0;

	if (!all->n)
		return;
	qsort(all->entries, all->n, sizeof(*all->entries), by_address);
	for (size_t i = 1; i < all->n; i++) {
		if (!by_address(&all->entries[kept], &all->entries[i]))
			all->entries[kept].count += all->entries[i].count;
		else
			all->entries[++kept] = all->entries[i];
	}
	all->n = kept + 1;
}

/*
 * Add up the exactness of the listeners in scope. Length 0 is no level: with @totals, what
 * the listeners have of it is collected from their tallies.
 */
static int collect_tallies(struct collection *all, bool totals, struct conncount_answer *answer)
{
	const struct conncount_cidr whole = { .family = all->family };
	const struct cc_table *table = &all->view->table;
	int err = 0;

	for (uint32_t id = 0; !err && id < table_used(table); id++) {
		const struct cc_tally *tally;
		struct cc_stats stats;

		if (!scope_has(all->scope, table, id))
			continue;
		err = stats_get(all->view, id, &stats);
		if (err)
			break;
		tally = &stats.tally[CC_FAMILY_INDEX(all->family)];
		answer_add(answer, tally);
		answer->listeners++;
		if (tally->live > 0 || all->directory->inexact)
			all->end = id + 1;
		if (totals && tally->live > 0)
			err = collect(all, &whole, tally->live);
	}
	return err;
}

static int collect_all(struct collection *all, struct conncount_answer *ret_answer)
{
	struct conncount_answer answer = { 0 };
	int err = scope_check(all->scope, &all->view->table);

	if (!err)
		err = collect_tallies(all, !all->level, &answer);
	if (!err && all->level && all->end)
		err = counts_walk(all->view, NULL, collect_node, all);
	if (err < 0)
		return err;
	merge(all);
	for (size_t i = 0; i < all->n; i++)
		answer.count += all->entries[i].count;
	answer_finish(&answer, all->view, all->directory);
	*ret_answer = answer;
	return 0;
}

int conncount_list(struct conncount *cc, const char *service, const char *listener, int family,
		   unsigned prefixlen, struct conncount_entry **ret_entries, size_t *ret_n,
		   struct conncount_answer *ret_answer)
{
	struct scope scope = { .service = service, .listener = listener };
	struct cc_directory directory;
	struct collection all = { .scope = &scope, .family = family, .prefixlen = prefixlen };
	int err;

	if ((family != CONNCOUNT_IPV4 && family != CONNCOUNT_IPV6) ||
	    prefixlen > (family == CONNCOUNT_IPV4 ? 32 : 128))
		return -EINVAL;
	if (!service && !listener)
		scope.service = CONNCOUNT_SERVICE;
	all.level = level_from(family, prefixlen);

	err = view_acquire(cc, &directory);
	if (err)
		return err;
	all.view = &cc->view;
	all.directory = &directory;
	err = collect_all(&all, ret_answer);
	view_release(cc);

	if (err || !all.n) {
		free(all.entries);
		all.entries = NULL;
	}
	if (err)
		return err;
	*ret_entries = all.entries;
	*ret_n = all.n;
	return 0;
}
