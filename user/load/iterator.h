/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iterator.h - run a BPF iterator.
 */
#ifndef CONNCOUNT_ITERATOR_H
#define CONNCOUNT_ITERATOR_H

#include <stddef.h>

struct bpf_program;

/* Called with whole records that an iterator wrote. Returns 0 or a negative errno. */
typedef int (*on_records)(void *arg, const void *records, size_t size);

/*
 * iterator_run() - run an iterator to its end, in the calling thread's namespaces.
 * @record_size: of what it writes, in bytes.
 * Returns 0, what @each returned, or a negative errno, reported.
 */
int iterator_run(struct bpf_program *program, size_t record_size, on_records each, void *arg);

#endif
