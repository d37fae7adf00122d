// SPDX-License-Identifier: BSD-2-Clause
/*
 * limit_text.c - limits as text.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "levels.h"
#include "limit_text.h"
#include "number.h"

static const char *const actions[] = {
	[CC_LIMIT_RESET] = "reset",
	[CC_LIMIT_LOG] = "log",
};

enum { ACTIONS = sizeof(actions) / sizeof(*actions) };

/* Move *@text past @word and the blanks before it. Returns false if it is not there. */
static bool skip_word(const char **text, const char *word)
{
	const char *at = *text + strspn(*text, " \t");

	if (at == *text || strncmp(at, word, strlen(word)))
		return false;
	*text = at + strlen(word);
	return true;
}

/* Read blanks and the number of sessions. */
static bool read_over(const char **text, struct cc_limit *ret)
{
	size_t blanks = strspn(*text, " \t");

	*text += blanks;
	return blanks && number_read(text, UINT32_MAX - 1, &ret->over) && ret->over;
}

/* Read `/LENGTH`. Returns false if it is malformed, or too long for the family. */
static bool read_length(const char **text, int family, struct cc_limit *ret)
{
	uint32_t length;

	if (*(*text)++ != '/' || !number_read(text, family == CC_IPV6 ? 128 : 32, &length))
		return false;
	ret->length[CC_FAMILY_INDEX(family)] = (__u8)length;
	return true;
}

/* Find out which level a length is. Returns 0, or -EINVAL with the reason in @why. */
static int find_level(int family, struct cc_limit *limit, char *why)
{
	const unsigned *levels = levels_of(family);
	unsigned length = limit->length[CC_FAMILY_INDEX(family)];
	__u8 i = 0;

	while (levels[i] < length)
		i++;
	limit->level[CC_FAMILY_INDEX(family)] = i;
	if (levels[i] == length)
		return 0;
	snprintf(why, LIMIT_WHY_SIZE,
		 "no counts are stored for /%u of IPv%d (the next length is /%u)", length,
		 family == CC_IPV4 ? 4 : 6, levels[i]);
	return -EINVAL;
}

static bool read_action(const char **text, struct cc_limit *ret)
{
	for (__u8 i = 1; i < ACTIONS; i++) {
		if (!skip_word(text, actions[i]))
			continue;
		ret->action = i;
		return true;
	}
	return false;
}

int limit_parse(const char *text, struct cc_limit *ret, char *why)
{
	struct cc_limit limit = { 0 };
	int err;

	if (!read_length(&text, CC_IPV4, &limit) || *text++ != ',' ||
	    !read_length(&text, CC_IPV6, &limit) || !skip_word(&text, "over") ||
	    !read_over(&text, &limit) || !read_action(&text, &limit) || *text) {
		snprintf(why, LIMIT_WHY_SIZE,
			 "not /LENGTH4,/LENGTH6 over SESSIONS reset|log, such as "
			 "/24,/64 over 100 reset");
		return -EINVAL;
	}
	err = find_level(CC_IPV4, &limit, why);
	if (!err)
		err = find_level(CC_IPV6, &limit, why);
	if (!err)
		*ret = limit;
	return err;
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
