/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kernel.h - whether this kernel has the features that exact counting needs.
 */
#ifndef CONNCOUNT_KERNEL_H
#define CONNCOUNT_KERNEL_H

/* The oldest kernel on which everything is known to hold. */
#define KERNEL_OLDEST "Linux 6.1.120"

/*
 * kernel_check() - try each feature that is needed, without looking at versions. Returns 0; or a
 * negative errno, reported with the missing feature and the oldest kernel that has all.
 */
int kernel_check(void);

#endif
