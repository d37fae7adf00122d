/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model.c - every interleaving of the count protocol: bpf/counts.bpf.h, bpf/sessions.bpf.h,
 * bpf/mptcp.bpf.h, the records of bpf/connections.bpf.h, the order of a handshake and a header
 * of bpf/headers.bpf.h, the notes of bpf/cluster.bpf.h, and what the places of bpf/places.bpf.h do
 * to a word. (places.c has what limits and places are for.)
 *
 * Up to three processes each run a script of events on sessions. The model tries all orders in
 * which their steps can happen, and checks each state that it reaches. A function below the name of
 * a file in bpf/ takes the steps of the function of that name there, in the same order: change both
 * together. tests/unit/model.bats checks that the functions named here exist.
 *
 * usage: model [OPTION]... SCRIPT...
 *
 * SCRIPT is what one process does, program run after program run:
 *   +a   starts session a: session_start()
 *   +a@2 starts it under listener 2 instead of 1
 *   !a   starts it as one that cannot be counted: session_refuse()
 *   -a   ends it: session_end(), by either of the two events that end a session
 *   ?a   ends its handshake, which finds that it comes from a proxy: session_await()
 *   =a   brings its header: header_arrives(). Before ?a, the handshake is about to end on another
 *        CPU
 *   <a   starts a subflow of session a: subflow_start(); also <a@2
 *   >a   ends one: subflow_end(). Both are of the same subflow if one script has both, because
 *        programs of one subflow run one after the other
 *   *a   the cluster's daemon looks once at the leaf that session a is counted on
 *        (user/cluster/local.c). It looks once more when all scripts are done, if there is a note
 *        then
 *   ~a   releases an orphan (see --orphans): conncount_release(). Its other event is -a
 *   [a   reserves a place for session a on each level: place_reserve(). The same process's next
 *        start of a session of that listener makes it a session
 *   ]a   gives it back, if none has: places_return()
 *
 *   --orphans ab    records a and b are of subflows that have lost their MPTCP socket; their
 *                   sessions are counted
 *   --fresh         no session has a record at first: a program that needs it makes it,
 * record_get()
 *   --seen N        a session of listener N was the last to end
 *   --open ab       sessions a and b are open and counted at first, with a subflow for each script
 *                   that ends one before it starts any
 *   --levels N      levels per session, 1 or 2 (default 1)
 *   --failures      every insert and every delete may fail
 *   --retries N     COUNT_RETRIES. By default it is 16, and a program must never use all of them;
 *                   if it is given, one may, but must report that
 *   --rounds N      RECONCILE_ROUNDS. The same, with 4
 *   --ends          check only the last states: a flaw that shows there does harm
 *   --check WHAT    check also what readers are not promised (see below)
 *   --without RULE  leave out one rule of the protocol; `list` names them
 *
 * Exit status 0 if all holds; 1 if not, with a shortest run that shows it on stdout; 2 for bad
 * usage, or if there are too many states.
 *
 * What a step is
 *   One atomic operation on a node's word or a record's state, one map helper, or one write of a
 *   record's fields. Anything may happen between two steps: on another CPU, or in a program that
 *   interrupts this one (in the model, a process that waits while another runs). All processes see
 *   the steps in one order, because the atomic operations used are fully ordered. Programs only add
 *   to the statistics (tally, fill) and never read them, so changing them is part of the step
 *   before. So is reading a record's fields.
 *
 * What is not modelled
 *   The kernel's own steps inside the trie (counts_trie.h), its allocation of records (socket
 *   storage), which events run which program, more than two levels, the mapping of addresses.
 *
 * What must hold in every state
 *   - No node in the trie is GONE. One that is DEAD has one process that deletes it.
 *   - The counts in nodes that are not GONE, and what processes carry from one node to another, add
 *     up to what was entered; or `lost` says that they do not. The places in the trie alone add up.
 *   - While no process deletes or carries, a reader sees every session whose start is over and
 *     whose end has not begun, and no session that has not begun or is over.
 *
 * What must hold when all scripts are done
 *   - No key is dead: one more session, without failures, is counted and leaves no trace.
 *   - Each count is the number of open sessions counted there, or `lost` says that it is not.
 *   - No node has a flag, except CACHED on the one that the slot names. No other node is at 0,
 *     except those whose deletion failed.
 *   - Each record's state is right; `live`, `opened`, `closed`, `uncounted` and fill are exact.
 *   - If nothing can fail, nothing is lost, and only refused sessions are uncounted.
 *   - What the cluster's daemon has read of a leaf is its count.
 *
 * Every run ends, because scripts and retries do. A wait for another process would show as retries
 * used up.
 *
 * --check: what a reader might like to rely on and must not; the run that refutes it says why
 *   counted   it sees every session whose start is over and whose end has not begun
 *   open      it sees no session that has not begun or is over
 *   peak      it never sees more sessions than were ever open at one time
 */
#include <stdint.h>

/* bpf/abi.h */
enum { NEW, STARTING, COUNTED, UNCOUNTED, ENDED, SUBFLOW, AWAITED };

enum {
	PROCS = 3,
	SESSIONS = 7,
	EVENTS = 8,    /* of one process */
	LISTENERS = 3, /* 0: of a record that nobody wrote */
	LEVELS = 2,
	KEYS = LISTENERS * LEVELS,
	NODES = KEYS + PROCS, /* one linked for each key, one held by each process */
};

/* --- the rules ------------------------------------------------------------------------------ */

