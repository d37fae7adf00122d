// SPDX-License-Identifier: BSD-2-Clause
/*
 * iterator.c - run a BPF iterator.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "iterator.h"
#include "report.h"

enum { READ_SIZE = 65536 };

/* Read an iterator to its end. A read may end in the middle of a record: the next one continues it.
 */
static int read_records(int fd, size_t record_size, on_records each, void *arg)
{
	char *buf = malloc(READ_SIZE);
	size_t have = 0;
	int err = buf ? 0 : -ENOMEM;

	while (!err) {
		ssize_t n = read(fd, buf + have, READ_SIZE - have);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0) {
			err = n < 0 ? -errno : 0;
			break;
		}
		have += (size_t)n;
		size_t whole = have - have % record_size;
		err = each(arg, buf, whole);
		have -= whole;
		memmove(buf, buf + whole, have);
	}
	free(buf);
	return err;
}

int iterator_run(struct bpf_program *program, size_t record_size, on_records each, void *arg)
{
	struct bpf_link *link = bpf_program__attach_iter(program, NULL);
	int err = link ? 0 : -errno;
	int fd = -1;

	if (!err) {
		fd = bpf_iter_create(bpf_link__fd(link));
		err = fd < 0 ? fd : read_records(fd, record_size, each, arg);
	}
	if (fd >= 0)
		close(fd);
	bpf_link__destroy(link);
	if (err)
		report("%s: cannot list sockets: %s", bpf_program__name(program), strerror(-err));
	return err;
}
