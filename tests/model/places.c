/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * places.c - every interleaving of bpf/places.bpf.h: how the ACK gate (bpf/gates.bpf.h) and the
 * count of a session (bpf/sessions.bpf.h) keep a network within its limit.
 *
 * Up to four processes each run a script of events. search.h tries all orders in which their steps
 * can happen, and checks each state that it reaches. A function below the name of a file in bpf/
 * takes the steps of the function of that name there, in the same order: change both together.
 * tests/unit/model-places.bats checks that the functions named here exist.
 *
 * usage: places --over N[,N] [OPTION]... SCRIPT...
 *
 *   --over N[,N]    the limit of a network, then that of the networks in it, as of /24 and /32.
 *                   0: none. With one number there is one network
 *
 * SCRIPT is what one CPU does, event after event:
 *   +a   the packet comes that ends the handshake of connection a: packet_is_admitted(). If it is
 *        admitted, the connection is established: session_enter(), and place_drop()
 *   !a   the same, but the handshake fails after the gate
 *   ?a   the same, but the connection has no record, and cannot be counted
 *   =a   connection a is established, without a gate
 *   -a   session a ends, if there is one. Waits until it is known whether there is
 *   *    gives all places back: conncount_reclaim(). Waits until no gate will run any more
 *   Connections a to f are of address 1, or of address 2 where a script says so: +a@2. Each address
 *   has an inner network of its own. A script that begins with 0: runs on the CPU of the first one:
 *   their programs preempt each other
 *
 *   --open ab       sessions a and b are open and counted at first
 *   --stalls N      up to N handshakes take longer than PLACE_STALE_NS
 *   --failures      an insert of a new session or place may fail
 *   --retries N     PLACE_RETRIES (default 2)
 *   --harm          check only what users and clients can notice
 *   --without RULE  leave out one rule; `list` names them
 *
 * Exit status: as of model.c.
 *
 * A step is one operation on a node's word, on the trie, or on a slot's `turn`, or a read or write
 * of a slot's other fields. A place can be stale as soon as its handshake is over: the search tries
 * both.
 *
 * What must hold in every state
 *   - The sessions of a network that passed the gate, and the connections that have a place there,
 *     are not more than its limit. A session that has lost its place does not count here: it took
 *     too long (--stalls), no place could be inserted (--failures), or a program preempted its own.
 *   - Where a gate finds no room, there is none: as many connections as the limit says are in the
 *     count or have a place. One that is both counts once.
 *   - The places in the trie are those that connections have. So no place is ever carried over.
 *
 * What must hold when all scripts are done
 *   - One more connection of each address gets in if there is room, and only then, whatever places
 *     are left: they are stale.
 *   - When all places have been given back, each node has the count of the open sessions, without
 *     places, and no other node is left. All slots are free.
 *
 * Not modelled: the SYN gate, which reserves nothing; several listeners; and, of the count
 * protocol, what model.c has: cached nodes, and deletes that fail.
 */
#include <stdint.h>

/* bpf/abi.h */
enum { FREE, WRITTEN, TAKEN, TURN = 4 };

/* bpf/places.bpf.h */
enum { RESERVED, FULL, HELD, UNKNOWN };

/* A connection's. It is over from FAILED on. */
enum { NEW, PASSED, FAILED, REFUSED, COUNTED, UNCOUNTED, ENDED };

enum {
	PROCS = 4,
	CONNS = 6,
	EVENTS = 6, /* of one process */
	ADDRESSES = 2,
	LEVELS = 2,
	KEYS = 1 + ADDRESSES, /* the outer network, and each inner one */
	NODES = KEYS + PROCS,
	COUNT_RETRIES = 16,
};

