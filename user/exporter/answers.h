/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * answers.h - answers that were made lately, and the lists that they were made from, so that many
 * pages cost little more than one.
 *
 * Answers with networks of different lengths are made from one list, that of a level. Whatever is
 * kept is given again for a time that depends on its cost, and on that of all others in use: so
 * that making them takes a fortieth of a processor at most, whatever pages ask. Something that
 * costs 0.3 ms is 12 ms old at most; beside a list that costs 0.2 s, 0.3 s, and that list 8 s.
 */
#ifndef CONNCOUNT_ANSWERS_H
#define CONNCOUNT_ANSWERS_H

#include <stddef.h>
#include <stdint.h>

#include "listing.h"

enum {
	/* For as many pages as there can be connections: two answers of each, and lists. */
	ANSWERS_MOST = 96,
	ANSWER_KEY_SIZE = 512, /* with its NUL */
};

struct kept_answer {
	char key[ANSWER_KEY_SIZE]; /* the question; "": none */
	char *text;                /* NULL: it is a list, */
	size_t size;
	struct listing listing; /* this one */
	int64_t read_ns;        /* when what it says was read */
	int64_t made_ns, used_ns, cost_ns;
};

/* answers_age_s() - how long ago that was read what an answer says, in seconds. */
int64_t answers_age_s(const struct kept_answer *answer);

/* Empty if all is 0. */
struct answers {
	struct kept_answer kept[ANSWERS_MOST];
};

/* answers_find() - the answer to a question, if it is new enough; otherwise NULL. */
const struct kept_answer *answers_find(struct answers *answers, const char *key);

/*
 * answers_keep() - keep an answer in place of the one that was not used for the longest time.
 * answers_keep_listing() - the same of a list.
 * @text: allocated; it belongs to the answers from now on. So does what is in @listing.
 * @read_ns: of the list that it was made from; 0: it was read now.
 * @cost_ns: the processor time that it took, without that of the list.
 */
const struct kept_answer *answers_keep(struct answers *answers, const char *key, char *text,
				       size_t size, int64_t read_ns, int64_t cost_ns);
const struct kept_answer *answers_keep_listing(struct answers *answers, const char *key,
					       const struct listing *listing, int64_t cost_ns);

/* answers_drop_unused() - free what nobody has asked for lately. */
void answers_drop_unused(struct answers *answers);

void answers_free(struct answers *answers);

#endif
