/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * trim - write as C the types named in a list, and what they need, from a kernel's BTF.
 *
 *	trim BTF LIST > vmlinux.h
 *
 * A whole vmlinux.h is 150,000 lines of which the programs use fifty. scripts/vmlinux runs
 * this; it is not part of the build.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/btf.h>

static void print(void *ctx, const char *format, va_list args)
{
	(void)ctx;
	vprintf(format, args);
}

static bool has_enumerator(const struct btf *btf, const struct btf_type *type, const char *name)
{
	if (!btf_is_enum(type))
		return false;
	for (int i = 0; i < btf_vlen(type); i++)
		if (!strcmp(btf__name_by_offset(btf, btf_enum(type)[i].name_off), name))
			return true;
	return false;
}

/* The id of the type that a line of the list names, or a negative errno. */
static int find(const struct btf *btf, const char *line)
{
	if (!strncmp(line, "struct ", 7))
		return btf__find_by_name_kind(btf, line + 7, BTF_KIND_STRUCT);
	if (!strncmp(line, "enum ", 5))
		return btf__find_by_name_kind(btf, line + 5, BTF_KIND_ENUM);
	int id = btf__find_by_name_kind(btf, line, BTF_KIND_TYPEDEF);
	if (id > 0)
		return id;
	for (__u32 i = 1; i < btf__type_cnt(btf); i++)
		if (has_enumerator(btf, btf__type_by_id(btf, i), line))
			return (int)i;
	return -ENOENT;
}

static int dump_listed(const struct btf *btf, struct btf_dump *dump, FILE *list)
{
	char line[256];

	while (fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = 0;
		if (!line[0] || line[0] == '#')
			continue;
		int id = find(btf, line);
		int err = id < 0 ? id : btf_dump__dump_type(dump, (__u32)id);
		if (err) {
			fprintf(stderr, "trim: %s: %s\n", line, strerror(-err));
			return err;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: trim BTF LIST\n");
		return 2;
	}

	int status = 1;
	struct btf_dump *dump = NULL;
	struct btf *btf = btf__parse(argv[1], NULL);
	FILE *list = fopen(argv[2], "r");
	if (!btf || !list) {
		fprintf(stderr, "trim: %s: %s\n", btf ? argv[2] : argv[1], strerror(errno));
		goto cleanup;
	}
	dump = btf_dump__new(btf, print, NULL, NULL);
	if (!dump) {
		fprintf(stderr, "trim: %s\n", strerror(errno));
		goto cleanup;
	}

	puts("#ifndef CONNCOUNT_VMLINUX_H\n#define CONNCOUNT_VMLINUX_H\n");
	puts("#pragma clang attribute push(__attribute__((preserve_access_index)), "
	     "apply_to = record)\n");
	if (dump_listed(btf, dump, list))
		goto cleanup;
	puts("#pragma clang attribute pop\n\n#endif");
	status = 0;
cleanup:
	if (list)
		fclose(list);
	btf_dump__free(dump);
	btf__free(btf);
	return status;
}
