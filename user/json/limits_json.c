// SPDX-License-Identifier: BSD-2-Clause
/*
 * limits_json.c - limits, and what they have refused, as JSON.
 */
#include <string.h>

#include "answer_json.h"
#include "limit_text.h"
#include "limits_json.h"

static json_t *limit_json(const struct limited *limited, __u32 i)
{
	json_t *object = json_object();
	char text[LIMIT_TEXT_SIZE];

	json_object_set_new(object, "limit",
			    json_string(limit_format(&limited->limits.limit[i], text)));
	json_object_set_new(object, "refused",
			    json_integer((json_int_t)limited->totals[i].refused));
	json_object_set_new(object, "would_refuse",
			    json_integer((json_int_t)limited->totals[i].would_refuse));
	json_object_set_new(object, "in_force", json_boolean(!limited->why_not));
	json_object_set_new(object, "reason",
			    limited->why_not ? json_string(limited->why_not) : json_null());
	return object;
}

json_t *limits_json(const struct refusals *refusals, const char *name)
{
	json_t *array = json_array();

	for (size_t i = 0; i < refusals->n_limited; i++) {
		const struct limited *limited = &refusals->limited[i];

		for (__u32 j = 0; !strcmp(limited->name, name) && j < limited->limits.n; j++)
			json_array_append_new(array, limit_json(limited, j));
	}
	return array;
}

json_t *ungated_json(const struct refusals *refusals)
{
	json_t *array = json_array();

	for (size_t i = 0; i < refusals->n_ungated; i++)
		json_array_append_new(array, json_integer(refusals->ungated[i]));
	return array;
}

static json_t *refused_network_json(const struct refused_network *network)
{
	json_t *object = json_object();
	char text[CONNCOUNT_CIDR_SIZE];

	json_object_set_new(object, "cidr",
			    json_string(conncount_cidr_format(&network->cidr, text)));
	json_object_set_new(object, "listener", json_text(network->listener));
	json_object_set_new(object, "refused", json_integer((json_int_t)network->refused));
	json_object_set_new(object, "would_refuse",
			    json_integer((json_int_t)network->would_refuse));
	json_object_set_new(object, "age_ms", json_integer((json_int_t)network->age_ms));
	return object;
}

json_t *refused_json(const struct refused *refused, const char *listener, size_t shown)
{
	json_t *object = json_object(), *entries = json_array();

	for (size_t i = 0; i < shown; i++)
		json_array_append_new(entries, refused_network_json(&refused->networks[i]));
	json_object_set_new(object, "entries", entries);
	json_object_set_new(object, "networks", json_integer((json_int_t)refused->n));
	json_object_set_new(object, "listener", listener ? json_text(listener) : json_null());
	return object;
}
