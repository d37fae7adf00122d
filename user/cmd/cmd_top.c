// SPDX-License-Identifier: BSD-2-Clause
/*
 * cmd_top.c - conncount top: who is connected, on a terminal, kept up to date.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <ncurses.h>

#include "clock.h"
#include "levels.h"
#include "screen.h"
#include "top.h"
#include "window.h"

/* A refresh may take at most one part in this many of the time. */
enum { LOOK_SHARE = 4 };

enum { KEY_ESCAPE = 27 };

/* --- looking ----------------------------------------------------------------------------- */

/* The count in the column beside: of the sessions if the connections are listed, or the reverse. */
static int64_t count_beside(const struct top *top, const struct conncount_cidr *cidr)
{
	struct conncount_connections opened;
	struct conncount_answer answer;

	if (top->by_window)
		return target_count(top->cc, &top->target, cidr, &answer) ? -1 : answer.count;
	if (!top->window.seconds ||
	    target_opened(top->cc, &top->target, &top->window, cidr, &opened))
		return -1;
	return opened.count;
}

/* Sort the rows again, and keep the first shown row within them. */
static void arrange(struct top *top)
{
	size_t room = screen_rows();

	if (rows_arrange(&top->rows, top->order, top->filtered ? &top->within : NULL))
		top->err = -ENOMEM;
	if (top->first + room > top->rows.n_shown)
		top->first = top->rows.n_shown > room ? top->rows.n_shown - room : 0;
	for (size_t i = top->first; i < top->rows.n_shown && i < top->first + room; i++)
		top->rows.shown[i].beside = count_beside(top, &top->rows.shown[i].entry.cidr);
}

/* Show the first window that is configured in a column, if there is one. */
static void find_window(struct top *top)
{
	struct conncount_windows windows;

	top->window.seconds = 0;
	if (!conncount_windows(top->cc, &windows) && windows.n)
		top->window = windows.window[0];
}

/*
 * Read the counts.
 * @fresh: the target changed. Otherwise lists the networks only if something has changed.
 */
static int look(struct top *top, bool fresh)
{
	const struct conncount_window *window = top->by_window ? &top->window : NULL;
	struct lengths lengths = top->lengths;
	struct version version;
	int err = version_get(top->cc, &version);

	if (err)
		return err;
	if (!window && version.generation != top->seen.generation)
		find_window(top);
	/* Windows begin and end without a change of the version. */
	if (!fresh && !window && !memcmp(&version, &top->seen, sizeof(version))) {
		rows_rest(&top->rows);
		return 0;
	}
	if (top->family == CONNCOUNT_IPV4)
		lengths.ipv6 = -1;
	if (top->family == CONNCOUNT_IPV6)
		lengths.ipv4 = -1;
	err = rows_look(&top->rows, top->cc, &top->target, &lengths, window,
			fresh || !top->seen.generation);
	if (!err)
		top->seen = version;
	return err;
}

static void update(struct top *top, bool fresh)
{
	top->err = look(top, fresh);
	if (top->err) {
		/* Do not show old counts as current ones. */
		rows_free(&top->rows);
		memset(&top->rows, 0, sizeof(top->rows));
		top->seen.generation = 0;
	}
	arrange(top);
}

/* --- what keys do ------------------------------------------------------------------------- */

/* Step to the next longer level of a family, or the next shorter one, if there is one. */
static void step_length(int family, int *length, bool longer)
{
	int shorter = *length;

	for (const unsigned *level = levels_of(family); *level; level++) {
		if (longer && (int)*level > *length) {
			*length = (int)*level;
			return;
		}
		if ((int)*level < *length)
			shorter = (int)*level;
	}
	if (!longer)
		*length = shorter;
}

static void step_lengths(struct top *top, bool longer)
{
	if (top->family != CONNCOUNT_IPV6)
		step_length(CONNCOUNT_IPV4, &top->lengths.ipv4, longer);
	if (top->family != CONNCOUNT_IPV4)
		step_length(CONNCOUNT_IPV6, &top->lengths.ipv6, longer);
	update(top, true);
}

static void step_family(struct top *top)
{
	top->family = !top->family                    ? CONNCOUNT_IPV4
		      : top->family == CONNCOUNT_IPV4 ? CONNCOUNT_IPV6
						      : 0;
	update(top, true);
}

/* Whether no listener before this one has its service. */
static bool is_first_of_service(const struct conncount_listener *listeners, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (!strcmp(listeners[i].service, listeners[index].service))
			return false;
	return true;
}

/* The service after the one shown, in the order of the configuration; the first one after the last.
 */
