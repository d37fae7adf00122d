/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * abi.h - the maps' keys and values, as the BPF programs and user space share them.
 *
 * Both sides include this file, and nothing else describes the layout. Every field has a fixed
 * width, all padding is explicit and zero, and both compilers check the assertions at the end. A
 * change of a layout or of a pin's name raises CC_ABI: a load never reuses maps of another ABI
 * (user/load/).
 *
 * The including file provides the __u8 ... __be32 types: vmlinux.h in BPF, <linux/types.h>
 * in user space.
 *
 * The words, here and everywhere:
 *
 *	network     an address and a prefix length; what a user asks about
 *	level       a prefix length whose counts are stored; that of other networks is a sum of them
 *	prefix      a network at a level, of one listener: a key of the `counts` trie
 *	node        what the trie has for a prefix: its count and flags
 *	entry       what any other map has for a key; in a listing, a network and its count
 *	cached      of a node: left in the trie at 0, for a client that returns
 *	evicted     of a node: no longer cached
 *	uncounted   of a session: open, and in no count
 *	untracked   of an uncounted session: its socket has no record
 *	lost        of a change: not entered, so that a count is wrong
 *	proxy       a host whose connections begin with a PROXY header, which names the client
 *	awaiting    of a session of a proxy: its header has not come; in no count until then
 *	identified  of a session of a proxy: counted for the client that its header names
 *	leaf        a network that is one address: the longest level
 *	remote      of a count: of the other hosts of this host's cluster, added up
 *	window      a stretch of time in which connections are counted, whether still open or not
 *	current     of a window: the one that has not ended
 *	limit       how many sessions a network may have open before connections are refused
 *	place       of a network below its limit, reserved while a handshake ends
 */
#ifndef CONNCOUNT_ABI_H
#define CONNCOUNT_ABI_H

/* Version of everything in this file. */
#define CC_ABI 11

/*
 * An instance's directory has the pins of the set that counts in CC_DIR_LIVE. While a load
 * prepares another set of maps, that one is in CC_DIR_NEXT. The load exchanges the two in one step.
 * A command that may change the instance makes and locks the directory CC_DIR_LOCK while it runs.
 */
#define CC_DIR_LIVE "live"
#define CC_DIR_NEXT "next"
#define CC_DIR_LOCK "lock"

/* The names of the pins in it. */
#define CC_PIN_CONTROL   "control"
#define CC_PIN_CONFIGS   "configs"
#define CC_PIN_LISTENERS "listeners"
#define CC_PIN_PROXIES   "proxies"
#define CC_PIN_COUNTS    "counts"
#define CC_PIN_SESSIONS  "sessions"
#define CC_PIN_STATS     "stats"
#define CC_PIN_FILL      "fill"
#define CC_PIN_CACHE     "cache"
#define CC_PIN_RECENT    "recent"
#define CC_PIN_LOCKS     "recent_locks"
#define CC_PIN_CHANGED   "changed"
#define CC_PIN_CLUSTER   "cluster"
#define CC_PIN_NODES     "nodes"
#define CC_PIN_REMOTE    "remote"
#define CC_PIN_SOCKOPS   "sockops"
#define CC_PIN_RELEASE   "release"
#define CC_PIN_INGRESS   "ingress" /* only while a listener has a proxy */
#define CC_PIN_SUM       "sum"
/* Only while a listener has a limit; CC_PIN_SYN_GATE with `-` and a namespace's inode number. */
#define CC_PIN_LIMITS   "limits"
#define CC_PIN_EXEMPT   "exempt"
#define CC_PIN_PLACES   "places"
#define CC_PIN_REFUSALS "refusals"
#define CC_PIN_REFUSED  "refused"
#define CC_PIN_GATED    "gated"
#define CC_PIN_ACK_GATE "ack_gate"
#define CC_PIN_SYN_GATE "syn_gate"

/* The group whose members may write `changed`, `cluster`, `nodes` and `remote`. */
#define CC_CLUSTER_GROUP "conncount-cluster"

/* The name of `control` up to CC_ABI 5. */
#define CC_PIN_CONTROL_OLD "directory"

