// SPDX-License-Identifier: BSD-2-Clause
/*
 * maps.c - open pinned maps, only those that this build can read.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include "internal.h"
#include "maps.h"

/* The maps of bpf/maps.bpf.h that are opened by name. */
static const struct shape {
	const char *name;
	__u32 type, key_size;
	__u32 value_size, max_entries; /* 0: as configured */
	__u32 flags;
} shapes[] = {
	{ CC_PIN_CONTROL, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct cc_control), 1,
	  BPF_F_MMAPABLE },
	{ CC_PIN_CONFIGS, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct cc_config), 2, 0 },
	{ CC_PIN_LISTENERS, BPF_MAP_TYPE_LPM_TRIE, sizeof(struct cc_listener_key),
	  sizeof(struct cc_listener_id), 2 * CC_LISTENS_MAX, BPF_F_NO_PREALLOC },
	{ CC_PIN_COUNTS, BPF_MAP_TYPE_LPM_TRIE, sizeof(struct cc_count_key),
	  sizeof(struct cc_count), 0, BPF_F_NO_PREALLOC },
	{ CC_PIN_SESSIONS, BPF_MAP_TYPE_SK_STORAGE, sizeof(int), sizeof(struct cc_session), 0,
	  BPF_F_NO_PREALLOC },
	{ CC_PIN_STATS, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct cc_stats),
	  CC_LISTENERS_MAX, BPF_F_MMAPABLE },
	{ CC_PIN_FILL, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct cc_fill), 1, 0 },
	{ CC_PIN_CHANGED, BPF_MAP_TYPE_HASH, sizeof(struct cc_changed), sizeof(__u32),
	  CC_CHANGED_MAX, BPF_F_NO_PREALLOC },
	{ CC_PIN_CLUSTER, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct cc_cluster), 1,
	  BPF_F_MMAPABLE },
	{ CC_PIN_NODES, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct cc_node), CC_NODES_MAX,
	  0 },
	{ CC_PIN_REMOTE, BPF_MAP_TYPE_LPM_TRIE, sizeof(struct cc_count_key),
	  sizeof(struct cc_count), CC_REMOTE_MAX, BPF_F_NO_PREALLOC },
	{ CC_PIN_CACHE, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct cc_cache_slot),
	  CC_CACHE_SLOTS, 0 },
	{ CC_PIN_RECENT, BPF_MAP_TYPE_ARRAY, sizeof(__u32), 0, 0, BPF_F_MMAPABLE },
	{ CC_PIN_LIMITS, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct cc_limits),
	  2 * CC_LISTENERS_MAX, 0 },
	{ CC_PIN_REFUSALS, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct cc_refusals),
	  CC_LISTENERS_MAX, BPF_F_MMAPABLE },
	{ CC_PIN_REFUSED, BPF_MAP_TYPE_LRU_HASH, sizeof(struct cc_refused_key),
	  sizeof(struct cc_refused), CC_REFUSED_MAX, 0 },
	{ CC_PIN_GATED, BPF_MAP_TYPE_HASH, sizeof(__u64), sizeof(struct cc_gated), CC_NETNS_MAX,
	  BPF_F_NO_PREALLOC },
};

static const struct shape *shape_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		if (!strcmp(shapes[i].name, name))
			return &shapes[i];
	return NULL;
}

static bool has_shape(const struct bpf_map_info *info, const struct shape *shape)
{
	return shape && info->type == shape->type && info->key_size == shape->key_size &&
	       (!shape->value_size || info->value_size == shape->value_size) &&
	       info->map_flags == shape->flags &&
	       (!shape->max_entries || info->max_entries == shape->max_entries);
}

int pin_open(const char *dir, const char *set, const char *name, __u32 flags)
{
	LIBBPF_OPTS(bpf_obj_get_opts, opts, .file_flags = flags);
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s/%s", dir, set, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return bpf_obj_get_opts(path, &opts);
}

int map_open(const char *dir, const char *set, const char *name, __u32 flags, __u32 *ret_entries)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = pin_open(dir, set, name, flags);
	int err;

	if (fd < 0)
		return fd;
	err = bpf_obj_get_info_by_fd(fd, &info, &size);
	if (!err && !has_shape(&info, shape_of(name)))
		err = -EPROTO;
	if (err) {
		close(fd);
		return err;
	}
	if (ret_entries)
		*ret_entries = info.max_entries;
	return fd;
}

uint64_t live_set(const char *dir)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" CC_DIR_LIVE, dir);
	return stat(path, &st) ? 0 : st.st_ino;
}

struct cc_control live_control(const char *dir)
{
	struct cc_control control = { 0 };
	__u32 zero = 0;
	int fd = map_open(dir, CC_DIR_LIVE, CC_PIN_CONTROL, BPF_F_RDONLY, NULL);

	if (fd >= 0 && bpf_map_lookup_elem(fd, &zero, &control))
		memset(&control, 0, sizeof(control));
	if (fd >= 0)
		close(fd);
	if (control.abi != CC_ABI)
		memset(&control, 0, sizeof(control));
	return control;
}

/* Forget the windows of a configuration if they are not what a load can have written. */
static void windows_bound(struct cc_windows *windows)
{
	uint64_t slots = 0;
	bool good = windows->n <= CC_WINDOWS_MAX;

	for (uint32_t i = 0; good && i < windows->n; i++) {
		good = windows->window[i].seconds && windows->window[i].slots;
		slots += windows->window[i].slots;
	}
	if (!good || slots != windows->slots || slots > CC_WINDOW_SLOTS_MAX ||
	    !windows->groups != !windows->n)
		memset(windows, 0, sizeof(*windows));
}

void config_bound(struct cc_config *config)
{
	windows_bound(&config->windows);
	config->used = config_used(config);
	config->build[sizeof(config->build) - 1] = '\0';
	config->cgroup[sizeof(config->cgroup) - 1] = '\0';
	for (size_t id = 0; id < CC_LISTENERS_MAX; id++) {
		struct cc_listener *listener = &config->listener[id];

		listener->name[sizeof(listener->name) - 1] = '\0';
		listener->service[sizeof(listener->service) - 1] = '\0';
	}
}