#define RULES(X)                                                                                   \
	X(NOEXIST, "noexist", "an insert replaces a node that is there")                           \
	X(RCU, "rcu", "a node's memory is used again at once")                                     \
	X(COMPARE_PLACES, "compare-places", "a gate compares the count without the places")        \
	X(PLACE_SWAP, "place-swap", "a gate compares, and then adds a place")                      \
	X(DEAD_AGAIN, "dead-again", "a gate takes a place in a DEAD node")                         \
	X(GONE_AGAIN, "gone-again", "a gate takes a place in a GONE node")                         \
	X(EXIST_AGAIN, "exist-again", "a gate whose insert finds a node lets pass")                \
	X(SPENT_HELD, "spent-held", "a gate that has used its retries lets pass")                  \
	X(LAST_TRY, "last-try", "a place that was reserved by the last retry counts as none")      \
	X(PLACE_KEPT, "place-kept", "a node whose count is 0 is deleted though it has a place")    \
	X(PLACE_NOT_FIRST, "place-not-first",                                                      \
	  "a session gives its place back, and then is counted")                                   \
	X(PLACE_NOT_LAST, "place-not-last", "a session is counted, and then gives its place back") \
	X(REFUSED_RETURN, "refused-return", "a refused connection keeps its other places")         \
	X(UNDO_RETURN, "undo-return", "a connection that cannot be counted keeps its places")      \
	X(LEFTOVER_DROP, "leftover-drop", "a gate leaves the place that its CPU still has")        \
	X(CLAIM_ADDRESS, "claim-address", "a session takes the place of any address")              \
	X(RECLAIM, "reclaim", "a gate does not reclaim stale places")                              \
	X(STALE, "stale", "a gate reclaims places however young")                                  \
	X(READ_FIRST, "read-first", "a program reads a slot's fields after it freed the slot")     \
	X(WRITE_FIRST, "write-first", "a slot says TAKEN before its fields are written")           \
	X(WRITE_CLAIM, "write-claim", "a program writes a slot that it has not claimed")           \
	X(TURN_NEXT, "turn-next", "a slot that is free has the `turn` that it had before")         \
	X(TURN_SWAP, "turn-swap", "a program that frees a slot reads its `turn` and then sets it")

/* --- the state ------------------------------------------------------------------------------ */

/* A node of the `counts` trie: see counts_trie.h. */
struct node {
	int16_t word;
	uint8_t key;
	uint8_t used;
	uint8_t linked;
};

/* struct cc_place. Its connection stands for the address, and for `since`. */
struct place {
	uint8_t turn;
	uint8_t conn;
	uint8_t levels;
};

/* Not in the code: a connection. */
struct conn {
	uint8_t state;
	uint8_t passed; /* the gate has admitted it */
	/* On which levels, in bits: */
	uint8_t placed, counted; /* it has a place; it is in the count */
	uint8_t excused;         /* the limit does not hold for it */
};

/*
 * A process: its place in each function that it is in, and those of their variables that live from
 * one step to the next. Unused fields are 0, so that equal states compare equal.
 */
struct proc {
	uint8_t event; /* of its script */
	uint8_t self;  /* the event's connection */
	int16_t ret;
	uint16_t event_at, admit, arrival, reserve, try, note, drop, claim, reclaim, sweep, free;
	uint16_t give, enter, levels_at, change, reap;
	uint8_t owner, places; /* of the place that is becoming a session */
	struct {
		uint8_t i, refused;
		uint8_t levels; /* where it has reserved a place */
		uint8_t result, retry;
	} search;
	struct {
		uint8_t cpu;
		struct place was; /* what has been read */
	} slot;
	uint8_t level, done;          /* of levels_add() */
	uint8_t give_level, give_for; /* of places_return() */
	struct {
		uint8_t i, node, carried;
		int16_t todo, word;
	} add;
};

struct state {
	struct node node[NODES];
	struct place place[PROCS];   /* by CPU */
	struct conn conn[CONNS + 1]; /* the last is for one_more() */
	struct proc proc[PROCS];
	/* Not in the code: */
	uint8_t stalls;
	uint8_t unjust, unjust_key; /* a connection + 1 that found no room, and where there was */
};

#include "search.h"
#include "counts_trie.h"

struct event {
	char what; /* as in a script: + ! ? = - * */
	uint8_t conn;
};

/* The command line. */
static struct {
	struct event script[PROCS][EVENTS];
	int events[PROCS];
	int cpu[PROCS];
	bool shared; /* two scripts are of one CPU */
	int address[CONNS + 1];
	int over[LEVELS];
	int levels;
	int retries;
	int stalls;
	bool failures;
	bool harm;
} options = { .retries = 2 };

static bool scripts_over; /* from now on nothing fails, and places are stale */
static bool insert_may_fail;

/* The key of a connection and a level; level 0 is the outer network. */
static int key_of(int conn, int level)
{
	return level ? options.address[conn] : 0;
}

static int level_of(int key)
{
	return key > 0;
}

static int key_shorter(int key)
{
	return key ? 0 : -1;
}

