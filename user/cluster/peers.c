// SPDX-License-Identifier: BSD-2-Clause
/*
 * peers.c - follow the other nodes.
 *
 * A node's counts are read once from its snapshot, and then followed by its stream. The snapshot's
 * chunks were written at different batches: with every batch from the oldest chunk on, in order,
 * the counts are right from the newest chunk on. A gap in the stream, another epoch, or a wrong
 * checksum: then the snapshot is read again, and the counts from before count until that is
 * complete.
 *
 * A node is alive if its header changes, and goes on to a later one of its epoch. A header of an
 * epoch that is seen for the first time may be an old one, in an engine that has gone back to an
 * old state: the counts of that epoch are not read until it has changed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "peers.h"
#include "report.h"

enum {
	ENTRIES_MOST = 1000,            /* of a stream, to read at once */
	ROUNDS_MOST = 64,               /* of reading, in one exchange */
	NAMES_MOST = 16 * CC_NODES_MAX, /* to look at */
};

/* --- counts ------------------------------------------------------------------------------------
 */

/* Take all of a table out of the sums. */
static void sums_sub_table(struct sums *sums, const struct table *table)
{
	const struct count *count;
	size_t at = 0;

	while ((count = table_next(table, &at)))
		sums_add(sums, count, -count->n);
}

/* Add all of a table to the sums. If it does not fit, adds nothing and returns false. */
static bool sums_add_table(struct sums *sums, const struct table *table)
{
	const struct count *count;
	size_t at = 0, done = 0;
	bool fits = true;

	while (fits && (count = table_next(table, &at))) {
		fits = !sums_add(sums, count, count->n);
		done += fits;
	}
	for (at = 0; !fits && done && (count = table_next(table, &at)); done--)
		sums_add(sums, count, -count->n);
	return fits;
}

static void copy_free(struct copy *copy)
{
	table_free(&copy->table);
	*copy = (struct copy){ 0 };
}

/* A node's counts no longer count. */
static void drop(struct peers *peers, struct peer *peer)
{
	sums_sub_table(&peers->sums, &peer->now.table);
	copy_free(&peer->now);
	copy_free(&peer->next);
	peer->behind = 0;
}

/* A node is gone: it left, or was silent for too long. */
static void end_life(struct peers *peers, struct peer *peer)
{
	drop(peers, peer);
	peer->alive = peer->proven = false;
}

/* How many addresses a node has, as far as they were read. */
static size_t size_of(const struct peer *peer)
{
	const struct table *now = &peer->now.table, *next = &peer->next.table;

	return now->used > next->used ? now->used : next->used;
}

/*
 * @peer's counts do not fit. All or none of a node's counts count: none of the node that has most,
 * so that one node, which may have been broken into, cannot keep the others out.
 */
static void give_up(struct peers *peers, struct peer *peer, uint64_t now)
{
	struct peer *most = peer;

	for (size_t i = 0; i < peers->n; i++)
		if (size_of(&peers->peer[i]) > size_of(most))
			most = &peers->peer[i];
	drop(peers, peer);
	if (most != peer) {
		peer->reads = true;
		peer->retry = now;
		drop(peers, most);
	}
	if (!most->full)
		report("node '%s': no room for its counts (raise max_prefixes, now %u)", most->name,
		       peers->config->max_prefixes);
	most->full = true;
	most->retry = now + peers->config->lease;
}

/* Apply a count to the copy that is in force. Returns false if it does not fit. */
static bool apply_now(struct peers *peers, struct peer *peer, const struct count *count)
{
	struct table *table = &peer->now.table;
	int64_t delta = count->n - table_get(table, count);

	peers->applied++;
	if (!delta)
		return true;
	if (sums_add(&peers->sums, count, delta))
		return false;
	if (!table_set(table, count, count->n))
		return true;
	sums_add(&peers->sums, count, -delta);
	return false;
}

/* Apply a count to the copy that is being read. Returns false if it does not fit. */
static bool apply_next(struct peers *peers, struct peer *peer, const struct count *count)
{
	return (!count->n || peer->next.table.used < peers->config->max_prefixes) &&
	       !table_set(&peer->next.table, count, count->n);
}

/* Apply bytes of counts. Returns false if they were given up. */
static bool apply(struct peers *peers, struct peer *peer, bool next, struct bytes bytes,
		  uint64_t now)
{
	struct count count;
	int more;

	while ((more = bytes_next(&bytes, &count)) > 0) {
		if (next ? apply_next(peers, peer, &count) : apply_now(peers, peer, &count))
			continue;
		give_up(peers, peer, now);
		return false;
	}
	if (more < 0)
		peer->reads = true;
	return more == 0;
}

