/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question.h - what a request to the API asks.
 */
#ifndef CONNCOUNT_QUESTION_H
#define CONNCOUNT_QUESTION_H

#include <stdbool.h>
#include <stddef.h>

#include "target.h"

/* More than any question has. */
enum { PARAMETERS_MOST = 16 };

struct parameter {
	const char *name;
	const char *value; /* "" if it has none */
};

/* The parameters of a request, in its order. */
struct parameters {
	struct parameter parameter[PARAMETERS_MOST];
	size_t n; /* more than PARAMETERS_MOST: the rest was dropped */
};

/* Bytes of a message about a parameter. */
enum { QUESTION_ERROR_SIZE = 512 };

enum {
	NETWORKS_MOST = 1000, /* in an answer */
	NETWORKS_DEFAULT = 100,
	STEPS_DEFAULT = 60,
};

/* The largest networks, by their length, of a target. */
struct networks_question {
	struct target target; /* points into the parameters */
	struct lengths lengths;
	bool has_window; /* count the connections that were opened, not the open sessions */
	struct conncount_window window;
	bool has_within;
	struct conncount_cidr within; /* only the networks inside this one */
	size_t limit;
};

/* The networks that limits refused lately. */
struct refused_question {
	struct target target; /* of no listener: all of them */
	size_t limit;
};

/* A part of the curves of listeners. */
struct history_question {
	const char *listener; /* NULL: all; points into the parameters */
	unsigned step;        /* seconds */
	size_t limit;         /* how many steps, the newest ones */
};

/*
 * question_networks(), question_refused(), question_history() - read a question from its
 * parameters.
 * @ret: written only on success.
 * @ret_why: QUESTION_ERROR_SIZE bytes; on failure, what is wrong, and what would be right.
 *
 * Return 0 or -EINVAL.
 */
int question_networks(const struct parameters *parameters, struct networks_question *ret,
		      char *ret_why);
int question_refused(const struct parameters *parameters, struct refused_question *ret,
		     char *ret_why);
int question_history(const struct parameters *parameters, struct history_question *ret,
		     char *ret_why);

/* question_none() - that there are no parameters. As question_networks(). */
int question_none(const struct parameters *parameters, char *ret_why);

#endif
