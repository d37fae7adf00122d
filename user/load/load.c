// SPDX-License-Identifier: BSD-2-Clause
/*
 * load.c - start counting, or bring what counts up to date.
 */
#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>

#include "conncount.skel.h"
#include "gates.h"
#include "kernel.h"
#include "load.h"
#include "mapping.h"
#include "maps.h"
#include "mounts.h"
#include "namespaces.h"
#include "permission.h"
#include "report.h"
#include "sockets.h"
#include "publish.h"
#include "windows.h"

/* libbpf's warnings give the best reason why a kernel rejects a program. */
static int print_warnings(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level != LIBBPF_WARN)
		return 0;
	return vfprintf(stderr, format, args);
}

/* --- what is there already ---------------------------------------------------------------- */

/* Open an object pinned in the live set. Returns a descriptor or a negative errno. */
static int open_live(const char *dir, const char *name)
{
	char path[PATH_MAX];

	return bpf_obj_get(instance_path(dir, CC_DIR_LIVE, name, path));
}

/* The id of the cgroup that a link is attached to: 0 if that is gone, or there is no link. */
static __u64 link_cgroup(const char *dir, const char *name)
{
	struct bpf_link_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = open_live(dir, name);

	if (fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		info.cgroup.cgroup_id = 0;
	close(fd);
	return info.cgroup.cgroup_id;
}

/* Whether a map is what this build and this configuration would make. */
static bool is_same_map(const char *dir, const struct bpf_map *map)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = open_live(dir, bpf_map__name(map));
	bool same;

	if (fd < 0)
		return false;
	same = !bpf_obj_get_info_by_fd(fd, &info, &size) && info.type == bpf_map__type(map) &&
	       info.key_size == bpf_map__key_size(map) &&
	       info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map) &&
	       info.map_flags == bpf_map__map_flags(map);
	close(fd);
	return same;
}

/* Whether a map is one of those about limits. */
static bool is_of_limits(const struct conncount_bpf *skel, const struct bpf_map *map)
{
	return map == skel->maps.limits || map == skel->maps.exempt || map == skel->maps.places ||
	       map == skel->maps.refusals || map == skel->maps.refused || map == skel->maps.gated;
}

/* Whether a map is one of those that make up a set: the others are for programs alone. */
static bool is_of_set(const struct conncount_bpf *skel, const struct bpf_map *map)
{
	return bpf_map__autocreate(map) && !bpf_map__is_internal(map) && map != skel->maps.former &&
	       map != skel->maps.netns_found && map != skel->maps.hash_tables &&
	       map != skel->maps.waiting;
}

/* Whether something is pinned in the live set. */
static bool is_live(const char *dir, const char *name)
{
	char path[PATH_MAX];

	return !access(instance_path(dir, CC_DIR_LIVE, name, path), F_OK);
}

/* Maps about limits can be added to a set at any time. */
static bool has_same_maps(const char *dir, const struct conncount_bpf *skel)
{
	const struct bpf_map *map;

	bpf_object__for_each_map(map, skel->obj)
		if (is_of_set(skel, map) &&
		    !(is_of_limits(skel, map) && !is_live(dir, bpf_map__name(map))) &&
		    !is_same_map(dir, map))
			return false;
	return true;
}

/* Returns the active configuration, which the caller frees; NULL if there is none of this ABI. */
static struct cc_config *live_config(const char *dir)
{
	struct cc_config *active = calloc(1, sizeof(*active));
	struct cc_control control = live_control(dir);
	__u32 slot = control.generation & 1;
	int fd = map_open(dir, CC_DIR_LIVE, CC_PIN_CONFIGS, 0, NULL);

	if (active && (!control.generation || fd < 0 || bpf_map_lookup_elem(fd, &slot, active))) {
		free(active);
		active = NULL;
	}
	if (fd >= 0)
		close(fd);
	return active;
}