static bool has_copy(const struct copy *copy)
{
	return *copy->epoch;
}

/* The copy that the stream goes on from. */
static struct copy *followed(struct peer *peer)
{
	return has_copy(&peer->next) ? &peer->next : &peer->now;
}

/* Put a complete copy in force. */
static void take_next(struct peers *peers, struct peer *peer, uint64_t now)
{
	sums_sub_table(&peers->sums, &peer->now.table);
	copy_free(&peer->now);
	if (!sums_add_table(&peers->sums, &peer->next.table)) {
		give_up(peers, peer, now);
		return;
	}
	peer->now = peer->next;
	peer->next = (struct copy){ 0 };
	peer->full = false;
	peers->resyncs++;
}

/* Whether to report what may happen again at once: once for each lease. */
static bool may_say(const struct peers *peers, struct peer *peer, uint64_t now)
{
	if (peer->said && now - peer->said < peers->config->lease)
		return false;
	peer->said = now;
	return true;
}

/* Whether the copy is as the header says, if it is of the same batch. */
static bool check(struct peers *peers, struct peer *peer, const struct copy *copy, uint64_t now)
{
	const struct header *header = &peer->header;

	if (strcmp(copy->epoch, header->epoch) || copy->seq != header->seq ||
	    copy->table.checksum == header->checksum)
		return true;
	peers->diverged++;
	if (may_say(peers, peer, now))
		report("node '%s': its counts have a wrong checksum; they are read again",
		       peer->name);
	peer->reads = true;
	peer->retry = now + peers->config->lease / 4;
	return false;
}

/* --- headers -----------------------------------------------------------------------------------
 */

static struct peer *find(struct peers *peers, const char *name)
{
	for (size_t i = 0; i < peers->n; i++)
		if (!strcmp(peers->peer[i].name, name))
			return &peers->peer[i];
	return NULL;
}

/* Whether a node can have that name. It is shown unescaped, and may come from a host that was
 * broken into. */
static bool is_name(const char *name, size_t len)
{
	return len < CC_NODE_NAME_SIZE && strlen(name) == len &&
	       lines_is_name(name, CLUSTER_NAME_CHARACTERS);
}

/* The names of the nodes. */
static void take_members(struct peers *peers, const redisReply *reply)
{
	bool left_out = false;

	for (size_t i = 0; i < peers->n; i++)
		peers->peer[i].member = false;
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
		left_out = left_out || i == NAMES_MOST;
		if (i == NAMES_MOST)
			break;
		const redisReply *name = reply->element[i];
		struct peer *peer;

		if (name->type != REDIS_REPLY_STRING || !is_name(name->str, (size_t)name->len) ||
		    !strcmp(name->str, peers->config->node))
			continue;
		peer = find(peers, name->str);
		if (!peer && peers->n < PEERS_MOST) {
			peer = &peers->peer[peers->n++];
			*peer = (struct peer){ 0 };
			strcpy(peer->name, name->str);
		}
		if (peer)
			peer->member = true;
		else
			left_out = true;
	}
	if (left_out && !peers->too_many)
		report("cluster '%s': has more than %d nodes; the others are not counted",
		       peers->config->name, CC_NODES_MAX);
	peers->too_many = left_out;
}

/* For how long a node may be silent: not less than it takes to write its header a few times. */
static uint64_t lease_of(const struct peers *peers, const struct peer *peer)
{
	uint64_t least = patience_of(header_interval(&peer->header));

	return least > peers->config->lease ? least : peers->config->lease;
}

static void take_silence(struct peers *peers, struct peer *peer, uint64_t passed)
{
	peer->silent += passed;
	if (peer->silent < lease_of(peers, peer))
		return;
	if (peer->alive)
		report("node '%s': silent for %llu s: its sessions are no longer counted",
		       peer->name, peer->silent / NS_PER_S);
	end_life(peers, peer);
	peer->full = false;
}

/* The version of a header that this host cannot read; 0: there is none. */
static void take_version(const struct peers *peers, struct peer *peer, unsigned version,
			 uint64_t now)
{
	if (version && version != peer->version && may_say(peers, peer, now))
		report("node '%s': speaks version %u of the protocol, this host version %d "
		       "(upgrade the older one)",
		       peer->name, version, HEADER_VERSION);
	peer->version = version;
}

