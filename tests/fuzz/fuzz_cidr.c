// SPDX-License-Identifier: BSD-2-Clause
/*
 * cidr.c - fuzz target: addresses and networks as text.
 *
 * The input is the text. It is read as a network, without a connecting session and with one
 * of each family, and as a local address with a port. Each verdict, and each result bit for
 * bit, is compared with want_cidr() and want_address(): the rules once more, in another way.
 * Numbers are not computed there but compared with the texts of all the numbers there are,
 * and bits are cleared one at a time. Only what is an address is left to the same
 * inet_pton().
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "conncount.h"
#include "fuzz.h"

/* Bits on both ends and no byte twice: a bit lost, kept or moved shows. */
static const struct conncount_cidr peer4 = {
	.family = CONNCOUNT_IPV4,
	.prefixlen = 32,
	.addr = { 0xdb, 0xab, 0xcd, 0x75 },
};
static const struct conncount_cidr peer6 = {
	.family = CONNCOUNT_IPV6,
	.prefixlen = 128,
	.addr = { 0xab, 0x5a, 0xde, 0xad, 0xbe, 0xef, 0xca, 0xfe, 0x9b, 0x7d, 0xfe, 0xdc, 0xba,
		  0x98, 0x76, 0x55 },
};

/* --- the rules, once more ------------------------------------------------------------------ */

/* The number up to @most whose plain decimal text this is, or -1. */
static int number_of(const char *text, int most)
{
	char number[16];

	for (int i = 0; i <= most; i++) {
		snprintf(number, sizeof(number), "%d", i);
		if (!strcmp(text, number))
			return i;
	}
	return -1;
}

/* The length whose netmask this is, or -1. */
static int netmask_of(const char *text)
{
	char mask[INET_ADDRSTRLEN];

	for (unsigned len = 0; len <= 32; len++) {
		struct in_addr addr = { htonl(len ? ~0U << (32 - len) : 0) };

		inet_ntop(AF_INET, &addr, mask, sizeof(mask));
		if (!strcmp(text, mask))
			return (int)len;
	}
	return -1;
}

static void clear_from(struct conncount_cidr *cidr, unsigned prefixlen)
{
	cidr->prefixlen = prefixlen;
	for (unsigned bit = prefixlen; bit < 8 * sizeof(cidr->addr); bit++)
		cidr->addr[bit / 8] &= (unsigned char)~(0x80 >> bit % 8);
}

/* An address without its brackets. @ret_mapped: it was an IPv4-mapped one. */
static bool want_plain(const char *text, struct conncount_cidr *ret, bool *ret_mapped)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	unsigned char addr[16] = {};

	*ret = (struct conncount_cidr){};
	*ret_mapped = false;
	if (inet_pton(AF_INET, text, addr) == 1) {
		ret->family = CONNCOUNT_IPV4;
		ret->prefixlen = 32;
		memcpy(ret->addr, addr, 4);
		return true;
	}
	if (inet_pton(AF_INET6, text, addr) != 1)
		return false;
	*ret_mapped = !memcmp(addr, mapped, sizeof(mapped));
	ret->family = *ret_mapped ? CONNCOUNT_IPV4 : CONNCOUNT_IPV6;
	ret->prefixlen = *ret_mapped ? 32 : 128;
	memcpy(ret->addr, *ret_mapped ? addr + 12 : addr, *ret_mapped ? 4 : 16);
	return true;
}

/* An address with or without brackets; cuts @text up. */
static bool want_addr(char *text, struct conncount_cidr *ret, bool *ret_mapped)
{
	size_t len = strlen(text);

	if (text[0] != '[')
		return want_plain(text, ret, ret_mapped);
	if (text[len - 1] != ']' || !strchr(text, ':'))
		return false;
	text[len - 1] = '\0';
	return want_plain(text + 1, ret, ret_mapped);
}

/* `/len` or `/len4,/len6`; cuts @text up. */
static bool want_relative(char *text, const struct conncount_cidr *peer, struct conncount_cidr *ret)
{
	bool v6 = peer && peer->family == CONNCOUNT_IPV6;
	char *comma = strchr(text, ',');
	int len, len6;

	if (!peer)
		return false;
	if (comma) {
		*comma = '\0';
		if (comma[1] != '/')
			return false;
		len = number_of(text + 1, 32);
		len6 = number_of(comma + 2, 128);
		if (len < 0 || len6 < 0)
			return false;
		if (v6)
			len = len6;
	} else {
		len = number_of(text + 1, v6 ? 128 : 32);
		if (len < 0)
			return false;
	}
	*ret = *peer;
	if (len != 32) /* else the address itself, of either family */
		clear_from(ret, (unsigned)len);
	return true;
}

static bool want_cidr(char *text, const struct conncount_cidr *peer, struct conncount_cidr *ret)
{
	char *slash = strchr(text, '/');
	bool mapped = false;
	int len;

	if (slash == text)
		return want_relative(text, peer, ret);
	if (slash)
		*slash = '\0';
	if (!strcmp(text, "localhost"))
		want_plain(slash && number_of(slash + 1, 128) > 32 ? "::1" : "127.0.0.1", ret,
			   &mapped);
	else if (!want_addr(text, ret, &mapped))
		return false;
	if (!slash)
		return true;
	len = number_of(slash + 1, ret->family == CONNCOUNT_IPV4 && !mapped ? 32 : 128);
	if (mapped)
		len -= 96;
	else if (len < 0 && ret->family == CONNCOUNT_IPV4)
		len = netmask_of(slash + 1);
	if (len < 0)
		return false;
	clear_from(ret, (unsigned)len);
	return true;
}