/* Whether two sets count the same connections, in the same windows. */
static bool is_same_population(const struct cc_config *live, const struct cgroup *cgroup,
			       const struct netns *counted, const struct cc_windows *windows)
{
	return live && live->cgroup_id == cgroup->id && live->netns_cookie == counted->cookie &&
	       windows_are_same(&live->windows, windows);
}

/* Whether what is loaded can go on with its maps. */
static bool can_continue(const char *dir, const struct conncount_bpf *skel,
			 const struct cgroup *cgroup)
{
	struct cc_control control = live_control(dir);
	__u64 ingress = link_cgroup(dir, CC_PIN_INGRESS);

	/* An inexact instance is repaired by counting again in new maps, as far as room and memory
	 * allow. */
	return control.generation && !control.inexact &&
	       link_cgroup(dir, CC_PIN_SOCKOPS) == cgroup->id &&
	       link_cgroup(dir, CC_PIN_RELEASE) == cgroup->id &&
	       (!ingress || ingress == cgroup->id) && has_same_maps(dir, skel);
}

/* --- permissions --------------------------------------------------------------------------- */

/* The group that may read the counts. If the default group does not exist: root's, with a note. */
static int reader_group(const struct config *config, gid_t *ret_gid)
{
	const struct group *group;

	errno = 0;
	group = getgrnam(config->group);
	if (!group && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EIO)) {
		int err = -errno;

		report("group '%s': cannot be looked up: %s", config->group, strerror(-err));
		return err;
	}
	if (group) {
		*ret_gid = group->gr_gid;
		return 0;
	}
	if (config->group_line) {
		report("group '%s': there is no such group (create it: groupadd --system %s)",
		       config->group, config->group);
		return -EINVAL;
	}
	report("note: there is no group '%s', so only root can read the counts (create it: "
	       "groupadd --system %s; then load again)",
	       config->group, config->group);
	*ret_gid = 0;
	return 0;
}

/* Give a file or directory to root and the group. */
static int permit_one(const char *path, gid_t gid, mode_t mode)
{
	if (!chown(path, 0, gid) && !chmod(path, mode))
		return 0;

	int err = -errno;
	report("%s: cannot set permissions: %s%s", path, strerror(-err),
	       permission_remedy(err, CAP_CHOWN));
	return err;
}

/* Look up a group that need not exist: then it is root's. */
static gid_t group_or_root(const char *name)
{
	const struct group *group = getgrnam(name);

	return group ? group->gr_gid : 0;
}

/*
 * The cluster's daemon, which has a group of its own, may write what it tells readers, and read
 * what programs tell it. Readers are not in that group, but nobody else gets into the directory.
 */
static int permit_daemon(const char *dir, const char *set)
{
	static const struct {
		const char *name;
		mode_t mode;
	} pins[] = {
		{ CC_PIN_CHANGED, 0660 },
		{ CC_PIN_CLUSTER, 0664 },
		{ CC_PIN_NODES, 0664 },
		{ CC_PIN_REMOTE, 0664 },
	};
	gid_t gid = group_or_root(CC_CLUSTER_GROUP);
	char path[PATH_MAX];
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(pins) / sizeof(*pins); i++)
		err = permit_one(instance_path(dir, set, pins[i].name, path), gid, pins[i].mode);
	return err;
}

/* The group may read what is about limits, if that exists. */
static int permit_limits(const char *dir, const char *set, gid_t gid)
{
	static const char *const pins[] = {
		CC_PIN_LIMITS, CC_PIN_EXEMPT, CC_PIN_REFUSALS, CC_PIN_REFUSED, CC_PIN_GATED,
	};
	char path[PATH_MAX];
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(pins) / sizeof(*pins); i++) {
		instance_path(dir, set, pins[i], path);
		if (!access(path, F_OK))
			err = permit_one(path, gid, 0640);
	}
	return err;
}

