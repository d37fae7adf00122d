/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limits_json.h - limits, and what they have refused, as JSON.
 */
#ifndef CONNCOUNT_LIMITS_JSON_H
#define CONNCOUNT_LIMITS_JSON_H

#include <jansson.h>

#include "refusals.h"

/* limits_json() - the limits of the listener @name, an array. */
json_t *limits_json(const struct refusals *refusals, const char *name);

/* ungated_json() - the network namespaces without a SYN gate, an array. */
json_t *ungated_json(const struct refusals *refusals);

/*
 * refused_json() - the object that `conncount refused --json` prints.
 * @listener: what was asked for; NULL: all.
 * @shown: how many networks, from the first one.
 */
json_t *refused_json(const struct refused *refused, const char *listener, size_t shown);

#endif
