// SPDX-License-Identifier: BSD-2-Clause
/*
 * window_text.c - windows of time as text.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conncount.h"

int conncount_window_parse(const char *text, struct conncount_window *ret_window)
{
	uint32_t number[2];

	for (int i = 0; i < 2; i++) {
		unsigned long value;
		char *end;

		text += strspn(text, " \t");
		if (*text < '0' || *text > '9')
			return -EINVAL;
		errno = 0;
		value = strtoul(text, &end, 10);
		if (errno || value > UINT32_MAX)
			return -EINVAL;
		number[i] = (uint32_t)value;
		text = end + strspn(end, " \t");
		if (*text != (i ? '\0' : ','))
			return -EINVAL;
		text += !i;
	}
	if (!number[0])
		return -EINVAL;
	*ret_window = (struct conncount_window){ .seconds = number[0], .windows = number[1] };
	return 0;
}

char *conncount_window_format(const struct conncount_window *window, char *buf)
{
	snprintf(buf, CONNCOUNT_WINDOW_SIZE, "%" PRIu32 ",%" PRIu32, window->seconds,
		 window->windows);
	return buf;
}
