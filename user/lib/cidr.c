// SPDX-License-Identifier: BSD-2-Clause
/*
 * cidr.c - addresses and networks as text. The rules are those of conncount_cidr_parse() in
 * conncount.h; everything that reads such text calls it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conncount.h"
#include "mask.h"

_Static_assert(CONNCOUNT_IPV4 == AF_INET && CONNCOUNT_IPV6 == AF_INET6, "address families");

/* Length of the prefix ::ffff:0:0/96 that holds the IPv4-mapped addresses. */
enum { MAPPED_LEN = 96 };

static const char bad_length[] = "the length after '/' is not a plain number";
static const char too_long_v4[] = "the length is over 32, the maximum for IPv4";
static const char too_long_v6[] = "the length is over 128, the maximum for IPv6";

static int fail(const char **ret_why, const char *why)
{
	if (ret_why)
		*ret_why = why;
	return -EINVAL;
}

static unsigned family_bits(int family)
{
	return family == CONNCOUNT_IPV4 ? 32 : 128;
}

static int check_length(int family, unsigned length, const char **ret_why)
{
	if (length <= family_bits(family))
		return 0;
	return fail(ret_why, family == CONNCOUNT_IPV4 ? too_long_v4 : too_long_v6);
}

/* Exactly one address; an IPv4-mapped one becomes the IPv4 address. */
static void set_ipv6(struct conncount_cidr *cidr, const struct in6_addr *addr)
{
	*cidr = (struct conncount_cidr){ .family = CONNCOUNT_IPV6, .prefixlen = 128 };
	if (IN6_IS_ADDR_V4MAPPED(addr)) {
		cidr->family = CONNCOUNT_IPV4;
		cidr->prefixlen = 32;
		memcpy(cidr->addr, addr->s6_addr + 12, 4);
		return;
	}
	memcpy(cidr->addr, addr->s6_addr, 16);
}

static void set_ipv4(struct conncount_cidr *cidr, const struct in_addr *addr)
{
	*cidr = (struct conncount_cidr){ .family = CONNCOUNT_IPV4, .prefixlen = 32 };
	memcpy(cidr->addr, addr, 4);
}

int conncount_cidr_of(const struct sockaddr *sa, struct conncount_cidr *ret_cidr)
{
	switch (sa->sa_family) {
	case AF_INET:
		set_ipv4(ret_cidr, &((const struct sockaddr_in *)sa)->sin_addr);
		return 0;
	case AF_INET6:
		set_ipv6(ret_cidr, &((const struct sockaddr_in6 *)sa)->sin6_addr);
		return 0;
	}
	return -EAFNOSUPPORT;
}

void conncount_cidr_mask(struct conncount_cidr *cidr, unsigned prefixlen)
{
	if (prefixlen > cidr->prefixlen)
		return;
	cidr->prefixlen = prefixlen;
	mask_address(cidr->addr, cidr->addr, prefixlen);
}

char *conncount_cidr_format(const struct conncount_cidr *cidr, char *buf)
{
	char addr[INET6_ADDRSTRLEN];

	inet_ntop(cidr->family, cidr->addr, addr, sizeof(addr));
	snprintf(buf, CONNCOUNT_CIDR_SIZE, "%s/%u", addr, cidr->prefixlen);
	return buf;
}

