/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * smtp_policy.h - how the server asks its Lua policies.
 */
#ifndef SMTP_POLICY_H
#define SMTP_POLICY_H

#include <stdbool.h>
#include <stddef.h>

struct sockaddr;
struct policy;

/* The decision of the policies in one phase of a session. */
struct verdict {
	int code;        /* of the reply, 400 to 599; 0: continue as without a policy */
	bool disconnect; /* end the session after the reply */
	unsigned hold;   /* seconds to wait before the reply, at least */
	char text[400];  /* of the reply, without control characters */
};

/* The id of a session that the policies do not know. */
#define POLICY_NONE (-1)

/*
 * policy_open() - load the policies @scripts, and run their init().
 *
 * Returns them; call policy_close() to free them. Returns NULL if one cannot be loaded or its
 * init() fails, and prints why on standard error.
 */
struct policy *policy_open(char *const *scripts, size_t n);

/* policy_close() - run the policies' deinit(), and free them. NULL is ignored. */
void policy_close(struct policy *policy);

/*
 * policy_begin() - hand a session to the policies.
 * @remote, @local: as getpeername(2) and getsockname(2) return them.
 *
 * Returns an id of the session for the calls below; call policy_end() to free it. Returns
 * POLICY_NONE if it failed, and prints why on standard error.
 */
int policy_begin(struct policy *policy, const struct sockaddr *remote,
		 const struct sockaddr *local);

/* policy_end() - forget a session. POLICY_NONE is ignored. */
void policy_end(struct policy *policy, int session);

/*
 * policy_run() - ask the policies in one phase.
 * @hook: the name of the phase, for example "validate_ehlo".
 * @argument: the client's argument, for example the name after EHLO; NULL if the phase has none.
 *
 * Mail is worth more than a policy: if one fails, this prints why on standard error, and the
 * session goes on. No policy decides on POLICY_NONE.
 */
void policy_run(struct policy *policy, int session, const char *hook, const char *argument,
		struct verdict *ret_verdict);

#endif
