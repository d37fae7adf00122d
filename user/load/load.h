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
};

/*
 * load() - count in @cgroup by @config, pinned in @instance.
 *
 * Where an instance is loaded, its maps stay, this build's programs take the place of its
 * programs without an event missed, and its configuration is replaced in one step.
 *
 * Returns 0, or a negative errno, reported, with what was loaded still as it was.
 */
int load(struct instance *instance, const struct cgroup *cgroup, const struct config *config,
	 enum load_result *ret_result);

#endif
