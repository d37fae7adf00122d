// SPDX-License-Identifier: BSD-2-Clause
/*
 * cluster.c - the program behind `conncount cluster`.
 *
 * A separate program, because no other command needs hiredis. The command has parsed the options.
 *
 * usage: conncount-cluster FILE DIR
 *
 * Every interval: read the changes on this host, tell them, read those of the other nodes,
 * write their sum to the `remote` trie, and say in the maps `cluster` and `nodes` how things are.
 * Nobody else writes these, so what is in them is what this program last knew: readers see by its
 * time (struct cc_cluster) that it is old.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "board.h"
#include "clock.h"
#include "local.h"
#include "peers.h"
#include "report.h"
#include "self.h"

struct cluster {
	const char *dir;
	struct cluster_config config;
	struct conncount *cc;
	struct board board;
	struct engine engine;
	struct local local;
	struct self self;
	struct peers peers;
	/*
	 * The trie may have what an earlier daemon has written. It stays in force until the counts
	 * of all nodes have been read, or the lease is over.
	 */
	bool writes;
	uint64_t first_answer; /* when the engine first answered; 0: not yet */
	int said;              /* the negative errno of the instance that was reported */
	int unwritten;         /* that of the trie */
	uint64_t owner;        /* as struct cc_cluster has it */
	bool displaced;        /* another daemon has this instance */
};

static volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

/* --- what readers see --------------------------------------------------------------------------
 */

#define put(field, value) __atomic_store_n(&(field), value, __ATOMIC_RELEASE)

/* Tell readers that the counts begin to change, or no longer do. An earlier daemon may have been
 * killed between. */
static void put_changing(struct cc_cluster *board, bool changing)
{
	uint64_t odd = board->version | 1;

	put(board->version, changing ? odd : odd + 1);
}

/* How many sessions the other nodes have; NULL: none. */
static void put_sessions(struct cc_cluster *board, const struct sums *sums)
{
	for (int i = 0; i < CC_FAMILIES; i++)
		put(board->sessions[i], sums ? sums->sessions[i] : 0);
	put(board->prefixes, sums ? sums->counts.used : 0);
}

/* Begin to be in the cluster: from now on programs note changes, and readers look here. */
static void board_begin(struct cluster *cluster, uint64_t now)
{
	struct cc_cluster *board = cluster->board.cluster;

	/* An earlier daemon that was killed has left its counts: they are as old as it says. */
	if (!board->joined) {
		put(board->answered, now);
		put_sessions(board, NULL);
	}
	put(board->owner, cluster->owner);
	put(board->patience, patience_of(cluster->config.interval));
	put(board->hold, cluster->config.hold);
	memcpy(board->name, cluster->config.name, sizeof(board->name));
	memcpy(board->service, cluster->config.service, sizeof(board->service));
	put(board->max_prefixes, cluster->config.max_prefixes);
	put(board->reason, CC_CLUSTER_RESYNC);
	put(board->node, 0);
	put(board->nodes, 1);
	put(board->joined, 1);
}

static void put_node(const struct cluster *cluster, uint32_t index, const struct cc_node *node)
{
	bpf_map_update_elem(cluster->board.nodes_fd, &index, node, BPF_ANY);
}

/* This host is the first node. Returns why it makes the sum inexact. */
static int put_self(const struct cluster *cluster)
{
	const struct self *self = &cluster->self;
	struct cc_node node = {
		.state = self->state == SELF_TELLS ? CC_NODE_OK : CC_NODE_RESYNC,
		.inexact = !cluster->local.exact,
		.heard = self->told_at,
		.sessions = cluster->local.counts.sum,
		.networks = (__s64)cluster->local.counts.used,
	};

	strcpy(node.name, cluster->config.node);
	put_node(cluster, 0, &node);
	if (self->twice)
		return CC_CLUSTER_NAME;
	if (!cluster->writes)
		return CC_CLUSTER_RESYNC;
	return cluster->peers.too_many ? CC_CLUSTER_MANY : CC_CLUSTER_EXACT;
}

static int put_peer(const struct cluster *cluster, uint32_t index, const struct peer *peer,
		    uint64_t now)
{
	struct cc_node node = {
		.state = (__u32)peer_state(&cluster->peers, peer),
		.inexact = peer->header.flags & HEADER_INEXACT,
		.heard = peer->heard,
		.lag = peer->behind ? now - peer->behind : 0,
		.sessions = peer->now.table.sum,
		.networks = (__s64)peer->now.table.used,
	};

	strcpy(node.name, peer->name);
	put_node(cluster, index, &node);
	return peer_reason(&cluster->peers, peer);
}

