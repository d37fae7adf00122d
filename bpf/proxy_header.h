/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * proxy_header.h - read a PROXY header, version 1 or 2, as
 * https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt has it.
 *
 * The BPF program that reads headers and its fuzzer compile the same text. The including file
 * provides bool, bpf_loop() and __noinline: vmlinux.h and bpf_helpers.h in BPF.
 *
 * Loops over bytes are calls of bpf_loop(), and their state is in struct proxy_header, which must
 * be in a map. On a stack the verifier would follow each value that the state can have, and give
 * up. It knows nothing of a value from a map, so it looks at each step once.
 */
#ifndef CONNCOUNT_PROXY_HEADER_H
#define CONNCOUNT_PROXY_HEADER_H

#include "abi.h"

/* An address or a port in the text of version 1. Numbers are in host byte order. */
struct proxy_text {
	__u32 number;  /* of the digits at hand: hexadecimal in a group of IPv6, else decimal */
	__u32 digits;  /* how many these are */
	__u32 quad;    /* the finished octets of a dotted quad */
	__u32 octets;  /* how many these are */
	__u32 groups;  /* finished groups of IPv6 */
	__u32 colons;  /* how many colons there are since the last digit */
	__u32 gap;     /* 1 after "::", which stands for one group or more */
	__u16 head[8]; /* the groups before the gap, from the left */
	__u16 tail[8]; /* those after it, up to the right end */
};

/* The first bytes of a connection, and the client that they name. */
struct proxy_header {
	__u32 size;     /* how many bytes there are, at most CC_HEADER_MAX */
	__u32 family;   /* out, if identified: CC_IPV4 or CC_IPV6 */
	__be32 addr[4]; /* out, if identified: IPv4 in the first word, the rest 0 */

	/* The state of proxy_header_read(), which sets it. */
	__u32 origin; /* version 1: CC_ORIGIN_SPLIT until its end or an error is found */
	__u32 field;  /* version 1: TEXT_*, where the next byte belongs */
	__u32 ipv6;   /* version 1: whether its addresses are IPv6 */
	struct proxy_text text;
	__u32 end; /* version 2: bytes of the header */
	__u32 tlv; /* version 2: index of the next TLV */
	__u32 crc; /* version 2: index of the checksum; 0: the header has none */
	__u32 sum; /* version 2: the checksum of the bytes so far */

	__u8 bytes[CC_HEADER_MAX];
};

_Static_assert((CC_HEADER_MAX & (CC_HEADER_MAX - 1)) == 0, "proxy_byte() masks an index with it");

__u32 proxy_header_most(const struct proxy_header *header);
int proxy_header_read(struct proxy_header *header);

/* A byte of the header. The mask changes no index: it shows the verifier that it is in range. */
static inline __u8 proxy_byte(const struct proxy_header *header, __u32 i)
{
	return header->bytes[i & (CC_HEADER_MAX - 1)];
}

enum {
	PROXY_DIFFERS,
	PROXY_MATCHES,
	PROXY_MATCHES_SO_FAR, /* all bytes that have come */
};

/* Compare the bytes from @at on with @n bytes. Returns PROXY_*. */
static inline int proxy_compare(const struct proxy_header *header, __u32 at, const char *text,
				__u32 n)
{
	for (__u32 i = 0; i < n; i++) {
		if (at + i >= header->size)
			return PROXY_MATCHES_SO_FAR;
		if (proxy_byte(header, at + i) != (__u8)text[i])
			return PROXY_DIFFERS;
	}
	return PROXY_MATCHES;
}

/* Set the client: an IPv6 address in network byte order. An IPv4-mapped one becomes IPv4. */
static inline void proxy_set_ipv6(struct proxy_header *header, const __u8 *addr)
{
	bool mapped = addr[10] == 0xff && addr[11] == 0xff;

	for (int i = 0; i < 10; i++)
		mapped = mapped && !addr[i];
	__builtin_memset(header->addr, 0, sizeof(header->addr));
	header->family = mapped ? CC_IPV4 : CC_IPV6;
	if (mapped)
		__builtin_memcpy(header->addr, addr + 12, 4);
	else
		__builtin_memcpy(header->addr, addr, 16);
}

/* Set the client: an IPv4 address in network byte order. */
static inline void proxy_set_ipv4(struct proxy_header *header, const __u8 *addr)
{
	__builtin_memset(header->addr, 0, sizeof(header->addr));
	header->family = CC_IPV4;
	__builtin_memcpy(header->addr, addr, 4);
}

