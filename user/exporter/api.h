/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * api.h - the answers below /api/, as JSON.
 *
 * Each has a bounded size. An answer contains what the command prints with --json.
 * user/dist/monitoring/conncount.schema.json describes them.
 */
#ifndef CONNCOUNT_API_H
#define CONNCOUNT_API_H

#include <stddef.h>
#include <stdint.h>

#include "answers.h"
#include "history.h"
#include "question.h"

struct api {
	const char *dir;
	struct conncount **cc; /* NULL until the first answer that needs it opens it */
	struct history *history;
	struct answers answers;
	int64_t listed_ns; /* processor time that lists have taken that were kept */
};

struct api_answer {
	unsigned status; /* of HTTP */
	const char *text;
	size_t size;
	int64_t age_s; /* since it was made */
	char *owned;   /* the same, if the caller must free() it; otherwise NULL */
};

/*
 * api_answer() - answer a request.
 * @path: what comes after "/api/".
 * @ret: valid until the next call.
 *
 * Returns 0 or -ENOMEM. Other errors are answers.
 */
int api_answer(struct api *api, const char *path, const struct parameters *parameters,
	       struct api_answer *ret);

/* api_open() - open the instance if it is not open. Returns 0 or a negative errno. */
int api_open(struct api *api);

#endif