/* Whether the counts of all nodes were read. */
static bool is_complete(const struct cluster *cluster)
{
	for (size_t i = 0; i < cluster->peers.n; i++) {
		int state = peer_state(&cluster->peers, &cluster->peers.peer[i]);

		if (state != CC_NODE_OK && state != CC_NODE_GONE)
			return false;
	}
	return true;
}

/* Write the sums to the trie, and what they are. */
static int board_counts(struct cluster *cluster, uint64_t now)
{
	struct cc_cluster *board = cluster->board.cluster;
	struct sums *sums = &cluster->peers.sums;
	int err = 0;

	if (sums->lost)
		cluster->writes = false;
	if (cluster->writes && !sums->touched.used)
		return 0;
	if (!cluster->writes && !is_complete(cluster) &&
	    now - cluster->first_answer < cluster->config.lease)
		return 0;
	put_changing(board, true);
	if (!cluster->writes) {
		err = sums_replace(sums, cluster->board.remote_fd);
		cluster->writes = !err;
	}
	if (!err)
		err = sums_write(sums, cluster->board.remote_fd);
	put_sessions(board, sums);
	put_changing(board, false);
	return err;
}

/* Tell readers how things are, after an exchange that was begun at @now. */
static void board_tell(struct cluster *cluster, uint64_t now)
{
	struct cc_cluster *board = cluster->board.cluster;
	const struct peers *peers = &cluster->peers;
	int err = board_counts(cluster, now);
	int reason = put_self(cluster);
	uint32_t node = 0;

	if (err && err != cluster->unwritten)
		report("%s: the counts of the other nodes cannot be written: %s", cluster->dir,
		       strerror(-err));
	cluster->unwritten = err;
	if (err) {
		cluster->writes = false;
		reason = CC_CLUSTER_RESYNC;
	}
	for (uint32_t i = 0; i < peers->n; i++) {
		int why = put_peer(cluster, i + 1, &peers->peer[i], now);

		if (why && (!reason || why < reason)) {
			reason = why;
			node = i + 1;
		}
	}
	put(board->applied, peers->applied);
	put(board->resyncs, peers->resyncs);
	put(board->diverged, peers->diverged);
	put(board->mended, cluster->local.mended);
	put(board->nodes, (uint32_t)peers->n + 1);
	put(board->node, node);
	put(board->reason, (uint32_t)reason);
	put(board->answered, now);
}

/* Be in no cluster any more: queries are about this host alone, and exact again. */
static void board_end(struct cluster *cluster)
{
	if (!cluster->board.set)
		return;
	put(cluster->board.cluster->joined, 0);
	put_changing(cluster->board.cluster, true);
	put_sessions(cluster->board.cluster, NULL);
	sums_clear_trie(cluster->board.remote_fd);
	put_changing(cluster->board.cluster, false);
	board_close(&cluster->board);
}

/* --- the instance ------------------------------------------------------------------------------
 */

static void say(struct cluster *cluster, int err)
{
	char text[CONNCOUNT_ERROR_SIZE];

	if (err == cluster->said)
		return;
	cluster->said = err;
	if (!err)
		report("%s: loaded: in cluster '%s' as '%s'", cluster->dir, cluster->config.name,
		       cluster->config.node);
	else if (err == -EACCES || err == -EPERM)
		report("%s: the daemon may not write there (it must be in the groups conncount "
		       "and " CC_CLUSTER_GROUP
		       ", and the second must exist when counting is loaded: conncount load)",
		       cluster->dir);
	else if (err == -ESRCH)
		report("service '%s': no listener has it", cluster->config.service);
	else
		report("%s", conncount_strerror(cluster->dir, err, text, sizeof(text)));
}

/* Open the instance, or follow it to other maps, and read the changes. */
static int look(struct cluster *cluster, uint64_t now)
{
	enum board_change change;
	int err = board_follow(cluster->dir, &cluster->board, &change);

	if (!err && change != BOARD_SAME)
		local_forget(&cluster->local);
	if (!err && change == BOARD_MAPS) {
		cluster->writes = false;
		board_begin(cluster, now);
	}
	cluster->local.changed_fd = err ? -1 : cluster->board.changed_fd;
	if (!err && cluster->board.cluster->owner != cluster->owner) {
		report("%s: another daemon has taken over this instance (run only one)",
		       cluster->dir);
		cluster->displaced = true;
		ended = 1;
		return -EBUSY;
	}
	if (!err && !cluster->cc) {
		err = conncount_open(cluster->dir, &cluster->cc);
		cluster->local.cc = cluster->cc;
	}
	if (!err)
		err = local_look(
			&cluster->local,
			__atomic_load_n(&cluster->board.cluster->unnoted, __ATOMIC_ACQUIRE), now);
	return err;
}

