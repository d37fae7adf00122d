// SPDX-License-Identifier: BSD-2-Clause
/*
 * command.c - fuzz target: the options, arguments and environment of the command.
 *
 * The input is a byte that says how the world is, and texts that end with a NUL each: those that
 * begin with '$' are set in the environment, the others are the arguments. They are given to the
 * command's main(). The library's queries, and what changes anything outside of the process, are
 * made up here (the linker's --wrap: tests/unit/fuzz.bats); all else is the product's own.
 *
 * Whatever the arguments are, the exit status is a documented one, messages are whole lines in
 * the documented form with nothing in them that a terminal obeys, bad usage says so, and JSON is
 * JSON.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "cmd.h"
#include "fuzz.h"
#include "instance.h"
#include "load.h"
#include "metrics.h"
#include "refusals.h"
#include "screen.h"
#include "verify.h"

enum {
	ARGUMENTS_MOST = 16,
	PRINTED_MOST = 1 << 20,
	SLEEPS_MOST = 2, /* then standard output is full */
};

/* How the world is: bits of the first byte of the input. */
enum {
	WORLD_NOT_OPEN = 1,   /* an instance cannot be opened */
	WORLD_NO_ANSWER = 2,  /* a query fails */
	WORLD_UNKNOWN = 4,    /* no service and no listener is known */
	WORLD_NOT_EXACT = 8,  /* counts are not exact */
	WORLD_REFUSES = 0x10, /* what changes something fails */
};

static unsigned world;
static bool running, full;
static jmp_buf at_exit;
static int sleeps;

int conncount_main(int argc, char **argv); /* the command's main() */

/* --- what the process has around it -------------------------------------------------------- */

struct printed {
	char text[PRINTED_MOST];
	size_t n;
};

static struct printed out, err;

static ssize_t print(void *arg, const char *text, size_t size)
{
	struct printed *printed = arg;

	if (full)
		return 0; /* an error */
	check(printed->n + size <= PRINTED_MOST);
	memcpy(printed->text + printed->n, text, size);
	printed->n += size;
	return (ssize_t)size;
}

void __real_exit(int status) __attribute__((noreturn));
void __wrap_exit(int status) __attribute__((noreturn));
void __wrap_exit(int status)
{
	if (!running)
		__real_exit(status);
	check(status >= STATUS_DONE && status <= STATUS_USAGE);
	longjmp(at_exit, status + 1);
}

/* Each moment that is waited for has come. */
int __wrap_poll(struct pollfd *fds, nfds_t n, int ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int ms)
{
	check(fds && n == 1 && ms >= 0);
	if (++sleeps >= SLEEPS_MOST) {
		full = true;
		putchar('x'); /* so that there is something to write */
	}
	return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	static time_t now;

	(void)clock;
	now += 1000000;
	*ret = (struct timespec){ .tv_sec = now };
	return 0;
}

/*
 * The configuration: there is one, at any path but those with "none" in them; of a cluster, if the
 * path has that word in it. What libFuzzer writes
 * is the input that has found something.
 */
FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode)
{
	static char config[] = "[a]\nlisten = *:25\nlimit = /24,/64 over 1 reset\n";
	static char cluster[] = "[cluster]\nservers = 192.0.2.1:6379\n";
	char *text = strstr(path, "cluster") ? cluster : config;

	if (!running || *mode == 'w')
		return __real_fopen(path, mode);
	if (!strstr(path, "none"))
		return fmemopen(text, strlen(text), "r");
	errno = ENOENT;
	return NULL;
}

int __wrap_rmdir(const char *path);
int __wrap_rmdir(const char *path)
{
	check(*path);
	return 0;
}

/* The exporter's socket. No address is in use but what the world refuses. */
int __wrap_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol)
{
	(void)type, (void)protocol;
	check(domain == AF_INET || domain == AF_INET6);
	return 1000; /* no descriptor: none is used, and closing it fails */
}

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t size);
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
	(void)fd, (void)level, (void)option, (void)value, (void)size;
	return 0;
}

