/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * answers.h - answers that were made lately, so that many pages cost little more than one.
 *
 * An answer is given again until 20 times its own cost has passed, times the number of answers in
 * use. So making them takes about a twentieth of a processor at most, whatever pages ask: an
 * answer that costs 0.3 ms is 6 ms old at most, and one that costs 0.2 s, for 20 pages that all
 * ask something else, a minute.
 */
#ifndef CONNCOUNT_ANSWERS_H
#define CONNCOUNT_ANSWERS_H

#include <stddef.h>
#include <stdint.h>

enum {
	ANSWERS_MOST = 32,     /* as many as there can be connections */
	ANSWER_KEY_SIZE = 512, /* with its NUL */
};

struct kept_answer {
	char key[ANSWER_KEY_SIZE]; /* the question; "": none */
	char *text;
	size_t size;
	int64_t made_ns, used_ns, cost_ns;
};

/* answers_age_s() - how old an answer is, in seconds. */
int64_t answers_age_s(const struct kept_answer *answer);

/* Empty if all is 0. */
struct answers {
	struct kept_answer kept[ANSWERS_MOST];
};

/* answers_find() - the answer to a question, if it is new enough; otherwise NULL. */
const struct kept_answer *answers_find(struct answers *answers, const char *key);

/*
 * answers_keep() - keep an answer in place of the one that was not used for the longest time.
 * @text: allocated; it belongs to the answers from now on.
 * @cost_ns: the processor time that it took.
 */
const struct kept_answer *answers_keep(struct answers *answers, const char *key, char *text,
				       size_t size, int64_t cost_ns);

void answers_free(struct answers *answers);

#endif
