// SPDX-License-Identifier: BSD-2-Clause
/*
 * list.c - conncount list: who is connected, largest first.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

/* Prefix lengths to list; -1: not this family. */
struct lengths {
	int ipv4;
	int ipv6;
};

/* What is listed: entries of both families, and what the library says of them. */
struct listing {
	struct conncount_entry *entries;
	size_t n;
	struct conncount_answer answer;
};

static int append(struct listing *listing, const struct conncount_entry *entries, size_t n,
		  const struct conncount_answer *answer)
{
	listing->answer.count += answer->count;
	listing->answer.uncounted += answer->uncounted;
	listing->answer.lost += answer->lost;
	listing->answer.flags &= answer->flags;
	if (!n)
		return 0;

	void *grown = realloc(listing->entries, (listing->n + n) * sizeof(*entries));
	if (!grown)
		return -ENOMEM;
	listing->entries = grown;
	memcpy(listing->entries + listing->n, entries, n * sizeof(*entries));
	listing->n += n;
	return 0;
}

static int add_family(struct conncount *cc, const struct target *target, int family, int length,
		      struct listing *listing)
{
	struct conncount_answer answer;
	struct conncount_entry *entries;
	size_t n;
	int err;

	if (length < 0)
		return 0;
	err = conncount_list(cc, target->listener ? NULL : target->service, target->listener,
			     family, (unsigned)length, &entries, &n, &answer);
	if (err)
		return err;
	err = append(listing, entries, n, &answer);
	free(entries);
	return err;
}

/* Largest first; then IPv4 before IPv6, in order of address. */
static int by_count(const void *a, const void *b)
{
	const struct conncount_entry *first = a, *second = b;

	if (first->count != second->count)
		return first->count > second->count ? -1 : 1;
	if (first->cidr.family != second->cidr.family)
		return first->cidr.family < second->cidr.family ? -1 : 1;
	return memcmp(first->cidr.addr, second->cidr.addr, sizeof(first->cidr.addr));
}

static int print_listing_json(const struct target *target, const struct listing *listing,
			      size_t shown)
{
	json_t *object = json_object(), *entries = json_array();
	char text[CONNCOUNT_CIDR_SIZE];

	for (size_t i = 0; i < shown; i++) {
		const struct conncount_entry *entry = &listing->entries[i];
		json_t *item = json_object();

		json_object_set_new(item, "cidr",
				    json_string(conncount_cidr_format(&entry->cidr, text)));
		json_object_set_new(item, "count", json_integer(entry->count));
		json_array_append_new(entries, item);
	}
	json_object_set_new(object, "entries", entries);
	json_object_set_new(object, "prefixes", json_integer((json_int_t)listing->n));
	json_object_set_new(object, "total", json_integer(listing->answer.count));
	add_exactness(object, listing->answer.flags & CONNCOUNT_EXACT, listing->answer.uncounted,
		      listing->answer.lost);
	add_target(object, target);
	return print_json(object);
}

static void print_listing(const struct listing *listing, size_t shown)
{
	char text[CONNCOUNT_CIDR_SIZE];

	for (size_t i = 0; i < shown; i++)
		printf("%8" PRId64 "  %s\n", listing->entries[i].count,
		       conncount_cidr_format(&listing->entries[i].cidr, text));
}

static int list(const char *dir, const struct target *target, struct lengths lengths, size_t limit,
		bool json)
{
	struct listing listing = { .answer.flags = CONNCOUNT_EXACT };
	struct conncount *cc = NULL;
	int status = STATUS_DONE;
	int err = conncount_open(dir, &cc);

	if (!err)
		err = add_family(cc, target, CONNCOUNT_IPV4, lengths.ipv4, &listing);
	if (!err)
		err = add_family(cc, target, CONNCOUNT_IPV6, lengths.ipv6, &listing);
	if (err) {
		status = query_failed(dir, cc, target, err);
		goto cleanup;
	}
	if (listing.n)
		qsort(listing.entries, listing.n, sizeof(*listing.entries), by_count);
	if (limit > listing.n)
		limit = listing.n;
	if (json)
		status = print_listing_json(target, &listing, limit);
	else
		print_listing(&listing, limit);
	report_inexact(&listing.answer);
cleanup:
	free(listing.entries);
	conncount_close(cc);
	return status;
}

/* The lengths that -4, -6 and --prefix ask for; ~0UL: not given. */
static bool choose_lengths(const struct command *command, unsigned long both, unsigned long ipv4,
			   unsigned long ipv6, struct lengths *ret)
{
	const unsigned long unset = ~0UL;

	if (both != unset && (ipv4 != unset || ipv6 != unset)) {
		usage_error(command, "--prefix is for both families: not beside -4 or -6");
		return false;
	}
	if (both != unset)
		*ret = (struct lengths){ both > 32 ? -1 : (int)both, (int)both };
	else if (ipv4 == unset && ipv6 == unset)
		*ret = (struct lengths){ 32, 128 };
	else
		*ret = (struct lengths){ ipv4 == unset ? -1 : (int)ipv4,
					 ipv6 == unset ? -1 : (int)ipv6 };
	return true;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		LONG_LISTENER,
		LONG_SERVICE,
		LONG_JSON,
		LONG_DIR,
		LONG_HELP,
		{ "prefix", required_argument, NULL, OPTION_PREFIX },
		{ "limit", required_argument, NULL, OPTION_LIMIT },
		LONG_END,
	};
	unsigned long both = ~0UL, ipv4 = ~0UL, ipv6 = ~0UL, limit = ~0UL;
	struct target target = { NULL, NULL };
	struct lengths lengths;
	const char *dir = NULL;
	bool json = false, good = true;
	int option;

	while (good && (option = next_option(command, argc, argv, "4:6:", options)) != -1) {
		if (target_option(&target, option))
			continue;
		switch (option) {
		case OPTION_JSON:
			json = true;
			break;
		case OPTION_DIR:
			dir = optarg;
			break;
		case OPTION_PREFIX:
			good = parse_number(optarg, 0, 128, &both);
			break;
		case '4':
			good = parse_number(optarg, 0, 32, &ipv4);
			break;
		case '6':
			good = parse_number(optarg, 0, 128, &ipv6);
			break;
		case OPTION_LIMIT:
			good = parse_number(optarg, 1, ~0UL - 1, &limit);
			break;
		}
	}
	if (!good)
		return usage_error(command, "'%s': not a number in range", optarg);
	if (!target_check(command, &target) || !check_arguments(command, argc, argv, 0) ||
	    !choose_lengths(command, both, ipv4, ipv6, &lengths))
		return STATUS_USAGE;
	return list(dir, &target, lengths, limit, json);
}

const struct command list_command = {
	.name = "list",
	.arguments = "[--listener NAME | --service TYPE] [--prefix N | -4 N -6 N] [--limit N]",
	.summary = "List the networks that have sessions open, largest first",
	.help = "  --listener NAME  on this listener\n"
		"  --service TYPE   on all listeners of this service (default: " CONNCOUNT_SERVICE
		")\n"
		"  --prefix N       networks of this length (over 32: IPv6 only)\n"
		"  -4 N, -6 N       IPv4 networks of this length, IPv6 networks of that\n"
		"                   (default: single addresses of both families)\n"
		"  --limit N        no more than this many\n" HELP_JSON HELP_DIR,
	.run = run,
};
