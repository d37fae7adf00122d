// SPDX-License-Identifier: BSD-2-Clause
/*
 * limit_text.c - limits as text.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "levels.h"
#include "limit_text.h"
#include "number.h"

/* The programs compare a count with one more than this, too. */
#define OVER_MOST (UINT32_MAX - 1)

static const char *const actions[] = {
	[CC_LIMIT_RESET] = "reset",
	[CC_LIMIT_LOG] = "log",
};

enum { ACTIONS = sizeof(actions) / sizeof(*actions) };

static int __attribute__((format(printf, 2, 3))) fail(char *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, LIMIT_WHY_SIZE, format, args);
	va_end(args);
	return -EINVAL;
}

/* Move *@text past @word. Returns false if it is not there. */
static bool skip_word(const char **text, const char *word)
{
	size_t size = strlen(word);

	if (strncmp(*text, word, size) != 0)
		return false;
	*text += size;
	return true;
}

/* Move *@text past blanks. Returns false if there are none. */
static bool skip_blanks(const char **text)
{
	size_t blanks = strspn(*text, " \t");

	*text += blanks;
	return blanks;
}

/* Read `/LENGTH`. */
static bool read_length(const char **text, uint32_t *ret)
{
	return skip_word(text, "/") && number_read(text, UINT32_MAX, ret);
}

/* Set the length of a family, and which level that is. */
static int set_length(struct cc_limit *limit, int family, uint32_t length, char *why)
{
	const unsigned *levels = levels_of(family);
	__u8 i = 0;

	while (levels[i] && levels[i] < length)
		i++;
	if (levels[i] != length)
		return fail(why, "no counts are stored for /%u of IPv%d (the %s length is /%u)",
			    length, family == CC_IPV6 ? 6 : 4, levels[i] ? "next" : "longest",
			    levels[i] ? levels[i] : levels[i - 1]);
	limit->length[CC_FAMILY_INDEX(family)] = (__u8)length;
	limit->level[CC_FAMILY_INDEX(family)] = i;
	return 0;
}

/* Returns CC_LIMIT_*; 0 for no action's name. */
static __u8 find_action(const char *name)
{
	for (__u8 i = 1; i < ACTIONS; i++)
		if (!strcmp(name, actions[i]))
			return i;
	return 0;
}

int limit_parse(const char *text, struct cc_limit *ret, char *why)
{
	struct cc_limit limit = { 0 };
	uint32_t length4, length6;

	if (!read_length(&text, &length4) || !skip_word(&text, ",") ||
	    !read_length(&text, &length6) || !skip_blanks(&text) || !skip_word(&text, "over") ||
	    !skip_blanks(&text))
		return fail(why, "not /LENGTH4,/LENGTH6 over SESSIONS reset|log, such as "
				 "/24,/64 over 100 reset");
	if (set_length(&limit, CC_IPV4, length4, why) || set_length(&limit, CC_IPV6, length6, why))
		return -EINVAL;
	if (!number_read(&text, OVER_MOST, &limit.over) || !limit.over ||
	    (*text && !skip_blanks(&text)))
		return fail(why, "'over' needs a number of sessions, from 1 to %u", OVER_MOST);
	limit.action = find_action(text);
	if (!limit.action)
		return fail(why, "the action must be reset or log");
	*ret = limit;
	return 0;
}

const char *limit_action(const struct cc_limit *limit)
{
	return limit->action && limit->action < ACTIONS ? actions[limit->action] : "?";
}

char *limit_lengths(const struct cc_limit *limit, char *buf)
{
	snprintf(buf, LIMIT_TEXT_SIZE, "/%u,/%u", limit->length[CC_FAMILY_INDEX(CC_IPV4)],
		 limit->length[CC_FAMILY_INDEX(CC_IPV6)]);
	return buf;
}

char *limit_format(const struct cc_limit *limit, char *buf)
{
	size_t n = strlen(limit_lengths(limit, buf));

	snprintf(buf + n, LIMIT_TEXT_SIZE - n, " over %u %s", limit->over, limit_action(limit));
	return buf;
}
