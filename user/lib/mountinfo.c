// SPDX-License-Identifier: BSD-2-Clause
/*
 * mountinfo.c - the mounts that a process sees.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "mountinfo.h"

/* The kernel writes a blank, a tab, a newline and a backslash as \ and three octal digits. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (from[0] == '\\' && from[1] && from[2] && from[3]) {
			*to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 |
				       (from[3] - '0'));
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

/* Parse a line. Returns false if it is not a mount's. */
static bool parse(const char *line, struct mount_entry *ret)
{
	const char *rest = strstr(line, " - "); /* a blank in a path is written as \040 */
	const char *shared = strstr(line, " shared:");
	unsigned major, minor;

	if (!rest ||
	    sscanf(line, "%u %*u %u:%u %4095s %4095s", &ret->id, &major, &minor, ret->root,
		   ret->path) != 5 ||
	    sscanf(rest, " - %63s %63s", ret->type, ret->source) != 2)
		return false;
	unescape(ret->root);
	unescape(ret->path);
	ret->device = makedev(major, minor);
	ret->shared = shared && shared < rest;
	return true;
}

int mountinfo_each(const char *process, int (*visit)(const struct mount_entry *entry, void *arg),
		   void *arg)
{
	char path[64], *line = NULL;
	struct mount_entry entry;
	size_t size = 0;
	FILE *file;
	int ret = 0;

	snprintf(path, sizeof(path), "/proc/%s/mountinfo", process);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (!ret && getline(&line, &size, file) > 0)
		if (parse(line, &entry))
			ret = visit(&entry, arg);
	if (!ret && ferror(file))
		ret = -EIO;
	free(line);
	fclose(file);
	return ret;
}
