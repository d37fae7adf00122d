/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * opened_once.c - every interleaving of session_opened() of bpf/sessions.bpf.h: a connection is
 * entered in `recent` once, while loads replace one set of maps by the next, and however often its
 * session starts. Of the session's state (model.c) this has what that needs.
 *
 * Up to three processes each run a script, on one session. search.h tries all orders in which their
 * steps can happen.
 *
 * usage: opened [OPTION]... SCRIPT...
 *
 * SCRIPT is what one process does, event after event, without a space. The programs of all sets
 * that are attached when an event begins run for it, those of the earliest set first: ?   the
 * session's handshake ends, which finds that it comes from a proxy: session_await()
 *   +   the session starts, or starts again: session_start(). After ?, its header has come
 *   -   the session is suspended: session_suspend()
 *   l   a load attaches the next set; at first there is one
 *   s   that load enters the session, if it is open: connection_start(), as a seed
 *   d   that load detaches the set before
 *
 *   --before        the session was open before the first set, which has seeded it
 *   --at-once       a load detaches a set while programs of it run. By default it waits for them
 *   --without RULE  leave out one rule; `list` names them
 *
 * Exit status: as of model.c.
 *
 * A step is one atomic operation on a record, one map helper, or an addition to `recent`.
 *
 * What must hold
 *   - The connection is never entered twice, nor at all if it was open before.
 *   - When all scripts are done, it is entered if it has started.
 *
 * Not modelled: records for which there is no storage.
 */
#include <stdint.h>

/* bpf/abi.h */
enum { NEW, AWAITED, COUNTED };

enum {
	PROCS = 3,
	SETS = 3,
};

#define RULES(X)                                                                                   \
	X(FORMER_FLAG, "former-flag", "a set enters a connection that the former set has entered") \
	X(OWN_FLAG, "own-flag", "a set leaves its own flag alone if the former one has a record")  \
	X(FLAG_EXCHANGE, "flag-exchange", "a flag is read and then set")                           \
	X(SEED_FLAG, "seed-flag", "a session that is seeded can be entered when it starts again")

/* struct cc_session, in the map of one set. */
struct session {
	uint8_t made, state, opened;
};

/* A process. Unused fields are 0, so that equal states compare equal. */
struct proc {
	uint8_t event;
	int8_t ret;
	uint16_t event_at, start, at, exchange; /* its place in each function */
	uint8_t set, last;                      /* whose program runs, and whose does at last */
	uint8_t found;                          /* by a seed: as in `open` */
	uint8_t was;                            /* for a rule left out: the flag that was read */
};

struct state {
	struct session session[SETS];
	uint8_t first, last; /* the sets that are attached */
	uint8_t running;     /* events */
	uint8_t open;        /* as what seeds find the session: AWAITED or COUNTED; 0: not at all */
	uint8_t started;     /* after counting began */
	uint8_t entered;
	struct proc proc[PROCS];
};

#include "search.h"

/* The command line. */
static struct {
	const char *script[PROCS];
	bool before, at_once;
	int loads;
} options;

/* --- sessions.bpf.h ------------------------------------------------------------------------- */

/* Not in the code: set a flag. Returns what it was. */
static bool flag_exchange(struct proc *proc, int set)
{
	struct session *session = &now.session[set];

	BEGIN(proc->exchange);
	STEP();
	proc->was = session->opened;
	say("flag of set %d was %d", set, proc->was);
	if (!rule(RULE_FLAG_EXCHANGE))
		STEP();
	session->opened = true;
	RETURN(proc->was);
	END();
}

static bool session_opened(struct proc *proc)
{
	BEGIN(proc->at);
	if (rule(RULE_OWN_FLAG)) {
		CALL(flag_exchange(proc, proc->set));
		if (proc->ret)
			RETURN(0);
	}
	STEP();
	say("set %d looks for a record of the former set", proc->set);
	if (proc->set && now.session[proc->set - 1].made && rule(RULE_FORMER_FLAG))
		CALL(flag_exchange(proc, proc->set - 1));
	else if (!rule(RULE_OWN_FLAG))
		CALL(flag_exchange(proc, proc->set));
	else
		proc->ret = false;
	if (proc->ret)
		RETURN(0);
	STEP();
	now.entered++;
	say("set %d enters it", proc->set);
	RETURN(0);
	END();
}

/* Returns whether this call started the session. */
static bool session_start(struct proc *proc)
{
	struct session *session = &now.session[proc->set];
	bool started = session->state != COUNTED;

	session->state = COUNTED;
	say("set %d starts it: %s", proc->set, started ? "yes" : "no");
	return started;
}

