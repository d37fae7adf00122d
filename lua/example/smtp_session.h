/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * smtp_session.h - the server's SMTP sessions, and the file descriptors that it watches.
 */
#ifndef SMTP_SESSION_H
#define SMTP_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct policy;
struct sockaddr;

/* What epoll watches: the first member of a session, for example. */
struct source {
	void (*ready)(struct source *source, uint32_t events);
	int fd;
};

/* watch() - make epoll report these events of a source. Returns whether it succeeded. */
bool watch(struct source *source, int operation, uint32_t events);

/* clock_seconds() - the monotonic time in whole seconds. */
time_t clock_seconds(void);

/* sessions_open() - set the policies that decide on sessions. Call it before session_begin(). */
void sessions_open(struct policy *policy);

/* sessions_close() - end all sessions. */
void sessions_close(void);

/* sessions_any() - whether there is a session. */
bool sessions_any(void);

/* session_begin() - begin a session with the client @remote. It owns @fd, which must not block. */
void session_begin(int fd, const struct sockaddr *remote);

/*
 * sessions_tick() - call this once a second. It answers sessions that have been held long enough,
 * and ends those whose clients were idle for too long.
 */
void sessions_tick(void);

#endif
