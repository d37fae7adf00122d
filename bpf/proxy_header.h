/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * proxy_header.h - read a PROXY header, version 1 or 2, as
 * https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt has it.
 *
 * The BPF program that reads headers and its fuzzer compile the same text.
 */
#ifndef CONNCOUNT_PROXY_HEADER_H
#define CONNCOUNT_PROXY_HEADER_H

#include "abi.h"

/* The first bytes of a connection, and the client that they name. */
struct proxy_header {
	__u32 size;     /* how many bytes there are, at most CC_HEADER_MAX */
	__u32 family;   /* out, if identified: CC_IPV4 or CC_IPV6 */
	__be32 addr[4]; /* out: IPv4 in the first word, the rest 0 */
	__u8 bytes[CC_HEADER_MAX];
};

#endif