#define RULES(X)                                                                                   \
	X(NOEXIST, "noexist", "an insert replaces a node that is there")                           \
	X(PREFIXLEN, "prefixlen", "a look-up takes a shorter prefix for the key")                  \
	X(RCU, "rcu", "a node's memory is used again at once")                                     \
	X(FETCH_ADD, "fetch-add", "an addition is a read and a write")                             \
	X(GONE_RETRY, "gone-retry", "an addition to a GONE node counts as entered")                \
	X(DEAD_LEAVE, "dead-leave", "an addition that finds DEAD is made again")                   \
	X(ZERO_CAS, "zero-cas",                                                                    \
	  "the program that brought a count to 0 sets DEAD, whatever the word is now")             \
	X(DEAD_MARK, "dead-mark",                                                                  \
	  "the program that brought a count to 0 deletes at once, without a flag")                 \
	X(UNLINK_FIRST, "unlink-first", "the word is taken out before the node is deleted")        \
	X(REAP_EXCHANGE, "reap-exchange", "the word is taken out by a read and a write")           \
	X(GONE_MARK, "gone-mark", "the word is taken out but not marked GONE")                     \
	X(DEAD_CARRY, "dead-carry", "additions found in the word that was taken out are dropped")  \
	X(DELETE_FAILURE_CHECK, "delete-failure-check", "a delete that failed counts as done")     \
	X(DELETE_FAILURE_REVIVE, "delete-failure-revive", "a node whose delete failed stays DEAD") \
	X(CACHE_LOCK, "cache-lock", "several programs hold the slot at once")                      \
	X(CACHE_CAS, "cache-cas",                                                                  \
	  "a program that caches a node sets CACHED, whatever the word is now")                    \
	X(CACHE_LOCKED, "cache-locked", "a node gets CACHED after the slot was unlocked")          \
	X(CACHE_EVICTED, "cache-evicted", "a cached node that loses its slot is not evicted")      \
	X(CACHE_CLEAR, "cache-clear", "an evicted node stays CACHED if its count is not 0")        \
	X(CACHE_ROOM, "cache-room", "the slot of a node evicted to make room still says cached")   \
	X(CARRY_LOST, "carry-lost", "additions that could not be carried over are not reported")   \
	X(SPENT_ERROR, "spent-error", "retries used up are not reported")                          \
	X(END_LOST, "end-lost", "a subtraction that failed is not reported")                       \
	X(START_CLAIM, "start-claim", "a start reads the state and then sets it")                  \
	X(END_EXCHANGE, "end-exchange", "an end reads the state and then sets it")                 \
	X(PUBLISH_CAS, "publish-cas", "a starter sets the state whatever it is now")               \
	X(STARTER_TAKES_BACK, "starter-takes-back",                                                \
	  "a starter that finds ENDED takes nothing back")                                         \
	X(STARTING_IS_STARTERS, "starting-is-starters", "an end that finds STARTING subtracts")    \
	X(CLAIM_BEFORE_RECORD, "claim-before-record",                                              \
	  "a starter writes the record before it has claimed it")                                  \
	X(RECORD_BEFORE_PUBLISH, "record-before-publish",                                          \
	  "the record is written after the state says COUNTED")                                    \
	X(AWAIT_NEW, "await-new", "a handshake sets AWAITED whatever the state is now")            \
	X(AWAIT_AT_ONCE, "await-at-once", "a handshake claims the record before it says AWAITED")  \
	X(AWAITED_CLAIM, "awaited-claim", "a start that does not find NEW leaves AWAITED alone")   \
	X(AWAITED_TAKE, "awaited-take", "a start leaves the session in `awaiting`")                \
	X(AWAITED_END, "awaited-end", "an end that finds AWAITED leaves it in `awaiting`")         \
	X(LEVEL_UNDO, "level-undo", "a start that failed leaves what it has entered")              \
	X(UNDO_LIMIT, "undo-limit", "a start that failed takes back from every level")             \
	X(UNCOUNTED_STATE, "uncounted-state", "a start that failed says COUNTED")                  \
	X(SUBFLOW_FIRST, "subflow-first", "a session starts before its subflow is counted")        \
	X(RECONCILE_AGAIN, "reconcile-again",                                                      \
	  "a program that started or suspended a session does not look again")                     \
	X(UNRECONCILED_LOST, "unreconciled-lost",                                                  \
	  "a program that used all its rounds does not report that")                               \
	X(SUSPEND_CLAIM, "suspend-claim", "a session is suspended before its record is read")      \
	X(SUSPEND_CAS, "suspend-cas",                                                              \
	  "a program that suspended a session sets NEW, whatever the state is now")                \
	X(ORPHAN_RELEASE, "orphan-release", "the release of an orphan ends only its record")       \
	X(NOTE_AFTER, "note-after", "a program notes a leaf before it changes the count")          \
	X(NOTE_EVICT, "note-evict", "a program that evicts a node does not note it")               \
	X(PLACE_KEPT, "place-kept", "a node whose count is 0 is deleted though it has a place")    \
	X(NOTE_RETURN, "note-return", "a program that gives a place back does not note the leaf")  \
	X(NOTE_DELETE, "note-delete", "the daemon reads a count before it deletes the note")       \
	X(RECORD_AGAIN, "record-again",                                                            \
	  "a program takes a record that another has just made for no record")

/* --- the state ------------------------------------------------------------------------------ */

/* A node of the `counts` trie: see counts_trie.h. */
struct node {
	int16_t word;
	uint8_t key; /* inserted under this, and so its prefixlen */
	uint8_t used;
	uint8_t linked;
};

/* struct cc_cache_slot: one, shared by all keys. */
struct slot {
	uint8_t busy;
	uint8_t cached;
	uint8_t key; /* + 1; 0: none */
};

/* struct cc_session. Its listener also stands for the address. */
struct session {
	uint8_t state;
	uint8_t listener;
	int8_t subflows;
	uint8_t made; /* the socket has a record; only with --fresh */
};

/*
 * A process: its place in each function that it is in, and those of their variables that live from
 * one step to the next. Unused fields are 0, so that equal states compare equal.
 */
struct proc {
	uint8_t event; /* of its script */
	int16_t ret;   /* what the function called last returned */
	struct {
		uint16_t at, claim, enter, finish, leave;
		uint16_t event, record;
		uint8_t state;
		uint8_t done;
		uint8_t places;
		uint8_t claimed; /* our start has begun and is not over */
	} session;
	struct {
		uint16_t at, reconcile, suspend;
		uint8_t round;
		uint8_t live;
		uint8_t state;
	} subflow;
	struct {
		uint16_t at;
		uint8_t listener;
		uint8_t done;
		uint8_t absent, cacheable;
		int8_t n;
	} levels;
	struct {
		uint16_t event, reserve, give;
		uint8_t listener, levels; /* where the process has a place */
		uint8_t level;            /* of a loop */
	} place;
	struct {
		uint16_t finish, change, cache, evict, reap, note;
		uint8_t key;    /* the one being changed */
		int8_t changed; /* what count_change() returns after a note */
		int8_t err;
		uint8_t evicting;
		uint8_t marked;
		uint8_t evicted; /* a key + 1, or 0 */
	} count;
	struct {
		uint8_t i;
		uint8_t node; /* index + 1, or 0 */
		int8_t err;
		uint8_t carried;
		int16_t todo;
		int16_t carrying; /* not in the code: the part of todo that is in no node */
		int16_t old; /* read before the compare; for a rule left out, before the write */
	} add;
	struct {
		uint16_t at;
		int8_t n; /* for a rule left out: read before the note was deleted */
	} daemon;
};

struct state {
	struct node node[NODES];
	struct slot slot;
	uint8_t seen;                         /* a listener's, or 0 */
	struct session session[SESSIONS + 1]; /* the last is for try_keys() */
	struct proc proc[PROCS];
	int8_t live, opened, closed, uncounted, lost; /* struct cc_tally, of all listeners */
	int8_t awaiting;                              /* struct cc_proxied */
	int8_t fill, cached;                          /* struct cc_fill */
	/* By listener: whether its leaf is in `changed`, and what the daemon has read of it. */
	uint8_t noted[LISTENERS];
	int8_t told[LISTENERS];
	/* Not in the code: what count_change() has entered, by key; most sessions ever open. */
	int16_t entered[KEYS];
	uint8_t peak;
	uint8_t spent; /* a process has used up its retries */
};

#include "search.h"
#include "counts_trie.h"

struct event {
	char what; /* as in a script: + - ! ? = < > ~ * [ ] */
	uint8_t session;
	uint8_t listener;
};

