// SPDX-License-Identifier: BSD-2-Clause
/*
 * load.c - start counting, or bring what counts up to date.
 */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "conncount.skel.h"
#include "load.h"
#include "mapping.h"
#include "report.h"
#include "table.h"

/* libbpf's warnings are the best there is on why a kernel refuses a program. */
static int print_warnings(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level != LIBBPF_WARN)
		return 0;
	return vfprintf(stderr, format, args);
}

/* --- what is there already ---------------------------------------------------------------- */

enum found {
	FOUND_NOTHING,
	FOUND_REMAINS, /* of a load or unload that died, or of a cgroup that is gone */
	FOUND_RUNNING,
};

/* The cgroup id that a pinned link is attached to: 0 if that cgroup is gone. */
static int link_cgroup(const char *dir, const char *name, __u64 *ret_id)
{
	struct bpf_link_info info = { 0 };
	__u32 size = sizeof(info);
	char path[PATH_MAX];
	int fd = bpf_obj_get(instance_path(dir, name, path));

	if (fd < 0)
		return fd;
	int err = bpf_obj_get_info_by_fd(fd, &info, &size);
	close(fd);
	if (!err)
		*ret_id = info.cgroup.cgroup_id;
	return err;
}

/* A cgroup's id is the inode number of its directory. */
static __u64 cgroup_id(const struct cgroup *cgroup)
{
	struct stat st;

	return fstat(cgroup->fd, &st) ? 0 : st.st_ino;
}

/* The generation of what is pinned: 0 if nothing is, or nothing that counts. */
static uint64_t pinned_generation(const char *dir)
{
	struct cc_directory directory = { 0 };
	__u32 zero = 0;
	char path[PATH_MAX];
	int fd = bpf_obj_get(instance_path(dir, CC_PIN_DIRECTORY, path));

	if (fd < 0)
		return 0;
	if (bpf_map_lookup_elem(fd, &zero, &directory))
		directory.generation = 0;
	close(fd);
	return directory.generation;
}

static enum found look(const char *dir, __u64 *ret_cgroup)
{
	__u64 sockops = 0, release = 0;
	int err = link_cgroup(dir, CC_PIN_SOCKOPS, &sockops);

	if (!err)
		err = link_cgroup(dir, CC_PIN_RELEASE, &release);
	if (err || !pinned_generation(dir) || !sockops || !release)
		return FOUND_REMAINS;
	*ret_cgroup = sockops;
	return FOUND_RUNNING;
}

/* Whether a pinned map is what this build and this configuration would make. */
static int check_map(const char *dir, const struct bpf_map *map)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);
	char path[PATH_MAX];
	int fd = bpf_obj_get(instance_path(dir, bpf_map__name(map), path));

	if (fd < 0)
		return fd;
	int err = bpf_obj_get_info_by_fd(fd, &info, &size);
	close(fd);
	if (err)
		return err;
	if (info.key_size != bpf_map__key_size(map) ||
	    info.value_size != bpf_map__value_size(map)) {
		report("%s: loaded by a build with other maps (to replace it: conncount unload, "
		       "then load; sessions open at that time are not counted)",
		       dir);
		return -EPROTO;
	}
	if (info.max_entries != bpf_map__max_entries(map)) {
		report("%s: loaded with max_prefixes = %u, which cannot change while it counts "
		       "(to change it: conncount unload, then load; sessions open at that time "
		       "are not counted)",
		       dir, info.max_entries);
		return -EBUSY;
	}
	return 0;
}

/* Whether this build can take over what runs. */
static int check_running(const char *dir, const struct conncount_bpf *skel,
			 const struct cgroup *cgroup, __u64 attached_to)
{
	struct bpf_map *map;

	if (attached_to != cgroup_id(cgroup)) {
		report("%s: counts in another cgroup, which cannot change while it counts (to "
		       "change it: conncount unload, then load; sessions open at that time are "
		       "not counted)",
		       dir);
		return -EBUSY;
	}
	bpf_object__for_each_map(map, skel->obj)
	{
		int err = check_map(dir, map);

		if (err)
			return err;
	}
	return 0;
}

