/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report.h - what the command says on stderr.
 */
#ifndef CONNCOUNT_REPORT_H
#define CONNCOUNT_REPORT_H

/* report() - one line on stderr: "conncount: " and, in the format, "what: why (remedy)". */
void __attribute__((format(printf, 1, 2))) report(const char *format, ...);

/* report_detached() - say that the cgroup that is counted in was removed, and what to do. */
void report_detached(const char *cgroup);

#endif
