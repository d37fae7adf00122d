// SPDX-License-Identifier: BSD-2-Clause
/*
 * mapping.c - map the one value of an mmap-able array.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "mapping.h"

static size_t whole_pages(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

void *map_value(int fd, size_t size, int protection)
{
	void *value = mmap(NULL, whole_pages(size), protection, MAP_SHARED, fd, 0);

	return value == MAP_FAILED ? NULL : value;
}

void unmap_value(void *value, size_t size)
{
	if (value)
		munmap(value, whole_pages(size));
}
