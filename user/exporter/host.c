// SPDX-License-Identifier: BSD-2-Clause
/*
 * host.c - whether a page of another site has asked.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "host.h"

/* Whether a name, without a port, is that of an address or of this host. */
static bool is_own(const char *name)
{
	static const char local[] = "localhost";
	size_t len = strlen(name);
	struct in_addr addr;

	if (len >= strlen(local) && !strcasecmp(name + len - strlen(local), local))
		return len == strlen(local) || name[len - strlen(local) - 1] == '.';
	/* Only IPv6 addresses have brackets. */
	return !len || *name == '[' || inet_pton(AF_INET, name, &addr) == 1;
}

static bool is_loopback(int fd)
{
	struct sockaddr_storage addr;
	socklen_t size = sizeof(addr);
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&addr;

	if (getsockname(fd, (struct sockaddr *)&addr, &size))
		return false;
	if (addr.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		return v6->sin6_addr.s6_addr[12] == IN_LOOPBACKNET;
	if (addr.ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
	return addr.ss_family == AF_INET &&
	       ntohl(v4->sin_addr.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET;
}

bool host_is_foreign(int fd, const char *host)
{
	char name[256];

	if (!host)
		return false;
	snprintf(name, sizeof(name), "%s", host);
	if (*name != '[')
		name[strcspn(name, ":")] = '\0';
	return !is_own(name) && is_loopback(fd);
}