static const char *key_name(int key)
{
	static const char *const names[] = { "outer", "inner/1", "inner/2" };

	return options.levels == 1 ? "n" : names[key];
}

static bool helper_fails(void)
{
	if (!options.failures || scripts_over || !insert_may_fail)
		return false;
	choices = 2;
	return choice > 0;
}

static char conn_name(int conn)
{
	return conn == CONNS ? 'z' : 'a' + conn;
}

static bool conn_is_over(int conn)
{
	return now.conn[conn].state >= FAILED;
}

/* Not in the code: whether connection @i is of a network, and @levels has the network's level. */
static bool conn_is_in(int key, int i, int levels)
{
	int level = level_of(key);

	return key_of(i, level) == key && levels >> level & 1;
}

/*
 * Not in the code: how many connections are in the count of a network or have a place there. One
 * whose place another program gives back can be both for a moment, and counts twice.
 */
static int conns_in(int key)
{
	int n = 0;

	for (int i = 0; i <= CONNS; i++) {
		const struct conn *conn = &now.conn[i];

		n += conn_is_in(key, i, conn->placed | conn->counted);
		n += conn_is_in(key, i, conn->placed & conn->counted & conn->excused);
	}
	return n;
}

/* Not in the code: an insert that fails if the search wants it to. */
static int try_insert(int key, int word)
{
	int err;

	insert_may_fail = true;
	err = trie_insert(key, word);
	insert_may_fail = false;
	return err;
}

/* --- counts.bpf.h --------------------------------------------------------------------------- */

static bool node_reap(struct proc *proc, int key)
{
	BEGIN(proc->reap);
	STEP();
	trie_delete(key);
	STEP();
	RETURN(word_exchange(&now.node[proc->add.node - 1], DEAD | GONE) & ~FLAGS);
	END();
}

/* Not in the code: note for the checks what count_change() has entered. */
static void entered(struct proc *proc, int key, int by)
{
	int level = 1 << level_of(key);

	if (proc->add.carried)
		return;
	if (by == ONE || by == ONE - PLACE)
		now.conn[proc->self].counted |= level;
	if (by == -ONE)
		now.conn[proc->self].counted &= ~level;
	if (by == -PLACE || by == ONE - PLACE)
		now.conn[by == -PLACE ? proc->give_for : proc->owner].placed &= ~level;
}

static bool count_change(struct proc *proc, int key, int by)
{
	struct node *node = proc->add.node ? &now.node[proc->add.node - 1] : NULL;
	int word, err;

	BEGIN(proc->change);
	proc->add.todo = by;
	for (; proc->add.i < COUNT_RETRIES; proc->add.i++) {
		proc->add.node = 0;
		STEP();
		proc->add.node = trie_lookup(key);
		node = proc->add.node ? &now.node[proc->add.node - 1] : NULL;
		if (!node || node->key != key) {
			proc->add.node = 0;
			STEP();
			err = by > 0 && !proc->add.carried ? try_insert(key, by)
							   : trie_insert(key, proc->add.todo);
			if (err == -EEXIST)
				continue;
			if (!err)
				entered(proc, key, by);
			memset(&proc->add, 0, sizeof(proc->add));
			RETURN(err);
		}
		STEP();
		word = word_fetch_add(node, proc->add.todo) + proc->add.todo;
		if (word & GONE)
			continue;
		entered(proc, key, by);
		proc->add.word = rule(RULE_PLACE_KEPT) ? 0 : places_of(word) * PLACE;
		if (word == proc->add.word) {
			STEP();
			if (word_cas(node, proc->add.word, proc->add.word | DEAD) ==
			    proc->add.word) {
				CALL(node_reap(proc, key));
				proc->add.todo = proc->ret;
				proc->add.carried = true;
				if (proc->add.todo)
					continue;
			}
		}
		memset(&proc->add, 0, sizeof(proc->add));
		RETURN(0);
	}
	abort();
	END();
}

/* --- places.bpf.h --------------------------------------------------------------------------- */

static struct place *place_own(struct proc *proc)
{
	return &now.place[options.cpu[proc - now.proc]];
}

static int place_state(int turn)
{
	return turn % TURN;
}

/* Not in the code. */
static void say_place(const char *what, const struct place *place)
{
	static const char *const states[] = { "FREE", "WRITTEN", "TAKEN" };

	say("%s slot %d: %s in turn %d, of %c", what, (int)(place - now.place),
	    states[place_state(place->turn)], place->turn / TURN, conn_name(place->conn));
}

