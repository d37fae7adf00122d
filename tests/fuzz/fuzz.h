/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz.h - what the fuzz targets share.
 *
 * A target does not only wait for a crash: it asserts what the product promises, with
 * check(). A promise that is broken ends the process, as a crash would, so libFuzzer keeps
 * the input.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* To the descriptor: the stream may be one that a target has made, to see what is written. */
#define check(cond)                                                                             \
	do {                                                                                    \
		if (!(cond)) {                                                                  \
			dprintf(STDERR_FILENO, "fuzz: %s:%d: not so: %s\n", __FILE__, __LINE__, \
				#cond);                                                         \
			abort();                                                                \
		}                                                                               \
	} while (0)

/* A string of exactly these bytes, so that AddressSanitizer sees a read past its NUL. */
static inline char *string_of(const void *data, size_t size)
{
	char *text = malloc(size + 1);

	check(text);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

#endif
