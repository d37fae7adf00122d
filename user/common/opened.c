// SPDX-License-Identifier: BSD-2-Clause
/*
 * opened.c - the connections that networks have opened in windows of time.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opened.h"

/* The service to ask for: a listener excludes it. */
static const char *service_of(const struct target *target)
{
	return target->listener ? NULL : target->service;
}

int target_opened(struct conncount *cc, const struct target *target,
		  const struct conncount_window *window, const struct conncount_cidr *cidr,
		  struct conncount_connections *ret)
{
	return conncount_connections(cc, service_of(target), target->listener, window, cidr, ret);
}

/* --- lists -------------------------------------------------------------------------------- */

static void add_sum(struct conncount_connections *to, const struct conncount_connections *sum)
{
	uint32_t exact = to->flags & sum->flags & CONNCOUNT_EXACT;

	to->count += sum->count;
	to->least += sum->least;
	if (to->most == INT64_MAX || sum->most == INT64_MAX)
		to->most = INT64_MAX;
	else
		to->most += sum->most;
	to->flags = ((to->flags | sum->flags) & ~(uint32_t)CONNCOUNT_EXACT) | exact;
}

static int add_family(struct conncount *cc, const struct target *target,
		      const struct conncount_window *window, int family, int length,
		      struct openers *to)
{
	struct conncount_connections sum;
	struct conncount_opener *entries;
	void *grown;
	size_t n;
	int err;

	if (length < 0)
		return 0;
	err = conncount_openers(cc, service_of(target), target->listener, window, family,
				(unsigned)length, &entries, &n, &sum);
	if (err)
		return err;
	add_sum(&to->all.sum, &sum);
	if (!n)
		return 0;
	grown = realloc(to->entries, (to->n + n) * sizeof(*entries));
	if (grown) {
		to->entries = grown;
		memcpy(to->entries + to->n, entries, n * sizeof(*entries));
		to->n += n;
	}
	free(entries);
	return grown ? 0 : -ENOMEM;
}

/* How many connections any network may have missed in one window of this length. */
static int window_error(struct conncount *cc, const struct conncount_window *window,
			uint64_t *ret_error)
{
	struct conncount_windows windows;
	int err = conncount_windows(cc, &windows);

	if (err)
		return err;
	for (uint32_t i = 0; i < windows.n; i++)
		if (windows.window[i].seconds == window->seconds &&
		    windows.window[i].windows == window->windows)
			*ret_error = windows.error[i];
	return 0;
}

int openers_take(struct conncount *cc, const struct target *target, const struct lengths *lengths,
		 const struct conncount_window *window, struct openers *ret)
{
	struct openers openers = { .all.sum.flags = CONNCOUNT_EXACT };
	int err = add_family(cc, target, window, CONNCOUNT_IPV4, lengths->ipv4, &openers);

	if (!err)
		err = add_family(cc, target, window, CONNCOUNT_IPV6, lengths->ipv6, &openers);
	if (!err)
		err = window_error(cc, window, &openers.all.error);
	if (err)
		openers_free(&openers);
	else
		*ret = openers;
	return err;
}

void openers_free(struct openers *openers)
{
	free(openers->entries);
}

static int by_count(const void *a, const void *b)
{
	const struct conncount_opener *first = a, *second = b;

	if (first->count != second->count)
		return first->count > second->count ? -1 : 1;
	return network_compare(&first->cidr, &second->cidr);
}

void openers_sort(struct openers *openers)
{
	if (openers->n)
		qsort(openers->entries, openers->n, sizeof(*openers->entries), by_count);
}

bool openers_are_exact(const struct openers *openers)
{
	for (size_t i = 0; i < openers->n; i++)
		if (openers->entries[i].least != openers->entries[i].most)
			return false;
	return openers->all.sum.flags & CONNCOUNT_EXACT && !openers->all.error;
}

int opened_listing(struct conncount *cc, const struct target *target, const struct lengths *lengths,
		   const struct conncount_window *window, struct listing *ret_listing,
		   struct opened *ret_all)
{
	struct openers openers;
	struct listing listing = { 0 };
	int err = openers_take(cc, target, lengths, window, &openers);

