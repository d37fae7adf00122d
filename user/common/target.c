// SPDX-License-Identifier: BSD-2-Clause
/*
 * target.c - what a query is about.
 */
#include "target.h"

int target_count(struct conncount *cc, const struct target *target,
		 const struct conncount_cidr *cidr, struct conncount_answer *ret_answer)
{
	if (target->listener)
		return conncount_count_listener(cc, target->listener, cidr, ret_answer);
	return conncount_count_service(cc, target->service, cidr, ret_answer);
}
