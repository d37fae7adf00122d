/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report.h - messages on stderr.
 */
#ifndef CONNCOUNT_REPORT_H
#define CONNCOUNT_REPORT_H

#include <stdarg.h>
#include <stddef.h>

#include "conncount.h"

/* report() - one line on stderr: "conncount: " and, in the format, "what: why (remedy)". */
void __attribute__((format(printf, 1, 2))) report(const char *format, ...);

void __attribute__((format(printf, 1, 0))) vreport(const char *format, va_list args);

/* detached_text() - that the counted cgroup was removed, and what to do. Returns @buf. */
char *detached_text(const char *cgroup, char *buf, size_t size);

/* inexact_text() - why an answer of @cc is not exact. CONNCOUNT_ERROR_SIZE bytes suffice. Returns
 * @buf. */
char *inexact_text(struct conncount *cc, const struct conncount_answer *answer, char *buf,
		   size_t size);

#endif