enum {
	/* Listener ids run from 0 to CC_LISTENERS_MAX - 1. */
	CC_LISTENERS_MAX = 1024,
	/* How many addresses and ports all listeners of a configuration can have together.
	 */
	CC_LISTENS_MAX = 1048576,
	/* How many networks of proxies all listeners of a configuration can have together.
	 */
	CC_PROXIES_MAX = 65536,
	/* How many exempt networks all listeners of a configuration can have together. */
	CC_EXEMPT_MAX = 65536,
	/* How many network namespaces can be found. */
	CC_NETNS_MAX = 65536,
	/* Bytes of a listener's or a service's name, with the terminating NUL. */
	CC_NAME_SIZE = 64,
	/* Bytes of the build's version text, with the terminating NUL. */
	CC_BUILD_SIZE = 32,
	/* Bytes of a cgroup's path, with the terminating NUL: the kernel's PATH_MAX. */
	CC_CGROUP_SIZE = 4096,
};

/*
 * Address families, with the kernel's numbers (AF_INET, AF_INET6): the UAPI headers that define
 * those cannot be included beside vmlinux.h. No map has an IPv4-mapped IPv6 address: programs and
 * user space turn it into IPv4 first.
 */
enum {
	CC_IPV4 = 2,
	CC_IPV6 = 10,
};

/*
 * Index of a family in a tally. Anything but CC_IPV6 is IPv4: the verifier then sees that the
 * index is in range, whatever it knows of the argument.
 */
enum { CC_FAMILIES = 2 };
#define CC_FAMILY_INDEX(family) ((family) == CC_IPV6 ? 1 : 0)

/*
 * The levels: prefix lengths for which counts are stored, shortest first. The tallies have the
 * counts of length 0. Up to 64, each level is at most 8 bits longer than the one before, so the
 * count of a length in between is the sum of at most 128 counts. X(length) is expanded for each.
 */
#define CC_LEVELS_IPV4(X) X(8) X(16) X(24) X(32)
#define CC_LEVELS_IPV6(X) X(8) X(16) X(24) X(32) X(40) X(48) X(56) X(64) X(128)

/* --- listeners: which listener a local address and port belong to ------------------------ */

/*
 * Key of the `listeners` LPM trie. The most specific entry wins. The key of `*:25` has
 * CC_LISTENER_BITS_PORT bits, that of port 25 of one family CC_LISTENER_BITS_FAMILY bits, and that
 * of an address 32 or 128 bits more.
 */
struct cc_listener_key {
	__u32 prefixlen; /* how many bits matter, from `config` on */
	__be16 config;   /* which of the two configurations: generation & 1 */
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
	__u32 id;      /* below CC_LISTENERS_MAX */
	__u32 proxied; /* whether it has entries in `proxies` */
};

/*
 * Key of the `proxies` LPM trie, a network of a listener's proxies, and of the `exempt` trie, one
 * to which its limits do not apply. It has CC_PEER_BITS_FAMILY bits, and those of the network.
 */
struct cc_peer_key {
	__u32 prefixlen; /* how many bits matter, from `config` on */
	__be16 config;   /* which of the two configurations, as in struct cc_listener_key */
	__be16 listener; /* id */
	__be16 family;   /* CC_IPV4 or CC_IPV6 */
	__u16 zero;
	__be32 addr[4]; /* IPv4 in the first word, the rest 0 */
};

enum { CC_PEER_BITS_FAMILY = 64 };

/* Value of these tries: that the key is there says it all. */
struct cc_peer {
	__u32 zero;
};

/* --- counts: live sessions per listener and prefix --------------------------------------- */

/*
 * Key of the `counts` LPM trie. It has 24 bytes of data, not 20: the kernel puts the value right
 * behind them, where 64-bit atomics need an address that is a multiple of 8.
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
 * Value of the `counts` trie. `word` is the sum of the count (signed) * CC_COUNT_ONE, the places
 * reserved (places.bpf.h) * CC_COUNT_PLACE, the `prefixlen` of the node's own key <<
 * CC_COUNT_LENGTH_SHIFT, and flags. Only the protocol in counts.bpf.h changes it. A look-up of a
 * key that is missing returns the longest shorter prefix: compare CC_COUNT_LENGTH() with the key's
 * prefixlen before you use the count.
 *
 * One word holds it all, because the kernel allocates memory in fixed sizes. On Linux 6.18 a node
 * takes 64 bytes: 24 of its key, these 8, and 32 of the kernel's. With more it would take 96.
 */
