/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lines.h - the lines of a configuration file: sections, and keys with values.
 */
#ifndef CONNCOUNT_LINES_H
#define CONNCOUNT_LINES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum {
	/* Bytes of a line without its newline and its comment: enough for a key and the longest
	   path. */
	LINES_MOST = 2 * PATH_MAX,
	/* Bytes of a text that a message quotes. */
	LINES_QUOTE_MOST = 100,
	LINES_ERROR_SIZE = PATH_MAX + 512,
};

/* A file that is read. The first error ends it. */
struct lines {
	FILE *in;
	const char *name; /* of the file, for errors */
	char *error;      /* of LINES_ERROR_SIZE bytes: gets the first error */
	unsigned line;    /* the number of the current one */
	bool failed;
	char quoted[LINES_QUOTE_MOST + sizeof("...")]; /* of lines_quote() */
};

/*
 * lines_next() - read the next line that is not empty, without the space around it. Leaves out
 * comments, from a '#' or ';' at the start of a line or after a space, and a byte order mark at the
 * start of the file.
 * @buf: of LINES_MOST + 1 bytes.
 *
 * Returns the text, in @buf; NULL at the end of the file or after an error.
 */
char *lines_next(struct lines *lines, char *buf);

/* lines_section() - the name in a line that begins with '['. Changes the line. Returns NULL after
 * an error. */
char *lines_section(struct lines *lines, char *line);

/* lines_key() - split `key = value` or `key: value`. Changes the line. Returns false after an
 * error.
 */
bool lines_key(struct lines *lines, char *line, char **ret_key, char **ret_value);

/* lines_once() - whether a key that is allowed once is new; notes its line in @set_at. Returns
 * false after an error. */
bool lines_once(struct lines *lines, const char *key, unsigned *set_at);

/* lines_is_name() - whether a text is not empty, and has only letters, digits and @others. */
bool lines_is_name(const char *text, const char *others);

/*
 * lines_check_name() - whether a name consists of letters, digits and @others, and has no more than
 * @most characters. Returns false after an error, which calls it @what.
 */
bool lines_check_name(struct lines *lines, const char *what, const char *text, const char *others,
		      size_t most);

/* lines_quote() - @text for a message, or only its start if it is long: until the next call. */
const char *lines_quote(struct lines *lines, const char *text);

/* lines_fail() - set the error, `name:line: why`, unless there is one. lines_fail_at(): of another
 * line; 0: of none. */
#define lines_fail(lines, ...) lines_fail_at(lines, (lines)->line, __VA_ARGS__)
void __attribute__((format(printf, 3, 4)))
lines_fail_at(struct lines *lines, unsigned line, const char *format, ...);

#endif
