/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls.h - TLS over a connected socket, by OpenSSL: Debian 12's hiredis has none.
 */
#ifndef CONNCOUNT_TLS_H
#define CONNCOUNT_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>

#include "cluster_config.h"

enum { TLS_ERROR_SIZE = 256 };

/*
 * tls_setup() - read the certificates and the key.
 * @ret: the caller frees it with SSL_CTX_free().
 * @error: of LINES_ERROR_SIZE bytes: gets the reason.
 *
 * Returns 0, or -EINVAL.
 */
int tls_setup(const struct cluster_tls *config, SSL_CTX **ret, char *error);

/*
 * tls_begin() - do the handshake, and see that the server is @host.
 *
 * A certificate with alternative names must have @host, a name or an address, among them. One that
 * has none, as Redis' own scripts make them, is good for any server of a private authority
 * (tls_ca): this is how servers of Redis trust each other.
 *
 * @fd: a socket with timeouts, which the caller closes.
 * @private_ca: whether there is a private authority.
 * @error: of TLS_ERROR_SIZE bytes: gets the reason.
 *
 * Returns the connection, which the caller frees with SSL_free(), or NULL.
 */
SSL *tls_begin(SSL_CTX *ctx, int fd, const char *host, bool private_ca, char *error);

/* tls_reason() - what OpenSSL says about the last error. */
const char *tls_reason(void);

/*
 * tls_receive() - read some bytes.
 * Returns how many, 0 at the end, or -1 with errno: EAGAIN after the socket's timeout, EINTR if a
 * signal has interrupted it (call it again with the same arguments), EPROTO for tls_reason().
 */
ssize_t tls_receive(SSL *ssl, void *buf, size_t size);

/* tls_send() - write some bytes. Returns how many, or -1 with errno as tls_receive(). */
ssize_t tls_send(SSL *ssl, const void *buf, size_t size);

#endif
