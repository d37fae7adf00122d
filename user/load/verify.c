// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify.c - compare every count with the kernel's own list of sockets.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "clock.h"
#include "conncount.skel.h"
#include "instance.h"
#include "internal.h"
#include "kernel.h"
#include "load.h"
#include "mapping.h"
#include "report.h"
#include "sockets.h"
#include "verify.h"

enum {
	ROUNDS = 10,
	ROUND_PAUSE_MS = 100,
	PROGRESS_MS = 1000,
	PROGRESS_STEP = 1 << 16, /* read the clock once per this many findings */
	LENGTHS_MOST = 16,       /* more than an address has levels, with length 0 */
};

/* What is known about one count; with family 0, about a listener's `awaiting`. */
struct finding {
	struct cc_count_key key;
	int64_t least; /* sockets that were there before and after */
	int64_t most;  /* sockets that were there before or after */
	int64_t found; /* the count */
};

struct findings {
	struct finding *at;
	size_t n, room;
	int64_t tell_ms; /* when to report the number next; 0: never */
};

/* --- progress ----------------------------------------------------------------------------- */

/* Report the progress once a second. */
static void show_progress(struct findings *all)
{
	if (!all->tell_ms || now_ms() < all->tell_ms)
		return;
	all->tell_ms = now_ms() + PROGRESS_MS;
	report("%zu counts read so far", all->n);
}

/* --- collecting --------------------------------------------------------------------------- */

static int add(struct findings *all, const struct finding *finding)
{
	if (all->n == all->room) {
		size_t room = all->room ? 2 * all->room : 1024;
		void *grown = realloc(all->at, room * sizeof(*all->at));

		if (!grown)
			return -ENOMEM;
		all->at = grown;
		all->room = room;
	}
	all->at[all->n++] = *finding;
	if (all->n % PROGRESS_STEP == 0)
		show_progress(all);
	return 0;
}

static unsigned longest(int family)
{
	return family == CC_IPV4 ? 32 : 128;
}

/* Two lists of the sockets, taken one after the other. */
struct lists {
	struct cc_scanned *before, *after;
	size_t n_before, n_after;
};

static int add_socket(struct findings *all, const struct cc_scanned *socket, bool steady)
{
	struct conncount_cidr cidr = { .family = (int)socket->family };
	struct finding finding = { .least = steady, .most = 1 };

	memcpy(cidr.addr, socket->addr, sizeof(cidr.addr));
	count_key(&finding.key, socket->listener, &cidr, cidr.family ? longest(cidr.family) : 0);
	return add(all, &finding);
}

/* A finding for the address of each socket. */
static int add_sockets(struct findings *all, const struct lists *lists)
{
	size_t i = 0, j = 0;
	int err = 0;

	while (!err && (i < lists->n_before || j < lists->n_after)) {
		uint64_t before = i < lists->n_before ? lists->before[i].id : UINT64_MAX;
		uint64_t after = j < lists->n_after ? lists->after[j].id : UINT64_MAX;
		const struct cc_scanned *socket =
			after < before ? &lists->after[j] : &lists->before[i];

		err = add_socket(all, socket, before == after);
		i += before <= after;
		j += after <= before;
	}
	return err;
}

static int add_count(const struct cc_count_key *key, int64_t count, void *arg)
{
	struct finding finding = { .key = *key, .found = count };

	return count ? add(arg, &finding) : 0;
}

static int add_total(struct findings *all, uint32_t id, int family, int64_t found)
{
	struct conncount_cidr whole = { .family = family };
	struct finding finding = { .found = found };

	count_key(&finding.key, id, &whole, 0);
	return found ? add(all, &finding) : 0;
}

static int add_totals(struct findings *all, const struct view *view)
{
	static const int families[] = { CC_IPV4, CC_IPV6 };

	for (uint32_t id = 0; id < config_used(&view->config); id++) {
		struct cc_stats stats;
		int err = stats_get(view, id, &stats);

		for (size_t i = 0; !err && i < ARRAY_SIZE(families); i++)
			err = add_total(all, id, families[i],
					stats.tally[CC_FAMILY_INDEX(families[i])].live);
		if (!err)
			err = add_total(all, id, 0, stats.proxied.awaiting);
		if (err)
			return err;
	}
	return 0;
}

static int by_key(const void *a, const void *b)
{
	const struct finding *first = a, *second = b;
	int order = memcmp(&first->key.listener, &second->key.listener,
			   sizeof(first->key) - sizeof(first->key.prefixlen));

	return order ? order : (int)first->key.prefixlen - (int)second->key.prefixlen;
}

static void combine(struct finding *to, const struct finding *from)
{
	to->least += from->least;
	to->most += from->most;
	to->found += from->found;
}

/* Sort the findings, and combine those with the same key. */
static void sort(struct findings *all)
{
	size_t kept = 0;

	if (!all->n)
		return;
	qsort(all->at, all->n, sizeof(*all->at), by_key);
	for (size_t i = 1; i < all->n; i++) {
		if (by_key(&all->at[kept], &all->at[i]))
			all->at[++kept] = all->at[i];
		else
			combine(&all->at[kept], &all->at[i]);
	}
	all->n = kept + 1;
}

