/* SPDX-License-Identifier: BSD-2-Clause */
/* trie.h - what trie.bpf.c and trie.c share. */
#ifndef BENCH_TRIE_H
#define BENCH_TRIE_H

/* What a run does with one key. */
enum trie_work {
	TRIE_NOTHING, /* chooses a key: part of the others as well */
	TRIE_ADD,     /* adds one to the count of a node that is there */
	TRIE_PAIR,    /* inserts a node that is not there, and deletes it */
};

enum { TRIE_KEYS = 16384 };

#endif