/* The header of a node: @text, or NULL. */
static void take_header(struct peers *peers, struct peer *peer, const char *text, uint64_t now,
			uint64_t passed)
{
	struct header header;

	if (!text || !header_parse(text, &header)) {
		take_version(peers, peer, text ? header.version : 0, now);
		take_silence(peers, peer, passed);
		return;
	}
	take_version(peers, peer, 0, now);
	if (header.flags & HEADER_LEFT) {
		end_life(peers, peer);
		peer->member = false;
		peer->silent = lease_of(peers, peer);
		return;
	}
	if (strcmp(header.epoch, peer->header.epoch)) {
		peer->header = header;
		peer->proven = false;
		take_silence(peers, peer, passed);
		return;
	}
	if (header.beat <= peer->header.beat) {
		take_silence(peers, peer, passed);
		return;
	}
	if (!peer->alive)
		peer->reads = !has_copy(&peer->now);
	peer->alive = peer->proven = true;
	peer->header = header;
	peer->silent = 0;
	peer->heard = now;
}

static void remove_peer(struct peers *peers, size_t i)
{
	drop(peers, &peers->peer[i]);
	peers->peer[i] = peers->peer[--peers->n];
}

/* --- streams -----------------------------------------------------------------------------------
 */

/* `SEQ-0` */
static bool parse_id(const redisReply *id, uint64_t *ret_seq)
{
	int end = 0;

	return id->type == REDIS_REPLY_STRING &&
	       sscanf(id->str, "%" SCNu64 "-0%n", ret_seq, &end) == 1 && end == (int)id->len;
}

/* An entry of a node's stream. Returns false if it cannot be followed. */
static bool take_entry(struct peers *peers, struct peer *peer, const redisReply *entry,
		       uint64_t now)
{
	struct copy *copy = followed(peer);
	const redisReply *fields;
	uint64_t seq;

	if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
	    !parse_id(entry->element[0], &seq))
		return false;
	fields = entry->element[1];
	if (seq != copy->seq + 1 || fields->type != REDIS_REPLY_ARRAY || fields->elements != 2 ||
	    fields->element[1]->type != REDIS_REPLY_STRING)
		return false;
	copy->seq = seq;
	return apply(peers, peer, copy == &peer->next,
		     (struct bytes){ (const unsigned char *)fields->element[1]->str,
				     (size_t)fields->element[1]->len },
		     now);
}

/* The node whose stream has the key @key. */
static struct peer *find_by_stream(struct peers *peers, const char *key)
{
	char name[KEY_SIZE];

	for (size_t i = 0; i < peers->n; i++) {
		struct peer *peer = &peers->peer[i];
		const struct copy *copy = followed(peer);

		if (has_copy(copy) &&
		    !strcmp(key, key_of(peers->config->name, "s", peer->name, copy->epoch, name)))
			return peer;
	}
	return NULL;
}

/* What is new in the streams. Returns whether there may be more. */
static bool take_streams(struct peers *peers, const redisReply *reply, uint64_t now)
{
	bool more = false;

	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
		const redisReply *stream = reply->element[i], *entries;
		struct peer *peer;

		if (stream->type != REDIS_REPLY_ARRAY || stream->elements != 2 ||
		    stream->element[0]->type != REDIS_REPLY_STRING)
			continue;
		peer = find_by_stream(peers, stream->element[0]->str);
		entries = stream->element[1];
		if (!peer || entries->type != REDIS_REPLY_ARRAY)
			continue;
		for (size_t j = 0; j < entries->elements; j++) {
			if (take_entry(peers, peer, entries->element[j], now)) {
				more = more || j + 1 == ENTRIES_MOST;
				continue;
			}
			peer->reads = !peer->full;
			break;
		}
	}
	return more;
}

/* Ask for what is new in the streams of @n nodes. Returns false if there is none to follow. */
static bool ask_streams(const struct peers *peers, struct engine *engine, struct peer *peer,
			size_t n)
{
	const char *words[5 + 2 * PEERS_MOST] = { "XREAD", "COUNT", "1000", "STREAMS" };
	static char keys[PEERS_MOST][KEY_SIZE], ids[PEERS_MOST][32];
	int streams = 0, first = 4;

	_Static_assert(ENTRIES_MOST == 1000, "COUNT");
	for (size_t i = 0; i < n; i++) {
		const struct copy *copy = followed(&peer[i]);

		if (!has_copy(copy))
			continue;
		key_of(peers->config->name, "s", peer[i].name, copy->epoch, keys[streams]);
		snprintf(ids[streams], sizeof(ids[streams]), "%" PRIu64 "-0", copy->seq);
		streams++;
	}
	for (int i = 0; i < streams; i++) {
		words[first + i] = keys[i];
		words[first + streams + i] = ids[i];
	}
	if (streams)
		engine_ask_with(engine, first + 2 * streams, words, NULL);
	return streams;
}