	if (err)
		return err;
	listing.entries = calloc(openers.n + 1, sizeof(*listing.entries));
	if (listing.entries) {
		for (; listing.n < openers.n; listing.n++)
			listing.entries[listing.n] =
				(struct conncount_entry){ openers.entries[listing.n].cidr,
							  openers.entries[listing.n].count };
		listing.answer.count = openers.all.sum.count;
		*ret_listing = listing;
		*ret_all = openers.all;
	} else {
		err = -ENOMEM;
	}
	openers_free(&openers);
	return err;
}

/* --- texts -------------------------------------------------------------------------------- */

/* Whether the answer lacks what other hosts of a cluster have counted. */
static bool is_of_cluster(struct conncount *cc, const struct target *target)
{
	struct conncount_cluster cluster;

	return !target->listener && !strcmp(target->service, CONNCOUNT_SERVICE_CLUSTER) &&
	       !conncount_cluster(cc, &cluster) && cluster.joined;
}

char *opened_inexact_text(struct conncount *cc, const struct target *target,
			  const struct conncount_window *window, const struct opened *opened,
			  char *buf, size_t size)
{
	const struct conncount_connections *sum = &opened->sum;

	if (sum->flags & CONNCOUNT_DETACHED)
		snprintf(buf, size,
			 "not exact: the counted cgroup was removed (see: conncount status)");
	else if (sum->most == INT64_MAX && is_of_cluster(cc, target))
		snprintf(buf, size,
			 "not exact: only this host's connections are counted (for them alone: "
			 "--service " CONNCOUNT_SERVICE ")");
	else if (sum->most == INT64_MAX)
		snprintf(buf, size,
			 "not exact: there may have been more: the windows reach back before "
			 "counting began");
	else if (window->smooth)
		return NULL;
	else if (opened->error)
		snprintf(buf, size,
			 "not exact: a network may have opened up to %" PRIu64 " more in a window: "
			 "networks were evicted (raise window_memory)",
			 opened->error);
	else if (sum->least != sum->most)
		snprintf(buf, size,
			 "not exact: between %" PRId64 " and %" PRId64 ": networks were evicted "
			 "(raise window_memory)",
			 sum->least, sum->most);
	else
		return NULL;
	return buf;
}

char *windows_format(const struct conncount_windows *windows, char *buf)
{
	char window[CONNCOUNT_WINDOW_SIZE];

	strcpy(buf, windows->n ? "" : "none");
	for (uint32_t i = 0; i < windows->n; i++) {
		strcat(buf, i ? " and " : "");
		strcat(buf, conncount_window_format(&windows->window[i], window));
	}
	return buf;
}

/* The windows that an instance has, as text. */
static const char *configured(struct conncount *cc, char *buf)
{
	struct conncount_windows windows;

	if (conncount_windows(cc, &windows))
		windows.n = 0;
	return windows_format(&windows, buf);
}

char *window_error_text(struct conncount *cc, const struct conncount_window *window, int err,
			char *buf, size_t size)
{
	char text[CONNCOUNT_WINDOW_SIZE], all[WINDOWS_SIZE];

	conncount_window_format(window, text);
	if (err == -ENODATA) {
		snprintf(buf, size,
			 "--window '%s': not configured (configured: %s; add a line 'window = %s' "
			 "to [conncount] in the configuration, then: conncount load)",
			 text, configured(cc, all), text);
	} else if (err == -ERANGE && window->smooth) {
		snprintf(buf, size,
			 "--smooth: '%s' keeps no window before the current one (configure %" PRIu32
			 ",1)",
			 text, window->seconds);
	} else if (err == -ERANGE) {
		snprintf(buf, size,
			 "--to %" PRIu32 ": '%s' keeps the windows 0 to %" PRIu32
			 " (to keep more, raise its second number)",
			 window->to, text, window->windows);
	} else if (err == -EDOM) {
		snprintf(buf, size,
			 "windows are not kept for the prefix lengths from 65 to 127 (ask about "
			 "/64 or /128)");
	} else {
		return NULL;
	}
	return buf;
}
