/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * page.h - the files of the page, which the program contains.
 */
#ifndef CONNCOUNT_PAGE_H
#define CONNCOUNT_PAGE_H

#include <stddef.h>

struct page_file {
	const char *path; /* that it is served at */
	const char *type; /* as in Content-Type */
	const unsigned char *data;
	size_t size;
};

/* page_find() - the file that is served at @path; NULL if there is none. */
const struct page_file *page_find(const char *path);

#endif