int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *size);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
	(void)fd, (void)level;
	check(*size == sizeof(int));
	*(int *)value = option == SO_TYPE ? SOCK_STREAM : !(world & WORLD_REFUSES);
	return 0;
}

int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
	(void)fd, (void)command;
	return 0;
}

int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t size);
int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t size)
{
	(void)fd, (void)addr, (void)size;
	errno = EADDRINUSE;
	return world & WORLD_REFUSES ? -1 : 0;
}

int __wrap_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog)
{
	(void)fd, (void)backlog;
	return 0;
}

int __wrap_dup2(int from, int to);
int __wrap_dup2(int from, int to)
{
	(void)from;
	return to;
}

/* There is no other program. */
int __wrap_execl(const char *path, const char *arg, ...);
int __wrap_execl(const char *path, const char *arg, ...)
{
	check(*path && *arg);
	errno = ENOENT;
	return -1;
}

int screen_open(void)
{
	report("top: not a terminal");
	return -1;
}

void screen_close(void)
{
}

size_t screen_rows(void)
{
	return 1;
}

void screen_draw(const struct top *top)
{
	(void)top;
}

/* --- the library --------------------------------------------------------------------------- */

struct conncount {
	uint64_t looks;
};

const char *conncount_dir(const char *dir)
{
	const char *named = getenv(CONNCOUNT_DIR_ENV);

	return dir ? dir : named && *named ? named : CONNCOUNT_DIR;
}

const char *conncount_version(void)
{
	return "0";
}

char *conncount_strerror(const char *dir, int error, char *buf, size_t size)
{
	snprintf(buf, size, "%s: %s", conncount_dir(dir), strerror(-error));
	return buf;
}

char *conncount_services(struct conncount *cc, char *buf, size_t size)
{
	(void)cc;
	snprintf(buf, size, "%s", CONNCOUNT_SERVICE);
	return buf;
}

int conncount_open(const char *dir, struct conncount **ret)
{
	check(*conncount_dir(dir));
	if (world & WORLD_NOT_OPEN)
		return -ENOENT;
	*ret = calloc(1, sizeof(**ret));
	check(*ret);
	return 0;
}

void conncount_close(struct conncount *cc)
{
	free(cc);
}

static void check_cidr(const struct conncount_cidr *cidr)
{
	check(cidr->family == CONNCOUNT_IPV4 || cidr->family == CONNCOUNT_IPV6);
	check(cidr->prefixlen <= (cidr->family == CONNCOUNT_IPV4 ? 32 : 128));
}

static int query(struct conncount *cc, const char *service, const char *listener,
		 struct conncount_answer *ret)
{
	check(cc && !service != !listener);
	if (world & WORLD_NO_ANSWER)
		return -EIO;
	if (world & WORLD_UNKNOWN)
		return -ESRCH;
	*ret = (struct conncount_answer){ .count = (int64_t)++cc->looks, .listeners = 1 };
	if (world & WORLD_NOT_EXACT)
		ret->lost = ret->uncounted = 1;
	else
		ret->flags = CONNCOUNT_EXACT;
	return 0;
}

int conncount_count_service(struct conncount *cc, const char *service,
			    const struct conncount_cidr *cidr, struct conncount_answer *ret)
{
	if (cidr)
		check_cidr(cidr);
	return query(cc, service, NULL, ret);
}

int conncount_count_listener(struct conncount *cc, const char *name,
			     const struct conncount_cidr *cidr, struct conncount_answer *ret)
{
	if (cidr)
		check_cidr(cidr);
	return query(cc, NULL, name, ret);
}

