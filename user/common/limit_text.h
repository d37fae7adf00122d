/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limit_text.h - limits as text: `/24,/64 over 100 reset`.
 */
#ifndef CONNCOUNT_LIMIT_TEXT_H
#define CONNCOUNT_LIMIT_TEXT_H

#include <linux/types.h>

#include "abi.h"

enum {
	/* Bytes of the longest text, with the terminating NUL. */
	LIMIT_TEXT_SIZE = sizeof("/32,/128 over 4294967295 reset"),
	LIMIT_WHY_SIZE = 96,
};

/*
 * limit_parse() - read a limit.
 * @ret: written only on success.
 * @why: LIMIT_WHY_SIZE bytes; gets what is wrong.
 * Returns 0 or -EINVAL.
 */
int limit_parse(const char *text, struct cc_limit *ret, char *why);

/* limit_format() - write a limit, of the programs or of limit_parse(), to @buf, of LIMIT_TEXT_SIZE
 * bytes. Returns @buf. */
char *limit_format(const struct cc_limit *limit, char *buf);

/* limit_lengths() - write only its prefix lengths, `/24,/64`. Returns @buf. */
char *limit_lengths(const struct cc_limit *limit, char *buf);

/* limit_action() - its action's name; "?" for one of another build. */
const char *limit_action(const struct cc_limit *limit);

#endif
