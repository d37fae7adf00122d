// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_status.c - conncount status: is it loaded, what does it count, are the counts exact.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "origin.h"
#include "outside.h"
#include "refusals.h"
#include "snapshot.h"
#include "status_limits.h"
#include "window.h"

static struct conncount_tally sum(const struct conncount_listener *listener)
{
	const struct conncount_tally *a = &listener->ipv4, *b = &listener->ipv6;

	return (struct conncount_tally){
		.live = a->live + b->live,
		.opened = a->opened + b->opened,
		.closed = a->closed + b->closed,
		.uncounted = a->uncounted + b->uncounted,
		.lost = a->lost + b->lost,
	};
}

/* --- JSON --------------------------------------------------------------------------------- */

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
			     const struct conncount_listener *listener)
{
	json_t *object = json_object(), *listens = json_array();
	json_t *ipv4 = json_object(), *ipv6 = json_object();
	struct conncount_tally both = sum(listener);
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

static int print_snapshot_json(const struct snapshot *snapshot, const struct refusals *refusals)
{
	char when[ORIGIN_TIME_SIZE], group[ORIGIN_GROUP_SIZE];
	json_t *object = json_object(), *listeners = json_array();

	for (size_t i = 0; i < snapshot->n_listeners; i++)
		json_array_append_new(listeners,
				      listener_json(snapshot, refusals, &snapshot->listeners[i]));
	json_object_set_new(object, "loaded", json_true());
	json_object_set_new(object, "dir", json_text(snapshot->dir));
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
	return print_json(object);
}

/* --- text --------------------------------------------------------------------------------- */

static void print_listener(const struct snapshot *snapshot,
			   const struct conncount_listener *listener)
{
	struct conncount_tally both = sum(listener);
	char text[LISTEN_SIZE];

	printf("%-16s %-12s %9" PRId64 " %9" PRId64 " %9" PRId64 " %12" PRIu64 " %9" PRId64
	       " %6" PRIu64 " ",
	       listener->name, listener->service, both.live, listener->ipv4.live,
	       listener->ipv6.live, both.opened, both.uncounted, both.lost);
	for (size_t i = 0; i < snapshot->n_listens; i++)
		if (!strcmp(snapshot->listens[i].name, listener->name))
			printf(" %s", listen_format(&snapshot->listens[i], text));
	puts(listener->active ? "" : " (no longer configured)");
}

static void print_proxied(const char *name, const struct conncount_proxied *proxied)
{
	printf("%-16s %9" PRId64 " %12" PRId64 " %12" PRIu64 " %12" PRIu64 " %9" PRIu64 " %9" PRIu64
	       " %9" PRIu64 " %9" PRIu64 "\n",
	       name, proxied->awaiting, proxied->unidentified, proxied->identified, proxied->own,
	       proxied->absent, proxied->malformed, proxied->split, proxied->unread);
}

static void note_unidentified(const struct conncount_listener *listener)
{
	int64_t n = listener->proxied.unidentified;

	if (n)
		printf("note: %" PRId64 " open sessions of %s are counted under their proxy, "
		       "because no PROXY header was read (make the proxy send one, unless they are "
		       "UNREAD)\n",
		       n, listener->name);
}

/* A second table, of the listeners that have proxies. If there are none, print nothing. */
static void print_all_proxied(const struct snapshot *snapshot)
{
	bool any = false;

	for (size_t i = 0; i < snapshot->n_listeners; i++) {
		if (!snapshot->proxied[i])
			continue;
		if (!any)
			printf("\n%-16s %9s %12s %12s %12s %9s %9s %9s %9s\n", "PROXIED",
			       "AWAITING", "UNIDENTIFIED", "IDENTIFIED", "OWN", "ABSENT",
			       "MALFORMED", "SPLIT", "UNREAD");
		any = true;
		print_proxied(snapshot->listeners[i].name, &snapshot->listeners[i].proxied);
	}
	for (size_t i = 0; i < snapshot->n_listeners; i++)
		note_unidentified(&snapshot->listeners[i]);
}

/* A line about the cluster, if this host is in one. */
static void print_cluster(const struct snapshot *snapshot)
{
	const struct conncount_cluster *cluster = &snapshot->cluster.state;

	if (cluster->joined)
		printf("cluster   %s: %zu nodes, %" PRId64
		       " sessions on the others (see: conncount nodes)\n",
		       cluster->name, snapshot->cluster.n, cluster->sessions);
}

/* Print when the instance was loaded, if that is known, and the group that can read it. */
static void print_origin(const char *dir)
{
	char when[ORIGIN_TIME_SIZE], group[ORIGIN_GROUP_SIZE];

	if (origin_time(dir, when))
		printf("loaded    %s\n", when);
	if (origin_group(dir, group))
		printf("readers   root and the group %s\n", group);
	else
		puts("readers   only root");
}

/* A line about the windows of time, if there are any. */
static void print_windows(const struct conncount_windows *windows)
{
	char text[WINDOWS_SIZE];
	uint64_t most = 0;

	if (!windows->n)
		return;
	for (uint32_t i = 0; i < windows->n; i++)
		if (windows->error[i] > most)
			most = windows->error[i];
	printf("windows   %s: %" PRIu64 " of %" PRIu64 " networks (%.1f %%), %" PRIu64
	       " evicted, at most %" PRIu64 " connections missing\n",
	       windows_format(windows, text), windows->networks, windows->max_networks,
	       100.0 * (double)windows->networks / (double)windows->max_networks, windows->evicted,
	       most);
}

static void print_line(const char *line)
{
	puts(line);
}

static void print_snapshot(const struct snapshot *snapshot, const struct refusals *refusals)
{
	const struct conncount_state *state = &snapshot->state;

	printf("instance  %s\n", snapshot->dir);
	print_origin(snapshot->dir);
	printf("cgroup    %s\n", state->cgroup);
	if (state->netns)
		printf("netns     %" PRIu32 " (namespaces = own)\n", state->netns);
	else
		printf("netns     all of the cgroup (namespaces = all)\n");
	printf("build     %s, kernel %s\n", state->build, snapshot->host.release);
	printf("prefixes  %" PRId64 " of %" PRIu32 " (%.1f %%)\n", state->nodes,
	       state->max_prefixes, 100.0 * (double)state->nodes / state->max_prefixes);
	print_windows(&snapshot->windows);
	print_cluster(snapshot);
	printf("exact     %s\n\n", snapshot_is_exact(snapshot) ? "yes" : "no");
	printf("%-16s %-12s %9s %9s %9s %12s %9s %6s  %s\n", "LISTENER", "SERVICE", "LIVE", "IPV4",
	       "IPV6", "OPENED", "UNCOUNTED", "LOST", "LISTEN");
	for (size_t i = 0; i < snapshot->n_listeners; i++)
		print_listener(snapshot, &snapshot->listeners[i]);
	print_all_proxied(snapshot);
	limits_print(refusals);
	outside_tell(snapshot, print_line);
}

/* Report what is wrong with the counts, and what to do. Returns the exit status. */
static int judge(const struct snapshot *snapshot, const struct refusals *refusals)
{
	const struct conncount_state *state = &snapshot->state;

	if (snapshot->uncounted)
		report("%" PRId64 " open sessions are not counted: the table of prefixes was full "
		       "(%" PRId64 " of %" PRIu32
		       " in use; raise max_prefixes and load again), or the kernel was out of "
		       "memory (load again when there is enough)",
		       snapshot->uncounted, state->nodes, state->max_prefixes);
	if (snapshot->lost)
		report("%" PRIu64 " changes of a count were lost, so counts are wrong (to count "
		       "again, without a gap: conncount load)",
		       snapshot->lost);
	if (state->seeding)
		report("sessions that were already open are still being counted (if no load is "
		       "running, one has died: conncount load)");
	if (state->detached)
		report_detached(state->cgroup);
	limits_report(refusals);
	if (*snapshot->cluster.why)
		report("service '" CONNCOUNT_SERVICE_CLUSTER "': not exact: %s (see: conncount "
		       "nodes)",
		       snapshot->cluster.why);
	return snapshot_is_exact(snapshot) ? STATUS_DONE : STATUS_FAILED;
}

/* Print what there is to say of an instance. Returns the exit status. */
static int tell(const struct snapshot *snapshot, const struct refusals *refusals, bool json)
{
	int result = STATUS_DONE;

	if (json)
		result = print_snapshot_json(snapshot, refusals);
	else
		print_snapshot(snapshot, refusals);
	if (judge(snapshot, refusals))
		result = STATUS_FAILED;
	return result;
}

static int status(const char *dir, bool json)
{
	struct snapshot snapshot = { .n_listeners = 0 };
	struct refusals refusals;
	struct conncount *cc = NULL;
	char text[CONNCOUNT_ERROR_SIZE];
	int result = STATUS_FAILED;
	int err = conncount_open(dir, &cc);

	if (!err)
		err = snapshot_take(cc, dir, &snapshot);
	if (!err)
		err = refusals_read(&snapshot, &refusals);
	if (!err) {
		result = tell(&snapshot, &refusals, json);
		refusals_free(&refusals);
	} else {
		report("%s", conncount_strerror(dir, err, text, sizeof(text)));
	}
	snapshot_free(&snapshot);
	conncount_close(cc);
	return result;
}

static int run(const struct command *command, int argc, char **argv)
{
	const char *dir;
	bool json;

	if (!json_options(command, argc, argv, &dir, &json))
		return STATUS_USAGE;
	return status(dir, json);
}

const struct command status_command = {
	.name = "status",
	.arguments = "[--json] [--dir DIR]",
	.summary = "Show what is counted and whether the counts are exact",
	.help = HELP_JSON HELP_DIR "Exits with 1 if nothing is loaded or a count is not exact.\n",
	.run = run,
};
