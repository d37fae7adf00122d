// SPDX-License-Identifier: BSD-2-Clause
/*
 * query.c - how many sessions a network has open.
 *
 * A network whose length is a level takes one look-up per listener. Any other is the sum of its
 * parts of the next longer level. The count of the enclosing level bounds that sum: if it is 0,
 * nothing is added up. If possible, a program in the kernel does the adding.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>

#include "internal.h"
#include "levels.h"
#include "mask.h"

/* Without that program: up to 2^PROBE_BITS parts may be looked up one by one, and up to
 * 2^PROBE_BITS_LEAST always are. */
enum { PROBE_BITS = 15, PROBE_BITS_LEAST = 7 };

unsigned level_from(int family, unsigned length)
{
	const unsigned *level = levels_of(family);

	if (length == 0)
		return 0;
	while (*level < length)
		level++;
	return *level;
}

unsigned level_below(int family, unsigned length)
{
	unsigned below = 0;

	for (const unsigned *level = levels_of(family); *level && *level < length; level++)
		below = *level;
	return below;
}

int stats_get(const struct view *view, uint32_t id, struct cc_stats *ret_stats)
{
	if (view->stats) {
		copy_words(ret_stats, &view->stats[id], sizeof(*ret_stats));
		return 0;
	}
	return bpf_map_lookup_elem(view->stats_fd, &id, ret_stats);
}

void count_key(struct cc_count_key *key, uint32_t id, const struct conncount_cidr *cidr,
	       unsigned length)
{
	*key = (struct cc_count_key){
		.prefixlen = CC_COUNT_BITS_OWNER + length,
		.listener = htons((uint16_t)id),
		.family = htons((uint16_t)cidr->family),
	};
	mask_address(key->addr, cidr->addr, length);
}

/* All sessions of a listener and family. The tally is below 0 while an end was counted before its
 * start. */
static int64_t live_of(const struct cc_tally *tally)
{
	return tally->live > 0 ? tally->live : 0;
}

int64_t count_of(const struct cc_count_key *key, const struct cc_count *value)
{
	/* Below 0 only while an addition is being carried from a deleted node to the next one. */
	if (CC_COUNT_LENGTH(value->word) != key->prefixlen || value->word < 0)
		return 0;
	return value->word >> CC_COUNT_SHIFT;
}

int counts_fd_of(const struct view *view, uint32_t listener)
{
	return listener == CC_LISTENER_REMOTE ? view->remote_fd : view->counts_fd;
}

int counts_get(const struct view *view, const struct cc_count_key *key, int64_t *ret_count)
{
	struct cc_count value;
	int err = bpf_map_lookup_elem(counts_fd_of(view, ntohs(key->listener)), key, &value);

	if (err && err != -ENOENT)
		return err;
	*ret_count = err ? 0 : count_of(key, &value);
	return 0;
}

/* Go on to the next network of the length of @bytes bytes. */
static void key_step(struct cc_count_key *key, unsigned bytes)
{
	unsigned char *addr = (unsigned char *)key->addr;

	while (bytes > 0 && ++addr[--bytes] == 0)
		;
}

/* A network, and the longer level whose counts to add up in it. */
struct sum {
	struct cc_count_key network;
	unsigned level; /* prefixlen of the keys to add up */
	int64_t most;   /* stop at this sum */
};

/*
 * Have the sum program add them up, in one system call. Returns 0; -E2BIG if the network has too
 * many for one run; or another negative errno if the program is missing, may not be run, or has no
 * answer.
 */
static int program_run(const struct view *view, const struct sum *sum, int64_t *ret_count)
{
	struct cc_sum question = {
		.network = sum->network,
		.level = sum->level,
		.most = sum->most,
		.mark = CC_SUM_MARK,
	};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &question, .ctx_size_in = sizeof(question));
	int err = view->sum_fd < 0 ? -ENOENT : bpf_prog_test_run_opts(view->sum_fd, &opts);

	if (err)
		return err;
	if (!(opts.retval & CC_SUM_RAN))
		return opts.retval == CC_SUM_MANY ? -E2BIG : -ENOTSUP;
	*ret_count = opts.retval & ~CC_SUM_RAN;
	return 0;
}

static int halves_sum(const struct view *view, const struct sum *sum, int64_t *ret_count);

/* The same, in several runs if there are too many for one. */
static int program_sum(const struct view *view, const struct sum *sum, int64_t *ret_count)
{
	int err = program_run(view, sum, ret_count);

	return err == -E2BIG ? halves_sum(view, sum, ret_count) : err;
}