/*
 * The group may read the directory and the maps; in `sessions`, a member can look up only sockets
 * that it has open. Nobody else may read anything.
 */
static int permit(const char *dir, const char *set, gid_t gid)
{
	static const char *const readable[] = {
		CC_PIN_CONTROL,  CC_PIN_CONFIGS, CC_PIN_LISTENERS, CC_PIN_PROXIES, CC_PIN_COUNTS,
		CC_PIN_SESSIONS, CC_PIN_STATS,   CC_PIN_FILL,      CC_PIN_CACHE,
	};
	char path[PATH_MAX];
	int err = permit_one(dir, gid, 0750);

	if (!err)
		err = permit_one(instance_path(dir, set, "", path), gid, 0750);
	for (size_t i = 0; !err && i < sizeof(readable) / sizeof(*readable); i++)
		err = permit_one(instance_path(dir, set, readable[i], path), gid, 0640);
	/* Frozen: who opens it for writing can map it, but only to read. */
	if (!err)
		err = permit_one(instance_path(dir, set, CC_PIN_RECENT, path), gid, 0660);
	if (!err)
		err = permit_daemon(dir, set);
	if (!err)
		err = permit_limits(dir, set, gid);
	return err;
}

static int freeze_one(const struct bpf_map *map)
{
	int err = bpf_map_freeze(bpf_map__fd(map));

	if (err)
		report("%s: cannot be frozen: %s", bpf_map__name(map), strerror(-err));
	return err;
}

/*
 * Only programs write these from now on. A member of the group can pin what it can read in any
 * bpffs that it can write to, and open that for writing.
 */
static int freeze(const struct conncount_bpf *skel)
{
	const struct bpf_map *const maps[] = {
		skel->maps.counts,   skel->maps.cache,     skel->maps.fill,
		skel->maps.sessions, skel->maps.untracked,
	};
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(maps) / sizeof(*maps); i++)
		err = freeze_one(maps[i]);
	if (!err && !skel->rodata->windows_shared)
		err = freeze_one(skel->maps.recent);
	return err;
}

/*
 * The same for the maps about limits. A live set may have got them only now, or have had them: the
 * kernel says EPERM of a map that is frozen already.
 */
static int freeze_limits(const struct conncount_bpf *skel)
{
	const struct bpf_map *const maps[] = { skel->maps.places, skel->maps.refused };
	int err = 0;

	if (!bpf_map__autocreate(skel->maps.limits))
		return 0;
	for (size_t i = 0; !err && i < sizeof(maps) / sizeof(*maps); i++) {
		err = bpf_map_freeze(bpf_map__fd(maps[i]));
		if (err == -EPERM || err == -EBUSY)
			err = 0;
		if (err)
			report("%s: cannot be frozen: %s", bpf_map__name(maps[i]), strerror(-err));
	}
	return err;
}

/* --- programs ------------------------------------------------------------------------------ */

/*
 * Say whether @skel, which is not loaded yet, has the maps about limits, and the program that needs
 * them when limits are gone.
 */
static int limits_create(struct conncount_bpf *skel, bool create)
{
	struct bpf_map *map;
	int cpus = libbpf_num_possible_cpus();
	int err = cpus < 0 ? cpus : bpf_map__set_max_entries(skel->maps.places, (__u32)cpus);

	bpf_object__for_each_map(map, skel->obj)
		if (!err && is_of_limits(skel, map))
			err = bpf_map__set_autocreate(map, create);
	if (err)
		return err;
	skel->rodata->places_max = (__u32)cpus;
	bpf_program__set_autoload(skel->progs.conncount_reclaim, create);
	bpf_program__set_autoload(skel->progs.conncount_ack_gate, false);
	bpf_program__set_autoload(skel->progs.conncount_syn_gate, false);
	return 0;
}