/* Read what is new in the streams of @n nodes. Returns false if the connection was lost. */
static bool read_streams(struct peers *peers, struct engine *engine, struct peer *peer, size_t n,
			 uint64_t now, bool *ret_more)
{
	redisReply *reply;
	bool error;

	if (!ask_streams(peers, engine, peer, n))
		return true;
	reply = engine_reply_or_type_error(engine);
	if (!reply)
		return false;
	error = reply->type == REDIS_REPLY_ERROR;
	if (!error && take_streams(peers, reply, now))
		*ret_more = true;
	freeReplyObject(reply);
	/* One node's key of another type must not take the others with it. */
	for (size_t i = 0; error && n > 1 && i < n; i++)
		if (!read_streams(peers, engine, &peer[i], 1, now, ret_more))
			return false;
	if (error && n == 1)
		peer->reads = true;
	return true;
}

/* --- snapshots ---------------------------------------------------------------------------------
 */

static void ask_snapshot(const struct peers *peers, struct engine *engine, const struct peer *peer)
{
	char key[KEY_SIZE];

	engine_ask(engine, "HGETALL %s",
		   key_of(peers->config->name, "z", peer->name, peer->header.epoch, key));
}

/* A node's snapshot. If it is not whole, it is asked for again. */
static void take_snapshot(struct peers *peers, struct peer *peer, const redisReply *reply,
			  uint64_t now)
{
	uint64_t oldest = UINT64_MAX, newest = 0;

	copy_free(&peer->next);
	peer->retry = now + 2 * peers->config->interval;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 * CHUNKS)
		return;
	strcpy(peer->next.epoch, peer->header.epoch);
	for (size_t i = 1; i < reply->elements; i += 2) {
		const redisReply *chunk = reply->element[i];
		struct bytes bytes = { (const unsigned char *)chunk->str, 0 };
		uint64_t seq;

		if (chunk->type == REDIS_REPLY_STRING)
			bytes.n = (size_t)chunk->len;
		if (!bytes_number(&bytes, &seq) || !apply(peers, peer, true, bytes, now)) {
			copy_free(&peer->next);
			return;
		}
		oldest = seq < oldest ? seq : oldest;
		newest = seq > newest ? seq : newest;
	}
	peer->next.seq = oldest;
	peer->goal = newest;
	peer->reads = false;
}

/* Whether a node's snapshot must be read now. */
static bool is_to_read(const struct peer *peer, uint64_t now)
{
	return peer->reads && peer->proven && now >= peer->retry;
}

/* --- an exchange -------------------------------------------------------------------------------
 */

void peers_ask(struct peers *peers, struct engine *engine)
{
	const char *words[2 + PEERS_MOST] = { "MGET" };
	static char keys[1 + PEERS_MOST][KEY_SIZE];
	char nodes[KEY_SIZE];
	int n = 1;

	engine_ask(engine, "SMEMBERS %s", key_of(peers->config->name, "nodes", NULL, NULL, nodes));
	words[n++] = key_of(peers->config->name, "d", peers->config->node, NULL, keys[0]);
	for (size_t i = 0; i < peers->n; i++, n++)
		words[n] = key_of(peers->config->name, "n", peers->peer[i].name, NULL, keys[n - 1]);
	engine_ask_with(engine, n, words, NULL);
}

/* The headers; @passed: since the exchange before. */
static void take_headers(struct peers *peers, const redisReply *reply, size_t n, uint64_t now,
			 uint64_t passed)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != n + 1)
		return;
	peers->asked_at = now;
	peers->self_twice = reply->element[0]->type == REDIS_REPLY_STRING;
	for (size_t i = 0; i < n; i++) {
		const redisReply *header = reply->element[i + 1];

		take_header(peers, &peers->peer[i],
			    header->type == REDIS_REPLY_STRING ? header->str : NULL, now, passed);
	}
}

/* Read the snapshots that are needed. Returns false if the connection was lost. */
static bool read_snapshots(struct peers *peers, struct engine *engine, uint64_t now)
{
	bool asked[PEERS_MOST];

	for (size_t i = 0; i < peers->n; i++) {
		asked[i] = is_to_read(&peers->peer[i], now);
		if (asked[i])
			ask_snapshot(peers, engine, &peers->peer[i]);
	}
	for (size_t i = 0; i < peers->n; i++) {
		redisReply *reply = asked[i] ? engine_reply_or_type_error(engine) : NULL;

		if (!asked[i])
			continue;
		if (!reply)
			return false;
		take_snapshot(peers, &peers->peer[i], reply, now);
		freeReplyObject(reply);
	}
	return true;
}

