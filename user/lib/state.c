// SPDX-License-Identifier: BSD-2-Clause
/*
 * state.c - the instance itself: its listeners, what they listen on, its fill.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "internal.h"

_Static_assert(sizeof(((struct conncount_state *)0)->build) == CC_BUILD_SIZE, "build");
_Static_assert(sizeof(((struct conncount_state *)0)->cgroup) == CC_CGROUP_SIZE, "cgroup");

/* A number of open sessions is below 0 while an end was entered before its start. */
static int64_t open_sessions(int64_t n)
{
	return n > 0 ? n : 0;
}

static struct conncount_tally read_tally(const struct cc_tally *tally)
{
	return (struct conncount_tally){
		.live = open_sessions(tally->live),
		.opened = tally->opened,
		.closed = tally->closed,
		.uncounted = open_sessions(tally->uncounted),
		.lost = tally->lost,
	};
}

static struct conncount_proxied read_proxied(const struct cc_proxied *proxied)
{
	const __u64 *total = proxied->total;

	return (struct conncount_proxied){
		.awaiting = open_sessions(proxied->awaiting),
		.unidentified = open_sessions(proxied->unidentified),
		.identified = total[CC_ORIGIN_HEADER - 1],
		.own = total[CC_ORIGIN_PROXY - 1],
		.absent = total[CC_ORIGIN_ABSENT - 1],
		.malformed = total[CC_ORIGIN_MALFORMED - 1],
		.split = total[CC_ORIGIN_SPLIT - 1],
		.unread = total[CC_ORIGIN_UNREAD - 1],
	};
}

static int read_listeners(const struct view *view, struct conncount_listener *listeners,
			  size_t *ret_n)
{
	size_t n = 0;

	for (uint32_t id = 0; id < config_used(&view->config); id++) {
		const struct cc_listener *from = &view->config.listener[id];
		struct conncount_listener *to = &listeners[n];
		struct cc_stats stats;

		if (from->state == CC_LISTENER_FREE)
			continue;
		int err = stats_get(view, id, &stats);
		if (err)
			return err;
		memcpy(to->name, from->name, sizeof(to->name));
		memcpy(to->service, from->service, sizeof(to->service));
		to->active = from->state == CC_LISTENER_ACTIVE;
		to->ipv4 = read_tally(&stats.tally[CC_FAMILY_INDEX(CC_IPV4)]);
		to->ipv6 = read_tally(&stats.tally[CC_FAMILY_INDEX(CC_IPV6)]);
		to->proxied = read_proxied(&stats.proxied);
		n++;
	}
	*ret_n = n;
	return 0;
}

int conncount_listeners(struct conncount *cc, struct conncount_listener **ret_listeners,
			size_t *ret_n)
{
	struct conncount_listener *listeners = calloc(CC_LISTENERS_MAX, sizeof(*listeners));
	size_t n;
	int err;

	if (!listeners)
		return -ENOMEM;
	err = view_acquire(cc, NULL);
	if (!err) {
		err = read_listeners(&cc->view, listeners, &n);
		view_release(cc);
	}
	if (err) {
		free(listeners);
		return err;
	}
	*ret_listeners = listeners;
	*ret_n = n;
	return 0;
}

/* Convert an entry of the trie to a struct conncount_listen. */
static void read_listen(const struct view *view, const struct cc_listener_key *key,
			const struct cc_listener_id *value, struct conncount_listen *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->name, view->config.listener[value->id].name, sizeof(ret->name));
	ret->port = ntohs(key->port);
	ret->proxied = value->proxied != 0;
	if (key->prefixlen < CC_LISTENER_BITS_FAMILY)
		return;
	ret->addr.family = ntohs(key->family);
	ret->addr.prefixlen = key->prefixlen - CC_LISTENER_BITS_FAMILY;
	memcpy(ret->addr.addr, key->addr, sizeof(ret->addr.addr));
}

