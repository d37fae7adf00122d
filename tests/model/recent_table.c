/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * recent_table.c - every interleaving of the table of recent connections: bpf/recent.bpf.h, and its
 * readers, user/lib/recent.c.
 *
 * Up to four processes each run a script. search.h tries all orders in which their steps can
 * happen, and checks each state that it reaches. A function below the name of a file takes the
 * steps of the function of that name there, in the same order: change both together.
 * tests/unit/model-recent.bats checks that the functions named here exist.
 *
 * usage: recent_table [OPTION]... SCRIPT...
 *
 * SCRIPT is what one process does:
 *   +a   enters a connection of network a (a, b or c): recent_add(). It reads the clock in a step
 *        of its own, before it waits for the lock
 *   ?a   asks how many connections network a has in one window: answer(). The search tries each
 *        window that is kept
 *   3    lets 3 seconds pass
 *
 *   --window S,N    a length of windows: S seconds, of which N are kept beside the current one. Up
 *                   to two (default: one of 2,1)
 *   --entries N     entries in the group, 1 or 2, which all networks share (default 1)
 *   --without RULE  leave out one rule; `list` names them
 *
 * Exit status: as of model.c.
 *
 * What a step is
 *   One read or write of a field, of a slot, or of the clock; to take the lock. All processes see
 *   the steps in one order: the programs hold the lock, whose operations are fully ordered, as are
 *   those on the version. A step that only the holder of the lock can see is part of the step
 *   before.
 *
 * What else is not modelled
 *   Several groups: they share nothing. Sets: all networks have the same two. Which of two entries
 *   is evicted is not computed as in choose_least(): the search tries each. Counts at their limit.
 *
 * What must hold of each answer, for some moment between the start and the end of its last try
 *   - least <= how many connections the network has opened in that window <= most.
 *
 * What must hold whenever no program holds the lock, for each network in each window that is kept
 *   - The same, of the answer that a reader would get now.
 *   - If nothing was evicted, that answer is exact.
 */
#include <linux/types.h>
#include <stdint.h>

#include "../../bpf/recent.h"

enum {
	PROCS = 4,
	EVENTS = 6, /* of one process */
	NETWORKS = 3,
	ENTRIES = 2,
	LENGTHS = 2,
	SLOTS = 6,  /* of all lengths */
	TIMES = 10, /* seconds */
	UNKNOWN = 255,
};

/* What a process waits for. */
enum { LOCK = 1, EVEN };

#define RULES(X)                                                                                  \
	X(LOCK_HELD, "lock-held",                                                                 \
	  "a program unlocks between the search for an entry and the addition")                   \
	X(BORN_LATEST, "born-latest", "an entry is born by the clock of its program")             \
	X(ERROR_LATEST, "error-latest",                                                           \
	  "a program whose clock is not the latest takes the error of its own windows")           \
	X(LATER_SLOT, "later-slot", "an addition takes a slot that has a later epoch")            \
	X(LATER_LOST, "later-lost", "an eviction takes what was lost in a later epoch")           \
	X(LOST_MAX, "lost-max", "what an eviction loses replaces what was lost before")           \
	X(LOST_ERROR, "lost-error", "an eviction loses the count of an entry without its error")  \
	X(NEWCOMER_ERROR, "newcomer-error", "a network with an entry has no error")               \
	X(ABSENT_ERROR, "absent-error", "a network without an entry has no error")                \
	X(SLOTS_CLEAR, "slots-clear", "a network gets the slots as the one before left them")     \
	X(FREE_REACH, "free-reach",                                                               \
	  "an entry is free while the windows that it counted in are kept")                       \
	X(VERSION_ODD, "version-odd", "a reader does not wait for an even version")               \
	X(VERSION_SAME, "version-same", "a reader does not look whether the version has changed") \
	X(CLOCK_SAME, "clock-same",                                                               \
	  "a reader does not look whether its window is still the current one")

/* --- the state ------------------------------------------------------------------------------ */

/* struct cc_recent_slot */
struct slot {
	uint8_t epoch, count;
};

/* struct cc_recent_entry, with its `tag` and `last`. All networks have the same tag: 1. */
struct entry {
	uint8_t tag, last;
	uint8_t key, born, error;
	struct slot slot[SLOTS];
};

