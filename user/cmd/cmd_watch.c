// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_watch.c - conncount watch: say when a network goes over a number of sessions, or of
 * connections in a window of time, and when it comes back.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "answer_json.h"
#include "listing.h"
#include "openers_json.h"
#include "window.h"

struct watch {
	const char *dir;
	struct target target;
	struct lengths lengths;
	struct window_options window;
	int64_t over;
	unsigned long interval; /* seconds */
	bool json;
	struct conncount *cc;
	struct listing
		above; /* the networks that were over at the last refresh, sorted by address */
	struct version seen; /* the version at the last look */
	bool exact;          /* whether its counts were exact */
	uint64_t error; /* how many connections a network missed in a window at the last list */
	int err;        /* negative errno of the last look */
};

/* --- events ----------------------------------------------------------------------------- */

static int print_event(const struct watch *watch, const char *event,
		       const struct conncount_entry *entry)
{
	char stamp[sizeof("2026-01-01T00:00:00Z")], text[CONNCOUNT_CIDR_SIZE];
	time_t now = time(NULL);
	struct tm utc;
	json_t *object;

	strftime(stamp, sizeof(stamp), "%FT%TZ", gmtime_r(&now, &utc));
	if (!watch->json) {
		printf("%s %s %s %" PRId64 "\n", stamp, event,
		       conncount_cidr_format(&entry->cidr, text), entry->count);
		return STATUS_DONE;
	}
	object = entry_json(entry);
	json_object_set_new(object, "time", json_string(stamp));
	json_object_set_new(object, "event", json_string(event));
	json_object_set_new(object, "over", json_integer(watch->over));
	if (watch->window.given)
		add_window(object, &watch->window.window);
	add_target(object, &watch->target);
	return print_json(object);
}

/* Remove the networks that are not over the number. */
static void keep_above(const struct watch *watch, struct listing *listing)
{
	size_t kept = 0;

	for (size_t i = 0; i < listing->n; i++)
		if (listing->entries[i].count > watch->over)
			listing->entries[kept++] = listing->entries[i];
	listing->n = kept;
}

/* The current count of a network that is no longer over; 0 if it cannot be read. */
static int64_t count_now(const struct watch *watch, const struct conncount_cidr *cidr)
{
	const struct conncount_window *window = &watch->window.window;
	struct conncount_connections opened;
	struct conncount_answer answer;

	if (watch->window.given)
		return target_opened(watch->cc, &watch->target, window, cidr, &opened)
			       ? 0
			       : opened.count;
	return target_count(watch->cc, &watch->target, cidr, &answer) ? 0 : answer.count;
}

/* Print the differences between two looks, which are sorted alike. */
static void print_events(const struct watch *watch, const struct listing *before,
			 const struct listing *now)
{
	size_t i = 0, j = 0;

	while (i < before->n || j < now->n) {
		int order = i == before->n ? 1
			    : j == now->n  ? -1
					   : network_compare(&before->entries[i].cidr,
							     &now->entries[j].cidr);

		if (order < 0) {
			struct conncount_entry entry = before->entries[i];

			entry.count = count_now(watch, &entry.cidr);
			print_event(watch, "back", &entry);
		} else if (order > 0) {
			print_event(watch, "over", &now->entries[j]);
		}
		i += order <= 0;
		j += order >= 0;
	}
}

/* --- looking ------------------------------------------------------------------------------ */

/* How many sessions are open. Reports when that is no longer exact. */
static int total_open(struct watch *watch, int64_t *ret_total)
{
	struct conncount_answer answer;
	int err = target_count(watch->cc, &watch->target, NULL, &answer);

	if (err)
		return err;
	if (watch->exact)
		report_inexact(watch->cc, &answer);
	watch->exact = answer.flags & CONNCOUNT_EXACT;
	*ret_total = answer.count;
	return 0;
}

/* How many connections were opened in the window. Reports when that is no longer exact. */
static int total_opened(struct watch *watch, int64_t *ret_total)
{
	struct opened opened = { .error = watch->error };
	int err =
		target_opened(watch->cc, &watch->target, &watch->window.window, NULL, &opened.sum);

	if (err)
		return err;
	if (watch->exact)
		report_missed(watch->cc, &watch->target, &watch->window, &opened);
	watch->exact = opened.sum.flags & CONNCOUNT_EXACT && !opened.error;
	*ret_total = opened.sum.count;
	return 0;
}

/*
 * Whether there may be something new: no network is over unless the total is, and nothing changes
 * unless a session begins or ends. Unlike a list, that is cheap to find out. Windows begin and end
 * without such a change.
 */
static int may_differ(struct watch *watch, bool *ret_differ)
{
	bool windows = watch->window.given;
	struct version version;
	int64_t total;
	int err = windows ? total_opened(watch, &total) : total_open(watch, &total);

	if (!err)
		err = version_get(watch->cc, &version);
	if (err)
		return err;
	*ret_differ = (total > watch->over || watch->above.n) &&
		      (windows || memcmp(&version, &watch->seen, sizeof(version)) != 0);
	watch->seen = version;
	return 0;
}

