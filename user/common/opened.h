/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * opened.h - the connections that networks have opened in windows of time.
 */
#ifndef CONNCOUNT_OPENED_H
#define CONNCOUNT_OPENED_H

#include <stddef.h>
#include <stdint.h>

#include "listing.h"
#include "snapshot.h"

enum { WINDOWS_MOST = 1000 }; /* for `from` and `to`; the configuration has fewer */

/* Bytes of all windows as text, including its NUL. */
enum { WINDOWS_SIZE = CONNCOUNT_WINDOWS_MAX * (CONNCOUNT_WINDOW_SIZE + sizeof(" and ")) };

/*
 * windows_format() - the windows that are configured: "60,1 and 900,4"; "none" if there are none.
 * @buf: WINDOWS_SIZE bytes.
 *
 * Returns @buf.
 */
char *windows_format(const struct conncount_windows *windows, char *buf);

/* What all networks have opened. */
struct opened {
	struct conncount_connections sum;
	uint64_t error; /* how many any network may have missed in one window */
};

/* target_opened() - as target_count(), for the connections opened in @window. As the library's. */
int target_opened(struct conncount *cc, const struct target *target,
		  const struct conncount_window *window, const struct conncount_cidr *cidr,
		  struct conncount_connections *ret);

/* The networks that have opened connections, of both families. */
struct openers {
	struct conncount_opener *entries;
	size_t n;
	struct opened all;
};

/*
 * openers_take() - list the networks of @lengths that have opened connections in @window, in the
 * order of listing_take().
 * @ret: the caller frees it with openers_free().
 *
 * Returns 0 or a negative errno, as conncount_openers().
 */
int openers_take(struct conncount *cc, const struct target *target, const struct lengths *lengths,
		 const struct conncount_window *window, struct openers *ret);

void openers_free(struct openers *openers);

/* openers_sort() - sort them: largest first, then by address. */
void openers_sort(struct openers *openers);

/* openers_are_exact() - whether the list and each count in it are exact. */
bool openers_are_exact(const struct openers *openers);

/*
 * opened_listing() - as listing_take(), with the connections opened in @window as counts. The
 * listing's `answer` has only the sum.
 * @ret_all: of all networks.
 */
int opened_listing(struct conncount *cc, const struct target *target, const struct lengths *lengths,
		   const struct conncount_window *window, struct listing *ret_listing,
		   struct opened *ret_all);

/*
 * opened_inexact_text() - why an answer is not exact. CONNCOUNT_ERROR_SIZE bytes suffice.
 *
 * Returns @buf; or NULL if it is exact, or an estimate that `smooth` asked for.
 */
char *opened_inexact_text(struct conncount *cc, const struct target *target,
			  const struct conncount_window *window, const struct opened *opened,
			  char *buf, size_t size);

/*
 * window_error_text() - what is wrong with the windows that were asked about, and what to do.
 * @err: negative errno of conncount_connections() or conncount_openers().
 *
 * Returns @buf, for which CONNCOUNT_ERROR_SIZE bytes suffice; or NULL if the error is another one.
 */
char *window_error_text(struct conncount *cc, const struct conncount_window *window, int err,
			char *buf, size_t size);

#endif
