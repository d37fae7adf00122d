// SPDX-License-Identifier: BSD-2-Clause
/*
 * parse - parse an address or a network as the library does.
 *
 *	parse cidr TEXT [PEER]	a network; PEER is the address of a connecting session
 *	parse address TEXT	a local address and port
 *
 * Prints the network, or the address and port, or "error: WHY" with exit status 1.
 */
#include <stdio.h>
#include <string.h>

#include "conncount.h"

static int fail(const char *why)
{
	printf("error: %s\n", why);
	return 1;
}

int main(int argc, char **argv)
{
	struct conncount_cidr cidr, peer;
	char text[CONNCOUNT_CIDR_SIZE];
	const char *why = NULL;
	uint16_t port;

	if (argc == 3 && !strcmp(argv[1], "address")) {
		if (conncount_address_parse(argv[2], &cidr, &port, &why))
			return fail(why);
		printf("%s %u\n", conncount_cidr_format(&cidr, text), port);
		return 0;
	}
	if (argc < 3 || argc > 4 || strcmp(argv[1], "cidr"))
		return 2;
	if (argc == 4 && conncount_cidr_parse(argv[3], NULL, &peer, &why))
		return 2;
	if (conncount_cidr_parse(argv[2], argc == 4 ? &peer : NULL, &cidr, &why))
		return fail(why);
	puts(conncount_cidr_format(&cidr, text));
	return 0;
}