/* Have @skel, which is not loaded yet, apply the limits of a configuration. */
static int limits_plan(struct conncount_bpf *skel, const struct config *config)
{
	int err = limits_create(skel, true);

	skel->rodata->has_limits = true;
	bpf_program__set_autoload(skel->progs.conncount_ack_gate, config_has_resets(config));
	bpf_program__set_autoload(skel->progs.conncount_syn_gate, config_has_resets(config));
	return err;
}

static int open_skeleton(uint32_t max_prefixes, const struct cc_windows *windows,
			 struct conncount_bpf **ret)
{
	struct conncount_bpf *skel = conncount_bpf__open();
	int err = skel ? bpf_map__set_max_entries(skel->maps.counts, max_prefixes) : -errno;

	if (!err)
		err = windows_set(skel, windows);
	if (!err)
		err = bpf_map__set_autocreate(skel->maps.former, false); /* until former_open() */
	if (!err)
		err = limits_create(skel, false); /* until load() */
	if (err) {
		report("BPF object: %s", strerror(-err));
		conncount_bpf__destroy(skel);
		return err;
	}
	*ret = skel;
	return 0;
}

/* Load the programs, with the maps pinned in @set, or new ones that get pinned there. */
static int load_skeleton(const char *dir, const char *set, struct conncount_bpf *skel)
{
	struct bpf_map *map;
	char path[PATH_MAX];
	int err = 0;

	bpf_object__for_each_map(map, skel->obj) {
		if (!err && is_of_set(skel, map))
			err = bpf_map__set_pin_path(
				map, instance_path(dir, set, bpf_map__name(map), path));
	}
	if (!err)
		err = conncount_bpf__load(skel);
	if (err)
		report("the kernel rejected the BPF programs: %s (known to work: " KERNEL_OLDEST
		       " and later)",
		       strerror(-err));
	return err;
}

/*
 * Pin the program that readers run. It replaces another build's in one step: readers that have that
 * one open can continue to use it.
 */
static int pin_sum(const char *dir, const char *set, const struct bpf_program *program, gid_t gid)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	int err = 0;

	instance_path(dir, set, CC_PIN_SUM, path);
	instance_path(dir, set, CC_PIN_SUM "-next", fresh);
	unlink(fresh); /* left by a load that was killed */
	if (bpf_obj_pin(bpf_program__fd(program), fresh))
		err = -errno;
	if (!err)
		err = permit_one(fresh, gid, 0640);
	if (!err && rename(fresh, path))
		err = -errno;
	if (err)
		report("%s: cannot be pinned: %s", path, strerror(-err));
	return err;
}

/* Attach a program by a new link, pinned in @set. */
static int attach(const char *dir, const char *set, const char *name, struct bpf_program *program,
		  const struct cgroup *cgroup)
{
	struct bpf_link *link = bpf_program__attach_cgroup(program, cgroup->fd);
	char path[PATH_MAX];
	int err = link ? bpf_link__pin(link, instance_path(dir, set, name, path)) : -errno;

	bpf_link__destroy(link);
	if (err)
		report("cgroup %s: cannot attach %s: %s", cgroup->path, name, strerror(-err));
	return err;
}

/* Replace the program of a live link. No event is missed. */
static int replace(const char *dir, const char *name, const struct bpf_program *program)
{
	int fd = open_live(dir, name);
	int err = fd < 0 ? fd : bpf_link_update(fd, bpf_program__fd(program), NULL);

	if (fd >= 0)
		close(fd);
	if (err)
		report("%s/%s: cannot be replaced: %s", dir, name, strerror(-err));
	return err;
}

/*
 * Have this build's program read the headers of proxied sessions, from before the configuration
 * that says so is active.
 */
static int headers_attach(const char *dir, const struct conncount_bpf *skel,
			  const struct cgroup *cgroup)
{
	if (link_cgroup(dir, CC_PIN_INGRESS))
		return replace(dir, CC_PIN_INGRESS, skel->progs.conncount_ingress);
	return attach(dir, CC_DIR_LIVE, CC_PIN_INGRESS, skel->progs.conncount_ingress, cgroup);
}

