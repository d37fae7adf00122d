/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cluster_config.h - the cluster's configuration file, /etc/conncount-cluster.conf.
 */
#ifndef CONNCOUNT_CLUSTER_CONFIG_H
#define CONNCOUNT_CLUSTER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <linux/types.h>

#include "abi.h"
#include "clock.h"
#include "lines.h"

#define CLUSTER_CONFIG_FILE "/etc/conncount-cluster.conf"

/* What the name of a cluster or a node can have besides letters and digits. */
#define CLUSTER_NAME_CHARACTERS "._-"

enum {
	CLUSTER_SERVERS_MOST = 16,
	CLUSTER_PASSWORD_MOST = 512,    /* bytes */
	CLUSTER_MAX_PREFIXES = 4194304, /* default */
};

/* The longest interval, in ns. */
#define CLUSTER_INTERVAL_MOST (10 * NS_PER_S)

/* Where to find a server: Redis, Valkey or a Sentinel. */
struct cluster_server {
	char *host;    /* an address or a name; NULL: `path` is set */
	uint16_t port; /* host byte order */
	char *path;    /* of a unix socket */
	char *text;    /* as the file has it */
};

struct cluster_servers {
	struct cluster_server at[CLUSTER_SERVERS_MOST];
	size_t n;
};

/* As whom to log in. */
struct cluster_login {
	char *username; /* NULL: as the default user */
	char *password; /* NULL: not at all */
};

/* Encrypted connections. */
struct cluster_tls {
	bool on;
	char *ca; /* a file: the authorities that servers' certificates are from; NULL: the system's
		   */
	char *cert; /* a file: this host's certificate, and those between it and an authority; or
		       NULL */
	char *key;  /* a file: its key */
};

struct cluster_config {
	char name[CC_NODE_NAME_SIZE]; /* of the cluster */
	char node[CC_NODE_NAME_SIZE]; /* of this host in it */
	char service[CC_NAME_SIZE];
	struct cluster_servers servers;   /* in the order to be tried; or: */
	struct cluster_servers sentinels; /* which know the server */
	char sentinel_master[CC_NAME_SIZE];
	struct cluster_login login, sentinel_login;
	struct cluster_tls tls;
	uint64_t interval, lease, hold; /* ns */
	uint32_t max_prefixes;
};

/*
 * cluster_config_read() - read and check a configuration, and the password files that it names.
 * @in, @name, @error: as config_read() takes them.
 * @ret_config: the caller frees it with cluster_config_free(); written only on success.
 *
 * Returns 0, -EINVAL for bad text, or another negative errno.
 */
int cluster_config_read(FILE *in, const char *name, struct cluster_config *ret_config, char *error);

/* cluster_config_read_file() - the same for the file @path. */
int cluster_config_read_file(const char *path, struct cluster_config *ret_config, char *error);

/* cluster_config_is() - whether a file is one of a cluster: its first section is [cluster]. Reads
 * @in, and rewinds it. */
bool cluster_config_is(FILE *in);

void cluster_config_free(struct cluster_config *config);

#endif
