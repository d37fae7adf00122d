/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * openers_json.h - connections opened in windows of time, as JSON.
 */
#ifndef CONNCOUNT_OPENERS_JSON_H
#define CONNCOUNT_OPENERS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "opened.h"

/* add_range() - add the fields "count", "exact", "least" and "most" of a JSON answer. "most" is
 * null if it is not known. */
void add_range(json_t *object, int64_t count, int64_t least, int64_t most, bool exact);

/* add_window() - add the fields of a JSON answer that name its windows. */
void add_window(json_t *object, const struct conncount_window *window);

/*
 * openers_json() - the object that `conncount list --window --json` prints.
 * @shown: how many networks, from the first one.
 */
json_t *openers_json(const struct target *target, const struct conncount_window *window,
		     const struct openers *openers, size_t shown);

#endif
