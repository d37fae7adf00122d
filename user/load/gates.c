// SPDX-License-Identifier: BSD-2-Clause
/*
 * gates.c - attach and detach the programs that refuse connections.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "conncount.skel.h"
#include "gates.h"
#include "instance.h"
#include "publish.h"
#include "report.h"

#define SYN_GATE_PREFIX CC_PIN_SYN_GATE "-"

/* Whether a pin's name is that of a SYN gate. */
static bool is_syn_gate(const char *name)
{
	return !strncmp(name, SYN_GATE_PREFIX, strlen(SYN_GATE_PREFIX));
}

/* --- one link ----------------------------------------------------------------------------------
 */

/* What a pinned link is attached to. Returns its descriptor or a negative errno. */
static int open_link(const char *path, struct bpf_link_info *ret)
{
	__u32 size = sizeof(*ret);
	int fd = bpf_obj_get(path), err;

	if (fd < 0)
		return fd;
	memset(ret, 0, sizeof(*ret));
	err = bpf_obj_get_info_by_fd(fd, ret, &size);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* Pin a new link, which this destroys. NULL: it was not attached, errno says why. */
static int pin_link(struct bpf_link *link, const char *path)
{
	int err = link ? bpf_link__pin(link, path) : -errno;

	bpf_link__destroy(link);
	return err;
}

/* --- the ACK gate ------------------------------------------------------------------------------
 */

static int ack_gate_attach(const char *dir, const char *set, const struct conncount_bpf *skel,
			   const struct cgroup *cgroup)
{
	struct bpf_program *program = skel->progs.conncount_ack_gate;
	struct bpf_link_info info;
	char path[PATH_MAX];
	int fd = open_link(instance_path(dir, set, CC_PIN_ACK_GATE, path), &info), err;

	if (fd >= 0 && info.cgroup.cgroup_id == cgroup->id) {
		err = bpf_link_update(fd, bpf_program__fd(program), NULL);
	} else {
		unlink(path);
		err = pin_link(bpf_program__attach_cgroup(program, cgroup->fd), path);
	}
	if (fd >= 0)
		close(fd);
	if (err)
		report("cgroup %s: cannot attach %s: %s", cgroup->path, CC_PIN_ACK_GATE,
		       strerror(-err));
	return err;
}

/* --- the SYN gates -----------------------------------------------------------------------------
 */

/* For namespaces_enter(). */
struct attachment {
	const char *dir, *set;
	struct conncount_bpf *skel;
	bool notes; /* whether to note in `gated` which namespaces have a gate */
};

/* Attach to the namespace behind @fd, or replace the program that is there. */
static int attach_at(const struct attachment *to, int fd, __u32 number)
{
	struct bpf_program *program = to->skel->progs.conncount_syn_gate;
	char name[sizeof(SYN_GATE_PREFIX) + 10], path[PATH_MAX];
	struct bpf_link_info info;
	int link, err;

	snprintf(name, sizeof(name), SYN_GATE_PREFIX "%u", number);
	link = open_link(instance_path(to->dir, to->set, name, path), &info);
	/* The kernel may have given the inode number of a namespace that is gone to another one. */
	if (link >= 0 && info.netns.netns_ino == number) {
		err = bpf_link_update(link, bpf_program__fd(program), NULL);
	} else {
		unlink(path);
		err = pin_link(bpf_program__attach_netns(program, fd), path);
	}
	if (link >= 0)
		close(link);
	return err;
}

/* Attach to the namespace that the calling thread is in. */
static int attach_here(void *arg)
{
	const struct attachment *to = arg;
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct cc_gated value = { .gated = 1 };
	struct netns here = { 0 };
	int err = fd < 0 ? -errno : netns_own(&here);

	if (!err)
		err = attach_at(to, fd, here.number);
	value.netns = here.number;
	if (!err && to->notes)
		err = bpf_map_update_elem(bpf_map__fd(to->skel->maps.gated), &here.cookie, &value,
					  BPF_ANY);
	if (fd >= 0)
		close(fd);
	if (err)
		report("network namespace %u: cannot attach %s: %s%s", here.number, CC_PIN_SYN_GATE,
		       strerror(-err),
		       err == -E2BIG ? " (it has as many such programs as the kernel allows)" : "");
	return err;
}

/* Open the directory of a set. Returns NULL, with errno, if there is none. */
static DIR *open_set(const char *dir, const char *set)
{
	char path[PATH_MAX];

	return opendir(instance_path(dir, set, "", path));
}

/* Remove the links of SYN gates, or only those whose namespace is gone. */
static int syn_gates_remove(const char *dir, const char *set, bool all)
{
	const struct dirent *entry;
	DIR *pins = open_set(dir, set);
	char path[PATH_MAX];
	int err = 0;

	if (!pins)
		return errno == ENOENT ? 0 : -errno;
	while (!err && (entry = readdir(pins))) {
		struct bpf_link_info info;
		int fd;

		if (!is_syn_gate(entry->d_name))
			continue;
		fd = open_link(instance_path(dir, set, entry->d_name, path), &info);
		if ((all || (fd >= 0 && !info.netns.netns_ino)) && unlink(path) && errno != ENOENT)
			err = -errno;
		if (fd >= 0)
			close(fd);
	}
	closedir(pins);
	if (err)
		report("%s: cannot be removed: %s", path, strerror(-err));
	return err;
}

static int clear_gated(int fd)
{
	__u64 cookie;
	int err = 0;

	while (!err && !bpf_map_get_next_key(fd, NULL, &cookie))
		err = bpf_map_delete_elem(fd, &cookie);
	return err == -ENOENT ? 0 : err;
}

static int syn_gates_attach(const char *dir, const char *set, struct conncount_bpf *skel,
			    const struct netns *counted)
{
	struct attachment to = { .dir = dir, .set = set, .skel = skel, .notes = !counted->cookie };
	struct namespaces all;
	int err = namespaces_listening(skel, counted, &all);

	if (err)
		return err;
	err = syn_gates_remove(dir, set, false);
	if (!err)
		err = namespaces_enter(&all, attach_here, &to);
	namespaces_free(&all);
	return err;
}

/* --- all of them -------------------------------------------------------------------------------
 */

int gates_attach(const char *dir, const char *set, struct conncount_bpf *skel,
		 const struct cgroup *cgroup, const struct netns *counted)
{
	int err = ack_gate_attach(dir, set, skel, cgroup);

	/* What the ACK gate notes from now on is not known to this load. */
	if (!err)
		err = clear_gated(bpf_map__fd(skel->maps.gated));
	return err ? err : syn_gates_attach(dir, set, skel, counted);
}

bool gates_exist(const char *dir, const char *set)
{
	char path[PATH_MAX];

	return !access(instance_path(dir, set, CC_PIN_ACK_GATE, path), F_OK);
}

int gates_detach(const char *dir)
{
	char path[PATH_MAX];
	int err = syn_gates_remove(dir, CC_DIR_LIVE, true);

	if (!err && unlink(instance_path(dir, CC_DIR_LIVE, CC_PIN_ACK_GATE, path)) &&
	    errno != ENOENT) {
		err = -errno;
		report("%s: cannot be removed: %s", path, strerror(-err));
	}
	return err;
}

int gates_reclaim(struct conncount_bpf *skel)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	int err = programs_wait();

	if (err)
		return err;
	err = clear_gated(bpf_map__fd(skel->maps.gated));
	if (!err)
		err = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.conncount_reclaim), &opts);
	if (err)
		report("places cannot be given back: %s", strerror(-err));
	return err;
}