static int take(struct watch *watch, struct listing *ret_listing)
{
	struct opened opened;
	int err;

	if (!watch->window.given)
		return listing_take(watch->cc, &watch->target, &watch->lengths, NULL, ret_listing);
	err = opened_listing(watch->cc, &watch->target, &watch->lengths, &watch->window.window,
			     ret_listing, &opened);
	if (!err)
		watch->error = opened.error;
	return err;
}

static int look(struct watch *watch)
{
	struct listing now;
	bool differ;
	int err = may_differ(watch, &differ);

	if (err || !differ)
		return err;
	err = take(watch, &now);
	if (err)
		return err;
	keep_above(watch, &now);
	print_events(watch, &watch->above, &now);
	listing_free(&watch->above);
	watch->above = now;
	return 0;
}

static const char *error_text(const struct watch *watch, int err, char *buf, size_t size)
{
	if (watch->window.given &&
	    window_error_text(watch->cc, &watch->window.window, err, buf, size))
		return buf;
	return conncount_strerror(watch->dir, err, buf, size);
}

/* Report when the instance becomes unreadable, and when it is readable again. */
static void note(struct watch *watch, int err)
{
	char text[CONNCOUNT_ERROR_SIZE];

	if (err != watch->err && err == -ESRCH)
		report("%s '%s': no longer configured; waiting for it",
		       watch->target.listener ? "listener" : "service",
		       watch->target.listener ? watch->target.listener : watch->target.service);
	else if (err != watch->err && err)
		report("%s; waiting for it", error_text(watch, err, text, sizeof(text)));
	else if (err != watch->err)
		report("%s: loaded again", conncount_dir(watch->dir));
	if (err)
		watch->seen.generation = 0;
	watch->err = err;
}

/*
 * Wait until a moment of CLOCK_MONOTONIC. If the reader of a pipe leaves meanwhile, end as a write
 * would end it: the next event may be far off.
 */
static void wait_for(const struct timespec *moment)
{
	struct pollfd out = { .fd = STDOUT_FILENO }; /* poll() always reports errors */
	struct timespec now;
	int64_t ms;

	do {
		clock_gettime(CLOCK_MONOTONIC, &now);
		ms = (int64_t)(moment->tv_sec - now.tv_sec) * 1000 +
		     (moment->tv_nsec - now.tv_nsec) / 1000000;
		if (poll(&out, 1, ms > 0 ? (int)ms : 0) > 0)
			raise(SIGPIPE);
	} while (ms > 0);
}

static int run_watch(struct watch *watch)
{
	struct timespec next;
	int err = conncount_open(watch->dir, &watch->cc);
	int status = STATUS_FAILED;

	if (!err)
		err = look(watch);
	if (err) {
		status = watch->window.given
				 ? window_failed(watch->dir, watch->cc, &watch->target,
						 &watch->window.window, err)
				 : query_failed(watch->dir, watch->cc, &watch->target, err);
		goto cleanup;
	}
	clock_gettime(CLOCK_MONOTONIC, &next);
	while (!fflush(stdout) && !ferror(stdout)) {
		next.tv_sec += (time_t)watch->interval;
		wait_for(&next);
		note(watch, look(watch));
	}
cleanup:
	listing_free(&watch->above);
	conncount_close(watch->cc);
	return status; /* main() reports that standard output cannot be written */
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		LONG_LISTENER, LONG_SERVICE, LONG_PREFIX,
		LONG_INTERVAL, LONG_WINDOW,  LONG_JSON,
		LONG_DIR,      LONG_HELP,    { "over", required_argument, NULL, OPTION_OVER },
		LONG_END,
	};
	struct watch watch = { .lengths = LENGTHS_UNSET, .over = -1, .interval = 1, .exact = true };
	int option;

	while ((option = next_option(command, argc, argv, LETTERS_PREFIX, options)) != -1) {
		if (target_option(&watch.target, option) ||
		    window_option(command, &watch.window, option) ||
		    lengths_option(command, &watch.lengths, option))
			continue;
		switch (option) {
		case OPTION_OVER:
			watch.over = (int64_t)number_option(command, 0, INT64_MAX);
			break;
		case OPTION_INTERVAL:
			watch.interval = number_option(command, 1, INTERVAL_MOST);
			break;
		case OPTION_JSON:
			watch.json = true;
			break;
		case OPTION_DIR:
			watch.dir = optarg;
			break;
		}
	}
	if (!target_check(command, &watch.target) || !check_arguments(command, argc, argv, 0) ||
	    !lengths_check(command, &watch.lengths))
		return STATUS_USAGE;
	if (watch.over < 0)
		return usage_error(command, "--over is missing");
	return run_watch(&watch);
}

const struct command watch_command = {
	.name = "watch",
	.arguments = "--over N [--listener NAME | --service TYPE] [--prefix N | -4 N -6 N] "
		     "[--interval SECONDS] [--window S,N]",
	.summary = "Print a line when a network exceeds a number of sessions, and when it no "
		   "longer does",
	.help = "  --over N         report networks with more than N sessions, or "
		"connections\n" HELP_TARGET HELP_PREFIX
		"                   (default: single addresses of both families)\n" HELP_INTERVAL
			HELP_WINDOW HELP_JSON HELP_DIR
		"A line is TIME over|back NETWORK COUNT, with the time in UTC. Networks that are "
		"over\nthe number at the start are printed at once.\n",
	.run = run,
};