struct cc_count {
	__s64 word;
};

enum {
	CC_COUNT_DEAD = 1,   /* a program is deleting the node, and carries additions over */
	CC_COUNT_GONE = 2,   /* unlinked and read for the last time: additions are too late */
	CC_COUNT_CACHED = 4, /* not deleted at 0: its key is in `cache` */
	CC_COUNT_LENGTH_SHIFT = 3,
	CC_COUNT_LENGTH_BITS = 8,
	CC_COUNT_PLACE_SHIFT = CC_COUNT_LENGTH_SHIFT + CC_COUNT_LENGTH_BITS,
	CC_COUNT_PLACE_BITS = 14, /* at most one place for each CPU: the kernel's maximum is 8192 */
	CC_COUNT_PLACE = 1 << CC_COUNT_PLACE_SHIFT, /* one place */
	CC_COUNT_SHIFT = CC_COUNT_PLACE_SHIFT + CC_COUNT_PLACE_BITS,
	CC_COUNT_ONE = 1 << CC_COUNT_SHIFT, /* one session */
};

/*
 * A node's prefixlen and places, from its word; and the word of a node with a count of 0, no place
 * and no flags.
 */
#define CC_COUNT_LENGTH(word) \
	((__u32)((word) >> CC_COUNT_LENGTH_SHIFT) & ((1U << CC_COUNT_LENGTH_BITS) - 1))
#define CC_COUNT_PLACES(word) \
	((__u32)((word) >> CC_COUNT_PLACE_SHIFT) & ((1U << CC_COUNT_PLACE_BITS) - 1))
#define CC_COUNT_ZERO(prefixlen) ((__s64)(prefixlen) << CC_COUNT_LENGTH_SHIFT)

/*
 * Slot of the `cache` array: the prefix of a cached node (counts.bpf.h).
 */
struct cc_cache_slot {
	__u32 busy;   /* not 0 while a program holds the slot */
	__u32 cached; /* whether the node of `key` is cached */
	struct cc_count_key key;
	__u32 zero;
};

/* How many nodes can be cached: a power of two. */
enum { CC_CACHE_SLOTS = 1024 };

/* --- sessions: what a socket was counted under ------------------------------------------- */

/*
 * Whose address a session is counted under. A listener has totals of all but CC_ORIGIN_DIRECT, by
 * the number here - 1. From CC_ORIGIN_ABSENT on the session is unidentified: counted under the
 * proxy, though another client may be behind it.
 */
enum {
	CC_ORIGIN_DIRECT = 0, /* its peer is no proxy */
	CC_ORIGIN_HEADER,     /* its header's: identified */
	CC_ORIGIN_PROXY,      /* the proxy's own, as its header says */
	CC_ORIGIN_ABSENT,     /* it began with something else than a header */
	CC_ORIGIN_MALFORMED,  /* its header is malformed, or longer than CC_HEADER_MAX */
	CC_ORIGIN_SPLIT,      /* its first segment had only a part of a header */
	CC_ORIGIN_UNREAD,     /* open before counting began, MPTCP, or its proxy no longer is one */
	CC_ORIGINS,
};

/* Bytes of the longest header that is read. */
enum { CC_HEADER_MAX = 4096 };

/*
 * A session's record: socket storage on the server's side. `state` and `subflows` change only by
 * atomic operations (sessions.bpf.h). Programs write the other fields only while `state` is
 * CC_SESSION_STARTING. Members of the group may look up the record of a socket that they have open.
 */
struct cc_session {
	__u32 state;
	__be16 listener; /* id */
	__be16 family;   /* CC_IPV4 or CC_IPV6 */
	__be32 addr[4];  /* peer, as in struct cc_count_key */
	/* MPTCP only (mptcp.bpf.h), else 0. */
	__s32 subflows; /* in the record of an MPTCP socket: how many it has */
	__u32 within;   /* in that of a subflow: its session's state when it started */
	__u32 origin;   /* CC_ORIGIN_* */
	__u32 opened;   /* not 0: a program has entered it, or is about to, in `recent` */
};

