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

#endif