/* Not in the code: read a slot's `turn`. Returns its state. */
static int turn_read(struct proc *proc, const struct place *place)
{
	say_place("read the turn of", place);
	proc->slot.was.turn = place->turn;
	return place_state(place->turn);
}

static void place_read(struct proc *proc, const struct place *place)
{
	say_place("read the fields of", place);
	proc->slot.was.conn = place->conn;
	proc->slot.was.levels = place->levels;
}

static bool place_free(struct proc *proc, struct place *place)
{
	BEGIN(proc->free);
	STEP();
	if (place->turn != proc->slot.was.turn) {
		say_place("another has freed", place);
		RETURN(false);
	}
	if (!rule(RULE_TURN_SWAP))
		STEP();
	place->turn = proc->slot.was.turn / TURN * TURN + (rule(RULE_TURN_NEXT) ? TURN : 0);
	say_place("free", place);
	if (!rule(RULE_READ_FIRST)) {
		STEP();
		place_read(proc, place);
	}
	RETURN(true);
	END();
}

/* Not in the code: the limit does not hold for a connection whose place @proc has just taken, if it
 * goes on without it. */
static void excuse(struct proc *proc)
{
	const struct place *was = &proc->slot.was;

	if (!conn_is_over(was->conn) && was->conn != proc->self)
		now.conn[was->conn].excused |= was->levels;
}

static bool places_return(struct proc *proc, int of, int levels)
{
	BEGIN(proc->give);
	proc->give_for = of;
	for (; proc->give_level < options.levels; proc->give_level++) {
		if (levels >> proc->give_level & 1)
			CALL(count_change(proc, key_of(of, proc->give_level), -PLACE));
	}
	proc->give_level = proc->give_for = 0;
	RETURN(0);
	END();
}

static bool place_drop(struct proc *proc)
{
	struct place *place = place_own(proc);

	BEGIN(proc->drop);
	STEP();
	if (turn_read(proc, place) == TAKEN) {
		STEP();
		place_read(proc, place);
		CALL(place_free(proc, place));
		if (proc->ret) {
			if (options.shared)
				excuse(proc);
			CALL(places_return(proc, proc->slot.was.conn, proc->slot.was.levels));
		}
	}
	memset(&proc->slot, 0, sizeof(proc->slot));
	RETURN(0);
	END();
}

static bool place_claim(struct proc *proc)
{
	struct place *place = place_own(proc);

	BEGIN(proc->claim);
	STEP();
	if (turn_read(proc, place) == TAKEN) {
		STEP();
		place_read(proc, place);
		if (options.address[proc->slot.was.conn] == options.address[proc->self] ||
		    !rule(RULE_CLAIM_ADDRESS)) {
			CALL(place_free(proc, place));
			if (proc->ret) {
				if (options.shared)
					excuse(proc);
				proc->owner = proc->slot.was.conn;
				proc->places = proc->slot.was.levels;
			}
		}
	}
	memset(&proc->slot, 0, sizeof(proc->slot));
	RETURN(0);
	END();
}

static bool place_note(struct proc *proc, int levels)
{
	struct place *place = place_own(proc);

	BEGIN(proc->note);
	STEP();
	if (turn_read(proc, place) != FREE)
		RETURN(false);
	if (rule(RULE_WRITE_CLAIM)) {
		STEP();
		if (place->turn != proc->slot.was.turn) {
			say_place("another has taken", place);
			RETURN(false);
		}
		place->turn |= WRITTEN;
		say_place("take", place);
	}
	if (rule(RULE_WRITE_FIRST)) {
		STEP();
		*place = (struct place){ place->turn, proc->self, levels };
		say_place("write", place);
	}
	STEP();
	place->turn = proc->slot.was.turn | TAKEN;
	say_place("publish", place);
	if (!rule(RULE_WRITE_FIRST)) {
		STEP();
		*place = (struct place){ place->turn, proc->self, levels };
		say_place("write", place);
	}
	RETURN(true);
	END();
}

/* Not in the code: whether a place whose fields have just been read is stale. */
static bool place_is_stale(const struct place *place)
{
	if (scripts_over || !rule(RULE_STALE))
		return true;
	if (!conn_is_over(place->conn) && now.stalls == options.stalls)
		return false;
	choices = 2;
	if (!choice)
		return false;
	say(", stale");
	now.stalls += !conn_is_over(place->conn);
	return true;
}