/* Read a decimal number of at most @max_digits digits; without a sign, space or leading 0. */
static bool parse_number(const char *text, size_t len, size_t max_digits, unsigned *ret)
{
	unsigned value = 0;

	if (len == 0 || len > max_digits || (len > 1 && text[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	*ret = value;
	return true;
}

/* The length that a netmask such as 255.255.255.0 stands for. */
static bool parse_netmask(const char *text, unsigned *ret_length)
{
	struct in_addr mask;

	if (inet_pton(AF_INET, text, &mask) != 1)
		return false;

	uint32_t host_bits = ~ntohl(mask.s_addr);
	if (host_bits & (host_bits + 1))
		return false;
	*ret_length = 32;
	while (host_bits) {
		host_bits >>= 1;
		(*ret_length)--;
	}
	return true;
}

/*
 * Read the first @len bytes of @text, an address with or without brackets.
 * @not_an_address: the error for a text that is none; it says whether names are resolved.
 * @ret_mapped: whether it was written as an IPv4-mapped IPv6 address.
 */
static int parse_addr(const char *text, size_t len, const char *not_an_address,
		      struct conncount_cidr *ret, bool *ret_mapped, const char **ret_why)
{
	char buf[INET6_ADDRSTRLEN];
	struct in_addr v4;
	struct in6_addr v6;
	bool brackets = len >= 2 && text[0] == '[' && text[len - 1] == ']';

	if (brackets) {
		text++;
		len -= 2;
	}
	if (memchr(text, '%', len))
		return fail(ret_why, "zones are not supported: write the address without '%'");
	if (len >= sizeof(buf))
		return fail(ret_why, not_an_address);
	memcpy(buf, text, len);
	buf[len] = '\0';

	*ret_mapped = false;
	if (!brackets && inet_pton(AF_INET, buf, &v4) == 1) {
		set_ipv4(ret, &v4);
		return 0;
	}
	if (inet_pton(AF_INET6, buf, &v6) == 1) {
		set_ipv6(ret, &v6);
		*ret_mapped = ret->family == CONNCOUNT_IPV4;
		return 0;
	}
	return fail(ret_why, not_an_address);
}

/* `/len` or `/len4,/len6`: the peer's own network. */
static int parse_relative(const char *text, const struct conncount_cidr *peer,
			  struct conncount_cidr *ret, const char **ret_why)
{
	const char *comma = strchr(text, ',');
	const char *end = comma ? comma : text + strlen(text);
	unsigned length;
	int err;

	if (!peer)
		return fail(ret_why, "a length without an address needs a connecting session");
	if (!parse_number(text + 1, (size_t)(end - text - 1), 3, &length))
		return fail(ret_why, bad_length);
	err = check_length(comma ? CONNCOUNT_IPV4 : peer->family, length, ret_why);
	if (err)
		return err;
	if (comma) {
		unsigned length6;

		if (comma[1] != '/' || !parse_number(comma + 2, strlen(comma + 2), 3, &length6))
			return fail(ret_why, "what follows the ',' is not '/' and a length");
		err = check_length(CONNCOUNT_IPV6, length6, ret_why);
		if (err)
			return err;
		if (peer->family == CONNCOUNT_IPV6)
			length = length6;
	}

	*ret = *peer;
	/* Momentum's '/32' is the connecting address, whatever its family. */
	if (length != 32)
		conncount_cidr_mask(ret, length);
	return 0;
}

/* The length behind the '/' at @text, in the numbering of @addr's family. */
static int parse_length(const char *text, const struct conncount_cidr *addr, bool mapped,
			unsigned *ret_length, const char **ret_why)
{
	if (addr->family == CONNCOUNT_IPV4 && !mapped && strchr(text, '.')) {
		if (parse_netmask(text, ret_length))
			return 0;
		return fail(ret_why, "what follows the '/' is not a netmask");
	}
	if (!parse_number(text, strlen(text), 3, ret_length))
		return fail(ret_why, bad_length);
	if (!mapped)
		return check_length(addr->family, *ret_length, ret_why);
	if (*ret_length < MAPPED_LEN)
		return fail(ret_why, "an IPv4-mapped network has a length of at least 96");
	*ret_length -= MAPPED_LEN;
	return *ret_length > 32 ? fail(ret_why, too_long_v6) : 0;
}

/* `localhost` or `localhost/len`: IPv4, or IPv6 where the length is over 32. */
static int parse_localhost(const char *slash, struct conncount_cidr *ret, const char **ret_why)
{
	struct in_addr v4 = { htonl(INADDR_LOOPBACK) };
	unsigned length;

	if (slash && parse_number(slash + 1, strlen(slash + 1), 3, &length) && length > 32) {
		if (check_length(CONNCOUNT_IPV6, length, ret_why))
			return -EINVAL;
		set_ipv6(ret, &in6addr_loopback);
	} else {
		set_ipv4(ret, &v4);
	}
	return 0;
}

int conncount_cidr_parse(const char *text, const struct conncount_cidr *peer,
			 struct conncount_cidr *ret_cidr, const char **ret_why)
{
	const char *slash = strchr(text, '/');
	size_t addr_len = slash ? (size_t)(slash - text) : strlen(text);
	struct conncount_cidr cidr;
	bool mapped = false;
	unsigned length;
	int err;

	if (!*text)
		return fail(ret_why, "empty");
	if (slash == text)
		return parse_relative(text, peer, ret_cidr, ret_why);

	if (addr_len == strlen("localhost") && !strncmp(text, "localhost", addr_len))
		err = parse_localhost(slash, &cidr, ret_why);
	else
		err = parse_addr(text, addr_len,
				 "not an IP address (the only name that is resolved is localhost)",
				 &cidr, &mapped, ret_why);
	if (err)
		return err;

	if (slash) {
		err = parse_length(slash + 1, &cidr, mapped, &length, ret_why);
		if (err)
			return err;
		conncount_cidr_mask(&cidr, length);
	}
	*ret_cidr = cidr;
	return 0;
}

int conncount_address_parse(const char *text, struct conncount_cidr *ret_addr, uint16_t *ret_port,
			    const char **ret_why)
{
	const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
	struct conncount_cidr addr;
	unsigned port;
	bool mapped;
	int err;

	if (!colon || (bracket && bracket > colon))
		return fail(ret_why, "no ':PORT' after the address");
	if (!parse_number(colon + 1, strlen(colon + 1), 5, &port) || !port || port > 65535)
		return fail(ret_why, "the port is not a number from 1 to 65535");
	if (text[0] != '[' && memchr(text, ':', (size_t)(colon - text)))
		return fail(ret_why, "an IPv6 address with a port is written [ADDRESS]:PORT");
	err = parse_addr(text, (size_t)(colon - text), "not an IP address (names are not resolved)",
			 &addr, &mapped, ret_why);
	if (err)
		return err;
	*ret_addr = addr;
	*ret_port = (uint16_t)port;
	return 0;
}
