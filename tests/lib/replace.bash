# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# replace.bash - sessions that stay open while loads replace what is loaded, and the configurations
# of these loads.

HELD=20 # sessions that stay open, of 10.9.0.1+

# held: opens the sessions that stay.
held() {
	sessions_start
	sessions listen 192.0.2.1:25
	sessions open "$HELD" 10.9.0.1+ 192.0.2.1:25
}

# sections: writes $CONFIG from stdin, which begins with the other keys of the [conncount] section.
sections() {
	{
		printf '[conncount]\ngroup = root\n'
		cat
	} | configure raw
}

# exactly COUNT [MORE]: expects COUNT sessions, and MORE in other services, and that the kernel's
# socket list agrees.
exactly() {
	expect_count "$1"
	verified $(($1 + ${2:-0}))
	expect 0 conncount status
}