/* Read no more headers: no session awaits one. */
static int headers_detach(const char *dir)
{
	char path[PATH_MAX];

	if (!unlink(instance_path(dir, CC_DIR_LIVE, CC_PIN_INGRESS, path)) || errno == ENOENT)
		return 0;

	int err = -errno;
	report("%s: cannot be removed: %s", path, strerror(-err));
	return err;
}

/* --- what a new set takes over -------------------------------------------------------------- */

/*
 * The loaded set, from which a new one takes over which session is counted under which listener.
 * `control` is a copy.
 */
struct former {
	struct config_maps maps;
	struct cc_control control;
};

/* Have @map, which is not loaded yet, be a loaded one. Returns 0 or a negative errno. */
static int reuse_live(const char *dir, const char *name, struct bpf_map *map)
{
	int fd = open_live(dir, name);
	int err = fd < 0 ? fd : bpf_map__reuse_fd(map, fd);

	if (fd >= 0)
		close(fd); /* the skeleton has its own */
	return err;
}

static void former_close(struct former *former)
{
	if (former->maps.configs_fd >= 0)
		close(former->maps.configs_fd);
	if (former->maps.stats_fd >= 0)
		close(former->maps.stats_fd);
	if (former->maps.limit.limits_fd >= 0)
		close(former->maps.limit.limits_fd);
	if (former->maps.limit.refusals_fd >= 0)
		close(former->maps.limit.refusals_fd);
}

/* Open the maps about limits of what is loaded, if they are there and of this build's layout. */
static void former_open_limits(const char *dir, const struct conncount_bpf *skel,
			       struct limit_maps *ret)
{
	if (!is_same_map(dir, skel->maps.limits) || !is_same_map(dir, skel->maps.refusals))
		return;
	ret->limits_fd = open_live(dir, CC_PIN_LIMITS);
	ret->refusals_fd = open_live(dir, CC_PIN_REFUSALS);
}

/*
 * Open what is loaded, if this build can read it, and have @skel, which is not loaded yet, read its
 * sessions. Returns whether there is anything to take over; then the caller must call
 * former_close().
 */
static bool former_open(const char *dir, struct conncount_bpf *skel, struct former *ret)
{
	struct former former = {
		.maps = {
			.listeners_fd = -1,
			.proxies_fd = -1,
			.configs_fd = -1,
			.stats_fd = -1,
			.limit = LIMIT_MAPS_NONE,
		},
		.control = live_control(dir),
	};
	bool found = former.control.generation && is_same_map(dir, skel->maps.sessions) &&
		     is_same_map(dir, skel->maps.configs) && is_same_map(dir, skel->maps.stats);

	if (!found)
		return false;
	former.maps.configs_fd = open_live(dir, CC_PIN_CONFIGS);
	former.maps.stats_fd = open_live(dir, CC_PIN_STATS);
	found = former.maps.configs_fd >= 0 && former.maps.stats_fd >= 0 &&
		!bpf_map__set_autocreate(skel->maps.former, true) &&
		!reuse_live(dir, CC_PIN_SESSIONS, skel->maps.former);
	if (!found) {
		former_close(&former);
		return false;
	}
	skel->rodata->has_former = true;
	former_open_limits(dir, skel, &former.maps.limit);
	*ret = former;
	ret->maps.control = &ret->control;
	return true;
}

/*
 * What is about the cluster is not about one set: a new one goes on with the maps of the loaded
 * one, so that the daemon and its readers notice nothing. @skel is not loaded yet.
 */
