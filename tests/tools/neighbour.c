/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * neighbour - load the programs of neighbour.bpf.c, and print what they have seen.
 *
 *	neighbour load OBJECT PINS CGROUP HOW	pins both programs, and their map, in the new
 *						directory PINS, and attaches them to CGROUP
 *	neighbour seen PINS			prints what they have counted:
 *						ESTABLISHED STATES ROUND-TRIPS RELEASES
 *
 * HOW is `link`, by links pinned as PINS-PROGRAM-link; or without links, `multi`, beside others, or
 * `alone`, exclusively.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <err.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>

static void attach(struct bpf_program *program, const char *pins, int cgroup, const char *how)
{
	int fd = bpf_program__fd(program), link;
	enum bpf_attach_type type = bpf_program__expected_attach_type(program);
	char pin[PATH_MAX];

	if (strcmp(how, "link")) {
		if (bpf_prog_attach(fd, cgroup, type, strcmp(how, "multi") ? 0 : BPF_F_ALLOW_MULTI))
			err(1, "neighbour: attach %s", bpf_program__name(program));
		return;
	}
	snprintf(pin, sizeof(pin), "%s-%s-link", pins, bpf_program__name(program));
	link = bpf_link_create(fd, cgroup, type, NULL);
	if (link < 0 || bpf_obj_pin(link, pin))
		err(1, "neighbour: link %s", pin);
}

static void load(const char *path, const char *pins, const char *cgroup, const char *how)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *program;
	int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char pin[PATH_MAX];

	if (fd < 0)
		err(1, "neighbour: %s", cgroup);
	if (!object || bpf_object__load(object) || bpf_object__pin_programs(object, pins))
		err(1, "neighbour: %s", path);
	snprintf(pin, sizeof(pin), "%s/seen", pins);
	if (bpf_obj_pin(bpf_object__find_map_fd_by_name(object, "seen"), pin))
		err(1, "neighbour: %s", pin);
	bpf_object__for_each_program(program, object)
		attach(program, pins, fd, how);
}

static void seen(const char *pins)
{
	char pin[PATH_MAX];
	int map;

	snprintf(pin, sizeof(pin), "%s/seen", pins);
	map = bpf_obj_get(pin);
	for (__u32 i = 0; i < 4; i++) {
		__u64 value;

		if (bpf_map_lookup_elem(map, &i, &value))
			err(1, "neighbour: %s", pin);
		printf("%llu%c", value, i < 3 ? ' ' : '\n');
	}
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "load")) {
		load(argv[2], argv[3], argv[4], argv[5]);
	} else if (argc == 3 && !strcmp(argv[1], "seen")) {
		seen(argv[2]);
	} else {
		fprintf(stderr, "usage: neighbour load OBJECT PINS CGROUP HOW | seen PINS\n");
		return 2;
	}
	return 0;
}