/* --- version 1: a line of text ---------------------------------------------------------------
 *
 *	PROXY TCP4 192.0.2.1 192.0.2.25 40000 25\r\n
 *	PROXY TCP6 2001:db8::1 2001:db8::25 40000 25\r\n
 *	PROXY UNKNOWN anything\r\n
 *
 * The functions that take a byte return false if no valid header goes on so.
 */

enum {
	TEXT_MOST = 107,  /* bytes of the longest line, with CR and LF */
	TEXT_PROXY = 5,   /* bytes of "PROXY" */
	TEXT_FIELDS = 11, /* bytes of "PROXY TCP4 " */
};

enum {
	TEXT_SOURCE, /* the client's address */
	TEXT_DESTINATION,
	TEXT_SOURCE_PORT,
	TEXT_DESTINATION_PORT,
	TEXT_LF,
};

/* Append a digit to a decimal number, which has no leading zeros and is at most @most. */
static inline bool text_decimal(struct proxy_text *text, __u8 c, __u32 most)
{
	__u32 digit = (__u32)c - '0';

	if (digit > 9 || (text->digits && !text->number))
		return false;
	text->number = 10 * text->number + digit;
	text->digits++;
	return text->number <= most;
}

static inline bool text_octet_end(struct proxy_text *text)
{
	if (!text->digits)
		return false;
	text->quad = text->quad << 8 | text->number;
	text->octets++;
	text->number = text->digits = 0;
	return true;
}

static inline bool text_quad(struct proxy_text *text, __u8 c)
{
	if (c == '.')
		return text->octets < 3 && text_octet_end(text);
	return text_decimal(text, c, 255);
}

static inline bool text_quad_end(struct proxy_text *text)
{
	return text->octets == 3 && text_octet_end(text);
}

/* Append a group to an IPv6 address. */
static inline void text_group_add(struct proxy_text *text, __u16 group)
{
	if (text->gap) {
		for (int i = 0; i < 7; i++)
			text->tail[i] = text->tail[i + 1];
		text->tail[7] = group;
	} else {
		text->head[text->groups & 7] = group;
	}
	text->groups++;
	text->number = text->digits = 0;
}

/* Whether an IPv6 address has no room for @n more groups. */
static inline bool text_lacks_room(const struct proxy_text *text, __u32 n)
{
	return text->groups + text->gap + n > 8;
}

static inline bool text_colon(struct proxy_text *text)
{
	if (text->digits) {
		text_group_add(text, text->number);
		text->colons = 1;
		return !text_lacks_room(text, 1);
	}
	if (text->gap)
		return false;
	/* The second one in a row. The first can also be at the beginning of the address. */
	if (text->colons)
		text->gap = 1;
	text->colons++;
	return true;
}

/* The value of a hexadecimal digit; 16 if it is none. */
static inline __u32 text_hexadecimal(__u8 c)
{
	__u32 digit = (__u32)c - '0', letter = (__u32)(c | 0x20) - 'a';

	if (digit < 10)
		return digit;
	return letter < 6 ? 10 + letter : 16;
}

static inline bool text_group(struct proxy_text *text, __u8 c)
{
	__u32 digit = text_hexadecimal(c);

	if (digit > 15 || text->digits == 4)
		return false;
	if (!text->digits) {
		bool lone_colon = text->colons == 1 && !text->groups;

		if (lone_colon || text_lacks_room(text, 1))
			return false;
	}
	text->number = text->number << 4 | digit;
	text->digits++;
	text->colons = 0;
	return true;
}

/* The digits at hand are not a group, but the first octet of a dotted quad: read them again. */
static inline bool text_group_is_octet(struct proxy_text *text)
{
	__u32 hundreds = text->number >> 8, tens = text->number >> 4 & 15;
	__u32 ones = text->number & 15;

	if (text->digits == 0 || text->digits > 3 || tens > 9 || ones > 9)
		return false;
	if (text->digits > 1 && !(text->number >> 4 * (text->digits - 1)))
		return false;
	/* The quad stands for two groups. Without a gap it must be the last two. */
	if (text_lacks_room(text, 2) || (!text->gap && text->groups != 6))
		return false;
	text->number = 100 * hundreds + 10 * tens + ones;
	return text->number <= 255 && text_octet_end(text);
}

static inline bool text_ipv6(struct proxy_text *text, __u8 c)
{
	if (text->octets)
		return text_quad(text, c);
	if (c == ':')
		return text_colon(text);
	if (c == '.')
		return text_group_is_octet(text);
	return text_group(text, c);
}

