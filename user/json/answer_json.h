/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * answer_json.h - parts of answers, as JSON: the command prints them, and the exporter serves them.
 */
#ifndef CONNCOUNT_ANSWER_JSON_H
#define CONNCOUNT_ANSWER_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "listing.h"
#include "target.h"

/* add_exactness() - add the fields of a JSON answer that say whether it is exact. */
void add_exactness(json_t *object, bool exact, int64_t uncounted, uint64_t lost);

/*
 * json_text() - a JSON string. If @text is not UTF-8, for example a path, each byte that is not
 * ASCII becomes a '?'. Returns NULL if there is no memory.
 */
json_t *json_text(const char *text);

/* add_target() - add the field of a JSON answer that names its target. */
void add_target(json_t *object, const struct target *target);

/* entry_json() - {"cidr": ..., "count": ...} */
json_t *entry_json(const struct conncount_entry *entry);

/* entries_json() - an array of the first @n entries of a listing. */
json_t *entries_json(const struct listing *listing, size_t n);

/*
 * listing_json() - the object that `conncount list --json` prints.
 * @entries: what it says of the networks; the object's from now on.
 */
json_t *listing_json(const struct target *target, const struct listing *listing, json_t *entries);

#endif
