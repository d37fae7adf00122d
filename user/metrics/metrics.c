// SPDX-License-Identifier: BSD-2-Clause
/*
 * metrics.c - an instance as metrics: reading it, and the two formats.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "limit_text.h"
#include "metrics.h"

int metrics_take(struct conncount *cc, const char *dir, struct metrics *ret_metrics)
{
	struct metrics metrics = { .n_programs = 0 };
	int err = snapshot_take(cc, dir, &metrics.snapshot);

	if (err)
		return err;
	err = refusals_read(&metrics.snapshot, &metrics.refusals);
	if (err) {
		snapshot_free(&metrics.snapshot);
		return err;
	}
	metrics.queues_err = queues_read(&metrics.snapshot.state, metrics.snapshot.listens,
					 metrics.snapshot.n_listens, false, &metrics.queues);
	metrics.n_programs = program_stats(metrics.snapshot.dir, metrics.programs);
	*ret_metrics = metrics;
	return 0;
}

void metrics_free(struct metrics *metrics)
{
	queues_free(&metrics->queues);
	refusals_free(&metrics->refusals);
	snapshot_free(&metrics->snapshot);
}

/* --- the formats -------------------------------------------------------------------------- */

enum type {
	GAUGE,
	COUNTER,
	INFO,
};

/* A metric family: what its samples have in common. */
struct family {
	const char *name;
	const char *unit; /* NULL: none */
	const char *help;
	enum type type;
};

struct page {
	FILE *out;
	enum metrics_format format;
};

/* What follows the family's name in a sample. */
static const char *suffix(enum type type)
{
	static const char *const text[] = {
		[GAUGE] = "",
		[COUNTER] = "_total",
		[INFO] = "_info",
	};

	return text[type];
}

/* The lines before a family's samples. In the older format the family has the name of its samples.
 */
static void print_family(const struct page *page, const struct family *family)
{
	static const char *const types[] = {
		[GAUGE] = "gauge",
		[COUNTER] = "counter",
		[INFO] = "info",
	};
	bool text = page->format == METRICS_TEXT;
	const char *end = text ? suffix(family->type) : "";
	enum type type = text && family->type == INFO ? GAUGE : family->type;

	fprintf(page->out, "# HELP %s%s %s\n", family->name, end, family->help);
	fprintf(page->out, "# TYPE %s%s %s\n", family->name, end, types[type]);
	if (family->unit && !text)
		fprintf(page->out, "# UNIT %s %s\n", family->name, family->unit);
}

struct label {
	const char *name;
	const char *value;
};

/* A label's value between quotes, with quotes, backslashes and newlines escaped. */
static void print_value(const struct page *page, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", page->out);
		else if (*value == '"' || *value == '\\')
			fprintf(page->out, "\\%c", *value);
		else
			fputc(*value, page->out);
	}
}

/* A sample up to its number. @labels ends with a label that has no name. */
static void print_sample(const struct page *page, const struct family *family,
			 const struct label *labels)
{
	fprintf(page->out, "%s%s", family->name, suffix(family->type));
	for (const struct label *label = labels; label->name; label++) {
		fprintf(page->out, "%c%s=\"", label == labels ? '{' : ',', label->name);
		print_value(page, label->value);
		fputc('"', page->out);
	}
	fputs(labels->name ? "} " : " ", page->out);
}

static void print_integer(const struct page *page, const struct family *family,
			  const struct label *labels, uint64_t value)
{
	print_sample(page, family, labels);
	fprintf(page->out, "%" PRIu64 "\n", value);
}

/* A family of one sample, without labels. */
static void print_single(const struct page *page, const struct family *family, uint64_t value)
{
	static const struct label none = { NULL, NULL };

	print_family(page, family);
	print_integer(page, family, &none, value);
}

/* --- what there is to tell ----------------------------------------------------------------- */

static void print_build(const struct page *page, const struct snapshot *snapshot)
{
	static const struct family family = {
		.name = "conncount_build",
		.help = "The build that is loaded, and the kernel it runs on.",
		.type = INFO,
	};
	const struct label labels[] = {
		{ "version", snapshot->state.build },
		{ "kernel", snapshot->host.release },
		{ NULL, NULL },
	};

	print_family(page, &family);
	print_integer(page, &family, labels, 1);
}