/*
 * Add an address to the total and to every level above it. The addresses are sorted, so each of an
 * address's networks is either the same as the previous address's, or new. So the networks of each
 * length come out sorted, too.
 * @open: for each level, the index of the previous address's network.
 */
static int add_networks(struct findings *all, const struct finding *address, size_t *open)
{
	struct conncount_cidr cidr = { .family = ntohs(address->key.family) };
	struct finding finding = *address;
	int err = 0;

	if (!cidr.family)
		return add(all, address);
	memcpy(cidr.addr, address->key.addr, sizeof(cidr.addr));
	for (unsigned length = 0;; length = level_from(cidr.family, length + 1), open++) {
		count_key(&finding.key, ntohs(address->key.listener), &cidr, length);
		if (*open < all->n && !by_key(&all->at[*open], &finding)) {
			combine(&all->at[*open], &finding);
		} else {
			*open = all->n;
			err = add(all, &finding);
		}
		if (err || length == longest(cidr.family))
			return err;
	}
}

/* Add all networks of the addresses, which are sorted. */
static int add_all_networks(struct findings *all, const struct findings *addresses)
{
	size_t open[LENGTHS_MOST];
	int err = 0;

	for (size_t i = 0; i < LENGTHS_MOST; i++)
		open[i] = SIZE_MAX;
	for (size_t i = 0; !err && i < addresses->n; i++)
		err = add_networks(all, &addresses->at[i], open);
	return err;
}

/* Merge two sorted lists. */
static int join(const struct findings *a, const struct findings *b, struct findings *ret)
{
	size_t i = 0, j = 0;
	int err = 0;

	while (!err && (i < a->n || j < b->n)) {
		int order = i == a->n ? 1 : j == b->n ? -1 : by_key(&a->at[i], &b->at[j]);

		err = add(ret, order > 0 ? &b->at[j] : &a->at[i]);
		if (!err && !order)
			combine(&ret->at[ret->n - 1], &b->at[j]);
		i += order <= 0;
		j += order >= 0;
	}
	return err;
}

/* --- judging ------------------------------------------------------------------------------ */

/* One comparison of everything. */
struct round {
	struct lists lists;
	struct findings addresses, networks; /* of the sockets */
	struct findings counts;
	struct findings findings; /* counts and networks */
};

static void round_free(struct round *round)
{
	if (!round)
		return;
	free(round->lists.before);
	free(round->lists.after);
	free(round->addresses.at);
	free(round->networks.at);
	free(round->counts.at);
	free(round->findings.at);
	free(round);
}

static int round_take(struct conncount_bpf *skel, const struct cgroup *cgroup,
		      const struct view *view, struct round *round)
{
	const struct netns counted = { view->config.netns_cookie, view->config.netns };
	struct lists *lists = &round->lists;
	int err;

	round->counts.tell_ms = now_ms() + PROGRESS_MS;
	err = sockets_scan(skel, cgroup, &counted, &lists->before, &lists->n_before);
	show_progress(&round->counts);
	if (!err)
		err = counts_walk(view->counts_fd, NULL, add_count, NULL, &round->counts);
	if (!err)
		err = add_totals(&round->counts, view);
	if (!err)
		err = sockets_scan(skel, cgroup, &counted, &lists->after, &lists->n_after);
	show_progress(&round->counts);
	if (!err)
		err = add_sockets(&round->addresses, lists);
	if (err)
		return err;
	sort(&round->addresses);
	sort(&round->counts);
	show_progress(&round->counts);
	err = add_all_networks(&round->networks, &round->addresses);
	return err ? err : join(&round->networks, &round->counts, &round->findings);
}

static bool is_wrong(const struct finding *finding)
{
	return finding->found < finding->least || finding->found > finding->most;
}

/* Reduce @suspects to those that @round also finds wrong. After the first round: all that it finds
 * wrong. */
static int narrow(struct findings *suspects, const struct round *round,
		  struct verify_result *result, bool first)
{
	struct findings wrong = { .n = 0 };
	int err = 0;

	result->sessions = round->lists.n_after;
	result->prefixes = round->findings.n;
	result->in_flight = 0;
	for (size_t i = 0; !err && i < round->findings.n; i++) {
		const struct finding *finding = &round->findings.at[i];

		if (!is_wrong(finding))
			result->in_flight +=
				finding->found != finding->least || finding->found != finding->most;
		else if (first ||
			 bsearch(finding, suspects->at, suspects->n, sizeof(*finding), by_key))
			err = add(&wrong, finding);
	}
	free(suspects->at);
	*suspects = wrong;
	return err;
}

/* --- all of it ---------------------------------------------------------------------------- */

