/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * abi.h - the maps' keys and values, as the BPF programs and user space share them.
 *
 * Both sides include this file and nothing else describes the layout. Every field has a
 * fixed width, all padding is explicit and zero, and the assertions at the end are compiled
 * by both compilers. Whoever changes a layout raises CC_ABI: maps made by another ABI are
 * never reused (user/load/).
 *
 * The including file provides the __u8 ... __be32 types: vmlinux.h in BPF, <linux/types.h>
 * in user space.
 */
#ifndef CONNCOUNT_ABI_H
#define CONNCOUNT_ABI_H

/* Version of everything in this file. */
#define CC_ABI 6

/*
 * An instance's directory has everything pinned in CC_DIR_LIVE, and while a load makes up
 * another set of maps, that set in CC_DIR_NEXT: exchanging the two is one step.
 */
#define CC_DIR_LIVE "live"
#define CC_DIR_NEXT "next"

/* What is pinned there, by name. */
#define CC_PIN_CONTROL   "control"
#define CC_PIN_CONFIGS   "configs"
#define CC_PIN_LISTENERS "listeners"
#define CC_PIN_COUNTS    "counts"
#define CC_PIN_SESSIONS  "sessions"
#define CC_PIN_STATS     "stats"
#define CC_PIN_FILL      "fill"
#define CC_PIN_CACHE     "cache"
#define CC_PIN_SOCKOPS   "sockops"
#define CC_PIN_RELEASE   "release"
#define CC_PIN_SUM       "sum"

/* What `control` was called up to CC_ABI 5. */
#define CC_PIN_CONTROL_OLD "directory"

enum {
	/* Listener ids run from 0 to CC_LISTENERS_MAX - 1. */
	CC_LISTENERS_MAX = 1024,
	/* Addresses and ports that the listeners of a configuration can have together. */
	CC_LISTENS_MAX = 1048576,
	/* Bytes of a listener's or a service's name, the terminating NUL included. */
	CC_NAME_SIZE = 64,
	/* Bytes of the build's version text, the terminating NUL included. */
	CC_BUILD_SIZE = 32,
	/* Bytes of a cgroup's path, the terminating NUL included: the kernel's PATH_MAX. */
	CC_CGROUP_SIZE = 4096,
};

/*
 * Address families, with the kernel's numbers (AF_INET, AF_INET6): the UAPI headers that
 * define those cannot be included beside vmlinux.h. An IPv4-mapped IPv6 address is IPv4
 * everywhere: programs and user space unmap it before it gets near a map.
 */
enum {
	CC_IPV4 = 2,
	CC_IPV6 = 10,
};

/*
 * Index of a family in a tally. Anything but CC_IPV6 is IPv4, so the index is in range
 * whatever the verifier believes of its argument.
 */
enum { CC_FAMILIES = 2 };
#define CC_FAMILY_INDEX(family) ((family) == CC_IPV6 ? 1 : 0)

/*
 * The levels: prefix lengths for which a count is kept, shortest first. Length 0 is kept in
 * the tallies instead. Each is no more than 8 bits longer than the one before, up to 64: what is in
 * between is added up from at most 128 counts. X(length) is expanded once for each.
 */
#define CC_LEVELS_IPV4(X) X(8) X(16) X(24) X(32)
#define CC_LEVELS_IPV6(X) X(8) X(16) X(24) X(32) X(40) X(48) X(56) X(64) X(128)

/* --- listeners: which listener a local address and port belong to ------------------------ */

/*
 * Key of the `listeners` LPM trie. The most specific entry wins: `*:25` is a prefix of
 * CC_LISTENER_BITS_PORT bits, "port 25 of one family" is CC_LISTENER_BITS_FAMILY long, an
 * address that plus 32 or 128.
 */
struct cc_listener_key {
	__u32 prefixlen; /* bits that count, from `config` on */
	__be16 config;   /* which of the two tables: generation & 1 */
	__be16 port;     /* local port */
	__be16 family;   /* CC_IPV4 or CC_IPV6 */
	__u16 zero;
	__be32 addr[4]; /* local address; IPv4 in the first word, the rest 0 */
};

enum {
	CC_LISTENER_BITS_PORT = 32,
	CC_LISTENER_BITS_FAMILY = 64,
};

/* Value of the `listeners` trie. */
struct cc_listener_id {
	__u32 id; /* below CC_LISTENERS_MAX */
};

