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

/* The counted network namespace; all 0: every one that the cgroup's sockets are in. */
struct netns {
	__u64 cookie; /* the kernel's number, which is never reused */
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
 * namespaces_find() - find the network namespaces to search for sessions, and a way into each: the
 * counted one; if all are counted, this process's own and all others that have a session.
 * @skel: loaded; its `scan` names the counted cgroup.
 * @counted: as in the active configuration.
 *
 * Returns 0, then the caller must call namespaces_free(); or a negative errno, reported, also if a
 * namespace with sessions cannot be entered.
 */
int namespaces_find(struct conncount_bpf *skel, const struct netns *counted,
		    struct namespaces *ret);

/*
 * namespaces_listening() - the same for the namespaces to attach to: the counted one; if all are
 * counted, this process's own and all others where a process in the counted cgroup listens.
 */
int namespaces_listening(struct conncount_bpf *skel, const struct netns *counted,
			 struct namespaces *ret);

void namespaces_free(struct namespaces *all);

/*
 * namespaces_enter() - enter each namespace in turn with the calling thread and call @in_it there,
 * until that does not return 0; then return to the thread's own. Returns 0, what @in_it returned,
 * or a negative errno, reported.
 */
int namespaces_enter(const struct namespaces *all, int (*in_it)(void *arg), void *arg);

/*
 * namespaces_explain() - if only one network namespace is counted, print notes if that is not the
 * host's own, and if others have sessions on configured listeners, in the counted cgroup.
 */
void namespaces_explain(struct conncount_bpf *skel, const struct netns *counted);

#endif
