/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kernel.h - whether this kernel can do what exact counting rests on.
 */
#ifndef CONNCOUNT_KERNEL_H
#define CONNCOUNT_KERNEL_H

/* The oldest kernel on which everything is known to hold. */
#define KERNEL_OLDEST "Linux 6.1.120"

/*
 * kernel_check() - try each feature that is needed; versions are not looked at.
 * Returns 0, or a negative errno, reported with what is missing and the oldest kernel that
 * has it.
 */
int kernel_check(void);

#endif