/* Read the snapshots that are needed, and what is new in the streams, until nothing is left. */
static bool read_counts(struct peers *peers, struct engine *engine, uint64_t now)
{
	bool more = true;

	if (!read_snapshots(peers, engine, now))
		return false;
	for (int round = 0; more && round < ROUNDS_MOST; round++) {
		more = false;
		if (!read_streams(peers, engine, peers->peer, peers->n, now, &more))
			return false;
	}
	return true;
}

/* See what a node lacks after an exchange. */
static void settle(struct peers *peers, struct peer *peer, uint64_t now)
{
	const struct header *header = &peer->header;
	struct copy *copy;

	if (!peer->proven)
		return;
	if (has_copy(&peer->next) && peer->next.seq >= peer->goal &&
	    !strcmp(peer->next.epoch, header->epoch) && peer->next.seq >= header->seq) {
		if (check(peers, peer, &peer->next, now))
			take_next(peers, peer, now);
		else
			copy_free(&peer->next);
	} else if (has_copy(&peer->now) && !has_copy(&peer->next)) {
		check(peers, peer, &peer->now, now);
	}
	copy = followed(peer);
	if (strcmp(copy->epoch, header->epoch) || copy->seq < header->seq) {
		/* The stream was read after the header: it has lost what is missing. */
		peer->reads = !peer->full || now >= peer->retry;
		peer->behind = peer->behind ? peer->behind : now;
	} else if (!peer->reads && !has_copy(&peer->next)) {
		peer->behind = 0;
	}
}

bool peers_answer(struct peers *peers, struct engine *engine, uint64_t now)
{
	/* Hardly more than from one exchange to the next: while this process was stopped, or had no
	 * connection, nobody was silent. */
	uint64_t most =
		2 * peers->config->interval > NS_PER_S ? 2 * peers->config->interval : NS_PER_S;
	uint64_t passed = peers->asked_at ? now - peers->asked_at : 0;
	size_t n = peers->n;
	redisReply *members, *headers;

	if (most > peers->config->lease / 4)
		most = peers->config->lease / 4;
	if (passed > most)
		passed = most;
	members = engine_reply(engine);
	headers = members ? engine_reply(engine) : NULL;
	if (headers) {
		take_headers(peers, headers, n, now, passed);
		take_members(peers, members);
		freeReplyObject(headers);
	}
	freeReplyObject(members);
	if (!headers || !read_counts(peers, engine, now))
		return false;
	for (size_t i = 0; i < peers->n; i++)
		settle(peers, &peers->peer[i], now);
	for (size_t i = peers->n; i-- > 0;)
		if (!peers->peer[i].member && !peers->peer[i].alive &&
		    peers->peer[i].silent >= lease_of(peers, &peers->peer[i]))
			remove_peer(peers, i);
	return true;
}

/* --- states ------------------------------------------------------------------------------------
 */

static bool is_stale(const struct peers *peers, const struct peer *peer)
{
	return peer->silent > patience_of(peers->config->interval) &&
	       peer->silent > patience_of(header_interval(&peer->header));
}

int peer_state(const struct peers *peers, const struct peer *peer)
{
	/* It lives, and what it has is not known. */
	if (peer->version)
		return CC_NODE_RESYNC;
	if (!peer->alive && peer->silent >= lease_of(peers, peer))
		return CC_NODE_GONE;
	if (is_stale(peers, peer))
		return CC_NODE_STALE;
	return peer->proven && !peer->reads && has_copy(&peer->now) && !has_copy(&peer->next)
		       ? CC_NODE_OK
		       : CC_NODE_RESYNC;
}

int peer_reason(const struct peers *peers, const struct peer *peer)
{
	switch (peer_state(peers, peer)) {
	case CC_NODE_GONE:
		return CC_CLUSTER_EXACT;
	case CC_NODE_STALE:
		return CC_CLUSTER_STALE;
	case CC_NODE_RESYNC:
		return peer->full ? CC_CLUSTER_FULL : CC_CLUSTER_RESYNC;
	}
	if (peer->header.flags & HEADER_TWICE)
		return CC_CLUSTER_NAME;
	return peer->header.flags & HEADER_INEXACT ? CC_CLUSTER_INEXACT : CC_CLUSTER_EXACT;
}

void peers_free(struct peers *peers)
{
	for (size_t i = 0; i < peers->n; i++) {
		copy_free(&peers->peer[i].now);
		copy_free(&peers->peer[i].next);
	}
	sums_free(&peers->sums);
}