static bool place_sweep(struct proc *proc, bool all)
{
	struct place *place = &now.place[proc->slot.cpu];

	BEGIN(proc->sweep);
	STEP();
	if (turn_read(proc, place) != TAKEN)
		RETURN(0);
	STEP();
	place_read(proc, place);
	if (!all && !place_is_stale(place))
		RETURN(0);
	CALL(place_free(proc, place));
	if (!proc->ret)
		RETURN(0);
	if (rule(RULE_STALE))
		excuse(proc);
	CALL(places_return(proc, proc->slot.was.conn, proc->slot.was.levels));
	RETURN(0);
	END();
}

static bool places_reclaim(struct proc *proc, bool all)
{
	BEGIN(proc->reclaim);
	for (; proc->slot.cpu < procs; proc->slot.cpu++)
		CALL(place_sweep(proc, all));
	memset(&proc->slot, 0, sizeof(proc->slot));
	RETURN(0);
	END();
}

static bool place_try(struct proc *proc, int key, int over)
{
	struct node *node = proc->add.node ? &now.node[proc->add.node - 1] : NULL;
	int level = level_of(key), err, count;

	BEGIN(proc->try);
	memset(&proc->add, 0, sizeof(proc->add));
	proc->search.result = HELD;
	STEP();
	proc->add.node = trie_lookup(key);
	node = proc->add.node ? &now.node[proc->add.node - 1] : NULL;
	if (!node || node->key != key) {
		proc->add.node = 0;
		STEP();
		err = try_insert(key, PLACE);
		if (!err) {
			now.conn[proc->self].placed |= 1 << level;
			proc->search.result = RESERVED;
		} else if (err != -EEXIST) {
			now.conn[proc->self].excused |= 1 << level;
			proc->search.result = UNKNOWN;
		} else if (!rule(RULE_EXIST_AGAIN)) {
			proc->search.result = UNKNOWN;
			RETURN(true);
		}
		RETURN(err != -EEXIST);
	}
	STEP();
	proc->add.word = word_read(node);
	if (proc->add.word & GONE ? rule(RULE_GONE_AGAIN)
				  : proc->add.word & DEAD && rule(RULE_DEAD_AGAIN))
		RETURN(false);
	count = proc->add.word >> SHIFT;
	if (count + (rule(RULE_COMPARE_PLACES) ? places_of(proc->add.word) : 0) >= over) {
		proc->search.result = count >= over ? FULL : HELD;
		say(": full");
		if (conns_in(key) < over) {
			now.unjust = proc->self + 1;
			now.unjust_key = key;
		}
		RETURN(true);
	}
	STEP();
	if (!rule(RULE_PLACE_SWAP))
		word_fetch_add(node, PLACE);
	else if (word_cas(node, proc->add.word, proc->add.word + PLACE) != proc->add.word)
		RETURN(false);
	now.conn[proc->self].placed |= 1 << level;
	proc->search.result = RESERVED;
	RETURN(true);
	END();
}

static bool place_reserve(struct proc *proc, int key, int over)
{
	BEGIN(proc->reserve);
	for (proc->search.retry = 0; proc->search.retry <= options.retries; proc->search.retry++) {
		CALL(place_try(proc, key, over));
		if (proc->ret)
			break;
	}
	memset(&proc->add, 0, sizeof(proc->add));
	if (proc->search.retry > options.retries
		    ? !rule(RULE_SPENT_HELD)
		    : proc->search.retry == options.retries && !rule(RULE_LAST_TRY))
		proc->search.result = UNKNOWN;
	RETURN(proc->search.result);
	END();
}

/* --- gates.bpf.h ---------------------------------------------------------------------------- */

