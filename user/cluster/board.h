/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * board.h - the maps by which the daemon tells readers of the cluster, and programs tell it of
 * changes.
 */
#ifndef CONNCOUNT_BOARD_H
#define CONNCOUNT_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/types.h>

#include "abi.h"

struct board {
	int changed_fd, nodes_fd, remote_fd;
	struct cc_cluster *cluster; /* the map's value itself */
	uint64_t set;               /* which set of maps is loaded: inode number */
	uint32_t remote_id;         /* of the map */
};

enum board_change {
	BOARD_SAME,
	BOARD_SET,  /* another set of maps counts now, with the same board */
	BOARD_MAPS, /* so does another board */
};

/*
 * board_follow() - open the maps, or those that were loaded since.
 * @dir: the instance.
 * @board: all zero before the first call; closed if that fails.
 * @ret_change: gets the change since the last call.
 *
 * Returns 0; -ENOENT if nothing is loaded; -EACCES if the daemon may not write; or another negative
 * errno.
 */
int board_follow(const char *dir, struct board *board, enum board_change *ret_change);

void board_close(struct board *board);

#endif
