// SPDX-License-Identifier: BSD-2-Clause
/*
 * recent.c - how many connections a network has opened in windows of time.
 *
 * The table of recent.h is mapped: nothing here is a system call, but for what an answer says of
 * the instance.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "clock.h"
#include "internal.h"
#include "levels.h"
#include "mask.h"

/* Of these two there are as many. */
_Static_assert((int)CONNCOUNT_WINDOWS_MAX == (int)CC_WINDOWS_MAX, "windows");

/* Windows in which to add up, at one moment. */
struct span {
	uint32_t seconds;
	uint32_t slots, first; /* of an entry: how many there are of this length, and the first */
	uint32_t from, to;
	uint32_t epoch; /* of window 0 */
};

/* An answer: at least so many connections, and at most so many. */
struct range {
	uint64_t least, most;
};

static const uint64_t UNKNOWN = INT64_MAX;

static uint64_t add(uint64_t a, uint64_t b)
{
	return a == UNKNOWN || b == UNKNOWN ? UNKNOWN : a + b;
}

static void range_add(struct range *range, const struct range *more)
{
	range->least += more->least;
	range->most = add(range->most, more->most);
}

/* --- the table ------------------------------------------------------------------------------- */

static const struct cc_recent_group *group_at(const struct view *view, uint32_t index)
{
	size_t size = CC_RECENT_GROUP_SIZE(view->config.windows.slots);

	return (const void *)((const char *)view->recent + index * size);
}

static const struct cc_recent_entry *entry_at(const struct view *view,
					      const struct cc_recent_group *group, uint32_t index)
{
	return CC_RECENT_ENTRY(group, view->config.windows.slots, index);
}

/* Read in one access: a program writes it so. */
static struct cc_recent_slot slot_read(const struct cc_recent_slot *slot)
{
	uint64_t word = __atomic_load_n((const uint64_t *)slot, __ATOMIC_RELAXED);
	struct cc_recent_slot copy;

	memcpy(&copy, &word, sizeof(copy));
	return copy;
}

/* Begin to read a group: wait until no entry gets another network. */
static uint64_t group_begin(const struct cc_recent_group *group)
{
	uint64_t version;

	while ((version = __atomic_load_n(&group->version, __ATOMIC_ACQUIRE)) & 1)
		;
	return version;
}

/* Whether what was read since group_begin(), which returned @version, is of one moment. */
static bool group_end(const struct cc_recent_group *group, uint64_t version)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&group->version, __ATOMIC_RELAXED) == version;
}