/* --- what the kernel must be able to do ---------------------------------------------------- */

/*
 * LPM tries honour BPF_NOEXIST only since Linux 6.13 (commit eae6a075e953) and the stable
 * releases named below; before that two sessions that start at once could lose a count.
 */
static int check_noexist(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	struct {
		__u32 prefixlen, data;
	} key = { .prefixlen = 32 };
	__u64 value = 0;
	int fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "conncount_probe", sizeof(key),
				sizeof(value), 2, &opts);

	if (fd < 0) {
		report("cannot make a BPF map: %s%s", strerror(-fd),
		       fd == -EPERM ? " (run as root)" : "");
		return fd;
	}
	int err = bpf_map_update_elem(fd, &key, &value, BPF_NOEXIST);
	if (!err)
		err = bpf_map_update_elem(fd, &key, &value, BPF_NOEXIST);
	close(fd);
	if (err == -EEXIST)
		return 0;
	report("this kernel's LPM tries do not honour BPF_NOEXIST, so counts could be lost "
	       "(Linux 6.13 or later does, and 6.12.5, 6.1.120 and later of those series)");
	return -EOPNOTSUPP;
}

/* --- permissions --------------------------------------------------------------------------- */

/* The group that may read. Root's own, with a note, where the default one does not exist. */
static int reader_group(const struct config *config, gid_t *ret_gid)
{
	const struct group *group = getgrnam(config->group);

	if (group) {
		*ret_gid = group->gr_gid;
		return 0;
	}
	if (config->group_line) {
		report("group '%s': there is no such group (make it: groupadd --system %s)",
		       config->group, config->group);
		return -EINVAL;
	}
	report("note: there is no group '%s', so only root can read the counts (make it: groupadd "
	       "--system %s; then load again)",
	       config->group, config->group);
	*ret_gid = 0;
	return 0;
}

/* The group may read the directory and the maps, all but the sessions; nobody else anything. */
static int permit(const struct instance *instance, gid_t gid)
{
	static const char *const readable[] = {
		CC_PIN_DIRECTORY, CC_PIN_TABLES, CC_PIN_LISTENERS,
		CC_PIN_COUNTS,    CC_PIN_STATS,  CC_PIN_FILL,
	};
	char path[PATH_MAX];
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(readable) / sizeof(*readable); i++) {
		instance_path(instance->dir, readable[i], path);
		err = chown(path, 0, gid) || chmod(path, 0640);
	}
	if (!err)
		err = fchown(instance->dir_fd, 0, gid) || fchmod(instance->dir_fd, 0750);
	if (!err)
		return 0;
	err = -errno;
	report("%s: cannot set permissions: %s", instance->dir, strerror(-err));
	return err;
}

/* --- programs ------------------------------------------------------------------------------ */

static int open_skeleton(const struct config *config, struct conncount_bpf **ret)
{
	struct conncount_bpf *skel = conncount_bpf__open();
	int err = skel ? bpf_map__set_max_entries(skel->maps.counts, config->max_prefixes) : -errno;

	if (err) {
		report("BPF object: %s", strerror(-err));
		conncount_bpf__destroy(skel);
		return err;
	}
	*ret = skel;
	return 0;
}

/* Give the programs to the kernel, over the maps pinned in @dir or new ones pinned there. */
static int load_skeleton(const char *dir, struct conncount_bpf *skel)
{
	struct bpf_map *map;
	char path[PATH_MAX];
	int err = 0;

	bpf_object__for_each_map(map, skel->obj)
	{
		err = bpf_map__set_pin_path(map, instance_path(dir, bpf_map__name(map), path));
		if (err)
			break;
	}
	if (!err)
		err = conncount_bpf__load(skel);
	if (err)
		report("the kernel does not take the BPF programs: %s%s", strerror(-err),
		       err == -EPERM ? " (run as root)" : "");
	return err;
}

