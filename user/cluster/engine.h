/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * engine.h - the connection to Redis or Valkey.
 */
#ifndef CONNCOUNT_ENGINE_H
#define CONNCOUNT_ENGINE_H

#include <stdbool.h>

#include <hiredis/hiredis.h>

#include "batch.h"
#include "cluster_config.h"
#include "tls.h"

struct engine {
	const struct cluster_config *config;
	SSL_CTX *tls;          /* NULL: connections are not encrypted */
	redisContext *context; /* NULL: not connected */
	SSL *ssl;              /* over its socket; NULL: none */
	struct batch out;      /* commands to send */
	bool answered;         /* whether it has, since it was connected */
	char server[512];      /* the one that is connected, or was tried last */
	size_t at;             /* its number in the configuration */
	/* The last report about each, not to be repeated. */
	char said[CLUSTER_SERVERS_MOST][512];
};

/*
 * engine_setup() - read what connections need.
 * @error: of LINES_ERROR_SIZE bytes: gets the reason.
 *
 * Returns 0, or -EINVAL.
 */
int engine_setup(struct engine *engine, const struct cluster_config *config, char *error);

/*
 * engine_connect() - connect to the first server that will do: one that answers, has the commands
 * that are needed, and is no replica. Reports why not, once for each reason until
 * engine_works().
 *
 * Returns 0, also if it is connected already; or -ENOTCONN.
 */
int engine_connect(struct engine *engine);

void engine_disconnect(struct engine *engine);

/* engine_free() - disconnect, and free what was set up. */
void engine_free(struct engine *engine);

/*
 * engine_ask() - send a command, later: before the next reply is read. If that fails, so does
 * engine_reply().
 * @format: as redisFormatCommand() has it: %s a text, %b bytes and their number.
 */
void engine_ask(struct engine *engine, const char *format, ...);

/* engine_ask_with() - the same for words. */
void engine_ask_with(struct engine *engine, int n, const char **words, const size_t *lengths);

/*
 * engine_reply() - read the reply to the first command that has none yet.
 *
 * Returns the reply, which the caller frees with freeReplyObject(); NULL if there is none, or it is
 * an error: then that is reported, and the connection closed.
 */
redisReply *engine_reply(struct engine *engine);

/* engine_reply_or_type_error() - the same, but that a key has another type is a reply like others.
 */
redisReply *engine_reply_or_type_error(struct engine *engine);

/* engine_works() - note that the server does what it is asked. Reports that, if it did not before.
 */
void engine_works(struct engine *engine);

/* engine_refuse_error() - report an error of the server, with its remedy, and disconnect. */
void engine_refuse_error(struct engine *engine, const char *error);

/* engine_refuse() - report that the server cannot be used, and disconnect. */
void __attribute__((format(printf, 2, 3)))
engine_refuse(struct engine *engine, const char *format, ...);

#endif
