// SPDX-License-Identifier: BSD-2-Clause
/*
 * history.c - how many sessions each listener had lately.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "history.h"

enum {
	SECONDS,
	MINUTES,
	CURVES,
};

enum {
	WANTED_MS = 300000, /* how long steps of a second are kept after somebody has looked */
	UNKNOWN = -1,
};

static const struct {
	int64_t ms; /* of a step */
	int64_t n;  /* steps that are kept */
} curves[CURVES] = {
	[SECONDS] = { 1000, HISTORY_SECONDS },
	[MINUTES] = { 60000, HISTORY_MINUTES },
};

/* What was read when a step began. */
struct point {
	int32_t sessions; /* open; UNKNOWN: nothing was read */
	int32_t opened;   /* since the step before; UNKNOWN: nothing was read then */
};

/* Of a listener. Step K is at index K modulo the number of those kept. */
struct series {
	char name[CONNCOUNT_NAME_SIZE];
	bool current;            /* it is among the listeners that were just read */
	uint64_t opened[CURVES]; /* its total in the newest point */
	struct point seconds[HISTORY_SECONDS];
	struct point minutes[HISTORY_MINUTES];
};

struct history {
	struct series **series;
	size_t n;
	/* The number of the newest step: those of a curve are counted since the machine started. */
	int64_t newest[CURVES];
	int64_t wanted_until_ms;
};

static int64_t boot_ms(void)
{
	return (int64_t)(boot_ns() / NS_PER_MS);
}

/* The step that is in progress, or has just begun. So many before it have a number, too. */
static int64_t step_at(int curve, int64_t ms)
{
	return ms / curves[curve].ms + curves[curve].n;
}

/* When a step begins. */
static int64_t begin_ms(int curve, int64_t step)
{
	return (step - curves[curve].n) * curves[curve].ms;
}

static struct point *points(struct series *series, int curve)
{
	return curve == SECONDS ? series->seconds : series->minutes;
}

static struct point *point_at(struct series *series, int curve, int64_t step)
{
	return &points(series, curve)[step % curves[curve].n];
}

struct history *history_new(void)
{
	struct history *history = calloc(1, sizeof(*history));

	for (int curve = 0; history && curve < CURVES; curve++)
		history->newest[curve] = step_at(curve, boot_ms()) - 1;
	return history;
}

void history_free(struct history *history)
{
	if (!history)
		return;
	for (size_t i = 0; i < history->n; i++)
		free(history->series[i]);
	free(history->series);
	free(history);
}

void history_wanted(struct history *history)
{
	history->wanted_until_ms = boot_ms() + WANTED_MS;
}

int64_t history_due_ms(const struct history *history)
{
	int64_t now = boot_ms();
	int curve = now < history->wanted_until_ms ? SECONDS : MINUTES;
	int64_t due = begin_ms(curve, history->newest[curve] + 1) - now;

	return due > 0 ? due : 0;
}

/* --- sampling ----------------------------------------------------------------------------------
 */

static struct series *find(const struct history *history, size_t first, const char *name)
{
	/* The listeners are in the same order every time, but for a changed configuration. */
	for (size_t i = 0; i < history->n; i++) {
		struct series *series = history->series[(first + i) % history->n];

		if (!strcmp(series->name, name))
			return series;
	}
	return NULL;
}

/* Returns NULL if out of memory. */
static struct series *add(struct history *history, const char *name)
{
	struct series *series = malloc(sizeof(*series));
	struct series **grown =
		realloc(history->series, (history->n + 1) * sizeof(*history->series));

	if (grown)
		history->series = grown;
	if (!series || !grown) {
		free(series);
		return NULL;
	}
	/* All bits of UNKNOWN are set. */
	memset(series, 0xff, sizeof(*series));
	memcpy(series->name, name, sizeof(series->name));
	history->series[history->n++] = series;
	return series;
}

/* Free the series of listeners that are gone. */
static void drop_others(struct history *history)
{
	size_t kept = 0;

	for (size_t i = 0; i < history->n; i++) {
		if (history->series[i]->current)
			history->series[kept++] = history->series[i];
		else
			free(history->series[i]);
	}
	history->n = kept;
}

static int32_t bounded(uint64_t number)
{
	return number > INT32_MAX ? INT32_MAX : (int32_t)number;
}

