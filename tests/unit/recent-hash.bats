# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Where networks are in the table of windows (bpf/recent.h).

load ../lib/common

# The 65,536 addresses that differ in three bytes get fewer places if a change in one of these can
# be made up for by the others. The seed is a constant: the test gives the same result always.
@test "the addresses that a client can choose are spread over the table of windows" {
	cat >"$BATS_TEST_TMPDIR/places.c" <<-'END'
		#include <stdio.h>
		#include <linux/types.h>
		#include "recent.h"
		int main(void)
		{
			for (int i = 0; i < 65536; i++) {
				struct cc_recent_key key = { .listener = 1, .family = 10, .length = 128 };
				unsigned char *addr = (unsigned char *)key.addr;
				struct cc_recent_place place;

				addr[7] = (unsigned char)(i >> 8);
				addr[11] = addr[15] = (unsigned char)i;
				place = cc_recent_place(0x8ba9d1e1faf4dd27, 70, &key);
				printf("%u %u %x\n", place.group, place.set[0], place.tag);
			}
		}
	END
	expect 0 cc -O2 -I"$ROOT/bpf" -o "$BATS_TEST_TMPDIR/places" "$BATS_TEST_TMPDIR/places.c"
	expect_eq 65536 "$("$BATS_TEST_TMPDIR/places" | sort -u | wc -l)" places
}
