// SPDX-License-Identifier: BSD-2-Clause
/*
 * scope.c - which listeners a query is about: service types and names.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

/* Known even if no listener has them. */
static const char *const builtin_services[] = {
	"SMTP", "ECStream", "Control", "ECmmove2", "ECCluster", CONNCOUNT_SERVICE_CLUSTER,
};

static bool is_builtin(const char *service)
{
	for (size_t i = 0; i < ARRAY_SIZE(builtin_services); i++)
		if (!strcmp(service, builtin_services[i]))
			return true;
	return false;
}

bool scope_has(const struct scope *scope, const struct cc_config *config, uint32_t id)
{
	const struct cc_listener *listener = &config->listener[id];

	if (listener->state == CC_LISTENER_FREE)
		return false;
	if (scope->listener)
		return !strcmp(listener->name, scope->listener);
	if (!scope->service)
		return id == scope->id;
	return !strcmp(listener->service, scope->service) ||
	       (scope->also && !strcmp(listener->service, scope->also));
}

bool scope_is_cluster(const struct scope *scope)
{
	return scope->service && !strcmp(scope->service, CONNCOUNT_SERVICE_CLUSTER);
}

int scope_without_listeners(const struct scope *scope)
{
	return scope->service && is_builtin(scope->service) ? 0 : -ESRCH;
}

/* Append ", @name" to @buf, which holds *@used of @size bytes. */
static void append(char *buf, size_t size, size_t *used, const char *name)
{
	if (*used < size)
		*used += (size_t)snprintf(buf + *used, size - *used, "%s%s", *used ? ", " : "",
					  name);
}

/* Whether a listener before @id has the same service as @id, or it is built in. */
static bool service_listed(const struct cc_config *config, uint32_t id)
{
	const char *service = config->listener[id].service;

	if (is_builtin(service))
		return true;
	for (uint32_t i = 0; i < id; i++)
		if (config->listener[i].state != CC_LISTENER_FREE &&
		    !strcmp(config->listener[i].service, service))
			return true;
	return false;
}

char *conncount_services(struct conncount *cc, char *buf, size_t size)
{
	size_t used = 0;

	if (size)
		buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(builtin_services); i++)
		append(buf, size, &used, builtin_services[i]);
	if (!cc || view_acquire(cc, NULL))
		return buf;

	const struct cc_config *config = &cc->view.config;

	for (uint32_t id = 0; id < config_used(config); id++)
		if (config->listener[id].state != CC_LISTENER_FREE && !service_listed(config, id))
			append(buf, size, &used, config->listener[id].service);
	view_release(cc);
	return buf;
}
