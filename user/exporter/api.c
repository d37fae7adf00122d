// SPDX-License-Identifier: BSD-2-Clause
/*
 * api.c - the answers below /api/.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <microhttpd.h>

#include "answer_json.h"
#include "api.h"
#include "clock.h"
#include "internal.h"
#include "limits_json.h"
#include "nodes_json.h"
#include "openers_json.h"
#include "queues.h"
#include "reasons.h"
#include "status_json.h"

/* Bytes of an error: one names all services or listeners that there are, up to a bound. */
enum { ERROR_SIZE = 2048 };

/* Bytes of a target in a key; those of too long a name lead to no answer. */
enum { TARGET_KEY_SIZE = 320 };

int api_open(struct api *api)
{
	return *api->cc ? 0 : conncount_open(api->dir, api->cc);
}

/* --- errors ------------------------------------------------------------------------------------
 */

static int answer_object(json_t *object, unsigned status, struct api_answer *ret)
{
	char *text = json_dumps(object, JSON_COMPACT);

	json_decref(object);
	if (!text)
		return -ENOMEM;
	*ret = (struct api_answer){ status, text, strlen(text), 0, text };
	return 0;
}

static int __attribute__((format(printf, 3, 4)))
answer_error(unsigned status, struct api_answer *ret, const char *format, ...)
{
	json_t *object = json_object();
	char text[ERROR_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	json_object_set_new(object, "error", json_text(text));
	return answer_object(object, status, ret);
}

/* The answer to a query of the library that failed. */
static int answer_failure(const struct api *api, const struct target *target, int err,
			  struct api_answer *ret)
{
	char text[ERROR_SIZE];

	if (err == -ENOMEM)
		return err;
	return answer_error(err == -ESRCH ? MHD_HTTP_NOT_FOUND : MHD_HTTP_SERVICE_UNAVAILABLE, ret,
			    "%s",
			    target_strerror(api->dir, *api->cc, target, err, text, sizeof(text)));
}

/* --- answers that are kept ----------------------------------------------------------------------
 */

static int64_t processor_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (int64_t)used.tv_sec * (int64_t)NS_PER_S + used.tv_nsec;
}

/* That without the time for lists that are kept: their cost is their own. */
static int64_t own_ns(const struct api *api)
{
	return processor_ns() - api->listed_ns;
}

static int answer_kept(const struct kept_answer *kept, struct api_answer *ret)
{
	*ret = (struct api_answer){ MHD_HTTP_OK, kept->text, kept->size, answers_age_s(kept),
				    NULL };
	return 0;
}

/* Keep the answer that was begun at @began_ns. @read_ns: as answers_keep() has it. */
static int keep(struct api *api, const char *key, json_t *object, int64_t read_ns, int64_t began_ns,
		struct api_answer *ret)
{
	char *text = json_dumps(object, JSON_COMPACT);

	json_decref(object);
	if (!text)
		return -ENOMEM;
	return answer_kept(answers_keep(&api->answers, key, text, strlen(text), read_ns,
					own_ns(api) - began_ns),
			   ret);
}

/* --- /api/status --------------------------------------------------------------------------------
 */

static void append_reason(void *arg, const char *reason)
{
	json_array_append_new(arg, json_text(reason));
}

static json_t *queue_json(const struct accept_queue *queue)
{
	char socket[LISTEN_SIZE];

	return json_pack("{s:s, s:s?, s:I, s:I}", "listener", queue->at.name, "socket",
			 queue->others ? NULL : listen_format(&queue->at, socket), "waiting",
			 (json_int_t)queue->waiting, "limit", (json_int_t)queue->limit);
}

/* Add the accept queues; null, and why, if they cannot be read here. */
static void add_queues(json_t *object, const struct snapshot *snapshot)
{
	struct queues queues;
	json_t *array;
	int err = queues_read(&snapshot->state, snapshot->listens, snapshot->n_listens, false,
			      &queues);

	json_object_set_new(object, "queues_why",
			    err ? json_string(queues_strerror(err)) : json_null());
	if (err) {
		json_object_set_new(object, "queues", json_null());
		return;
	}
	array = json_array();
	for (size_t i = 0; i < queues.n_queues; i++)
		json_array_append_new(array, queue_json(&queues.queues[i]));
	json_object_set_new(object, "queues", array);
	queues_free(&queues);
}

