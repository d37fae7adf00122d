/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * search.h - run processes in every order in which their steps can happen.
 *
 * A model defines RULES, struct state and struct proc, whose `ret` is what the function called last
 * returned. Then it includes this file, and defines the functions that are declared first here.
 */
#ifndef MODEL_SEARCH_H
#define MODEL_SEARCH_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether process @p has done all, or waits for another one. */
static bool finished(int p);
static bool waits(int p);

/* Run process @p up to its next step. */
static void run(int p);

/* Print what process @p does next. */
static void tell_event(int p);

/* Ends a step: makes states equal that differ in nothing visible. */
static void step_end(void);

/* Whether `now` is right; if not, they call wrong(). check_last(): when all scripts are done. */
static bool check_state(void);
static bool check_last(void);

/* Print how check_last() found that `now` is wrong, if the run does not show it. */
static void tell_last(void);

/* --- the rules ------------------------------------------------------------------------------ */

#define RULE_ID(id, name, what) RULE_##id,
enum rule { RULES(RULE_ID) RULE_NONE };
#undef RULE_ID

static const struct {
	const char *name;
	const char *what; /* happens if it is left out */
} rules[] = {
#define RULE_TEXT(id, name, what) { name, what },
	RULES(RULE_TEXT)
#undef RULE_TEXT
};

static enum rule left_out = RULE_NONE;

static bool rule(enum rule which)
{
	return left_out != which;
}

/* --- steps ---------------------------------------------------------------------------------- */

static struct state now;    /* the steps are taken here */
static int procs;           /* how many processes there are */
static int choice, choices; /* which way the step takes, and how many it has */
static bool tracing;        /* print what each step does */

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	va_list args;

	if (!tracing)
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
}

/*
 * A function of several steps keeps its place in @at, as a line number, and goes on there when it
 * is called again. STEP() comes before the code of a step. CALL() calls another such function. Each
 * returns whether it is done; its value is then in proc->ret.
 */
#define BEGIN(at)                    \
	uint16_t *const at_ = &(at); \
	switch (*at_) {              \
	case 0:

#define STEP()                   \
	do {                     \
		*at_ = __LINE__; \
		proc->ret = 0;   \
		return false;    \
	case __LINE__:;          \
	} while (0)

#define CALL(call)                            \
	do {                                  \
		*at_ = __LINE__;              \
		__attribute__((fallthrough)); \
	case __LINE__:                        \
		if (!(call))                  \
			return false;         \
	} while (0)

#define RETURN(value)                \
	do {                         \
		proc->ret = (value); \
		*at_ = 0;            \
		return true;         \
	} while (0)

#define END() \
	}     \
	abort()

/* --- the search ----------------------------------------------------------------------------- */

static char reason[200];

__attribute__((format(printf, 1, 2))) static bool wrong(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	return false;
}

enum { STATES_MAX = 4000000 };

/* All states, in the order in which they were reached, and how: by a step from an earlier one. */
static struct state *states;
static struct how {
	uint32_t from;
	uint8_t proc, choice;
} * hows;
static uint32_t states_used, states_room;

/* Their numbers + 1, by hash. */
static uint32_t *table;
static uint32_t table_size;

static unsigned long steps_taken, lasts;

static void *grow(void *array, size_t size)
{
	array = realloc(array, size);
	if (!array) {
		fprintf(stderr, "model: no memory\n");
		exit(2);
	}
	return array;
}

static uint64_t state_hash(const struct state *state)
{
	const unsigned char *bytes = (const unsigned char *)state;
	uint64_t hash = 0, word;
	size_t i;

	for (i = 0; i + sizeof(word) <= sizeof(*state); i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		hash = (hash ^ word) * 0x9e3779b97f4a7c15;
		hash ^= hash >> 29;
	}
	for (; i < sizeof(*state); i++)
		hash = (hash ^ bytes[i]) * 0x9e3779b97f4a7c15;
	return hash ^ hash >> 32;
}

