// SPDX-License-Identifier: BSD-2-Clause
/*
 * local.c - follow this host's counts.
 *
 * The programs note each leaf whose count they have changed. We delete the note, and read the count
 * after that: so what is told is an absolute value, and a change that it lacks is noted again.
 *
 * Everything is read at the start, after a change of the configuration, and after a change that
 * could not be noted. And every few minutes, to see whether the notes miss anything: a leaf that
 * differs, and is not noted until the next look, is mended.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "clock.h"
#include "local.h"

enum {
	NOTES_MOST = 4096, /* to read at once: more than a bucket of the kernel's hash table has */
	/* Until everything is read again: soon after it was read, for the kernel's walk can miss
	 * a node; then seldom. */
	CHECK_SOON_S = 10,
	CHECK_S = 300,
};

/* Have the count of a leaf be @n, and tell the others. */
static int set(struct local *local, const struct count *key, int64_t n)
{
	int err;

	if (table_get(&local->counts, key) == n)
		return 0;
	err = table_set(&local->counts, key, n);
	return err ? err : batch_add(&local->batch, key, n);
}

/* Read the count of a leaf. */
static int read_leaf(const struct local *local, const struct count *key, int64_t *ret_n)
{
	struct conncount_cidr cidr = { .family = key->family, .prefixlen = key->length };
	struct conncount_answer answer;
	int err;

	memcpy(cidr.addr, key->addr, sizeof(cidr.addr));
	err = conncount_count_service(local->cc, local->service, &cidr, &answer);
	if (!err)
		*ret_n = answer.count;
	return err;
}

static int follow(struct local *local, const struct count *key)
{
	int64_t n;
	int err = read_leaf(local, key, &n);

	return err ? err : set(local, key, n);
}

/* Delete all notes; read the counts that they are about, if @reads. */
static int take_notes(struct local *local, bool reads)
{
	static struct cc_changed keys[NOTES_MOST];
	static __u32 values[NOTES_MOST];
	__u32 batch = 0, next = 0;
	bool more = true, any = false;
	int err = 0;

	while (more && !err) {
		__u32 n = NOTES_MOST;

		err = bpf_map_lookup_and_delete_batch(local->changed_fd, any ? &batch : NULL, &next,
						      keys, values, &n, NULL);
		more = !err;
		if (err == -ENOENT)
			err = 0;
		for (__u32 i = 0; reads && !err && i < n; i++) {
			struct count key = leaf((uint16_t)ntohs(keys[i].family), keys[i].addr);

			err = table_set(&local->suspects, &key, 0);
			if (!err)
				err = follow(local, &key);
		}
		batch = next;
		any = true;
	}
	return err;
}

/* Every leaf of a family, into @to. */
static int list(const struct local *local, int family, unsigned length, struct table *to)
{
	struct conncount_entry *entries = NULL;
	struct conncount_answer answer;
	size_t n = 0;
	int err = conncount_list(local->cc, local->service, NULL, family, length, NULL, &entries,
				 &n, &answer);

	for (size_t i = 0; !err && i < n; i++) {
		struct count key = leaf((uint16_t)family, (const __be32 *)entries[i].cidr.addr);

		err = table_set(to, &key, entries[i].count);
	}
	free(entries);
	return err;
}

static int list_all(const struct local *local, struct table *ret)
{
	int err = list(local, CONNCOUNT_IPV4, 32, ret);

	return err ? err : list(local, CONNCOUNT_IPV6, 128, ret);
}

/* Call @visit for each leaf whose count differs between what was told and @now. */
static int compare(struct local *local, const struct table *now,
		   int (*visit)(struct local *local, const struct count *key, int64_t n))
{
	const struct table *tables[] = { now, &local->counts };
	struct table differ = { 0 };
	const struct count *key;
	size_t at;
	int err = 0;

	/* What @visit does may move what local->counts has. */
	for (int i = 0; i < 2; i++)
		for (at = 0; !err && (key = table_next(tables[i], &at));)
			if (table_get(now, key) != table_get(&local->counts, key))
				err = table_set(&differ, key, 1);
	for (at = 0; !err && (key = table_next(&differ, &at));)
		err = visit(local, key, table_get(now, key));
	table_free(&differ);
	return err;
}

/* Read everything, and tell what differs. */
static int read_all(struct local *local)
{
	struct table now = { 0 };
	int err = take_notes(local, false);

	if (!err)
		err = list_all(local, &now);
	if (!err)
		err = compare(local, &now, set);
	table_free(&now);
	table_free(&local->suspects);
	return err;
}

static int suspect(struct local *local, const struct count *key, int64_t n)
{
	(void)n;
	return table_set(&local->suspects, key, 1);
}

/* Read everything, to see what differs. */
static int check(struct local *local)
{
	struct table now = { 0 };
	int err = list_all(local, &now);

	if (!err)
		err = compare(local, &now, suspect);
	table_free(&now);
	return err;
}

/* What still differs was not noted. */
static int mend(struct local *local)
{
	const struct count *key;
	size_t at = 0;
	int err = 0;

	while (!err && (key = table_next(&local->suspects, &at))) {
		int64_t told = table_get(&local->counts, key);

		err = follow(local, key);
		local->mended += told != table_get(&local->counts, key);
	}
	table_free(&local->suspects);
	return err;
}

static int look(struct local *local, bool whole, uint64_t now)
{
	int err;

	if (whole) {
		err = read_all(local);
		local->check_at = now + CHECK_SOON_S * NS_PER_S;
		return err;
	}
	err = take_notes(local, true);
	if (!err && local->suspects.used)
		err = mend(local);
	if (!err && now >= local->check_at) {
		err = check(local);
		local->check_at = now + CHECK_S * NS_PER_S;
	}
	return err;
}

int local_look(struct local *local, uint64_t unnoted, uint64_t now)
{
	struct conncount_answer answer;
	struct conncount_state state;
	int err = conncount_state(local->cc, &state);

	if (err)
		return err;
	err = look(local, state.generation != local->generation || unnoted != local->unnoted, now);
	if (!err)
		err = conncount_count_service(local->cc, local->service, NULL, &answer);
	if (err) {
		local_forget(local);
		return err;
	}
	local->generation = state.generation;
	local->unnoted = unnoted;
	local->exact = answer.flags & CONNCOUNT_EXACT;
	return 0;
}

void local_forget(struct local *local)
{
	local->generation = 0;
}

void local_free(struct local *local)
{
	table_free(&local->counts);
	table_free(&local->suspects);
	batch_free(&local->batch);
}