static bool session_await(struct proc *proc)
{
	struct session *session = &now.session[proc->set];

	BEGIN(proc->start);
	STEP();
	session->made = true;
	say("record of set %d", proc->set);
	STEP();
	if (session->state == NEW)
		session->state = AWAITED;
	say("set %d awaits its header", proc->set);
	RETURN(0);
	END();
}

/* --- mptcp.bpf.h ---------------------------------------------------------------------------- */

static bool session_suspend(struct proc *proc)
{
	struct session *session = &now.session[proc->set];

	BEGIN(proc->start);
	STEP();
	if (session->state == COUNTED)
		session->state = NEW;
	say("set %d suspends it", proc->set);
	RETURN(0);
	END();
}

/* --- connections.bpf.h ---------------------------------------------------------------------- */

static bool connection_start(struct proc *proc, bool seeds)
{
	struct session *session = &now.session[proc->set];

	BEGIN(proc->start);
	STEP();
	session->made = true;
	say("record of set %d", proc->set);
	STEP();
	if (!session_start(proc))
		RETURN(0);
	if (!seeds) {
		CALL(session_opened(proc));
		RETURN(0);
	}
	STEP();
	session->opened |= rule(RULE_SEED_FLAG);
	say("set %d says that it was open before", proc->set);
	RETURN(0);
	END();
}

/* --- events --------------------------------------------------------------------------------- */

static bool program(struct proc *proc, char what)
{
	if (what == '+')
		return connection_start(proc, false);
	return what == '?' ? session_await(proc) : session_suspend(proc);
}

/* An event of the session: the program of each set that is attached. */
static bool programs(struct proc *proc, char what)
{
	BEGIN(proc->event_at);
	STEP();
	proc->set = now.first;
	proc->last = now.last;
	now.running++;
	now.started |= what == '+' && !options.before;
	say("of sets %d to %d", proc->set, proc->last);
	for (; proc->set <= proc->last; proc->set++)
		CALL(program(proc, what));
	now.running--;
	if (what == '-')
		now.open = 0;
	else if (now.open != COUNTED)
		now.open = what == '?' ? AWAITED : COUNTED;
	RETURN(0);
	END();
}

static bool load(struct proc *proc, char what)
{
	BEGIN(proc->event_at);
	STEP();
	if (what == 'l') {
		now.last++;
		say("attach set %d", now.last);
	} else if (what == 'd') {
		say("detach set %d", now.first);
		now.first++;
	} else if (now.open) {
		proc->set = now.last;
		proc->found = now.open;
		say("the session is %s", now.open == AWAITED ? "awaiting its header" : "open");
		if (proc->found == AWAITED)
			CALL(session_await(proc));
		else
			CALL(connection_start(proc, true));
	}
	RETURN(0);
	END();
}

/* --- for search.h --------------------------------------------------------------------------- */

static char event_of(int p)
{
	return options.script[p][now.proc[p].event];
}

static bool finished(int p)
{
	return !event_of(p);
}

static bool waits(int p)
{
	return event_of(p) == 'd' && now.running && !options.at_once;
}

static void run(int p)
{
	struct proc *proc = &now.proc[p];

	while (!finished(p)) {
		char what = event_of(p);

		if (!(strchr("lsd", what) ? load(proc, what) : programs(proc, what)))
			return;
		*proc = (struct proc){ .event = proc->event + 1 };
	}
}

static void tell_event(int p)
{
	printf("%c", event_of(p));
}

static void step_end(void)
{
}

static bool check_state(void)
{
	if (now.entered > !options.before)
		return wrong("the connection is entered %d times", now.entered);
	return true;
}

static bool check_last(void)
{
	if (now.entered < now.started)
		return wrong("the connection is not entered");
	return true;
}

static void tell_last(void)
{
}

/* --- the command line ----------------------------------------------------------------------- */

static void script_parse(const char *text)
{
	if (procs == PROCS)
		usage("over %d scripts", PROCS);
	if (strspn(text, "?+-lsd") != strlen(text))
		usage("bad script '%s'", text);
	for (const char *at = text; *at; at++)
		options.loads += *at == 'l';
	if (options.loads >= SETS)
		usage("over %d sets", SETS);
	options.script[procs++] = text;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--before"))
			options.before = true;
		else if (!strcmp(argv[i], "--at-once"))
			options.at_once = true;
		else if (!strcmp(argv[i], "--without"))
			left_out = rule_named(i + 1 < argc ? argv[++i] : "");
		else if (!strncmp(argv[i], "--", 2))
			usage("'%s': no such option; see opened_once.c", argv[i]);
		else
			script_parse(argv[i]);
	}
	if (!procs)
		usage("no script");
	if (options.before) {
		now.session[0] = (struct session){ true, COUNTED, true };
		now.open = COUNTED;
	}
	for (int p = 0; p < procs; p++)
		run(p); /* to its first step */
	return search();
}
