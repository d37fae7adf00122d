/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * http.h - answer GET over HTTP: the metrics, and the page with its API.
 */
#ifndef CONNCOUNT_HTTP_H
#define CONNCOUNT_HTTP_H

#include <stdbool.h>

/*
 * http_serve() - serve an instance until SIGTERM or SIGINT.
 * @dir: as given to conncount_open(). It need not be loaded, and may be unloaded and loaded
 * meanwhile.
 * @page: whether to serve the page and its API, too.
 * @listen_fd: a listening stream socket; stays the caller's.
 *
 * Returns 0 or a negative errno, reported.
 */
int http_serve(const char *dir, bool page, int listen_fd);

#endif
