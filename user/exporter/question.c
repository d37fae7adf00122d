// SPDX-License-Identifier: BSD-2-Clause
/*
 * question.c - what a request to the API asks.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "history.h"
#include "number.h"
#include "opened.h"
#include "question.h"

/* What is read, and where to: a question uses a part of it. */
struct reader {
	const char *known; /* the names of the question's parameters: "a, b" */
	struct networks_question networks;
	struct history_question history;
	const char *family;
	bool has_range; /* from or to was given */
	char *why;
};

static int __attribute__((format(printf, 2, 3))) wrong(char *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, QUESTION_ERROR_SIZE, format, args);
	va_end(args);
	return -EINVAL;
}

static int read_number(const struct reader *reader, const struct parameter *parameter,
		       uint32_t least, uint32_t most, uint32_t *ret)
{
	const char *at = parameter->value;
	uint32_t number;

	if (!number_read(&at, most, &number) || *at || number < least)
		return wrong(reader->why, "%s '%.64s': it must be a number from %u to %u",
			     parameter->name, parameter->value, least, most);
	*ret = number;
	return 0;
}

static int read_length(const struct reader *reader, const struct parameter *parameter,
		       uint32_t most, int *ret)
{
	uint32_t length;
	int err = read_number(reader, parameter, 0, most, &length);

	if (!err)
		*ret = (int)length;
	return err;
}

static int read_limit(struct reader *reader, const struct parameter *parameter)
{
	uint32_t limit, most = reader->networks.limit ? NETWORKS_MOST : HISTORY_STEPS_MOST;
	int err = read_number(reader, parameter, 1, most, &limit);

	if (err)
		return err;
	if (reader->networks.limit)
		reader->networks.limit = limit;
	else
		reader->history.limit = limit;
	return 0;
}

static int read_within(struct reader *reader, const struct parameter *parameter)
{
	const char *why;

	if (conncount_cidr_parse(parameter->value, NULL, &reader->networks.within, &why))
		return wrong(reader->why, "within '%.64s': %s", parameter->value, why);
	reader->networks.has_within = true;
	return 0;
}

static int read_window(struct reader *reader, const struct parameter *parameter)
{
	struct conncount_window *window = &reader->networks.window, read;

	if (conncount_window_parse(parameter->value, &read))
		return wrong(reader->why, "window '%.64s': not SECONDS,WINDOWS, such as 60,1",
			     parameter->value);
	window->seconds = read.seconds;
	window->windows = read.windows;
	reader->networks.has_window = true;
	return 0;
}

/* Read which of the windows. */
static int read_range(struct reader *reader, const struct parameter *parameter)
{
	struct conncount_window *window = &reader->networks.window;

	if (!strcmp(parameter->name, "smooth"))
		return read_number(reader, parameter, 1, 1, &window->smooth);
	reader->has_range = true;
	return read_number(reader, parameter, 0, WINDOWS_MOST,
			   !strcmp(parameter->name, "from") ? &window->from : &window->to);
}

static int read_family(struct reader *reader, const struct parameter *parameter)
{
	if (strcmp(parameter->value, "ipv4") && strcmp(parameter->value, "ipv6"))
		return wrong(reader->why, "family '%.64s': it must be ipv4 or ipv6",
			     parameter->value);
	reader->family = parameter->value;
	return 0;
}

static int read_step(struct reader *reader, const struct parameter *parameter)
{
	if (strcmp(parameter->value, "1") && strcmp(parameter->value, "60"))
		return wrong(reader->why, "step '%.64s': it must be 1 or 60 (seconds)",
			     parameter->value);
	reader->history.step = parameter->value[0] == '1' ? 1 : 60;
	return 0;
}

static int read_one(struct reader *reader, const struct parameter *parameter)
{
	const char *name = parameter->name;

	if (!strcmp(name, "v4"))
		return read_length(reader, parameter, 32, &reader->networks.lengths.ipv4);
	if (!strcmp(name, "v6"))
		return read_length(reader, parameter, 128, &reader->networks.lengths.ipv6);
	if (!strcmp(name, "limit"))
		return read_limit(reader, parameter);
	if (!strcmp(name, "within"))
		return read_within(reader, parameter);
	if (!strcmp(name, "window"))
		return read_window(reader, parameter);
	if (!strcmp(name, "from") || !strcmp(name, "to") || !strcmp(name, "smooth"))
		return read_range(reader, parameter);
	if (!strcmp(name, "family"))
		return read_family(reader, parameter);
	if (!strcmp(name, "step"))
		return read_step(reader, parameter);
	if (!strcmp(name, "service"))
		reader->networks.target.service = parameter->value;
	else
		reader->networks.target.listener = reader->history.listener = parameter->value;
	return 0;
}

