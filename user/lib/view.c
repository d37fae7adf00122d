// SPDX-License-Identifier: BSD-2-Clause
/*
 * view.c - the handle: opening an instance, and following it through unload and load.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "cgroup_mount.h"
#include "internal.h"
#include "mapping.h"
#include "maps.h"

void copy_words(void *to, const void *from, size_t size)
{
	for (size_t i = 0; i < size / sizeof(uint64_t); i++)
		((uint64_t *)to)[i] = __atomic_load_n((const uint64_t *)from + i, __ATOMIC_ACQUIRE);
}

/* Bytes of the `recent` map. */
static size_t recent_size(const struct view *view)
{
	const struct cc_windows *windows = &view->config.windows;

	return windows->groups * CC_RECENT_GROUP_SIZE(windows->slots);
}

static void view_close(struct view *view)
{
	const int fds[] = {
		view->control_fd, view->configs_fd,  view->listeners_fd, view->counts_fd,
		view->stats_fd,   view->fill_fd,     view->cache_fd,     view->sum_fd,
		view->mount_fd,   view->sessions_fd, view->cluster_fd,   view->nodes_fd,
		view->remote_fd,
	};

	if (!view->open)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	unmap_value((void *)view->control, sizeof(*view->control));
	unmap_value((void *)view->stats, CC_LISTENERS_MAX * sizeof(*view->stats));
	unmap_value((void *)view->cluster, sizeof(*view->cluster));
	unmap_value((void *)view->recent, recent_size(view));
	view->open = false;
}

/*
 * Map a pinned array of @size bytes for reading, if that is permitted: reading it then costs no
 * system call. The mapping cannot be made writable, and the descriptor is closed at once. Returns
 * NULL, with errno set, if that fails.
 */
static const void *map_pinned(const char *dir, const char *name, size_t size)
{
	int fd = map_open(dir, CC_DIR_LIVE, name, 0, NULL);
	void *value;

	if (fd < 0) {
		errno = -fd;
		return NULL;
	}
	value = map_value(fd, size, PROT_READ);
	close(fd); /* leaves errno alone */
	return value;
}

/*
 * Open the program that adds up counts. Returns -1 if that fails, or if the program has another
 * type: it would not understand the request.
 */
static int sum_open(const char *dir)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = pin_open(dir, CC_DIR_LIVE, CC_PIN_SUM, BPF_F_RDONLY);

	if (fd < 0)
		return -1;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) || info.type != BPF_PROG_TYPE_RAW_TRACEPOINT) {
		close(fd);
		return -1;
	}
	return fd;
}

static int control_get(const struct view *view, struct cc_control *ret_control)
{
	__u32 zero = 0;

	if (view->control) {
		copy_words(ret_control, view->control, sizeof(*ret_control));
		return 0;
	}
	return bpf_map_lookup_elem(view->control_fd, &zero, ret_control);
}

/* The active generation; 0 if the instance is unloaded. Returns -EPROTO if its ABI is another one.
 */
static int generation_get(const struct view *view, uint64_t *ret_generation)
{
	struct cc_control control;
	int err = control_get(view, &control);

	if (err)
		return err;
	if (control.generation && control.abi != CC_ABI)
		return -EPROTO;
	*ret_generation = control.generation;
	return 0;
}

static uint64_t inode(int dir_fd, const char *path)
{
	struct stat st;

	return fstatat(dir_fd, path, &st, 0) ? 0 : st.st_ino;
}

/*
 * Find the mount in which this process sees the cgroup. In a container, or with another cgroup
 * namespace, the mounts may show other parts of the hierarchy, or none: then mount_fd stays -1.
 */
