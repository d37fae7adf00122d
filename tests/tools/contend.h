/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * contend.h - what contend.c asks of its program.
 */
#ifndef CONNCOUNT_CONTEND_H
#define CONNCOUNT_CONTEND_H

enum { CONTEND_ROUNDS = 32 };

/* In place of a tracepoint's arguments. */
struct contend {
	__u64 length; /* of the prefix, in bits */
	__u64 insert; /* or delete */
	__u64 rounds; /* insert and delete it, CONTEND_ROUNDS times; returns how often that failed
		       */
};

#endif
