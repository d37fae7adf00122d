/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * etag.h - whether a client has an answer already (RFC 9110, 8.8.3 and 13.1.2).
 */
#ifndef CONNCOUNT_ETAG_H
#define CONNCOUNT_ETAG_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of an entity tag, with its quotes and its NUL. */
enum { ETAG_SIZE = sizeof("\"0123456789abcdef\"") };

/* etag_of() - the entity tag of these bytes, in @buf of ETAG_SIZE bytes. Returns @buf. */
char *etag_of(const void *data, size_t size, char *buf);

/*
 * etag_matches() - whether an If-None-Match field has this tag, weak or not, or a '*'.
 * @field: NULL: there is none.
 */
bool etag_matches(const char *field, const char *etag);

#endif