int conncount_list_within(struct conncount *cc, const char *service, const char *listener,
			  const struct conncount_cidr *within, unsigned prefixlen,
			  struct conncount_entry **ret_entries, size_t *ret_n,
			  struct conncount_answer *ret)
{
	struct conncount_cidr cidr = { .family = within->family, .prefixlen = prefixlen };
	int error = query(cc, service, listener, ret);

	check_cidr(&cidr);
	check_cidr(within);
	if (error)
		return error;
	*ret_n = prefixlen ? 2 : 1;
	*ret_entries = calloc(*ret_n, sizeof(**ret_entries));
	check(*ret_entries);
	for (size_t i = 0; i < *ret_n; i++) {
		cidr.addr[0] = i ? 0x80 : 0;
		(*ret_entries)[i] = (struct conncount_entry){ cidr, (int64_t)(cc->looks + i) };
	}
	return 0;
}

/* The window that is configured. */
static const struct conncount_window configured = { .seconds = 60, .windows = 1 };

static int query_windows(struct conncount *cc, const char *service, const char *listener,
			 const struct conncount_window *window, struct conncount_connections *ret)
{
	struct conncount_answer answer;
	int error = query(cc, service, listener, &answer);

	if (error)
		return error;
	if (window->seconds != configured.seconds || window->windows != configured.windows)
		return -ENODATA;
	if (!window->smooth && (window->from > window->to || window->to > window->windows))
		return -ERANGE;
	*ret = (struct conncount_connections){
		.count = answer.count,
		.least = answer.count,
		.most = answer.count + (answer.flags ? 0 : 3),
		.flags = answer.flags,
		.listeners = 1,
	};
	if (world & WORLD_NOT_EXACT && cc->looks % 2)
		ret->most = INT64_MAX;
	return 0;
}

int conncount_connections(struct conncount *cc, const char *service, const char *listener,
			  const struct conncount_window *window, const struct conncount_cidr *cidr,
			  struct conncount_connections *ret)
{
	if (cidr)
		check_cidr(cidr);
	if (cidr && cidr->prefixlen > 64 && cidr->prefixlen < 128)
		return -EDOM;
	return query_windows(cc, service, listener, window, ret);
}

int conncount_openers(struct conncount *cc, const char *service, const char *listener,
		      const struct conncount_window *window, int family, unsigned prefixlen,
		      struct conncount_opener **ret_openers, size_t *ret_n,
		      struct conncount_connections *ret_total)
{
	struct conncount_cidr cidr = { .family = family, .prefixlen = prefixlen };
	int error;

	check_cidr(&cidr);
	if (prefixlen > 64 && prefixlen < 128)
		return -EDOM;
	error = query_windows(cc, service, listener, window, ret_total);
	if (error)
		return error;
	*ret_n = 1;
	*ret_openers = calloc(1, sizeof(**ret_openers));
	check(*ret_openers);
	**ret_openers = (struct conncount_opener){ cidr, ret_total->count, ret_total->least,
						   ret_total->most };
	return 0;
}

int conncount_windows(struct conncount *cc, struct conncount_windows *ret)
{
	check(cc);
	if (world & WORLD_NO_ANSWER)
		return -EIO;
	*ret = (struct conncount_windows){
		.n = 2,
		.window = { configured, { .seconds = UINT32_MAX, .windows = UINT32_MAX } },
		.error = { (world & WORLD_NOT_EXACT) != 0, UINT32_MAX },
		.networks = 1,
		.max_networks = 256,
	};
	return 0;
}

int conncount_listeners(struct conncount *cc, struct conncount_listener **ret, size_t *ret_n)
{
	check(cc);
	*ret = calloc(1, sizeof(**ret));
	check(*ret);
	**ret = (struct conncount_listener){ .name = "a", .service = "SMTP", .active = 1 };
	(*ret)->ipv4.opened = cc->looks;
	(*ret)->ipv4.lost = (world & WORLD_NOT_EXACT) != 0;
	(*ret)->proxied.unidentified = (world & WORLD_NOT_EXACT) != 0;
	*ret_n = 1;
	return 0;
}