static json_t *instance_json(const struct snapshot *snapshot, const struct refusals *refusals)
{
	json_t *object = json_object(), *reasons = json_array();

	reasons_tell(snapshot, append_reason, reasons);
	json_object_set_new(object, "status", status_json(snapshot, refusals));
	json_object_set_new(object, "reasons", reasons);
	json_object_set_new(object, "nodes",
			    snapshot->cluster.state.joined ? nodes_json(&snapshot->cluster)
							   : json_null());
	add_queues(object, snapshot);
	return object;
}

static int answer_status(struct api *api, const struct parameters *parameters,
			 struct api_answer *ret)
{
	static const char key[] = "status";
	const struct kept_answer *kept = answers_find(&api->answers, key);
	const struct target none = { NULL, NULL };
	struct snapshot snapshot = { .n_listeners = 0 };
	int64_t began = own_ns(api);
	char why[QUESTION_ERROR_SIZE];
	struct refusals refusals;
	json_t *object = NULL;
	int err = question_none(parameters, why);

	if (err)
		return answer_error(MHD_HTTP_BAD_REQUEST, ret, "%s", why);
	if (kept)
		return answer_kept(kept, ret);
	err = snapshot_take(*api->cc, api->dir, &snapshot);
	if (!err)
		err = refusals_read(&snapshot, &refusals);
	if (!err) {
		object = instance_json(&snapshot, &refusals);
		refusals_free(&refusals);
	}
	snapshot_free(&snapshot);
	return err ? answer_failure(api, &none, err, ret) : keep(api, key, object, 0, began, ret);
}

/* --- /api/networks ------------------------------------------------------------------------------
 */

/* Leave the networks inside of @within, and make the total that of theirs. */
static void narrow(struct openers *openers, const struct conncount_cidr *within)
{
	size_t kept = 0;

	openers->all.sum.count = 0;
	for (size_t i = 0; i < openers->n; i++) {
		struct conncount_cidr around = openers->entries[i].cidr;

		conncount_cidr_mask(&around, within->prefixlen);
		if (network_compare(&around, within))
			continue;
		openers->all.sum.count += openers->entries[i].count;
		openers->entries[kept++] = openers->entries[i];
	}
	openers->n = kept;
}

static json_t *opened_json(const struct api *api, const struct networks_question *question,
			   struct openers *openers)
{
	char text[CONNCOUNT_ERROR_SIZE];
	const char *why = opened_inexact_text(*api->cc, &question->target, &question->window,
					      &openers->all, text, sizeof(text));
	size_t shown = question->limit;
	json_t *object;

	if (question->has_within)
		narrow(openers, &question->within);
	if (shown > openers->n)
		shown = openers->n;
	openers_sort(openers);
	object = openers_json(&question->target, &question->window, openers, shown);
	json_object_set_new(object, "reason", why ? json_text(why) : json_null());
	return object;
}

static int take_opened(const struct api *api, const struct networks_question *question,
		       json_t **ret)
{
	struct openers openers;
	int err = openers_take(*api->cc, &question->target, &question->lengths, &question->window,
			       &openers);

	if (err)
		return err;
	*ret = opened_json(api, question, &openers);
	openers_free(&openers);
	return 0;
}

/* The answer to a question about networks that failed. */
static int answer_networks_failure(const struct api *api, const struct networks_question *question,
				   int err, struct api_answer *ret)
{
	char text[CONNCOUNT_ERROR_SIZE];

	if (!question->has_window ||
	    !window_error_text(*api->cc, &question->window, err, text, sizeof(text)))
		return answer_failure(api, &question->target, err, ret);
	/* The command's options are parameters here. */
	return answer_error(err == -ENODATA ? MHD_HTTP_NOT_FOUND : MHD_HTTP_BAD_REQUEST, ret, "%s",
			    text + strspn(text, "-"));
}

static json_t *length_json(int length)
{
	return length < 0 ? json_null() : json_integer(length);
}