/* A process. Unused fields are 0, so that equal states compare equal. */
struct proc {
	uint8_t event; /* of its script */
	int8_t ret;
	uint16_t event_at, at, take, add; /* its place in each function */
	uint8_t waits;                    /* for the lock, or for an even version */
	uint8_t seconds;                  /* the clock that it has read */
	uint8_t i, index;                 /* of a loop; of a slot */
	uint8_t entry;                    /* the index of the one it has chosen */
	/* Only of readers: */
	uint8_t length, epoch;  /* the window that is asked about */
	uint8_t version, found; /* found: whether `entry` is that of the network */
	uint8_t lost, count, born;
	uint8_t truth; /* not in the code: when it began to read the group */
	uint8_t least, most;
	uint8_t wrong; /* it got an answer that is */
};

struct state {
	uint8_t clock;
	uint8_t locked;
	/* struct cc_recent_group */
	uint8_t version, latest;
	struct entry entry[ENTRIES];
	struct slot lost[SLOTS];
	struct proc proc[PROCS];
	/* Not in the code: */
	uint8_t evicted;                         /* an entry was, that was not free */
	uint8_t truth[NETWORKS][LENGTHS][TIMES]; /* by length and epoch of window */
};

#include "search.h"

/* The command line. */
static struct {
	struct event {
		char what; /* + ? or 0 */
		uint8_t n; /* the network, or seconds */
	} script[PROCS][EVENTS];
	int events[PROCS];
	int entries;
	struct {
		uint8_t seconds, slots, first;
	} window[LENGTHS];
	int lengths;
	int reach;
	int time; /* at the end of all scripts */
} options = { .entries = 1 };

static int epoch_of(int length, int seconds)
{
	return seconds / options.window[length].seconds;
}

/* The slot of an epoch. */
static int slot_of(int length, int epoch)
{
	return options.window[length].first + epoch % options.window[length].slots;
}

/* The length of windows that slot @index is for. */
static int length_of(int index)
{
	return index >= options.window[0].slots;
}

static int slots(void)
{
	return options.window[options.lengths - 1].first +
	       options.window[options.lengths - 1].slots;
}

static void say_slot(const char *what, int index, const struct slot *slot)
{
	int length = length_of(index);

	say("%s of %ds from %d: %d", what, options.window[length].seconds,
	    slot->epoch * options.window[length].seconds, slot->count);
}

/* --- recent.h ------------------------------------------------------------------------------- */

/* Not in the code: cc_recent_error(), unless a rule is left out. */
static int recent_error(int born, int error, int index, int epoch, int lost)
{
	if (!rule(RULE_NEWCOMER_ERROR))
		return 0;
	return (int)cc_recent_error(born, error, epoch, options.window[length_of(index)].seconds,
				    lost);
}

/* --- recent.bpf.h --------------------------------------------------------------------------- */

/* Not in the code: what the programs should count. */
static void truth_add(int network, int index, int epoch)
{
	now.truth[network][length_of(index)][epoch]++;
}

static bool entry_add(struct proc *proc, int network)
{
	struct entry *entry = &now.entry[proc->entry];

	BEGIN(proc->add);
	for (proc->i = 0; proc->i < options.lengths; proc->i++) {
		struct slot *slot;
		int epoch;

		STEP();
		epoch = epoch_of(proc->i, proc->seconds);
		proc->index = slot_of(proc->i, epoch);
		slot = &entry->slot[proc->index];
		truth_add(network, proc->index, epoch);
		if (slot->epoch == epoch) {
			slot->count++;
		} else if (slot->epoch < epoch) {
			*slot = (struct slot){ epoch, 1 };
		} else if (!rule(RULE_LATER_SLOT)) {
			slot->count++;
		} else {
			say("too late: ");
		}
		say_slot("add: entry", proc->index, slot);
	}
	proc->i = proc->index = 0;
	RETURN(0);
	END();
}

static int slot_lost(const struct slot *lost, int epoch)
{
	return lost->epoch == epoch ? lost->count : 0;
}

/* Not in the code: one slot of entry_evict(). Returns whether that writes anything. */
static bool slot_evict(const struct entry *entry, int index)
{
	const struct slot *slot = &entry->slot[index];
	struct slot *lost = &now.lost[index];
	int before, sum = slot->count;

	if (!slot->count || (lost->epoch > slot->epoch && rule(RULE_LATER_LOST)))
		return false;
	before = slot_lost(lost, slot->epoch);
	if (rule(RULE_LOST_ERROR))
		sum += recent_error(entry->born, entry->error, index, slot->epoch, before);
	if (before > sum && rule(RULE_LOST_MAX))
		sum = before;
	*lost = (struct slot){ slot->epoch, sum };
	return true;
}