static void print_state(const struct page *page, const struct snapshot *snapshot)
{
	const struct conncount_state *state = &snapshot->state;
	const struct {
		struct family family;
		uint64_t value;
	} singles[] = {
		{ { "conncount_exact", NULL, "1 if every count is exact, 0 if not.", GAUGE },
		  snapshot_is_exact(snapshot) },
		{ { "conncount_seeding", NULL,
		    "1 while sessions that were open before a load are being counted.", GAUGE },
		  state->seeding },
		{ { "conncount_detached", NULL,
		    "1 if the counted cgroup was removed: nothing is counted.", GAUGE },
		  state->detached },
		{ { "conncount_prefixes", NULL, "Networks in the table of counts.", GAUGE },
		  (uint64_t)state->nodes },
		{ { "conncount_prefixes_max", NULL,
		    "How many networks the table of counts can hold.", GAUGE },
		  state->max_prefixes },
	};

	for (size_t i = 0; i < sizeof(singles) / sizeof(*singles); i++)
		print_single(page, &singles[i].family, singles[i].value);
}

/* One family of the listeners' totals, for both address families: the member at @offset of each
 * tally. */
static void print_tallies(const struct page *page, const struct snapshot *snapshot,
			  const struct family *family, size_t offset)
{
	print_family(page, family);
	for (size_t i = 0; i < snapshot->n_listeners; i++) {
		const struct conncount_listener *listener = &snapshot->listeners[i];
		const struct {
			const char *name;
			const struct conncount_tally *tally;
		} families[] = { { "ipv4", &listener->ipv4 }, { "ipv6", &listener->ipv6 } };

		for (size_t j = 0; j < sizeof(families) / sizeof(*families); j++) {
			const struct label labels[] = {
				{ "listener", listener->name },
				{ "service", listener->service },
				{ "family", families[j].name },
				{ NULL, NULL },
			};
			uint64_t value; /* never negative */

			memcpy(&value, (const char *)families[j].tally + offset, sizeof(value));
			print_integer(page, family, labels, value);
		}
	}
}

static void print_listeners(const struct page *page, const struct snapshot *snapshot)
{
	static const struct {
		struct family family;
		size_t offset;
	} tallies[] = {
		{ { "conncount_sessions", NULL, "Sessions open now.", GAUGE },
		  offsetof(struct conncount_tally, live) },
		{ { "conncount_sessions_opened", NULL, "Sessions that have begun.", COUNTER },
		  offsetof(struct conncount_tally, opened) },
		{ { "conncount_sessions_closed", NULL, "Sessions that have ended.", COUNTER },
		  offsetof(struct conncount_tally, closed) },
		{ { "conncount_sessions_uncounted", NULL,
		    "Open sessions that are not counted: no memory, or the table is full.", GAUGE },
		  offsetof(struct conncount_tally, uncounted) },
		{ { "conncount_changes_lost", NULL,
		    "Changes of a count that were lost, so counts are wrong.", COUNTER },
		  offsetof(struct conncount_tally, lost) },
	};

	for (size_t i = 0; i < sizeof(tallies) / sizeof(*tallies); i++)
		print_tallies(page, snapshot, &tallies[i].family, tallies[i].offset);
}

static bool has_proxied(const struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_listeners; i++)
		if (snapshot->proxied[i])
			return true;
	return false;
}

/* A number of one listener's sessions that came from its proxies. @origin: NULL if the family has
 * no such label. */
static void print_proxied(const struct page *page, const struct family *family,
			  const struct conncount_listener *listener, const char *origin,
			  size_t offset)
{
	const struct label labels[] = {
		{ "listener", listener->name },
		{ "service", listener->service },
		{ origin ? "origin" : NULL, origin },
		{ NULL, NULL },
	};
	uint64_t value; /* never negative */

	memcpy(&value, (const char *)&listener->proxied + offset, sizeof(value));
	print_integer(page, family, labels, value);
}