/*
 * The same for a network that has too many for one run. If all are in one of its halves, goes on
 * with the halves of that one at once: addresses that were assigned in sequence have most bits in
 * common.
 */
static int halves_sum(const struct view *view, const struct sum *sum, int64_t *ret_count)
{
	struct sum half[] = { *sum, *sum };
	unsigned bit = sum->network.prefixlen - CC_COUNT_BITS_OWNER;
	int64_t any[2], rest;
	int err = 0;

	if (sum->network.prefixlen >= sum->level)
		return program_run(view, sum, ret_count);
	((unsigned char *)half[1].network.addr)[bit / 8] |= 0x80 >> bit % 8;
	for (int i = 0; !err && i < 2; i++) {
		half[i].network.prefixlen++;
		half[i].most = 1;
		err = program_run(view, &half[i], &any[i]);
		half[i].most = sum->most;
	}
	if (err)
		return err;
	if (!any[0] || !any[1])
		return halves_sum(view, &half[any[1] > 0], ret_count);
	err = program_sum(view, &half[0], ret_count);
	if (err || *ret_count >= sum->most)
		return err;
	half[1].most -= *ret_count;
	err = program_sum(view, &half[1], &rest);
	*ret_count += err ? 0 : rest;
	return err;
}

/* The same, by looking up each: there are at most 1 << PROBE_BITS. */
static int probe_sum(const struct view *view, const struct sum *sum, int64_t *ret_count)
{
	unsigned parts = 1U << (sum->level - sum->network.prefixlen);
	struct cc_count_key key = sum->network;

	key.prefixlen = sum->level;
	for (*ret_count = 0; parts && *ret_count < sum->most; parts--) {
		int64_t count;
		int err = counts_get(view, &key, &count);

		if (err)
			return err;
		*ret_count += count;
		key_step(&key, (sum->level - CC_COUNT_BITS_OWNER) / 8);
	}
	return 0;
}

struct search {
	const struct sum *sum;
	int64_t count;
};

/* Whether @key is inside @network: their first bits are the same. */
static bool key_inside(const struct cc_count_key *key, const struct cc_count_key *network)
{
	const unsigned char *a = (const unsigned char *)&key->listener;
	const unsigned char *b = (const unsigned char *)&network->listener;
	unsigned bytes = network->prefixlen / 8, bits = network->prefixlen % 8;

	if (key->prefixlen < network->prefixlen || memcmp(a, b, bytes))
		return false;
	return !bits || (a[bytes] ^ b[bytes]) >> (8 - bits) == 0;
}

static int search_visit(const struct cc_count_key *key, int64_t count, void *arg)
{
	struct search *search = arg;

	if (key_inside(key, &search->sum->network)) {
		if (key->prefixlen == search->sum->level)
			search->count += count;
	} else if (key_before(&search->sum->network, key)) {
		return 1; /* past it */
	}
	return search->count >= search->sum->most;
}

/* Go back to the network of the length of @bytes bytes before. */
static void key_step_back(struct cc_count_key *key, unsigned bytes)
{
	unsigned char *addr = (unsigned char *)key->addr;

	while (bytes > 0 && addr[--bytes]-- == 0)
		;
}

/*
 * Find a network with sessions shortly before @cidr in the order of the walk: its left neighbour on
 * a level, or that of the network around it, and so on. A walk can begin there instead of at the
 * first key, which may be a million keys earlier. Returns 0, -ENOENT if there is none, or another
 * negative errno.
 */
static int search_start(const struct view *view, uint32_t id, const struct conncount_cidr *cidr,
			struct cc_count_key *ret_key)
{
	unsigned level = level_below(cidr->family, cidr->prefixlen);

	while (level) {
		struct cc_count_key key;
		unsigned left;

		count_key(&key, id, cidr, level);
		/* Its index in the network above, which is 8 bits shorter. */
		left = ((unsigned char *)key.addr)[level / 8 - 1];
		while (left--) {
			int64_t count;
			int err;

			key_step_back(&key, level / 8);
			err = counts_get(view, &key, &count);
			if (err)
				return err;
			if (count) {
				*ret_key = key;
				return 0;
			}
		}
		level = level_below(cidr->family, level);
	}
	return -ENOENT;
}

/* The same as probe_sum(), for networks with too many parts to look up one by one. */
static int search_sum(const struct view *view, uint32_t id, const struct conncount_cidr *cidr,
		      const struct sum *sum, int64_t *ret_count)
{
	struct search search = { .sum = sum };
	struct cc_count_key start;
	int err = search_start(view, id, cidr, &start);

	if (err && err != -ENOENT)
		return err;
	err = counts_walk(counts_fd_of(view, id), err ? NULL : &start, search_visit, NULL, &search);
	if (err < 0)
		return err;
	*ret_count = search.count;
	return 0;
}

