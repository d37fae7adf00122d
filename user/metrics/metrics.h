/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metrics.h - an instance as metrics, for `conncount metrics` and `conncount exporter`.
 */
#ifndef CONNCOUNT_METRICS_H
#define CONNCOUNT_METRICS_H

#include <stddef.h>
#include <stdio.h>

#include "programs.h"
#include "queues.h"
#include "refusals.h"
#include "snapshot.h"

struct metrics {
	struct snapshot snapshot;
	struct refusals refusals;
	struct queues queues;
	int queues_err; /* negative errno if the sockets cannot be listed */
	struct program_stats programs[PROGRAMS];
	size_t n_programs;
};

enum metrics_format {
	METRICS_OPENMETRICS, /* OpenMetrics 1.0 */
	METRICS_TEXT,        /* the older Prometheus text format, 0.0.4 */
};

/*
 * metrics_take() - read everything that the metrics show.
 * @dir: as given to conncount_open().
 * @ret_metrics: the caller frees it with metrics_free().
 *
 * Returns 0 or the negative errno of a library call. What cannot be read without privilege is
 * left out.
 */
int metrics_take(struct conncount *cc, const char *dir, struct metrics *ret_metrics);

void metrics_free(struct metrics *metrics);

/*
 * metrics_print() - write the metrics to @out.
 * @metrics: NULL if nothing is loaded: then conncount_up is 0.
 *
 * The size depends on the configuration, not on the clients that are connected or on other servers.
 */
void metrics_print(const struct metrics *metrics, enum metrics_format format, FILE *out);

#endif
