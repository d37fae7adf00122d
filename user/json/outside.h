/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * outside.h - the listening sockets outside of the counted cgroup.
 */
#ifndef CONNCOUNT_OUTSIDE_H
#define CONNCOUNT_OUTSIDE_H

#include <jansson.h>

#include "snapshot.h"

/*
 * outside_tell() - call @tell with a line about each listening socket on a configured address whose
 * sessions are not counted, or about what is unknown; at most 20 lines about sockets. This does not
 * make the counts inexact: a server may be left out on purpose.
 */
void outside_tell(const struct snapshot *snapshot, void (*tell)(const char *line));

/* outside_add() - the same as fields of a JSON object. */
void outside_add(json_t *object, const struct snapshot *snapshot);

#endif