static int group_error(int seconds)
{
	int error = 0;

	if (seconds < now.latest && rule(RULE_ERROR_LATEST))
		return UNKNOWN;
	for (int i = 0; i < options.lengths; i++) {
		int epoch = epoch_of(i, seconds);
		int lost = slot_lost(&now.lost[slot_of(i, epoch)], epoch);

		error = lost > error ? lost : error;
	}
	return error;
}

static bool entry_is_free(const struct entry *entry)
{
	/* Windows that begin at 0 leave a second to spare. */
	int reach = options.reach - (rule(RULE_FREE_REACH) ? 0 : 2);

	return !entry->tag || entry->last + reach < now.latest;
}

static bool entry_take(struct proc *proc, int network)
{
	struct entry *entry = &now.entry[proc->entry];

	BEGIN(proc->take);
	now.evicted |= !entry_is_free(entry);
	now.version++;
	say("version %d", now.version);
	for (proc->index = 0; proc->index < slots(); proc->index++) {
		if (!entry->slot[proc->index].count)
			continue;
		STEP();
		if (slot_evict(entry, proc->index))
			say_slot("evict: lost", proc->index, &now.lost[proc->index]);
	}
	STEP();
	entry->key = network;
	say("key %c", 'a' + network);
	STEP();
	entry->born = (rule(RULE_BORN_LATEST) ? now.latest : proc->seconds) + 1;
	say("born %d", entry->born);
	STEP();
	entry->error = group_error(proc->seconds);
	say("error %d", entry->error);
	for (proc->index = 0; proc->index < slots(); proc->index++) {
		if (!entry->slot[proc->index].count || !rule(RULE_SLOTS_CLEAR))
			continue;
		STEP();
		entry->slot[proc->index] = (struct slot){ 0 };
		say("clear slot %d", proc->index);
	}
	proc->index = 0;
	STEP();
	entry->tag = 1;
	say("tag");
	STEP();
	now.version++;
	say("version %d", now.version);
	RETURN(0);
	END();
}

static bool choose_own(struct proc *proc, int network)
{
	for (int i = 0; i < options.entries; i++) {
		if (now.entry[i].tag && now.entry[i].key == network) {
			proc->entry = i;
			return true;
		}
	}
	return false;
}

static bool choose_free(struct proc *proc)
{
	for (int i = 0; i < options.entries; i++) {
		if (entry_is_free(&now.entry[i])) {
			proc->entry = i;
			return true;
		}
	}
	return false;
}

/* Any one: no rule of the protocol depends on the choice. */
static void choose_least(struct proc *proc)
{
	choices = options.entries;
	proc->entry = choice;
}

static bool group_add(struct proc *proc, int network)
{
	BEGIN(proc->at);
	if (now.latest < proc->seconds)
		now.latest = proc->seconds;
	if (!choose_own(proc, network)) {
		if (!choose_free(proc))
			choose_least(proc);
		say(", take entry %d, ", proc->entry);
		CALL(entry_take(proc, network));
	}
	if (!rule(RULE_LOCK_HELD)) {
		now.locked = false;
		proc->waits = LOCK;
		STEP();
		now.locked = true;
		say("lock again");
	}
	now.entry[proc->entry].last = now.latest;
	say(", last %d", now.latest);
	CALL(entry_add(proc, network));
	proc->entry = 0;
	RETURN(0);
	END();
}

static bool recent_add(struct proc *proc, int network)
{
	BEGIN(proc->event_at);
	STEP();
	proc->seconds = now.clock;
	say("clock %d", proc->seconds);
	proc->waits = LOCK;
	STEP();
	now.locked = true;
	say("lock");
	CALL(group_add(proc, network));
	now.locked = false;
	say(", unlock");
	proc->seconds = 0;
	RETURN(0);
	END();
}

/* --- user/lib/recent.c ---------------------------------------------------------------------- */

