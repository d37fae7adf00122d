// SPDX-License-Identifier: BSD-2-Clause
/*
 * self.c - tell the other nodes this host's counts.
 *
 * An exchange is one transaction of the engine: a batch of changes, a chunk of the snapshot, and a
 * header. The header that it replaces must be the one before: otherwise the engine has lost
 * something, or has gone back to an older state, or another host has this name.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"
#include "report.h"
#include "self.h"

enum {
	CHUNK_S = 1,      /* between two chunks */
	END_COMMANDS = 4, /* at the end of each transaction: ask_end() */
};

static char *key(const struct self *self, const char *what, const char *epoch, char *buf)
{
	return key_of(self->config->name, what, self->config->node, epoch, buf);
}

/* --- words of a command ------------------------------------------------------------------------
 */

enum { WORDS_MOST = 2 + 2 * CHUNKS };

struct words {
	int n;
	const char *word[WORDS_MOST];
	size_t length[WORDS_MOST];
};

static void add_bytes(struct words *words, const void *bytes, size_t n)
{
	words->word[words->n] = n ? bytes : "";
	words->length[words->n++] = n;
}

static void add_word(struct words *words, const char *text)
{
	add_bytes(words, text, strlen(text));
}

/* --- an exchange -------------------------------------------------------------------------------
 */

