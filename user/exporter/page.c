// SPDX-License-Identifier: BSD-2-Clause
/*
 * page.c - the files of the page, which the program contains: so nothing has to be found at run
 * time, and the unit's sandbox needs no exception.
 */
#include <string.h>

#include "page.h"

/* The Makefile makes each .inc of the file in user/page/: its bytes, as numbers. */
static const unsigned char html[] = {
#include "page.html.inc"
};
static const unsigned char css[] = {
#include "page.css.inc"
};
static const unsigned char js[] = {
#include "page.js.inc"
};
static const unsigned char icon[] = {
#include "icon.svg.inc"
};

static const struct page_file files[] = {
	{ "/", "text/html; charset=utf-8", html, sizeof(html) },
	{ "/page.css", "text/css; charset=utf-8", css, sizeof(css) },
	{ "/page.js", "text/javascript; charset=utf-8", js, sizeof(js) },
	{ "/icon.svg", "image/svg+xml", icon, sizeof(icon) },
};

const struct page_file *page_find(const char *path)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (!strcmp(path, files[i].path))
			return &files[i];
	return NULL;
}
