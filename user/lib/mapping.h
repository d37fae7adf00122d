/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mapping.h - map the one value of an mmap-able array.
 */
#ifndef CONNCOUNT_MAPPING_H
#define CONNCOUNT_MAPPING_H

#include <stddef.h>

/*
 * map_value() - map the first @size bytes of the array @fd, shared, with the @protection of
 * mmap(2). Returns NULL with errno on failure; otherwise the caller must call unmap_value().
 */
void *map_value(int fd, size_t size, int protection);

/* unmap_value() - @size as given to map_value(); a NULL @value is ignored. */
void unmap_value(void *value, size_t size);

#endif
