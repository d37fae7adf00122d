/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * peers.h - the other nodes: what they tell, and which of it counts.
 */
#ifndef CONNCOUNT_PEERS_H
#define CONNCOUNT_PEERS_H

#include "batch.h"
#include "cluster_config.h"
#include "engine.h"
#include "header.h"
#include "sums.h"

enum { PEERS_MOST = CC_NODES_MAX - 1 };

/* A node's counts, up to a batch. */
struct copy {
	char epoch[EPOCH_SIZE]; /* "": there is none */
	uint64_t seq;           /* of the last batch that it has */
	struct table table;
};

struct peer {
	char name[CC_NODE_NAME_SIZE];
	struct copy now;      /* its table is in the sums, unless the node is gone */
	struct copy next;     /* it is being read, and will replace `now` */
	uint64_t goal;        /* the batch from which on `next` is complete */
	bool reads;           /* its snapshot must be read */
	struct header header; /* the last one */
	bool member;          /* whether the cluster's set has it */
	bool proven;          /* whether the header was seen to change in its epoch */
	bool alive;           /* whether any was, since the node came */
	bool full;            /* its counts do not fit */
	unsigned version;     /* of its headers, if this host cannot read them; else 0 */
	uint64_t silent;      /* for how long its header has not changed, by our exchanges: ns */
	uint64_t heard;       /* when it last changed: CLOCK_BOOTTIME, ns; 0: never */
	uint64_t behind;      /* since when a batch has not been applied; 0: none is missing */
	uint64_t retry;       /* not to be read before */
	uint64_t said; /* when something about it was last reported that may recur; 0: never */
};

struct peers {
	const struct cluster_config *config;
	struct peer peer[PEERS_MOST];
	size_t n;
	struct sums sums;
	bool self_twice;   /* whether another host tells that it has our name */
	uint64_t asked_at; /* when the last exchange that was answered began; 0: none was */
	uint64_t applied, resyncs, diverged;
	bool too_many; /* nodes: some are not here */
};

/* peers_ask() - ask for everything new. */
void peers_ask(struct peers *peers, struct engine *engine);

/* peers_answer() - read the replies to that, and ask for what is missing and read it. @now: when
 * peers_ask() was called: CLOCK_BOOTTIME, ns. Returns false if the connection was lost. */
bool peers_answer(struct peers *peers, struct engine *engine, uint64_t now);

/* peer_state() - CC_NODE_*. */
int peer_state(const struct peers *peers, const struct peer *peer);

/* peer_reason() - why its counts make the sum inexact: CC_CLUSTER_*. */
int peer_reason(const struct peers *peers, const struct peer *peer);

void peers_free(struct peers *peers);

#endif
