// SPDX-License-Identifier: BSD-2-Clause
/*
 * walk.c - visit the trie of counts from user space, while it changes.
 *
 * The kernel returns the key after a given one, in post-order: the networks inside a network come
 * before it. If the given key was deleted meanwhile, the kernel starts again from the first key. So
 * each step is checked against the order: a key that is not after the last visited one was visited
 * before, or was inserted too late.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>

#include "internal.h"

enum {
	KEY_BYTES = sizeof(struct cc_count_key) - sizeof(__u32),
	/* The lengths of levels are whole bytes, so there is one anchor for each number of bytes.
	 */
	ANCHORS = KEY_BYTES + 1,
	/* Nodes to read at once: at first, and at most. */
	AHEAD_LEAST = 8,
	AHEAD_MOST = 256,
};

/*
 * The last visited key, and the last one of each length. If the last one has vanished, the walk
 * continues from another one: the shorter a prefix, the longer it lives.
 */
struct cursor {
	struct cc_count_key last;
	bool any; /* whether `last` is set */
	struct cc_count_key anchor[ANCHORS];
	bool anchored[ANCHORS];
};

static const unsigned char *key_bytes(const struct cc_count_key *key)
{
	return (const unsigned char *)key + sizeof(key->prefixlen);
}

bool key_before(const struct cc_count_key *a, const struct cc_count_key *b)
{
	unsigned shorter = (a->prefixlen < b->prefixlen ? a->prefixlen : b->prefixlen) / 8;
	int order = memcmp(key_bytes(a), key_bytes(b), shorter);

	return order ? order < 0 : a->prefixlen > b->prefixlen;
}

static void cursor_set(struct cursor *cursor, const struct cc_count_key *key)
{
	unsigned bytes = key->prefixlen / 8;

	cursor->last = *key;
	cursor->any = true;
	if (bytes < ANCHORS) {
		cursor->anchor[bytes] = *key;
		cursor->anchored[bytes] = true;
	}
}

/* Forget @vanished as an anchor. Returns the latest of the others in order, NULL if none. */
static const struct cc_count_key *cursor_drop(struct cursor *cursor,
					      const struct cc_count_key *vanished)
{
	const struct cc_count_key *latest = NULL;

	for (int i = 0; i < ANCHORS; i++) {
		const struct cc_count_key *anchor = &cursor->anchor[i];

		if (cursor->anchored[i] && !memcmp(anchor, vanished, sizeof(*anchor)))
			cursor->anchored[i] = false;
		if (cursor->anchored[i] && (!latest || key_before(latest, anchor)))
			latest = anchor;
	}
	return latest;
}

/*
 * Nodes read ahead, in the order of the walk: a system call for each would cost more than
 * everything else. Many walks are short, so the first batch is small.
 */
struct ahead {
	struct cc_count_key keys[AHEAD_MOST];
	struct cc_count values[AHEAD_MOST];
	__u32 n;    /* how many there are */
	__u32 next; /* the first one not visited yet */
	__u32 want; /* how many to read */
	bool end;   /* nothing comes after them */
};

/* Read the nodes after @at, or from the first one if that is NULL. */
static int ahead_read(struct ahead *ahead, int fd, const struct cc_count_key *at)
{
	struct cc_count_key from, to;
	int err;

	if (at)
		from = *at;
	ahead->next = 0;
	ahead->n = ahead->want;
	if (ahead->want < AHEAD_MOST)
		ahead->want *= 2;
	err = bpf_map_lookup_batch(fd, at ? &from : NULL, &to, ahead->keys, ahead->values,
				   &ahead->n, NULL);
	ahead->end = err == -ENOENT;
	/* Linux up to 6.1 returns EINTR if nodes kept vanishing: continue after those that were
	 * read. */
	if (err == -ENOENT || err == -EINTR)
		return 0;
	return err;
}

/* Whether a node is @network or inside of it. Its length is one of a level. */
static bool is_inside(const struct cc_count_key *key, const struct cc_count_key *network)
{
	return key->prefixlen >= network->prefixlen &&
	       !memcmp(key_bytes(key), key_bytes(network), network->prefixlen / 8);
}

/*
 * After a batch: if all of it is inside of a network in which there is nothing to see, probably
 * there is more of that. So go on to that network itself.
 */
static int ahead_skip(struct ahead *ahead, int fd,
		      unsigned (*skip)(const struct cc_count_key *key, void *arg), void *arg)
{
	const struct cc_count_key *last = &ahead->keys[ahead->n - 1];
	struct cc_count_key network = *last;
	struct cc_count value;
	int err;

	network.prefixlen = skip(last, arg);
	if (network.prefixlen >= last->prefixlen || !is_inside(ahead->keys, &network))
		return 0;
	memset((unsigned char *)&network + sizeof(network.prefixlen) + network.prefixlen / 8, 0,
	       KEY_BYTES - network.prefixlen / 8);
	err = bpf_map_lookup_elem(fd, &network, &value);
	if (err == -ENOENT || (!err && CC_COUNT_LENGTH(value.word) != network.prefixlen))
		return 0; /* it has no node */
	if (err)
		return err;
	ahead->keys[0] = network;
	ahead->values[0] = value;
	ahead->next = 0;
	ahead->n = 1;
	ahead->want = AHEAD_LEAST;
	return 0;
}

/* Whether the programs can have made this key, of any length. */
static bool is_count(const struct cc_count_key *key)
{
	unsigned length = key->prefixlen - CC_COUNT_BITS_OWNER;

	return (key->family == htons(CC_IPV4) && length <= 32) ||
	       (key->family == htons(CC_IPV6) && length <= 128);
}

int counts_walk(int fd, const struct cc_count_key *start,
		int (*visit)(const struct cc_count_key *key, int64_t count, void *arg),
		unsigned (*skip)(const struct cc_count_key *key, void *arg), void *arg)
{
	struct ahead ahead = { .want = AHEAD_LEAST };
	struct cursor cursor = { .any = false };
	const struct cc_count_key *at = NULL;
	struct cc_count_key position;
	int err;

	if (start) {
		cursor_set(&cursor, start);
		at = &cursor.last;
	}
	for (;;) {
		const struct cc_count_key *next = &ahead.keys[ahead.next];

		if (ahead.next == ahead.n) {
			if (ahead.end)
				return 0;
			err = skip && ahead.n ? ahead_skip(&ahead, fd, skip, arg) : 0;
			if (!err && ahead.next == ahead.n)
				err = ahead_read(&ahead, fd, at);
			if (err)
				return err;
			continue;
		}
		if (at && !key_before(at, next)) {
			at = cursor_drop(&cursor, at);
			ahead.n = ahead.next = 0;
			ahead.end = false;
			continue;
		}
		position = *next;
		at = &position;
		ahead.next++;
		if (cursor.any && !key_before(&cursor.last, at))
			continue; /* already visited before a restart */

		err = !is_count(at) ? 0
				    : visit(at, count_of(at, &ahead.values[ahead.next - 1]), arg);
		if (err)
			return err;
		cursor_set(&cursor, at);
	}
}
