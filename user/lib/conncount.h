/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conncount.h - ask how many inbound TCP sessions are open right now.
 *
 * libconncount reads the counts that conncount's BPF programs keep in the kernel. It needs
 * no privilege beyond membership of the group that may read the instance's directory, it
 * cannot change anything, it prints nothing, and a query allocates nothing.
 *
 * Functions that return int return 0, or a negative errno; what they return through a
 * ret_ pointer is written only on success. A handle may be shared between threads.
 */
#ifndef CONNCOUNT_H
#define CONNCOUNT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sockaddr;

/* The default instance; the environment variable names another one. */
#define CONNCOUNT_DIR     "/run/conncount"
#define CONNCOUNT_DIR_ENV "CONNCOUNT_DIR"

/* The default service of a query. */
#define CONNCOUNT_SERVICE "SMTP"

enum {
	CONNCOUNT_NAME_SIZE = 64,   /* a listener's or service's name, with its NUL */
	CONNCOUNT_CIDR_SIZE = 56,   /* an address and length as text, with its NUL */
	CONNCOUNT_ERROR_SIZE = 512, /* enough for conncount_strerror() */
};

/* Address families, as in struct conncount_cidr: AF_INET and AF_INET6. */
enum {
	CONNCOUNT_IPV4 = 2,
	CONNCOUNT_IPV6 = 10,
};

/* --- networks ----------------------------------------------------------------------------- */

/*
 * A network. `addr` is in network byte order, IPv4 in its first 4 bytes; bits past
 * `prefixlen` are 0. An IPv4-mapped IPv6 address is always held as IPv4.
 */
struct conncount_cidr {
	int family;         /* CONNCOUNT_IPV4 or CONNCOUNT_IPV6 */
	unsigned prefixlen; /* 0 to 32, or 0 to 128 */
	unsigned char addr[16];
};

/*
 * conncount_cidr_parse() - read a network from text.
 * @text: `addr`, `addr/len`, `addr/netmask` (IPv4), `[v6]`, `[v6]/len`, `localhost`,
 *        `localhost/len`. Host bits are dropped. No name but localhost is ever resolved.
 * @peer: the address of a connecting session (see conncount_cidr_of()), or NULL. With one,
 *        also `/len` (that address in its own family) and `/len4,/len6` (the first for an
 *        IPv4 peer, the second for an IPv6 peer); in both, `/32` is always exactly the
 *        address, as Momentum has it.
 * @ret_cidr: the network.
 * @ret_why: if not NULL, set on -EINVAL to a static phrase that says what is wrong, to
 *           follow "'TEXT': ".
 *
 * Returns 0 or -EINVAL.
 */
int conncount_cidr_parse(const char *text, const struct conncount_cidr *peer,
			 struct conncount_cidr *ret_cidr, const char **ret_why);

/*
 * conncount_cidr_of() - the network that is exactly one socket address.
 *
 * Returns 0, or -EAFNOSUPPORT if @sa is neither IPv4 nor IPv6.
 */
int conncount_cidr_of(const struct sockaddr *sa, struct conncount_cidr *ret_cidr);

/*
 * conncount_cidr_mask() - shorten @cidr to @prefixlen and clear the bits past it. A longer
 * @prefixlen than the network has changes nothing.
 */
void conncount_cidr_mask(struct conncount_cidr *cidr, unsigned prefixlen);

/*
 * conncount_cidr_format() - write @cidr as `addr/len` into @buf, of CONNCOUNT_CIDR_SIZE
 * bytes. Returns @buf.
 */
char *conncount_cidr_format(const struct conncount_cidr *cidr, char *buf);

/*
 * conncount_address_parse() - read `ADDR:PORT` or `[ADDR6]:PORT`, a local address.
 * @ret_port: host byte order, 1 to 65535.
 *
 * Returns 0 or -EINVAL with *@ret_why as conncount_cidr_parse().
 */
int conncount_address_parse(const char *text, struct conncount_cidr *ret_addr, uint16_t *ret_port,
			    const char **ret_why);

/* --- the handle --------------------------------------------------------------------------- */

struct conncount;

/*
 * conncount_dir() - the instance's directory: @dir; if that is NULL, $CONNCOUNT_DIR; if that is
 * unset or empty, CONNCOUNT_DIR.
 */
const char *conncount_dir(const char *dir);