/*
 * Whether to look up each part rather than walk the existing ones. Either costs about a system call
 * for each part, and no more than @sum->most parts exist.
 */
static bool are_few(const struct sum *sum)
{
	unsigned bits = sum->level - sum->network.prefixlen;

	return bits <= PROBE_BITS_LEAST || (bits <= PROBE_BITS && 1L << bits <= sum->most);
}

/* The sum of the counts of the next longer level, by the first way that works. */
static int parts_sum(const struct view *view, uint32_t id, const struct conncount_cidr *cidr,
		     unsigned level, int64_t most, int64_t *ret_count)
{
	struct sum sum = { .level = CC_COUNT_BITS_OWNER + level, .most = most };

	count_key(&sum.network, id, cidr, cidr->prefixlen);
	if (!program_sum(view, &sum, ret_count))
		return 0;
	if (are_few(&sum))
		return probe_sum(view, &sum, ret_count);
	return search_sum(view, id, cidr, &sum, ret_count);
}

/*
 * The count of a network on one listener.
 * @tally: the listener's, for that family; used only if needs_tally().
 */
static int listener_count(const struct view *view, uint32_t id, const struct conncount_cidr *cidr,
			  const struct cc_tally *tally, int64_t *ret_count)
{
	unsigned level = level_from(cidr->family, cidr->prefixlen);
	unsigned length = level == cidr->prefixlen ? level : level_below(cidr->family, level);
	struct cc_count_key key;
	int64_t most;
	int err = 0;

	if (length) {
		count_key(&key, id, cidr, length);
		err = counts_get(view, &key, &most);
	} else {
		most = live_of(tally);
	}
	if (err)
		return err;
	if (level == cidr->prefixlen || most == 0) {
		*ret_count = most;
		return 0;
	}
	return parts_sum(view, id, cidr, level, most, ret_count);
}

/* Whether the prefix is so short that the enclosing count is the family's total. */
static bool needs_tally(const struct conncount_cidr *cidr)
{
	unsigned level = level_from(cidr->family, cidr->prefixlen);

	return level == 0 || (level != cidr->prefixlen && level_below(cidr->family, level) == 0);
}

void answer_add(struct conncount_answer *answer, const struct cc_tally *tally)
{
	answer->uncounted += tally->uncounted > 0 ? tally->uncounted : 0;
	answer->lost += tally->lost;
}

void answer_set_flags(struct conncount_answer *answer, struct view *view,
		      const struct cc_control *control, const struct others *others)
{
	uint32_t flags = 0;

	if (control->seeding)
		flags |= CONNCOUNT_SEEDING;
	if (view_is_detached(view))
		flags |= CONNCOUNT_DETACHED;
	if (others && !others->exact)
		flags |= CONNCOUNT_CLUSTER;
	if (!flags && !answer->uncounted && !answer->lost)
		flags = CONNCOUNT_EXACT;
	answer->flags = flags;
}

/* Add one listener's count of a network to an answer. */
static int answer_network(struct conncount_answer *answer, const struct view *view, uint32_t id,
			  const struct cc_stats *stats, const struct conncount_cidr *cidr)
{
	const struct cc_tally *tally = &stats->tally[CC_FAMILY_INDEX(cidr->family)];
	int64_t count = 0;
	int err = listener_count(view, id, cidr, tally, &count);

	if (err)
		return err;
	answer->count += count;
	answer_add(answer, tally);
	return 0;
}

/*
 * Add one listener's count of a network, or of everything if @cidr is NULL. Reads the listener's
 * tallies only if they matter, because that can cost a system call.
 */
static int answer_listener(struct conncount_answer *answer, const struct view *view, uint32_t id,
			   const struct conncount_cidr *cidr, bool exact)
{
	static const struct cc_stats none;
	const struct cc_stats *stats = &none;
	struct cc_stats read;
	int err = 0;

	if (!exact || !cidr || needs_tally(cidr)) {
		err = stats_get(view, id, &read);
		stats = &read;
	}
	if (!err && cidr)
		err = answer_network(answer, view, id, stats, cidr);
	for (size_t i = 0; !err && !cidr && i < CC_FAMILIES; i++) {
		answer->count += live_of(&stats->tally[i]);
		answer_add(answer, &stats->tally[i]);
	}
	if (!err)
		answer->listeners++;
	return err;
}

