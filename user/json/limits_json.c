// SPDX-License-Identifier: BSD-2-Clause
/*
 * limits_json.c - limits, and what they have refused, as JSON.
 */
#include <string.h>

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
