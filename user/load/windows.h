/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * windows.h - the map of connections by window of time (bpf/recent.h), for a load.
 */
#ifndef CONNCOUNT_WINDOWS_H
#define CONNCOUNT_WINDOWS_H

#include <stdbool.h>

#include "config.h"

struct conncount_bpf;

/*
 * windows_plan() - the windows of a configuration, and the map for them.
 * @live: the active configuration, or NULL.
 *
 * Networks keep their places if the windows are those of @live; otherwise they get new ones, by a
 * new secret.
 */
struct cc_windows windows_plan(const struct config *config, const struct cc_config *live);

/* windows_are_same() - whether two plans are of the same windows in the same map. */
bool windows_are_same(const struct cc_windows *a, const struct cc_windows *b);

/* windows_set() - have @skel, which is not loaded yet, count in these windows. Returns 0 or a
 * negative errno. */
int windows_set(struct conncount_bpf *skel, const struct cc_windows *windows);

#endif
