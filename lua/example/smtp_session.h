/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * smtp_session.h - the SMTP sessions of the server, and what it watches.
 */
#ifndef SMTP_SESSION_H
#define SMTP_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct policy;
struct sockaddr;

/* What epoll watches: the first member of whatever it is. */
struct source {
	void (*ready)(struct source *source, uint32_t events);
	int fd;
};

/* watch() - have epoll report these events of a source. Returns whether it does. */
bool watch(struct source *source, int operation, uint32_t events);

/* clock_seconds() - the time in whole seconds, which nobody sets. */
time_t clock_seconds(void);

/* sessions_open() - from now on there may be sessions, on which these policies decide. */
void sessions_open(struct policy *policy);

/* sessions_close() - end all of them. */
void sessions_close(void);

/* sessions_any() - whether there is one. */
bool sessions_any(void);

/* session_begin() - begin one with the client @remote. @fd, which does not block, is the session's.
 */
void session_begin(int fd, const struct sockaddr *remote);

/*
 * sessions_tick() - once a second: answer those that have been held for long enough, and end
 * those whose clients have gone quiet.
 */
void sessions_tick(void);

#endif