static bool arrival_reserve(struct proc *proc)
{
	int level = options.levels - 1 - proc->search.i;

	BEGIN(proc->arrival);
	for (; proc->search.i < options.levels; proc->search.i++) {
		level = options.levels - 1 - proc->search.i;
		if (!options.over[level])
			continue;
		CALL(place_reserve(proc, key_of(proc->self, level), options.over[level]));
		if (proc->ret == RESERVED)
			proc->search.levels |= 1 << level;
		if (proc->ret == FULL || proc->ret == HELD) {
			proc->search.refused = proc->ret;
			break;
		}
	}
	if (proc->search.levels && !proc->search.refused) {
		CALL(place_note(proc, proc->search.levels));
		memset(&proc->slot, 0, sizeof(proc->slot));
		if (proc->ret)
			proc->search.levels = 0;
		else if (options.shared)
			now.conn[proc->self].excused |= proc->search.levels;
	}
	if (proc->search.levels && (rule(RULE_REFUSED_RETURN) || !proc->search.refused))
		CALL(places_return(proc, proc->self, proc->search.levels));
	proc->ret = proc->search.refused;
	memset(&proc->search, 0, sizeof(proc->search));
	RETURN(proc->ret);
	END();
}

/* Returns how the packet is refused, or 0. */
static bool packet_is_admitted(struct proc *proc)
{
	BEGIN(proc->admit);
	if (rule(RULE_LEFTOVER_DROP))
		CALL(place_drop(proc));
	CALL(arrival_reserve(proc));
	if (proc->ret == HELD && rule(RULE_RECLAIM)) {
		CALL(places_reclaim(proc, false));
		CALL(arrival_reserve(proc));
	}
	RETURN(proc->ret);
	END();
}

/* --- sessions.bpf.h ------------------------------------------------------------------------- */

/* Not in the code: whether the session has a place on the level that levels_add() is at. */
static bool has_place(const struct proc *proc, int places)
{
	return places >> proc->level & 1;
}

static bool levels_add(struct proc *proc, int limit, int n, int places)
{
	bool at_once = rule(RULE_PLACE_NOT_FIRST) && rule(RULE_PLACE_NOT_LAST);

	BEGIN(proc->levels_at);
	for (; proc->level < limit; proc->level++) {
		if (has_place(proc, places) && !rule(RULE_PLACE_NOT_FIRST)) {
			proc->give_for = proc->owner;
			CALL(count_change(proc, key_of(proc->self, proc->level), -PLACE));
		}
		CALL(count_change(proc, key_of(proc->self, proc->level),
				  n * ONE - (has_place(proc, places) && at_once ? PLACE : 0)));
		if (proc->ret < 0)
			break;
		if (has_place(proc, places) && !rule(RULE_PLACE_NOT_LAST)) {
			proc->give_for = proc->owner;
			CALL(count_change(proc, key_of(proc->self, proc->level), -PLACE));
		}
	}
	proc->ret = proc->level;
	proc->level = proc->give_for = 0;
	RETURN(proc->ret);
	END();
}

/* Returns the connection's new state. */
static bool session_enter(struct proc *proc)
{
	BEGIN(proc->enter);
	CALL(place_claim(proc));
	CALL(levels_add(proc, options.levels, 1, proc->places));
	proc->done = proc->ret;
	if (proc->done < options.levels) {
		/* In the code levels_add() does it, as the last of the first call. */
		if (rule(RULE_UNDO_RETURN))
			CALL(places_return(proc, proc->owner,
					   proc->places & ~((1 << proc->done) - 1)));
		CALL(levels_add(proc, proc->done, -1, 0));
		RETURN(UNCOUNTED);
	}
	RETURN(COUNTED);
	END();
}

/* --- events ---------------------------------------------------------------------------------- */

/* A packet of a connection comes, and what follows. */
static bool arrive(struct proc *proc, char what)
{
	struct conn *conn = &now.conn[proc->self];

	BEGIN(proc->event_at);
	if (what != '=') {
		conn->state = NEW;
		conn->excused = 0;
		CALL(packet_is_admitted(proc));
		if (proc->ret) {
			conn->state = REFUSED;
			say(" (refused)");
			RETURN(0);
		}
		conn->passed = true;
		conn->state = what == '!' ? FAILED : what == '?' ? UNCOUNTED : PASSED;
		say(" (admitted)");
		if (what == '!')
			RETURN(0);
	}
	if (what != '?') {
		CALL(session_enter(proc));
		conn->state = proc->ret;
		say(conn->state == COUNTED ? " (counted)" : " (uncounted)");
	}
	CALL(place_drop(proc));
	RETURN(0);
	END();
}

static bool leave(struct proc *proc)
{
	struct conn *conn = &now.conn[proc->self];

	BEGIN(proc->event_at);
	STEP();
	say("%s", conn->state == COUNTED ? "ends" : "there is no session");
	if (conn->state != COUNTED)
		RETURN(0);
	conn->state = ENDED;
	CALL(levels_add(proc, options.levels, -1, 0));
	RETURN(0);
	END();
}

