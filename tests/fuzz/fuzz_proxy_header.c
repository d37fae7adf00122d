// SPDX-License-Identifier: BSD-2-Clause
/*
 * proxy_header.c - fuzz target: the PROXY header with which a connection begins.
 *
 * The input is the beginning of a connection. What is read of it is compared with want(): the
 * rules once more, in another way. There, addresses are left to inet_pton(), and an incomplete one
 * is valid if it becomes an address by appending one of all ways that an address can go on. A
 * wrong checksum is also replaced by the right one, as no fuzzer would find it.
 *
 * More bytes change a verdict only if it was "split". So the results of all cuts of an input are
 * "split" up to some number of bytes, and the same from there on.
 */
#include <arpa/inet.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "fuzz.h"
#include "proxy_header_user.h"

struct result {
	int origin;
	int family;
	unsigned char addr[16];
};

/* --- the rules, once more: version 1 ------------------------------------------------------- */

/* Bytes of the longest line, and of an address or a number in it that has been completed. */
enum { LINE_MOST = 107, WORD_SIZE = LINE_MOST + 32 };

static bool starts_with(const unsigned char *data, size_t size, const char *text, size_t len)
{
	return size >= len && !memcmp(data, text, len);
}

/* Whether these are fewer bytes than the text has, and the same. */
static bool is_part(const unsigned char *data, size_t size, const char *text, size_t len)
{
	return size < len && !memcmp(data, text, size);
}

/* A number without leading zeros, up to 65535. */
static bool want_port(const char *word)
{
	unsigned port = 0;

	if (!*word || (word[0] == '0' && word[1]))
		return false;
	for (; *word; word++) {
		if (*word < '0' || *word > '9')
			return false;
		port = port * 10 + (unsigned)(*word - '0');
		if (port > 65535)
			return false;
	}
	return true;
}

/* Whether a word can become an address by appending @first and then @n times @more. */
static bool becomes_address(int family, const char *word, const char *first, const char *more,
			    int n)
{
	unsigned char addr[16];
	char text[WORD_SIZE];
	size_t len = (size_t)snprintf(text, sizeof(text), "%s%s", word, first);

	for (int i = 0;; i++) {
		if (inet_pton(family, text, addr) == 1)
			return true;
		if (i == n)
			return false;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", more);
	}
}

static bool may_become_address(int family, const char *word)
{
	static const char *const firsts[] = { "", "1", ":" };

	for (size_t i = 0; i < sizeof(firsts) / sizeof(*firsts); i++) {
		if (becomes_address(family, word, firsts[i], ".1", 3))
			return true;
		if (family == AF_INET6 && becomes_address(family, word, firsts[i], ":1", 7))
			return true;
	}
	return false;
}

/* Whether field @i, from 0, is valid; or, if @ended is not set, whether it may become valid. */
static bool want_field(int i, int family, const char *word, bool ended, unsigned char *addr)
{
	if (i >= 2)
		return (!ended && !*word) || want_port(word);
	return ended ? inet_pton(family, word, addr) == 1 : may_become_address(family, word);
}

static void set_address(struct result *want, int family, const unsigned char *addr)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

	want->origin = CC_ORIGIN_HEADER;
	want->family = family == AF_INET ? CC_IPV4 : CC_IPV6;
	memcpy(want->addr, addr, family == AF_INET ? 4 : 16);
	if (family == AF_INET || memcmp(addr, mapped, sizeof(mapped)))
		return;
	memset(want->addr, 0, sizeof(want->addr));
	memcpy(want->addr, addr + 12, 4);
	want->family = CC_IPV4;
}

/* The part of a line after "PROXY TCP4 " or "PROXY TCP6 ". */
static void want_fields(const unsigned char *at, const unsigned char *end, int family, int cut,
			struct result *want)
{
	static const char ends[] = { ' ', ' ', ' ', '\r' };
	unsigned char addr[2][16];
	char word[LINE_MOST + 1];

	want->origin = CC_ORIGIN_MALFORMED;
	for (int i = 0; i < 4; i++) {
		const unsigned char *stop = memchr(at, ends[i], (size_t)(end - at));
		size_t len = (size_t)((stop ? stop : end) - at);

		memcpy(word, at, len);
		word[len] = '\0';
		if (strlen(word) != len)
			return;
		if (!want_field(i, family, word, stop, addr[i & 1]))
			return;
		if (!stop) {
			want->origin = cut;
			return;
		}
		if (!i)
			memcpy(addr[1], addr[0], 16);
		at = stop + 1;
	}
	if (at == end)
		want->origin = cut;
	else if (*at == '\n')
		set_address(want, family, addr[0]);
}