static inline bool text_ipv6_end(struct proxy_text *text)
{
	if (text->octets) {
		if (!text_quad_end(text))
			return false;
		text_group_add(text, text->quad >> 16);
		text_group_add(text, text->quad & 0xffff);
	} else if (text->digits) {
		text_group_add(text, text->number);
	} else if (text->colons != 2) {
		return false;
	}
	return text->gap || text->groups == 8;
}

static inline void text_set_client(struct proxy_header *header)
{
	const struct proxy_text *text = &header->text;
	__u8 addr[16];

	if (!header->ipv6) {
		for (int i = 0; i < 4; i++)
			addr[i] = text->quad >> (24 - 8 * i);
		proxy_set_ipv4(header, addr);
		return;
	}
	for (int i = 0; i < 8; i++) {
		__u16 group = text->head[i] | text->tail[i];

		addr[2 * i] = group >> 8;
		addr[2 * i + 1] = group & 0xff;
	}
	proxy_set_ipv6(header, addr);
}

/* What ends a field has come. */
static inline bool text_field_end(struct proxy_header *header)
{
	struct proxy_text *text = &header->text;
	bool valid = text->digits;

	if (header->field <= TEXT_DESTINATION)
		valid = header->ipv6 ? text_ipv6_end(text) : text_quad_end(text);
	if (valid && header->field == TEXT_SOURCE)
		text_set_client(header);
	__builtin_memset(text, 0, sizeof(*text));
	header->field++;
	return valid;
}

static inline bool text_field(struct proxy_header *header, __u8 c)
{
	if (c == (header->field == TEXT_DESTINATION_PORT ? '\r' : ' '))
		return text_field_end(header);
	if (header->field >= TEXT_SOURCE_PORT)
		return text_decimal(&header->text, c, 65535);
	return header->ipv6 ? text_ipv6(&header->text, c) : text_quad(&header->text, c);
}

/* Read the next byte of the fields; for bpf_loop(). */
static long text_next(__u32 index, void *context)
{
	struct proxy_header *header = *(struct proxy_header **)context;
	__u8 c = proxy_byte(header, TEXT_FIELDS + index);

	if (header->field == TEXT_LF)
		header->origin = c == '\n' ? CC_ORIGIN_HEADER : CC_ORIGIN_MALFORMED;
	else if (!text_field(header, c))
		header->origin = CC_ORIGIN_MALFORMED;
	return header->origin != CC_ORIGIN_SPLIT;
}

/* Whether the next byte ends the line; for bpf_loop(). A line does not begin with LF. */
static long text_find_end(__u32 index, void *context)
{
	struct proxy_header *header = *(struct proxy_header **)context;

	if (proxy_byte(header, index + 1) != '\n' || proxy_byte(header, index) != '\r')
		return 0;
	header->origin = CC_ORIGIN_PROXY;
	return 1;
}

/* Read a header that begins with "PROXY". Returns CC_ORIGIN_*. */
static inline int text_read(struct proxy_header *header)
{
	static const char tcp4[] = " TCP4 ", tcp6[] = " TCP6 ", unknown[] = " UNKNOWN";
	__u32 size = header->size < TEXT_MOST ? header->size : TEXT_MOST;
	int is_ipv4 = proxy_compare(header, TEXT_PROXY, tcp4, sizeof(tcp4) - 1);
	int is_ipv6 = proxy_compare(header, TEXT_PROXY, tcp6, sizeof(tcp6) - 1);
	int is_unknown = proxy_compare(header, TEXT_PROXY, unknown, sizeof(unknown) - 1);

	header->origin = CC_ORIGIN_SPLIT;
	header->field = TEXT_SOURCE;
	header->ipv6 = is_ipv6 == PROXY_MATCHES;
	__builtin_memset(&header->text, 0, sizeof(header->text));
	if (is_unknown == PROXY_MATCHES)
		bpf_loop(size - 1, text_find_end, &header, 0);
	else if (is_ipv4 == PROXY_MATCHES || is_ipv6 == PROXY_MATCHES)
		bpf_loop(size - TEXT_FIELDS, text_next, &header, 0);
	else if (is_unknown == PROXY_DIFFERS && is_ipv4 == PROXY_DIFFERS &&
		 is_ipv6 == PROXY_DIFFERS)
		return CC_ORIGIN_MALFORMED;
	if (header->origin == CC_ORIGIN_SPLIT && size == TEXT_MOST)
		return CC_ORIGIN_MALFORMED;
	return header->origin;
}

