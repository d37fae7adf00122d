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
#include "reasons.h"
#include "refusals.h"
#include "snapshot.h"
#include "status_json.h"
#include "status_limits.h"
#include "window.h"

/* --- text --------------------------------------------------------------------------------- */

static void print_listener(const struct snapshot *snapshot,
			   const struct conncount_listener *listener)
{
	struct conncount_tally both = tally_sum(listener);
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

/* Print since when the instance counts, when it was loaded, and the group that can read it. */
static void print_origin(const char *dir)
{
	char when[ORIGIN_TIME_SIZE], group[ORIGIN_GROUP_SIZE];

	if (origin_since(dir, when))
		printf("since     %s\n", when);
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

static void report_reason(void *arg, const char *reason)
{
	(void)arg;
	report("%s", reason);
}

/* Print what there is to say of an instance. Returns the exit status. */
static int tell(const struct snapshot *snapshot, const struct refusals *refusals, bool json)
{
	int result = STATUS_DONE;

	if (json)
		result = print_json(status_json(snapshot, refusals));
	else
		print_snapshot(snapshot, refusals);
	reasons_tell(snapshot, report_reason, NULL);
	limits_report(refusals);
	if (!snapshot_is_exact(snapshot))
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