/*
 * conncount_open() - open an instance for reading.
 * @dir: its directory, as conncount_dir() takes it.
 * @ret: the handle, which the caller closes with conncount_close().
 *
 * The handle follows the instance through reloads, and through unload and load: queries return
 * -ENOENT while nothing is loaded, and work again after the next load.
 *
 * Returns 0; -ENOENT: nothing is loaded there; -EACCES: the files are not for this user; -EPERM:
 * bpf(2) is not permitted, for instance by a container's system call filter; -EPROTO: loaded by a
 * build with another layout of the maps; or another negative errno.
 */
int conncount_open(const char *dir, struct conncount **ret);

/* conncount_close() - close a handle. NULL is ignored. No other thread may be using it. */
void conncount_close(struct conncount *cc);

/*
 * conncount_strerror() - one sentence on an error of this library: what failed, and the remedy if
 * one is known.
 * @dir: as given to conncount_open().
 * @err: the negative errno returned.
 * @buf: CONNCOUNT_ERROR_SIZE bytes are enough; longer text is cut.
 *
 * Returns @buf.
 */
char *conncount_strerror(const char *dir, int err, char *buf, size_t size);

/* --- queries ------------------------------------------------------------------------------ */

/* Flags of an answer. */
enum {
	/*
	 * The count is exact. Otherwise the other flags, `uncounted` and `lost` say why not and, if
	 * known, by how much it may be wrong.
	 */
	CONNCOUNT_EXACT = 1,
	/* A load is still counting sessions that were open before it. */
	CONNCOUNT_SEEDING = 2,
	/* The counted cgroup was removed: counts do not change until the next load. */
	CONNCOUNT_DETACHED = 4,
	/* Sessions of the cluster's other nodes may be missing: conncount_cluster_why(). */
	CONNCOUNT_CLUSTER = 8,
};

struct conncount_answer {
	int64_t count;      /* sessions open now; never negative */
	int64_t uncounted;  /* open on these listeners, but not counted */
	uint64_t lost;      /* changes on these listeners that were lost, and wrong counts found */
	uint32_t flags;     /* CONNCOUNT_EXACT */
	uint32_t listeners; /* how many listeners were added up */
};

/*
 * conncount_count_service() - sessions of a service, over all its listeners.
 * @service: a service type, case sensitive; NULL for CONNCOUNT_SERVICE.
 * @cidr: the network the peers are in; NULL for every address of both families.
 *
 * A known type without a listener counts 0. Returns 0; -ESRCH: no such service type; or
 * an error of conncount_open().
 */
int conncount_count_service(struct conncount *cc, const char *service,
			    const struct conncount_cidr *cidr, struct conncount_answer *ret_answer);

/*
 * conncount_count_listener() - sessions of one listener, by its name in the configuration.
 *
 * Returns 0; -ESRCH: no such listener; or an error of conncount_open().
 */
int conncount_count_listener(struct conncount *cc, const char *name,
			     const struct conncount_cidr *cidr,
			     struct conncount_answer *ret_answer);

/*
 * conncount_count_local() - sessions of the listener that accepts on a local address.
 * @local: the address, whole (its length is that of its family).
 * @port: host byte order.
 *
 * Returns 0; -ESRCH: no listener is configured for that address and port; or an error of
 * conncount_open().
 */
int conncount_count_local(struct conncount *cc, const struct conncount_cidr *local, uint16_t port,
			  const struct conncount_cidr *cidr, struct conncount_answer *ret_answer);

/*
 * conncount_service_of() - the service type of the listener that accepts on a local address.
 * @local, @port: as conncount_count_local() takes them.
 * @ret_service: CONNCOUNT_NAME_SIZE bytes.
 *
 * Returns 0; -ESRCH: no listener is configured for that address and port; or an error of
 * conncount_open().
 */
int conncount_service_of(struct conncount *cc, const struct conncount_cidr *local, uint16_t port,
			 char *ret_service);

/*
 * conncount_client_of() - the client that a session is counted for. If the session came through a
 * trusted proxy, that is the client that its PROXY header names.
 * @fd: the session's socket, as accept(2) returned it. The caller still owns it.
 * @ret_client: the client's address, whole.
 *
 * If the instance does not count the session, the client is the TCP peer. Call it after reading the
 * header: by then the kernel has read it, too.
 *
 * Returns 0; -EAGAIN: the session's header has not come yet; -EBADF, -ENOTSOCK, -ENOTCONN or
 * -EAFNOSUPPORT: @fd is not a connected TCP socket; or an error of conncount_open().
 */
