// SPDX-License-Identifier: BSD-2-Clause
/*
 * screen.c - drawing top, by ncurses.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <ncurses.h>

#include "report.h"
#include "screen.h"

/* Lines from the top of the screen. The last line of the screen is for keys and for typing. */
enum {
	LINE_TOTAL,
	LINE_VIEW,
	LINE_NOTE,
	LINE_HEADER,
	LINE_ROWS,
};

/* Milliseconds after an escape until it is known to be the key of that name. */
enum { ESCAPE_MS = 50 };

static SCREEN *screen;

int screen_open(void)
{
	const char *type = getenv("TERM");

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		report("top: standard input and output are not a terminal (for a file or a pipe: "
		       "conncount list, conncount watch)");
		return -1;
	}
	screen = newterm(NULL, stdout, stdin);
	if (!screen) {
		report("top: terminal type '%s' is unknown (set TERM to a known one, for example: "
		       "TERM=xterm conncount top)",
		       type ? type : "");
		return -1;
	}
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(ESCAPE_MS);
	curs_set(0);
	return 0;
}

void screen_close(void)
{
	endwin();
	delscreen(screen);
}

size_t screen_rows(void)
{
	return LINES > LINE_ROWS + 2 ? (size_t)(LINES - LINE_ROWS - 1) : 1;
}

/* One line, cut at the right edge. */
static void __attribute__((format(printf, 2, 3))) put_line(int line, const char *format, ...)
{
	char text[512];
	va_list args;

	if (line >= LINES)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	mvaddnstr(line, 0, text, COLS);
}

/* Whether the list is exact. */
static bool is_exact(const struct top *top)
{
	const struct opened *opened = &top->rows.opened;

	if (top->by_window)
		return opened->sum.flags & CONNCOUNT_EXACT && !opened->error;
	return top->rows.listing.answer.flags & CONNCOUNT_EXACT;
}

static void draw_total(const struct top *top)
{
	const struct conncount_answer *answer = &top->rows.listing.answer;
	char clock[sizeof("00:00:00")];
	time_t now = time(NULL);
	struct tm local;

	strftime(clock, sizeof(clock), "%T", localtime_r(&now, &local));
	put_line(LINE_TOTAL, "conncount %s  %s %s", clock,
		 top->target.listener ? "listener" : "service",
		 top->target.listener ? top->target.listener : top->target.service);
	if (!top->err)
		printw(": %" PRId64 " %s, %s", answer->count,
		       top->by_window ? "connections" : "sessions",
		       is_exact(top) ? "exact" : "not exact");
}

static void draw_view(const struct top *top)
{
	static const char *const orders[ORDERS] = {
		[ORDER_COUNT] = "largest first",
		[ORDER_CHANGE] = "grown most first",
		[ORDER_NETWORK] = "by address",
	};
	char lengths[32], within[CONNCOUNT_CIDR_SIZE] = "";

	if (!top->family)
		snprintf(lengths, sizeof(lengths), "IPv4 /%d, IPv6 /%d", top->lengths.ipv4,
			 top->lengths.ipv6);
	else if (top->family == CONNCOUNT_IPV4)
		snprintf(lengths, sizeof(lengths), "IPv4 /%d", top->lengths.ipv4);
	else
		snprintf(lengths, sizeof(lengths), "IPv6 /%d", top->lengths.ipv6);
	if (top->filtered)
		conncount_cidr_format(&top->within, within);
	put_line(LINE_VIEW, "%s, %s%s%s: %zu networks", lengths, orders[top->order],
		 top->filtered ? ", within " : "", within, top->rows.n_shown);
	if (top->window.seconds)
		printw("; opened in this window of %" PRIu32 " s", top->window.seconds);
}

static const char *error_text(const struct top *top, char *buf, size_t size)
{
	if (top->by_window && window_error_text(top->cc, &top->window, top->err, buf, size))
		return buf;
	return conncount_strerror(top->dir, top->err, buf, size);
}

