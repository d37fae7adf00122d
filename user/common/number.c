// SPDX-License-Identifier: BSD-2-Clause
/*
 * number.c - numbers in a text.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "number.h"

bool number_read(const char **text, uint32_t most, uint32_t *ret)
{
	unsigned long number;
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	errno = 0;
	number = strtoul(*text, &end, 10);
	if (errno || number > most)
		return false;
	*text = end;
	*ret = (uint32_t)number;
	return true;
}