static int take_over_cluster(const char *dir, struct conncount_bpf *skel)
{
	struct bpf_map *const maps[] = {
		skel->maps.changed,
		skel->maps.cluster,
		skel->maps.nodes,
		skel->maps.remote,
	};
	bool same = live_control(dir).abi == CC_ABI;
	int err = 0;

	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++)
		same = same && is_same_map(dir, maps[i]);
	for (size_t i = 0; same && !err && i < sizeof(maps) / sizeof(*maps); i++) {
		err = reuse_live(dir, bpf_map__name(maps[i]), maps[i]);
		if (err)
			report("%s/%s: cannot be used again: %s", dir, bpf_map__name(maps[i]),
			       strerror(-err));
	}
	return err;
}

/* So do the windows of time, where both sets count the same connections. */
static int take_over_windows(const char *dir, struct conncount_bpf *skel)
{
	int err = reuse_live(dir, CC_PIN_RECENT, skel->maps.recent);

	if (!err)
		err = reuse_live(dir, CC_PIN_LOCKS, skel->maps.recent_locks);
	if (err)
		report("%s/%s: cannot be used again: %s", dir, CC_PIN_RECENT, strerror(-err));
	skel->rodata->windows_shared = true;
	return err;
}

/* --- all of it ---------------------------------------------------------------------------- */

/*
 * Make the configuration active in loaded maps, and count the sessions that are open on its new
 * listeners. Also finishes that work for a load that was killed.
 */
static int bring_up_to_date(struct conncount_bpf *skel, const struct config_maps *former,
			    const struct cgroup *cgroup, const struct netns *counted,
			    const struct config *config, bool *ret_changed)
{
	struct config_maps maps = {
		.listeners_fd = bpf_map__fd(skel->maps.listeners),
		.proxies_fd = bpf_map__fd(skel->maps.proxies),
		.configs_fd = bpf_map__fd(skel->maps.configs),
		.stats_fd = bpf_map__fd(skel->maps.stats),
		.limit = LIMIT_MAPS_NONE,
		.control = map_value(bpf_map__fd(skel->maps.control), sizeof(struct cc_control),
				     PROT_READ | PROT_WRITE),
	};

	if (!maps.control) {
		int err = -errno;

		report("%s: cannot be mapped: %s", CC_PIN_CONTROL, strerror(-err));
		return err;
	}
	if (bpf_map__autocreate(skel->maps.limits))
		maps.limit = (struct limit_maps){
			.limits_fd = bpf_map__fd(skel->maps.limits),
			.exempt_fd = bpf_map__fd(skel->maps.exempt),
			.refusals_fd = bpf_map__fd(skel->maps.refusals),
		};
	const struct cc_windows *windows = (const struct cc_windows *)&skel->rodata->windows;
	int err = config_publish(&maps, former, config, cgroup, counted, windows, ret_changed);
	if (!err && maps.control->seeding) {
		err = sockets_seed(skel, cgroup, counted);
		/* A release program that found no record may not have checked yet whether it needs
		 * one. */
		if (!err)
			err = programs_wait();
		/* And a header may have found no record, just before its session got one. */
		if (!err && config_has_proxies(config))
			err = sockets_seed(skel, cgroup, counted);
		if (!err)
			__atomic_store_n(&maps.control->seeding, 0, __ATOMIC_RELEASE);
	}
	if (!err && windows->n)
		err = config_begin_windows(&maps, skel->rodata->windows_shared ? former : NULL);
	if (!err && former)
		err = config_carry_totals(&maps, former);
	unmap_value(maps.control, sizeof(struct cc_control));
	return err;
}

/* Remove what the live set has about limits. */
static int limits_remove(const char *dir)
{
	static const char *const pins[] = {
		CC_PIN_LIMITS,   CC_PIN_EXEMPT,  CC_PIN_PLACES,
		CC_PIN_REFUSALS, CC_PIN_REFUSED, CC_PIN_GATED,
	};
	char path[PATH_MAX];
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(pins) / sizeof(*pins); i++)
		if (unlink(instance_path(dir, CC_DIR_LIVE, pins[i], path)) && errno != ENOENT)
			err = -errno;
	if (err)
		report("%s: cannot be removed: %s", path, strerror(-err));
	return err;
}

