/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * smtp_policy.h - what the server asks its Lua policies, and what they answer.
 */
#ifndef SMTP_POLICY_H
#define SMTP_POLICY_H

#include <stdbool.h>
#include <stddef.h>

struct sockaddr;
struct policy;

/* What the policies decide in one phase of a session. */
struct verdict {
	int code;        /* of the reply, 400 to 599; 0: go on as if there were no policy */
	bool disconnect; /* end the session after the reply */
	unsigned hold;   /* seconds to wait, at least, before the reply */
	char text[400];  /* of the reply, without control characters */
};

/* Stands for the policies' memory of a session where there is none. */
#define POLICY_NONE (-1)

/*
 * policy_open() - load the policies @scripts, and run their init().
 *
 * Returns them, to be given to policy_close(), or NULL where one cannot be loaded or refuses,
 * which is then on standard error.
 */
struct policy *policy_open(char *const *scripts, size_t n);

/* policy_close() - run the policies' deinit(), and free them. NULL is ignored. */
void policy_close(struct policy *policy);

/*
 * policy_begin() - hand a session over.
 * @remote, @local: as getpeername(2) and getsockname(2) have them.
 *
 * Returns what stands for the session in the calls below, to be given to policy_end(), or
 * POLICY_NONE where it failed, which is then on standard error.
 */
int policy_begin(struct policy *policy, const struct sockaddr *remote,
		 const struct sockaddr *local);

/* policy_end() - forget a session. POLICY_NONE is ignored. */
void policy_end(struct policy *policy, int session);

/*
 * policy_run() - ask the policies in one phase.
 * @hook: its name, as "validate_ehlo".
 * @argument: what the client said, as the name after EHLO; NULL where the phase has none.
 *
 * Mail is worth more than a policy: where one fails, that is on standard error, and the
 * session goes on. POLICY_NONE has no policy.
 */
void policy_run(struct policy *policy, int session, const char *hook, const char *argument,
		struct verdict *ret_verdict);

#endif
