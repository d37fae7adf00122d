/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * maps.h - open pinned maps, only those that this build can read.
 */
#ifndef CONNCOUNT_MAPS_H
#define CONNCOUNT_MAPS_H

#include <stdint.h>

#include <linux/types.h>

#include "abi.h"

/*
 * pin_open() - open what is pinned as DIR/SET/NAME.
 * @flags: BPF_F_RDONLY, or 0 to read and write.
 *
 * Returns a file descriptor or a negative errno.
 */
int pin_open(const char *dir, const char *set, const char *name, __u32 flags);

/*
 * map_open() - the same for a map that abi.h describes. Checks its type, sizes and flags: with
 * other sizes the kernel could write more than the caller has room for.
 * @ret_entries: if not NULL, how many entries it has room for.
 *
 * Returns a file descriptor; -EPROTO if it is not the map of that name in this ABI; or another
 * negative errno.
 */
int map_open(const char *dir, const char *set, const char *name, __u32 flags, __u32 *ret_entries);

/* live_set() - the inode number of the live set's directory, which is different for each set; 0 if
 * there is none. */
uint64_t live_set(const char *dir);

/* live_control() - a copy of the live set's control; all 0 if there is none that can be read, or if
 * it is of another ABI. */
struct cc_control live_control(const char *dir);

/*
 * config_bound() - make a configuration that was read safe to use, even if someone else wrote it:
 * every text in it ends, and it has no more listeners than there is room for.
 */
void config_bound(struct cc_config *config);

#endif
