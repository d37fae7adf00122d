/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * history.h - how many sessions each listener had lately.
 *
 * Two curves a listener: in steps of a minute for 12 hours, which is always kept, because a look at
 * a bad moment is about what was before it; and in steps of a second for 5 minutes, which is kept
 * only while somebody looks. So an exporter that nobody looks at wakes up once a minute, and reads
 * each listener's totals: that takes microseconds, from mapped memory if the process may map it.
 * A listener takes 8 kB.
 */
#ifndef CONNCOUNT_HISTORY_H
#define CONNCOUNT_HISTORY_H

#include <stdint.h>

#include <jansson.h>

#include "question.h"

enum {
	HISTORY_SECONDS = 300,
	HISTORY_MINUTES = 720,
	HISTORY_STEPS_MOST = HISTORY_MINUTES,
	/* Of all listeners in an answer: with more than 166 of them, it has fewer than 60 steps. */
	HISTORY_POINTS_MOST = 10000,
};

struct history;

/* history_new() - an empty one, which history_free() frees. Returns NULL if out of memory. */
struct history *history_new(void);

void history_free(struct history *history);

/* history_wanted() - somebody looks now: keep the steps of a second for the next minutes. */
void history_wanted(struct history *history);

/* history_due_ms() - milliseconds until history_sample() has something to do. */
int64_t history_due_ms(const struct history *history);

/*
 * history_sample() - note the current totals, if a step has begun since the last time.
 * @cc: NULL if it cannot be opened: then the step has no values.
 */
void history_sample(struct history *history, struct conncount *cc);

/*
 * history_json() - the answer to a question.
 *
 * Returns NULL if the question names a listener that there is not.
 */
json_t *history_json(const struct history *history, const struct history_question *question);

#endif
