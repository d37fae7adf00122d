/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * internal.h - what the files of libconncount share.
 */
#ifndef CONNCOUNT_INTERNAL_H
#define CONNCOUNT_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <linux/types.h>

#include "abi.h"
#include "conncount.h"
#include "recent.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof(*(array)))

_Static_assert((int)CONNCOUNT_NAME_SIZE == (int)CC_NAME_SIZE, "name size");
_Static_assert((int)CONNCOUNT_IPV4 == (int)CC_IPV4, "IPv4");
_Static_assert((int)CONNCOUNT_IPV6 == (int)CC_IPV6, "IPv6");

/* A loaded instance, open for reading. */
struct view {
	bool open;
	int control_fd, configs_fd, listeners_fd, counts_fd, stats_fd, fill_fd, cache_fd;
	int sessions_fd, cluster_fd, nodes_fd, remote_fd;
	int sum_fd; /* the program that adds up counts; -1 if it cannot be opened */
	/*
	 * The values of three of them, mapped if permitted, otherwise NULL. The kernel maps an
	 * array only through a descriptor that is open for writing, which needs write permission.
	 */
	const struct cc_control *control;
	const struct cc_stats *stats; /* CC_LISTENERS_MAX */
	const struct cc_cluster *cluster;
	const struct cc_recent_group *recent; /* NULL if no window is configured, or: */
	int recent_err;                       /* why it could not be mapped: a negative errno */
	uint32_t max_prefixes;
	uint64_t generation;     /* that `config` is of */
	struct cc_config config; /* the active one: read again when the generation changes */
	/* The directory to look for the cgroup in; -1 if that is "/", or not visible from here. */
	int mount_fd;
	/* Queries change these, by atomic operations: */
	uint32_t cgroup_checked; /* the second of the last check */
	uint32_t cgroup_gone;
	uint32_t since[CC_LISTENERS_MAX]; /* of the tallies, where already read; else 0 */
};

enum { VIEW_CHANGES = 1 << 30 };

struct conncount {
	char *dir;
	struct view view;
	/*
	 * How many queries hold the view. A query that finds it out of date sets VIEW_CHANGES while
	 * it waits for the others and changes the view; no other query begins then.
	 */
	uint32_t queries;
	pthread_mutex_t lock; /* held to change the view */
	pthread_cond_t idle;  /* the last query that was waited for has ended */
};

/*
 * view_acquire() - hold the handle's view for a query. Brings it up to date first, and opens it
 * again if its instance was unloaded.
 * @ret_control: if not NULL, the control map as it is now.
 *
 * Returns 0, then the caller must call view_release(); or a negative errno.
 */
int view_acquire(struct conncount *cc, struct cc_control *ret_control);

void view_release(struct conncount *cc);

/*
 * Whether the view is still that of the active configuration. If not, what a query found in the
 * `listeners` trie may be part of a newer configuration. Everything else that a query uses stays as
 * it was.
 */
bool view_is_current(const struct view *view);

/* Copy memory that others change meanwhile. Each 64-bit word is read atomically, but not all at one
 * moment. */
void copy_words(void *to, const void *from, size_t size);

static inline uint32_t config_used(const struct cc_config *config)
{
	return config->used < CC_LISTENERS_MAX ? config->used : CC_LISTENERS_MAX;
}

/*
 * Whether the counted cgroup was removed. Checks at most once a second. After a removal no BPF
 * program runs any more, so only a reader can notice it.
 */
bool view_is_detached(struct view *view);

/* Which listeners a query is about: those of the service, the named one, or the one with the id. */
struct scope {
	const char *service;
	const char *also; /* another service whose listeners it is about, too; or NULL */
	const char *listener;
	uint32_t id; /* where both are NULL */
};

bool scope_has(const struct scope *scope, const struct cc_config *config, uint32_t id);

/* Whether the query is about the sessions of the cluster. */
bool scope_is_cluster(const struct scope *scope);

/* For a @scope without a listener: returns 0 if what it names is known, otherwise -ESRCH. */
int scope_without_listeners(const struct scope *scope);

/* A listener's totals. Returns 0 or a negative errno. */
int stats_get(const struct view *view, uint32_t id, struct cc_stats *ret_stats);

/* The cluster's other nodes, as a query sees them. */
struct others {
	bool exact;
	bool counted;               /* whether there is a cluster, and its counts are to be added */
	char service[CC_NAME_SIZE]; /* whose sessions they have told */
	uint64_t version;           /* of their counts; odd while they change */
	struct cc_tally tally[CC_FAMILIES]; /* by CC_FAMILY_INDEX; only `live` is set */
};

int others_get(const struct view *view, struct others *ret);

/* answer_add() adds the uncounted sessions and lost changes of a tally to an answer.
 * answer_set_flags() sets the flags of a finished one; @others: NULL if they are not asked about.
 */
void answer_add(struct conncount_answer *answer, const struct cc_tally *tally);
void answer_set_flags(struct conncount_answer *answer, struct view *view,
		      const struct cc_control *control, const struct others *others);

/* level_from() returns @length if that is a level, otherwise the next longer level. level_below()
 * returns the next shorter one, or 0. */
unsigned level_from(int family, unsigned length);
unsigned level_below(int family, unsigned length);

void count_key(struct cc_count_key *key, uint32_t id, const struct conncount_cidr *cidr,
	       unsigned length);

/* Which trie has the counts of a listener: those of CC_LISTENER_REMOTE are in `remote`. */
int counts_fd_of(const struct view *view, uint32_t listener);

/*
 * counts_walk() - visit the nodes of a trie, each once, in the trie's order: more specific
 * before less specific, then by listener, family and address.
 * @fd: of counts_fd_of().
 * @start: visit only the nodes after this key; NULL: all.
 * @visit: called with each key and its count; returns 0 to continue, anything else to stop.
 * @skip: NULL, or called with some of the keys; returns the `prefixlen` of a level, at most the
 *        key's own: of the nodes inside the network of that length around the key, none has to be
 *        visited any more. The network's own node has to be.
 *
 * Nodes that are inserted or deleted during the walk may be missed.
 * Returns 0, what @visit returned, or a negative errno.
 */
int counts_walk(int fd, const struct cc_count_key *start,
		int (*visit)(const struct cc_count_key *key, int64_t count, void *arg),
		unsigned (*skip)(const struct cc_count_key *key, void *arg), void *arg);

/* Whether @a comes before @b in the order of that walk. */
bool key_before(const struct cc_count_key *a, const struct cc_count_key *b);

/* The count of a node, from the value that was read for its key. */
int64_t count_of(const struct cc_count_key *key, const struct cc_count *value);

/* The count of one key; 0 if it has no node. Returns 0 or a negative errno. */
int counts_get(const struct view *view, const struct cc_count_key *key, int64_t *ret_count);

#endif
