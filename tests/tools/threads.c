/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * threads.c - share one handle of the library between threads, while a test loads and unloads.
 *
 * usage: threads DIR COUNT [THREADS]
 *
 * Until stdin ends, each thread (4) asks the instance DIR in every way. COUNT sessions must be open
 * from each of 10.1.2.3 and 2001:db8::7, service SMTP, listener smtp, *:25, and no others; the
 * listener may have other addresses, too. Every answer must be right or -ENOENT; while a load
 * enters sessions it may be too small, if it says so.
 *
 * Prints `answers=N seeding=N absent=N`. Exit status 1 if an answer was wrong.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conncount.h"

enum { THREADS_MAX = 64 };

static struct conncount *cc;
static int64_t sessions;
static int stop;

struct tally {
	pthread_t thread;
	unsigned long answers, seeding, absent, wrong;
};

static struct conncount_cidr cidr(const char *text)
{
	struct conncount_cidr cidr;

	if (conncount_cidr_parse(text, NULL, &cidr, NULL)) {
		fprintf(stderr, "threads: %s: not a network\n", text);
		exit(1);
	}
	return cidr;
}

/* Judge one answer: @err, and if that is 0, @count of @want with @flags. */
static void judge(struct tally *tally, const char *what, int err, int64_t count, int64_t want,
		  uint32_t flags)
{
	if (err == -ENOENT) {
		tally->absent++;
		return;
	}
	if (!err && (flags & CONNCOUNT_SEEDING) && count >= 0 && count <= want) {
		tally->seeding++;
		return;
	}
	if (!err && (flags & CONNCOUNT_EXACT) && count == want) {
		tally->answers++;
		return;
	}
	if (tally->wrong++ < 5)
		fprintf(stderr,
			"threads: %s: %s, count %" PRId64 ", expected %" PRId64 ", flags %u\n",
			what, err ? strerror(-err) : "done", count, want, flags);
}

static void ask_lists(struct tally *tally)
{
	struct conncount_listener *listeners = NULL;
	struct conncount_answer answer = { 0 };
	struct conncount_entry *entries = NULL;
	struct conncount_listen *listens = NULL;
	struct conncount_state state;
	char text[256];
	size_t n = 0;
	int err;

	err = conncount_list(cc, NULL, NULL, CONNCOUNT_IPV4, 32, NULL, &entries, &n, &answer);
	judge(tally, "list", err, answer.count, sessions, answer.flags);
	if (!err)
		judge(tally, "entries of list", 0, (int64_t)n, 1, answer.flags);
	free(entries);
	n = 0;
	err = conncount_listeners(cc, &listeners, &n);
	judge(tally, "listeners", err, (int64_t)n, 1, CONNCOUNT_EXACT);
	free(listeners);
	n = 0;
	err = conncount_listens(cc, &listens, &n);
	judge(tally, "listens", err, n > 0, 1, CONNCOUNT_EXACT);
	free(listens);
	err = conncount_state(cc, &state);
	judge(tally, "state", err, err ? 0 : state.generation > 0, 1, CONNCOUNT_EXACT);
	conncount_services(cc, text, sizeof(text));
	judge(tally, "services", 0, strstr(text, "SMTP") != NULL, 1, CONNCOUNT_EXACT);
}

static void *ask(void *arg)
{
	const struct conncount_cidr v4 = cidr("10.1.2.3"), v4_level = cidr("10.1.2.0/24"),
				    v4_sum = cidr("10.1.0.0/13"), v6 = cidr("2001:db8::7"),
				    v6_sum = cidr("2001:db8::/77"), none = cidr("10.1.2.4"),
				    local = cidr("192.0.2.1");
	const struct {
		const struct conncount_cidr *cidr;
		const char *text;
		int64_t want;
	} asked[] = {
		{ &v4, "10.1.2.3", sessions },          { &v4_level, "10.1.2.0/24", sessions },
		{ &v4_sum, "10.1.0.0/13", sessions },   { &v6, "2001:db8::7", sessions },
		{ &v6_sum, "2001:db8::/77", sessions }, { &none, "10.1.2.4", 0 },
		{ NULL, "all", 2 * sessions },
	};
	struct tally *tally = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (size_t i = 0; i < sizeof(asked) / sizeof(*asked); i++) {
			struct conncount_answer answer = { 0 };
			int err = conncount_count_service(cc, NULL, asked[i].cidr, &answer);

			judge(tally, asked[i].text, err, answer.count, asked[i].want, answer.flags);
			err = conncount_count_listener(cc, "smtp", asked[i].cidr, &answer);
			judge(tally, asked[i].text, err, answer.count, asked[i].want, answer.flags);
			err = conncount_count_local(cc, &local, 25, asked[i].cidr, &answer);
			judge(tally, asked[i].text, err, answer.count, asked[i].want, answer.flags);
		}
		ask_lists(tally);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct tally tallies[THREADS_MAX];
	struct tally all = { .wrong = 0 };
	int threads = argc > 3 ? atoi(argv[3]) : 4;
	char c;

	if (argc < 3 || threads < 1 || threads > THREADS_MAX) {
		fprintf(stderr, "usage: threads DIR COUNT [THREADS]\n");
		return 2;
	}
	sessions = atoi(argv[2]);
	int err = conncount_open(argv[1], &cc);
	if (err) {
		fprintf(stderr, "threads: %s: %s\n", argv[1], strerror(-err));
		return 1;
	}
	for (int i = 0; i < threads; i++)
		if (pthread_create(&tallies[i].thread, NULL, ask, &tallies[i]))
			return 1;
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < threads; i++) {
		pthread_join(tallies[i].thread, NULL);
		all.answers += tallies[i].answers;
		all.seeding += tallies[i].seeding;
		all.absent += tallies[i].absent;
		all.wrong += tallies[i].wrong;
	}
	conncount_close(cc);
	printf("answers=%lu seeding=%lu absent=%lu\n", all.answers, all.seeding, all.absent);
	if (all.wrong)
		fprintf(stderr, "threads: %lu wrong answers\n", all.wrong);
	return all.wrong != 0;
}