static void table_enter(uint32_t number)
{
	uint32_t i = state_hash(&states[number]) & (table_size - 1);

	while (table[i])
		i = (i + 1) & (table_size - 1);
	table[i] = number + 1;
}

/* Add the state `now`, unless it was reached before. Returns whether it is new. */
static bool state_add(uint32_t from, int proc)
{
	uint32_t i;

	if (states_used == states_room) {
		states_room = states_room ? 2 * states_room : 1 << 16;
		states = grow(states, states_room * sizeof(*states));
		hows = grow(hows, states_room * sizeof(*hows));
		table_size = 2 * states_room;
		table = grow(table, table_size * sizeof(*table));
		memset(table, 0, table_size * sizeof(*table));
		for (i = 0; i < states_used; i++)
			table_enter(i);
	}
	i = state_hash(&now) & (table_size - 1);
	for (; table[i]; i = (i + 1) & (table_size - 1)) {
		if (!memcmp(&states[table[i] - 1], &now, sizeof(now)))
			return false;
	}
	if (states_used == STATES_MAX) {
		fprintf(stderr, "model: over %d states\n", STATES_MAX);
		exit(2);
	}
	memcpy(&states[states_used], &now, sizeof(now));
	hows[states_used] = (struct how){ from, proc, choice };
	table[i] = ++states_used;
	return true;
}

/* One step of process @p from `now`, by `choice`. */
static void step(int p)
{
	choices = 1;
	run(p);
	step_end();
}

/* Print how state @number was reached. */
static void tell(uint32_t number)
{
	const struct how *how = &hows[number];

	if (number == 0)
		return;
	tell(how->from);
	memcpy(&now, &states[how->from], sizeof(now));
	choice = how->choice;
	printf("  %*sP%d ", 4 * how->proc, "", how->proc);
	tell_event(how->proc);
	printf(": ");
	tracing = true;
	step(how->proc);
	tracing = false;
	printf("\n");
}

/* Report that state @number is wrong. */
static int refuted(uint32_t number)
{
	printf("refuted: %s\n", reason);
	tell(number);
	memcpy(&now, &states[number], sizeof(now));
	tracing = true;
	tell_last();
	printf("  %s\n", reason);
	return 1;
}

/* Take every step that state @number has. Returns whether all states that it leads to are right. */
static bool search_from(uint32_t number)
{
	bool moves = false, done = true;

	for (int p = 0; p < procs; p++) {
		choice = 0;
		do {
			memcpy(&now, &states[number], sizeof(now));
			done &= finished(p);
			if (finished(p) || waits(p))
				break;
			moves = true;
			steps_taken++;
			step(p);
			if (state_add(number, p) && !check_state())
				return !refuted(states_used - 1);
		} while (++choice < choices);
	}
	lasts += done;
	if (moves)
		return true;
	memcpy(&now, &states[number], sizeof(now));
	if (done ? check_last() : wrong("all processes wait"))
		return true;
	return !refuted(number);
}

/* Search from `now` on. Returns the exit status. */
static int search(void)
{
	state_add(0, 0);
	if (!check_state())
		return refuted(0);
	for (uint32_t number = 0; number < states_used; number++) {
		if (!search_from(number))
			return 1;
	}
	printf("holds: %u states, %lu steps, %lu ends\n", states_used, steps_taken, lasts);
	return 0;
}

/* --- the command line ----------------------------------------------------------------------- */

__attribute__((noreturn, format(printf, 1, 2))) static void usage(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "model: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	exit(2);
}

static enum rule rule_named(const char *name)
{
	bool list = !strcmp(name, "list");

	for (int i = 0; i < RULE_NONE; i++) {
		if (list)
			printf("%-24s%s\n", rules[i].name, rules[i].what);
		else if (!strcmp(name, rules[i].name))
			return i;
	}
	if (list)
		exit(0);
	usage("no rule '%s'", name);
}

static inline int number(const char *text, int least, int most)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end || n < least || n > most)
		usage("'%s' is not from %d to %d", text, least, most);
	return n;
}

#endif
