/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * self.h - tell the other nodes this host's counts.
 */
#ifndef CONNCOUNT_SELF_H
#define CONNCOUNT_SELF_H

#include "cluster_config.h"
#include "engine.h"
#include "header.h"
#include "local.h"

enum self_state {
	/* The engine has a header of this node that is not ours, or none that we know of. If nobody
	 * renews it, its node is dead: we take the name. */
	SELF_WATCHES,
	SELF_BEGINS, /* the next exchange begins an epoch, with everything */
	SELF_TELLS,  /* each exchange tells the changes */
	SELF_DOUBTS, /* the connection was lost in an exchange: was it done? */
};

struct self {
	const struct cluster_config *config;
	enum self_state state;
	bool twice;    /* another host has this name, as the engine or that host says */
	bool reported; /* that was reported */
	uint64_t
		told_at; /* when the others were last told anything: CLOCK_BOOTTIME, ns; 0: never */

	/* SELF_WATCHES: the header that is watched, since when, and for how long. */
	char watched[HEADER_SIZE];
	uint64_t watched_at, watch_for;

	/* The epoch: */
	struct header header;   /* the last one that was told */
	char text[HEADER_SIZE]; /* as text */
	uint64_t chunk[CHUNKS]; /* the sequence number of each */
	uint64_t chunk_at;      /* when to write the next one */

	/* The exchange that is under way, or in doubt: */
	struct header next;
	char next_text[HEADER_SIZE];
	char tried[HEADER_SIZE]; /* the one before, if its end was not seen either */
	struct batch next_batch; /* its changes */
	int next_chunk;          /* the chunk that it writes; -1: none; CHUNKS: all */
	int asked;               /* replies to come */
};

/* self_ask() - send what this exchange has to tell, of @local. @now: CLOCK_BOOTTIME, ns. */
void self_ask(struct self *self, struct engine *engine, struct local *local, uint64_t now);

/* self_answer() - read the replies. Returns false if the connection was lost. */
bool self_answer(struct self *self, struct engine *engine, uint64_t now);

/* self_lost() - there is no connection, or it was lost in the exchange. */
void self_lost(struct self *self, struct local *local, uint64_t now);

/* self_leave() - take this host's counts away from the others, at once. */
void self_leave(struct self *self, struct engine *engine);

void self_free(struct self *self);

#endif
