/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * outside.h - the listening sockets outside of the cgroup that is counted in.
 */
#ifndef CONNCOUNT_OUTSIDE_H
#define CONNCOUNT_OUTSIDE_H

#include <jansson.h>

#include "snapshot.h"

/*
 * outside_tell() - call @tell with a line about each listening socket on a configured address whose
 * sessions are not counted, or about what cannot be found out. A server of another may be left out
 * on purpose: this does not make the counts inexact. 20 lines about sockets at most.
 */
void outside_tell(const struct snapshot *snapshot, void (*tell)(const char *line));

/* outside_add() - the same as fields of a JSON object. */
void outside_add(json_t *object, const struct snapshot *snapshot);

#endif