/* The command line. */
static struct {
	struct event script[PROCS][EVENTS];
	int events[PROCS];
	/* In any script. */
	bool cluster; /* a script has * */
	bool started[SESSIONS], awaited[SESSIONS], ended[SESSIONS], refused, joined[SESSIONS];
	int subflows[SESSIONS]; /* of those open from the beginning */
	bool fresh;
	int levels;
	int retries;
	bool may_spend;
	int rounds;
	bool may_disagree;
	int seen;
	bool failures;
	bool ends_only;
	bool check_counted, check_open, check_peak;
} options = { .levels = 1, .retries = 16, .rounds = 4 };

static bool failures_over; /* from now on nothing fails */
static int most_rounds;    /* of the loop in count_change(), in any run */

/* The key of a listener and a level; level 0 is the shortest prefix. */
static int key_of(int listener, int level)
{
	return listener * LEVELS + level;
}

static int key_shorter(int key)
{
	return key % LEVELS ? key - 1 : -1;
}

static const char *key_name(int key)
{
	static char name[2][24];
	static int turn;

	turn = !turn;
	snprintf(name[turn], sizeof(name[turn]), "%d/%s", key / LEVELS,
		 options.levels == 1 ? "n"
		 : key % LEVELS      ? "long"
				     : "short");
	return name[turn];
}

static const char *const state_names[] = { "NEW",   "STARTING", "COUNTED", "UNCOUNTED",
					   "ENDED", "SUBFLOW",  "AWAITED" };

/* --- the kernel ----------------------------------------------------------------------------- */

/* Whether the helper fails now; if it can, the search tries both. */
static bool helper_fails(void)
{
	if (!options.failures || failures_over)
		return false;
	choices = 2;
	return choice > 0;
}

static int state_cas(struct session *session, int from, int to)
{
	int old = session->state;

	if (old == from)
		session->state = to;
	say("swap %s for %s: was %s", state_names[from], state_names[to], state_names[old]);
	return old;
}

static int state_exchange(struct session *session, int to)
{
	int old = session->state;

	session->state = to;
	say("set %s: was %s", state_names[to], state_names[old]);
	return old;
}

static int state_read(const struct session *session)
{
	say("state is %s", state_names[session->state]);
	return session->state;
}

/* --- cluster.bpf.h -------------------------------------------------------------------------- */

static void note(int listener)
{
	say("the leaf of listener %d is noted", listener);
	now.noted[listener] = true;
}

/* --- counts.bpf.h --------------------------------------------------------------------------- */

static bool node_reap(struct proc *proc, int key)
{
	struct node *node = &now.node[proc->add.node - 1];
	int err;

	BEGIN(proc->count.reap);
	if (!rule(RULE_UNLINK_FIRST)) {
		STEP();
		proc->add.old = word_exchange(node, DEAD | GONE);
	}
	STEP();
	err = trie_delete(key);

	if (err && rule(RULE_DELETE_FAILURE_CHECK)) {
		/* The node stays, at 0, until it is used again. */
		if (rule(RULE_DELETE_FAILURE_REVIVE)) {
			STEP();
			word_fetch_and(node, ~DEAD);
		}
		RETURN(0);
	}
	now.fill--; /* nodes_add(-1) */
	if (!rule(RULE_UNLINK_FIRST))
		RETURN(proc->add.old & ~FLAGS);
	STEP();
	if (!rule(RULE_REAP_EXCHANGE)) {
		proc->add.old = word_read(node);
		STEP();
		word_write(node, DEAD | GONE);
		RETURN(proc->add.old & ~FLAGS);
	}
	if (!rule(RULE_GONE_MARK))
		RETURN(word_exchange(node, DEAD) & ~FLAGS);
	RETURN(word_exchange(node, DEAD | GONE) & ~FLAGS);
	END();
}

static bool cache_trylock(void)
{
	bool busy = now.slot.busy && rule(RULE_CACHE_LOCK);

	now.slot.busy = true;
	say("lock the slot%s", busy ? ": busy" : "");
	return !busy;
}

static void cache_unlock(void)
{
	now.slot.busy = false;
	say("unlock the slot: %s%s", now.slot.key ? key_name(now.slot.key - 1) : "nothing",
	    now.slot.cached ? ", cached" : "");
}

static void cache_set(bool is_cached)
{
	now.cached += is_cached - now.slot.cached;
	now.slot.cached = is_cached;
}

static bool cache_enter(struct proc *proc, int key)
{
	struct node *node = &now.node[proc->add.node - 1];

	BEGIN(proc->count.cache);
	STEP();
	if (!cache_trylock())
		RETURN(false);
	if (!rule(RULE_CACHE_LOCKED)) {
		STEP();
		if (now.slot.cached)
			proc->count.evicted = now.slot.key;
		cache_set(true);
		now.slot.key = key + 1;
		cache_unlock();
		STEP();
		word_cas(node, 0, CACHED);
		RETURN(true);
	}
	STEP();
	/* Unless another program has added since. */
	if (!rule(RULE_CACHE_CAS))
		proc->count.marked = word_fetch_or(node, CACHED) | true;
	else
		proc->count.marked = word_cas(node, 0, CACHED) == 0;
	if (proc->count.marked) {
		STEP();
		if (now.slot.cached && rule(RULE_CACHE_EVICTED))
			proc->count.evicted = now.slot.key;
		say("evicts %s", now.slot.cached ? key_name(now.slot.key - 1) : "nothing");
		STEP();
		cache_set(true);
		now.slot.key = key + 1;
		say("write the slot");
	}
	STEP();
	cache_unlock();
	RETURN(true);
	END();
}

/* Not in the code: count for the checks what count_change() has entered. */
static void count_entered(struct proc *proc, int key, int by)
{
	if (!proc->add.carried)
		now.entered[key] += by;
	proc->add.carrying = 0;
}

/* @by: what count_change() must enter. */
static int node_add(struct proc *proc, int key, int by)
{
	int err = trie_insert(key, proc->add.todo);

	if (err)
		return err;
	now.fill++;
	count_entered(proc, key, by);
	return 0;
}