/* Refuse no more, after a configuration without such limits has become active. */
static int gates_close(const char *dir, struct conncount_bpf *skel, const struct config *config)
{
	int err = gates_detach(dir);

	if (!err)
		err = gates_reclaim(skel);
	return err || config_has_limits(config) ? err : limits_remove(dir);
}

/* Continue with the live maps. */
static int continue_live(struct instance *instance, struct conncount_bpf *skel,
			 const struct cgroup *cgroup, const struct netns *counted,
			 const struct config *config, gid_t gid, enum load_result *ret_result)
{
	const char *dir = instance->dir;
	bool changed = false, gated = gates_exist(dir, CC_DIR_LIVE);
	int err = load_skeleton(dir, CC_DIR_LIVE, skel);

	if (!err)
		err = freeze_limits(skel);
	if (!err)
		err = permit(dir, CC_DIR_LIVE, gid);
	if (!err)
		err = pin_sum(dir, CC_DIR_LIVE, skel->progs.conncount_sum, gid);
	if (!err)
		err = replace(dir, CC_PIN_RELEASE, skel->progs.conncount_release);
	if (!err && config_has_proxies(config))
		err = headers_attach(dir, skel, cgroup);
	if (!err)
		err = replace(dir, CC_PIN_SOCKOPS, skel->progs.conncount_sockops);
	if (!err && config_has_resets(config))
		err = gates_attach(dir, CC_DIR_LIVE, skel, cgroup, counted);
	if (!err)
		err = bring_up_to_date(skel, NULL, cgroup, counted, config, &changed);
	if (err && !gated)
		gates_detach(dir); /* they have refused nothing */
	if (!err && !config_has_proxies(config))
		err = headers_detach(dir);
	if (!err && !config_has_resets(config) && bpf_map__autocreate(skel->maps.limits))
		err = gates_close(dir, skel, config);
	if (!err)
		*ret_result = changed ? LOAD_CHANGED : LOAD_UNCHANGED;
	return err;
}

/*
 * Fill the next set: create maps, attach programs, and count every open session.
 * @same: whether it will count what the live one counts, in the same windows.
 */
static int build_next(struct instance *instance, struct conncount_bpf *skel,
		      const struct cgroup *cgroup, const struct netns *counted,
		      const struct config *config, gid_t gid, bool same)
{
	const char *dir = instance->dir;
	struct former former;
	bool replaces = former_open(dir, skel, &former), changed;
	int err = instance_begin(instance);

	if (!err)
		err = take_over_cluster(dir, skel);
	if (!err && replaces && same && skel->rodata->windows.n)
		err = take_over_windows(dir, skel);
	if (!err)
		err = load_skeleton(dir, CC_DIR_NEXT, skel);
	if (!err)
		err = freeze(skel);
	if (!err)
		err = freeze_limits(skel);
	if (!err)
		err = permit(dir, CC_DIR_NEXT, gid);
	if (!err)
		err = pin_sum(dir, CC_DIR_NEXT, skel->progs.conncount_sum, gid);
	/* Attach the release program first: every session that is counted must also end. */
	if (!err)
		err = attach(dir, CC_DIR_NEXT, CC_PIN_RELEASE, skel->progs.conncount_release,
			     cgroup);
	if (!err && config_has_proxies(config))
		err = attach(dir, CC_DIR_NEXT, CC_PIN_INGRESS, skel->progs.conncount_ingress,
			     cgroup);
	if (!err)
		err = attach(dir, CC_DIR_NEXT, CC_PIN_SOCKOPS, skel->progs.conncount_sockops,
			     cgroup);
	if (!err)
		err = bring_up_to_date(skel, replaces ? &former.maps : NULL, cgroup, counted,
				       config, &changed);
	/* The live set refuses until this one does, which knows all sessions now. */
	if (!err && config_has_resets(config))
		err = gates_attach(dir, CC_DIR_NEXT, skel, cgroup, counted);
	if (replaces)
		former_close(&former);
	return err;
}

