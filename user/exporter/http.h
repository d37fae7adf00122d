/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * http.h - answer GET /metrics over HTTP.
 */
#ifndef CONNCOUNT_HTTP_H
#define CONNCOUNT_HTTP_H

/*
 * http_serve() - serve the metrics of an instance until SIGTERM or SIGINT.
 * @dir: as given to conncount_open(). It need not be loaded, and may be unloaded and loaded
 * meanwhile.
 * @listen_fd: a listening stream socket; stays the caller's.
 *
 * Returns 0 or a negative errno, reported.
 */
int http_serve(const char *dir, int listen_fd);

#endif