/* --- counts: live sessions per listener and prefix --------------------------------------- */

/*
 * Key of the `counts` LPM trie. 24 bytes of key data, not 20: the kernel lays the value
 * right behind them, and only then is it aligned for 64-bit atomics.
 */
struct cc_count_key {
	__u32 prefixlen; /* CC_COUNT_BITS_OWNER + the level's length */
	__be16 listener; /* id */
	__be16 family;   /* CC_IPV4 or CC_IPV6 */
	__be32 addr[4];  /* peer; bits past the level's length are 0 */
	__u32 zero;
};

enum { CC_COUNT_BITS_OWNER = 32 };

/*
 * Value of the `counts` trie. `word` is the count (signed) * CC_COUNT_ONE + the `prefixlen` of the
 * node's own key << CC_COUNT_LENGTH_SHIFT + flags, and is only ever changed by the protocol in
 * counts.bpf.h. A look-up of a key that is not there returns the longest shorter prefix: compare
 * CC_COUNT_LENGTH() with the key's before believing the count.
 *
 * All in one word, because memory is handed out in sizes: a node with a key's 24 bytes and these 8
 * takes 64 of them (on Linux 6.18, which adds 32), and with more it would take 96.
 */
struct cc_count {
	__s64 word;
};

enum {
	CC_COUNT_DEAD = 1,   /* somebody is deleting the node; additions are carried over */
	CC_COUNT_GONE = 2,   /* unlinked and read for the last time; additions are too late */
	CC_COUNT_CACHED = 4, /* not deleted at 0: its key is in `cache` */
	CC_COUNT_LENGTH_SHIFT = 3,
	CC_COUNT_LENGTH_BITS = 8,
	CC_COUNT_SHIFT = CC_COUNT_LENGTH_SHIFT + CC_COUNT_LENGTH_BITS,
	CC_COUNT_ONE = 1 << CC_COUNT_SHIFT, /* one session */
};

/* A node's prefixlen, from its word; and the word of a node with a count of 0 and no flags. */
#define CC_COUNT_LENGTH(word) \
	((__u32)((word) >> CC_COUNT_LENGTH_SHIFT) & ((1U << CC_COUNT_LENGTH_BITS) - 1))
#define CC_COUNT_ZERO(prefixlen) ((__s64)(prefixlen) << CC_COUNT_LENGTH_SHIFT)

/*
 * Slot of the `cache` array: a network whose node is not deleted when its count returns to 0
 * (counts.bpf.h).
 */
struct cc_cache_slot {
	__u32 busy;   /* not 0 while a program has the slot to itself */
	__u32 cached; /* whether its node is kept */
	struct cc_count_key key;
	__u32 zero;
};

/* How many nodes can be kept: a power of two. */
enum { CC_CACHE_SLOTS = 1024 };

/* --- sessions: what a socket was counted under ------------------------------------------- */

/*
 * Socket storage of the server's side of a session. `state` moves only by atomic operations
 * (sessions.bpf.h), and so does `subflows`; the other fields are written while it is
 * CC_SESSION_STARTING and never after.
 */
struct cc_session {
	__u32 state;
	__be16 listener; /* id */
	__be16 family;   /* CC_IPV4 or CC_IPV6 */
	__be32 addr[4];  /* peer, as in struct cc_count_key */
	/* Of MPTCP (mptcp.bpf.h), else 0. */
	__s32 subflows; /* in the MPTCP socket's record: how many there are */
	__u32 within;   /* in a subflow's: the state of its session when it came */
};

enum {
	CC_SESSION_NEW = 0,   /* fresh storage is all zero */
	CC_SESSION_STARTING,  /* its counts are being entered, or taken back (mptcp.bpf.h) */
	CC_SESSION_COUNTED,   /* on every level */
	CC_SESSION_UNCOUNTED, /* on none; part of the tally's `uncounted` */
	CC_SESSION_ENDED,     /* nothing of it is in any count */
	CC_SESSION_SUBFLOW,   /* no session: one of the `subflows` in its MPTCP socket's record */
};

/*
 * Value of the `untracked` map, by socket cookie: a session that is uncounted because the kernel
 * gave its socket no storage for a record.
 */
struct cc_untracked {
	__be16 listener; /* id */
	__be16 family;   /* CC_IPV4 or CC_IPV6 */
};

enum { CC_UNTRACKED_MAX = 65536 };

