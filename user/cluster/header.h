/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * header.h - what a node says of itself in the engine, and the names of keys there.
 *
 * All keys begin with `conncount:{CLUSTER}:`, so that they are in one slot. Of each node:
 *
 *	n:NODE        its header, below; expires after the lease
 *	s:NODE:EPOCH  a stream of batches (batch.h): the entry SEQ-0 has the changes since the
 *	              one before
 *	z:NODE:EPOCH  a hash of CHUNKS chunks, by number: the sequence number at which it was
 *	              written, and the counts of its leaves
 *	d:NODE        another host has this name; expires after the lease
 *
 * `nodes` is the set of their names. An epoch is a random number: of a daemon's run, or a later one
 * after which nothing in the engine is relied on. Nobody compares the clocks of two hosts.
 */
#ifndef CONNCOUNT_HEADER_H
#define CONNCOUNT_HEADER_H

#include <stdbool.h>
#include <stdint.h>

enum {
	HEADER_VERSION = 1,
	HEADER_SIZE = 256,
	EPOCH_SIZE = 33, /* 128 bits in hexadecimal, and a NUL */
	KEY_SIZE = 256,
};

struct header {
	char epoch[EPOCH_SIZE];
	uint64_t seq;  /* of the last batch */
	uint64_t beat; /* changes with every header */
	unsigned version;
	unsigned flags; /* HEADER_* */
	uint64_t interval_ms;
	/* Of its counts, as of that batch: */
	int64_t sessions, networks;
	uint64_t checksum; /* as struct table has it */
};

enum {
	HEADER_INEXACT = 1, /* its own counts are not exact */
	HEADER_TWICE = 2,   /* another host has its name */
	HEADER_LEFT = 4,    /* it has left the cluster */
};

/* header_format() - write a header as text, of HEADER_SIZE bytes. Returns @buf. */
char *header_format(const struct header *header, char *buf);

/* header_parse() - read one. Returns false if the text is none, or of another version: then only
 * `version` is set, 0 if it is none. */
bool header_parse(const char *text, struct header *ret);

/* header_interval() - how often the node writes its header, in ns; 0 if it says what none can say.
 */
uint64_t header_interval(const struct header *header);

/* patience_of() - how long to wait for what comes every @interval, before it counts as missing; ns.
 */
uint64_t patience_of(uint64_t interval);

/*
 * key_of() - write the name of a key, of KEY_SIZE bytes.
 * @what: "n", "s", "z", "d" or "nodes".
 * @node, @epoch: NULL if the name has none.
 * Returns @buf.
 */
char *key_of(const char *cluster, const char *what, const char *node, const char *epoch, char *buf);

#endif
