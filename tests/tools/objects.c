/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * objects - print which BPF objects exist.
 *
 *	objects attached PLACE...	the programs that links attach to PLACE, a cgroup directory
 *					or a file that is a network namespace, with their links and
 *					maps, a line each: `prog 12`, `link 3`, `map 45`; `own 46`
 *is a map of the programs' variables, not pinned objects left PLACE...		the same; and of
 *such lines on stdin, those of objects that still exist after a second
 */
#include <bpf/bpf.h>
#include <err.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAPS_MAX = 64 };

/* The kind of a map: libbpf names those of variables after a section, as in `object.bss`. */
static const char *map_kind(__u32 id)
{
	int fd = bpf_map_get_fd_by_id(id);
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	if (fd < 0)
		return "map"; /* it has just gone */
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		err(1, "objects: map %u", id);
	close(fd);
	return strchr(info.name, '.') ? "own" : "map";
}

static void print_program(__u32 id)
{
	__u32 maps[MAPS_MAX] = { 0 };
	struct bpf_prog_info info = { .nr_map_ids = MAPS_MAX, .map_ids = (__u64)(uintptr_t)maps };
	__u32 size = sizeof(info), i;
	int fd;

	printf("prog %u\n", id);
	fd = bpf_prog_get_fd_by_id(id);
	if (fd < 0)
		return; /* it has just gone */
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		err(1, "objects: program %u", id);
	for (i = 0; i < info.nr_map_ids; i++)
		printf("%s %u\n", map_kind(maps[i]), maps[i]);
	close(fd);
}

/* Whether a link is attached to the place with this inode number. Those of cgroups and of network
 * namespaces do not overlap: the latter begin at 0xf0000000. */
static bool is_attached_to(const struct bpf_link_info *link, ino_t place)
{
	if (link->type == BPF_LINK_TYPE_NETNS)
		return link->netns.netns_ino == place;
	return link->type == BPF_LINK_TYPE_CGROUP && link->cgroup.cgroup_id == place;
}

static void attached(const char *place)
{
	struct stat st;
	__u32 id = 0;

	if (stat(place, &st))
		err(1, "objects: %s", place);
	while (!bpf_link_get_next_id(id, &id)) {
		struct bpf_link_info info = { 0 };
		__u32 size = sizeof(info);
		int fd = bpf_link_get_fd_by_id(id);

		if (fd < 0)
			continue; /* it has just gone */
		if (bpf_obj_get_info_by_fd(fd, &info, &size))
			err(1, "objects: link %u", id);
		close(fd);
		if (!is_attached_to(&info, st.st_ino))
			continue;
		printf("link %u\n", id);
		print_program(info.prog_id);
	}
	if (errno != ENOENT)
		err(1, "objects: links");
}

static int by_id(const char *kind, __u32 id)
{
	if (!strcmp(kind, "prog"))
		return bpf_prog_get_fd_by_id(id);
	if (!strcmp(kind, "link"))
		return bpf_link_get_fd_by_id(id);
	if (!strcmp(kind, "map") || !strcmp(kind, "own"))
		return bpf_map_get_fd_by_id(id);
	errx(1, "%s: no such kind of object", kind);
}

struct object {
	char kind[8];
	__u32 id;
};

/* What is on stdin. Returns how many, of which @ret_objects are to be freed. */
static size_t remembered(struct object **ret_objects)
{
	struct object object, *objects = NULL;
	size_t count = 0;
	int n;

	while ((n = scanf("%7s %u", object.kind, &object.id)) == 2) {
		objects = realloc(objects, (count + 1) * sizeof(*objects));
		if (!objects)
			err(1, "objects");
		objects[count++] = object;
	}
	if (n != EOF)
		errx(1, "stdin: not `KIND ID`");
	*ret_objects = objects;
	return count;
}

/* Take those that are gone out of @objects; returns how many are not. */
static size_t alive(struct object *objects, size_t count)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		int fd = by_id(objects[i].kind, objects[i].id);

		if (fd >= 0) {
			close(fd);
			objects[left++] = objects[i];
		} else if (errno != ENOENT) {
			err(1, "objects: %s %u", objects[i].kind, objects[i].id);
		}
	}
	return left;
}

static void left(void)
{
	struct object *objects;
	size_t count = remembered(&objects);

	/* The kernel frees programs and maps a moment after the last reference to them goes. */
	for (int i = 0; i < 100 && (count = alive(objects, count)) > 0; i++)
		usleep(10000);
	for (size_t i = 0; i < count; i++)
		printf("%s %u\n", objects[i].kind, objects[i].id);
	free(objects);
}

int main(int argc, char **argv)
{
	if (argc < 3 || (strcmp(argv[1], "attached") && strcmp(argv[1], "left"))) {
		fprintf(stderr, "usage: objects attached|left PLACE...\n");
		return 2;
	}
	for (int i = 2; i < argc; i++)
		attached(argv[i]);
	if (!strcmp(argv[1], "left"))
		left();
	return 0;
}