/* --- version 2: binary ------------------------------------------------------------------------
 *
 * 12 bytes of signature; version and command; family and transport; the length of what follows, in
 * network byte order; the addresses; and TLVs: a type, a length of two bytes, and a value.
 */

enum {
	BINARY_SIGNATURE = 12, /* bytes of the signature */
	BINARY_COMMAND = 12,   /* index of version and command */
	BINARY_FAMILY = 13,    /* index of family and transport */
	BINARY_LENGTH = 14,    /* index of the length */
	BINARY_FIXED = 16,     /* bytes up to the addresses */
	BINARY_TLV = 3,        /* bytes of a TLV without its value */
	BINARY_CRC = 4,        /* bytes of a checksum */
};

enum {
	BINARY_LOCAL = 0x20, /* the proxy's own connection: the header names no client */
	BINARY_PROXY = 0x21,
	BINARY_STREAM = 1,
	BINARY_INET = 1,
	BINARY_INET6 = 2,
	BINARY_UNIX = 3,
	BINARY_TYPE_CRC32C = 3,
};

static inline __u32 binary_length(const struct proxy_header *header, __u32 at)
{
	return (__u32)proxy_byte(header, at) << 8 | proxy_byte(header, at + 1);
}

/*
 * Go on to the next TLV; for bpf_loop(). Stays at one that is malformed, and goes past the end of
 * the header if a TLV does.
 */
static long binary_next_tlv(__u32 index, void *context)
{
	struct proxy_header *header = *(struct proxy_header **)context;
	__u32 value = header->tlv + BINARY_TLV, length;

	(void)index;
	if (value > header->end)
		return 1;
	length = binary_length(header, header->tlv + 1);
	if (proxy_byte(header, header->tlv) == BINARY_TYPE_CRC32C) {
		/* Of two checksums, neither could be computed. */
		if (header->crc || length != BINARY_CRC)
			return 1;
		header->crc = value;
	}
	header->tlv = value + length;
	return 0;
}

/* Add the next byte to the CRC32C; for bpf_loop(). The checksum's own bytes count as 0. */
static long binary_sum(__u32 index, void *context)
{
	struct proxy_header *header = *(struct proxy_header **)context;
	__u32 sum = header->sum;

	if (index - header->crc >= BINARY_CRC)
		sum ^= proxy_byte(header, index);
	for (int bit = 0; bit < 8; bit++)
		sum = sum >> 1 ^ (sum & 1 ? 0x82f63b78 : 0);
	header->sum = sum;
	return 0;
}

static inline bool binary_crc_is_right(struct proxy_header *header)
{
	header->sum = ~0U;
	bpf_loop(header->end, binary_sum, &header, 0);
	return ~header->sum ==
	       (binary_length(header, header->crc) << 16 | binary_length(header, header->crc + 2));
}

static inline bool binary_tlvs_are_valid(struct proxy_header *header)
{
	header->crc = 0;
	bpf_loop(CC_HEADER_MAX / BINARY_TLV, binary_next_tlv, &header, 0);
	if (header->tlv != header->end)
		return false;
	return !header->crc || binary_crc_is_right(header);
}

/* Whether a PROXY command can have this family and transport. UNSPEC is 0 in both. */
static inline bool binary_family_is_valid(__u8 family)
{
	return family >> 4 <= BINARY_UNIX && (family & 15) <= BINARY_STREAM;
}

/* How many bytes the addresses of a family take. For an unknown one, more than a header can have.
 */
static inline __u32 binary_addresses(__u8 family)
{
	switch (family >> 4) {
	case 0:
		return 0;
	case BINARY_INET:
		return 2 * (4 + 2);
	case BINARY_INET6:
		return 2 * (16 + 2);
	case BINARY_UNIX:
		return 2 * 108;
	default:
		return CC_HEADER_MAX;
	}
}

/* Set the client, if this family and transport have one. Returns CC_ORIGIN_*. */
static inline int binary_set_client(struct proxy_header *header, __u8 family)
{
	if (family == (BINARY_INET << 4 | BINARY_STREAM))
		proxy_set_ipv4(header, header->bytes + BINARY_FIXED);
	else if (family == (BINARY_INET6 << 4 | BINARY_STREAM))
		proxy_set_ipv6(header, header->bytes + BINARY_FIXED);
	else
		return CC_ORIGIN_PROXY;
	return CC_ORIGIN_HEADER;
}

