// SPDX-License-Identifier: BSD-2-Clause
/*
 * exporter.c - the program behind `conncount exporter`.
 *
 * A separate program, because loading libmicrohttpd, which brings GnuTLS, takes longer than a
 * query. The command has parsed the options, created the socket and set SIGPIPE to be ignored.
 *
 * usage: conncount-exporter DIR [--no-page], with the listening socket as standard input
 */
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "http.h"
#include "report.h"

int main(int argc, char **argv)
{
	bool page = argc == 2;

	if (!page && (argc != 3 || strcmp(argv[2], "--no-page"))) {
		report("conncount-exporter: cannot be run directly (use: conncount exporter)");
		return 2;
	}
	return http_serve(argv[1], page, STDIN_FILENO) ? 1 : 0;
}