static bool entry_sum(struct proc *proc)
{
	struct entry *entry = &now.entry[proc->entry];

	BEGIN(proc->add);
	proc->index = slot_of(proc->length, proc->epoch);
	STEP();
	proc->lost = slot_lost(&now.lost[proc->index], proc->epoch);
	say("lost %d", proc->lost);
	if (!proc->found) {
		proc->most = rule(RULE_ABSENT_ERROR) ? proc->lost : 0;
		RETURN(0);
	}
	STEP();
	if (entry->slot[proc->index].epoch == proc->epoch)
		proc->count = entry->slot[proc->index].count;
	say("count %d", proc->count);
	STEP();
	proc->born = entry->born;
	say("born %d", proc->born);
	STEP();
	proc->least = proc->count;
	proc->most = proc->count +
		     recent_error(proc->born, entry->error, proc->index, proc->epoch, proc->lost);
	say("error %d", entry->error);
	RETURN(0);
	END();
}

static bool entry_find(struct proc *proc, int network)
{
	BEGIN(proc->take);
	for (proc->entry = 0; proc->entry < options.entries; proc->entry++) {
		STEP();
		say("tag %d of entry %d", now.entry[proc->entry].tag, proc->entry);
		if (!now.entry[proc->entry].tag)
			continue;
		STEP();
		say("key %c of entry %d", 'a' + now.entry[proc->entry].key, proc->entry);
		if (now.entry[proc->entry].key == network)
			RETURN(true);
	}
	proc->entry = 0;
	RETURN(false);
	END();
}

/* Not in the code: forget what was read of the group. */
static void sum_clear(struct proc *proc)
{
	proc->index = proc->entry = proc->found = 0;
	proc->lost = proc->count = proc->born = 0;
}

static bool network_sum(struct proc *proc, int network)
{
	BEGIN(proc->at);
	do {
		proc->waits = rule(RULE_VERSION_ODD) ? EVEN : 0;
		STEP();
		proc->version = now.version;
		proc->truth = now.truth[network][proc->length][proc->epoch];
		proc->least = proc->most = 0;
		say("version %d", proc->version);
		CALL(entry_find(proc, network));
		proc->found = proc->ret;
		CALL(entry_sum(proc));
		sum_clear(proc);
		STEP();
		say("version %d", now.version);
	} while (now.version != proc->version && rule(RULE_VERSION_SAME));
	proc->version = 0;
	RETURN(0);
	END();
}

/* Not in the code: how many windows of a length are kept, and have begun. */
static int windows_begun(int length)
{
	int begun = epoch_of(length, now.clock) + 1;

	return begun < options.window[length].slots ? begun : options.window[length].slots;
}

/* Not in the code: choose a window that is kept now. */
static void window_choose(struct proc *proc)
{
	int length = 0, age = choice;

	choices = 0;
	for (int i = 0; i < options.lengths; i++)
		choices += windows_begun(i);
	if (age >= windows_begun(0)) {
		length = 1;
		age -= windows_begun(0);
	}
	proc->length = length;
	proc->i = age;
}

/* Not in the code: check an answer, for the moments since network_sum() began. */
static void answer_check(struct proc *proc, int network)
{
	proc->wrong = proc->least > now.truth[network][proc->length][proc->epoch] ||
		      proc->most < proc->truth;
	say(", answer %d to %d", proc->least, proc->most);
	if (!proc->wrong)
		*proc = (struct proc){ .event = proc->event };
}

static bool answer(struct proc *proc, int network)
{
	BEGIN(proc->event_at);
	STEP();
	window_choose(proc);
	do {
		proc->seconds = now.clock;
		proc->epoch = epoch_of(proc->length, now.clock) - proc->i;
		say("clock %d, window of %ds from %d", proc->seconds,
		    options.window[proc->length].seconds,
		    proc->epoch * options.window[proc->length].seconds);
		CALL(network_sum(proc, network));
		STEP();
		say("clock %d", now.clock);
	} while (epoch_of(proc->length, now.clock) != epoch_of(proc->length, proc->seconds) &&
		 rule(RULE_CLOCK_SAME));
	answer_check(proc, network);
	RETURN(0);
	END();
}

/* --- events --------------------------------------------------------------------------------- */

static bool clock_advance(struct proc *proc, int seconds)
{
	BEGIN(proc->event_at);
	STEP();
	now.clock += seconds;
	say("clock %d", now.clock);
	RETURN(0);
	END();
}

static bool run_event(struct proc *proc, const struct event *event)
{
	if (event->what == '+')
		return recent_add(proc, event->n);
	if (event->what == '?')
		return answer(proc, event->n);
	return clock_advance(proc, event->n);
}

/* --- the checks ----------------------------------------------------------------------------- */

