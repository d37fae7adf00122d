// SPDX-License-Identifier: BSD-2-Clause
/*
 * accept.c - content negotiation. It parses, in RFC 9110's grammar,
 *	Accept     = [ ( media-range [ weight ] ) *( OWS "," OWS ( media-range [ weight ] ) ) ]
 * with empty elements, and the weight anywhere among the parameters of the range.
 */
#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "accept.h"

static const struct media {
	const char *type, *subtype, *version;
} media[ACCEPT_FORMATS] = {
	[METRICS_TEXT] = { "text", "plain", "0.0.4" },
	[METRICS_OPENMETRICS] = { "application", "openmetrics-text", "1.0.0" },
};

enum {
	WEIGHT_MOST = 1000,
	VALUE_SIZE = 32, /* of a parameter's value: no known one is longer */
	/* A specific range overrides a more general one. Each parameter adds to this. */
	PRECEDENCE_ANY = 1,
	PRECEDENCE_TYPE = 2,
	PRECEDENCE_SUBTYPE = 3,
};

struct token {
	const char *text;
	size_t len;
};

struct range {
	struct token type, subtype;
	char version[VALUE_SIZE]; /* "": any */
	bool unknown;             /* it has a parameter that no format has */
	int parameters;
	int weight; /* -1: not given */
};

/* --- parsing: each of these moves @at past what it has read, false: it is not there ----------- */

static void skip_blanks(const char **at)
{
	*at += strspn(*at, " \t");
}

static bool read_char(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

static bool read_token(const char **at, struct token *ret)
{
	const char *end = *at;

	while (*end && (isalnum((unsigned char)*end) || strchr("!#$%&'*+-.^_`|~", *end)))
		end++;
	*ret = (struct token){ *at, (size_t)(end - *at) };
	*at = end;
	return ret->len;
}

/* The value of a parameter: a token, or a quoted string. One too long for @buf is cut. */
static bool read_value(const char **at, char *buf, bool *ret_quoted)
{
	size_t n = 0;
	struct token token;

	*ret_quoted = read_char(at, '"');
	if (!*ret_quoted) {
		if (!read_token(at, &token))
			return false;
		n = token.len < VALUE_SIZE ? token.len : VALUE_SIZE - 1;
		memcpy(buf, token.text, n);
	} else {
		while (**at && **at != '"') {
			if (**at == '\\' && (*at)[1])
				(*at)++;
			if (n < VALUE_SIZE - 1)
				buf[n++] = **at;
			(*at)++;
		}
		if (!read_char(at, '"'))
			return false;
	}
	buf[n] = '\0';
	return true;
}

/* Parse a weight from 0 to 1 with at most three decimals. Returns thousandths, or -1 if it is
 * invalid. */
static int parse_weight(const char *text)
{
	int weight = 0, unit = WEIGHT_MOST;

	if (*text != '0' && *text != '1')
		return -1;
	weight = (*text++ - '0') * unit;
	if (*text == '.') {
		for (text++; unit > 1 && isdigit((unsigned char)*text); text++) {
			unit /= 10;
			weight += (*text - '0') * unit;
		}
	}
	return *text || weight > WEIGHT_MOST ? -1 : weight;
}

static bool is(const struct token *token, const char *text)
{
	return token->len == strlen(text) && !strncasecmp(token->text, text, token->len);
}

/* One parameter, after its semicolon; it may be empty. */
static bool read_parameter(const char **at, struct range *range)
{
	char value[VALUE_SIZE];
	struct token name;
	bool quoted;

	if (!read_token(at, &name))
		return true;
	if (!read_char(at, '=') || !read_value(at, value, &quoted))
		return false;
	if (is(&name, "q")) {
		bool again = range->weight >= 0;

		range->weight = parse_weight(value);
		return !quoted && !again && range->weight >= 0;
	}
	/* How names are escaped. Ours need no escaping in any scheme. */
	if (is(&name, "escaping"))
		return true;
	range->parameters++;
	if (is(&name, "version") && !*range->version && *value)
		memcpy(range->version, value, sizeof(value));
	else if (!is(&name, "charset") || strcasecmp(value, "utf-8"))
		range->unknown = true;
	return true;
}

/* One element of the list, up to the comma or the end. */
static bool read_range(const char **at, struct range *ret)
{
	*ret = (struct range){ .weight = -1 };
	if (!read_token(at, &ret->type) || !read_char(at, '/') || !read_token(at, &ret->subtype))
		return false;
	for (skip_blanks(at); read_char(at, ';'); skip_blanks(at)) {
		skip_blanks(at);
		if (!read_parameter(at, ret))
			return false;
	}
	if (ret->weight < 0)
		ret->weight = WEIGHT_MOST;
	return !**at || **at == ',';
}

/* Past the element that begins here. A comma in a quoted string does not end it. */
static void skip_element(const char **at)
{
	bool quoted = false;

	for (; **at && (quoted || **at != ','); (*at)++) {
		if (quoted && **at == '\\' && (*at)[1])
			(*at)++;
		else if (**at == '"')
			quoted = !quoted;
	}
}

/* --- what it means -------------------------------------------------------------------------- */

/* How specific a range is that includes the format; 0 if it does not. */
static int precedence(const struct range *range, const struct media *format)
{
	int base = PRECEDENCE_SUBTYPE;

	if (range->unknown || (*range->version && strcmp(range->version, format->version)))
		return 0;
	if (is(&range->type, "*") && is(&range->subtype, "*"))
		base = PRECEDENCE_ANY;
	else if (!is(&range->type, format->type))
		return 0;
	else if (is(&range->subtype, "*"))
		base = PRECEDENCE_TYPE;
	else if (!is(&range->subtype, format->subtype))
		return 0;
	return base < PRECEDENCE_SUBTYPE ? base : base + range->parameters;
}

void accept_read(struct accept *accept, const char *field)
{
	const char *at = field;
	struct range range;

	while (*at) {
		const char *begin = at;

		skip_blanks(&at);
		if (!read_range(&at, &range)) {
			at = begin;
			skip_element(&at);
			range.unknown = true;
		}
		for (int i = 0; i < ACCEPT_FORMATS; i++) {
			struct acceptance *said = &accept->formats[i];
			int rank = precedence(&range, &media[i]);

			if (!rank || rank < said->precedence)
				continue;
			if (rank > said->precedence || range.weight > said->weight)
				said->weight = range.weight;
			said->precedence = rank;
		}
		read_char(&at, ',');
	}
}

enum metrics_format accept_format(const struct accept *accept)
{
	const struct acceptance *text = &accept->formats[METRICS_TEXT];
	const struct acceptance *open = &accept->formats[METRICS_OPENMETRICS];

	if (open->weight > text->weight)
		return METRICS_OPENMETRICS;
	if (open->weight && open->weight == text->weight && open->precedence >= PRECEDENCE_SUBTYPE)
		return METRICS_OPENMETRICS;
	return METRICS_TEXT;
}