static void random_epoch(char *epoch)
{
	uint64_t random[2] = { 0 };

	while (getrandom(random, sizeof(random), 0) != sizeof(random))
		;
	snprintf(epoch, EPOCH_SIZE, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
}

/* The next header: of the same epoch, or the first of a new one. */
static void make_header(struct self *self, const struct local *local, bool begins, bool changes)
{
	struct header *next = &self->next;
	static uint64_t beat;

	*next = self->header;
	if (begins) {
		random_epoch(next->epoch);
		next->seq = 0;
	}
	next->seq += begins || changes;
	next->beat = ++beat;
	strcpy(self->tried, self->next_text);
	next->flags = (local->exact ? 0 : HEADER_INEXACT) | (self->twice ? HEADER_TWICE : 0);
	next->interval_ms = self->config->interval / NS_PER_MS;
	next->sessions = local->counts.sum;
	next->networks = (int64_t)local->counts.used;
	next->checksum = local->counts.checksum;
	header_format(next, self->next_text);
}

static void ask_header(struct self *self, struct engine *engine)
{
	char nodes[KEY_SIZE], name[KEY_SIZE];

	key_of(self->config->name, "nodes", NULL, NULL, nodes);
	engine_ask(engine, "MULTI");
	engine_ask(engine, "SADD %s %s", nodes, self->config->node);
	engine_ask(engine, "SET %s %s PX %llu GET", key(self, "n", NULL, name), self->next_text,
		   (unsigned long long)(self->config->lease / NS_PER_MS));
	self->asked = 3;
}

/* The chunk with the least sequence number: a reader needs the stream from there on. */
static int oldest_chunk(const struct self *self)
{
	int oldest = 0;

	for (int i = 1; i < CHUNKS; i++)
		if (self->chunk[i] < self->chunk[oldest])
			oldest = i;
	return oldest;
}

/* The changes, as the next entry of the stream; without those that all chunks have. */
static void ask_changes(struct self *self, struct engine *engine)
{
	unsigned long long seq = self->next.seq;
	char name[KEY_SIZE];

	key(self, "s", self->next.epoch, name);
	if (self->next_chunk == CHUNKS) {
		engine_ask(engine, "XADD %s %llu-0 d %b", name, seq, "", (size_t)0);
	} else {
		engine_ask(engine, "XADD %s NOMKSTREAM MINID %llu-0 %llu-0 d %b", name,
			   (unsigned long long)self->chunk[oldest_chunk(self)], seq,
			   (const void *)self->next_batch.bytes, self->next_batch.n);
	}
	self->asked++;
}

/* A chunk of the snapshot, or all. */
static void ask_chunks(struct self *self, struct engine *engine, const struct local *local)
{
	struct batch chunks[CHUNKS] = { { 0 } };
	char name[KEY_SIZE], numbers[CHUNKS][12];
	struct words words = { 0 };
	const struct count *count;
	bool all = self->next_chunk == CHUNKS;
	size_t at = 0;
	int err = 0;

	for (int i = 0; i < CHUNKS; i++)
		if (all || i == self->next_chunk)
			err = err ? err : batch_number(&chunks[i], self->next.seq);
	while (!err && (count = table_next(&local->counts, &at)))
		if (all || chunk_of(count) == (unsigned)self->next_chunk)
			err = batch_add(&chunks[chunk_of(count)], count, count->n);
	if (err) {
		engine_refuse(engine, "out of memory");
		goto cleanup;
	}
	add_word(&words, "HSET");
	add_word(&words, key(self, "z", self->next.epoch, name));
	for (int i = 0; i < CHUNKS; i++) {
		if (!chunks[i].n)
			continue;
		snprintf(numbers[i], sizeof(numbers[i]), "%d", i);
		add_word(&words, numbers[i]);
		add_bytes(&words, chunks[i].bytes, chunks[i].n);
	}
	engine_ask_with(engine, words.n, words.word, words.length);
	self->asked++;
cleanup:
	for (int i = 0; i < CHUNKS; i++)
		batch_free(&chunks[i]);
}

static void ask_end(struct self *self, struct engine *engine)
{
	unsigned long long lease = self->config->lease / NS_PER_MS;
	char stream[KEY_SIZE], chunks[KEY_SIZE];

	key(self, "s", self->next.epoch, stream);
	key(self, "z", self->next.epoch, chunks);
	engine_ask(engine, "PEXPIRE %s %llu", stream, lease);
	engine_ask(engine, "PEXPIRE %s %llu", chunks, lease);
	engine_ask(engine, "XLEN %s", stream);
	engine_ask(engine, "HLEN %s", chunks);
	engine_ask(engine, "EXEC");
	self->asked += END_COMMANDS + 1;
}

/* The chunk to write: the oldest one, if there are changes that it does not have. */
static int choose_chunk(const struct self *self, uint64_t now)
{
	int oldest = oldest_chunk(self);

	if (now < self->chunk_at)
		return -1;
	return self->chunk[oldest] < self->next.seq ? oldest : -1;
}

static void ask_begin(struct self *self, struct engine *engine, const struct local *local)
{
	char old[KEY_SIZE], older[KEY_SIZE];

	make_header(self, local, true, true);
	self->next_chunk = CHUNKS;
	ask_header(self, engine);
	if (*self->header.epoch) {
		engine_ask(engine, "UNLINK %s %s", key(self, "s", self->header.epoch, old),
			   key(self, "z", self->header.epoch, older));
		self->asked++;
	}
	ask_changes(self, engine);
	ask_chunks(self, engine, local);
	ask_end(self, engine);
}

static void ask_next(struct self *self, struct engine *engine, struct local *local, uint64_t now)
{
	bool changes;

	/* Take the changes over: they are this exchange's now. */
	batch_free(&self->next_batch);
	self->next_batch = local->batch;
	local->batch = (struct batch){ 0 };
	changes = self->next_batch.n;
	make_header(self, local, false, changes);
	self->next_chunk = choose_chunk(self, now);
	if (self->next_chunk >= 0)
		self->chunk_at = now + CHUNK_S * NS_PER_S;
	ask_header(self, engine);
	if (changes)
		ask_changes(self, engine);
	if (self->next_chunk >= 0)
		ask_chunks(self, engine, local);
	ask_end(self, engine);
}

/* Ask what header there is; and if another host has this name, tell it. */
static void ask_look(struct self *self, struct engine *engine)
{
	char name[KEY_SIZE];

	self->asked = 1;
	if (self->state == SELF_WATCHES && self->twice) {
		engine_ask(engine, "SET %s 1 PX %llu", key(self, "d", NULL, name),
			   (unsigned long long)(self->config->lease / NS_PER_MS));
		self->asked++;
	}
	engine_ask(engine, "MGET %s", key(self, "n", NULL, name));
}

void self_ask(struct self *self, struct engine *engine, struct local *local, uint64_t now)
{
	if (self->state == SELF_BEGINS || self->state == SELF_WATCHES)
		batch_free(&local->batch); /* an epoch begins with everything */
	switch (self->state) {
	case SELF_WATCHES:
	case SELF_DOUBTS:
		ask_look(self, engine);
		break;
	case SELF_BEGINS:
		ask_begin(self, engine, local);
		break;
	case SELF_TELLS:
		ask_next(self, engine, local, now);
		break;
	}
}

/* --- replies -----------------------------------------------------------------------------------
 */

static void watch(struct self *self, const char *text, uint64_t now)
{
	struct header header;
	uint64_t jitter = 0;

	/* Two hosts that find each other at the same time must not try again at the same time. */
	if (self->state != SELF_WATCHES && getrandom(&jitter, sizeof(jitter), 0) > 0)
		jitter %= NS_PER_S;
	self->state = SELF_WATCHES;
	snprintf(self->watched, sizeof(self->watched), "%s", text);
	self->watched_at = now;
	self->watch_for =
		jitter + patience_of(header_parse(text, &header) ? header_interval(&header) : 0);
}

/* Another host renews the header of our name. */
static void report_twice(struct self *self)
{
	self->twice = true;
	if (self->reported)
		return;
	self->reported = true;
	report("another host of the cluster '%s' is called '%s': this host's sessions are not "
	       "counted there (set node in one of them)",
	       self->config->name, self->config->node);
}

/* The header that there is while we watch: @text, or NULL. */
static void watched(struct self *self, const char *text, uint64_t now)
{
	struct header header;

	if (!text) {
		self->state = SELF_BEGINS;
	} else if (header_parse(text, &header) && header.flags & HEADER_LEFT) {
		/* It may be replaced: no host renews it. */
		snprintf(self->watched, sizeof(self->watched), "%s", text);
		self->state = SELF_BEGINS;
	} else if (strcmp(text, self->watched)) {
		/* The first one that is seen can be a dead node's. */
		if (*self->watched)
			report_twice(self);
		watch(self, text, now);
	} else if (now - self->watched_at > self->watch_for) {
		self->state = SELF_BEGINS;
	}
}

static void told(struct self *self, uint64_t now)
{
	self->header = self->next;
	strcpy(self->text, self->next_text);
	for (int i = 0; i < CHUNKS; i++)
		if (self->next_chunk == CHUNKS || i == self->next_chunk)
			self->chunk[i] = self->next.seq;
	batch_free(&self->next_batch);
	self->told_at = now;
	self->state = SELF_TELLS;
}

/* The header that there is after an exchange whose end we did not see. */
static void doubted(struct self *self, const char *text, uint64_t now)
{
	if (text && !strcmp(text, self->next_text))
		told(self, now);
	else
		self->state = SELF_BEGINS;
}

/* Read all replies that are asked for. Returns the last one; NULL if the connection was lost. */
static redisReply *last_reply(struct self *self, struct engine *engine)
{
	redisReply *reply = NULL;

	for (int i = 0; i < self->asked; i++) {
		freeReplyObject(reply);
		reply = engine_reply(engine);
		if (!reply)
			return NULL;
	}
	return reply;
}

static bool answer_look(struct self *self, struct engine *engine, uint64_t now)
{
	const char *text = NULL;
	redisReply *reply = last_reply(self, engine);

	if (!reply)
		return false;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
	    reply->element[0]->type == REDIS_REPLY_STRING)
		text = reply->element[0]->str;
	if (self->state == SELF_WATCHES)
		watched(self, text, now);
	else
		doubted(self, text, now);
	freeReplyObject(reply);
	return true;
}

