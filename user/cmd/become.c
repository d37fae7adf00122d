// SPDX-License-Identifier: BSD-2-Clause
/*
 * become.c - the programs that are apart from the command, because they need other libraries.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

/* The directory of this program, in @buf; "." if that is unknown. */
static const char *own_directory(char *buf)
{
	ssize_t n = readlink("/proc/self/exe", buf, PATH_MAX - 1);

	if (n <= 0)
		return ".";
	buf[n] = '\0';
	*strrchr(buf, '/') = '\0';
	return buf;
}

int become(const char *program, const char *first, const char *second, const char *remedy)
{
	static const char *const places[] = { ".", "../lib/conncount" };
	char self[PATH_MAX], path[PATH_MAX + 64];
	const char *own = own_directory(self);

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		snprintf(path, sizeof(path), "%s/%s/%s", own, places[i], program);
		execl(path, program, first, second, (char *)NULL);
		if (errno != ENOENT)
			break;
	}
	report("%s: cannot be run: %s (%s)", path, strerror(errno), remedy);
	return STATUS_FAILED;
}
