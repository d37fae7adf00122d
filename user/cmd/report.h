/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report.h - what the command says on stderr.
 */
#ifndef CONNCOUNT_REPORT_H
#define CONNCOUNT_REPORT_H

/* report() - one line on stderr: "conncount: " and, in the format, "what: why (remedy)". */
void __attribute__((format(printf, 1, 2))) report(const char *format, ...);

#endif
