// SPDX-License-Identifier: BSD-2-Clause
/*
 * outside.c - the listening sockets outside of the counted cgroup.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "outside.h"
#include "queues.h"

enum {
	OUTSIDE_MOST = 20, /* sockets that are named */
	LINE_SIZE = PATH_MAX + 1024,
};

static void format_socket(const struct outside *outside, const struct conncount_state *state,
			  char *line)
{
	char socket[LISTEN_SIZE];

	listen_format(&outside->at, socket);
	if (outside->cgroup && !*outside->cgroup)
		snprintf(line, LINE_SIZE,
			 "note: %s (%s) listens in a cgroup that was removed: if that was outside "
			 "of %s, its sessions are not counted (restart the server)",
			 socket, outside->at.name, state->cgroup);
	else
		snprintf(line, LINE_SIZE,
			 "note: %s (%s) listens in cgroup %s, outside of %s: its sessions are not "
			 "counted (count in a cgroup that contains both, or create the socket "
			 "inside this one)",
			 socket, outside->at.name,
			 outside->cgroup ? outside->cgroup : "(not visible from here)",
			 state->cgroup);
}

static void tell_sockets(const struct queues *queues, const struct conncount_state *state,
			 void (*tell)(const char *line))
{
	size_t more = 0;
	char line[LINE_SIZE];

	for (size_t i = 0; i < queues->n_outside; i++) {
		if (i >= OUTSIDE_MOST) {
			more += queues->outside[i].sockets;
			continue;
		}
		format_socket(&queues->outside[i], state, line);
		tell(line);
	}
	if (more) {
		snprintf(line, sizeof(line),
			 "note: %zu more sockets listen outside of %s: their sessions are not "
			 "counted",
			 more, state->cgroup);
		tell(line);
	}
	if (queues->unseen) {
		snprintf(line, sizeof(line),
			 "note: listening sockets that may be outside of %s: %zu (run this where "
			 "its cgroup v2 mount is visible)",
			 state->cgroup, queues->unseen);
		tell(line);
	}
}

static int read_queues(const struct snapshot *snapshot, struct queues *ret_queues)
{
	return queues_read(&snapshot->state, snapshot->listens, snapshot->n_listens, true,
			   ret_queues);
}

void outside_tell(const struct snapshot *snapshot, void (*tell)(const char *line))
{
	struct queues queues;
	char line[LINE_SIZE];
	int err = read_queues(snapshot, &queues);

	if (err) {
		snprintf(line, sizeof(line),
			 "note: cannot tell whether a server listens outside of %s: %s",
			 snapshot->state.cgroup, queues_strerror(err));
		tell(line);
		return;
	}
	tell_sockets(&queues, &snapshot->state, tell);
	queues_free(&queues);
}

static json_t *socket_json(const struct outside *outside)
{
	json_t *object = json_object();
	char socket[LISTEN_SIZE];
	bool known = outside->cgroup && *outside->cgroup;

	json_object_set_new(object, "socket", json_string(listen_format(&outside->at, socket)));
	json_object_set_new(object, "listener", json_string(outside->at.name));
	json_object_set_new(object, "sockets", json_integer((json_int_t)outside->sockets));
	json_object_set_new(object, "cgroup", known ? json_string(outside->cgroup) : json_null());
	json_object_set_new(object, "removed", json_boolean(outside->cgroup && !known));
	return object;
}

void outside_add(json_t *object, const struct snapshot *snapshot)
{
	json_t *named = json_array();
	struct queues queues;
	size_t all = 0;

	if (read_queues(snapshot, &queues)) {
		json_decref(named);
		json_object_set_new(object, "outside", json_null());
		return;
	}
	for (size_t i = 0; i < queues.n_outside; i++) {
		if (i < OUTSIDE_MOST)
			json_array_append_new(named, socket_json(&queues.outside[i]));
		all += queues.outside[i].sockets;
	}
	json_object_set_new(object, "outside", named);
	json_object_set_new(object, "outside_sockets", json_integer((json_int_t)all));
	json_object_set_new(object, "unseen_sockets", json_integer((json_int_t)queues.unseen));
	queues_free(&queues);
}