/* Whether the answer is right that a reader would get now, if it were not interrupted. */
static bool check_window(int network, int length, int age)
{
	int epoch = epoch_of(length, now.clock) - age;
	int truth = now.truth[network][length][epoch];
	struct proc reader = { .length = length, .epoch = epoch };

	while (!entry_find(&reader, network))
		;
	reader.found = reader.ret;
	while (!entry_sum(&reader))
		;
	if (reader.least > truth || truth > reader.most ||
	    (!now.evicted && reader.least != reader.most))
		return wrong("%c has opened %d in the %ds from %d; the table says %d to %d%s",
			     'a' + network, truth, options.window[length].seconds,
			     epoch * options.window[length].seconds, reader.least, reader.most,
			     now.evicted ? "" : ", though nothing was evicted");
	return true;
}

static bool check_answers(void)
{
	for (int p = 0; p < procs; p++) {
		const struct proc *proc = &now.proc[p];

		if (proc->wrong)
			return wrong("P%d is told %d to %d; it was %d before", p, proc->least,
				     proc->most, proc->truth);
	}
	return true;
}

static bool check_state(void)
{
	if (!check_answers())
		return false;
	if (now.locked)
		return true;
	for (int network = 0; network < NETWORKS; network++)
		for (int length = 0; length < options.lengths; length++)
			for (int age = 0; age < windows_begun(length); age++)
				if (!check_window(network, length, age))
					return false;
	return true;
}

/* --- for search.h --------------------------------------------------------------------------- */

static bool finished(int p)
{
	return now.proc[p].event == options.events[p];
}

static bool waits(int p)
{
	const struct proc *proc = &now.proc[p];

	return proc->waits == LOCK ? now.locked : proc->waits == EVEN && now.version & 1;
}

static void run(int p)
{
	struct proc *proc = &now.proc[p];

	proc->waits = 0;
	while (!finished(p)) {
		if (!run_event(proc, &options.script[p][proc->event]))
			return;
		proc->event++;
	}
}

static void tell_event(int p)
{
	const struct event *event = &options.script[p][now.proc[p].event];

	if (event->what)
		printf("%c%c", event->what, 'a' + event->n);
	else
		printf("%d", event->n);
}

static void step_end(void)
{
}

static bool check_last(void)
{
	return true;
}

static void tell_last(void)
{
}

/* --- the command line ----------------------------------------------------------------------- */

static void script_parse(const char *text)
{
	int n = 0;

	if (procs == PROCS)
		usage("over %d scripts", PROCS);
	for (; *text; n++) {
		struct event *event = &options.script[procs][n];

		if (n == EVENTS)
			usage("bad script at '%s'", text);
		if (*text >= '1' && *text <= '9') {
			event->n = *text++ - '0';
			options.time += event->n;
		} else if (strchr("+?", *text) && text[1] >= 'a' && text[1] < 'a' + NETWORKS) {
			event->what = *text;
			event->n = text[1] - 'a';
			text += 2;
		} else {
			usage("bad script at '%s'", text);
		}
		text += strspn(text, " ");
	}
	if (options.time >= TIMES)
		usage("over %d seconds", TIMES - 1);
	options.events[procs++] = n;
}

static void window_parse(const char *text)
{
	int seconds, windows, first = options.lengths ? options.window[0].slots : 0;
	char end;

	if (sscanf(text, "%d,%d%c", &seconds, &windows, &end) != 2 || seconds < 1 || windows < 0 ||
	    seconds > TIMES || first + windows >= SLOTS || options.lengths == LENGTHS)
		usage("bad window '%s'", text);
	options.window[options.lengths].seconds = seconds;
	options.window[options.lengths].slots = windows + 1;
	options.window[options.lengths].first = first;
	options.lengths++;
	if (options.reach < seconds * (windows + 1))
		options.reach = seconds * (windows + 1);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strncmp(argv[i], "--", 2) != 0) {
			script_parse(argv[i]);
			continue;
		}
		if (!strcmp(argv[i], "--window"))
			window_parse(value);
		else if (!strcmp(argv[i], "--entries"))
			options.entries = number(value, 1, ENTRIES);
		else if (!strcmp(argv[i], "--without"))
			left_out = rule_named(value);
		else
			usage("'%s': no such option; see recent_table.c", argv[i]);
		i++;
	}
	if (!procs)
		usage("no script");
	if (!options.lengths)
		window_parse("2,1");
	for (int p = 0; p < procs; p++)
		run(p); /* to its first step */
	return search();
}