static void add_question(json_t *object, const struct networks_question *question)
{
	char text[CONNCOUNT_CIDR_SIZE];

	json_object_set_new(object, "v4", length_json(question->lengths.ipv4));
	json_object_set_new(object, "v6", length_json(question->lengths.ipv6));
	json_object_set_new(object, "within",
			    question->has_within
				    ? json_string(conncount_cidr_format(&question->within, text))
				    : json_null());
}

/* What questions about a target have in their keys. */
static const char *target_key(const struct target *target, char *buf)
{
	snprintf(buf, TARGET_KEY_SIZE, "%s %.300s", target->listener ? "listener" : "service",
		 target->listener ? target->listener : target->service);
	return buf;
}

/*
 * Find or take the list of a level of a target: its networks of other lengths can be made from it.
 * @ret: valid until something is kept.
 */
static int find_level(struct api *api, const struct target *target, int family, unsigned level,
		      const struct kept_answer **ret)
{
	bool six = family == CONNCOUNT_IPV6;
	struct lengths lengths = { six ? -1 : (int)level, six ? (int)level : -1, false, false };
	char key[ANSWER_KEY_SIZE], buf[TARGET_KEY_SIZE];
	int64_t began = processor_ns();
	struct listing listing;
	int err;

	snprintf(key, sizeof(key), "level %d %u %s", family, level, target_key(target, buf));
	*ret = answers_find(&api->answers, key);
	if (*ret)
		return 0;
	err = listing_take(*api->cc, target, &lengths, NULL, &listing);
	if (err)
		return err;
	*ret = answers_keep_listing(&api->answers, key, &listing, processor_ns() - began);
	api->listed_ns += (*ret)->cost_ns;
	return 0;
}

/* Add the networks of a family. @read_ns: when the first of what is in the list was read; 0:
 * nothing. */
static int add_family(struct api *api, const struct target *target, int family, int length,
		      struct listing *listing, int64_t *read_ns)
{
	const struct kept_answer *level;
	int err;

	if (length < 0)
		return 0;
	err = find_level(api, target, family, level_from(family, (unsigned)length), &level);
	if (err)
		return err;
	if (!*read_ns || level->read_ns < *read_ns)
		*read_ns = level->read_ns;
	return listing_add(listing, &level->listing, (unsigned)length);
}

/* Two questions with the same key have the same answer. */
static void networks_key(const struct networks_question *question, char *ret)
{
	const struct conncount_window *window = &question->window;
	char within[CONNCOUNT_CIDR_SIZE] = "", target[TARGET_KEY_SIZE];

	if (question->has_within)
		conncount_cidr_format(&question->within, within);
	snprintf(ret, ANSWER_KEY_SIZE, "networks %d %d %zu %s %u %u %u %u %u %s",
		 question->lengths.ipv4, question->lengths.ipv6, question->limit, within,
		 window->seconds, window->windows, window->from, window->to, window->smooth,
		 target_key(&question->target, target));
}

/*
 * The list that the answer to a question is made from. What is within a network is read each time:
 * that is little.
 */
static int take_networks(struct api *api, const struct networks_question *question,
			 struct listing *ret, int64_t *ret_read_ns)
{
	const struct lengths *lengths = &question->lengths;
	struct listing listing = { .answer.flags = CONNCOUNT_EXACT };
	int err;

	*ret_read_ns = 0;
	if (question->has_within && question->within.prefixlen)
		return listing_take(*api->cc, &question->target, lengths, &question->within, ret);
	err = add_family(api, &question->target, CONNCOUNT_IPV4, lengths->ipv4, &listing,
			 ret_read_ns);
	if (!err)
		err = add_family(api, &question->target, CONNCOUNT_IPV6, lengths->ipv6, &listing,
				 ret_read_ns);
	if (err)
		listing_free(&listing);
	else
		*ret = listing;
	return err;
}

/* @ret_read_ns: when the first of what is in the answer was read; 0: now. */
static int take_sessions(struct api *api, const struct networks_question *question, json_t **ret,
			 int64_t *ret_read_ns)
{
	size_t shown = question->limit;
	struct listing listing;
	int err = take_networks(api, question, &listing, ret_read_ns);

	if (err)
		return err;
	if (shown > listing.n)
		shown = listing.n;
	listing_sort(&listing, shown);
	*ret = listing_json(&question->target, &listing, entries_json(&listing, shown));
	listing_free(&listing);
	return 0;
}