/* A port's text cannot be compared with all there are: that is too slow. */
static bool want_port(const char *text, uint16_t *ret)
{
	unsigned long port = strtoul(text, NULL, 10);
	char number[32];

	snprintf(number, sizeof(number), "%lu", port);
	*ret = (uint16_t)port;
	return !strcmp(text, number) && port >= 1 && port <= 65535;
}

/* `ADDR:PORT` or `[ADDR6]:PORT`; cuts @text up. */
static bool want_address(char *text, struct conncount_cidr *ret, uint16_t *ret_port)
{
	char *end = strchr(text, ']');
	char *colon = strchr(end ? end : text, ':');
	bool mapped;

	if (!colon || !want_port(colon + 1, ret_port))
		return false;
	*colon = '\0';
	if (end && (text[0] != '[' || colon != end + 1))
		return false;
	return want_addr(text, ret, &mapped);
}

/* --- what holds of every result ------------------------------------------------------------ */

static bool same(const struct conncount_cidr *a, const struct conncount_cidr *b)
{
	_Static_assert(sizeof(*a) == 2 * sizeof(int) + 16, "no padding, memcmp() compares all");
	return !memcmp(a, b, sizeof(*a));
}

/* A reason is static text that fits behind "'TEXT': " on one line. */
static void check_why(const char *why)
{
	check(why);
	check(*why);
	for (; *why; why++)
		check(*why >= ' ' && *why < 0x7f);
}

static void check_network(const struct conncount_cidr *cidr)
{
	unsigned bits = cidr->family == CONNCOUNT_IPV4 ? 32 : 128;
	struct conncount_cidr again = *cidr;
	char text[CONNCOUNT_CIDR_SIZE];
	const char *why = NULL;

	check(cidr->family == CONNCOUNT_IPV4 || cidr->family == CONNCOUNT_IPV6);
	check(cidr->prefixlen <= bits);
	clear_from(&again, again.prefixlen);
	check(same(cidr, &again)); /* else host bits are set */

	/* What is shown to people is read as the same network, with any peer. */
	memset(text, 'x', sizeof(text));
	check(conncount_cidr_format(cidr, text) == text);
	check(memchr(text, '\0', sizeof(text)));
	check(!conncount_cidr_parse(text, NULL, &again, &why) && same(cidr, &again));
	check(!conncount_cidr_parse(text, &peer6, &again, &why) && same(cidr, &again));

	/* Shortened to any length, or to one that is not shorter. */
	for (unsigned len = 0; len <= bits + 1; len++) {
		struct conncount_cidr masked = *cidr, wanted = *cidr;

		conncount_cidr_mask(&masked, len);
		if (len < cidr->prefixlen)
			clear_from(&wanted, len);
		check(same(&masked, &wanted));
	}
}

/* The address of @cidr by way of a socket's. */
static void check_of_sockaddr(const struct conncount_cidr *cidr, uint16_t port)
{
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct conncount_cidr of;

	if (cidr->family == CONNCOUNT_IPV6) {
		memcpy(&sin6.sin6_addr, cidr->addr, 16);
	} else {
		memcpy(&sin.sin_addr, cidr->addr, 4);
		check(!conncount_cidr_of((struct sockaddr *)&sin, &of) && same(cidr, &of));
		sin6.sin6_addr.s6_addr[10] = sin6.sin6_addr.s6_addr[11] = 0xff;
		memcpy(&sin6.sin6_addr.s6_addr[12], cidr->addr, 4);
	}
	check(!conncount_cidr_of((struct sockaddr *)&sin6, &of) && same(cidr, &of));
}

/* --- the text, read in each way ------------------------------------------------------------ */

static void try_cidr(const char *text, const struct conncount_cidr *peer)
{
	struct conncount_cidr cidr, quiet, before, wanted;
	const char *why = NULL;
	char *copy = string_of(text, strlen(text));
	bool valid;
	int err;

	memset(&before, 0xa5, sizeof(before));
	cidr = quiet = before;
	err = conncount_cidr_parse(text, peer, &cidr, &why);
	check(conncount_cidr_parse(text, peer, &quiet, NULL) == err && same(&cidr, &quiet));
	valid = want_cidr(copy, peer, &wanted);
	free(copy);
	if (!valid) {
		check(err == -EINVAL);
		check(same(&cidr, &before));
		check_why(why);
		return;
	}
	check(!err);
	check(!why);
	check(same(&cidr, &wanted));
	check_network(&cidr);
}

static void try_address(const char *text)
{
	uint16_t port = 0xa5a5, quiet_port = port, wanted_port;
	struct conncount_cidr addr, quiet, before, wanted;
	const char *why = NULL;
	char *copy = string_of(text, strlen(text));
	bool valid;
	int err;

	memset(&before, 0xa5, sizeof(before));
	addr = quiet = before;
	err = conncount_address_parse(text, &addr, &port, &why);
	check(conncount_address_parse(text, &quiet, &quiet_port, NULL) == err);
	check(same(&addr, &quiet) && port == quiet_port);
	valid = want_address(copy, &wanted, &wanted_port);
	free(copy);
	if (!valid) {
		check(err == -EINVAL);
		check(same(&addr, &before) && port == 0xa5a5);
		check_why(why);
		return;
	}
	check(!err);
	check(!why);
	check(same(&addr, &wanted) && port == wanted_port);
	check(addr.prefixlen == (addr.family == CONNCOUNT_IPV4 ? 32 : 128));
	check_network(&addr);
	check_of_sockaddr(&addr, port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const void *nul = size ? memchr(data, '\0', size) : NULL;
	char *text = string_of(data, nul ? (size_t)((const uint8_t *)nul - data) : size);

	try_cidr(text, NULL);
	try_cidr(text, &peer4);
	try_cidr(text, &peer6);
	try_address(text);
	free(text);
	return 0;
}
