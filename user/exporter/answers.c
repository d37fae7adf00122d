// SPDX-License-Identifier: BSD-2-Clause
/*
 * answers.c - answers that were made lately, and the lists that they were made from.
 */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "clock.h"

enum {
	SHARE = 40,    /* one of so many parts of a processor */
	IN_USE_S = 10, /* an answer is in use so long after it was asked for */
	OLDEST_S = 60, /* and no older than this, whatever it costs */
};

static int64_t now_ns(void)
{
	return (int64_t)boot_ns();
}

int64_t answers_age_s(const struct kept_answer *answer)
{
	return (now_ns() - answer->read_ns) / (int64_t)NS_PER_S;
}

static bool is_in_use(const struct kept_answer *answer, int64_t now)
{
	return *answer->key && now - answer->used_ns < IN_USE_S * (int64_t)NS_PER_S;
}

static double root_of_cost(const struct kept_answer *answer)
{
	return sqrt((double)answer->cost_ns);
}

/*
 * If each is made again after root(its cost) times the sum of these roots, all of them together
 * take one processor; and no other ages that do so have a smaller sum.
 */
static bool is_new(const struct answers *answers, const struct kept_answer *answer, int64_t now)
{
	int64_t age = now - answer->made_ns;
	double roots = 0;

	for (size_t i = 0; i < ANSWERS_MOST; i++)
		if (is_in_use(&answers->kept[i], now))
			roots += root_of_cost(&answers->kept[i]);
	return age < OLDEST_S * (int64_t)NS_PER_S &&
	       (double)age < SHARE * root_of_cost(answer) * roots;
}

static struct kept_answer *find(struct answers *answers, const char *key)
{
	for (size_t i = 0; i < ANSWERS_MOST; i++)
		if (!strcmp(answers->kept[i].key, key))
			return &answers->kept[i];
	return NULL;
}

const struct kept_answer *answers_find(struct answers *answers, const char *key)
{
	struct kept_answer *answer = find(answers, key);

	if (!answer)
		return NULL;
	answer->used_ns = now_ns();
	return is_new(answers, answer, answer->used_ns) ? answer : NULL;
}

static void drop(struct kept_answer *answer)
{
	free(answer->text);
	listing_free(&answer->listing);
	*answer = (struct kept_answer){ .text = NULL };
}

/* The place of @key, or an empty one, or that which was not used for the longest time: empty now.
 */
static struct kept_answer *make_place(struct answers *answers, const char *key)
{
	struct kept_answer *place = find(answers, key);

	if (!place)
		place = find(answers, "");
	if (!place) {
		place = answers->kept;
		for (size_t i = 1; i < ANSWERS_MOST; i++)
			if (answers->kept[i].used_ns < place->used_ns)
				place = &answers->kept[i];
	}
	drop(place);
	return place;
}

static struct kept_answer *keep(struct answers *answers, const char *key, int64_t read_ns,
				int64_t cost_ns)
{
	struct kept_answer *place = make_place(answers, key);

	place->made_ns = place->used_ns = now_ns();
	place->read_ns = read_ns ? read_ns : place->made_ns;
	place->cost_ns = cost_ns;
	memcpy(place->key, key, strlen(key) + 1);
	return place;
}

const struct kept_answer *answers_keep(struct answers *answers, const char *key, char *text,
				       size_t size, int64_t read_ns, int64_t cost_ns)
{
	struct kept_answer *place = keep(answers, key, read_ns, cost_ns);

	place->text = text;
	place->size = size;
	return place;
}

const struct kept_answer *answers_keep_listing(struct answers *answers, const char *key,
					       const struct listing *listing, int64_t cost_ns)
{
	struct kept_answer *place = keep(answers, key, 0, cost_ns);

	place->listing = *listing;
	return place;
}

void answers_drop_unused(struct answers *answers)
{
	int64_t now = now_ns();

	for (size_t i = 0; i < ANSWERS_MOST; i++)
		if (*answers->kept[i].key && !is_in_use(&answers->kept[i], now))
			drop(&answers->kept[i]);
}

void answers_free(struct answers *answers)
{
	for (size_t i = 0; i < ANSWERS_MOST; i++)
		drop(&answers->kept[i]);
}