enum {
	CC_SESSION_NEW = 0,   /* fresh storage is all zero */
	CC_SESSION_STARTING,  /* a program enters its counts, or takes them back */
	CC_SESSION_COUNTED,   /* on every level */
	CC_SESSION_UNCOUNTED, /* on none; the tally's `uncounted` includes it */
	CC_SESSION_ENDED,     /* in no count */
	CC_SESSION_SUBFLOW, /* not a session: one of the `subflows` in its MPTCP socket's record */
	CC_SESSION_AWAITED, /* in `awaiting` of the listener whose id is in the state's upper half
			     */
};

/* The state of a session that awaits its header. It alone has an upper half. */
#define CC_SESSION_AWAITED_ON(id)    ((__u32)(id) << 16 | CC_SESSION_AWAITED)
#define CC_SESSION_IS_AWAITED(state) (((state)&0xffff) == CC_SESSION_AWAITED)

/*
 * Value of the `untracked` map, whose key is a socket cookie: a session that is uncounted because
 * the kernel gave its socket no storage for a record.
 */
struct cc_untracked {
	__be16 listener; /* id */
	__be16 family;   /* CC_IPV4 or CC_IPV6 */
};

enum { CC_UNTRACKED_MAX = 65536 };

/* --- stats: totals per listener ------------------------------------------------------------ */

/* Totals of one listener and one family, in a cache line of its own. */
struct cc_tally {
	__s64 live;      /* open, counted sessions */
	__u64 opened;    /* counted sessions that ever started */
	__u64 closed;    /* counted sessions that ended */
	__s64 uncounted; /* open sessions in no count: no memory, or the trie was full */
	__u64 lost;      /* changes of a count that could not be entered, and wrong counts that
			    `verify` found */
	__u64 since;     /* `recent` has every connection from this second of CLOCK_BOOTTIME on; 0:
			    that is not yet known */
	__u64 removed;   /* from this second of CLOCK_BOOTTIME on the listener is not configured; 0:
			    it is, or that is not yet known. Written only if there are windows */
	__u64 zero[1];
};

/* Totals of a listener's sessions that came from its proxies, in a cache line of its own. */
struct cc_proxied {
	__s64 awaiting;     /* open sessions whose header has not come: in no count, nor tally */
	__s64 unidentified; /* open sessions that are counted under the proxy for want of a header
			     */
	__u64 total[CC_ORIGINS - 1]; /* sessions that ever started, by CC_ORIGIN_* - 1 */
};

/* Value of the `stats` array; its index is the listener id. */
struct cc_stats {
	struct cc_tally tally[CC_FAMILIES]; /* by CC_FAMILY_INDEX */
	struct cc_proxied proxied;
};

/* The one value of the `fill` array: how full the maps are that can run full. */
struct cc_fill {
	__s64 nodes;     /* in `counts` */
	__s64 untracked; /* in `untracked` */
	__s64 cached;    /* those of the nodes that are cached */
	__u64 evicted;   /* networks that ever lost their entry in `recent` while it mattered */
};

/* --- limits: connections that are refused ----------------------------------------------------- */

/* How many limits a listener can have. */
enum { CC_LIMITS_MAX = 4 };

/* What happens to a connection over the limit. */
enum {
	CC_LIMIT_RESET = 1, /* it is refused */
	CC_LIMIT_LOG,       /* it is let through, and counted */
};

struct cc_limit {
	__u32 over;               /* sessions that a network may have, 1 or more */
	__u8 length[CC_FAMILIES]; /* prefix lengths, which are levels, by CC_FAMILY_INDEX */
	__u8 level[CC_FAMILIES];  /* which level that is; the shortest is 0 */
	__u8 action;              /* CC_LIMIT_* */
	__u8 total;               /* where its totals are in struct cc_refusals */
	__u8 zero[2];
};

/*
 * Value of the `limits` array; its index is CC_LIMITS_INDEX(). The limits are in the order of the
 * configuration. `order` has their indexes for a family, longest prefix first: a connection that
 * one client's own limit refuses takes no place in a larger network meanwhile.
 */
struct cc_limits {
	__u32 n;      /* 0: none, and the rest is 0 */
	__u8 exempts; /* whether the listener has entries in `exempt` */
	__u8 resets;  /* whether any limit refuses */
	__u8 logs;    /* whether any limit only counts */
	__u8 zero;
	__u8 order[CC_FAMILIES][CC_LIMITS_MAX];
	struct cc_limit limit[CC_LIMITS_MAX];
};

