/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ask_client - the client of the session at descriptor 3.
 *
 *	ask_client DIR                  prints it, as the library gives it for the instance DIR
 *	ask_client DIR STATE [ADDRESS]  writes the socket's record; STATE is a CC_SESSION_*
 *
 * The instance's own records are frozen: the first record that is written puts an empty map in
 * the place of their pin. Open the instance after that.
 */
#include <linux/types.h>

#include "abi.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <err.h>
#include <errno.h>
#include <linux/bpf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conncount.h"

enum { SOCKET = 3 };

/* A new map of the same shape, pinned in place of the one of the descriptor @map. */
static int replace_pin(const char *pin, int map)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(map, &info, &size))
		err(1, "client: %s", pin);

	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = info.map_flags,
		    .btf_fd = (__u32)bpf_btf_get_fd_by_id(info.btf_id),
		    .btf_key_type_id = info.btf_key_type_id,
		    .btf_value_type_id = info.btf_value_type_id);
	int copy = bpf_map_create(info.type, info.name, info.key_size, info.value_size,
				  info.max_entries, &opts);

	if (copy < 0 || unlink(pin) || bpf_obj_pin(copy, pin))
		err(1, "client: %s", pin);
	return copy;
}

static void write_record(const char *dir, const char *state, const char *address)
{
	struct cc_session record = { .state = (__u32)strtoul(state, NULL, 10) };
	int fd = SOCKET, map, error;
	char pin[PATH_MAX];

	if (address) {
		record.family = htons(strchr(address, ':') ? CC_IPV6 : CC_IPV4);
		if (inet_pton(ntohs(record.family), address, record.addr) != 1)
			errx(2, "client: '%s' is no address", address);
	}
	snprintf(pin, sizeof(pin), "%s/" CC_DIR_LIVE "/" CC_PIN_SESSIONS, dir);
	map = bpf_obj_get(pin);
	error = map < 0 ? map : bpf_map_update_elem(map, &fd, &record, BPF_ANY);
	if (error == -EPERM) {
		map = replace_pin(pin, map);
		error = bpf_map_update_elem(map, &fd, &record, BPF_ANY);
	}
	if (error)
		errx(1, "client: %s: %s", pin, strerror(-error));
}

static void print_client(const char *dir)
{
	char text[CONNCOUNT_ERROR_SIZE];
	struct conncount_cidr client;
	struct conncount *cc = NULL;
	int error = conncount_open(dir, &cc);

	if (!error)
		error = conncount_client_of(cc, SOCKET, &client);
	conncount_close(cc);
	if (error)
		errx(1, "%s", conncount_strerror(dir, error, text, sizeof(text)));
	puts(conncount_cidr_format(&client, text));
}

int main(int argc, char **argv)
{
	if (argc < 2 || argc > 4) {
		fprintf(stderr, "usage: client DIR [STATE [ADDRESS]]\n");
		return 2;
	}
	if (argc > 2)
		write_record(argv[1], argv[2], argv[3]);
	else
		print_client(argv[1]);
	return 0;
}
