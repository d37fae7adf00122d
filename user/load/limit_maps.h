/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limit_maps.h - the limits of a configuration, in the maps.
 */
#ifndef CONNCOUNT_LIMIT_MAPS_H
#define CONNCOUNT_LIMIT_MAPS_H

#include <stdbool.h>

#include "config.h"

/* The maps about limits; -1: none of them exists, because nothing is limited. */
struct limit_maps {
	int limits_fd, exempt_fd, refusals_fd;
};

#define LIMIT_MAPS_NONE                                             \
	{                                                           \
		.limits_fd = -1, .exempt_fd = -1, .refusals_fd = -1 \
	}

/*
 * limits_compare() - find out whether slot @slot has the limits of @config.
 * @active: says which listener has which id.
 * Returns 0 or a negative errno.
 */
int limits_compare(const struct limit_maps *maps, const struct config *config,
		   const struct cc_config *active, unsigned slot, bool *ret_same);

/*
 * limits_write() - write the limits of @config to slot @slot, which is not active. The totals of a
 * limit begin at 0 if it is not in the other slot.
 * Returns 0 or a negative errno.
 */
int limits_write(const struct limit_maps *maps, const struct config *config,
		 const struct cc_config *active, unsigned slot);

/*
 * limits_carry_totals() - make the totals in @maps continue from their values in @former, as
 * config_carry_totals() does.
 * @slot, @former_slot: of their active configurations.
 * @id: a listener that both know under this id.
 * Returns 0 or a negative errno.
 */
int limits_carry_totals(const struct limit_maps *maps, unsigned slot,
			const struct limit_maps *former, unsigned former_slot, __u32 id);

#endif