/* --- stats: totals per listener ------------------------------------------------------------ */

/* Totals of one listener and one family. A cache line each. */
struct cc_tally {
	__s64 live;      /* sessions open and counted */
	__u64 opened;    /* counted sessions that ever started */
	__u64 closed;    /* counted sessions that ended */
	__s64 uncounted; /* sessions open and on no level: no memory, or the trie is full */
	__u64 lost;      /* changes of a count that could not be entered: counts are off */
	__u64 zero[3];
};

/* Value of the `stats` array; its index is the listener id. */
struct cc_stats {
	struct cc_tally tally[CC_FAMILIES]; /* by CC_FAMILY_INDEX */
};

/* The one value of the `fill` array: how many entries the maps have that can be full. */
struct cc_fill {
	__s64 nodes;     /* in `counts` */
	__s64 untracked; /* in `untracked` */
	__s64 cached;    /* of the nodes: those in `cache` */
};

/* --- control and configs: names and services ---------------------------------------------- */

enum {
	CC_LISTENER_FREE = 0, /* the id is not in use */
	CC_LISTENER_ACTIVE,   /* in the configuration */
	CC_LISTENER_DRAINING, /* no longer configured; sessions were open when it was removed */
};

struct cc_listener {
	char name[CC_NAME_SIZE];
	char service[CC_NAME_SIZE];
	__u32 state; /* CC_LISTENER_* */
	__u32 zero;
};

/* Value of the `configs` array, of two: what `load` was told, with the listeners by id. */
struct cc_config {
	char build[CC_BUILD_SIZE];   /* version of the build whose programs run */
	char cgroup[CC_CGROUP_SIZE]; /* counted in, as a path below the cgroup v2 mount */
	__u64 cgroup_id;             /* its inode number: if it is made anew, that is another */
	__u64 cgroup_root_id;        /* that of the mount: readers may have another one */
	__u64 netns_cookie;          /* of the network namespace that is counted in; 0: every one */
	__u32 netns;                 /* its inode number, or 0 */
	__u32 used;                  /* ids from here on are free */
	struct cc_listener listener[CC_LISTENERS_MAX];
};

/*
 * The one value of the `control` array. The programs and `verify` change
 * `inexact`, `load` the rest.
 * `generation` selects the table in force, in `configs` and in the `listeners` trie: it is number
 * generation & 1. A load writes the other table and then steps the generation, so programs and
 * readers go from the old configuration to the new one in a single store, and a load that dies on
 * the way has changed nothing.
 *
 * The fields up to `generation` are the same in every ABI: what a build cannot read it can
 * still recognise, and retire.
 */
struct cc_control {
	__u32 abi; /* CC_ABI of the build that made the maps */
	/*
	 * Not 0 while sessions that were open before are being entered: counts may be too
	 * small, and a socket that closes without a record gets one that says so.
	 */
	__u32 seeding;
	__u64 generation; /* 0: not counting yet, or unloaded */
	/*
	 * All that is `uncounted` and `lost`, of all listeners, and 1 for each `verify` that
	 * found a difference. Where it is 0 a query is exact without a look at any tally, and
	 * a load can go on with these maps.
	 */
	__s64 inexact;
};

/* --- what the `sum` program is asked ---------------------------------------------------------- */

/*
 * How many sessions there are in a network, by the counts of a level that is longer. This is what a
 * reader gives to BPF_PROG_TEST_RUN in the place of a tracepoint's arguments: as many as one can
 * have, of 64 bits each (sum.bpf.h). The program returns CC_SUM_RAN and the sum; CC_SUM_MANY where
 * the network has more nodes than CC_SUM_NODES: then ask about its halves; or 0 where it has none.
 *
 * A set need not have the program, and a reader need not be able to run it: it can look up each.
 */
struct cc_sum {
	struct cc_count_key network;
	__u32 level; /* prefixlen of the keys to add up */
	__s64 most;  /* where as many are found, the rest need not be looked at */
	__u64 zero[6];
	__u64 mark; /* CC_SUM_MARK */
};

/* Nothing that a tracepoint passes. Another layout has another one: no build misunderstands it. */
#define CC_SUM_MARK 0x6e7563206d757332
#define CC_SUM_RAN  0x80000000u

enum {
	CC_SUM_MANY = 1,
	/* Nodes of the trie that are visited in a run: no other task gets the CPU meanwhile. */
	CC_SUM_NODES = 1 << 17,
};

