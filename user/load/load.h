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
	LOAD_CHANGED,   /* another configuration is active */
	LOAD_UNCHANGED, /* the configuration was active already */
	LOAD_REBUILT,   /* everything was counted again, in new maps */
};

/*
 * load() - count in @cgroup as @config says, pinned in @instance; includes sessions already open.
 *
 * If the loaded instance counts in the same cgroup with maps of the same layout and size, and is
 * exact, its maps stay, this build's programs replace its programs, and the new configuration
 * replaces the old one in one step. Otherwise new maps are filled beside it, with programs and
 * links of their own, and replace it in one step when they are complete. Either way no event is
 * missed and none is counted twice.
 *
 * Returns 0; or a negative errno, reported, with the loaded instance unchanged. A load that is
 * killed has changed either nothing or everything; the next load finishes its work.
 */
int load(struct instance *instance, const struct cgroup *cgroup, const struct config *config,
	 enum load_result *ret_result);

struct conncount_bpf;

/*
 * load_scanner() - load only the programs that list sockets, with the maps of the instance in @dir.
 * @max_prefixes: the size of its table of counts.
 * @windows: of its configuration.
 * @ret_skel: the caller frees it with unload_scanner().
 *
 * Returns 0 or a negative errno, reported.
 */
int load_scanner(const char *dir, uint32_t max_prefixes, const struct cc_windows *windows,
		 struct conncount_bpf **ret_skel);

/* unload_scanner() - NULL is ignored. */
void unload_scanner(struct conncount_bpf *skel);

#endif