static const char *next_service(const struct target *target,
				const struct conncount_listener *listeners, size_t n)
{
	size_t i = 0;

	if (target->listener)
		return listeners[0].service;
	while (i < n && strcmp(listeners[i].service, target->service))
		i++;
	while (++i < n)
		if (is_first_of_service(listeners, i))
			return listeners[i].service;
	return listeners[0].service;
}

static void step_service(struct top *top)
{
	struct conncount_listener *listeners;
	size_t n;

	if (conncount_listeners(top->cc, &listeners, &n) || !n)
		return;
	snprintf(top->service, sizeof(top->service), "%s",
		 next_service(&top->target, listeners, n));
	free(listeners);
	top->target = (struct target){ .service = top->service };
	update(top, true);
}

static void scroll_by(struct top *top, long rows)
{
	size_t back = (size_t)-rows;

	if (rows >= 0)
		top->first += (size_t)rows;
	else
		top->first = top->first > back ? top->first - back : 0;
	arrange(top);
}

/* Parse a typed length, with or without a slash. */
static bool take_length(struct top *top, const char *text, unsigned long most, int *ret)
{
	unsigned long length;

	text += strspn(text, " /");
	if (!parse_number(text, 0, most, &length)) {
		snprintf(top->note, sizeof(top->note), "'%s': not a prefix length from 0 to %lu",
			 text, most);
		return false;
	}
	*ret = (int)length;
	return true;
}

/* `/24,/64`: one for each family; `/24`: IPv4, or IPv6 if it is over 32. */
static void take_lengths(struct top *top)
{
	char *comma = strchr(top->typed, ',');
	struct lengths lengths = top->lengths;
	bool good;
	int one;

	if (comma) {
		*comma = '\0';
		good = take_length(top, top->typed, 32, &lengths.ipv4) &&
		       take_length(top, comma + 1, 128, &lengths.ipv6);
	} else {
		good = take_length(top, top->typed, 128, &one);
		if (good)
			*(one > 32 ? &lengths.ipv6 : &lengths.ipv4) = one;
	}
	if (!good)
		return;
	top->lengths = lengths;
	update(top, true);
}

static void take_within(struct top *top)
{
	const char *why;

	if (!*top->typed)
		top->filtered = false;
	else if (!conncount_cidr_parse(top->typed, NULL, &top->within, &why))
		top->filtered = true;
	else
		snprintf(top->note, sizeof(top->note), "'%s': %s", top->typed, why);
	top->first = 0;
	arrange(top);
}

static void begin_prompt(struct top *top, enum prompt prompt)
{
	top->prompt = prompt;
	top->typed[0] = '\0';
}

/* A key while a line is being typed. */
static void on_typed(struct top *top, int key)
{
	size_t n = strlen(top->typed);
	enum prompt prompt = top->prompt;

	if (key == '\n' || key == '\r' || key == KEY_ENTER) {
		top->prompt = PROMPT_NONE;
		if (prompt == PROMPT_WITHIN)
			take_within(top);
		else
			take_lengths(top);
	} else if (key == KEY_ESCAPE) {
		top->prompt = PROMPT_NONE;
	} else if (key == KEY_BACKSPACE || key == '\b' || key == 127) {
		if (n)
			top->typed[n - 1] = '\0';
	} else if (key >= ' ' && key < 127 && n + 1 < sizeof(top->typed)) {
		top->typed[n] = (char)key;
		top->typed[n + 1] = '\0';
	}
}

/* Returns whether to go on. */
static bool on_command(struct top *top, int key)
{
	long page = (long)screen_rows();

	switch (key) {
	case 'q':
		return false;
	case 'h':
	case '?':
		top->help = true;
		break;
	case 's':
		top->order = (top->order + 1) % ORDERS;
		top->first = 0;
		arrange(top);
		break;
	case '+':
	case '=':
	case '-':
		step_lengths(top, key != '-');
		break;
	case 'p':
		begin_prompt(top, PROMPT_LENGTHS);
		break;
	case '/':
		begin_prompt(top, PROMPT_WITHIN);
		break;
	case 'f':
		step_family(top);
		break;
	case 't':
		step_service(top);
		break;
	case 'r':
		update(top, false);
		break;
	case KEY_UP:
	case 'k':
		scroll_by(top, -1);
		break;
	case KEY_DOWN:
	case 'j':
		scroll_by(top, 1);
		break;
	case KEY_PPAGE:
		scroll_by(top, -page);
		break;
	case KEY_NPAGE:
		scroll_by(top, page);
		break;
	case KEY_HOME:
		scroll_by(top, -(long)top->first);
		break;
	case KEY_END:
		scroll_by(top, (long)top->rows.n_shown);
		break;
	}
	return true;
}

/* Returns whether to go on. */
static bool on_key(struct top *top, int key)
{
	if (key == KEY_RESIZE) {
		arrange(top);
		return true;
	}
	top->note[0] = '\0';
	if (top->help)
		top->help = false;
	else if (top->prompt != PROMPT_NONE)
		on_typed(top, key);
	else
		return on_command(top, key);
	return true;
}