/* Not in the code, where each round of the loop in count_change() is change_try(). */
static bool count_change_run(struct proc *proc, int key, int by, bool absent, bool cacheable)
{
	struct node *node;
	int old;

	node = proc->add.node ? &now.node[proc->add.node - 1] : NULL;
	BEGIN(proc->count.change);
	proc->count.key = key;
	proc->add.todo = by;
	proc->add.err = -EAGAIN;
	proc->add.carried = false;
	if (absent) {
		STEP();
		if (!node_add(proc, key, by))
			RETURN(1);
	}

	for (proc->add.i = 0; proc->add.i < options.retries; proc->add.i++) {
		if (most_rounds <= proc->add.i)
			most_rounds = proc->add.i + 1;
		proc->add.node = 0; /* not used any more */
		STEP();
		proc->add.node = trie_lookup(key);
		node = proc->add.node ? &now.node[proc->add.node - 1] : NULL;

		if (!node || (node->key != key && rule(RULE_PREFIXLEN))) {
			proc->add.node = 0; /* not used any more */
			if (!proc->add.todo)
				RETURN(0);
			STEP();
			proc->add.err = node_add(proc, key, by);
			if (!proc->add.err)
				RETURN(1);
			if (proc->add.err != -EEXIST)
				break;
			proc->add.err = -EAGAIN;
			continue;
		}

		STEP();
		if (!proc->add.todo) {
			if (rule(RULE_CACHE_CLEAR) || node->word == CACHED)
				word_fetch_and(node, ~CACHED);
			old = node->word;
		} else if (rule(RULE_FETCH_ADD)) {
			old = word_fetch_add(node, proc->add.todo);
		} else {
			proc->add.old = word_read(node);
			STEP();
			old = proc->add.old;
			word_write(node, old + proc->add.todo);
		}
		old += proc->add.todo;
		if (old & GONE && rule(RULE_GONE_RETRY))
			continue;
		count_entered(proc, key, by);
		if (old & DEAD && !rule(RULE_DEAD_LEAVE))
			continue;
		proc->add.old = rule(RULE_PLACE_KEPT) ? 0 : places_of(old) * PLACE;
		if (old != proc->add.old)
			RETURN(0);
		/* We brought it to 0: delete it, unless it is cached or another has added since. */
		if (cacheable && !proc->add.carried) {
			CALL(cache_enter(proc, key));
			if (proc->ret)
				RETURN(0);
		}
		if (rule(RULE_DEAD_MARK)) {
			STEP();
			if (!rule(RULE_ZERO_CAS))
				word_fetch_or(node, DEAD);
			else if (word_cas(node, proc->add.old, proc->add.old | DEAD) !=
				 proc->add.old)
				RETURN(0);
		}
		CALL(node_reap(proc, key));
		proc->add.todo = rule(RULE_DEAD_CARRY) ? proc->ret : 0;
		if (proc->add.todo == 0)
			RETURN(1);
		proc->add.carried = true;
		proc->add.carrying = proc->add.todo;
	}

	if (proc->add.err == -EAGAIN)
		now.spent = true;
	if (!proc->add.carried)
		RETURN(proc->add.err == -EAGAIN && !rule(RULE_SPENT_ERROR) ? 0 : proc->add.err);
	if (rule(RULE_CARRY_LOST))
		now.lost++;
	RETURN(0);
	END();
}

static bool count_change(struct proc *proc, int key, int by, bool absent, bool cacheable)
{
	BEGIN(proc->count.note);
	CALL(count_change_run(proc, key, by, absent, cacheable));
	memset(&proc->add, 0, sizeof(proc->add));
	if (!by && options.cluster && key % LEVELS == options.levels - 1) {
		proc->count.changed = proc->ret;
		STEP();
		if (rule(RULE_NOTE_EVICT))
			note(key / LEVELS);
		proc->ret = proc->count.changed;
		proc->count.changed = 0;
	}
	RETURN(proc->ret);
	END();
}

static bool cache_evict(struct proc *proc)
{
	BEGIN(proc->count.evict);
	if (!now.slot.cached)
		RETURN(false);
	STEP();
	if (!cache_trylock())
		RETURN(false);
	STEP();
	proc->count.evicting = now.slot.cached ? now.slot.key : 0;
	if (rule(RULE_CACHE_ROOM))
		cache_set(0);
	say("no longer cached");
	STEP();
	cache_unlock();
	if (!proc->count.evicting)
		RETURN(false);
	CALL(count_change(proc, proc->count.evicting - 1, 0, false, false));
	RETURN(proc->ret > 0);
	END();
}

/* proc->ret has what count_change() returned. */
static bool count_finish(struct proc *proc, int key, int by)
{
	BEGIN(proc->count.finish);
	proc->count.err = proc->ret;
	if (proc->count.err == -ENOSPC) {
		CALL(cache_evict(proc));
		if (proc->ret) {
			CALL(count_change(proc, key, by, false, false));
			proc->count.err = proc->ret;
		}
	}
	if (proc->count.evicted) {
		CALL(count_change(proc, proc->count.evicted - 1, 0, false, false));
	}
	if (proc->count.err >= 0 || by > 0)
		RETURN(proc->count.err);
	if (rule(RULE_END_LOST))
		now.lost++;
	RETURN(0);
	END();
}

/* In the model, all sessions of a listener have one address. */
static bool seen_recently(int listener)
{
	bool cacheable = now.seen == listener;

	say("the last to end: of listener %d", now.seen);
	now.seen = listener;
	return cacheable;
}

/* --- places.bpf.h --------------------------------------------------------------------------- */

/* Without a limit, and without an end of its retries. */
static bool place_reserve(struct proc *proc, int key)
{
	struct node *node = proc->add.node ? &now.node[proc->add.node - 1] : NULL;
	int err;

	BEGIN(proc->place.reserve);
	for (;;) {
		memset(&proc->add, 0, sizeof(proc->add));
		STEP();
		proc->add.node = trie_lookup(key);
		node = proc->add.node ? &now.node[proc->add.node - 1] : NULL;
		if (!node || node->key != key) {
			memset(&proc->add, 0, sizeof(proc->add));
			STEP();
			proc->add.todo = PLACE;
			err = node_add(proc, key, PLACE);
			if (err == -EEXIST)
				continue;
			RETURN(!err);
		}
		STEP();
		proc->add.old = word_read(node);
		if (proc->add.old & (DEAD | GONE))
			continue;
		STEP();
		if (word_cas(node, proc->add.old, proc->add.old + PLACE) != proc->add.old)
			continue;
		count_entered(proc, key, PLACE);
		RETURN(true);
	}
	END();
}

static bool places_return(struct proc *proc, int listener, int levels)
{
	BEGIN(proc->place.give);
	for (proc->place.level = 0; proc->place.level < options.levels; proc->place.level++) {
		if (!(levels >> proc->place.level & 1))
			continue;
		CALL(count_change(proc, key_of(listener, proc->place.level), -PLACE, false, false));
		if (proc->ret < 0)
			CALL(count_finish(proc, key_of(listener, proc->place.level), -PLACE));
		memset(&proc->count, 0, sizeof(proc->count));
		if (options.cluster && proc->place.level == options.levels - 1) {
			STEP();
			if (rule(RULE_NOTE_RETURN))
				note(listener);
		}
	}
	RETURN(0);
	END();
}

/* Nobody else can take the place of a process: places.c is about that. */
static int place_claim(struct proc *proc, int listener)
{
	int levels = proc->place.listener == listener ? proc->place.levels : 0;

	if (levels)
		memset(&proc->place, 0, sizeof(proc->place));
	return levels;
}

/* --- sessions.bpf.h ------------------------------------------------------------------------- */

/* Not in the code: whether the session has a place on the level that levels_add() is at. */
static bool has_place(const struct proc *proc, int places)
{
	return places >> proc->levels.done & 1;
}

/* Not in the code: what levels_add() adds there. */
static int level_by(const struct proc *proc, int n, int places)
{
	return n * ONE - (has_place(proc, places) ? PLACE : 0);
}