/* Whether load can have written this key. Other keys are not a listener's. */
static bool is_listen(const struct cc_listener_key *key)
{
	unsigned length = key->prefixlen - CC_LISTENER_BITS_FAMILY;

	return key->prefixlen == CC_LISTENER_BITS_PORT ||
	       (key->family == htons(CC_IPV4) && length <= 32) ||
	       (key->family == htons(CC_IPV6) && length <= 128);
}

/* A load may change the trie meanwhile; the caller starts again then. */
static int read_listens(const struct view *view, struct conncount_listen **listens, size_t *ret_n)
{
	struct cc_listener_key key, *last = NULL;
	struct cc_listener_id value;
	size_t n = 0;

	while (view_is_current(view) && !bpf_map_get_next_key(view->listeners_fd, last, &key)) {
		last = &key;
		if (ntohs(key.config) != (view->generation & 1) || !is_listen(&key) ||
		    bpf_map_lookup_elem(view->listeners_fd, &key, &value) ||
		    value.id >= CC_LISTENERS_MAX)
			continue;
		struct conncount_listen *grown = realloc(*listens, (n + 1) * sizeof(**listens));
		if (!grown)
			return -ENOMEM;
		*listens = grown;
		read_listen(view, &key, &value, &grown[n++]);
	}
	*ret_n = n;
	return 0;
}

int conncount_listens(struct conncount *cc, struct conncount_listen **ret_listens, size_t *ret_n)
{
	struct conncount_listen *listens = NULL;
	bool current = false;
	size_t n = 0;
	int err = 0;

	while (!err && !current) {
		err = view_acquire(cc, NULL);
		if (err)
			break;
		err = read_listens(&cc->view, &listens, &n);
		current = view_is_current(&cc->view);
		view_release(cc);
	}
	if (err) {
		free(listens);
		return err;
	}
	*ret_listens = listens;
	*ret_n = n;
	return 0;
}

/* How many nodes are in use. Those that are cached at 0 are not: they go if another needs the room.
 */
static int nodes_in_use(const struct view *view, int64_t *ret_nodes)
{
	struct cc_fill fill;
	__u32 zero = 0;
	int err = bpf_map_lookup_elem(view->fill_fd, &zero, &fill);

	if (err)
		return err;
	for (__u32 i = 0; i < CC_CACHE_SLOTS && fill.cached > 0; i++) {
		struct cc_count count;
		struct cc_cache_slot slot;

		err = bpf_map_lookup_elem(view->cache_fd, &i, &slot);
		if (err)
			return err;
		if (!slot.cached)
			continue;
		fill.cached--;
		if (!bpf_map_lookup_elem(view->counts_fd, &slot.key, &count) &&
		    count.word == (CC_COUNT_ZERO(slot.key.prefixlen) | CC_COUNT_CACHED))
			fill.nodes--;
	}
	*ret_nodes = fill.nodes > 0 ? fill.nodes : 0;
	return 0;
}

int conncount_state(struct conncount *cc, struct conncount_state *ret_state)
{
	struct conncount_state state = { 0 };
	struct cc_control control;
	int err = view_acquire(cc, &control);

	if (err)
		return err;
	err = nodes_in_use(&cc->view, &state.nodes);
	if (!err) {
		state.generation = cc->view.generation;
		state.seeding = control.seeding != 0;
		state.detached = view_is_detached(&cc->view);
		state.max_prefixes = cc->view.max_prefixes;
		state.netns = cc->view.config.netns;
		state.cgroup_id = cc->view.config.cgroup_id;
		state.cgroup_root_id = cc->view.config.cgroup_root_id;
		memcpy(state.build, cc->view.config.build, sizeof(state.build) - 1);
		memcpy(state.cgroup, cc->view.config.cgroup, sizeof(state.cgroup) - 1);
	}
	view_release(cc);
	if (err)
		return err;
	*ret_state = state;
	return 0;
}