static bool is_key(const struct cc_recent_key *a, const struct cc_recent_key *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* The entry of a network; NULL if it has none. */
static const struct cc_recent_entry *entry_find(const struct view *view,
						const struct cc_recent_group *group,
						const struct cc_recent_place *place,
						const struct cc_recent_key *key)
{
	for (uint32_t i = 0; i < 2 * CC_RECENT_WAYS; i++) {
		uint32_t index = place->set[i / CC_RECENT_WAYS] + i % CC_RECENT_WAYS;
		const struct cc_recent_entry *entry = entry_at(view, group, index);

		if (group->tag[index] == place->tag && is_key(&entry->key, key))
			return entry;
	}
	return NULL;
}

/* What a network did in the windows of @span. @entry: its entry, or NULL. */
static struct range entry_sum(const struct cc_recent_group *group,
			      const struct cc_recent_entry *entry, const struct span *span)
{
	struct range sum = { 0 };

	for (uint32_t age = span->from; age <= span->to && age <= span->epoch; age++) {
		uint32_t epoch = span->epoch - age, index = span->first + epoch % span->slots;
		struct cc_recent_slot lost = slot_read(&group->lost[index]), slot = { 0 };
		uint64_t error = lost.epoch == epoch ? lost.count : 0;

		if (entry) {
			slot = slot_read(&entry->slot[index]);
			error = cc_recent_error(entry->born, entry->error, epoch, span->seconds,
						(uint32_t)error);
		}
		/*
		 * A program's clock can be some ns ahead of ours: then the window of this slot is
		 * no longer kept.
		 */
		bool unknown = slot.epoch > epoch || lost.epoch > epoch;

		if (slot.epoch != epoch)
			slot.count = 0;
		if (slot.count == UINT32_MAX || error == UINT32_MAX)
			unknown = true;
		sum.least += slot.count;
		sum.most = add(sum.most, unknown ? UNKNOWN : slot.count + error);
	}
	return sum;
}

/* What a network of length 0 or a level did on one listener. */
static struct range network_sum(const struct view *view, const struct cc_recent_key *key,
				const struct span *span)
{
	const struct cc_windows *windows = &view->config.windows;
	struct cc_recent_place place = cc_recent_place(windows->seed, windows->groups, key);
	const struct cc_recent_group *group = group_at(view, place.group);
	struct range sum;
	uint64_t version;

	do {
		version = group_begin(group);
		sum = entry_sum(group, entry_find(view, group, &place, key), span);
	} while (!group_end(group, version));
	return sum;
}

/* --- a network ------------------------------------------------------------------------------- */

static void recent_key(struct cc_recent_key *key, uint32_t id, const struct conncount_cidr *cidr,
		       unsigned length)
{
	*key = (struct cc_recent_key){
		.listener = htons((uint16_t)id),
		.family = htons((uint16_t)cidr->family),
		.length = length,
	};
	mask_address(key->addr, cidr->addr, length);
}

/* The sum of a network's parts of the next longer level, of which there are at most 128. */
static struct range parts_sum(const struct view *view, uint32_t id,
			      const struct conncount_cidr *cidr, unsigned level,
			      const struct span *span)
{
	struct range sum = { 0 };
	struct cc_recent_key key;
	unsigned char *last;

	recent_key(&key, id, cidr, cidr->prefixlen);
	key.length = level;
	last = (unsigned char *)key.addr + level / 8 - 1;
	for (unsigned n = 1U << (level - cidr->prefixlen); n; n--) {
		struct range part = network_sum(view, &key, span);

		range_add(&sum, &part);
		++*last;
	}
	return sum;
}

/* What a network did on one listener. */
static struct range listener_sum(const struct view *view, uint32_t id,
				 const struct conncount_cidr *cidr, const struct span *span)
{
	unsigned level = level_from(cidr->family, cidr->prefixlen);
	bool is_level = level == cidr->prefixlen;
	struct cc_recent_key key;
	struct range around, sum;

	recent_key(&key, id, cidr, is_level ? level : level_below(cidr->family, level));
	around = network_sum(view, &key, span);
	if (is_level || !around.most)
		return around;
	sum = parts_sum(view, id, cidr, level, span);
	/* Read it again: it has every connection that the parts have, which are entered later. */
	around = network_sum(view, &key, span);
	if (sum.most > around.most)
		sum.most = around.most;
	return sum;
}

/* The second from which on the windows have every connection of a listener. */
static int since_get(struct view *view, uint32_t id, uint32_t *ret_since)
{
	struct cc_stats stats;
	int err;

	*ret_since = __atomic_load_n(&view->since[id], __ATOMIC_RELAXED);
	if (*ret_since)
		return 0;
	err = stats_get(view, id, &stats);
	if (err)
		return err;
	*ret_since = stats.tally[0].since ? (uint32_t)stats.tally[0].since : UINT32_MAX;
	if (stats.tally[0].since)
		__atomic_store_n(&view->since[id], *ret_since, __ATOMIC_RELAXED);
	return 0;
}

/* Whether the windows of @span may reach back before counting began. */
static bool is_before(const struct span *span, uint32_t since)
{
	return span->epoch < span->to || (uint64_t)(span->epoch - span->to) * span->seconds < since;
}

/* Whether @scope has a listener that is configured: those that were removed count no more. */
static bool scope_has_active(const struct scope *scope, const struct cc_config *config, uint32_t id)
{
	return config->listener[id].state == CC_LISTENER_ACTIVE && scope_has(scope, config, id);
}

/* Add up @cidr, or everything if that is NULL, of the listeners in @scope. */
static int scope_sum(struct view *view, const struct scope *scope,
		     const struct conncount_cidr *cidr, const struct span *span,
		     struct range *ret_sum, uint32_t *ret_listeners)
{
	static const struct conncount_cidr all[] = { { .family = CONNCOUNT_IPV4 },
						     { .family = CONNCOUNT_IPV6 } };
	struct range sum = { 0 };
	uint32_t listeners = 0;

	for (uint32_t id = 0; id < config_used(&view->config); id++) {
		uint32_t since;
		int err;

		if (!scope_has_active(scope, &view->config, id))
			continue;
		err = since_get(view, id, &since);
		if (err)
			return err;
		listeners++;
		for (size_t i = 0; i < (cidr ? 1 : ARRAY_SIZE(all)); i++) {
			struct range more = listener_sum(view, id, cidr ? cidr : &all[i], span);

			range_add(&sum, &more);
		}
		if (is_before(span, since))
			sum.most = UNKNOWN;
	}
	*ret_sum = sum;
	*ret_listeners = listeners;
	return listeners ? 0 : scope_without_listeners(scope);
}

/* --- windows --------------------------------------------------------------------------------- */

/* Find the windows that are asked about. Returns 0, -ENODATA or -ERANGE. */
static int span_find(const struct cc_windows *windows, const struct conncount_window *window,
		     struct span *ret)
{
	uint32_t first = 0, i = 0;

	while (i < windows->n && (windows->window[i].seconds != window->seconds ||
				  windows->window[i].slots != window->windows + 1))
		first += windows->window[i++].slots;
	if (i == windows->n)
		return -ENODATA;
	*ret = (struct span){
		.seconds = window->seconds,
		.slots = window->windows + 1,
		.first = first,
		.from = window->from,
		.to = window->to,
	};
	if (window->smooth)
		return window->windows ? 0 : -ERANGE;
	return window->from <= window->to && window->to <= window->windows ? 0 : -ERANGE;
}

static uint32_t epoch_now(const struct span *span)
{
	return (uint32_t)(boot_ns() / NS_PER_S / span->seconds);
}

/*
 * A question, with the view held. @others: of scope_is_cluster(), the other nodes, whose
 * connections nobody here knows.
 */
struct question {
	struct scope scope;
	struct others others;
	struct span span;
	bool smooth;
};

/* The sum of the windows of @span. */
static int answer_plain(struct view *view, const struct question *question,
			const struct conncount_cidr *cidr, const struct span *span,
			struct conncount_connections *ret)
{
	struct range sum;
	int err = scope_sum(view, &question->scope, cidr, span, &sum, &ret->listeners);

	if (err)
		return err;
	if (question->others.counted)
		sum.most = UNKNOWN;
	ret->count = ret->least = (int64_t)sum.least;
	ret->most = (int64_t)sum.most;
	return 0;
}

/*
 * Nobody knows when in the window before its connections were opened: between none and all of them
 * are in the last @span->seconds seconds. The estimate takes them to be evenly spread.
 */
static int answer_smooth(struct view *view, const struct question *question,
			 const struct conncount_cidr *cidr, struct conncount_connections *ret)
{
	struct span current = question->span, previous = current;
	uint64_t length = current.seconds * NS_PER_S, elapsed;
	struct conncount_connections before;
	int err;

	current.from = current.to = 0;
	previous.from = previous.to = 1;
	err = answer_plain(view, question, cidr, &current, ret);
	if (!err)
		err = answer_plain(view, question, cidr, &previous, &before);
	if (err)
		return err;
	elapsed = boot_ns() % length;
	ret->count +=
		(int64_t)((double)before.count * (double)(length - elapsed) / (double)length + 0.5);
	ret->most = (int64_t)add((uint64_t)ret->most, (uint64_t)before.most);
	return 0;
}

/* All of an answer. It is one of the windows that are current at its end, too. */
static int answer(struct view *view, struct question *question, const struct conncount_cidr *cidr,
		  struct conncount_connections *ret)
{
	struct span *span = &question->span;
	int err;

	do {
		span->epoch = epoch_now(span);
		err = question->smooth ? answer_smooth(view, question, cidr, ret)
				       : answer_plain(view, question, cidr, span, ret);
	} while (!err && epoch_now(span) != span->epoch);
	return err;
}

static void answer_finish(struct view *view, struct conncount_connections *answer)
{
	answer->flags = view_is_detached(view)          ? CONNCOUNT_DETACHED
			: answer->least == answer->most ? CONNCOUNT_EXACT
							: 0;
}

/* Whether nothing is kept for a network. */
static bool is_unkept(const struct conncount_cidr *cidr)
{
	return cidr->prefixlen > 64 && cidr->prefixlen < 128;
}

/* Hold the view for a question about windows. If it succeeds the caller must release the view. */
static int question_begin(struct conncount *cc, const char *service, const char *listener,
			  const struct conncount_window *window, struct question *ret)
{
	int err = view_acquire(cc, NULL);

	if (err)
		return err;
	*ret = (struct question){ .scope.listener = listener, .smooth = window->smooth };
	if (!listener)
		ret->scope.service = service ? service : CONNCOUNT_SERVICE;
	err = span_find(&cc->view.config.windows, window, &ret->span);
	if (!err && !cc->view.recent)
		err = cc->view.recent_err;
	if (!err && scope_is_cluster(&ret->scope)) {
		err = others_get(&cc->view, &ret->others);
		ret->scope.also = ret->others.service;
	}
	if (err)
		view_release(cc);
	return err;
}

int conncount_connections(struct conncount *cc, const char *service, const char *listener,
			  const struct conncount_window *window, const struct conncount_cidr *cidr,
			  struct conncount_connections *ret)
{
	struct conncount_connections connections;
	struct question question;
	int err;

	if (cidr && is_unkept(cidr))
		return -EDOM;
	err = question_begin(cc, service, listener, window, &question);
	if (err)
		return err;
	err = answer(&cc->view, &question, cidr, &connections);
	if (!err) {
		answer_finish(&cc->view, &connections);
		*ret = connections;
	}
	view_release(cc);
	return err;
}

/* --- lists ----------------------------------------------------------------------------------- */

/* The networks that a list may have. */
struct found {
	struct conncount_opener *openers;
	size_t n, room;
};

static int found_add(struct found *found, const struct conncount_cidr *cidr)
{
	if (found->n == found->room) {
		size_t room = found->room ? 2 * found->room : 1024;
		void *grown = realloc(found->openers, room * sizeof(*found->openers));

		if (!grown)
			return -ENOMEM;
		found->openers = grown;
		found->room = room;
	}
	found->openers[found->n++] = (struct conncount_opener){ .cidr = *cidr };
	return 0;
}

/* The network of @prefixlen bits that an entry's is a part of. */
static struct conncount_cidr entry_network(const struct cc_recent_key *key, unsigned prefixlen)
{
	struct conncount_cidr cidr = { .family = ntohs(key->family), .prefixlen = key->length };

	memcpy(cidr.addr, key->addr, sizeof(cidr.addr));
	conncount_cidr_mask(&cidr, prefixlen);
	return cidr;
}

/* Find the networks of one group, from the entries at @level. */
static int group_networks(const struct view *view, const struct cc_recent_group *group,
			  const struct scope *scope, const struct conncount_cidr *of,
			  unsigned level, struct found *found)
{
	size_t before = found->n;
	uint64_t version;
	int err = 0;

	do {
		found->n = before;
		version = group_begin(group);
		for (uint32_t i = 0; !err && i < CC_RECENT_ENTRIES; i++) {
			struct cc_recent_key key = entry_at(view, group, i)->key;
			struct conncount_cidr cidr;

			if (!group->tag[i] || key.length != level ||
			    ntohs(key.family) != of->family ||
			    ntohs(key.listener) >= config_used(&view->config) ||
			    !scope_has_active(scope, &view->config, ntohs(key.listener)))
				continue;
			cidr = entry_network(&key, of->prefixlen);
			err = found_add(found, &cidr);
		}
	} while (!err && !group_end(group, version));
	return err;
}

static int compare_openers(const void *a, const void *b)
{
	return memcmp(((const struct conncount_opener *)a)->cidr.addr,
		      ((const struct conncount_opener *)b)->cidr.addr,
		      sizeof(((const struct conncount_opener *)a)->cidr.addr));
}

/* Sort, and keep one of each network. */
static void found_unite(struct found *found)
{
	size_t n = 0;

	if (found->n)
		qsort(found->openers, found->n, sizeof(*found->openers), compare_openers);
	for (size_t i = 0; i < found->n; i++)
		if (!n || compare_openers(&found->openers[n - 1], &found->openers[i]))
			found->openers[n++] = found->openers[i];
	found->n = n;
}

/* Ask about each, and keep those that have opened any. */
static int found_answer(struct view *view, struct question *question, struct found *found)
{
	size_t n = 0;

	for (size_t i = 0; i < found->n; i++) {
		struct conncount_opener *opener = &found->openers[i];
		struct conncount_connections connections;
		int err = answer(view, question, &opener->cidr, &connections);

		if (err)
			return err;
		if (!connections.count && !connections.least)
			continue;
		opener->count = connections.count;
		opener->least = connections.least;
		opener->most = connections.most;
		found->openers[n++] = *opener;
	}
	found->n = n;
	return 0;
}

static int list(struct view *view, struct question *question, const struct conncount_cidr *of,
		struct found *found, struct conncount_connections *ret_total)
{
	const struct conncount_cidr all = { .family = of->family };
	unsigned level = level_from(of->family, of->prefixlen);
	int err = answer(view, question, &all, ret_total);

	for (uint32_t i = 0; !err && i < view->config.windows.groups; i++)
		err = group_networks(view, group_at(view, i), &question->scope, of, level, found);
	if (err)
		return err;
	found_unite(found);
	return found_answer(view, question, found);
}

int conncount_openers(struct conncount *cc, const char *service, const char *listener,
		      const struct conncount_window *window, int family, unsigned prefixlen,
		      struct conncount_opener **ret_openers, size_t *ret_n,
		      struct conncount_connections *ret_total)
{
	struct conncount_cidr of = { .family = family, .prefixlen = prefixlen };
	struct conncount_connections total;
	struct found found = { 0 };
	struct question question;
	int err;

	if ((family != CONNCOUNT_IPV4 && family != CONNCOUNT_IPV6) ||
	    prefixlen > (family == CONNCOUNT_IPV4 ? 32 : 128))
		return -EINVAL;
	if (is_unkept(&of))
		return -EDOM;
	err = question_begin(cc, service, listener, window, &question);
	if (err)
		return err;
	err = list(&cc->view, &question, &of, &found, &total);
	if (!err)
		answer_finish(&cc->view, &total);
	view_release(cc);
	if (err || !found.n) {
		free(found.openers);
		found.openers = NULL;
	}
	if (err)
		return err;
	*ret_openers = found.openers;
	*ret_n = found.n;
	*ret_total = total;
	return 0;
}

/* --- state ----------------------------------------------------------------------------------- */

/* The most that a group has lost in any window of a length that is kept. */
static uint64_t group_error(const struct cc_recent_group *group, const struct span *span)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < span->slots; i++) {
		struct cc_recent_slot lost = slot_read(&group->lost[span->first + i]);

		if (lost.epoch + (uint64_t)span->slots > span->epoch && lost.count > most)
			most = lost.count;
	}
	return most;
}

