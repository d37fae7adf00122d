// SPDX-License-Identifier: BSD-2-Clause
/*
 * openers_json.c - connections opened in windows of time, as JSON.
 */
#include "answer_json.h"
#include "openers_json.h"

void add_range(json_t *object, int64_t count, int64_t least, int64_t most, bool exact)
{
	json_object_set_new(object, "count", json_integer(count));
	json_object_set_new(object, "exact", json_boolean(exact));
	json_object_set_new(object, "least", json_integer(least));
	json_object_set_new(object, "most", most == INT64_MAX ? json_null() : json_integer(most));
}

void add_window(json_t *object, const struct conncount_window *window)
{
	char text[CONNCOUNT_WINDOW_SIZE];

	json_object_set_new(object, "window", json_string(conncount_window_format(window, text)));
	if (window->smooth) {
		json_object_set_new(object, "smooth", json_true());
		return;
	}
	json_object_set_new(object, "from", json_integer(window->from));
	json_object_set_new(object, "to", json_integer(window->to));
}

static json_t *opener_json(const struct conncount_opener *opener)
{
	json_t *object = json_object();
	char text[CONNCOUNT_CIDR_SIZE];

	json_object_set_new(object, "cidr",
			    json_string(conncount_cidr_format(&opener->cidr, text)));
	add_range(object, opener->count, opener->least, opener->most,
		  opener->least == opener->most);
	return object;
}

json_t *openers_json(const struct target *target, const struct conncount_window *window,
		     const struct openers *openers, size_t shown)
{
	json_t *object = json_object(), *entries = json_array();

	for (size_t i = 0; i < shown; i++)
		json_array_append_new(entries, opener_json(&openers->entries[i]));
	json_object_set_new(object, "entries", entries);
	json_object_set_new(object, "prefixes", json_integer((json_int_t)openers->n));
	json_object_set_new(object, "total", json_integer(openers->all.sum.count));
	json_object_set_new(object, "exact", json_boolean(openers_are_exact(openers)));
	add_window(object, window);
	add_target(object, target);
	return object;
}
