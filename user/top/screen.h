/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * screen.h - the terminal that top shows itself on, by ncurses.
 */
#ifndef CONNCOUNT_SCREEN_H
#define CONNCOUNT_SCREEN_H

#include "top.h"

/*
 * screen_open() - set up the terminal. screen_close() restores it.
 *
 * Returns 0; or -1, reported, if there is no terminal or its type is unknown.
 */
int screen_open(void);

void screen_close(void);

/* screen_rows() - how many rows fit on the screen; at least 1. */
size_t screen_rows(void);

/* screen_draw() - show @top. Sends only the differences to the terminal. */
void screen_draw(const struct top *top);

#endif