/* @config: which of the two configurations; @id: the listener. */
#define CC_LIMITS_INDEX(config, id) ((config)*CC_LISTENERS_MAX + (id))

/* What a limit has done. */
struct cc_limit_totals {
	__u64 refused;      /* packets: SYNs answered by a RST, final ACKs dropped */
	__u64 would_refuse; /* connections let through though over the limit */
};

/* Those of two configurations, if a load replaces all limits. */
enum { CC_LIMIT_TOTALS = 2 * CC_LIMITS_MAX };

/*
 * Value of the `refusals` array, whose index is the listener id: totals by limit. A limit keeps its
 * place here for as long as it is configured.
 */
struct cc_refusals {
	struct cc_limit_totals limit[CC_LIMIT_TOTALS]; /* by `total` of struct cc_limit */
};

/* Key of the `refused` hash: a network that has been refused. */
struct cc_refused_key {
	__be16 listener; /* id */
	__be16 family;   /* CC_IPV4 or CC_IPV6 */
	__u32 length;    /* of the network: that of a limit */
	__be32 addr[4];  /* bits past the length are 0 */
};

/* Its value. The network used longest ago makes room for another. */
struct cc_refused {
	__u64 refused; /* as in struct cc_refusals, since the network is in the map */
	__u64 would_refuse;
	__u64 last; /* ns of CLOCK_BOOTTIME */
};

enum { CC_REFUSED_MAX = 4096 };

/* Value of the `gated` hash, whose key is the cookie of a network namespace. */
struct cc_gated {
	__u32 netns; /* its inode number */
	__u32 gated; /* whether it has a SYN gate */
};

/*
 * Value of the `places` array, whose index is a CPU: the place that a connection has whose
 * handshake ends on it. The upper bits of `turn` count how often it was used; the lower ones are
 * CC_PLACE_*. Only the CPU's own programs write the other fields, while it is CC_PLACE_WRITTEN.
 */
struct cc_place {
	__u64 turn;
	__u64 since; /* ns of CLOCK_MONOTONIC at the last tick of its clock */
	__be16 listener;
	__be16 family;
	__be32 addr[4]; /* peer */
	__u32 levels;   /* in which of its networks: bits, the shortest level is bit 0 */
};

enum {
	CC_PLACE_FREE = 0,
	CC_PLACE_WRITTEN,
	CC_PLACE_TAKEN,
	CC_PLACE_ONE_TURN = 4,
};

/* --- recent: connections by window of time --------------------------------------------------- */

enum {
	/* How many lengths of windows a configuration can have. */
	CC_WINDOWS_MAX = 4,
	/* How many windows can be kept, of all lengths together, with the current ones. */
	CC_WINDOW_SLOTS_MAX = 32,
};

/*
 * The windows of a configuration, and what the `recent` map (recent.h) looks like because of them.
 * Constants of the programs.
 */
struct cc_windows {
	__u64 seed;   /* of the hash that finds a network's entry */
	__u32 n;      /* how many lengths; 0: nothing is kept, and the rest is 0 */
	__u32 slots;  /* the sum of `slots` below */
	__u32 groups; /* in the map */
	__u32 reach;  /* s: no window that is kept began longer ago */
	struct {
		__u32 seconds; /* how long one window is */
		__u32 slots;   /* how many are kept, with the current one */
	} window[CC_WINDOWS_MAX];
};

/* --- control and configs: names and services ---------------------------------------------- */

enum {
	CC_LISTENER_FREE = 0, /* the id is not in use */
	CC_LISTENER_ACTIVE,   /* in the configuration */
	CC_LISTENER_DRAINING, /* no longer in the configuration, which left open sessions */
};

struct cc_listener {
	char name[CC_NAME_SIZE];
	char service[CC_NAME_SIZE];
	__u32 state; /* CC_LISTENER_* */
	__u32 zero;
	__u64 since; /* when it got its id, ns of CLOCK_BOOTTIME: what is older is another's */
};