static const char *why_inexact(const struct top *top, char *buf, size_t size)
{
	if (top->by_window)
		return opened_inexact_text(top->cc, &top->target, &top->window, &top->rows.opened,
					   buf, size);
	return inexact_text(top->cc, &top->rows.listing.answer, buf, size);
}

/* What is wrong: with the typed line, with the instance, or with the counts. */
static void draw_note(const struct top *top)
{
	char text[CONNCOUNT_ERROR_SIZE];

	attron(A_BOLD);
	if (*top->note)
		put_line(LINE_NOTE, "%s", top->note);
	else if (top->err)
		put_line(LINE_NOTE, "%s", error_text(top, text, sizeof(text)));
	else if (!is_exact(top))
		put_line(LINE_NOTE, "%s", why_inexact(top, text, sizeof(text)));
	attroff(A_BOLD);
}

/* The listed number is first; the other is beside it if windows are configured. */
static void draw_header(const struct top *top)
{
	char beside[16] = "";

	if (top->window.seconds)
		snprintf(beside, sizeof(beside), " %9s", top->by_window ? "SESSIONS" : "OPENED");
	attron(A_REVERSE);
	put_line(LINE_HEADER, "%9s %6s %8s%s  %-*s", top->by_window ? "OPENED" : "SESSIONS",
		 "SHARE", "CHANGE", beside, COLS, "NETWORK");
	attroff(A_REVERSE);
}

static void draw_row(const struct top *top, int line, const struct row *row)
{
	int64_t all = top->rows.listing.answer.count;
	char text[CONNCOUNT_CIDR_SIZE], change[24] = "", beside[24] = "";

	if (row->change)
		snprintf(change, sizeof(change), "%+" PRId64, row->change);
	if (top->window.seconds && row->beside >= 0)
		snprintf(beside, sizeof(beside), " %9" PRId64, row->beside);
	else if (top->window.seconds)
		snprintf(beside, sizeof(beside), " %9s", "-");
	put_line(line, "%9" PRId64 " %5.1f%% %8s%s  %s", row->entry.count,
		 all > 0 ? 100.0 * (double)row->entry.count / (double)all : 0.0, change, beside,
		 conncount_cidr_format(&row->entry.cidr, text));
}

static void draw_rows(const struct top *top)
{
	draw_header(top);
	for (size_t i = 0; i < screen_rows() && top->first + i < top->rows.n_shown; i++)
		draw_row(top, LINE_ROWS + (int)i, &top->rows.shown[top->first + i]);
}

static void draw_help(void)
{
	static const char *const lines[] = {
		"  s           sort: largest first, grown most first, by address",
		"  + -         longer or shorter prefixes: the next level of each family",
		"  p           type prefix lengths: /24 for IPv4, /64 for IPv6, /24,/64 for both",
		"  f           family: both, IPv4, IPv6",
		"  t           the next service",
		"  /           type a network, to show only what is in it (empty: all)",
		"  up down     scroll; also Page Up, Page Down, Home, End",
		"  r           refresh now",
		"  h ?         this help; any key closes it",
		"  q           quit",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		put_line(LINE_HEADER + (int)i, "%s", lines[i]);
}

static void draw_keys(const struct top *top)
{
	if (top->prompt == PROMPT_WITHIN)
		put_line(LINES - 1, "Within (empty: all): %s", top->typed);
	else if (top->prompt == PROMPT_LENGTHS)
		put_line(LINES - 1, "Prefix lengths (as /24,/64): %s", top->typed);
	else
		put_line(LINES - 1, "q quit  h help  s sort  + - p length  f family  t service  "
				    "/ within");
}

void screen_draw(const struct top *top)
{
	erase();
	draw_total(top);
	draw_view(top);
	draw_note(top);
	if (top->help)
		draw_help();
	else
		draw_rows(top);
	if (LINES > LINE_ROWS)
		draw_keys(top);
	curs_set(top->prompt != PROMPT_NONE);
	refresh();
}