static bool run_event(struct proc *proc, const struct event *event)
{
	proc->self = event->conn;
	if (event->what == '-')
		return leave(proc);
	if (event->what == '*')
		return places_reclaim(proc, true); /* conncount_reclaim() */
	return arrive(proc, event->what);
}

/* --- for search.h --------------------------------------------------------------------------- */

static bool finished(int p)
{
	return now.proc[p].event == options.events[p];
}

static const struct event *event_of(int p)
{
	return &options.script[p][now.proc[p].event];
}

static bool event_has_gate(const struct event *event)
{
	return strchr("+!?", event->what);
}

/* Whether process @p runs a gate, or will. */
static bool gate_is_ahead(int p)
{
	bool ahead = false;

	for (int i = now.proc[p].event; i < options.events[p]; i++) {
		const struct event *event = &options.script[p][i];
		bool past = i == now.proc[p].event && now.conn[event->conn].state != NEW;

		ahead |= event_has_gate(event) && !past;
	}
	return ahead;
}

static bool waits(int p)
{
	const struct event *event = event_of(p);
	bool ahead = false;

	if (event->what == '-')
		return !conn_is_over(event->conn);
	for (int i = 0; event->what == '*' && i < procs; i++)
		ahead |= gate_is_ahead(i);
	return ahead;
}

static void run(int p)
{
	struct proc *proc = &now.proc[p];

	while (!finished(p)) {
		if (!run_event(proc, event_of(p)))
			return;
		*proc = (struct proc){ .event = proc->event + 1 };
	}
}

static void tell_event(int p)
{
	printf("%c%c", event_of(p)->what, conn_name(event_of(p)->conn));
}

static void step_end(void)
{
	nodes_tidy();
}

/* --- the checks ----------------------------------------------------------------------------- */

/* How many connections are in a network that its limit holds for. */
static int conns_limited(int key)
{
	int n = 0;

	for (int i = 0; i <= CONNS; i++) {
		const struct conn *conn = &now.conn[i];
		int counted = conn->passed ? conn->counted : 0;

		n += conn_is_in(key, i, (conn->placed | counted) & ~conn->excused);
	}
	return n;
}

static int conns_counted(int key)
{
	int n = 0;

	for (int i = 0; i <= CONNS; i++)
		n += conn_is_in(key, i, now.conn[i].counted);
	return n;
}

static int conns_placed(int key)
{
	int n = 0;

	for (int i = 0; i <= CONNS; i++)
		n += conn_is_in(key, i, now.conn[i].placed);
	return n;
}

static bool check_state(void)
{
	if (now.unjust)
		return wrong("no room for %c in %s, where %d of %d are", conn_name(now.unjust - 1),
			     key_name(now.unjust_key), conns_in(now.unjust_key),
			     options.over[level_of(now.unjust_key)]);
	for (int key = 0; key < KEYS; key++) {
		int over = options.over[level_of(key)], i = trie_find(key);
		int places = i < 0 ? 0 : places_of(now.node[i].word);

		if (over && conns_limited(key) > over)
			return wrong("%d are in %s; the limit is %d", conns_limited(key),
				     key_name(key), over);
		if (!options.harm && places != conns_placed(key))
			return wrong("%s has %d places; %d connections have one", key_name(key),
				     places, conns_placed(key));
	}
	return true;
}

/* Check that one more connection of an address gets in where there is room. */
static bool one_more(int address)
{
	const struct event start = { '+', CONNS }, end = { '-', CONNS };
	bool room = true, admitted;

	memset(&now.conn[CONNS], 0, sizeof(now.conn[CONNS]));
	options.address[CONNS] = address;
	for (int level = 0; level < options.levels; level++)
		room &= !options.over[level] ||
			conns_counted(key_of(CONNS, level)) < options.over[level];
	say("  then one more connection of address %d", address);
	do
		say("\n  one more: ");
	while (!run_event(&now.proc[0], &start));
	admitted = now.conn[CONNS].state == COUNTED;
	while (!run_event(&now.proc[0], &end))
		say("\n  one more: ");
	say("\n");
	return room == admitted ||
	       wrong("one more connection of address %d is %s; there is %s", address,
		     admitted ? "admitted" : "refused", room ? "room" : "no room");
}