static bool levels_add(struct proc *proc, int listener, int limit, int n, int places)
{
	int done;

	BEGIN(proc->levels.at);
	proc->levels.listener = listener;
	if (options.cluster && !rule(RULE_NOTE_AFTER)) {
		STEP();
		note(listener);
	}
	if (n < 0) {
		STEP();
		proc->levels.cacheable = seen_recently(listener);
		if (!proc->levels.cacheable)
			CALL(cache_evict(proc));
	}
	for (proc->levels.done = 0; proc->levels.done < options.levels; proc->levels.done++) {
		if (proc->levels.done >= limit)
			break;
		CALL(count_change(proc, key_of(proc->levels.listener, proc->levels.done),
				  level_by(proc, n, places),
				  proc->levels.absent && n > 0 && !has_place(proc, places),
				  proc->levels.cacheable));
		if (proc->ret < 0 || proc->count.evicted)
			CALL(count_finish(proc, key_of(proc->levels.listener, proc->levels.done),
					  level_by(proc, n, places)));
		memset(&proc->count, 0, sizeof(proc->count));
		if (proc->ret < 0)
			break;
		if (!has_place(proc, places))
			proc->levels.absent = proc->ret;
	}
	if (proc->levels.done == options.levels && options.cluster && rule(RULE_NOTE_AFTER)) {
		STEP();
		note(proc->levels.listener);
	}
	done = proc->levels.done;
	memset(&proc->levels, 0, sizeof(proc->levels));
	RETURN(done);
	END();
}

static bool session_enter(struct proc *proc, int listener)
{
	BEGIN(proc->session.enter);
	proc->session.places = place_claim(proc, listener);
	CALL(levels_add(proc, listener, options.levels, 1, proc->session.places));
	proc->session.done = proc->ret;
	if (proc->session.done != options.levels && rule(RULE_UNCOUNTED_STATE)) {
		/* In the code levels_add() does it, as the last of the first call. */
		CALL(places_return(proc, listener,
				   proc->session.places & ~((1 << proc->session.done) - 1)));
		if (!rule(RULE_UNDO_LIMIT))
			proc->session.done = options.levels;
		if (rule(RULE_LEVEL_UNDO))
			CALL(levels_add(proc, listener, proc->session.done, -1, 0));
		now.uncounted++;
		RETURN(UNCOUNTED);
	}
	now.live++;
	now.opened++;
	RETURN(COUNTED);
	END();
}

static bool session_leave(struct proc *proc, int listener, int state)
{
	BEGIN(proc->session.leave);
	if (state == UNCOUNTED) {
		now.uncounted--;
	} else if (state == COUNTED) {
		CALL(levels_add(proc, listener, options.levels, -1, 0));
		now.live--;
		now.closed++;
	} else if (state == AWAITED && rule(RULE_AWAITED_END)) {
		now.awaiting--;
	}
	RETURN(0);
	END();
}

/* Not in the code: write the fields of a record. */
static void record_write(struct session *session, int as)
{
	session->listener = as;
	say("record listener %d", as);
}

static bool session_claim(struct proc *proc, struct session *session, int from, int as)
{
	BEGIN(proc->session.claim);
	if (!rule(RULE_CLAIM_BEFORE_RECORD)) {
		STEP();
		if (state_read(session) != from)
			RETURN(false);
		STEP();
		record_write(session, as);
	}
	STEP();
	if (rule(RULE_START_CLAIM)) {
		if (state_cas(session, from, STARTING) != from)
			RETURN(false);
	} else {
		state_exchange(session, STARTING);
	}
	if (from == AWAITED && rule(RULE_AWAITED_TAKE))
		now.awaiting--;
	proc->session.claimed = true;
	if (rule(RULE_CLAIM_BEFORE_RECORD) && rule(RULE_RECORD_BEFORE_PUBLISH)) {
		STEP();
		record_write(session, as);
	}
	RETURN(true);
	END();
}

static bool session_finish(struct proc *proc, struct session *session, int as, int state)
{
	BEGIN(proc->session.finish);
	STEP();
	if (!rule(RULE_PUBLISH_CAS)) {
		state_exchange(session, state);
	} else if (state_cas(session, STARTING, state) != STARTING) {
		if (rule(RULE_STARTER_TAKES_BACK))
			CALL(session_leave(proc, session->listener, state));
	}
	if (!rule(RULE_RECORD_BEFORE_PUBLISH)) {
		STEP();
		record_write(session, as);
	}
	RETURN(0);
	END();
}

static bool session_start(struct proc *proc, struct session *session, int as)
{
	BEGIN(proc->session.at);
	CALL(session_claim(proc, session, NEW, as));
	if (!proc->ret && rule(RULE_AWAITED_CLAIM)) {
		STEP();
		if (state_read(session) == AWAITED)
			CALL(session_claim(proc, session, AWAITED, as));
	}
	if (proc->ret) {
		CALL(session_enter(proc,
				   rule(RULE_RECORD_BEFORE_PUBLISH) ? session->listener : as));
		proc->session.state = proc->ret;
		CALL(session_finish(proc, session, as, proc->session.state));
	}
	RETURN(0);
	END();
}

static bool session_await(struct proc *proc, struct session *session)
{
	BEGIN(proc->session.at);
	STEP();
	if (!rule(RULE_AWAIT_NEW)) {
		state_exchange(session, AWAITED);
	} else if (!rule(RULE_AWAIT_AT_ONCE)) {
		if (state_cas(session, NEW, STARTING) != NEW)
			RETURN(0);
		STEP();
		if (state_cas(session, STARTING, AWAITED) != STARTING)
			RETURN(0);
	} else if (state_cas(session, NEW, AWAITED) != NEW) {
		RETURN(0);
	}
	now.awaiting++;
	RETURN(0);
	END();
}

static bool session_refuse(struct proc *proc, struct session *session, int as)
{
	BEGIN(proc->session.at);
	CALL(session_claim(proc, session, NEW, as));
	if (!proc->ret)
		RETURN(0);
	now.uncounted++;
	CALL(session_finish(proc, session, as, UNCOUNTED));
	RETURN(0);
	END();
}

static bool session_end(struct proc *proc, struct session *session, bool releases)
{
	BEGIN(proc->session.at);
	STEP();
	if (rule(RULE_END_EXCHANGE)) {
		proc->session.state = state_exchange(session, ENDED);
	} else {
		proc->session.state = state_read(session);
		STEP();
		state_exchange(session, ENDED);
	}
	if (proc->session.state == STARTING && !rule(RULE_STARTING_IS_STARTERS))
		proc->session.state = COUNTED;
	/* An orphan: subflow_end() takes the state that the session had when the subflow started.
	 */
	if (proc->session.state == SUBFLOW && (!releases || rule(RULE_ORPHAN_RELEASE)))
		proc->session.state = COUNTED;
	CALL(session_leave(proc, session->listener, proc->session.state));
	RETURN(0);
	END();
}

/* --- mptcp.bpf.h ---------------------------------------------------------------------------- */

static bool session_suspend(struct proc *proc, struct session *session)
{
	BEGIN(proc->subflow.suspend);
	STEP();
	proc->subflow.state = state_read(session);
	if (proc->subflow.state != COUNTED && proc->subflow.state != UNCOUNTED)
		RETURN(0);
	STEP();
	if (state_cas(session, proc->subflow.state, rule(RULE_SUSPEND_CLAIM) ? STARTING : NEW) !=
	    proc->subflow.state)
		RETURN(0);
	if (!rule(RULE_SUSPEND_CLAIM))
		STEP();
	CALL(session_leave(proc, session->listener, proc->subflow.state));
	if (!rule(RULE_SUSPEND_CLAIM))
		RETURN(0);
	STEP();
	if (rule(RULE_SUSPEND_CAS))
		state_cas(session, STARTING, NEW);
	else
		state_exchange(session, NEW);
	RETURN(0);
	END();
}