/* Value of the `configs` array of two: a configuration, with its listeners by id. */
struct cc_config {
	char build[CC_BUILD_SIZE];   /* version of the build whose programs count */
	char cgroup[CC_CGROUP_SIZE]; /* counted in; a path below the cgroup v2 mount */
	__u64 cgroup_id;      /* its inode number, which changes if the cgroup is made again */
	__u64 cgroup_root_id; /* that of the mount: a reader may see another mount */
	__u64 netns_cookie;   /* of the network namespace that is counted; 0: all are */
	__u32 netns;          /* its inode number, or 0 */
	__u32 used;           /* ids from here on are free */
	struct cc_windows windows;
	struct cc_listener listener[CC_LISTENERS_MAX];
};

/*
 * The one value of the `control` array. The programs and `verify` change `inexact`, `load` the
 * rest. `generation` selects the active configuration, in `configs` and in the `listeners` trie:
 * its number is generation & 1. A load writes the other configuration and then increments the
 * generation. So programs and readers change to the new configuration by a single store, and a load
 * that dies before it has changed nothing.
 *
 * The fields up to `generation` are the same in every ABI: a build can recognise and retire a set
 * whose maps it cannot read.
 */
struct cc_control {
	__u32 abi; /* CC_ABI of the build that made the maps */
	/*
	 * Not 0 while a load enters the sessions that were open before: counts may be too small,
	 * and a socket that closes without a record gets one that says ENDED.
	 */
	__u32 seeding;
	__u64 generation; /* 0: not counting yet, or unloaded */
	/*
	 * The sum of `uncounted` and `lost` of all listeners. While it is 0, a query is exact and
	 * need not read a tally, and a load can go on with these maps.
	 */
	__s64 inexact;
	/* When the first load began to count; CLOCK_BOOTTIME, ns. New maps that take over the
	 * totals of the former ones take over this, too. */
	__u64 since;
};

/* --- the cluster: what hosts tell each other ------------------------------------------------ */

/*
 * Key of the `changed` map: a leaf whose count has changed, on any listener. A program enters it
 * after the change, while `joined` is set in struct cc_cluster. The daemon deletes it, and then
 * reads the count. So a change that the count read does not have enters the key again.
 */
struct cc_changed {
	__be32 addr[4]; /* as in struct cc_count_key */
	__be16 family;  /* CC_IPV4 or CC_IPV6 */
	__u16 zero;
};

/*
 * Keys of the `remote` trie are as those of `counts`, its values too. In place of a listener's id
 * they have this.
 */
enum { CC_LISTENER_REMOTE = CC_LISTENERS_MAX };

enum {
	CC_CHANGED_MAX = 32768,
	CC_NODES_MAX = 256,
	/* `remote` has no limit of its own: the daemon's configuration has one. */
	CC_REMOTE_MAX = 1 << 26,
	/* Bytes of a cluster's or a node's name, with the terminating NUL. */
	CC_NODE_NAME_SIZE = 64,
};

/* Why remote counts are not exact: the first that applies. */
enum {
	CC_CLUSTER_EXACT = 0,
	CC_CLUSTER_CUT_OFF, /* the engine has not answered for `patience` */
	CC_CLUSTER_NAME,    /* another host has this node's name */
	CC_CLUSTER_RESYNC,  /* a node's counts are being read, or are not there yet */
	CC_CLUSTER_STALE,   /* a node has been silent, but not for the length of the lease */
	CC_CLUSTER_INEXACT, /* a node's own counts are not exact */
	CC_CLUSTER_FULL,    /* a node's counts do not fit into max_prefixes */
	CC_CLUSTER_MANY,    /* there are more nodes than CC_NODES_MAX */
};

/*
 * The one value of the `cluster` array. The daemon writes all but `unnoted`, the programs that.
 * Times are of CLOCK_BOOTTIME, in ns.
 */
