/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host.h - whether a page of another site has asked, by a name of its own for this host.
 */
#ifndef CONNCOUNT_HOST_H
#define CONNCOUNT_HOST_H

#include <stdbool.h>

/*
 * host_is_foreign() - whether a request may be from a page of another site, in a browser on this
 * host: its name's owner can let it point to 127.0.0.1, and the browser then takes our answers for
 * that site's own.
 * @fd: the connection.
 * @host: the Host field; NULL: there is none, so no browser has asked.
 *
 * Returns true if the connection is to a loopback address, and @host is a name other than
 * localhost.
 */
bool host_is_foreign(int fd, const char *host);

#endif
