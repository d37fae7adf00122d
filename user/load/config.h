/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config.h - the configuration file, /etc/conncount.conf.
 */
#ifndef CONNCOUNT_CONFIG_H
#define CONNCOUNT_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#include <linux/types.h>

#include "abi.h"
#include "conncount.h"
#include "lines.h"

#define CONFIG_FILE "/etc/conncount.conf"

enum {
	CONFIG_MAX_PREFIXES = 1048576, /* default */
	CONFIG_MAX_PREFIXES_MOST = 1 << 26,
	CONFIG_WINDOW_MEMORY = 16 << 20, /* bytes; default */
	CONFIG_WINDOW_MEMORY_LEAST = 1 << 20,
	CONFIG_WINDOW_MEMORY_MOST = 1 << 30,
	CONFIG_WINDOW_SECONDS_MOST = 24 * 60 * 60,
	CONFIG_ERROR_SIZE = LINES_ERROR_SIZE,
};

/* One `listen` line. */
struct config_listen {
	/* prefixlen 0: every address of the family; family 0: every address of both. */
	struct conncount_cidr addr;
	uint16_t port; /* host byte order */
	unsigned line;
};

/* One `proxy` or `exempt` line. */
struct config_peer {
	struct conncount_cidr network;
	unsigned line;
};

/* Such lines of a section. */
struct config_peers {
	struct config_peer *peer;
	size_t n;
};

/* One section. */
struct config_listener {
	char name[CC_NAME_SIZE];
	char service[CC_NAME_SIZE];
	struct config_listen *listens;
	size_t n_listens;
	struct config_peers proxies, exempt;
	struct cc_limits limits; /* ready for the programs */
	unsigned limit_line[CC_LIMITS_MAX];
	unsigned line;
	unsigned service_line; /* 0: the default holds */
};

struct config {
	char cgroup[CC_CGROUP_SIZE];
	char group[CC_NAME_SIZE];
	uint32_t max_prefixes;
	uint32_t window_memory;                          /* bytes */
	struct conncount_window windows[CC_WINDOWS_MAX]; /* the `window` lines */
	size_t n_windows;
	bool all_namespaces; /* count in every network namespace, not only in the one that load runs
				in */
	/* The lines that set these; 0: the default. */
	unsigned section_line, cgroup_line, group_line, max_prefixes_line, namespaces_line;
	unsigned window_memory_line;
	struct config_listener *listeners;
	size_t n_listeners;
};

/*
 * config_read() - read and check a configuration.
 * @in: the text.
 * @name: what to call it in an error.
 * @ret_config: the caller frees it with config_free(); written only on success.
 * @error: CONFIG_ERROR_SIZE bytes; on failure the first error, as `name:line: why`,
 *         or `name: why` if no line is to blame.
 *
 * Returns 0, -EINVAL for bad text, or another negative errno.
 */
int config_read(FILE *in, const char *name, struct config *ret_config, char *error);

/* config_read_file() - the same for the file @path. */
int config_read_file(const char *path, struct config *ret_config, char *error);

/* config_has_proxies() - whether any listener has a proxy. */
bool config_has_proxies(const struct config *config);

/* config_has_limits() - whether any listener has a limit. */
bool config_has_limits(const struct config *config);

/* config_has_resets() - whether any listener has a limit that refuses. */
bool config_has_resets(const struct config *config);

/* config_free() - free what config_read() allocated. A zeroed config is allowed. */
void config_free(struct config *config);

#endif
