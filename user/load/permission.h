/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * permission.h - what a process lacks to which the kernel refuses something.
 */
#ifndef CONNCOUNT_PERMISSION_H
#define CONNCOUNT_PERMISSION_H

/*
 * permission_remedy() - what to do about a call that failed.
 * @err: the negative errno.
 * @capability: what the call needs of a privileged process, such as CAP_BPF.
 *
 * Returns the end of a message, " (...)", static; "" if the error is not about permissions, or its
 * cause is none of those known.
 */
const char *permission_remedy(int err, int capability);

#endif