struct cc_cluster {
	__u32 joined;   /* not 0 from the daemon's start to its clean end */
	__u32 reason;   /* CC_CLUSTER_*, but not CUT_OFF: that is a matter of time */
	__u64 unnoted;  /* changes that found `changed` full, or no memory */
	__u64 owner;    /* a random number of the daemon that writes here */
	__u64 answered; /* when the engine last answered; before it first does: the daemon's start
			 */
	__u64 patience; /* how long after that this host is cut off */
	__u64 hold;     /* how long after that `remote` no longer counts */
	__s64 sessions[CC_FAMILIES];  /* of all other nodes, by CC_FAMILY_INDEX */
	__u32 node;                   /* the node that `reason` is about: an index of `nodes` */
	__u32 nodes;                  /* how many there are; the first one is this host */
	char name[CC_NODE_NAME_SIZE]; /* of the cluster */
	char service[CC_NAME_SIZE];   /* whose sessions are shared */
	__u64 applied;                /* leaves of other nodes that changed */
	__u64 resyncs;                /* tables of other nodes that were read whole */
	__u64 mended;                 /* leaves of this host whose change was not noted */
	__u64 diverged;               /* tables of other nodes whose checksum was wrong */
	__u64 prefixes;               /* in `remote` */
	__u64 max_prefixes;           /* how many it may have */
	__u64 version; /* of `remote` and `sessions`; odd while the daemon changes them */
};

/* The states of a node. */
enum {
	CC_NODE_OK = 1,
	CC_NODE_RESYNC, /* its counts are being read: the ones before count meanwhile */
	CC_NODE_STALE,  /* silent; its last counts count */
	CC_NODE_GONE,   /* silent for the length of the lease: not counted */
};

/* Value of the `nodes` array. The daemon writes it. */
struct cc_node {
	char name[CC_NODE_NAME_SIZE];
	__u32 state;   /* CC_NODE_* */
	__u32 inexact; /* not 0: its own counts are not exact */
	__u64 heard;   /* when it was last seen to be alive: CLOCK_BOOTTIME, ns; 0: never */
	__u64 lag;     /* ns for which its last batch has not been applied */
	__s64 sessions;
	__s64 networks; /* leaves */
};

/* --- the question to the `sum` program ------------------------------------------------------ */

/*
 * "How many sessions does a network have, by the counts of a longer level?" A reader gives this to
 * BPF_PROG_TEST_RUN in place of a tracepoint's arguments: 12 of 64 bits, as many as a tracepoint
 * can have (sum.bpf.h). The program returns CC_SUM_RAN and the sum. It returns CC_SUM_MANY if the
 * network has more nodes than CC_SUM_NODES: then ask about its halves. It returns 0 if it has no
 * answer.
 *
 * A set may lack the program, and a reader may be unable to run it: it can look up each prefix.
 */
struct cc_sum {
	struct cc_count_key network;
	__u32 level; /* prefixlen of the keys whose counts are added up */
	__s64 most;  /* stop as soon as the sum is this much */
	__u64 zero[6];
	__u64 mark; /* CC_SUM_MARK */
};

/* No tracepoint passes this. Change it with the layout: then no build misunderstands another. */
#define CC_SUM_MARK 0x6e7563206d757332
#define CC_SUM_RAN  0x80000000u

enum {
	CC_SUM_MANY = 1,
	/* How many nodes a run visits at most: no other task gets the CPU meanwhile. */
	CC_SUM_NODES = 1 << 17,
};

/* --- what the iterators write ------------------------------------------------------------- */

/* A session in the kernel's list of sockets, by the `conncount_scan` program. */
struct cc_scanned {
	__u64 id;       /* the socket's cookie, or the kernel's address of an MPTCP socket */
	__u32 listener; /* id: the one it was counted under, or would be now */
	__u32 family;   /* CC_IPV4 or CC_IPV6; 0: it awaits its header */
	__be32 addr[4]; /* peer, as in struct cc_count_key */
};

/* --- how `load` and `verify` find network namespaces ------------------------------------------ */

/* What `conncount_tables` and `conncount_look` return. */
enum {
	CC_FIND_DONE = 1,
	CC_FIND_AGAIN, /* a list changed meanwhile: run it again */
	CC_FIND_FULL,  /* the map is full, or there is no memory */
	CC_FIND_GONE,  /* the namespace no longer exists */
};

/* A hash table of the kernel's connections, by `conncount_tables`. */
struct cc_hash_table {
	__u64 net;     /* the kernel's address of a namespace that uses it */
	__u64 cookie;  /* that namespace's cookie */
	__u64 buckets; /* how many the table has */
};

