// SPDX-License-Identifier: BSD-2-Clause
/*
 * board.c - open the maps of the cluster, and follow the instance.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "board.h"
#include "mapping.h"
#include "maps.h"

static uint32_t id_of(int fd)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : info.id;
}

static int open_maps(const char *dir, struct board *board)
{
	int *const fds[] = { &board->changed_fd, &board->nodes_fd, &board->remote_fd };
	static const char *const names[] = { CC_PIN_CHANGED, CC_PIN_NODES, CC_PIN_REMOTE };
	int cluster_fd, err = 0;

	board->changed_fd = board->nodes_fd = board->remote_fd = -1;
	for (int i = 0; !err && i < 3; i++) {
		*fds[i] = map_open(dir, CC_DIR_LIVE, names[i], 0, NULL);
		err = *fds[i] < 0 ? *fds[i] : 0;
	}
	cluster_fd = err ? err : map_open(dir, CC_DIR_LIVE, CC_PIN_CLUSTER, 0, NULL);
	if (cluster_fd < 0)
		return cluster_fd;
	board->cluster = map_value(cluster_fd, sizeof(*board->cluster), PROT_READ | PROT_WRITE);
	if (!board->cluster)
		err = -errno;
	close(cluster_fd);
	board->remote_id = id_of(board->remote_fd);
	return err;
}

void board_close(struct board *board)
{
	if (!board->set)
		return;
	for (int i = 0; i < 3; i++) {
		int fd = (const int[]){ board->changed_fd, board->nodes_fd, board->remote_fd }[i];

		if (fd >= 0)
			close(fd);
	}
	unmap_value(board->cluster, sizeof(*board->cluster));
	*board = (struct board){ 0 };
}

int board_follow(const char *dir, struct board *board, enum board_change *ret_change)
{
	uint64_t set = live_set(dir);
	struct board fresh = { .set = set };
	bool same;
	int err;

	*ret_change = BOARD_SAME;
	if (set && set == board->set)
		return 0;
	err = set ? open_maps(dir, &fresh) : -ENOENT;
	if (err) {
		board_close(&fresh);
		board_close(board);
		return err;
	}
	same = board->set && board->remote_id == fresh.remote_id;
	board_close(board);
	*board = fresh;
	*ret_change = same ? BOARD_SET : BOARD_MAPS;
	return 0;
}