static void print_proxied_open(const struct page *page, const struct snapshot *snapshot)
{
	static const struct {
		struct family family;
		size_t offset;
	} gauges[] = {
		{ { "conncount_sessions_awaiting", NULL,
		    "Open sessions of proxies whose PROXY header has not come: in no count.",
		    GAUGE },
		  offsetof(struct conncount_proxied, awaiting) },
		{ { "conncount_sessions_unidentified", NULL,
		    "Open sessions that are counted under their proxy: no PROXY header was read.",
		    GAUGE },
		  offsetof(struct conncount_proxied, unidentified) },
	};

	for (size_t i = 0; i < sizeof(gauges) / sizeof(*gauges); i++) {
		print_family(page, &gauges[i].family);
		for (size_t j = 0; j < snapshot->n_listeners; j++)
			if (snapshot->proxied[j])
				print_proxied(page, &gauges[i].family, &snapshot->listeners[j],
					      NULL, gauges[i].offset);
	}
}

static void print_proxied_totals(const struct page *page, const struct snapshot *snapshot)
{
	static const struct family family = {
		.name = "conncount_sessions_proxied",
		.help = "Sessions of proxies that were counted, by where their address is from.",
		.type = COUNTER,
	};
	static const struct {
		const char *origin;
		size_t offset;
	} totals[] = {
		{ "header", offsetof(struct conncount_proxied, identified) },
		{ "proxy", offsetof(struct conncount_proxied, own) },
		{ "absent", offsetof(struct conncount_proxied, absent) },
		{ "malformed", offsetof(struct conncount_proxied, malformed) },
		{ "split", offsetof(struct conncount_proxied, split) },
		{ "unread", offsetof(struct conncount_proxied, unread) },
	};

	print_family(page, &family);
	for (size_t i = 0; i < snapshot->n_listeners; i++)
		for (size_t j = 0; snapshot->proxied[i] && j < sizeof(totals) / sizeof(*totals);
		     j++)
			print_proxied(page, &family, &snapshot->listeners[i], totals[j].origin,
				      totals[j].offset);
}

/* --- limits -------------------------------------------------------------------------------- */

static uint64_t limit_refused(const struct limited *limited, __u32 i)
{
	return limited->totals[i].refused;
}

static uint64_t limit_would_refuse(const struct limited *limited, __u32 i)
{
	return limited->totals[i].would_refuse;
}

static uint64_t limit_in_force(const struct limited *limited, __u32 i)
{
	(void)i;
	return !limited->why_not;
}

/* One family of the limits, with the value of each. */
static void print_limit_family(const struct page *page, const struct refusals *refusals,
			       const struct family *family,
			       uint64_t (*value)(const struct limited *limited, __u32 i))
{
	print_family(page, family);
	for (size_t i = 0; i < refusals->n_limited; i++) {
		const struct limited *limited = &refusals->limited[i];

		for (__u32 j = 0; j < limited->limits.n; j++) {
			char limit[LIMIT_TEXT_SIZE];
			const struct label labels[] = {
				{ "listener", limited->name },
				{ "service", limited->service },
				{ "limit", limit_format(&limited->limits.limit[j], limit) },
				{ NULL, NULL },
			};

			print_integer(page, family, labels, value(limited, j));
		}
	}
}

static void print_limits(const struct page *page, const struct refusals *refusals)
{
	static const struct {
		struct family family;
		uint64_t (*value)(const struct limited *limited, __u32 i);
	} families[] = {
		{ { "conncount_limit_refused", NULL, "Connections that the limit refused.",
		    COUNTER },
		  limit_refused },
		{ { "conncount_limit_would_refuse", NULL,
		    "Connections that the limit let in, and would have refused with reset.",
		    COUNTER },
		  limit_would_refuse },
		{ { "conncount_limit_in_force", NULL,
		    "1 if the limit is in force, 0 if not: then it refuses nothing.", GAUGE },
		  limit_in_force },
	};
	static const struct family ungated = {
		.name = "conncount_namespaces_without_syn_gate",
		.help = "Network namespaces in which clients over a limit wait instead of being "
			"refused: no server listened there at the last load.",
	};

	for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++)
		print_limit_family(page, refusals, &families[i].family, families[i].value);
	print_single(page, &ungated, refusals->n_ungated);
}

/* --- windows of time ----------------------------------------------------------------------- */