/* Add the counts of the cluster's other nodes. */
static int answer_others(struct conncount_answer *answer, const struct view *view,
			 const struct conncount_cidr *cidr, const struct others *others)
{
	const struct cc_tally *tally = others->tally;
	int64_t count = 0;
	int err = 0;

	if (!others->counted)
		return 0;
	if (cidr)
		err = listener_count(view, CC_LISTENER_REMOTE, cidr,
				     &tally[CC_FAMILY_INDEX(cidr->family)], &count);
	for (size_t i = 0; !cidr && i < CC_FAMILIES; i++)
		count += live_of(&tally[i]);
	answer->count += count;
	return err;
}

/* Add up the counts of @cidr of the listeners in @scope; of everything if @cidr is NULL. */
static int count_scope(struct view *view, const struct cc_control *control,
		       const struct scope *scope, const struct conncount_cidr *cidr,
		       struct conncount_answer *ret_answer)
{
	struct conncount_answer answer = { 0 };
	bool cluster = scope_is_cluster(scope);
	struct scope own = *scope;
	struct others others;
	int err = 0;

	if (cluster) {
		err = others_get(view, &others);
		own.also = others.service;
	}
	for (uint32_t id = 0; !err && id < config_used(&view->config); id++)
		if (scope_has(&own, &view->config, id))
			err = answer_listener(&answer, view, id, cidr, !control->inexact);
	if (!err && !answer.listeners)
		err = scope_without_listeners(scope);
	if (!err && cluster)
		err = answer_others(&answer, view, cidr, &others);
	if (err)
		return err;
	answer_set_flags(&answer, view, control, cluster ? &others : NULL);
	*ret_answer = answer;
	return 0;
}

/* The listener that accepts on a local address; -ESRCH if none does. */
static int local_find(const struct view *view, const struct conncount_cidr *local, uint16_t port,
		      uint32_t *ret_id)
{
	struct cc_listener_key key = {
		.prefixlen = CC_LISTENER_BITS_FAMILY + local->prefixlen,
		.config = htons(view->generation & 1),
		.port = htons(port),
		.family = htons((uint16_t)local->family),
	};
	struct cc_listener_id value;
	int err;

	memcpy(key.addr, local->addr, sizeof(key.addr));
	err = bpf_map_lookup_elem(view->listeners_fd, &key, &value);
	if (err)
		return err == -ENOENT ? -ESRCH : err;
	if (value.id >= CC_LISTENERS_MAX)
		return -EPROTO;
	*ret_id = value.id;
	return 0;
}

static int count(struct conncount *cc, const struct scope *scope, const struct conncount_cidr *cidr,
		 struct conncount_answer *ret_answer)
{
	struct cc_control control;
	int err = view_acquire(cc, &control);

	if (err)
		return err;
	err = count_scope(&cc->view, &control, scope, cidr, ret_answer);
	view_release(cc);
	return err;
}

int conncount_count_service(struct conncount *cc, const char *service,
			    const struct conncount_cidr *cidr, struct conncount_answer *ret_answer)
{
	struct scope scope = { .service = service ? service : CONNCOUNT_SERVICE };

	return count(cc, &scope, cidr, ret_answer);
}

int conncount_count_listener(struct conncount *cc, const char *name,
			     const struct conncount_cidr *cidr, struct conncount_answer *ret_answer)
{
	struct scope scope = { .listener = name };

	return count(cc, &scope, cidr, ret_answer);
}

int conncount_count_local(struct conncount *cc, const struct conncount_cidr *local, uint16_t port,
			  const struct conncount_cidr *cidr, struct conncount_answer *ret_answer)
{
	struct scope scope = { .service = NULL };
	struct cc_control control;
	bool current;
	int err;

	do {
		err = view_acquire(cc, &control);
		if (err)
			return err;
		err = local_find(&cc->view, local, port, &scope.id);
		current = view_is_current(&cc->view);
		if (!err)
			err = count_scope(&cc->view, &control, &scope, cidr, ret_answer);
		view_release(cc);
	} while (!current);
	return err;
}

int conncount_service_of(struct conncount *cc, const struct conncount_cidr *local, uint16_t port,
			 char *ret_service)
{
	bool current;
	uint32_t id;
	int err;

	do {
		err = view_acquire(cc, NULL);
		if (err)
			return err;
		err = local_find(&cc->view, local, port, &id);
		current = view_is_current(&cc->view);
		if (!err)
			memcpy(ret_service, cc->view.config.listener[id].service,
			       CONNCOUNT_NAME_SIZE);
		view_release(cc);
	} while (!current);
	return err;
}