/* Not in the code: whether `subflows` is above 0. */
static bool subflows_read(const struct session *session)
{
	say("%d subflows", session->subflows);
	return session->subflows > 0;
}

static bool subflows_reconcile(struct proc *proc, struct session *session, int as)
{
	BEGIN(proc->subflow.reconcile);
	for (proc->subflow.round = 0; proc->subflow.round < options.rounds; proc->subflow.round++) {
		STEP();
		proc->subflow.live = subflows_read(session);
		if (proc->subflow.live)
			CALL(session_start(proc, session, as));
		else
			CALL(session_suspend(proc, session));
		if (!rule(RULE_RECONCILE_AGAIN))
			RETURN(0);
		STEP();
		if (subflows_read(session) == proc->subflow.live)
			RETURN(0);
	}
	if (rule(RULE_UNRECONCILED_LOST))
		now.lost++;
	RETURN(0);
	END();
}

/* Not in the code: add to `subflows`. */
static void subflows_add(struct session *session, int n)
{
	session->subflows += n;
	say("%+d: %d subflows", n, session->subflows);
}

static bool subflow_start(struct proc *proc, struct session *session, int as)
{
	BEGIN(proc->subflow.at);
	if (!rule(RULE_SUBFLOW_FIRST))
		CALL(session_start(proc, session, as));
	STEP();
	subflows_add(session, 1);
	if (rule(RULE_SUBFLOW_FIRST))
		CALL(subflows_reconcile(proc, session, as));
	RETURN(0);
	END();
}

static bool subflow_end(struct proc *proc, struct session *session, int as)
{
	BEGIN(proc->subflow.at);
	STEP();
	subflows_add(session, -1);
	CALL(subflows_reconcile(proc, session, as));
	RETURN(0);
	END();
}

/* --- connections.bpf.h ----------------------------------------------------------------------- */

/* Returns whether the caller has the record. */
static bool record_get(struct proc *proc, struct session *session)
{
	BEGIN(proc->session.record);
	if (options.fresh && !session->made) {
		STEP();
		if (session->made) {
			say("another has made the record");
			RETURN(rule(RULE_RECORD_AGAIN));
		}
		session->made = true;
		say("make the record");
	}
	RETURN(true);
	END();
}

/* Of a plain connection. */
static bool connection_start(struct proc *proc, struct session *session, int as)
{
	BEGIN(proc->session.event);
	STEP();
	CALL(record_get(proc, session));
	if (proc->ret)
		CALL(session_start(proc, session, as));
	else
		now.uncounted++; /* untracked_start() */
	RETURN(0);
	END();
}

/* --- headers.bpf.h --------------------------------------------------------------------------- */

static bool header_arrives(struct proc *proc, struct session *session, int as)
{
	int state;

	BEGIN(proc->session.event);
	STEP();
	state = state_read(session);
	if (state != NEW && state != AWAITED)
		RETURN(0);
	CALL(record_get(proc, session));
	CALL(session_start(proc, session, as));
	RETURN(0);
	END();
}

/* --- events ---------------------------------------------------------------------------------- */

/* The end of a session, by its record; without one, as on_unknown_release() ends it. */
static bool connection_end(struct proc *proc, struct session *session, bool releases)
{
	BEGIN(proc->session.event);
	CALL(record_get(proc, session));
	if (proc->ret)
		CALL(session_end(proc, session, releases));
	RETURN(0);
	END();
}

/* A place on each level, or on those on which it can be reserved. */
static bool gate_pass(struct proc *proc, int listener)
{
	BEGIN(proc->place.event);
	for (proc->place.level = 0; proc->place.level < options.levels; proc->place.level++) {
		CALL(place_reserve(proc, key_of(listener, proc->place.level)));
		proc->place.levels |= proc->ret << proc->place.level;
		memset(&proc->add, 0, sizeof(proc->add));
	}
	proc->place.listener = listener;
	RETURN(0);
	END();
}

/* Give back the place that the process has. */
static bool gate_drop(struct proc *proc)
{
	BEGIN(proc->place.event);
	CALL(places_return(proc, proc->place.listener, proc->place.levels));
	memset(&proc->place, 0, sizeof(proc->place));
	RETURN(0);
	END();
}

/* What a reader sees of a key: never less than 0. */
static int count_read(int key)
{
	int i = trie_find(key), count = i < 0 ? 0 : now.node[i].word >> SHIFT;

	return count < 0 ? 0 : count;
}

/* What the daemon does for one leaf (user/cluster/local.c). */
static bool daemon_look(struct proc *proc, int listener)
{
	BEGIN(proc->daemon.at);
	STEP();
	proc->daemon.n = count_read(key_of(listener, options.levels - 1));
	if (!now.noted[listener])
		RETURN(0);
	if (!rule(RULE_NOTE_DELETE))
		STEP();
	now.noted[listener] = false;
	say("the daemon deletes the note of listener %d", listener);
	if (rule(RULE_NOTE_DELETE)) {
		STEP();
		proc->daemon.n = count_read(key_of(listener, options.levels - 1));
	}
	now.told[listener] = proc->daemon.n;
	say("the daemon reads %d", now.told[listener]);
	RETURN(0);
	END();
}

/* One program run: an event on a session. */
static bool run_event(struct proc *proc, const struct event *event)
{
	struct session *session = &now.session[event->session];
	bool done;

	if (event->what == '+' && options.fresh)
		done = connection_start(proc, session, event->listener);
	else if (event->what == '+')
		done = session_start(proc, session, event->listener);
	else if (event->what == '!')
		done = session_refuse(proc, session, event->listener);
	else if (event->what == '?')
		done = session_await(proc, session);
	else if (event->what == '=')
		done = header_arrives(proc, session, event->listener);
	else if (event->what == '<')
		done = subflow_start(proc, session, event->listener);
	else if (event->what == '*')
		done = daemon_look(proc, event->listener);
	else if (event->what == '[')
		done = gate_pass(proc, event->listener);
	else if (event->what == ']')
		done = gate_drop(proc);
	else if (event->what == '>')
		done = subflow_end(proc, session, event->listener);
	else
		done = connection_end(proc, session, event->what == '~');
	if (done) {
		memset(&proc->session, 0, sizeof(proc->session));
		memset(&proc->subflow, 0, sizeof(proc->subflow));
		memset(&proc->daemon, 0, sizeof(proc->daemon));
		proc->ret = 0;
	}
	return done;
}

/* Run process @p up to its next step. */
static void run(int p)
{
	struct proc *proc = &now.proc[p];

	while (proc->event < options.events[p]) {
		if (!run_event(proc, &options.script[p][proc->event]))
			return;
		proc->event++;
	}
}

/* --- the checks ----------------------------------------------------------------------------- */

/* A key's count; 0 without a node. */
static int count_of(int key)
{
	int i = trie_find(key);

	return i < 0 ? 0 : now.node[i].word >> SHIFT;
}