/* Whether a name is one of @known. */
static bool is_known(const char *known, const char *name)
{
	size_t len = strlen(name);

	if (!len || strpbrk(name, ", "))
		return false;
	for (const char *at = known; (at = strstr(at, name)); at += len)
		if ((at == known || at[-1] == ' ') && (!at[len] || at[len] == ','))
			return true;
	return false;
}

static int read_all(struct reader *reader, const struct parameters *parameters)
{
	int err = 0;

	if (parameters->n > PARAMETERS_MOST)
		return wrong(reader->why, "there are more than %d parameters", PARAMETERS_MOST);
	for (size_t i = 0; !err && i < parameters->n; i++) {
		const struct parameter *parameter = &parameters->parameter[i];

		if (!is_known(reader->known, parameter->name))
			return wrong(reader->why, "parameter '%.64s': unknown (known: %s)",
				     parameter->name, *reader->known ? reader->known : "none");
		for (size_t j = 0; j < i; j++)
			if (!strcmp(parameters->parameter[j].name, parameter->name))
				return wrong(reader->why, "%s: it is given twice", parameter->name);
		err = read_one(reader, parameter);
	}
	return err;
}

/* Leave one family only, if the question is about one, and check that @within fits. */
static int narrow(struct reader *reader)
{
	struct networks_question *question = &reader->networks;
	const struct conncount_cidr *within = &question->within;
	bool six = question->has_within && within->family == CONNCOUNT_IPV6;
	const char *family = six ? "ipv6" : "ipv4";
	unsigned length = (unsigned)(six ? question->lengths.ipv6 : question->lengths.ipv4);

	if (question->has_within) {
		if (reader->family && strcmp(reader->family, family))
			return wrong(reader->why,
				     "family '%s': within is a network of the other one",
				     reader->family);
		if (within->prefixlen > length)
			return wrong(reader->why,
				     "within: its length is %u, so no network of length %u is in "
				     "it (raise %s)",
				     within->prefixlen, length, six ? "v6" : "v4");
		reader->family = family;
	}
	if (reader->family && !strcmp(reader->family, "ipv4"))
		question->lengths.ipv6 = -1;
	else if (reader->family)
		question->lengths.ipv4 = -1;
	return 0;
}

/* Check that what is asked of windows fits together. */
static int check_window(const struct reader *reader)
{
	const struct conncount_window *window = &reader->networks.window;

	if (!reader->networks.has_window && (reader->has_range || window->smooth))
		return wrong(reader->why, "%s needs window",
			     window->smooth ? "smooth" : "from or to");
	if (window->smooth && reader->has_range)
		return wrong(reader->why, "smooth excludes from and to");
	if (window->from > window->to)
		return wrong(reader->why, "from '%u' is an older window than to '%u'", window->from,
			     window->to);
	return 0;
}

int question_networks(const struct parameters *parameters, struct networks_question *ret,
		      char *ret_why)
{
	struct reader reader = {
		.known = "v4, v6, limit, service, listener, family, within, window, from, to, "
			 "smooth",
		.networks = { .lengths = { .ipv4 = 24, .ipv6 = 64 }, .limit = NETWORKS_DEFAULT },
		.why = ret_why,
	};
	struct target *target = &reader.networks.target;
	int err = read_all(&reader, parameters);

	if (!err && target->listener && target->service)
		err = wrong(ret_why, "listener and service cannot be combined");
	if (!err)
		err = check_window(&reader);
	if (!err)
		err = narrow(&reader);
	if (err)
		return err;
	if (!target->service)
		target->service = CONNCOUNT_SERVICE;
	*ret = reader.networks;
	return 0;
}

int question_refused(const struct parameters *parameters, struct refused_question *ret,
		     char *ret_why)
{
	struct reader reader = {
		.known = "limit, listener",
		.networks = { .limit = NETWORKS_DEFAULT },
		.why = ret_why,
	};
	int err = read_all(&reader, parameters);

	if (!err)
		*ret = (struct refused_question){ reader.networks.target, reader.networks.limit };
	return err;
}

int question_history(const struct parameters *parameters, struct history_question *ret,
		     char *ret_why)
{
	struct reader reader = {
		.known = "step, limit, listener",
		.history = { .step = 60, .limit = STEPS_DEFAULT },
		.why = ret_why,
	};
	int err = read_all(&reader, parameters);

	if (!err)
		*ret = reader.history;
	return err;
}

int question_none(const struct parameters *parameters, char *ret_why)
{
	struct reader reader = { .known = "", .why = ret_why };

	return read_all(&reader, parameters);
}