static const char *text_of(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING ? reply->str : NULL;
}

static long long number_of(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

/* Whether the transaction was done. */
static bool check_exchange(struct self *self, struct engine *engine, const redisReply *done)
{
	if (done->type != REDIS_REPLY_ARRAY || done->elements < 2 + END_COMMANDS) {
		engine_refuse(engine, "a transaction was not done");
		return false;
	}
	for (size_t i = 0; i < done->elements; i++) {
		if (done->element[i]->type == REDIS_REPLY_ERROR) {
			engine_refuse_error(engine, done->element[i]->str);
			/* Perhaps a key is not what it should be: a new epoch has new ones. */
			self->state = SELF_BEGINS;
			return false;
		}
	}
	return true;
}

/* Whether a node that joins now finds all that it needs, after an exchange that was done. */
static bool is_whole(const struct self *self, const redisReply *done)
{
	redisReply *const *end = done->element + done->elements - END_COMMANDS;
	long long needed = (long long)(self->header.seq - self->chunk[oldest_chunk(self)]);

	return number_of(end[0]) && number_of(end[1]) && number_of(end[2]) >= needed &&
	       number_of(end[3]) == CHUNKS;
}

/*
 * Go on after an exchange that was done. If the engine has lost something, or has gone back to an
 * older state, begin an epoch.
 */
static void go_on(struct self *self, const redisReply *done, uint64_t now)
{
	/* The header that it has replaced. */
	const char *old = text_of(done->element[1]);
	bool begins = self->state == SELF_BEGINS;
	bool expected =
		old && (!strcmp(old, self->text) ||
			(begins && (!strcmp(old, self->watched) || !strcmp(old, self->tried))));
	struct header header;
	bool own = old && header_parse(old, &header) && !strcmp(header.epoch, self->header.epoch);

	told(self, now);
	if (begins)
		self->twice = self->reported = false;
	if (old && !expected && !own)
		watch(self, self->text, now);
	else if (!is_whole(self, done) || (!begins && !expected))
		self->state = SELF_BEGINS;
}

static bool answer_exchange(struct self *self, struct engine *engine, uint64_t now)
{
	redisReply *reply = last_reply(self, engine);
	bool done;

	if (!reply)
		return false;
	done = check_exchange(self, engine, reply);
	if (done)
		go_on(self, reply, now);
	freeReplyObject(reply);
	return done;
}

bool self_answer(struct self *self, struct engine *engine, uint64_t now)
{
	if (self->state == SELF_WATCHES || self->state == SELF_DOUBTS)
		return answer_look(self, engine, now);
	return answer_exchange(self, engine, now);
}

void self_lost(struct self *self, struct local *local, uint64_t now)
{
	if (self->state == SELF_TELLS)
		self->state = SELF_DOUBTS;
	/* By then the engine has forgotten us. */
	if (self->state == SELF_DOUBTS && now - self->told_at > self->config->lease)
		self->state = SELF_BEGINS;
	if (self->state != SELF_DOUBTS)
		batch_free(&local->batch);
}

/* --- leaving -----------------------------------------------------------------------------------
 */

void self_leave(struct self *self, struct engine *engine)
{
	char name[KEY_SIZE], stream[KEY_SIZE], chunks[KEY_SIZE], nodes[KEY_SIZE], text[HEADER_SIZE];
	struct header header = self->header;

	if (self->state != SELF_TELLS && self->state != SELF_DOUBTS)
		return;
	header.flags |= HEADER_LEFT;
	header.beat++;
	engine_ask(engine, "MULTI");
	engine_ask(engine, "SET %s %s PX %llu", key(self, "n", NULL, name),
		   header_format(&header, text),
		   (unsigned long long)(self->config->lease / NS_PER_MS));
	engine_ask(engine, "SREM %s %s", key_of(self->config->name, "nodes", NULL, NULL, nodes),
		   self->config->node);
	engine_ask(engine, "UNLINK %s %s", key(self, "s", header.epoch, stream),
		   key(self, "z", header.epoch, chunks));
	engine_ask(engine, "EXEC");
	self->asked = 5;
	freeReplyObject(last_reply(self, engine));
	self->header.epoch[0] = '\0';
	self->watched[0] = '\0';
	self->state = SELF_WATCHES;
}

void self_free(struct self *self)
{
	batch_free(&self->next_batch);
}