static void find_cgroup(struct view *view)
{
	char mount[PATH_MAX];

	view->cgroup_checked = 0;
	view->cgroup_gone = 0;
	/* The cgroup of a set of maps does not change, and a process may have changed its root. */
	if (view->mount_fd >= 0)
		return;
	if (strcmp(view->config.cgroup, "/") &&
	    !cgroup2_mount_of(view->config.cgroup_root_id, mount))
		view->mount_fd = open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

bool view_is_detached(struct view *view)
{
	struct timespec now;

	if (view->mount_fd < 0)
		return false;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	uint32_t second = (uint32_t)now.tv_sec + 1;
	if (__atomic_load_n(&view->cgroup_checked, __ATOMIC_RELAXED) != second) {
		bool gone =
			inode(view->mount_fd, view->config.cgroup + 1) != view->config.cgroup_id;

		__atomic_store_n(&view->cgroup_gone, gone, __ATOMIC_RELAXED);
		__atomic_store_n(&view->cgroup_checked, second, __ATOMIC_RELAXED);
	}
	return __atomic_load_n(&view->cgroup_gone, __ATOMIC_RELAXED);
}

/* Read the active configuration, unless it is the one that is held already. */
static int view_update(struct view *view)
{
	uint64_t generation, again = 0;
	int err = generation_get(view, &generation);

	while (!err && generation != view->generation) {
		__u32 slot = generation & 1;

		if (!generation)
			return -ENOENT;
		view->generation = 0;
		err = bpf_map_lookup_elem(view->configs_fd, &slot, &view->config);
		config_bound(&view->config);
		if (!err)
			err = generation_get(view, &again);
		/* A load in between may have begun to overwrite what was read. */
		if (!err && again == generation)
			view->generation = generation;
		memset(view->since, 0, sizeof(view->since));
		if (view->generation)
			find_cgroup(view);
		generation = again;
	}
	return err;
}

/* Whether a build up to CC_ABI 5 has loaded what there is. */
static bool is_old(const char *dir)
{
	int fd = pin_open(dir, CC_DIR_LIVE, CC_PIN_CONTROL_OLD, BPF_F_RDONLY);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int try_open(const char *dir, struct view *view)
{
	struct {
		const char *name;
		int *fd;
	} maps[] = {
		{ CC_PIN_CONTROL, &view->control_fd },     { CC_PIN_CONFIGS, &view->configs_fd },
		{ CC_PIN_LISTENERS, &view->listeners_fd }, { CC_PIN_STATS, &view->stats_fd },
		{ CC_PIN_FILL, &view->fill_fd },           { CC_PIN_CACHE, &view->cache_fd },
		{ CC_PIN_SESSIONS, &view->sessions_fd },   { CC_PIN_CLUSTER, &view->cluster_fd },
		{ CC_PIN_NODES, &view->nodes_fd },         { CC_PIN_REMOTE, &view->remote_fd },
		{ CC_PIN_COUNTS, &view->counts_fd },
	};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
		*maps[i].fd = -1;
	view->sum_fd = -1;
	view->mount_fd = -1;
	view->control = NULL;
	view->stats = NULL;
	view->cluster = NULL;
	view->recent = NULL;
	view->open = true;
	view->generation = 0;
	/* `counts` comes last: its size is what stays in max_prefixes. */
	for (size_t i = 0; !err && i < ARRAY_SIZE(maps); i++) {
		*maps[i].fd =
			map_open(dir, CC_DIR_LIVE, maps[i].name, BPF_F_RDONLY, &view->max_prefixes);
		err = *maps[i].fd < 0 ? *maps[i].fd : 0;
	}
	if (err == -ENOENT && is_old(dir))
		err = -EPROTO;
	if (!err) {
		view->control = map_pinned(dir, CC_PIN_CONTROL, sizeof(*view->control));
		view->stats =
			map_pinned(dir, CC_PIN_STATS, CC_LISTENERS_MAX * sizeof(*view->stats));
		view->cluster = map_pinned(dir, CC_PIN_CLUSTER, sizeof(*view->cluster));
		view->sum_fd = sum_open(dir);
		err = view_update(view);
	}
	/* Its size does not change with the configuration of a set of maps. */
	if (!err && view->config.windows.n) {
		view->recent = map_pinned(dir, CC_PIN_RECENT, recent_size(view));
		view->recent_err = -errno;
	}
	if (!err && !view->generation)
		err = -ENOENT;
	if (err)
		view_close(view);
	return err;
}

/*
 * A load may replace the set meanwhile: then try_open() has maps of both, or of one that is retired
 * already. Try again in that case.
 */
static int view_open(const char *dir, struct view *view)
{
	for (;;) {
		uint64_t set = live_set(dir);
		int err = try_open(dir, view);

		if (live_set(dir) == set)
			return err;
		view_close(view);
	}
}

const char *conncount_dir(const char *dir)
{
	if (!dir)
		dir = getenv(CONNCOUNT_DIR_ENV);
	return dir && *dir ? dir : CONNCOUNT_DIR;
}

int conncount_open(const char *dir, struct conncount **ret)
{
	struct conncount *cc = calloc(1, sizeof(*cc));
	int err;

	if (!cc)
		return -ENOMEM;
	cc->dir = strdup(conncount_dir(dir));
	if (!cc->dir) {
		err = -ENOMEM;
		goto cleanup;
	}
	err = view_open(cc->dir, &cc->view);
	if (err)
		goto cleanup;
	pthread_mutex_init(&cc->lock, NULL);
	pthread_cond_init(&cc->idle, NULL);
	*ret = cc;
	return 0;
cleanup:
	view_close(&cc->view);
	free(cc->dir);
	free(cc);
	return err;
}

void conncount_close(struct conncount *cc)
{
	if (!cc)
		return;
	view_close(&cc->view);
	pthread_cond_destroy(&cc->idle);
	pthread_mutex_destroy(&cc->lock);
	free(cc->dir);
	free(cc);
}

/* Whether the view is that of the active configuration, and what `control` says. */
static bool view_check(const struct view *view, struct cc_control *ret_control)
{
	return view->open && !control_get(view, ret_control) &&
	       ret_control->generation == view->generation;
}

bool view_is_current(const struct view *view)
{
	struct cc_control control;

	return view_check(view, &control);
}

/* Bring the view up to date: by reading the new configuration, or by opening the new instance. */
static int view_refresh(struct conncount *cc)
{
	if (cc->view.open) {
		int err = view_update(&cc->view);

		if (!err)
			return 0;
		view_close(&cc->view);
	}
	return view_open(cc->dir, &cc->view);
}

/* Bring the view up to date, or open it again, when no query holds it. */
static int view_change(struct conncount *cc)
{
	int err = 0;

	pthread_mutex_lock(&cc->lock);
	while (!view_is_current(&cc->view)) {
		if (__atomic_or_fetch(&cc->queries, VIEW_CHANGES, __ATOMIC_ACQUIRE) ==
		    VIEW_CHANGES) {
			err = view_refresh(cc);
			break;
		}
		/* Meanwhile another thread may change it. */
		pthread_cond_wait(&cc->idle, &cc->lock);
	}
	/* Also if the view is current after all, for example if the check had failed for want of
	 * memory. */
	__atomic_fetch_and(&cc->queries, ~VIEW_CHANGES, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&cc->idle);
	pthread_mutex_unlock(&cc->lock);
	return err;
}

int view_acquire(struct conncount *cc, struct cc_control *ret_control)
{
	struct cc_control unused;
	int err = 0;

	if (!ret_control)
		ret_control = &unused;
	for (;;) {
		if (!(__atomic_fetch_add(&cc->queries, 1, __ATOMIC_ACQUIRE) & VIEW_CHANGES) &&
		    view_check(&cc->view, ret_control))
			return 0;
		view_release(cc);
		if (err)
			return err;
		err = view_change(cc);
	}
}

void view_release(struct conncount *cc)
{
	if (__atomic_sub_fetch(&cc->queries, 1, __ATOMIC_RELEASE) != VIEW_CHANGES)
		return;
	pthread_mutex_lock(&cc->lock);
	pthread_cond_broadcast(&cc->idle);
	pthread_mutex_unlock(&cc->lock);
}

/* The name of the group that may read @dir; "conncount" if that is unknown. */
static const char *group_of(const char *dir, char *buf, size_t size)
{
	struct group entry, *group = NULL;
	struct stat st;

	if (stat(dir, &st) || getgrgid_r(st.st_gid, &entry, buf, size, &group) || !group)
		return "conncount";
	return group->gr_name;
}

char *conncount_strerror(const char *dir, int err, char *buf, size_t size)
{
	char names[1024];

	dir = conncount_dir(dir); /* only the start of a long one: the reason must fit */
	switch (-err) {
	case ENOENT:
		snprintf(buf, size, "%.256s: not loaded (start counting with: conncount load)",
			 dir);
		break;
	case EPERM: /* what a filter of system calls says; file permissions give EACCES */
		snprintf(buf, size,
			 "%.256s: bpf(2) is not permitted (the system call filter of this "
			 "container or unit must permit it)",
			 dir);
		break;
	case EACCES:
		snprintf(buf, size,
			 "%.256s: permission denied (only root and the members of the group '%s' "
			 "may "
			 "read it)",
			 dir, group_of(dir, names, sizeof(names)));
		break;
	case EPROTO:
		snprintf(buf, size,
			 "%.256s: loaded by another version of conncount (load this one with: "
			 "conncount load)",
			 dir);
		break;
	case EAGAIN:
		snprintf(buf, size,
			 "the session's PROXY header has not come yet (ask again after the server "
			 "has read it)");
		break;
	default:
		snprintf(buf, size, "%.256s: %s", dir, strerror(-err));
	}
	return buf;
}

#ifndef CONNCOUNT_VERSION
#error "CONNCOUNT_VERSION comes from the Makefile"
#endif

const char *conncount_version(void)
{
	return CONNCOUNT_VERSION;
}
