// SPDX-License-Identifier: BSD-2-Clause
/*
 * exporter.c - the program behind `conncount exporter`.
 *
 * A separate program, because loading libmicrohttpd, which brings GnuTLS, takes longer than a
 * query. The command has parsed the options, created the socket and set SIGPIPE to be ignored.
 *
 * usage: conncount-exporter DIR, with the listening socket as standard input
 */
#include <unistd.h>

#include "http.h"
#include "report.h"

int main(int argc, char **argv)
{
	if (argc != 2) {
		report("conncount-exporter: cannot be run directly (use: conncount exporter)");
		return 2;
	}
	return http_serve(argv[1], STDIN_FILENO) ? 1 : 0;
}
