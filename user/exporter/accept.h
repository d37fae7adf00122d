/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * accept.h - which format a client prefers, from its Accept fields (RFC 9110, 12.5.1).
 */
#ifndef CONNCOUNT_ACCEPT_H
#define CONNCOUNT_ACCEPT_H

#include "metrics.h"

enum { ACCEPT_FORMATS = 2 }; /* of enum metrics_format */

/* What a client says of a format. All 0: nothing. */
struct acceptance {
	int precedence; /* of the media range with this weight; the most specific range applies */
	int weight;     /* in thousandths; 0: not acceptable */
};

struct accept {
	struct acceptance formats[ACCEPT_FORMATS];
};

/*
 * accept_read() - take an Accept field into account. A request may have several, which form one
 * list. Malformed elements are ignored.
 */
void accept_read(struct accept *accept, const char *field);

/*
 * accept_format() - the format with the greater weight. At equal weight, OpenMetrics only if the
 * client names it. The text format if neither is acceptable: the client may accept it nevertheless.
 */
enum metrics_format accept_format(const struct accept *accept);

#endif