int conncount_client_of(struct conncount *cc, int fd, struct conncount_cidr *ret_client);

/*
 * conncount_services() - the service types a query may name, as text: "SMTP, ECStream, ...",
 * the built-in ones and those of the active configuration. With @cc NULL: only the built-in ones.
 * Cut if @size is too small. Returns @buf.
 */
char *conncount_services(struct conncount *cc, char *buf, size_t size);

/* --- connections in windows of time --------------------------------------------------------- */

/*
 * A question about the windows of a `window` line of the configuration. Windows are numbered by
 * age: 0 is the current one, which has not ended, and there are `windows` more.
 */
struct conncount_window {
	uint32_t seconds, windows; /* as configured */
	uint32_t from, to;         /* the sum of these windows, both included */
	/*
	 * Not 0: in place of `from` and `to`, the last `seconds` seconds: the current window, and
	 * of the one before the share that is not yet longer ago.
	 */
	uint32_t smooth;
};

/*
 * conncount_window_parse() - read `SECONDS,WINDOWS`, with or without space around the comma.
 * @ret_window: of these, the current window.
 *
 * Returns 0 or -EINVAL.
 */
int conncount_window_parse(const char *text, struct conncount_window *ret_window);

/* Bytes of a window as text, with its NUL. */
enum { CONNCOUNT_WINDOW_SIZE = sizeof("4294967295,4294967295") };

/*
 * conncount_window_format() - write @window as `SECONDS,WINDOWS` into @buf, of
 * CONNCOUNT_WINDOW_SIZE bytes. Returns @buf.
 */
char *conncount_window_format(const struct conncount_window *window, char *buf);

struct conncount_connections {
	int64_t count;      /* connections; with `smooth` the nearest whole number */
	int64_t least;      /* there were at least so many: `count`, but for `smooth` */
	int64_t most;       /* and at most so many; INT64_MAX: that is not known */
	uint32_t flags;     /* CONNCOUNT_EXACT if `least` is `most`; CONNCOUNT_DETACHED */
	uint32_t listeners; /* how many listeners were added up */
};

/*
 * conncount_connections() - how many connections a network has opened in windows of time, whether
 * they are still open or not.
 * @service, @listener: the one that is not NULL selects the listeners; both NULL: the service
 *                      CONNCOUNT_SERVICE.
 * @window: the windows.
 * @cidr: the network the peers are in; NULL for every address of both families.
 *
 * Sessions that were open before counting began are in no window. Of a cluster, only this host's
 * connections are counted.
 *
 * Returns 0; -ESRCH: no such service type or listener; -ENODATA: no such window is configured;
 * -ERANGE: @window has no such windows, or keeps none before the current one, which `smooth` needs;
 * -EDOM: the network has a length from 65 to 127, for which nothing is kept; or an error of
 * conncount_open().
 */
int conncount_connections(struct conncount *cc, const char *service, const char *listener,
			  const struct conncount_window *window, const struct conncount_cidr *cidr,
			  struct conncount_connections *ret);

/* One network that has opened connections. */
struct conncount_opener {
	struct conncount_cidr cidr;
	int64_t count, least, most; /* as in struct conncount_connections */
};

/*
 * conncount_openers() - all networks of one length that have opened connections in windows of time.
 * @service, @listener, @window: as conncount_connections() takes them.
 * @family: CONNCOUNT_IPV4 or CONNCOUNT_IPV6.
 * @prefixlen: 0 to 32, or 0 to 64, or 128.
 * @ret_openers: an array the caller frees with free(), in order of address; NULL if empty.
 * @ret_total: all connections of the family. A network whose connections are all among those that
 * it may have missed is in no list.
 *
 * Walks the whole table. Returns as conncount_connections(); -EINVAL: a bad family or length; or
 * -ENOMEM.
 */
int conncount_openers(struct conncount *cc, const char *service, const char *listener,
		      const struct conncount_window *window, int family, unsigned prefixlen,
		      struct conncount_opener **ret_openers, size_t *ret_n,
		      struct conncount_connections *ret_total);

enum { CONNCOUNT_WINDOWS_MAX = 4 };

