// SPDX-License-Identifier: BSD-2-Clause
/*
 * answers.c - answers that were made lately.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "clock.h"

enum {
	SHARE = 20,    /* one of so many parts of a processor */
	IN_USE_S = 10, /* an answer is in use so long after it was asked for */
	OLDEST_S = 60, /* and no older than this, whatever it costs */
};

static int64_t now_ns(void)
{
	return (int64_t)boot_ns();
}

int64_t answers_age_s(const struct kept_answer *answer)
{
	return (now_ns() - answer->made_ns) / (int64_t)NS_PER_S;
}

static int64_t in_use(const struct answers *answers, int64_t now)
{
	int64_t n = 0;

	for (size_t i = 0; i < ANSWERS_MOST; i++)
		n += *answers->kept[i].key &&
		     now - answers->kept[i].used_ns < IN_USE_S * (int64_t)NS_PER_S;
	return n;
}

static bool is_new(const struct answers *answers, const struct kept_answer *answer, int64_t now)
{
	int64_t age = now - answer->made_ns;

	return age < OLDEST_S * (int64_t)NS_PER_S &&
	       age < SHARE * answer->cost_ns * in_use(answers, now);
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

const struct kept_answer *answers_keep(struct answers *answers, const char *key, char *text,
				       size_t size, int64_t cost_ns)
{
	struct kept_answer *place = find(answers, key);
	int64_t now = now_ns();

	for (size_t i = 0; !place && i < ANSWERS_MOST; i++)
		if (!*answers->kept[i].key)
			place = &answers->kept[i];
	if (!place) {
		place = answers->kept;
		for (size_t i = 1; i < ANSWERS_MOST; i++)
			if (answers->kept[i].used_ns < place->used_ns)
				place = &answers->kept[i];
	}
	free(place->text);
	*place = (struct kept_answer){
		.text = text,
		.size = size,
		.made_ns = now,
		.used_ns = now,
		.cost_ns = cost_ns,
	};
	memcpy(place->key, key, strlen(key) + 1);
	return place;
}

void answers_free(struct answers *answers)
{
	for (size_t i = 0; i < ANSWERS_MOST; i++)
		free(answers->kept[i].text);
}
