// SPDX-License-Identifier: BSD-2-Clause
/*
 * walk.c - visit the trie of counts from user space, while it changes.
 *
 * The kernel gives the key after a given one, in post-order: the networks inside a network
 * come before it. Given a key that has been deleted meanwhile it starts over from the first.
 * So each step is checked against the order: whatever is not after the last key visited was
 * seen before, or came too late to be seen.
 */
#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>

#include "internal.h"

enum {
	KEY_BYTES = sizeof(struct cc_count_key) - sizeof(__u32),
	/* Levels are whole bytes long, so an anchor for each number of bytes. */
	ANCHORS = KEY_BYTES + 1,
};

/*
 * The last key visited of all, and of each length. Where the last of all has vanished, the
 * walk goes on from another one: the shorter a prefix, the longer it lives.
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

int counts_walk(const struct view *view, const struct cc_count_key *start,
		int (*visit)(const struct cc_count_key *key, int64_t count, void *arg), void *arg)
{
	struct cursor cursor = { .any = false };
	const struct cc_count_key *at = NULL;
	struct cc_count_key position, next;
	int64_t count;
	int err;

	if (start) {
		cursor_set(&cursor, start);
		at = &cursor.last;
	}
	for (;;) {
		err = bpf_map_get_next_key(view->counts_fd, at, &next);
		if (err)
			return err == -ENOENT ? 0 : err;
		if (at && !key_before(at, &next)) {
			at = cursor_drop(&cursor, at);
			continue;
		}
		position = next;
		at = &position;
		if (cursor.any && !key_before(&cursor.last, &next))
			continue; /* catching up with what was visited before */

		err = counts_get(view, &next, &count);
		if (!err)
			err = visit(&next, count, arg);
		if (err)
			return err;
		cursor_set(&cursor, &next);
	}
}
