// SPDX-License-Identifier: BSD-2-Clause
/*
 * contend.c - keeps the lock of an instance's table of counts busy.
 *
 * usage: contend OBJECT DIR
 *
 * OBJECT is what contend.bpf.c is compiled to, DIR the instance's directory. Inserts a key and
 * deletes it, again and again, until SIGTERM. Then it deletes all that it has inserted, and prints
 * how many rounds it made, and how often its operations failed because the lock timed out.
 *
 * The kernel holds the lock while it walks from the trie's root to a node. Prefixes nested as deep
 * as a key allows make that walk long: a CPU that is stopped at any moment then probably holds the
 * lock, which is very rare with the few nodes of real sessions. The keys belong to a listener that
 * does not exist, so no count changes.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "abi.h"
#include "contend.h"

/* Bits of the shortest and the longest prefix. */
enum { FIRST = CC_COUNT_BITS_OWNER + 1, LAST = 192 };

static volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

static unsigned ask(int fd, const struct contend *ask)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = ask, .ctx_size_in = sizeof(*ask));
	int failed = bpf_prog_test_run_opts(fd, &opts);

	if (failed)
		errx(1, "cannot run the program: %s", strerror(-failed));
	return opts.retval;
}

/* Insert or delete a prefix, until it succeeds. Returns how often the lock timed out. */
static unsigned change(int fd, unsigned length, bool insert)
{
	struct contend question = { .length = length, .insert = insert };
	unsigned timeouts = 0, failed;

	while ((failed = ask(fd, &question))) {
		/* The last one is there only if its last deletion timed out. */
		if (failed == ENOENT && length == LAST)
			break;
		if (failed != ETIMEDOUT)
			errx(1, "a prefix of %u bits: %s", length, strerror((int)failed));
		timeouts++;
	}
	return timeouts;
}

static int load(const char *object, const char *dir)
{
	struct bpf_object *loaded = bpf_object__open_file(object, NULL);
	char path[4096];
	int counts;

	snprintf(path, sizeof(path), "%s/" CC_DIR_LIVE "/" CC_PIN_COUNTS, dir);
	counts = bpf_obj_get(path);
	if (!loaded || counts < 0)
		errx(1, "%s: %s", loaded ? path : object, strerror(errno));
	if (bpf_map__reuse_fd(bpf_object__find_map_by_name(loaded, CC_PIN_COUNTS), counts) ||
	    bpf_object__load(loaded))
		errx(1, "%s: cannot be loaded: %s", object, strerror(errno));
	return bpf_program__fd(bpf_object__find_program_by_name(loaded, "contend"));
}

int main(int argc, char **argv)
{
	struct contend question = { .length = LAST, .rounds = 1 };
	unsigned long rounds = 0, timeouts = 0;
	int fd;

	if (argc != 3)
		errx(2, "usage: contend OBJECT DIR");
	signal(SIGTERM, end);
	fd = load(argv[1], argv[2]);
	for (unsigned length = FIRST; length < LAST; length++)
		timeouts += change(fd, length, true);
	while (!ended) {
		timeouts += ask(fd, &question);
		rounds += CONTEND_ROUNDS;
	}
	for (unsigned length = FIRST; length <= LAST; length++)
		timeouts += change(fd, length, false);
	printf("rounds=%lu timeouts=%lu\n", rounds, timeouts);
	return 0;
}