static int describe(const struct view *view, const struct findings *suspects,
		    struct verify_result *result)
{
	if (!suspects->n)
		return 0;
	result->differences = calloc(suspects->n, sizeof(*result->differences));
	if (!result->differences)
		return -ENOMEM;
	for (size_t i = 0; i < suspects->n; i++) {
		const struct finding *from = &suspects->at[i];
		struct verify_difference *to = &result->differences[i];
		uint32_t id = ntohs(from->key.listener);

		if (id < config_used(&view->config))
			memcpy(to->listener, view->config.listener[id].name, sizeof(to->listener));
		to->cidr.family = ntohs(from->key.family);
		to->cidr.prefixlen = from->key.prefixlen - CC_COUNT_BITS_OWNER;
		memcpy(to->cidr.addr, from->key.addr, sizeof(to->cidr.addr));
		to->expected = from->found < from->least ? from->least : from->most;
		to->found = from->found;
	}
	result->n_differences = suspects->n;
	return 0;
}

/* Note that counts of these listeners are wrong: no answer says that it is exact, and no limit is
 * in force, until a load counts again. */
static void note_differences(struct conncount_bpf *skel, const struct findings *wrong)
{
	const size_t size = CC_LISTENERS_MAX * sizeof(struct cc_stats);
	struct cc_control *control = map_value(bpf_map__fd(skel->maps.control), sizeof(*control),
					       PROT_READ | PROT_WRITE);
	struct cc_stats *stats =
		map_value(bpf_map__fd(skel->maps.stats), size, PROT_READ | PROT_WRITE);

	if (!control || !stats)
		report("the counts still count as exact, since their maps cannot be written: %s",
		       strerror(errno));
	for (size_t i = 0; control && stats && i < wrong->n; i++) {
		const struct cc_count_key *key = &wrong->at[i].key;
		uint32_t id = ntohs(key->listener), family = ntohs(key->family);

		if (id >= CC_LISTENERS_MAX)
			continue;
		/* `awaiting` is of both families. */
		family = family ? CC_FAMILY_INDEX(family) : 0;
		__atomic_fetch_add(&stats[id].tally[family].lost, 1, __ATOMIC_SEQ_CST);
		__atomic_fetch_add(&control->inexact, 1, __ATOMIC_SEQ_CST);
	}
	unmap_value(stats, size);
	unmap_value(control, sizeof(*control));
}

static int verify_view(struct conncount_bpf *skel, const struct cgroup *cgroup,
		       const struct view *view, struct verify_result *result)
{
	const struct timespec pause = { .tv_nsec = ROUND_PAUSE_MS * 1000000L };
	struct findings suspects = { .n = 0 };
	int err = 0;

	for (int i = 0; !err && i < ROUNDS && (i == 0 || suspects.n); i++) {
		struct round *round = calloc(1, sizeof(*round));

		if (i)
			nanosleep(&pause, NULL);
		err = round ? round_take(skel, cgroup, view, round) : -ENOMEM;
		if (!err)
			err = narrow(&suspects, round, result, i == 0);
		round_free(round);
	}
	if (!err)
		err = describe(view, &suspects, result);
	if (!err && suspects.n)
		note_differences(skel, &suspects);
	free(suspects.at);
	return err;
}

/* Open the counted cgroup. A cgroup that was created later under the same name is a different one.
 */
static int counted_cgroup_open(struct view *view, struct cgroup *ret_cgroup)
{
	char text[PATH_MAX + CONNCOUNT_ERROR_SIZE];

	if (view_is_detached(view)) {
		report("%s", detached_text(view->config.cgroup, text, sizeof(text)));
		return -ESTALE;
	}
	return cgroup_open_below(view->config.cgroup_root_id, view->config.cgroup, ret_cgroup);
}

int verify(const char *dir, struct verify_result *ret_result)
{
	struct verify_result result = { .n_differences = 0 };
	struct conncount_bpf *skel = NULL;
	struct cgroup cgroup = { .fd = -1 };
	struct conncount *cc = NULL;
	struct instance instance;
	char text[CONNCOUNT_ERROR_SIZE];
	int err = kernel_check();

	if (err)
		return err;
	/* Locked, so that no load replaces the maps during the comparison. */
	err = instance_find(conncount_dir(dir), &instance);
	if (err && err != -ENOENT)
		return err;
	if (!err) {
		err = conncount_open(dir, &cc);
		if (err)
			instance_release(&instance);
	}
	if (err) {
		report("%s", conncount_strerror(dir, err, text, sizeof(text)));
		return err;
	}
	err = counted_cgroup_open(&cc->view, &cgroup);
	if (!err)
		err = load_scanner(cc->dir, cc->view.max_prefixes, &cc->view.config.windows, &skel);
	if (!err) {
		err = verify_view(skel, &cgroup, &cc->view, &result);
		if (err)
			report("%s: the counts cannot be read: %s", cc->dir, strerror(-err));
	}
	unload_scanner(skel);
	if (cgroup.fd >= 0)
		close(cgroup.fd);
	conncount_close(cc);
	instance_release(&instance);
	if (!err)
		*ret_result = result;
	return err;
}