/* A key's places; 0 without a node. */
static int places_in(int key)
{
	int i = trie_find(key);

	return i < 0 ? 0 : places_of(now.node[i].word);
}

/* Whether a session is counted: its start is over and its end has not begun. */
static bool is_counted(const struct session *session)
{
	return session->state == COUNTED || session->state == SUBFLOW;
}

/* How many sessions of @listener are counted. */
static int sessions_counted(int listener)
{
	int n = 0;

	for (int i = 0; i < SESSIONS; i++)
		n += is_counted(&now.session[i]) && now.session[i].listener == listener;
	return n;
}

/* How many sessions of any listener have begun and are not over. */
static int sessions_open(void)
{
	bool open[SESSIONS] = { false };
	int n = 0;

	for (int i = 0; i < SESSIONS; i++)
		open[i] = now.session[i].state == STARTING || is_counted(&now.session[i]);
	for (int p = 0; p < procs; p++) {
		const struct proc *proc = &now.proc[p];

		if (proc->session.claimed || proc->levels.at)
			open[options.script[p][proc->event].session] = true;
	}
	for (int i = 0; i < SESSIONS; i++)
		n += open[i];
	return n;
}

static void peak_update(void)
{
	int open = options.check_peak ? sessions_open() : 0;

	if (open > now.peak)
		now.peak = open;
}

static bool check_nodes(void)
{
	for (int i = 0; i < NODES; i++) {
		const struct node *node = &now.node[i];
		int reapers = 0;

		if (!node->linked)
			continue;
		if (node->word & GONE)
			return wrong("%s is in the trie and GONE", key_name(node->key));
		for (int p = 0; p < procs; p++)
			reapers += now.proc[p].count.reap && now.proc[p].add.node == i + 1;
		if (reapers != !!(node->word & DEAD))
			return wrong("%s is %s, and %d processes delete it", key_name(node->key),
				     word_name(node->word), reapers);
	}
	return true;
}

static bool check_key(int key)
{
	int there = 0, carried = 0;
	bool quiet = true;

	for (int i = 0; i < NODES; i++) {
		if (now.node[i].used && now.node[i].key == key && !(now.node[i].word & GONE))
			there += now.node[i].word & ~FLAGS;
	}
	for (int p = 0; p < procs; p++) {
		const struct proc *proc = &now.proc[p];

		if (!proc->count.change || proc->count.key != key)
			continue;
		carried += proc->add.carrying;
		if (proc->add.carrying || proc->count.reap)
			quiet = false;
	}
	if (now.lost)
		return true;
	if (there + carried != now.entered[key])
		return wrong("%s entered for %s, but %s in nodes and %s carried",
			     word_name(now.entered[key]), key_name(key), word_name(there),
			     word_name(carried));
	if (places_in(key) != places_of(now.entered[key]))
		return wrong("%d places reserved in %s, but %d in the trie",
			     places_of(now.entered[key]), key_name(key), places_in(key));
	if ((quiet || options.check_counted) && count_read(key) < sessions_counted(key / LEVELS))
		return wrong("a reader of %s sees %d; %d are open", key_name(key), count_read(key),
			     sessions_counted(key / LEVELS));
	if ((quiet || options.check_open) && count_read(key) > sessions_open())
		return wrong("a reader of %s sees %d; %d are open", key_name(key), count_read(key),
			     sessions_open());
	if (options.check_peak && count_read(key) > now.peak)
		return wrong("a reader of %s sees %d; no more than %d were ever open",
			     key_name(key), count_read(key), now.peak);
	return true;
}

static bool check_state(void)
{
	if (options.ends_only)
		return true;
	if (now.spent && !options.may_spend)
		return wrong("retries are used up");
	if (!check_nodes())
		return false;
	for (int key = 0; key < KEYS; key++) {
		if (key % LEVELS < options.levels && !check_key(key))
			return false;
	}
	return true;
}

static bool check_totals(void)
{
	int counted = 0, uncounted = 0, awaiting = 0, nodes = 0;

	for (int i = 0; i < SESSIONS; i++) {
		const char *state = state_names[now.session[i].state];

		if (options.ended[i] && now.session[i].state != ENDED)
			return wrong("session %c has ended and stays %s", 'a' + i, state);
		if (options.started[i] && !options.ended[i] && now.session[i].state != COUNTED &&
		    now.session[i].state != UNCOUNTED)
			return wrong("session %c has started and stays %s", 'a' + i, state);
		if (options.awaited[i] && !options.started[i] && !options.ended[i] &&
		    now.session[i].state != AWAITED)
			return wrong("session %c awaits its header and stays %s", 'a' + i, state);
		if (options.joined[i] && !options.ended[i] && !now.lost &&
		    (now.session[i].subflows > 0) != (now.session[i].state != NEW))
			return wrong("session %c has %d subflows and stays %s", 'a' + i,
				     now.session[i].subflows, state);
		counted += is_counted(&now.session[i]);
		uncounted += now.session[i].state == UNCOUNTED;
		awaiting += now.session[i].state == AWAITED;
	}
	if (now.live != counted || now.opened - now.closed != counted)
		return wrong("live %d, opened - closed %d; %d are open and counted", now.live,
			     now.opened - now.closed, counted);
	if (now.awaiting != awaiting)
		return wrong("awaiting %d; %d await their header", now.awaiting, awaiting);
	if (now.uncounted != uncounted)
		return wrong("uncounted %d; %d are open and uncounted", now.uncounted, uncounted);
	for (int key = 0; key < KEYS; key++) {
		int there = trie_find(key);

		if (key % LEVELS >= options.levels)
			continue;
		if (!now.lost && count_of(key) != sessions_counted(key / LEVELS))
			return wrong("count of %s is %d; %d are open and counted; nothing is lost",
				     key_name(key), count_of(key), sessions_counted(key / LEVELS));
		if (there < 0)
			continue;
		nodes++;
		if (now.node[there].word & (DEAD | GONE))
			return wrong("%s stays %s", key_name(key), word_name(now.node[there].word));
		if (!now.lost && places_in(key))
			return wrong("%s stays %s", key_name(key), word_name(now.node[there].word));
		if (!now.node[there].word && !options.failures)
			return wrong("%s stays in the trie at 0", key_name(key));
		if (now.node[there].word & CACHED && !(now.slot.cached && now.slot.key == key + 1))
			return wrong("%s stays %s, and no slot has it", key_name(key),
				     word_name(now.node[there].word));
	}
	for (int listener = 1; options.cluster && listener < LISTENERS; listener++) {
		int n = count_read(key_of(listener, options.levels - 1));

		/* A note that is left has the daemon read it. */
		if (!now.noted[listener] && now.told[listener] != n)
			return wrong("the daemon has read %d of listener %d, whose count is %d",
				     now.told[listener], listener, n);
	}
	if (now.slot.cached) {
		int there = trie_find(now.slot.key - 1);

		if (there < 0 || !(now.node[there].word & CACHED))
			return wrong("the slot has %s, which is not CACHED",
				     key_name(now.slot.key - 1));
	}
	if (now.slot.busy || now.cached != now.slot.cached)
		return wrong("the slot is busy, or fill says %d cached", now.cached);
	if (now.fill != nodes)
		return wrong("fill is %d; %d nodes are in the trie", now.fill, nodes);
	if (!options.failures && !options.may_spend && !options.may_disagree &&
	    (now.lost || (now.uncounted && !options.refused)))
		return wrong("lost %d, uncounted %d, though nothing failed", now.lost,
			     now.uncounted);
	return true;
}