/* --- what the iterators write ------------------------------------------------------------- */

/* A session in the kernel's list of sockets, by the `conncount_scan` program. */
struct cc_scanned {
	__u64 id;       /* the socket's cookie, or the address of an MPTCP socket */
	__u32 listener; /* id: what it was counted under, or else what it would be now */
	__u32 family;   /* CC_IPV4 or CC_IPV6 */
	__be32 addr[4]; /* peer, as in struct cc_count_key */
};

/* --- how `load` and `verify` find network namespaces ------------------------------------------ */

/* What `conncount_tables` and `conncount_look` return. */
enum {
	CC_FIND_DONE = 1,
	CC_FIND_AGAIN, /* something has moved meanwhile: run it again */
	CC_FIND_FULL,  /* more than the map has room for, or no memory */
	CC_FIND_GONE,  /* the namespace that was named is no more */
};

enum { CC_NETNS_MAX = 65536 };

/* A table of connections, by `conncount_tables`. */
struct cc_hash_table {
	__u64 net;     /* where a namespace that uses it is in the kernel's memory */
	__u64 cookie;  /* that namespace's cookie */
	__u64 buckets; /* how many it has */
};

/* What `conncount_look` is asked, in the place of a tracepoint's arguments. */
struct cc_look {
	__u64 net, cookie; /* of struct cc_hash_table */
	__u64 first;       /* number of a bucket */
	__u64 n;           /* how many from there on */
};

/* A file that a network namespace can be entered by, by `conncount_files`. */
struct cc_found {
	__u32 netns;     /* inode number */
	__u32 pid;       /* of a process, in the asker's own namespace of process ids */
	__u32 tid;       /* and of its thread that has the file */
	__u32 fd;        /* the file */
	__u32 is_socket; /* 0: it is a handle of the namespace */
};

/* The layouts above, checked by both compilers. */
_Static_assert(sizeof(struct cc_listener_key) == 28, "cc_listener_key");
_Static_assert(__builtin_offsetof(struct cc_listener_key, addr) == 4 + CC_LISTENER_BITS_FAMILY / 8,
	       "CC_LISTENER_BITS_FAMILY");
_Static_assert(__builtin_offsetof(struct cc_listener_key, family) == 4 + CC_LISTENER_BITS_PORT / 8,
	       "CC_LISTENER_BITS_PORT");
_Static_assert(sizeof(struct cc_count_key) == 28, "cc_count_key");
_Static_assert((sizeof(struct cc_count_key) - 4) % 8 == 0, "cc_count must be aligned");
_Static_assert(__builtin_offsetof(struct cc_count_key, addr) == 4 + CC_COUNT_BITS_OWNER / 8,
	       "CC_COUNT_BITS_OWNER");
_Static_assert(sizeof(struct cc_count) == 8, "cc_count");
_Static_assert(CC_COUNT_BITS_OWNER + 128 < 1 << CC_COUNT_LENGTH_BITS, "CC_COUNT_LENGTH_BITS");
_Static_assert(sizeof(struct cc_cache_slot) == 40, "cc_cache_slot");
_Static_assert(sizeof(struct cc_session) == 32, "cc_session");
_Static_assert(sizeof(struct cc_untracked) == 4, "cc_untracked");
_Static_assert(sizeof(struct cc_tally) == 64, "cc_tally");
_Static_assert(sizeof(struct cc_stats) == 128, "cc_stats");
_Static_assert(sizeof(struct cc_fill) == 24, "cc_fill");
_Static_assert(sizeof(struct cc_listener) == 136, "cc_listener");
_Static_assert(__builtin_offsetof(struct cc_config, netns_cookie) == 4144, "cc_config");
_Static_assert(__builtin_offsetof(struct cc_config, listener) == 4160, "cc_config");
_Static_assert(sizeof(struct cc_sum) == 12 * 8, "cc_sum");
_Static_assert(sizeof(struct cc_scanned) == 32, "cc_scanned");
_Static_assert(sizeof(struct cc_hash_table) == 24, "cc_hash_table");
_Static_assert(sizeof(struct cc_look) == 32, "cc_look");
_Static_assert(sizeof(struct cc_found) == 20, "cc_found");
_Static_assert(sizeof(struct cc_control) == 24, "cc_control");
_Static_assert(__builtin_offsetof(struct cc_control, generation) == 8, "cc_control");

#endif