/* The windows that are configured, and the table of their networks. */
struct conncount_windows {
	uint32_t n; /* how many; 0: none, and the rest is 0 */
	struct conncount_window window[CONNCOUNT_WINDOWS_MAX]; /* `from`, `to`, `smooth`: 0 */
	/* The most connections that any network may have missed in one window that is kept. */
	uint64_t error[CONNCOUNT_WINDOWS_MAX];
	uint64_t networks, max_networks; /* in the table, and how many it can hold */
	uint64_t evicted; /* networks that ever lost their place in it while it mattered */
};

/* conncount_windows() - walks the whole table. */
int conncount_windows(struct conncount *cc, struct conncount_windows *ret_windows);

/* --- lists -------------------------------------------------------------------------------- */

/* One network with sessions open. */
struct conncount_entry {
	struct conncount_cidr cidr;
	int64_t count;
};

/*
 * conncount_list() - all networks of one length that have sessions open.
 * @service, @listener: the one that is not NULL selects the listeners; both NULL: the
 *                      service CONNCOUNT_SERVICE.
 * @family: CONNCOUNT_IPV4 or CONNCOUNT_IPV6.
 * @prefixlen: 0 to the family's length.
 * @ret_entries: an array the caller frees with free(), in order of address; NULL if empty.
 * @ret_answer: the sum of the entries, and its exactness.
 *
 * Walks the table, in which it skips most of what is longer than @prefixlen: for people and
 * dashboards, not for policies. Each network appears once. While sessions come and go, the counts
 * are not of one moment.
 *
 * Returns 0; -ESRCH; -EINVAL: a bad family or length; -ENOMEM; or an error of
 * conncount_open().
 */
int conncount_list(struct conncount *cc, const char *service, const char *listener, int family,
		   unsigned prefixlen, struct conncount_entry **ret_entries, size_t *ret_n,
		   struct conncount_answer *ret_answer);

/*
 * conncount_list_within() - as conncount_list(), but only of the networks inside @within, which
 * says the family, too. It skips what is outside of it.
 * @prefixlen: not shorter than that of @within; else -EINVAL.
 */
int conncount_list_within(struct conncount *cc, const char *service, const char *listener,
			  const struct conncount_cidr *within, unsigned prefixlen,
			  struct conncount_entry **ret_entries, size_t *ret_n,
			  struct conncount_answer *ret_answer);

/* --- state -------------------------------------------------------------------------------- */

/* Totals of a listener, for one family. */
struct conncount_tally {
	int64_t live;
	uint64_t opened;
	uint64_t closed;
	int64_t uncounted;
	uint64_t lost;
};

/* Sessions of a listener that came from its proxies. */
struct conncount_proxied {
	int64_t awaiting;     /* open, and their header has not come: in no count */
	int64_t unidentified; /* open, and in the counts of the proxy: no header was read */
	/* Sessions that were ever counted for the client that their header names: */
	uint64_t identified;
	/* For the proxy: */
	uint64_t own;       /* as their header says */
	uint64_t absent;    /* they began with something other than a header */
	uint64_t malformed; /* their header is malformed, or too long */
	uint64_t split;     /* their first segment had only a part of the header */
	uint64_t unread;    /* open before counting began, MPTCP, or its proxy was removed */
};

struct conncount_listener {
	char name[CONNCOUNT_NAME_SIZE];
	char service[CONNCOUNT_NAME_SIZE];
	int active; /* 0: no longer configured, sessions were still open when it was removed */
	struct conncount_tally ipv4;
	struct conncount_tally ipv6;
	struct conncount_proxied proxied;
};

/*
 * conncount_listeners() - the listeners and their totals.
 * @ret_listeners: an array the caller frees with free(); NULL if there are none.
 */
int conncount_listeners(struct conncount *cc, struct conncount_listener **ret_listeners,
			size_t *ret_n);

/* What a listener listens on. */
struct conncount_listen {
	char name[CONNCOUNT_NAME_SIZE]; /* the listener's */
	/* prefixlen 0: every address of the family; family 0: every address of both. */
	struct conncount_cidr addr;
	uint16_t port; /* host byte order */
	int proxied;   /* not 0: the listener has proxies */
};

/*
 * conncount_listens() - the addresses and ports of the active configuration.
 * @ret_listens: an array the caller frees with free(); NULL if there are none.
 */