/* Check that no key is dead: one more session starts and ends, alone, and nothing fails. */
static bool try_keys(int listener)
{
	const struct event start = { '+', SESSIONS, listener }, end = { '-', SESSIONS, 0 };
	int before[LEVELS], lost = now.lost;
	bool counted;

	for (int level = 0; level < options.levels; level++)
		before[level] = count_of(key_of(listener, level));
	failures_over = true;
	say("  then, with no more failures:");
	while (!run_event(&now.proc[0], &start))
		say("\n  one more session: ");
	counted = now.session[SESSIONS].state == COUNTED;
	for (int level = 0; level < options.levels; level++)
		counted &= count_of(key_of(listener, level)) == before[level] + 1;
	while (counted && !run_event(&now.proc[0], &end))
		say("\n  one more session: ");
	say("\n");
	failures_over = false;
	if (!counted)
		return wrong("one more session of listener %d is not counted on every level",
			     listener);
	for (int level = 0; level < options.levels; level++) {
		int key = key_of(listener, level);

		if (count_of(key) != before[level])
			return wrong("count of %s was %d; is %d after one more session",
				     key_name(key), before[level], count_of(key));
	}
	if (now.lost != lost)
		return wrong("one more session of listener %d is lost", listener);
	return true;
}

/* --- for search.h --------------------------------------------------------------------------- */

/* The first state: the sessions of @open and @orphans. */
static void state_first(const char *open, const char *orphans)
{
	memset(&now, 0, sizeof(now));
	for (; *open; open++) {
		now.session[*open - 'a'] =
			(struct session){ COUNTED, 1, options.subflows[*open - 'a'], true };
		now.live++;
		now.opened++;
	}
	for (; *orphans; orphans++) {
		now.session[*orphans - 'a'] = (struct session){ SUBFLOW, 1, 0, true };
		now.live++;
		now.opened++;
	}
	for (int level = 0; now.live && level < options.levels; level++) {
		int key = key_of(1, level);

		now.node[level] = (struct node){ now.live * ONE, key, true, true };
		now.entered[key] = now.live * ONE;
		now.fill++;
	}
	now.told[1] = now.live;
	if (options.seen)
		now.seen = options.seen;
	for (int p = 0; p < procs; p++)
		run(p); /* to its first step */
	peak_update();
}

static void step_end(void)
{
	nodes_tidy();
	peak_update();
}

static int tried; /* the listener whose key check_last() found dead, or 0 */

static bool check_last(void)
{
	const struct state last = now;

	for (tried = 1; tried < LISTENERS; tried++) {
		now = last;
		if (!try_keys(tried))
			return false;
	}
	tried = 0;
	now = last;
	return check_totals();
}

static void tell_last(void)
{
	if (tried)
		try_keys(tried);
}

static void tell_event(int p)
{
	const struct event *event = &options.script[p][now.proc[p].event];

	printf("%c%c", event->what, 'a' + event->session);
}

static bool waits(int p)
{
	(void)p;
	return false;
}

static bool finished(int p)
{
	return now.proc[p].event == options.events[p];
}

/* --- the command line ----------------------------------------------------------------------- */

/* Whether @script starts a subflow of the session of @event before that event. */
static bool script_has(const char *script, const char *event)
{
	const char *at = script;

	while (at < event && !(at[0] == '<' && at[1] == event[1]))
		at++;
	return at < event;
}

static void script_parse(const char *text)
{
	const char *text_first = text;
	int p = procs, n = 0;

	if (p == PROCS)
		usage("over %d scripts", PROCS);
	for (; *text; n++) {
		struct event *event = &options.script[p][n];

		if (n == EVENTS || !strchr("+-!?=<>~*[]", *text) || text[1] < 'a' ||
		    text[1] >= 'a' + SESSIONS)
			usage("bad script at '%s'", text);
		*event = (struct event){ *text, text[1] - 'a', 1 };
		if (*text == '-' || *text == '~')
			options.ended[event->session] = true;
		else if (*text == '<' || *text == '>')
			options.joined[event->session] = true;
		else if (*text == '[' || *text == ']')
			;
		else if (*text == '*')
			options.cluster = true;
		else if (*text == '?')
			options.awaited[event->session] = true;
		else
			options.started[event->session] = true;
		options.refused |= *text == '!';
		options.subflows[event->session] += *text == '>' && !script_has(text_first, text);
		text += 2;
		if (*text == '@') {
			if (text[1] < '1' || text[1] >= '0' + LISTENERS)
				usage("bad listener at '%s'", text);
			event->listener = text[1] - '0';
			text += 2;
		}
		text += strspn(text, " ");
	}
	options.events[p] = n;
	procs++;
}

int main(int argc, char **argv)
{
	const char *open = "", *orphans = "";
	int status;

	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strncmp(argv[i], "--", 2) != 0) {
			script_parse(argv[i]);
			continue;
		}
		if (!strcmp(argv[i], "--failures")) {
			options.failures = true;
			continue;
		}
		if (!strcmp(argv[i], "--fresh")) {
			options.fresh = true;
			continue;
		}
		if (!strcmp(argv[i], "--ends")) {
			options.ends_only = true;
			continue;
		}
		if (!strcmp(argv[i], "--open")) {
			if (strspn(value, "abcdefg") != strlen(value))
				usage("'%s' are not sessions", value);
			open = value;
		} else if (!strcmp(argv[i], "--orphans")) {
			if (strspn(value, "abcdefg") != strlen(value))
				usage("'%s' are not sessions", value);
			orphans = value;
		} else if (!strcmp(argv[i], "--seen")) {
			options.seen = number(value, 1, LISTENERS - 1);
		} else if (!strcmp(argv[i], "--levels")) {
			options.levels = number(value, 1, LEVELS);
		} else if (!strcmp(argv[i], "--retries")) {
			options.retries = number(value, 1, 100);
			options.may_spend = true;
		} else if (!strcmp(argv[i], "--rounds")) {
			options.rounds = number(value, 1, 100);
			options.may_disagree = true;
		} else if (!strcmp(argv[i], "--without")) {
			left_out = rule_named(value);
		} else if (!strcmp(argv[i], "--check") && !strcmp(value, "counted")) {
			options.check_counted = true;
		} else if (!strcmp(argv[i], "--check") && !strcmp(value, "open")) {
			options.check_open = true;
		} else if (!strcmp(argv[i], "--check") && !strcmp(value, "peak")) {
			options.check_peak = true;
		} else {
			usage("'%s': no such option; see model.c", argv[i]);
		}
		i++;
	}
	if (!procs)
		usage("no script");
	state_first(open, orphans);
	status = search();
	if (!status)
		printf("at most %d rounds of count_change\n", most_rounds);
	return status;
}
