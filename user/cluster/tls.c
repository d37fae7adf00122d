// SPDX-License-Identifier: BSD-2-Clause
/*
 * tls.c - TLS over a connected socket.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "tls.h"

const char *tls_reason(void)
{
	unsigned long error = ERR_peek_last_error();
	const char *text = ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error))
						   : ERR_reason_error_string(error);

	return text ? text : "unknown error";
}

/* --- files -------------------------------------------------------------------------------------
 */

static int refuse(const char *key, const char *path, char *error)
{
	snprintf(error, LINES_ERROR_SIZE, "%s '%s': %s", key, path, tls_reason());
	return -EINVAL;
}

static int read_files(const struct cluster_tls *config, SSL_CTX *ctx, char *error)
{
	if (!config->ca && !SSL_CTX_set_default_verify_paths(ctx))
		return refuse("tls_ca", "", error);
	if (config->ca && !SSL_CTX_load_verify_file(ctx, config->ca))
		return refuse("tls_ca", config->ca, error);
	if (config->cert && !SSL_CTX_use_certificate_chain_file(ctx, config->cert))
		return refuse("tls_cert", config->cert, error);
	/* Also if it is not the certificate's. */
	if (config->key && !SSL_CTX_use_PrivateKey_file(ctx, config->key, SSL_FILETYPE_PEM))
		return refuse("tls_key", config->key, error);
	return 0;
}

int tls_setup(const struct cluster_tls *config, SSL_CTX **ret, char *error)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int err;

	ERR_clear_error();
	if (!ctx) {
		snprintf(error, LINES_ERROR_SIZE, "TLS: %s", tls_reason());
		return -EINVAL;
	}
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE);
	err = read_files(config, ctx, error);
	if (err)
		SSL_CTX_free(ctx);
	else
		*ret = ctx;
	return err;
}

/* --- connections -------------------------------------------------------------------------------
 */

/* The result of a call that has returned @n, as that of read(2). */
static ssize_t result(SSL *ssl, int n)
{
	if (n > 0)
		return n;
	switch (SSL_get_error(ssl, n)) {
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		/* Either the socket's timeout is over, or a signal has interrupted the call. */
		if (errno != EINTR)
			errno = EAGAIN;
		return -1;
	case SSL_ERROR_SYSCALL:
		return errno ? -1 : 0;
	}
	/*
	 * A server that is killed does not say that it ends. OpenSSL then sends it an alert; if
	 * that fails, the queue has a second error (since 3.2).
	 */
	if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return 0;
	errno = EPROTO;
	return -1;
}

/* Whether a certificate has alternative names. */
static bool has_names(const X509 *cert)
{
	return X509_get_ext_by_NID(cert, NID_subject_alt_name, -1) >= 0;
}

/* Whether the server's certificate, which was verified, is good for @host. */
static bool is_for(const SSL *ssl, const char *host, bool private_ca)
{
	X509 *cert = SSL_get1_peer_certificate(ssl);
	bool is = cert &&
		  ((private_ca && !has_names(cert)) || X509_check_ip_asc(cert, host, 0) == 1 ||
		   X509_check_host(cert, host, 0, 0, NULL) == 1);

	X509_free(cert);
	return is;
}

/* Name the server that is meant, if it has a name. */
static bool set_name(SSL *ssl, const char *host)
{
	unsigned char addr[16];

	return inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1 ||
	       SSL_set_tlsext_host_name(ssl, host);
}

/* Why the handshake failed. */
static void explain(const SSL *ssl, int saved_errno, char *error)
{
	long verified = SSL_get_verify_result(ssl);
	const char *why = ERR_peek_last_error() ? tls_reason()
			  : saved_errno         ? strerror(saved_errno)
						: "it closed the connection";

	if (verified != X509_V_OK)
		snprintf(error, TLS_ERROR_SIZE, "its certificate is not accepted: %s (see tls_ca)",
			 X509_verify_cert_error_string(verified));
	else
		snprintf(error, TLS_ERROR_SIZE, "TLS: %s (does it speak TLS at that port?)", why);
}

/* Do the handshake, whatever signals come. Returns false if it failed: see explain(). */
static bool shake_hands(SSL *ssl)
{
	ssize_t n;

	do {
		ERR_clear_error();
		errno = 0;
		n = result(ssl, SSL_connect(ssl));
	} while (n < 0 && errno == EINTR);
	return n > 0;
}

SSL *tls_begin(SSL_CTX *ctx, int fd, const char *host, bool private_ca, char *error)
{
	SSL *ssl = SSL_new(ctx);

	ERR_clear_error();
	errno = 0;
	if (!ssl || !SSL_set_fd(ssl, fd)) {
		snprintf(error, TLS_ERROR_SIZE, "out of memory");
	} else if (!set_name(ssl, host) || !shake_hands(ssl)) {
		explain(ssl, errno, error);
	} else if (!is_for(ssl, host, private_ca)) {
		snprintf(error, TLS_ERROR_SIZE,
			 "its certificate is for other names (use one of these in place of "
			 "'%.100s')",
			 host);
	} else {
		return ssl;
	}
	SSL_free(ssl);
	return NULL;
}

ssize_t tls_receive(SSL *ssl, void *buf, size_t size)
{
	ERR_clear_error();
	errno = 0;
	return result(ssl, SSL_read(ssl, buf, size < INT_MAX ? (int)size : INT_MAX));
}

ssize_t tls_send(SSL *ssl, const void *buf, size_t size)
{
	ERR_clear_error();
	errno = 0;
	return result(ssl, SSL_write(ssl, buf, size < INT_MAX ? (int)size : INT_MAX));
}
