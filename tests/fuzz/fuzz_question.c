// SPDX-License-Identifier: BSD-2-Clause
/*
 * question.c - fuzz target: the parameters of the exporter's API, and its entity tags.
 *
 * The input is texts that end with a NUL each: an If-None-Match field, and then names and values of
 * parameters by turns. Whatever they are, an error says something, of a bounded size, and quotes at
 * most a part of them; a question is within its bounds, and points only into its parameters.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "etag.h"
#include "fuzz.h"
#include "history.h"
#include "question.h"

enum { TEXTS_MOST = 2 * PARAMETERS_MOST + 9 };

static char *texts[TEXTS_MOST];
static size_t n_texts;

static void read_texts(const char *data, size_t size)
{
	for (n_texts = 0; size && n_texts < TEXTS_MOST; n_texts++) {
		size_t len = strnlen(data, size);

		texts[n_texts] = string_of(data, len);
		len += len < size;
		data += len;
		size -= len;
	}
}

static bool is_parameter(const char *text)
{
	for (size_t i = 1; i < n_texts; i++)
		if (text == texts[i])
			return true;
	return false;
}

static void check_error(int err, const char *why)
{
	check(err == -EINVAL);
	check(*why && strnlen(why, QUESTION_ERROR_SIZE) < QUESTION_ERROR_SIZE);
}

static void check_networks(const struct parameters *parameters)
{
	struct networks_question question, before;
	char why[QUESTION_ERROR_SIZE] = "";
	const struct lengths *lengths = &question.lengths;
	int err;

	memset(&question, 0x5a, sizeof(question));
	before = question;
	err = question_networks(parameters, &question, why);
	if (err) {
		check(!memcmp(&question, &before, sizeof(question)));
		check_error(err, why);
		return;
	}
	check(parameters->n <= PARAMETERS_MOST);
	check(question.limit >= 1 && question.limit <= NETWORKS_MOST);
	check(lengths->ipv4 >= -1 && lengths->ipv4 <= 32);
	check(lengths->ipv6 >= -1 && lengths->ipv6 <= 128);
	check(lengths->ipv4 >= 0 || lengths->ipv6 >= 0);
	check(question.target.service);
	if (question.target.listener)
		check(is_parameter(question.target.listener));
	if (question.has_within && question.within.family == CONNCOUNT_IPV4)
		check(lengths->ipv6 == -1 && lengths->ipv4 >= (int)question.within.prefixlen);
	else if (question.has_within)
		check(lengths->ipv4 == -1 && lengths->ipv6 >= (int)question.within.prefixlen);
}

static void check_history(const struct parameters *parameters)
{
	struct history_question question;
	char why[QUESTION_ERROR_SIZE] = "";
	int err = question_history(parameters, &question, why);

	if (err) {
		check_error(err, why);
		return;
	}
	check(question.step == 1 || question.step == 60);
	check(question.limit >= 1 && question.limit <= HISTORY_STEPS_MOST);
	check(!question.listener || is_parameter(question.listener));
}

static void check_none(const struct parameters *parameters)
{
	char why[QUESTION_ERROR_SIZE] = "";
	int err = question_none(parameters, why);

	check(!err == !parameters->n);
	if (err)
		check_error(err, why);
}

static void check_etag(const char *field)
{
	char etag[ETAG_SIZE], with[ETAG_SIZE + 8];

	etag_of(field, strlen(field), etag);
	check(strlen(etag) == ETAG_SIZE - 1);
	etag_matches(field, etag);
	snprintf(with, sizeof(with), "W/%s, \"\"", etag);
	check(etag_matches(with, etag));
	with[2] = ' '; /* without its first quote */
	check(!etag_matches(with, etag));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct parameters parameters = { .n = 0 };

	read_texts((const char *)data, size);
	for (size_t i = 1; i + 1 < n_texts; i += 2, parameters.n++)
		if (parameters.n < PARAMETERS_MOST)
			parameters.parameter[parameters.n] =
				(struct parameter){ texts[i], texts[i + 1] };
	check_networks(&parameters);
	check_history(&parameters);
	check_none(&parameters);
	if (n_texts)
		check_etag(texts[0]);
	for (size_t i = 0; i < n_texts; i++)
		free(texts[i]);
	return 0;
}
