/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server.h - answer GET /metrics over HTTP.
 */
#ifndef CONNCOUNT_SERVER_H
#define CONNCOUNT_SERVER_H

/*
 * server_run() - serve the metrics of an instance until SIGTERM or SIGINT.
 * @dir: as given to conncount_open(). Need not be loaded, and may come and go.
 * @listen_fd: a listening stream socket; stays the caller's.
 *
 * Returns 0 or a negative errno, reported.
 */
int server_run(const char *dir, int listen_fd);

#endif