static void want_text(const unsigned char *data, size_t size, struct result *want)
{
	/* What a line is that has not ended. */
	int cut = size < LINE_MOST ? CC_ORIGIN_SPLIT : CC_ORIGIN_MALFORMED;
	const unsigned char *end = data + (size < LINE_MOST ? size : LINE_MOST);

	if (starts_with(data, size, "PROXY TCP4 ", 11))
		want_fields(data + 11, end, AF_INET, cut, want);
	else if (starts_with(data, size, "PROXY TCP6 ", 11))
		want_fields(data + 11, end, AF_INET6, cut, want);
	else if (starts_with(data, size, "PROXY UNKNOWN", 13))
		want->origin =
			memmem(data, (size_t)(end - data), "\r\n", 2) ? CC_ORIGIN_PROXY : cut;
	else if (is_part(data, size, "PROXY TCP4 ", 11) || is_part(data, size, "PROXY TCP6 ", 11) ||
		 is_part(data, size, "PROXY UNKNOWN", 13))
		want->origin = CC_ORIGIN_SPLIT;
	else
		want->origin = CC_ORIGIN_MALFORMED;
}

/* --- the rules, once more: version 2 ------------------------------------------------------- */

/* CRC32C, a bit of the input at a time, the highest first, as the polynomial is written. */
static unsigned crc32c(const unsigned char *data, size_t size)
{
	unsigned crc = ~0U, reversed = 0;

	for (size_t i = 0; i < 8 * size; i++) {
		unsigned bit = data[i / 8] >> i % 8 & 1;

		crc = crc << 1 ^ (crc >> 31 != bit ? 0x1edc6f41 : 0);
	}
	for (int i = 0; i < 32; i++)
		reversed |= (crc >> i & 1) << (31 - i);
	return ~reversed;
}

static void put_crc(unsigned char *data, size_t size, size_t at)
{
	unsigned crc;

	memset(data + at, 0, 4);
	crc = crc32c(data, size);
	for (int i = 0; i < 4; i++)
		data[at + (size_t)i] = (unsigned char)(crc >> (24 - 8 * i));
}

/* Whether a header's TLVs are valid but for the checksum. @ret_crc: its index, or 0. */
static bool want_tlvs(const unsigned char *data, size_t at, size_t end, size_t *ret_crc)
{
	*ret_crc = 0;
	while (at != end) {
		size_t left = end - at, len;

		if (left < 3)
			return false;
		len = data[at + 1] * 256U + data[at + 2];
		if (left < 3 + len)
			return false;
		if (data[at] == 3 && (len != 4 || *ret_crc))
			return false;
		if (data[at] == 3)
			*ret_crc = at + 3;
		at += 3 + len;
	}
	return true;
}

static bool crc_is_right(const unsigned char *data, size_t end, size_t crc)
{
	unsigned char copy[CC_HEADER_MAX];

	memcpy(copy, data, end);
	put_crc(copy, end, crc);
	return !memcmp(copy, data, end);
}

/* @ret_crc: the index of the checksum, if the header is valid or would be with the right one. */
static void want_binary(const unsigned char *data, size_t size, struct result *want,
			size_t *ret_crc)
{
	static const size_t lengths[16] = { 0, 12, 36, 216 };
	size_t end, tlv = 16;
	bool local, known;

	want->origin = size < 16 ? CC_ORIGIN_SPLIT : CC_ORIGIN_MALFORMED;
	local = size > 12 && data[12] == 0x20;
	if (size > 12 && !local && data[12] != 0x21)
		want->origin = CC_ORIGIN_MALFORMED;
	known = size > 13 && data[13] < 0x40;
	if (size > 13 && !local && (!known || data[13] % 16 > 1))
		want->origin = CC_ORIGIN_MALFORMED;
	if (size < 16 || (!local && (data[12] != 0x21 || !known || data[13] % 16 > 1)))
		return;
	end = 16 + data[14] * 256U + data[15];
	if (end > CC_HEADER_MAX)
		return;
	tlv += lengths[data[13] / 16];
	if (!local && tlv > end)
		return;
	if (size < end) {
		want->origin = CC_ORIGIN_SPLIT;
		return;
	}
	if (local && (!known || tlv > end))
		tlv = end;
	if (!want_tlvs(data, tlv, end, ret_crc))
		return;
	if (*ret_crc && !crc_is_right(data, end, *ret_crc))
		return;
	if (!local && data[13] == 0x11)
		set_address(want, AF_INET, data + 16);
	else if (!local && data[13] == 0x21)
		set_address(want, AF_INET6, data + 16);
	else
		want->origin = CC_ORIGIN_PROXY;
}