/* Note the totals of a listener in @step, which is the newest one already. */
static void note(struct series *series, int curve, int64_t step,
		 const struct conncount_listener *listener)
{
	int64_t sessions = listener->ipv4.live + listener->ipv6.live;
	uint64_t opened = listener->ipv4.opened + listener->ipv6.opened;
	uint64_t before = series->opened[curve];
	bool known = point_at(series, curve, step - 1)->sessions != UNKNOWN;

	*point_at(series, curve, step) = (struct point){
		.sessions = bounded(sessions > 0 ? (uint64_t)sessions : 0),
		/* After an unload, the totals begin again. */
		.opened = known ? bounded(opened >= before ? opened - before : opened) : UNKNOWN,
	};
	series->opened[curve] = opened;
}

/* Make @step the newest one, with nothing noted in it and in those that were missed. */
static void advance(struct history *history, int curve, int64_t step)
{
	int64_t first = history->newest[curve] + 1;

	if (first <= step - curves[curve].n)
		first = step - curves[curve].n + 1;
	for (; first <= step; first++)
		for (size_t i = 0; i < history->n; i++)
			*point_at(history->series[i], curve, first) =
				(struct point){ UNKNOWN, UNKNOWN };
	history->newest[curve] = step;
}

void history_sample(struct history *history, struct conncount *cc)
{
	struct conncount_listener *listeners = NULL;
	int64_t now = boot_ms();
	bool begun[CURVES];
	size_t n = 0;

	for (int curve = 0; curve < CURVES; curve++) {
		int64_t step = step_at(curve, now);

		begun[curve] = step > history->newest[curve];
		if (begun[curve])
			advance(history, curve, step);
	}
	if ((!begun[SECONDS] && !begun[MINUTES]) || !cc || conncount_listeners(cc, &listeners, &n))
		return;
	for (size_t i = 0; i < history->n; i++)
		history->series[i]->current = false;
	for (size_t i = 0; i < n; i++) {
		struct series *series = find(history, i, listeners[i].name);

		if (!series)
			series = add(history, listeners[i].name);
		if (!series)
			continue;
		series->current = true;
		for (int curve = 0; curve < CURVES; curve++)
			if (begun[curve])
				note(series, curve, history->newest[curve], &listeners[i]);
	}
	drop_others(history);
	free(listeners);
}

/* --- answers ------------------------------------------------------------------------------------
 */

static json_t *number_json(int32_t number)
{
	return number == UNKNOWN ? json_null() : json_integer(number);
}

static json_t *series_json(struct series *series, int curve, int64_t newest, int64_t steps)
{
	json_t *object = json_object(), *sessions = json_array(), *opened = json_array();

	for (int64_t step = newest - steps + 1; step <= newest; step++) {
		const struct point *point = point_at(series, curve, step);

		json_array_append_new(sessions, number_json(point->sessions));
		json_array_append_new(opened, number_json(point->opened));
	}
	json_object_set_new(object, "name", json_string(series->name));
	json_object_set_new(object, "sessions", sessions);
	json_object_set_new(object, "opened", opened);
	return object;
}

/* How many steps the answer has. */
static int64_t steps_of(const struct history *history, const struct history_question *question,
			int curve)
{
	int64_t steps = (int64_t)question->limit;

	if (!question->listener && steps * (int64_t)history->n > HISTORY_POINTS_MOST)
		steps = HISTORY_POINTS_MOST / (int64_t)history->n;
	return steps < curves[curve].n ? steps : curves[curve].n;
}

/* The time of day at @boot, in seconds since 1970. */
static json_int_t real_s(int64_t boot)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (json_int_t)((int64_t)now.tv_sec +
			    (now.tv_nsec / 1000000 + boot - boot_ms() + 500) / 1000);
}

json_t *history_json(const struct history *history, const struct history_question *question)
{
	int curve = question->step == 1 ? SECONDS : MINUTES;
	int64_t newest = history->newest[curve], steps = steps_of(history, question, curve);
	json_t *object, *listeners;

	if (question->listener && !find(history, 0, question->listener))
		return NULL;
	object = json_object();
	listeners = json_array();
	for (size_t i = 0; i < history->n; i++)
		if (!question->listener || !strcmp(history->series[i]->name, question->listener))
			json_array_append_new(
				listeners, series_json(history->series[i], curve, newest, steps));
	json_object_set_new(object, "step", json_integer(question->step));
	json_object_set_new(object, "steps", json_integer(steps));
	json_object_set_new(object, "end", json_integer(real_s(begin_ms(curve, newest))));
	json_object_set_new(object, "listeners", listeners);
	return object;
}
