/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * counts_trie.h - the `counts` trie of a model, and the words of its nodes.
 *
 * At most one node for each key. An insert links a node and a delete unlinks it, each in one step,
 * as under the trie's lock. A look-up of a key that is missing returns the next shorter prefix. An
 * unlinked node stays what it is while a process has a pointer to it (RCU). Failures are -ENOMEM
 * and, for inserts, -ENOSPC; -ETIMEDOUT has the same effect as -ENOMEM. The kernel's own steps
 * inside the trie are not modelled.
 *
 * A model includes this file after search.h, and defines the functions that are declared first
 * here. It has the rules NOEXIST and RCU, KEYS, and NODES: one linked for each key, one held by
 * each process. Its struct state has `node`, an array of
 *
 *	struct node {
 *		int16_t word;
 *		uint8_t key;
 *		uint8_t used;
 *		uint8_t linked;
 *	};
 *
 * and its struct proc has `add.node`: the index + 1 of the node to which the process has a pointer,
 * or 0. The index has no meaning: see nodes_tidy().
 */
#ifndef MODEL_COUNTS_TRIE_H
#define MODEL_COUNTS_TRIE_H

#include "search.h"

enum { EAGAIN = 11, ENOMEM = 12, EEXIST = 17, ENOSPC = 28 };

/* bpf/abi.h: a word is the sum of a count * ONE, places * PLACE, and flags. */
enum {
	DEAD = 1,
	GONE = 2,
	CACHED = 4,
	FLAGS = DEAD | GONE | CACHED,
	PLACE_SHIFT = 3,
	PLACE_BITS = 4,
	PLACE = 1 << PLACE_SHIFT,
	SHIFT = PLACE_SHIFT + PLACE_BITS,
	ONE = 1 << SHIFT,
};

/* The key of the next shorter prefix, or -1. */
static int key_shorter(int key);

static const char *key_name(int key);

/* Whether the helper fails now; if it can, the search tries both. */
static bool helper_fails(void);

/* The places of a word. */
static int places_of(int word)
{
	return word >> PLACE_SHIFT & ((1 << PLACE_BITS) - 1);
}

/* Of a word, or of what is added to one. 1+2p is a count of 1 and 2 places. */
static const char *word_name(int word)
{
	static char name[4][32];
	static int turn;
	int places = places_of(word);
	char text[8] = "";

	/* Less than 0 only in what is added. */
	if (places >> (PLACE_BITS - 1))
		places -= 1 << PLACE_BITS;
	if (places)
		snprintf(text, sizeof(text), "%+dp", places);
	turn = (turn + 1) % 4;
	snprintf(name[turn], sizeof(name[turn]), "%d%s%s%s%s", (word - places * PLACE) >> SHIFT,
		 text, word & CACHED ? "|CACHED" : "", word & DEAD ? "|DEAD" : "",
		 word & GONE ? "|GONE" : "");
	return name[turn];
}

/* --- the trie ------------------------------------------------------------------------------- */

static int trie_find(int key)
{
	for (int i = 0; i < NODES; i++) {
		if (now.node[i].linked && now.node[i].key == key)
			return i;
	}
	return -1;
}

/* Returns the node's index + 1, or 0. */
static uint8_t trie_lookup(int key)
{
	int i = trie_find(key);

	if (i < 0 && key_shorter(key) >= 0)
		i = trie_find(key_shorter(key));
	say("look up %s: %s", key_name(key), i < 0 ? "nothing" : key_name(now.node[i].key));
	if (i >= 0)
		say(" = %s", word_name(now.node[i].word));
	return i + 1;
}

/* Memory for a node: any to which no process has a pointer. */
static struct node *trie_alloc(void)
{
	bool held[NODES] = { false };

	for (int i = 0; i < procs; i++) {
		if (now.proc[i].add.node)
			held[now.proc[i].add.node - 1] = true;
	}
	for (int i = 0; i < NODES && !rule(RULE_RCU); i++) {
		if (held[i] && !now.node[i].linked)
			return &now.node[i];
	}
	for (int i = 0; i < NODES; i++) {
		if (!held[i] && !now.node[i].linked)
			return &now.node[i];
	}
	abort();
}

/* With BPF_NOEXIST. */
static int trie_insert(int key, int word)
{
	int there = trie_find(key);

	say("insert %s = %s", key_name(key), word_name(word));
	if (helper_fails()) {
		choices = 3;
		say(": fails");
		return choice == 1 ? -ENOMEM : -ENOSPC;
	}
	if (there >= 0 && rule(RULE_NOEXIST)) {
		say(": EEXIST");
		return -EEXIST;
	}
	if (there >= 0) {
		say(", replacing %s", word_name(now.node[there].word));
		now.node[there].linked = false;
	}
	*trie_alloc() = (struct node){ .word = word, .key = key, .used = true, .linked = true };
	return 0;
}

static int trie_delete(int key)
{
	int i = trie_find(key);

	say("delete %s", key_name(key));
	if (helper_fails()) {
		say(": fails");
		return -ENOMEM;
	}
	if (i < 0) {
		say(": ENOENT");
		return -ENOMEM;
	}
	say(" = %s", word_name(now.node[i].word));
	now.node[i].linked = false;
	return 0;
}

/*
 * Make states equal that differ in nothing visible: drop nodes that nobody can reach, and sort the
 * others: linked ones by key, then held ones by process.
 */
static void nodes_tidy(void)
{
	uint8_t place[NODES] = { 0 }; /* new index + 1, by old index */
	struct node node[NODES];
	int used = 0;

	memset(node, 0, sizeof(node));
	for (int key = 0; key < KEYS; key++) {
		int i = trie_find(key);

		if (i >= 0) {
			node[used++] = now.node[i];
			place[i] = used;
		}
	}
	for (int p = 0; p < procs; p++) {
		int i = now.proc[p].add.node - 1;

		if (i < 0)
			continue;
		if (!place[i]) {
			node[used++] = now.node[i];
			place[i] = used;
		}
		now.proc[p].add.node = place[i];
	}
	memcpy(now.node, node, sizeof(node));
}

/* --- words ---------------------------------------------------------------------------------- */

static void say_word(const char *what, const struct node *node, int was)
{
	say("%s %s: was %s, is %s%s", what, key_name(node->key), word_name(was),
	    word_name(node->word), node->linked ? "" : ", not in the trie");
}

/* The atomic operations: word_fetch_add() is __sync_fetch_and_add(), and so on. */
static int word_fetch_add(struct node *node, int by)
{
	int old = node->word;

	node->word += by;
	say("add %s: ", word_name(by));
	say_word("word of", node, old);
	return old;
}

static inline int word_fetch_or(struct node *node, int flags)
{
	int old = node->word;

	node->word |= flags;
	say_word("set flags of", node, old);
	return old;
}

static inline int word_fetch_and(struct node *node, int mask)
{
	int old = node->word;

	node->word &= mask;
	say_word("clear flags of", node, old);
	return old;
}

static int word_cas(struct node *node, int from, int to)
{
	int old = node->word;

	if (old == from)
		node->word = to;
	say("swap %s for %s: ", word_name(from), word_name(to));
	say_word("word of", node, old);
	return old;
}

static inline int word_exchange(struct node *node, int word)
{
	int old = node->word;

	node->word = word;
	say_word("take out", node, old);
	return old;
}

static inline void word_write(struct node *node, int word)
{
	int old = node->word;

	node->word = word;
	say_word("write", node, old);
}

static inline int word_read(const struct node *node)
{
	say("read %s: %s", key_name(node->key), word_name(node->word));
	return node->word;
}

#endif