/* The question to `conncount_look`, in place of a tracepoint's arguments. */
struct cc_look {
	__u64 net, cookie; /* as in struct cc_hash_table */
	__u64 first;       /* number of the first bucket */
	__u64 n;           /* how many buckets */
};

/* A file by which a process can enter a network namespace, by `conncount_files`. */
struct cc_found {
	__u32 netns;     /* inode number */
	__u32 pid;       /* of a process, in the PID namespace of the program that asks */
	__u32 tid;       /* of its thread that has the file open */
	__u32 fd;        /* its file descriptor */
	__u32 is_socket; /* 0: the file is a handle of the namespace */
};

/* The layouts above, checked by both compilers. */
_Static_assert(sizeof(struct cc_listener_key) == 28, "cc_listener_key");
_Static_assert(__builtin_offsetof(struct cc_listener_key, addr) == 4 + CC_LISTENER_BITS_FAMILY / 8,
	       "CC_LISTENER_BITS_FAMILY");
_Static_assert(__builtin_offsetof(struct cc_listener_key, family) == 4 + CC_LISTENER_BITS_PORT / 8,
	       "CC_LISTENER_BITS_PORT");
_Static_assert(sizeof(struct cc_peer_key) == 28, "cc_peer_key");
_Static_assert(__builtin_offsetof(struct cc_peer_key, addr) == 4 + CC_PEER_BITS_FAMILY / 8,
	       "CC_PEER_BITS_FAMILY");
_Static_assert(sizeof(struct cc_count_key) == 28, "cc_count_key");
_Static_assert((sizeof(struct cc_count_key) - 4) % 8 == 0, "cc_count must be aligned");
_Static_assert(__builtin_offsetof(struct cc_count_key, addr) == 4 + CC_COUNT_BITS_OWNER / 8,
	       "CC_COUNT_BITS_OWNER");
_Static_assert(sizeof(struct cc_count) == 8, "cc_count");
_Static_assert(CC_COUNT_BITS_OWNER + 128 < 1 << CC_COUNT_LENGTH_BITS, "CC_COUNT_LENGTH_BITS");
_Static_assert(sizeof(struct cc_cache_slot) == 40, "cc_cache_slot");
_Static_assert(sizeof(struct cc_session) == 40, "cc_session");
_Static_assert(sizeof(struct cc_untracked) == 4, "cc_untracked");
_Static_assert(sizeof(struct cc_limits) == 64, "cc_limits");
_Static_assert(sizeof(struct cc_refusals) == 128, "cc_refusals");
_Static_assert(sizeof(struct cc_refused_key) == 24, "cc_refused_key");
_Static_assert(sizeof(struct cc_refused) == 24, "cc_refused");
_Static_assert(sizeof(struct cc_place) == 40, "cc_place");
_Static_assert(sizeof(struct cc_tally) == 64, "cc_tally");
_Static_assert(sizeof(struct cc_proxied) == 64, "cc_proxied");
_Static_assert(sizeof(struct cc_stats) == 192, "cc_stats");
_Static_assert(sizeof(struct cc_fill) == 32, "cc_fill");
_Static_assert(sizeof(struct cc_windows) == 56, "cc_windows");
_Static_assert(sizeof(struct cc_listener) == 144, "cc_listener");
_Static_assert(__builtin_offsetof(struct cc_config, netns_cookie) == 4144, "cc_config");
_Static_assert(__builtin_offsetof(struct cc_config, listener) == 4216, "cc_config");
_Static_assert(sizeof(struct cc_changed) == 20, "cc_changed");
_Static_assert(sizeof(struct cc_cluster) == 256, "cc_cluster");
_Static_assert(sizeof(struct cc_node) == 104, "cc_node");
_Static_assert(sizeof(struct cc_sum) == 12 * 8, "cc_sum");
_Static_assert(sizeof(struct cc_scanned) == 32, "cc_scanned");
_Static_assert(sizeof(struct cc_hash_table) == 24, "cc_hash_table");
_Static_assert(sizeof(struct cc_look) == 32, "cc_look");
_Static_assert(sizeof(struct cc_found) == 20, "cc_found");
_Static_assert(sizeof(struct cc_control) == 32, "cc_control");
_Static_assert(__builtin_offsetof(struct cc_control, generation) == 8, "cc_control");

#endif