/* Count again in new maps, which then replace the live ones, if there are any. */
static int rebuild(struct instance *instance, struct conncount_bpf *skel,
		   const struct cgroup *cgroup, const struct netns *counted,
		   const struct config *config, gid_t gid, bool same, enum load_result *ret_result)
{
	bool replaces = link_cgroup(instance->dir, CC_PIN_SOCKOPS); /* of any build */
	int err = build_next(instance, skel, cgroup, counted, config, gid, same);

	if (!err)
		err = instance_switch(instance);
	if (!err)
		*ret_result = replaces ? LOAD_REBUILT : LOAD_STARTED;
	/* CC_DIR_NEXT now holds the old live set, or an unfinished one. */
	int cleared = instance_clear(instance, CC_DIR_NEXT);
	return err ? err : cleared;
}

int load(struct instance *instance, const struct cgroup *cgroup, const struct config *config,
	 enum load_result *ret_result)
{
	struct conncount_bpf *skel = NULL;
	struct netns counted = { 0 };
	struct cc_windows windows;
	struct cc_config *live;
	gid_t gid = 0;
	bool same, continues;
	int err;

	libbpf_set_print(print_warnings);
	err = kernel_check();
	if (!err && !config->all_namespaces)
		err = netns_own(&counted);
	if (!err)
		err = reader_group(config, &gid);
	if (!err && gid)
		mount_warn_writable(config->group);
	if (!err)
		err = instance_clear(instance, CC_DIR_NEXT); /* left by a load that was killed */
	if (err)
		return err;
	live = live_config(instance->dir);
	windows = windows_plan(config, live);
	same = is_same_population(live, cgroup, &counted, &windows);
	free(live);
	err = open_skeleton(config->max_prefixes, &windows, &skel);
	if (err)
		return err;
	skel->rodata->counted_netns = counted.cookie;
	skel->bss->scan.cgroup = cgroup->id;
	bpf_program__set_autoload(skel->progs.conncount_ingress, config_has_proxies(config));
	if (config_has_limits(config))
		err = limits_plan(skel, config);
	continues = !err && same && can_continue(instance->dir, skel, cgroup);
	/* Places may be left from limits that end now. */
	if (continues && !config_has_limits(config) && is_live(instance->dir, CC_PIN_PLACES))
		err = limits_create(skel, true);
	if (!err && continues)
		err = continue_live(instance, skel, cgroup, &counted, config, gid, ret_result);
	else if (!err)
		err = rebuild(instance, skel, cgroup, &counted, config, gid, same, ret_result);
	if (!err)
		namespaces_explain(skel, &counted);
	conncount_bpf__destroy(skel);
	return err;
}

int load_scanner(const char *dir, uint32_t max_prefixes, const struct cc_windows *windows,
		 struct conncount_bpf **ret_skel)
{
	struct conncount_bpf *skel;
	int err;

	libbpf_set_print(print_warnings);
	err = open_skeleton(max_prefixes, windows, &skel);
	if (err)
		return err;
	bpf_program__set_autoload(skel->progs.conncount_sockops, false);
	bpf_program__set_autoload(skel->progs.conncount_release, false);
	bpf_program__set_autoload(skel->progs.conncount_ingress, false);
	bpf_program__set_autoload(skel->progs.conncount_seed, false);
	bpf_program__set_autoload(skel->progs.conncount_listening, false);
	bpf_program__set_autoload(skel->progs.conncount_sum, false);
	err = load_skeleton(dir, CC_DIR_LIVE, skel);
	if (err)
		conncount_bpf__destroy(skel);
	else
		*ret_skel = skel;
	return err;
}

void unload_scanner(struct conncount_bpf *skel)
{
	conncount_bpf__destroy(skel);
}