int conncount_listens(struct conncount *cc, struct conncount_listen **ret, size_t *ret_n)
{
	check(cc);
	*ret = calloc(1, sizeof(**ret));
	check(*ret);
	**ret = (struct conncount_listen){ .name = "a", .port = 25 };
	*ret_n = 1;
	return 0;
}

int conncount_state(struct conncount *cc, struct conncount_state *ret)
{
	check(cc);
	if (world & WORLD_NO_ANSWER)
		return -EIO;
	*ret = (struct conncount_state){ .generation = 1, .cgroup = "/", .max_prefixes = 1 };
	ret->seeding = ret->detached = (world & WORLD_NOT_EXACT) != 0;
	return 0;
}

int conncount_cluster(struct conncount *cc, struct conncount_cluster *ret)
{
	check(cc);
	if (world & WORLD_NO_ANSWER)
		return -EIO;
	*ret = (struct conncount_cluster){ .joined = !(world & WORLD_REFUSES) };
	if (!ret->joined)
		return 0;
	strcpy(ret->name, "mail");
	ret->reason = (world & WORLD_NOT_EXACT) != 0;
	ret->nodes = 2;
	return 0;
}

char *conncount_cluster_why(struct conncount *cc, char *buf, size_t size)
{
	check(cc);
	snprintf(buf, size, "cluster: cut off for 14 s");
	return buf;
}

int conncount_nodes(struct conncount *cc, struct conncount_node **ret, size_t *ret_n)
{
	check(cc);
	*ret = calloc(2, sizeof(**ret));
	check(*ret);
	(*ret)[0] = (struct conncount_node){ .name = "a", .state = CONNCOUNT_NODE_OK, .self = 1 };
	(*ret)[1] = (struct conncount_node){ .name = "b", .state = (int)(cc->looks % 6) };
	*ret_n = 2;
	return 0;
}

/* --- what loads, unloads and verifies ------------------------------------------------------ */

static int refusal(const char *what)
{
	if (!(world & WORLD_REFUSES))
		return 0;
	report("%s: refused", what);
	return -EPERM;
}

int cgroup_open(const char *path, struct cgroup *ret)
{
	*ret = (struct cgroup){ .path = "/", .fd = 1000 };
	return refusal(path);
}

int instance_create(const char *dir, struct instance *ret)
{
	check(*dir);
	*ret = (struct instance){ .dir = dir };
	return refusal(dir);
}

int instance_find(const char *dir, struct instance *ret)
{
	check(*dir);
	*ret = (struct instance){ .dir = dir };
	return world & WORLD_NOT_OPEN ? -ENOENT : refusal(dir);
}

void instance_release(struct instance *instance)
{
	check(instance->dir);
}

int instance_clear(const struct instance *instance, const char *set)
{
	check(instance->dir && *set);
	return 0;
}

int instance_remove(const char *dir)
{
	check(*dir);
	return 0;
}

void instance_remove_unused(struct instance *instance)
{
	check(instance->dir);
}

bool origin_since(const char *dir, char *ret)
{
	check(*dir);
	strcpy(ret, "2026-11-28T10:06:18Z");
	return world & WORLD_NOT_EXACT;
}

bool origin_time(const char *dir, char *ret)
{
	check(*dir);
	strcpy(ret, "2026-11-29T20:06:18Z");
	return world & WORLD_NOT_EXACT;
}

bool origin_group(const char *dir, char *ret)
{
	check(*dir);
	strcpy(ret, "conncount");
	return world & WORLD_NOT_EXACT;
}

int queues_read(const struct conncount_state *state, const struct conncount_listen *listens,
		size_t n_listens, bool paths, struct queues *ret_queues)
{
	check(state && (listens || !n_listens));
	(void)paths;
	*ret_queues = (struct queues){ .unseen = world & WORLD_NOT_EXACT };
	return world & WORLD_NO_ANSWER ? -EPERM : 0;
}

