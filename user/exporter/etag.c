// SPDX-License-Identifier: BSD-2-Clause
/*
 * etag.c - whether a client has an answer already.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "etag.h"

char *etag_of(const void *data, size_t size, char *buf)
{
	const unsigned char *at = data;
	uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ at[i]) * 0x100000001b3;
	snprintf(buf, ETAG_SIZE, "\"%016" PRIx64 "\"", hash);
	return buf;
}

bool etag_matches(const char *field, const char *etag)
{
	if (!field)
		return false;
	/* Its quotes make a tag end where it ends. */
	return strstr(field, etag) || !strcmp(field + strspn(field, " \t"), "*");
}
