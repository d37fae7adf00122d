// SPDX-License-Identifier: BSD-2-Clause
/*
 * proxy_header - read PROXY headers as the BPF program does.
 *
 *	proxy_header cuts	of each number of its first bytes: what these are
 *	proxy_header families	with each value of the two bytes 12 and 13: what it is
 *	proxy_header most	how many bytes need to be loaded, going by the first 16
 *
 * Each line of the input is the beginning of a connection, in hexadecimal, and each line of the
 * output has the result. What it is: identified ADDRESS, proxy, absent, malformed, or split.
 * Numbers with the same result are joined: FIRST-LAST: WHAT. The bytes after those that are read
 * must not matter: each cut is read with several.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "../fuzz/proxy_header_user.h"

enum { WHAT_SIZE = 64 };

static __u8 input[CC_HEADER_MAX];
static __u32 input_size;

static void describe(int origin, const struct proxy_header *header, char *ret)
{
	static const char *const origins[CC_ORIGINS] = {
		[CC_ORIGIN_HEADER] = "identified",   [CC_ORIGIN_PROXY] = "proxy",
		[CC_ORIGIN_ABSENT] = "absent",       [CC_ORIGIN_SPLIT] = "split",
		[CC_ORIGIN_MALFORMED] = "malformed",
	};
	int family = header->family == CC_IPV4 ? AF_INET : AF_INET6;
	char addr[INET6_ADDRSTRLEN] = "";

	if (origin == CC_ORIGIN_HEADER)
		inet_ntop(family, header->addr, addr, sizeof(addr));
	snprintf(ret, WHAT_SIZE, "%s%s%s", origins[origin], *addr ? " " : "", addr);
}

/* What the first @size bytes of the input are. All other bytes of the header are @fill. */
static void read_filled(__u32 size, __u8 fill, char *ret)
{
	static struct proxy_header header;

	memset(&header, fill, sizeof(header));
	header.size = size;
	memcpy(header.bytes, input, size);
	describe(proxy_header_read(&header), &header, ret);
}

static int read_first(__u32 size, char *ret)
{
	static const __u8 fills[] = { '\n', ' ', '1', 0, 0xff };
	char what[WHAT_SIZE];

	read_filled(size, '\r', ret);
	for (size_t i = 0; i < sizeof(fills); i++) {
		read_filled(size, fills[i], what);
		if (strcmp(what, ret)) {
			printf("%s, or with other bytes after %u: %s\n", ret, size, what);
			return -1;
		}
	}
	return 0;
}

/* Print @from to @to - 1, which have the same result. */
static void print_run(const char *format, __u32 from, __u32 to, const char *what)
{
	printf(format, from);
	if (to - from > 1) {
		putchar('-');
		printf(format, to - 1);
	}
	printf(": %s", what);
}

static int cuts(void)
{
	char what[WHAT_SIZE], run[WHAT_SIZE] = "";
	__u32 from = 0;

	for (__u32 size = 0; size <= input_size; size++) {
		if (read_first(size, what))
			return 1;
		if (size && strcmp(what, run)) {
			print_run("%u", from, size, run);
			printf(", ");
			from = size;
		}
		strcpy(run, what);
	}
	print_run("%u", from, input_size + 1, run);
	return 0;
}

static int families(void)
{
	char what[WHAT_SIZE], run[WHAT_SIZE] = "";
	__u32 from = 0;

	for (__u32 value = 0; value <= 0xffff; value++) {
		input[12] = value >> 8;
		input[13] = value & 0xff;
		read_filled(input_size, 0, what);
		if (value && strcmp(what, run)) {
			print_run("%04x", from, value, run);
			printf(", ");
			from = value;
		}
		strcpy(run, what);
	}
	print_run("%04x", from, 0x10000, run);
	return 0;
}

static int most(void)
{
	static struct proxy_header header;

	header.size = input_size < 16 ? input_size : 16;
	memcpy(header.bytes, input, header.size);
	printf("%u", proxy_header_most(&header));
	return 0;
}

/* Returns whether a line is hexadecimal, and short enough. */
static bool read_input(const char *line)
{
	unsigned byte;

	for (input_size = 0; sscanf(line, "%2x", &byte) == 1; line += 2) {
		if (input_size == sizeof(input))
			return false;
		input[input_size++] = byte;
	}
	return *line == '\n';
}

int main(int argc, char **argv)
{
	static char line[2 * CC_HEADER_MAX + 16];
	int (*print)(void) = NULL;

	if (argc == 2 && !strcmp(argv[1], "cuts"))
		print = cuts;
	else if (argc == 2 && !strcmp(argv[1], "families"))
		print = families;
	else if (argc == 2 && !strcmp(argv[1], "most"))
		print = most;
	if (!print)
		return 2;
	while (fgets(line, sizeof(line), stdin)) {
		if (!read_input(line) || print())
			return 1;
		putchar('\n');
	}
	return 0;
}
