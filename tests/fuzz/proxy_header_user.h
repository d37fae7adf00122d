/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proxy_header_user.h - bpf/proxy_header.h in user space, with what the kernel and libbpf's headers
 * provide in BPF.
 */
#ifndef PROXY_HEADER_USER_H
#define PROXY_HEADER_USER_H

#include <linux/types.h>
#include <stdbool.h>

#define __noinline __attribute__((noinline))

/* Returns how many times @callback was called. It ends the loop by returning 1. */
static inline long bpf_loop(__u32 n, long (*callback)(__u32 index, void *context), void *context,
			    __u64 flags)
{
	(void)flags;
	for (__u32 i = 0; i < n; i++) {
		if (callback(i, context))
			return i + 1;
	}
	return n;
}

#include "proxy_header.h"

#endif
