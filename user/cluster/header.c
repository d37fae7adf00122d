// SPDX-License-Identifier: BSD-2-Clause
/*
 * header.c - a node's header as text.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cluster_config.h"
#include "header.h"

#define PATIENCE_LEAST NS_PER_S
enum { INTERVALS = 4 };

char *header_format(const struct header *header, char *buf)
{
	snprintf(buf, HEADER_SIZE,
		 "%u %s %" PRIu64 " %" PRIu64 " %u %" PRIu64 " %" PRId64 " %" PRId64 " %" PRIx64,
		 HEADER_VERSION, header->epoch, header->seq, header->beat, header->flags,
		 header->interval_ms, header->sessions, header->networks, header->checksum);
	return buf;
}

bool header_parse(const char *text, struct header *ret)
{
	struct header header = { 0 };
	int n = sscanf(text,
		       "%u %32[0-9a-f] %" SCNu64 " %" SCNu64 " %u %" SCNu64 " %" SCNd64 " %" SCNd64
		       " %" SCNx64,
		       &header.version, header.epoch, &header.seq, &header.beat, &header.flags,
		       &header.interval_ms, &header.sessions, &header.networks, &header.checksum);

	if (n == 9 && header.version == HEADER_VERSION &&
	    strlen(header.epoch) == sizeof(header.epoch) - 1) {
		*ret = header;
		return true;
	}
	*ret = (struct header){ .version = n > 0 && header.version != HEADER_VERSION
						   ? header.version
						   : 0 };
	return false;
}

uint64_t header_interval(const struct header *header)
{
	uint64_t most = CLUSTER_INTERVAL_MOST / NS_PER_MS;

	return header->interval_ms <= most ? header->interval_ms * NS_PER_MS : 0;
}

uint64_t patience_of(uint64_t interval)
{
	return INTERVALS * interval > PATIENCE_LEAST ? INTERVALS * interval : PATIENCE_LEAST;
}

char *key_of(const char *cluster, const char *what, const char *node, const char *epoch, char *buf)
{
	snprintf(buf, KEY_SIZE, "conncount:{%s}:%s%s%s%s%s", cluster, what, node ? ":" : "",
		 node ? node : "", epoch ? ":" : "", epoch ? epoch : "");
	return buf;
}