static void print_windows(const struct page *page, const struct conncount_windows *windows)
{
	static const struct family error = {
		.name = "conncount_windows_error",
		.help = "How many connections a network may be missing in one window, at most.",
	};
	const struct {
		struct family family;
		uint64_t value;
	} singles[] = {
		{ { "conncount_windows_networks", NULL, "Networks in the table of windows.",
		    GAUGE },
		  windows->networks },
		{ { "conncount_windows_networks_max", NULL,
		    "How many networks the table of windows can hold.", GAUGE },
		  windows->max_networks },
		{ { "conncount_windows_evicted", NULL,
		    "Networks that were evicted from the table of windows: it was full.", COUNTER },
		  windows->evicted },
	};

	for (size_t i = 0; i < sizeof(singles) / sizeof(*singles); i++)
		print_single(page, &singles[i].family, singles[i].value);
	print_family(page, &error);
	for (uint32_t i = 0; i < windows->n; i++) {
		char window[CONNCOUNT_WINDOW_SIZE];
		const struct label labels[] = {
			{ "window", conncount_window_format(&windows->window[i], window) },
			{ NULL, NULL },
		};

		print_integer(page, &error, labels, windows->error[i]);
	}
}

/* --- the cluster --------------------------------------------------------------------------- */

static void print_cluster_state(const struct page *page, const struct conncount_cluster *cluster)
{
	static const struct family age = {
		.name = "conncount_cluster_age_seconds",
		.unit = "seconds",
		.help = "Time since the cluster's Redis or Valkey last answered.",
	};
	static const struct label none = { NULL, NULL };
	const struct {
		struct family family;
		uint64_t value;
	} singles[] = {
		{ { "conncount_cluster_exact", NULL,
		    "1 if the counts of the cluster's other nodes are exact, 0 if not.", GAUGE },
		  !cluster->reason },
		{ { "conncount_cluster_sessions", NULL, "Sessions on the other nodes.", GAUGE },
		  (uint64_t)cluster->sessions },
		{ { "conncount_cluster_prefixes", NULL,
		    "Networks in the table of the other nodes' counts.", GAUGE },
		  cluster->prefixes },
		{ { "conncount_cluster_prefixes_max", NULL,
		    "How many networks that table can hold.", GAUGE },
		  cluster->max_prefixes },
		{ { "conncount_cluster_changes", NULL,
		    "Changes of counts received from the other nodes.", COUNTER },
		  cluster->applied },
		{ { "conncount_cluster_resyncs", NULL,
		    "Times that a node's counts were read whole.", COUNTER },
		  cluster->resyncs },
		{ { "conncount_cluster_mended", NULL,
		    "Counts of this host whose change was not noticed at first: a bug.", COUNTER },
		  cluster->mended },
		{ { "conncount_cluster_diverged", NULL,
		    "Times that a node's counts had a wrong checksum: a bug.", COUNTER },
		  cluster->diverged },
		{ { "conncount_cluster_unnoted", NULL,
		    "Changes for which the kernel's map of changes had no room.", COUNTER },
		  cluster->unnoted },
	};

	for (size_t i = 0; i < sizeof(singles) / sizeof(*singles); i++)
		print_single(page, &singles[i].family, singles[i].value);
	print_family(page, &age);
	print_sample(page, &age, &none);
	fprintf(page->out, "%.3f\n", (double)cluster->age_ms / 1e3);
}

static void print_nodes(const struct page *page, const struct cluster_snapshot *cluster)
{
	static const struct family ok = {
		.name = "conncount_cluster_node_ok",
		.help = "1 if the node's counts are all here, 0 if not.",
	};
	static const struct family sessions = {
		.name = "conncount_cluster_node_sessions",
		.help = "Open sessions of a node.",
	};
	static const struct family lag = {
		.name = "conncount_cluster_node_lag_seconds",
		.unit = "seconds",
		.help = "Time for which a node's newest counts have not been applied.",
	};
	const struct family *const families[] = { &ok, &sessions, &lag };

	for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++) {
		print_family(page, families[i]);
		for (size_t j = 0; j < cluster->n; j++) {
			const struct conncount_node *node = &cluster->nodes[j];
			const struct label labels[] = { { "node", node->name }, { NULL, NULL } };

			print_sample(page, families[i], labels);
			if (families[i] == &lag)
				fprintf(page->out, "%.3f\n", (double)node->lag_ms / 1e3);
			else
				fprintf(page->out, "%" PRId64 "\n",
					families[i] == &ok ? node->state == CONNCOUNT_NODE_OK
							   : node->sessions);
		}
	}
}

