// SPDX-License-Identifier: BSD-2-Clause
/*
 * sums.c - add up the other nodes' counts.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include <bpf/bpf.h>

#include "levels.h"
#include "mask.h"
#include "sums.h"

enum { WRITE_MOST = 256 }; /* keys at once */

/* The network of the length @length that a leaf is in. */
static struct count network(const struct count *leaf, unsigned length)
{
	struct count key = { .family = leaf->family, .length = (uint16_t)length };

	mask_address(key.addr, (const unsigned char *)leaf->addr, length);
	return key;
}

static int add(struct sums *sums, const struct count *key, int64_t n)
{
	int64_t old = table_get(&sums->counts, key);
	int err;

	if (!old && n > 0 && sums->counts.used >= sums->most)
		return -ENOSPC;
	err = table_set(&sums->counts, key, old + n);
	if (!err && table_set(&sums->touched, key, 1))
		sums->lost = true;
	return err;
}

int sums_add(struct sums *sums, const struct count *leaf, int64_t n)
{
	const unsigned *first = levels_of(leaf->family), *level = first;
	struct count key;
	int err = 0;

	for (; !err && *level; level++) {
		key = network(leaf, *level);
		err = add(sums, &key, n);
	}
	if (!err) {
		sums->sessions[CC_FAMILY_INDEX(leaf->family)] += n;
		return 0;
	}
	/* Off the levels before the one that failed. */
	for (level--; level > first;) {
		level--;
		key = network(leaf, *level);
		add(sums, &key, -n);
	}
	return err;
}

/* --- the trie ----------------------------------------------------------------------------------
 */

static struct cc_count_key trie_key(const struct count *from)
{
	struct cc_count_key key = {
		.prefixlen = CC_COUNT_BITS_OWNER + from->length,
		.listener = htons(CC_LISTENER_REMOTE),
		.family = htons(from->family),
		.addr = { from->addr[0], from->addr[1], from->addr[2], from->addr[3] },
	};

	return key;
}

/* Keys to write at once: a system call for each would take most of the time. */
struct writes {
	int fd;
	int err;
	__u32 n_set, n_deleted;
	struct cc_count_key set[WRITE_MOST], deleted[WRITE_MOST];
	struct cc_count values[WRITE_MOST];
};

static void write_set(struct writes *writes)
{
	__u32 n = writes->n_set;

	if (!writes->err && n)
		writes->err =
			bpf_map_update_batch(writes->fd, writes->set, writes->values, &n, NULL);
	writes->n_set = 0;
}

static void write_deleted(struct writes *writes)
{
	for (__u32 done = 0; !writes->err && done < writes->n_deleted;) {
		__u32 n = writes->n_deleted - done;
		int err = bpf_map_delete_batch(writes->fd, writes->deleted + done, &n, NULL);

		done += n;
		/* One that is not there ends the batch. */
		if (err == -ENOENT)
			done++;
		else
			writes->err = err;
	}
	writes->n_deleted = 0;
}

/* Write the count @n of @key; 0 deletes it. */
static void write_count(struct writes *writes, const struct cc_count_key *key, int64_t n)
{
	if (n > 0) {
		writes->set[writes->n_set] = *key;
		writes->values[writes->n_set++].word =
			CC_COUNT_ZERO(key->prefixlen) + n * CC_COUNT_ONE;
	} else {
		writes->deleted[writes->n_deleted++] = *key;
	}
	if (writes->n_set == WRITE_MOST)
		write_set(writes);
	if (writes->n_deleted == WRITE_MOST)
		write_deleted(writes);
}

static struct writes *writes_begin(int fd)
{
	struct writes *writes = malloc(sizeof(*writes));

	if (!writes)
		return NULL;
	writes->fd = fd;
	writes->err = 0;
	writes->n_set = writes->n_deleted = 0;
	return writes;
}

static int writes_end(struct writes *writes)
{
	int err;

	write_set(writes);
	write_deleted(writes);
	err = writes->err;
	free(writes);
	return err;
}

int sums_write(struct sums *sums, int fd)
{
	struct writes *writes;
	const struct count *key;
	size_t at = 0;
	int err;

	if (!sums->touched.used)
		return 0;
	writes = writes_begin(fd);
	if (!writes)
		return -ENOMEM;
	while ((key = table_next(&sums->touched, &at))) {
		struct cc_count_key to = trie_key(key);

		write_count(writes, &to, table_get(&sums->counts, key));
	}
	err = writes_end(writes);
	if (!err)
		table_free(&sums->touched);
	return err;
}

static bool is_kept(const struct table *keep, const struct cc_count_key *key)
{
	struct count found = leaf((uint16_t)ntohs(key->family), key->addr);

	found.length = (uint16_t)(key->prefixlen - CC_COUNT_BITS_OWNER);
	return keep && table_get(keep, &found);
}

/* Delete the entries of the trie that @keep does not have; all if it is NULL. */
static int sweep(int fd, const struct table *keep)
{
	struct writes *writes = writes_begin(fd);
	struct cc_count_key key, next;
	int err, last;

	if (!writes)
		return -ENOMEM;
	err = bpf_map_get_next_key(fd, NULL, &key);
	while (!err && !writes->err) {
		/* First: after a deleted key, the kernel begins again. */
		err = bpf_map_get_next_key(fd, &key, &next);
		if (!is_kept(keep, &key))
			write_count(writes, &key, 0);
		key = next;
	}
	last = writes_end(writes);
	return err && err != -ENOENT ? err : last;
}

int sums_replace(struct sums *sums, int fd)
{
	const struct count *key;
	size_t at = 0;
	int err = sweep(fd, &sums->counts);

	while (!err && (key = table_next(&sums->counts, &at)))
		err = table_set(&sums->touched, key, 1);
	sums->lost = err != 0;
	return err;
}

int sums_clear_trie(int fd)
{
	return sweep(fd, NULL);
}

void sums_free(struct sums *sums)
{
	table_free(&sums->counts);
	table_free(&sums->touched);
}
