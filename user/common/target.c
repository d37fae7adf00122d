// SPDX-License-Identifier: BSD-2-Clause
/*
 * target.c - what a query is about.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target.h"

int target_count(struct conncount *cc, const struct target *target,
		 const struct conncount_cidr *cidr, struct conncount_answer *ret_answer)
{
	if (target->listener)
		return conncount_count_listener(cc, target->listener, cidr, ret_answer);
	return conncount_count_service(cc, target->service, cidr, ret_answer);
}

int target_exists(struct conncount *cc, const struct target *target)
{
	struct conncount_listener *listeners = NULL;
	bool found = !target->listener;
	size_t n = 0;
	int err = found ? 0 : conncount_listeners(cc, &listeners, &n);

	for (size_t i = 0; i < n; i++)
		found = found || !strcmp(listeners[i].name, target->listener);
	free(listeners);
	return err || found ? err : -ESRCH;
}

/* The names of the listeners, separated by commas. */
static char *known_listeners(struct conncount *cc, char *buf, size_t size)
{
	struct conncount_listener *listeners = NULL;
	size_t n = 0, used = 0;

	*buf = '\0';
	if (conncount_listeners(cc, &listeners, &n))
		n = 0;
	for (size_t i = 0; i < n && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "",
					 listeners[i].name);
	free(listeners);
	return buf;
}

char *target_strerror(const char *dir, struct conncount *cc, const struct target *target, int err,
		      char *buf, size_t size)
{
	char known[1024];

	if (err != -ESRCH)
		return conncount_strerror(dir, err, buf, size);
	if (target->listener)
		snprintf(buf, size, "listener '%.256s': there is no such listener (known: %s)",
			 target->listener, known_listeners(cc, known, sizeof(known)));
	else
		snprintf(buf, size, "service '%.256s': unknown service type (known: %s)",
			 target->service, conncount_services(cc, known, sizeof(known)));
	return buf;
}