/* --- sockets ------------------------------------------------------------------------------- */

/* The service of the listener @name; "" if it was just removed. */
static const char *service_of(const struct snapshot *snapshot, const char *name)
{
	for (size_t i = 0; i < snapshot->n_listeners; i++)
		if (!strcmp(snapshot->listeners[i].name, name))
			return snapshot->listeners[i].service;
	return "";
}

/* A number of a listening socket, or of @others together. */
static void print_socket(const struct page *page, const struct family *family,
			 const struct snapshot *snapshot, const struct conncount_listen *at,
			 bool others, uint64_t value)
{
	char socket[LISTEN_SIZE];
	const struct label labels[] = {
		{ "listener", at->name },
		{ "service", service_of(snapshot, at->name) },
		{ "socket", others ? "others" : listen_format(at, socket) },
		{ NULL, NULL },
	};

	print_integer(page, family, labels, value);
}

static void print_queues(const struct page *page, const struct metrics *metrics)
{
	static const struct family waiting = {
		.name = "conncount_accept_queue_connections",
		.help = "Connections that wait in a listening socket of this network namespace "
			"for the server's accept(2).",
	};
	static const struct family limit = {
		.name = "conncount_accept_queue_limit",
		.help = "How many connections may wait in a listening socket.",
	};

	const struct queues *queues = &metrics->queues;

	print_family(page, &waiting);
	for (size_t i = 0; i < queues->n_queues; i++)
		print_socket(page, &waiting, &metrics->snapshot, &queues->queues[i].at,
			     queues->queues[i].others, queues->queues[i].waiting);
	print_family(page, &limit);
	for (size_t i = 0; i < queues->n_queues; i++)
		print_socket(page, &limit, &metrics->snapshot, &queues->queues[i].at,
			     queues->queues[i].others, queues->queues[i].limit);
}

/* One number of the sockets that accept for each listener: the member at @offset of its struct
 * acceptors. */
static void print_acceptors(const struct page *page, const struct metrics *metrics,
			    const struct family *family, size_t offset)
{
	const struct snapshot *snapshot = &metrics->snapshot;

	print_family(page, family);
	for (size_t i = 0; i < snapshot->n_listeners; i++) {
		const struct conncount_listener *listener = &snapshot->listeners[i];
		const struct acceptors none = { .name = listener->name };
		const struct acceptors *acceptors =
			queues_acceptors(&metrics->queues, listener->name);
		const struct label labels[] = {
			{ "listener", listener->name },
			{ "service", listener->service },
			{ NULL, NULL },
		};
		size_t value;

		if (!listener->active)
			continue;
		memcpy(&value, (const char *)(acceptors ? acceptors : &none) + offset,
		       sizeof(value));
		print_integer(page, family, labels, value);
	}
}

static bool is_same_socket(const struct outside *a, const struct outside *b)
{
	return !memcmp(&a->at, &b->at, sizeof(a->at));
}

/* How many sockets are at the address of the @i-th, in all cgroups; 0 if an earlier one has that
 * address. */
static size_t sockets_at(const struct queues *queues, size_t i)
{
	const struct outside *at = &queues->outside[i];
	size_t n = 0;

	for (size_t j = 0; j < queues->n_outside; j++) {
		if (!is_same_socket(&queues->outside[j], at))
			continue;
		if (j < i)
			return 0;
		n += queues->outside[j].sockets;
	}
	return n;
}

/* The first sockets outside, each by name; conncount_listening_sockets_outside counts all. */
static void print_outside(const struct page *page, const struct metrics *metrics)
{
	static const struct family outside = {
		.name = "conncount_outside_socket",
		.help = "A listening socket outside of the cgroup, or several at one address.",
	};
	const struct queues *queues = &metrics->queues;

	print_family(page, &outside);
	for (size_t i = 0; i < queues->n_outside && i < QUEUES_MOST; i++) {
		size_t n = sockets_at(queues, i);

		if (n)
			print_socket(page, &outside, &metrics->snapshot, &queues->outside[i].at,
				     false, n);
	}
}