static void windows_walk(const struct view *view, struct conncount_windows *ret)
{
	const struct cc_windows *windows = &view->config.windows;
	uint64_t now = boot_ns() / NS_PER_S;

	for (uint32_t i = 0; i < windows->groups; i++) {
		const struct cc_recent_group *group = group_at(view, i);

		for (uint32_t j = 0; j < CC_RECENT_ENTRIES; j++)
			if (group->tag[j] && group->last[j] + (uint64_t)windows->reach >= now)
				ret->networks++;
		for (uint32_t j = 0; j < ret->n; j++) {
			struct span span;
			uint64_t error;

			span_find(windows, &ret->window[j], &span);
			span.epoch = epoch_now(&span);
			error = group_error(group, &span);
			if (error > ret->error[j])
				ret->error[j] = error;
		}
	}
}

int conncount_windows(struct conncount *cc, struct conncount_windows *ret_windows)
{
	struct conncount_windows state = { 0 };
	const struct cc_windows *windows;
	struct cc_fill fill;
	__u32 zero = 0;
	int err = view_acquire(cc, NULL);

	if (err)
		return err;
	windows = &cc->view.config.windows;
	state.n = windows->n;
	state.max_networks = (uint64_t)windows->groups * CC_RECENT_ENTRIES;
	for (uint32_t i = 0; i < state.n; i++)
		state.window[i] = (struct conncount_window){
			.seconds = windows->window[i].seconds,
			.windows = windows->window[i].slots - 1,
		};
	if (state.n)
		err = cc->view.recent ? bpf_map_lookup_elem(cc->view.fill_fd, &zero, &fill)
				      : cc->view.recent_err;
	if (!err && state.n) {
		state.evicted = fill.evicted;
		windows_walk(&cc->view, &state);
	}
	view_release(cc);
	if (!err)
		*ret_windows = state;
	return err;
}