/* --- an interval -------------------------------------------------------------------------------
 */

/* Tell, and read. Returns whether all was answered. */
static bool exchange(struct cluster *cluster, uint64_t now)
{
	struct self *self = &cluster->self;
	struct engine *engine = &cluster->engine;
	bool writes;

	if (engine_connect(engine))
		return false;
	/*
	 * What we are in doubt about comes first. Whether others are silent, we can tell only if
	 * what we write is taken ourselves.
	 */
	if (self->state == SELF_DOUBTS) {
		self_ask(self, engine, &cluster->local, now);
		if (!self_answer(self, engine, now))
			return false;
	}
	writes = self->state != SELF_WATCHES;
	self_ask(self, engine, &cluster->local, now);
	peers_ask(&cluster->peers, engine);
	if (!self_answer(self, engine, now) || !peers_answer(&cluster->peers, engine, now))
		return false;
	if (writes)
		engine_works(engine);
	return true;
}

/* Take part for an interval. Returns 0, or why this host cannot: nothing is loaded, for example. */
static int turn(struct cluster *cluster)
{
	uint64_t now = boot_ns();
	int err = look(cluster, now);

	if (err)
		return err;
	if (!exchange(cluster, now)) {
		self_lost(&cluster->self, &cluster->local, now);
		return 0;
	}
	if (cluster->self.state == SELF_TELLS)
		cluster->self.twice = cluster->peers.self_twice;
	if (!cluster->first_answer)
		cluster->first_answer = now;
	board_tell(cluster, now);
	return 0;
}

/* Take this host's counts away from the others. */
static void leave(struct cluster *cluster)
{
	if (!engine_connect(&cluster->engine))
		self_leave(&cluster->self, &cluster->engine);
	board_end(cluster);
}

/* Sleep until the kernel's clock says @when. In a time namespace, this process's own clock differs.
 */
static void sleep_until(uint64_t when)
{
	uint64_t now = boot_ns(), left = when > now ? when - now : 0;
	struct timespec pause = { .tv_sec = (time_t)(left / NS_PER_S),
				  .tv_nsec = (long)(left % NS_PER_S) };

	if (!ended)
		clock_nanosleep(CLOCK_BOOTTIME, 0, &pause, NULL);
}

static void run(struct cluster *cluster)
{
	uint64_t next = boot_ns();

	while (!ended) {
		int err = turn(cluster);

		if (cluster->displaced)
			return;
		if (err && !cluster->said && cluster->self.told_at)
			leave(cluster);
		say(cluster, err);
		next += cluster->config.interval;
		if (next < boot_ns())
			next = boot_ns();
		sleep_until(next);
	}
	leave(cluster);
}

int main(int argc, char **argv)
{
	struct cluster *cluster = calloc(1, sizeof(*cluster));
	const struct sigaction action = { .sa_handler = end };
	char error[LINES_ERROR_SIZE];
	bool displaced;

	if (argc != 3) {
		report("conncount-cluster: cannot be run directly (use: conncount cluster)");
		return 2;
	}
	if (!cluster) {
		report("out of memory");
		return 1;
	}
	if (cluster_config_read_file(argv[1], &cluster->config, error)) {
		report("%s", error);
		return 2;
	}
	if (engine_setup(&cluster->engine, &cluster->config, error)) {
		report("%s: %s", argv[1], error);
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	cluster->dir = argv[2];
	cluster->said = 1;
	cluster->self.config = cluster->peers.config = &cluster->config;
	cluster->local.service = cluster->config.service;
	cluster->peers.sums.most = cluster->config.max_prefixes;
	while (!cluster->owner)
		if (getrandom(&cluster->owner, sizeof(cluster->owner), 0) < 0)
			cluster->owner = (uint64_t)getpid();
	run(cluster);
	displaced = cluster->displaced;
	board_close(&cluster->board);
	conncount_close(cluster->cc);
	engine_free(&cluster->engine);
	local_free(&cluster->local);
	self_free(&cluster->self);
	peers_free(&cluster->peers);
	cluster_config_free(&cluster->config);
	free(cluster);
	return displaced;
}