static void print_sockets(const struct page *page, const struct metrics *metrics)
{
	static const struct family counted = {
		.name = "conncount_listening_sockets",
		.help = "Listening sockets whose connections are counted.",
	};
	static const struct family outside = {
		.name = "conncount_listening_sockets_outside",
		.help = "Listening sockets outside of the counted cgroup: their connections are "
			"not counted.",
	};
	static const struct family unseen = {
		.name = "conncount_listening_sockets_unseen",
		.help = "Listening sockets whose cgroup cannot be seen here: they may be outside.",
	};
	static const struct family others = {
		.name = "conncount_accept_queue_others",
		.help = "Listening sockets whose accept queues are added up, as others.",
	};

	print_acceptors(page, metrics, &counted, offsetof(struct acceptors, counted));
	print_single(page, &unseen, metrics->queues.unseen);
	/* If some sockets may be outside, do not claim a number. */
	if (!metrics->queues.unseen) {
		print_acceptors(page, metrics, &outside, offsetof(struct acceptors, outside));
		print_outside(page, metrics);
	}
	print_acceptors(page, metrics, &others, offsetof(struct acceptors, others));
}

static void print_all_sockets(const struct page *page, const struct metrics *metrics)
{
	static const struct family visible = {
		.name = "conncount_sockets_visible",
		.help = "1 if listening sockets and accept queues can be read: those of this "
			"network namespace only. 0 if another one is counted: then their metrics "
			"are absent. Read the metrics where the server listens.",
	};

	print_single(page, &visible, !metrics->queues_err);
	if (metrics->queues_err)
		return;
	print_queues(page, metrics);
	print_sockets(page, metrics);
}

static void print_programs(const struct page *page, const struct metrics *metrics)
{
	static const struct family runs = {
		.name = "conncount_program_runs",
		.help = "Runs of a BPF program while the kernel measured them.",
		.type = COUNTER,
	};
	static const struct family seconds = {
		.name = "conncount_program_run_seconds",
		.unit = "seconds",
		.help = "Time spent in a BPF program while the kernel measured it.",
		.type = COUNTER,
	};

	if (!metrics->n_programs)
		return;
	print_family(page, &runs);
	for (size_t i = 0; i < metrics->n_programs; i++) {
		const struct program_stats *program = &metrics->programs[i];
		const struct label labels[] = { { "program", program->name }, { NULL, NULL } };

		print_integer(page, &runs, labels, program->runs);
	}
	print_family(page, &seconds);
	for (size_t i = 0; i < metrics->n_programs; i++) {
		const struct program_stats *program = &metrics->programs[i];
		const struct label labels[] = { { "program", program->name }, { NULL, NULL } };

		print_sample(page, &seconds, labels);
		fprintf(page->out, "%.9f\n", (double)program->run_ns / 1e9);
	}
}

void metrics_print(const struct metrics *metrics, enum metrics_format format, FILE *out)
{
	static const struct family up = {
		.name = "conncount_up",
		.help = "1 if an instance is loaded and can be read, 0 if not.",
	};
	const struct page page = { out, format };

	print_single(&page, &up, metrics != NULL);
	if (metrics) {
		print_build(&page, &metrics->snapshot);
		print_state(&page, &metrics->snapshot);
		print_listeners(&page, &metrics->snapshot);
		if (has_proxied(&metrics->snapshot)) {
			print_proxied_open(&page, &metrics->snapshot);
			print_proxied_totals(&page, &metrics->snapshot);
		}
		if (metrics->refusals.n_limited)
			print_limits(&page, &metrics->refusals);
		if (metrics->snapshot.windows.n)
			print_windows(&page, &metrics->snapshot.windows);
		if (metrics->snapshot.cluster.state.joined) {
			print_cluster_state(&page, &metrics->snapshot.cluster.state);
			print_nodes(&page, &metrics->snapshot.cluster);
		}
		print_all_sockets(&page, metrics);
		print_programs(&page, metrics);
	}
	if (format == METRICS_OPENMETRICS)
		fputs("# EOF\n", out);
}
