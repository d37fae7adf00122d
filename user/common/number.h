/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * number.h - numbers in a text.
 */
#ifndef CONNCOUNT_NUMBER_H
#define CONNCOUNT_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * number_read() - read digits, up to @most, from *@text, and move it past them.
 * Returns false if there are none, or the number is too large: then nothing is changed.
 */
bool number_read(const char **text, uint32_t most, uint32_t *ret);

#endif