const char *queues_strerror(int error)
{
	check(error < 0);
	return "no sockets";
}

void queues_free(struct queues *queues)
{
	check(queues);
}

/* A listener with as many limits as possible, and a network namespace too many to name. */
int refusals_read(const struct snapshot *snapshot, struct refusals *ret)
{
	const char *const names[] = { "a", "b" };

	check(*snapshot->dir);
	if (world & WORLD_NO_ANSWER)
		return -EIO;
	*ret = (struct refusals){ .n_ungated = world & WORLD_NOT_EXACT ? 21 : 0 };
	ret->ungated = calloc(ret->n_ungated + 1, sizeof(*ret->ungated));
	ret->limited = calloc(2, sizeof(*ret->limited));
	check(ret->ungated && ret->limited);
	if (world & WORLD_UNKNOWN)
		return 0;
	for (ret->n_limited = 0; ret->n_limited < 2; ret->n_limited++) {
		struct limited *to = &ret->limited[ret->n_limited];

		strcpy(to->name, names[ret->n_limited]);
		to->limits.n = CC_LIMITS_MAX;
		/* Only 0 and 3 are no action. */
		for (__u8 i = 0; i < CC_LIMITS_MAX; i++)
			to->limits.limit[i] = (struct cc_limit){
				.over = UINT32_MAX,
				.length = { 255, 255 },
				.action = i,
			};
		to->totals[0].refused = UINT64_MAX;
		to->why_not = world & WORLD_NOT_EXACT ? "why" : NULL;
	}
	return 0;
}

void refusals_free(struct refusals *refusals)
{
	free(refusals->limited);
	free(refusals->ungated);
}

int refused_read(const char *dir, const char *listener, struct refused *ret)
{
	check(*dir && (!listener || !strcmp(listener, "a")));
	if (world & WORLD_NO_ANSWER)
		return -EIO;
	*ret = (struct refused){ .limited = !(world & WORLD_UNKNOWN) };
	ret->networks = calloc(2, sizeof(*ret->networks));
	check(ret->networks);
	for (; ret->limited && ret->n < 2; ret->n++)
		ret->networks[ret->n] = (struct refused_network){
			.cidr = { .family = CONNCOUNT_IPV6, .prefixlen = 128 },
			.listener = "a",
			.refused = UINT64_MAX,
			.age_ms = ret->n ? UINT64_MAX : 0,
		};
	return 0;
}

void refused_free(struct refused *refused)
{
	free(refused->networks);
}

int load(struct instance *instance, const struct cgroup *cgroup, const struct config *config,
	 enum load_result *ret_result)
{
	check(instance->dir && *cgroup->path && config->n_listeners);
	*ret_result = LOAD_STARTED;
	return world & WORLD_NO_ANSWER ? refusal("load") : 0;
}

int verify(const char *dir, struct verify_result *ret_result)
{
	check(*conncount_dir(dir));
	*ret_result = (struct verify_result){ .prefixes = 1 };
	return refusal("verify");
}

int metrics_take(struct conncount *cc, const char *dir, struct metrics *ret)
{
	check(cc && *conncount_dir(dir));
	*ret = (struct metrics){ .queues_err = world & WORLD_NOT_EXACT ? -EPERM : 0 };
	return world & WORLD_NO_ANSWER ? -EIO : 0;
}

void metrics_free(struct metrics *metrics)
{
	check(metrics);
}

void metrics_print(const struct metrics *metrics, enum metrics_format format, FILE *file)
{
	check(metrics && format == METRICS_OPENMETRICS);
	fputs("# EOF\n", file);
}

/* --- what is printed ----------------------------------------------------------------------- */

static bool starts_with(const char *line, const char *text)
{
	return !strncmp(line, text, strlen(text));
}