/* Attach a program by a new link, pinned. */
static int attach(const char *dir, const char *name, struct bpf_program *program,
		  const struct cgroup *cgroup)
{
	struct bpf_link *link = bpf_program__attach_cgroup(program, cgroup->fd);
	char path[PATH_MAX];
	int err = link ? bpf_link__pin(link, instance_path(dir, name, path)) : -errno;

	bpf_link__destroy(link);
	if (err)
		report("cgroup %s: cannot attach %s: %s", cgroup->path, name, strerror(-err));
	return err;
}

/* Put a program in the place of the one that a pinned link runs: no event goes between. */
static int replace(const char *dir, const char *name, const struct bpf_program *program)
{
	char path[PATH_MAX];
	int fd = bpf_obj_get(instance_path(dir, name, path));
	int err = fd < 0 ? fd : bpf_link_update(fd, bpf_program__fd(program), NULL);

	if (fd >= 0)
		close(fd);
	if (err)
		report("%s: cannot be replaced: %s", path, strerror(-err));
	return err;
}

/* --- all of it ----------------------------------------------------------------------------- */

static int publish(struct conncount_bpf *skel, const struct cgroup *cgroup,
		   const struct config *config, bool *ret_changed)
{
	struct table_maps maps = {
		.listeners_fd = bpf_map__fd(skel->maps.listeners),
		.tables_fd = bpf_map__fd(skel->maps.tables),
		.stats_fd = bpf_map__fd(skel->maps.stats),
		.directory = map_value(bpf_map__fd(skel->maps.directory),
				       sizeof(struct cc_directory), PROT_READ | PROT_WRITE),
	};

	if (!maps.directory) {
		int err = -errno;

		report("%s: cannot be mapped: %s", CC_PIN_DIRECTORY, strerror(-err));
		return err;
	}
	maps.directory->abi = CC_ABI;
	int err = table_publish(&maps, config, cgroup->path, ret_changed);
	unmap_value(maps.directory, sizeof(struct cc_directory));
	return err;
}

/* Load and attach the programs, over new maps or those of the instance that runs. */
static int bring_up(struct instance *instance, struct conncount_bpf *skel,
		    const struct cgroup *cgroup, gid_t gid, bool running)
{
	int err = load_skeleton(instance->dir, skel);

	if (!err)
		err = permit(instance, gid);
	if (err)
		return err;
	if (running) {
		err = replace(instance->dir, CC_PIN_RELEASE, skel->progs.conncount_release);
		if (!err)
			err = replace(instance->dir, CC_PIN_SOCKOPS, skel->progs.conncount_sockops);
		return err;
	}
	/* The end before the start: no session may begin that could not be ended. */
	err = attach(instance->dir, CC_PIN_RELEASE, skel->progs.conncount_release, cgroup);
	if (!err)
		err = attach(instance->dir, CC_PIN_SOCKOPS, skel->progs.conncount_sockops, cgroup);
	return err;
}

int load(struct instance *instance, const struct cgroup *cgroup, const struct config *config,
	 enum load_result *ret_result)
{
	struct conncount_bpf *skel = NULL;
	bool running, changed = false;
	__u64 attached_to = 0;
	gid_t gid;
	int err;

	libbpf_set_print(print_warnings);
	err = reader_group(config, &gid);
	if (!err)
		err = check_noexist();
	if (!err)
		err = open_skeleton(config, &skel);
	if (err)
		return err;

	running = look(instance->dir, &attached_to) == FOUND_RUNNING;
	if (running)
		err = check_running(instance->dir, skel, cgroup, attached_to);
	else
		err = instance_clear(instance);
	if (err)
		goto cleanup;

	err = bring_up(instance, skel, cgroup, gid, running);
	if (!err)
		err = publish(skel, cgroup, config, &changed);
	if (err && !running)
		instance_clear(instance);
	if (!err)
		*ret_result = !running ? LOAD_STARTED : changed ? LOAD_CHANGED : LOAD_UNCHANGED;
cleanup:
	conncount_bpf__destroy(skel);
	return err;
}