/* --- running ------------------------------------------------------------------------------ */

/*
 * Show the screen, refresh it in time, and handle keys. Returns 0 if the user quits, or the number
 * of the signal that ends it.
 */
static int interact(struct top *top, int signals)
{
	struct pollfd fds[] = {
		{ .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = signals, .events = POLLIN },
	};
	struct signalfd_siginfo info;
	int64_t next = now_ms();

	for (;;) {
		int64_t begin = now_ms();
		int key;

		if (begin >= next) {
			int64_t spent, interval = (int64_t)top->interval * 1000;

			update(top, false);
			spent = now_ms() - begin;
			next = begin +
			       (spent * LOOK_SHARE > interval ? spent * LOOK_SHARE : interval);
		}
		screen_draw(top);
		/* ncurses handles a resize in getch(): the signal interrupts poll(), and getch()
		 * returns a key. */
		poll(fds, 2, next > now_ms() ? (int)(next - now_ms()) : 0);
		if (fds[1].revents & POLLIN)
			return read(signals, &info, sizeof(info)) == sizeof(info)
				       ? (int)info.ssi_signo
				       : SIGTERM;
		while ((key = getch()) != ERR)
			if (!on_key(top, key))
				return 0;
		if (fds[0].revents & (POLLHUP | POLLERR))
			return SIGHUP;
		fds[0].revents = fds[1].revents = 0;
	}
}

/* Run on the terminal, and restore it however this ends. Returns the exit status. */
static int show(struct top *top)
{
	static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	sigset_t set, before;
	int signals, signal_number;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ending) / sizeof(*ending); i++)
		sigaddset(&set, ending[i]);
	sigprocmask(SIG_BLOCK, &set, &before);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0) {
		report("top: signals: %s", strerror(errno));
		return STATUS_FAILED;
	}
	if (screen_open()) {
		close(signals);
		return STATUS_FAILED;
	}
	signal_number = interact(top, signals);
	screen_close();
	close(signals);
	if (signal_number) {
		/* The parent process must see which signal ended this one. */
		signal(signal_number, SIG_DFL);
		raise(signal_number);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return STATUS_DONE;
}

static int top(struct top *top)
{
	int status;
	int err = conncount_open(top->dir, &top->cc);

	if (!err)
		err = look(top, true);
	if (!err)
		status = show(top);
	else if (top->by_window)
		status = window_failed(top->dir, top->cc, &top->target, &top->window, err);
	else
		status = query_failed(top->dir, top->cc, &top->target, err);
	rows_free(&top->rows);
	conncount_close(top->cc);
	return status;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		LONG_LISTENER, LONG_SERVICE, LONG_PREFIX, LONG_INTERVAL,
		LONG_WINDOW,   LONG_DIR,     LONG_HELP,   LONG_END,
	};
	struct window_options window = { 0 };
	struct top state = { .lengths = LENGTHS_UNSET, .interval = 1 };
	int option;

	while ((option = next_option(command, argc, argv, LETTERS_PREFIX, options)) != -1) {
		if (target_option(&state.target, option) ||
		    window_option(command, &window, option) ||
		    lengths_option(command, &state.lengths, option))
			continue;
		if (option == OPTION_INTERVAL)
			state.interval = number_option(command, 1, INTERVAL_MOST);
		else
			state.dir = optarg;
	}
	if (!target_check(command, &state.target) || !check_arguments(command, argc, argv, 0) ||
	    !lengths_check(command, &state.lengths))
		return STATUS_USAGE;
	state.by_window = window.given;
	state.window = window.window;
	/* Clients, at first sight: in IPv6, one has a /64. */
	if (!state.lengths.prefix && !state.lengths.letter)
		state.lengths.ipv6 = 64;
	/* If only one family was requested, the other one is available by key. */
	if (state.lengths.ipv6 < 0) {
		state.family = CONNCOUNT_IPV4;
		state.lengths.ipv6 = 128;
	} else if (state.lengths.ipv4 < 0) {
		state.family = CONNCOUNT_IPV6;
		state.lengths.ipv4 = 32;
	}
	return top(&state);
}

const struct command top_command = {
	.name = "top",
	.arguments = "[--listener NAME | --service TYPE] [--prefix N | -4 N -6 N] "
		     "[--interval SECONDS] [--window S,N]",
	.summary = "Show the networks that have open sessions on a terminal, kept up to date",
	.help = HELP_TARGET HELP_PREFIX
	"                   (default: 32 for IPv4, 64 for IPv6)\n" HELP_INTERVAL HELP_WINDOW
		HELP_DIR "Press h for the keys.\n",
	.run = run,
};