/* Messages are lines, with text and nothing else in them. */
static void check_messages(bool usage)
{
	char *text = string_of(err.text, err.n), *line = text, *end;

	check(!memchr(err.text, '\0', err.n));
	check(!usage || err.n);
	for (; *line; line = end + 1) {
		end = strchr(line, '\n');
		check(end);
		*end = '\0';
		if (starts_with(text, "Usage: ")) /* of the command itself */
			continue;
		check(starts_with(line, "conncount: ") ||
		      (line != text && starts_with(line, "Usage: conncount ")));
		for (const char *c = line; c < end; c++)
			check(!iscntrl((unsigned char)*c));
	}
	free(text);
}

/* What looks like JSON is JSON, an object on each line, and has no field left out. */
static void check_json(const char *verb)
{
	char *line = out.text, *end;

	/* Those begin with a path, which may begin like an object. */
	if (!strcmp(verb, "load") || !strcmp(verb, "unload") || !strcmp(verb, "check"))
		return;

	for (size_t left = out.n; left && *line == '{'; line = end + 1) {
		end = memchr(line, '\n', left);
		check(end);
		json_t *object = json_loadb(line, (size_t)(end - line), 0, NULL);
		check(object);
		check(!json_object_get(object, "loaded") || json_object_get(object, "dir"));
		check(!json_object_get(object, "total") || json_object_get(object, "service") ||
		      json_object_get(object, "listener"));
		json_decref(object);
		left -= (size_t)(end + 1 - line);
	}
}

static void run(int argc, char **argv)
{
	const cookie_io_functions_t sink = { .write = print };
	FILE *old_out = stdout, *old_err = stderr;
	sigset_t signals;
	int status;

	out.n = err.n = 0;
	full = false;
	sleeps = 0;
	optind = 0; /* glibc's getopt begins again */
	sigprocmask(SIG_SETMASK, NULL, &signals);
	stdout = fopencookie(&out, "w", sink);
	stderr = fopencookie(&err, "w", sink);
	check(stdout && stderr);
	setvbuf(stderr, NULL, _IONBF, 0);

	running = true;
	status = setjmp(at_exit);
	if (!status)
		status = conncount_main(argc, argv) + 1;
	status--;
	running = false;

	fclose(stdout);
	full = false;
	fclose(stderr);
	stdout = old_out;
	stderr = old_err;
	sigprocmask(SIG_SETMASK, &signals, NULL);
	check(status >= STATUS_DONE && status <= STATUS_USAGE);
	check_messages(status == STATUS_USAGE);
	if (status == STATUS_DONE)
		check_json(argv[1]);
}

/* --- the input ----------------------------------------------------------------------------- */

static const char *const variables[] = { CONNCOUNT_DIR_ENV, "LISTEN_PID", "LISTEN_FDS" };

/* $D, $P or $F and a value. This process is "self". */
static void set_variable(const char *text)
{
	static const char letters[] = "DPF";
	const char *letter = text[1] ? strchr(letters, text[1]) : NULL;
	char pid[16];

	if (!letter)
		return;
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv(variables[letter - letters], strcmp(text + 2, "self") ? text + 2 : pid, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[ARGUMENTS_MOST + 1] = { string_of("conncount", 9) }, *all[ARGUMENTS_MOST];
	const uint8_t *end = data + size, *at = data + 1;
	int argc = 1;

	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++)
		unsetenv(variables[i]);
	world = size ? *data : 0;
	while (at < end && argc < ARGUMENTS_MOST) {
		size_t len = strnlen((const char *)at, (size_t)(end - at));
		char *text = string_of(at, len);

		at += len + 1;
		if (*text != '$') {
			argv[argc++] = text;
			continue;
		}
		set_variable(text);
		free(text);
	}
	memcpy(all, argv, sizeof(all)); /* getopt changes their order */
	run(argc, argv);
	for (int i = 0; i < argc; i++)
		free(all[i]);
	return 0;
}
