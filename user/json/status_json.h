/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * status_json.h - an instance at one moment, as JSON.
 */
#ifndef CONNCOUNT_STATUS_JSON_H
#define CONNCOUNT_STATUS_JSON_H

#include <jansson.h>

#include "refusals.h"
#include "snapshot.h"

/*
 * status_json() - the object that `conncount status --json` prints.
 * @refusals: read with @snapshot.
 */
json_t *status_json(const struct snapshot *snapshot, const struct refusals *refusals);

#endif