/* Check the nodes and slots, when all places have been given back. */
static bool check_totals(void)
{
	for (int key = 0; key < KEYS; key++) {
		int i = trie_find(key), word = i < 0 ? 0 : now.node[i].word;

		if (word != conns_counted(key) * ONE)
			return wrong("%s stays %s; %d are open", key_name(key), word_name(word),
				     conns_counted(key));
		if (i >= 0 && !word)
			return wrong("%s stays in the trie at 0", key_name(key));
	}
	for (int p = 0; p < procs; p++) {
		if (place_state(now.place[p].turn) != FREE)
			return wrong("the slot of CPU %d is not free", p);
	}
	return true;
}

static int tried; /* the address of which check_last() tried one more, if that went wrong */

static bool check_last(void)
{
	const struct event reclaim_all = { '*', 0 };

	scripts_over = true;
	for (tried = 1; tried <= ADDRESSES; tried++) {
		if (!one_more(tried))
			return false;
	}
	tried = 0;
	while (!run_event(&now.proc[0], &reclaim_all))
		;
	scripts_over = false;
	return check_totals();
}

static void tell_last(void)
{
	scripts_over = true;
	for (int address = 1; address <= tried; address++)
		one_more(address);
}

/* --- the command line ----------------------------------------------------------------------- */

static void script_parse(const char *text)
{
	int p = procs, n = 0;

	if (p == PROCS)
		usage("over %d scripts", PROCS);
	options.cpu[p] = p;
	if (*text == '0' && text[1] == ':') {
		options.cpu[p] = 0;
		options.shared = p > 0;
		text += 2;
	}
	for (; *text; n++) {
		struct event *event = &options.script[p][n];

		if (n == EVENTS || !strchr("+!?=-*", *text) ||
		    (*text != '*' && (text[1] < 'a' || text[1] >= 'a' + CONNS)))
			usage("bad script at '%s'", text);
		*event = (struct event){ *text, *text == '*' ? 0 : text[1] - 'a' };
		text += *text == '*' ? 1 : 2;
		if (*text == '@') {
			if (text[1] < '1' || text[1] >= '1' + ADDRESSES)
				usage("bad address at '%s'", text);
			options.address[event->conn] = text[1] - '0';
			text += 2;
		}
		text += strspn(text, " ");
	}
	options.events[p] = n;
	procs++;
}

/* The limits, from `N` or `N,N`. */
static void limits_parse(const char *text)
{
	const char *inner = strchr(text, ',');
	char outer[8] = "";

	strncpy(outer, text, inner && inner - text < 8 ? (size_t)(inner - text) : 7);
	options.over[0] = number(outer, 0, CONNS);
	options.over[1] = inner ? number(inner + 1, 0, CONNS) : 0;
	options.levels = inner ? 2 : 1;
}

/* The first state: the sessions of @open. */
static void state_first(const char *open)
{
	for (; *open; open++) {
		int conn = *open - 'a';

		now.conn[conn] = (struct conn){ .state = COUNTED, .passed = true };
		for (int level = 0; level < options.levels; level++) {
			int key = key_of(conn, level);

			now.conn[conn].counted |= 1 << level;
			if (trie_find(key) < 0)
				trie_insert(key, 0);
			now.node[trie_find(key)].word += ONE;
		}
	}
	for (int p = 0; p < procs; p++)
		run(p); /* to its first step */
}

int main(int argc, char **argv)
{
	const char *open = "";

	for (int i = 0; i < CONNS; i++)
		options.address[i] = 1;
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
		if (!strcmp(argv[i], "--harm")) {
			options.harm = true;
			continue;
		}
		if (!strcmp(argv[i], "--open")) {
			if (strspn(value, "abcdef") != strlen(value))
				usage("'%s' are not connections", value);
			open = value;
		} else if (!strcmp(argv[i], "--over")) {
			limits_parse(value);
		} else if (!strcmp(argv[i], "--stalls")) {
			options.stalls = number(value, 0, 9);
		} else if (!strcmp(argv[i], "--retries")) {
			options.retries = number(value, 0, 9);
		} else if (!strcmp(argv[i], "--without")) {
			left_out = rule_named(value);
		} else {
			usage("'%s': no such option; see places.c", argv[i]);
		}
		i++;
	}
	if (!procs || !options.levels)
		usage("no %s", procs ? "limit" : "script");
	state_first(open);
	return search();
}
