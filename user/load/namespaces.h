/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * namespaces.h - the network namespaces whose sockets are counted.
 */
#ifndef CONNCOUNT_NAMESPACES_H
#define CONNCOUNT_NAMESPACES_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/types.h>

struct conncount_bpf;

/* The network namespace that is counted in; all 0: every one of the cgroup's sockets. */
struct netns {
	__u64 cookie; /* the kernel's number, which it never gives again */
	__u32 number; /* inode number, as in `readlink /proc/self/ns/net` */
};

/* netns_own() - that of this process. Returns 0 or a negative errno, reported. */
int netns_own(struct netns *ret);

/* Namespaces that can be entered. */
struct namespaces {
	int home;              /* this process's own */
	bool home_too;         /* whether that is one of them */
	struct entry *entries; /* the others */
	size_t n;
};

/*
 * namespaces_find() - find the network namespaces to look into for sessions, and a way into each:
 * the one that is counted in; or where that is every one, this process's own and all others that
 * have a session.
 * @skel: loaded; its `scan` says which cgroup is counted in.
 * @counted: as in the configuration in force.
 *
 * Returns 0, then namespaces_free() is due; or a negative errno, reported: also where a namespace
 * has sessions and cannot be entered.
 */
int namespaces_find(struct conncount_bpf *skel, const struct netns *counted,
		    struct namespaces *ret);

void namespaces_free(struct namespaces *all);

/*
 * namespaces_enter() - have the calling thread enter each namespace in turn and call @in_it there,
 * until that returns other than 0; then go back. Returns 0, what @in_it returned, or a negative
 * errno, reported.
 */
int namespaces_enter(const struct namespaces *all, int (*in_it)(void *arg), void *arg);

/*
 * namespaces_explain() - where one network namespace is counted, say on stderr if that is not the
 * host's own, and if others have sessions on configured listeners, in the cgroup that is counted
 * in.
 */
void namespaces_explain(struct conncount_bpf *skel, const struct netns *counted);

#endif
