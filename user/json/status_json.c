// SPDX-License-Identifier: BSD-2-Clause
/*
 * status_json.c - an instance at one moment, as JSON.
 */
#include <string.h>

#include "answer_json.h"
#include "limits_json.h"
#include "origin.h"
#include "outside.h"
#include "status_json.h"

static void add_tally(json_t *object, const struct conncount_tally *tally)
{
	json_object_set_new(object, "live", json_integer(tally->live));
	json_object_set_new(object, "opened", json_integer((json_int_t)tally->opened));
	json_object_set_new(object, "closed", json_integer((json_int_t)tally->closed));
	json_object_set_new(object, "uncounted", json_integer(tally->uncounted));
	json_object_set_new(object, "lost", json_integer((json_int_t)tally->lost));
}

static json_t *totals_json(const struct conncount_proxied *proxied)
{
	json_t *object = json_object();

	json_object_set_new(object, "identified", json_integer((json_int_t)proxied->identified));
	json_object_set_new(object, "own", json_integer((json_int_t)proxied->own));
	json_object_set_new(object, "absent", json_integer((json_int_t)proxied->absent));
	json_object_set_new(object, "malformed", json_integer((json_int_t)proxied->malformed));
	json_object_set_new(object, "split", json_integer((json_int_t)proxied->split));
	json_object_set_new(object, "unread", json_integer((json_int_t)proxied->unread));
	return object;
}

static json_t *listener_json(const struct snapshot *snapshot, const struct refusals *refusals,
			     size_t at)
{
	const struct conncount_listener *listener = &snapshot->listeners[at];
	json_t *object = json_object(), *listens = json_array();
	json_t *ipv4 = json_object(), *ipv6 = json_object();
	struct conncount_tally both = tally_sum(listener);
	char text[LISTEN_SIZE];

	for (size_t i = 0; i < snapshot->n_listens; i++)
		if (!strcmp(snapshot->listens[i].name, listener->name))
			json_array_append_new(
				listens, json_string(listen_format(&snapshot->listens[i], text)));
	json_object_set_new(object, "name", json_string(listener->name));
	json_object_set_new(object, "service", json_string(listener->service));
	json_object_set_new(object, "active", json_boolean(listener->active));
	json_object_set_new(object, "listen", listens);
	add_tally(object, &both);
	add_tally(ipv4, &listener->ipv4);
	add_tally(ipv6, &listener->ipv6);
	json_object_set_new(object, "ipv4", ipv4);
	json_object_set_new(object, "ipv6", ipv6);
	json_object_set_new(object, "has_proxies", json_boolean(snapshot->proxied[at]));
	json_object_set_new(object, "awaiting", json_integer(listener->proxied.awaiting));
	json_object_set_new(object, "unidentified", json_integer(listener->proxied.unidentified));
	json_object_set_new(object, "proxied", totals_json(&listener->proxied));
	json_object_set_new(object, "limits", limits_json(refusals, listener->name));
	return object;
}

/* The cluster that this host is in, or null. */
static json_t *cluster_json(const struct snapshot *snapshot)
{
	const struct conncount_cluster *cluster = &snapshot->cluster.state;
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "nodes", snapshot->cluster.n },
		{ "age_ms", cluster->age_ms },
		{ "sessions", (uint64_t)cluster->sessions },
		{ "prefixes", cluster->prefixes },
		{ "max_prefixes", cluster->max_prefixes },
		{ "changes", cluster->applied },
		{ "resyncs", cluster->resyncs },
		{ "mended", cluster->mended },
		{ "diverged", cluster->diverged },
		{ "unnoted", cluster->unnoted },
	};
	json_t *object = json_object();

	if (!cluster->joined) {
		json_decref(object);
		return json_null();
	}
	json_object_set_new(object, "name", json_text(cluster->name));
	json_object_set_new(object, "exact", json_boolean(!cluster->reason));
	json_object_set_new(object, "reason",
			    cluster->reason ? json_text(snapshot->cluster.why) : json_null());
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		json_object_set_new(object, numbers[i].name,
				    json_integer((json_int_t)numbers[i].value));
	return object;
}

/* The windows of time, or null. */
static json_t *windows_json(const struct conncount_windows *windows)
{
	json_t *object, *lengths;
	char text[CONNCOUNT_WINDOW_SIZE];

	if (!windows->n)
		return json_null();
	object = json_object();
	lengths = json_array();
	for (uint32_t i = 0; i < windows->n; i++) {
		json_t *length = json_object();

		json_object_set_new(
			length, "window",
			json_string(conncount_window_format(&windows->window[i], text)));
		json_object_set_new(length, "error", json_integer((json_int_t)windows->error[i]));
		json_array_append_new(lengths, length);
	}
	json_object_set_new(object, "configured", lengths);
	json_object_set_new(object, "networks", json_integer((json_int_t)windows->networks));
	json_object_set_new(object, "max_networks",
			    json_integer((json_int_t)windows->max_networks));
	json_object_set_new(object, "evicted", json_integer((json_int_t)windows->evicted));
	return object;
}

json_t *status_json(const struct snapshot *snapshot, const struct refusals *refusals)
{
	char when[ORIGIN_TIME_SIZE], group[ORIGIN_GROUP_SIZE];
	json_t *object = json_object(), *listeners = json_array();

	for (size_t i = 0; i < snapshot->n_listeners; i++)
		json_array_append_new(listeners, listener_json(snapshot, refusals, i));
	json_object_set_new(object, "loaded", json_true());
	json_object_set_new(object, "dir", json_text(snapshot->dir));
	json_object_set_new(object, "counting_since",
			    origin_since(snapshot->dir, when) ? json_string(when) : json_null());
	json_object_set_new(object, "loaded_at",
			    origin_time(snapshot->dir, when) ? json_string(when) : json_null());
	json_object_set_new(object, "group",
			    origin_group(snapshot->dir, group) ? json_text(group) : json_null());
	json_object_set_new(object, "cgroup", json_text(snapshot->state.cgroup));
	json_object_set_new(object, "namespaces",
			    json_string(snapshot->state.netns ? "own" : "all"));
	json_object_set_new(object, "netns", json_integer(snapshot->state.netns));
	json_object_set_new(object, "build", json_string(snapshot->state.build));
	json_object_set_new(object, "kernel", json_string(snapshot->host.release));
	json_object_set_new(object, "generation",
			    json_integer((json_int_t)snapshot->state.generation));
	json_object_set_new(object, "nodes", json_integer(snapshot->state.nodes));
	json_object_set_new(object, "max_prefixes", json_integer(snapshot->state.max_prefixes));
	add_exactness(object, snapshot_is_exact(snapshot), snapshot->uncounted, snapshot->lost);
	json_object_set_new(object, "seeding", json_boolean(snapshot->state.seeding));
	json_object_set_new(object, "detached", json_boolean(snapshot->state.detached));
	json_object_set_new(object, "listeners", listeners);
	json_object_set_new(object, "cluster", cluster_json(snapshot));
	json_object_set_new(object, "windows", windows_json(&snapshot->windows));
	json_object_set_new(object, "namespaces_without_syn_gate", ungated_json(refusals));
	outside_add(object, snapshot);
	return object;
}