/* Read a header that begins with the signature. Returns CC_ORIGIN_*. */
static inline int binary_read(struct proxy_header *header)
{
	__u8 command = header->bytes[BINARY_COMMAND], family = header->bytes[BINARY_FAMILY];
	__u32 addresses = binary_addresses(family);

	/* A byte is judged as soon as it has come. */
	if (header->size <= BINARY_COMMAND)
		return CC_ORIGIN_SPLIT;
	if (command != BINARY_LOCAL && command != BINARY_PROXY)
		return CC_ORIGIN_MALFORMED;
	if (header->size <= BINARY_FAMILY)
		return CC_ORIGIN_SPLIT;
	if (command == BINARY_PROXY && !binary_family_is_valid(family))
		return CC_ORIGIN_MALFORMED;
	if (header->size < BINARY_FIXED)
		return CC_ORIGIN_SPLIT;
	header->end = BINARY_FIXED + binary_length(header, BINARY_LENGTH);
	header->tlv = BINARY_FIXED + addresses;
	if (header->end > CC_HEADER_MAX)
		return CC_ORIGIN_MALFORMED;
	if (header->tlv > header->end) {
		if (command == BINARY_PROXY)
			return CC_ORIGIN_MALFORMED;
		/* LOCAL: its family means nothing, and then it is not known where TLVs begin. */
		header->tlv = header->end;
	}
	if (header->size < header->end)
		return CC_ORIGIN_SPLIT;
	if (!binary_tlvs_are_valid(header))
		return CC_ORIGIN_MALFORMED;
	return command == BINARY_LOCAL ? CC_ORIGIN_PROXY : binary_set_client(header, family);
}

/* --- both versions ---------------------------------------------------------------------------- */

static const char proxy_text_begin[] = "PROXY";
static const char proxy_binary_begin[] = "\r\n\r\n\0\r\nQUIT\n";

/*
 * proxy_header_most() - how many bytes proxy_header_read() needs at most.
 * @header: `bytes` has the first 16 bytes of the connection, or as many as there are, and `size`
 * says how many.
 *
 * Returns the length of a header of version 2, that of the longest header of version 1, or `size`
 * if more bytes would change nothing. At most CC_HEADER_MAX.
 */
__noinline __u32 proxy_header_most(const struct proxy_header *header)
{
	__u32 end;

	if (!header) /* never; the check is for the verifier */
		return 0;
	if (proxy_compare(header, 0, proxy_text_begin, TEXT_PROXY) == PROXY_MATCHES)
		return TEXT_MOST;
	if (header->size < BINARY_FIXED ||
	    proxy_compare(header, 0, proxy_binary_begin, BINARY_SIGNATURE) != PROXY_MATCHES)
		return header->size;
	end = BINARY_FIXED + binary_length(header, BINARY_LENGTH);
	return end < CC_HEADER_MAX ? end : CC_HEADER_MAX;
}

/*
 * proxy_header_read() - read the header with which a connection begins.
 * @header: `bytes` has the first bytes of the connection, and `size` says how many. What follows
 * the header is not looked at. Gets the client: the source address of the header.
 *
 * A global function, so that the verifier checks it once, apart from its caller.
 *
 * Returns
 *	CC_ORIGIN_HEADER     `family` and `addr` are set
 *	CC_ORIGIN_PROXY      a valid header that names no TCP client: UNKNOWN, LOCAL, UNSPEC or UNIX
 *	CC_ORIGIN_ABSENT     the bytes differ from "PROXY" and from the signature of version 2
 *	CC_ORIGIN_MALFORMED  they begin so, but no header goes on like that; or it is longer than
 *	                     its version's limit, which is CC_HEADER_MAX for version 2
 *	CC_ORIGIN_SPLIT      they are a part of a header, as far as can be seen: the TLVs of version
 *	                     2 are checked once all have come
 * `family` and `addr` have no meaning unless it returns CC_ORIGIN_HEADER.
 */
__noinline int proxy_header_read(struct proxy_header *header)
{
	int text, binary;

	if (!header) /* never; the check is for the verifier */
		return CC_ORIGIN_ABSENT;
	text = proxy_compare(header, 0, proxy_text_begin, TEXT_PROXY);
	binary = proxy_compare(header, 0, proxy_binary_begin, BINARY_SIGNATURE);
	if (text == PROXY_MATCHES)
		return text_read(header);
	if (binary == PROXY_MATCHES)
		return binary_read(header);
	if (text == PROXY_DIFFERS && binary == PROXY_DIFFERS)
		return CC_ORIGIN_ABSENT;
	return CC_ORIGIN_SPLIT;
}

#endif