int conncount_listens(struct conncount *cc, struct conncount_listen **ret_listens, size_t *ret_n);

struct conncount_state {
	uint64_t generation;     /* increases with every change of the configuration */
	char build[32];          /* version of the build that is loaded */
	char cgroup[4096];       /* the counted one, as a path below the cgroup v2 mount */
	int64_t nodes;           /* entries of the table of counts that are in use */
	uint32_t max_prefixes;   /* how many it can hold */
	uint32_t seeding;        /* not 0: CONNCOUNT_SEEDING holds */
	uint32_t detached;       /* not 0: CONNCOUNT_DETACHED holds */
	uint32_t netns;          /* inode number of the counted network namespace; 0: all */
	uint64_t cgroup_id;      /* the inode number of that cgroup's directory */
	uint64_t cgroup_root_id; /* that of the mount; 1: the mount shows the whole hierarchy */
};

/* conncount_state() - the instance itself. */
int conncount_state(struct conncount *cc, struct conncount_state *ret_state);

/* --- the cluster ---------------------------------------------------------------------------- */

/*
 * The service that is the inbound SMTP sessions of all nodes of the cluster. On a host without a
 * cluster: of this host.
 */
#define CONNCOUNT_SERVICE_CLUSTER "inbound_cidr"

/* What the cluster's daemon on this host says. */
struct conncount_cluster {
	char name[CONNCOUNT_NAME_SIZE]; /* the cluster's */
	uint32_t joined; /* 0: this host is in no cluster, and the other fields are 0 */
	uint32_t reason; /* 0: exact; otherwise conncount_cluster_why() says it in words */
	char node[CONNCOUNT_NAME_SIZE]; /* the node that the reason is about, if it is about one */
	uint32_t dropped; /* not 0: cut off for so long that only this host's sessions count */
	uint32_t nodes;   /* how many there are, with this host */
	uint64_t age_ms;  /* since Redis or Valkey last answered */
	int64_t sessions; /* of the other nodes */
	/* Totals since the daemon started: */
	uint64_t applied;  /* changes of counts received */
	uint64_t resyncs;  /* times that a node's counts were read whole */
	uint64_t mended;   /* own counts whose change was not noticed at first: should be 0 */
	uint64_t diverged; /* times that a node's counts had a wrong checksum: should be 0 */
	uint64_t unnoted;  /* changes for which the kernel's map of changes had no room */
	/* Entries of the table of the other nodes' counts, and how many it may have. */
	uint64_t prefixes, max_prefixes;
	uint64_t version; /* another number after each change of the other nodes' counts */
};

/* conncount_cluster() - the cluster, as this host sees it. */
int conncount_cluster(struct conncount *cc, struct conncount_cluster *ret_cluster);

/*
 * conncount_cluster_why() - why the counts of the cluster are not exact: "cluster: cut off for
 * 14 s". @buf: CONNCOUNT_ERROR_SIZE bytes are enough. Returns @buf.
 */
char *conncount_cluster_why(struct conncount *cc, char *buf, size_t size);

/* The states of a node. */
enum {
	CONNCOUNT_NODE_OK = 1,
	CONNCOUNT_NODE_RESYNC, /* its counts are being read; those from before count meanwhile */
	CONNCOUNT_NODE_STALE,  /* it is silent; its last counts count */
	CONNCOUNT_NODE_GONE,   /* it was silent for too long: its sessions are no longer counted */
};

struct conncount_node {
	char name[CONNCOUNT_NAME_SIZE];
	int state;       /* CONNCOUNT_NODE_* */
	int self;        /* whether it is this host */
	int exact;       /* whether its own counts are exact */
	int heard;       /* whether it was ever seen alive */
	uint64_t age_ms; /* since it was last seen alive, if it was */
	uint64_t lag_ms; /* how long its newest counts have not been applied */
	int64_t sessions;
	int64_t networks; /* addresses with sessions */
};

/*
 * conncount_nodes() - the nodes of the cluster, this host first.
 * @ret_nodes: an array the caller frees with free().
 * @ret_n: 0 if this host is in no cluster.
 */
int conncount_nodes(struct conncount *cc, struct conncount_node **ret_nodes, size_t *ret_n);

/* The version of this library, as "0.1.0". */
const char *conncount_version(void);

#ifdef __cplusplus
}
#endif

#endif