static void want(const unsigned char *data, size_t size, struct result *ret, size_t *ret_crc)
{
	static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";

	*ret = (struct result){ .origin = CC_ORIGIN_ABSENT };
	*ret_crc = 0;
	if (starts_with(data, size, "PROXY", 5))
		want_text(data, size, ret);
	else if (starts_with(data, size, signature, 12))
		want_binary(data, size, ret, ret_crc);
	else if (is_part(data, size, "PROXY", 5) || is_part(data, size, signature, 12))
		ret->origin = CC_ORIGIN_SPLIT;
}

/* --- what is read --------------------------------------------------------------------------- */

/* Read @size bytes. The rest of the header is @fill: it must not matter. */
static void got(const unsigned char *data, size_t size, int fill, struct result *ret)
{
	struct proxy_header *header = malloc(sizeof(*header));

	check(header);
	memset(header, fill, sizeof(*header));
	header->size = (__u32)size;
	memcpy(header->bytes, data, size);
	*ret = (struct result){ .origin = proxy_header_read(header) };
	check(header->size == size);
	check(!memcmp(header->bytes, data, size));
	if (ret->origin == CC_ORIGIN_HEADER) {
		ret->family = (int)header->family;
		memcpy(ret->addr, header->addr, sizeof(ret->addr));
	}
	free(header);
}

static bool same(const struct result *a, const struct result *b)
{
	_Static_assert(sizeof(*a) == 2 * sizeof(int) + 16, "no padding, memcmp() compares all");
	return !memcmp(a, b, sizeof(*a));
}

/* How many bytes a program loads that asks with the first 16. */
static size_t loaded(const unsigned char *data, size_t size)
{
	struct proxy_header *header = calloc(1, sizeof(*header));
	size_t most;

	check(header);
	header->size = (__u32)(size < 16 ? size : 16);
	memcpy(header->bytes, data, header->size);
	most = proxy_header_most(header);
	check(most >= header->size && most <= CC_HEADER_MAX);
	free(header);
	return most < size ? most : size;
}

/* Compare with the rules. @ret_crc: as of want_binary(). */
static void check_rules(const unsigned char *data, size_t size, struct result *ret, size_t *ret_crc)
{
	struct result wanted, filled;

	want(data, size, &wanted, ret_crc);
	got(data, size, 0, ret);
	check(same(ret, &wanted));
	got(data, size, 0xa5, &filled);
	check(same(&filled, ret));
	got(data, size, '1', &filled);
	check(same(&filled, ret));
	got(data, loaded(data, size), '\n', &filled);
	check(same(&filled, ret));
}

/* Cut an input. Of a long one, not every cut is tried. */
static void check_cuts(const unsigned char *data, size_t size, const struct result *whole)
{
	size_t step = 1 + size / 256;
	bool split = true;

	for (size_t cut = 0; cut < size; cut += cut < 128 ? 1 : step) {
		struct result result;

		got(data, cut, '\n', &result);
		if (result.origin != CC_ORIGIN_SPLIT)
			split = false;
		check(split || same(&result, whole));
	}
}

static void try_input(const unsigned char *data, size_t size, size_t *ret_crc)
{
	struct result result;

	check_rules(data, size, &result, ret_crc);
	check_cuts(data, size, &result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char copy[CC_HEADER_MAX];
	size_t crc, end;

	if (size > sizeof(copy))
		size = sizeof(copy);
	if (size)
		memcpy(copy, data, size);
	try_input(copy, size, &crc);
	if (!crc)
		return 0;
	end = 16 + copy[14] * 256U + copy[15];
	put_crc(copy, end, crc);
	try_input(copy, size, &crc);
	check(crc);
	return 0;
}
