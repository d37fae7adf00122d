// SPDX-License-Identifier: BSD-2-Clause
/*
 * lines.c - read the lines of a configuration file.
 */
#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#include "lines.h"

static const char byte_order_mark[] = "\xef\xbb\xbf";

void lines_fail_at(struct lines *lines, unsigned line, const char *format, ...)
{
	va_list args;
	int used;

	if (lines->failed)
		return;
	lines->failed = true;
	if (line)
		used = snprintf(lines->error, LINES_ERROR_SIZE, "%s:%u: ", lines->name, line);
	else
		used = snprintf(lines->error, LINES_ERROR_SIZE, "%s: ", lines->name);
	if (used >= LINES_ERROR_SIZE)
		return;
	va_start(args, format);
	vsnprintf(lines->error + used, LINES_ERROR_SIZE - (size_t)used, format, args);
	va_end(args);
	/* The file's text goes to a terminal. */
	for (char *c = lines->error; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
}

const char *lines_quote(struct lines *lines, const char *text)
{
	size_t len = strlen(text);

	if (len <= LINES_QUOTE_MOST)
		return text;
	/* Do not cut inside a UTF-8 character, which has up to three bytes after its first. */
	for (len = LINES_QUOTE_MOST; len > LINES_QUOTE_MOST - 3 && (text[len] & 0xc0) == 0x80;
	     len--)
		;
	snprintf(lines->quoted, sizeof(lines->quoted), "%.*s...", (int)len, text);
	return lines->quoted;
}

bool lines_is_name(const char *text, const char *others)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr(others, *text))
			return false;
	return true;
}

bool lines_check_name(struct lines *lines, const char *what, const char *text, const char *others,
		      size_t most)
{
	if (strlen(text) > most) {
		lines_fail(lines, "%s '%s': longer than %zu characters", what,
			   lines_quote(lines, text), most);
	} else if (!lines_is_name(text, others)) {
		char list[64] = "";

		for (size_t i = 0; others[i]; i++)
			snprintf(list + 2 * i, sizeof(list) - 2 * i, " %c", others[i]);
		lines_fail(lines, "%s '%s': may contain only letters, digits and%s", what,
			   lines_quote(lines, text), list);
	}
	return !lines->failed;
}

bool lines_once(struct lines *lines, const char *key, unsigned *set_at)
{
	if (*set_at)
		lines_fail(lines, "%s: already set, at line %u", key, *set_at);
	else
		*set_at = lines->line;
	return !lines->failed;
}

/* Returns @text without the space around it; changes @text. */
static char *trim(char *text)
{
	char *end = text + strlen(text);

	while (isspace((unsigned char)*text))
		text++;
	while (end > text && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return text;
}

static bool is_mark(const char *text)
{
	return !strncmp(text, byte_order_mark, strlen(byte_order_mark));
}

/* Read the next line into @buf, without its comment. Returns the text in @buf; NULL at the end of
 * the file or on an error. */
static char *read_line(struct lines *lines, char *buf)
{
	int c = getc_unlocked(lines->in);
	size_t start = 0, len = 0;
	bool comment = false;

	if (c == EOF)
		return NULL;
	lines->line++;
	for (; c != EOF && c != '\n'; c = getc_unlocked(lines->in)) {
		if (!c) {
			lines_fail(lines, "a NUL byte in the text (use UTF-8 or ASCII)");
			return NULL;
		}
		if ((c == '#' || c == ';') &&
		    (len == start || isspace((unsigned char)buf[len - 1])))
			comment = true;
		if (comment)
			continue;
		if (len == LINES_MOST) {
			lines_fail(lines, "longer than %d bytes", LINES_MOST);
			return NULL;
		}
		buf[len++] = (char)c;
		if (lines->line == 1 && len == strlen(byte_order_mark) && is_mark(buf))
			start = len;
	}
	buf[len] = '\0';
	return buf + start;
}

char *lines_next(struct lines *lines, char *buf)
{
	char *line;

	while (!lines->failed && (line = read_line(lines, buf))) {
		line = trim(line);
		if (is_mark(line)) {
			lines_fail(lines, "a byte order mark, which is allowed only at the start "
					  "of the file");
			return NULL;
		}
		if (*line)
			return line;
	}
	if (ferror(lines->in))
		lines_fail_at(lines, 0, "cannot be read");
	return NULL;
}

char *lines_section(struct lines *lines, char *line)
{
	char *name = line + 1, *end = strchr(name, ']');

	if (!end) {
		lines_fail(lines, "a section without a closing ']'");
		return NULL;
	}
	if (end[1]) {
		lines_fail(lines, "text after the section's ']'");
		return NULL;
	}
	*end = '\0';
	return name;
}

bool lines_key(struct lines *lines, char *line, char **ret_key, char **ret_value)
{
	char *value = strpbrk(line, "=:");

	if (!value) {
		lines_fail(lines, "neither a [section] nor 'key = value'");
		return false;
	}
	*value++ = '\0';
	*ret_key = trim(line);
	*ret_value = trim(value);
	return true;
}
