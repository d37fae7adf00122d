/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load.h - start counting, or bring what counts up to date.
 */
#ifndef CONNCOUNT_LOAD_H
#define CONNCOUNT_LOAD_H

#include "cgroup.h"
#include "config.h"
#include "instance.h"

enum load_result {
	LOAD_STARTED,   /* nothing was loaded before */
	LOAD_CHANGED,   /* another configuration is in force */
	LOAD_UNCHANGED, /* the configuration was in force already */
	LOAD_REBUILT,   /* everything is counted anew, in other maps */
};

/*
 * load() - count in @cgroup by @config, pinned in @instance: also the sessions that are open.
 *
 * Where an instance is loaded that counts in the same cgroup with maps of the same layout and
 * size, and is exact, the maps stay, this build's programs take the place of its
 * programs, and its configuration is replaced in one step. Otherwise new maps are made up
 * beside it, with programs and links of their own, and take its place in one step when they
 * have everything. Either way no event is missed and none counted twice.
 *
 * Returns 0, or a negative errno, reported, with what was loaded still as it was. A load that
 * dies on the way has changed nothing, or all; the next one finishes what it left.
 */
int load(struct instance *instance, const struct cgroup *cgroup, const struct config *config,
	 enum load_result *ret_result);

struct conncount_bpf;

/*
 * load_scanner() - give the kernel the programs that list sockets, over the maps of what is
 * loaded in @dir, and nothing else.
 * @max_prefixes: the size of its table of counts.
 * @ret_skel: to be given to unload_scanner().
 *
 * Returns 0 or a negative errno, reported.
 */
int load_scanner(const char *dir, uint32_t max_prefixes, struct conncount_bpf **ret_skel);

/* unload_scanner() - NULL is ignored. */
void unload_scanner(struct conncount_bpf *skel);

#endif
