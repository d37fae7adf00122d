/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * poll_counts - ask for counts all the time, and print the least and the greatest answer.
 *
 *	poll_counts FILE CIDR...
 *
 * Asks the instance $CONNCOUNT_DIR for the sessions of the default service in each network,
 * in turn by a handle that it keeps and by a new one. Creates FILE when it has asked about every
 * network once. On SIGTERM it prints a line for each network, `CIDR LEAST MOST`, and ends; with
 * exit status 1 if an answer was refused, for the reasons on stderr.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "conncount.h"

enum {
	PAUSE_US = 200,
	TOLD_MAX = 5, /* errors that are shown */
};

struct watched {
	struct conncount_cidr cidr;
	int64_t least, most;
};

static volatile sig_atomic_t stop;

static void on_term(int signal)
{
	(void)signal;
	stop = 1;
}

static void ask(struct conncount *cc, struct watched *watched, unsigned *errors, int err)
{
	struct conncount_answer answer;
	char text[CONNCOUNT_ERROR_SIZE];

	if (!err)
		err = conncount_count_service(cc, NULL, &watched->cidr, &answer);
	if (err) {
		if ((*errors)++ < TOLD_MAX)
			fprintf(stderr, "poll_counts: %s\n",
				conncount_strerror(NULL, err, text, sizeof(text)));
		return;
	}
	if (answer.count < watched->least)
		watched->least = answer.count;
	if (answer.count > watched->most)
		watched->most = answer.count;
}

int main(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = PAUSE_US * 1000L };
	struct sigaction act = { .sa_handler = on_term };
	int n = argc - 2;
	struct watched *all = n > 0 ? calloc((size_t)n, sizeof(*all)) : NULL;
	struct conncount *kept = NULL, *fresh;
	unsigned errors = 0;
	char text[CONNCOUNT_CIDR_SIZE];

	if (!all)
		return 2;
	for (int i = 0; i < n; i++) {
		if (conncount_cidr_parse(argv[i + 2], NULL, &all[i].cidr, NULL))
			return 2;
		all[i].least = INT64_MAX;
		all[i].most = INT64_MIN;
	}
	sigaction(SIGTERM, &act, NULL);
	if (conncount_open(NULL, &kept))
		return 1;
	for (int round = 0; !stop; round++) {
		for (int i = 0; i < n; i++) {
			int err = conncount_open(NULL, &fresh);

			ask(fresh, &all[i], &errors, err);
			if (!err)
				conncount_close(fresh);
			ask(kept, &all[i], &errors, 0);
		}
		if (round == 0)
			close(open(argv[1], O_WRONLY | O_CREAT, 0644));
		nanosleep(&pause, NULL);
	}
	for (int i = 0; i < n; i++)
		printf("%s %" PRId64 " %" PRId64 "\n", conncount_cidr_format(&all[i].cidr, text),
		       all[i].least, all[i].most);
	if (errors)
		fprintf(stderr, "poll_counts: %u answers refused\n", errors);
	conncount_close(kept);
	free(all);
	return errors != 0;
}
