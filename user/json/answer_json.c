// SPDX-License-Identifier: BSD-2-Clause
/*
 * answer_json.c - parts of answers, as JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "answer_json.h"

void add_exactness(json_t *object, bool exact, int64_t uncounted, uint64_t lost)
{
	json_object_set_new(object, "exact", json_boolean(exact));
	json_object_set_new(object, "uncounted", json_integer(uncounted));
	json_object_set_new(object, "lost", json_integer((json_int_t)lost));
}

json_t *json_text(const char *text)
{
	json_t *string = json_string(text);
	char *copy;

	if (string)
		return string;
	copy = strdup(text);
	if (!copy)
		return NULL;
	for (char *c = copy; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	string = json_string(copy);
	free(copy);
	return string;
}

void add_target(json_t *object, const struct target *target)
{
	if (target->listener)
		json_object_set_new(object, "listener", json_text(target->listener));
	else
		json_object_set_new(object, "service", json_text(target->service));
}

json_t *entry_json(const struct conncount_entry *entry)
{
	json_t *object = json_object();
	char text[CONNCOUNT_CIDR_SIZE];

	json_object_set_new(object, "cidr", json_string(conncount_cidr_format(&entry->cidr, text)));
	json_object_set_new(object, "count", json_integer(entry->count));
	return object;
}

json_t *listing_json(const struct target *target, const struct listing *listing, json_t *entries)
{
	json_t *object = json_object();

	json_object_set_new(object, "entries", entries);
	json_object_set_new(object, "prefixes", json_integer((json_int_t)listing->n));
	json_object_set_new(object, "total", json_integer(listing->answer.count));
	add_exactness(object, listing->answer.flags & CONNCOUNT_EXACT, listing->answer.uncounted,
		      listing->answer.lost);
	add_target(object, target);
	return object;
}

json_t *entries_json(const struct listing *listing, size_t n)
{
	json_t *entries = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(entries, entry_json(&listing->entries[i]));
	return entries;
}