static int answer_networks(struct api *api, const struct parameters *parameters,
			   struct api_answer *ret)
{
	int64_t began = own_ns(api);
	struct networks_question question;
	const struct kept_answer *kept;
	char why[QUESTION_ERROR_SIZE];
	char key[ANSWER_KEY_SIZE];
	int64_t read_ns = 0;
	json_t *object = NULL;
	int err = question_networks(parameters, &question, why);

	if (err)
		return answer_error(MHD_HTTP_BAD_REQUEST, ret, "%s", why);
	networks_key(&question, key);
	kept = answers_find(&api->answers, key);
	if (kept)
		return answer_kept(kept, ret);
	err = question.has_window ? take_opened(api, &question, &object)
				  : take_sessions(api, &question, &object, &read_ns);
	if (err)
		return answer_networks_failure(api, &question, err, ret);
	add_question(object, &question);
	return keep(api, key, object, read_ns, began, ret);
}

/* --- /api/refused -------------------------------------------------------------------------------
 */

static int read_refused(const struct api *api, const struct target *target, struct refused *ret)
{
	int err = target_exists(*api->cc, target);

	return err ? err : refused_read(conncount_dir(api->dir), target->listener, ret);
}

static int answer_refused(struct api *api, const struct parameters *parameters,
			  struct api_answer *ret)
{
	int64_t began = own_ns(api);
	struct refused_question question;
	const struct kept_answer *kept;
	char why[QUESTION_ERROR_SIZE];
	char key[ANSWER_KEY_SIZE];
	struct refused refused;
	const char *listener;
	json_t *object;
	int err = question_refused(parameters, &question, why);

	if (err)
		return answer_error(MHD_HTTP_BAD_REQUEST, ret, "%s", why);
	listener = question.target.listener;
	snprintf(key, sizeof(key), "refused %zu %.300s", question.limit, listener ? listener : "");
	kept = answers_find(&api->answers, key);
	if (kept)
		return answer_kept(kept, ret);
	err = read_refused(api, &question.target, &refused);
	if (err)
		return answer_failure(api, &question.target, err, ret);
	object = refused_json(&refused, listener,
			      question.limit < refused.n ? question.limit : refused.n);
	refused_free(&refused);
	return keep(api, key, object, 0, began, ret);
}

/* --- /api/history -------------------------------------------------------------------------------
 */

static int answer_history(struct api *api, const struct parameters *parameters,
			  struct api_answer *ret)
{
	struct history_question question;
	char why[QUESTION_ERROR_SIZE];
	struct target target;
	json_t *object;
	int err = question_history(parameters, &question, why);

	if (err)
		return answer_error(MHD_HTTP_BAD_REQUEST, ret, "%s", why);
	history_wanted(api->history);
	history_sample(api->history, *api->cc);
	object = history_json(api->history, &question);
	if (object)
		return answer_object(object, MHD_HTTP_OK, ret);
	target = (struct target){ .listener = question.listener };
	return answer_failure(api, &target, -ESRCH, ret);
}

/* --- all ----------------------------------------------------------------------------------------
 */

int api_answer(struct api *api, const char *path, const struct parameters *parameters,
	       struct api_answer *ret)
{
	static const struct {
		const char *path;
		int (*answer)(struct api *api, const struct parameters *parameters,
			      struct api_answer *ret);
	} answers[] = {
		{ "status", answer_status },
		{ "networks", answer_networks },
		{ "refused", answer_refused },
		{ "history", answer_history },
	};
	const struct target none = { NULL, NULL };

	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		int err;

		if (strcmp(path, answers[i].path))
			continue;
		err = api_open(api);
		return err ? answer_failure(api, &none, err, ret)
			   : answers[i].answer(api, parameters, ret);
	}
	return answer_error(MHD_HTTP_NOT_FOUND, ret,
			    "there is no such answer (known: /api/status, /api/networks, "
			    "/api/refused, /api/history)");
}
