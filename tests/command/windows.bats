# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Connections in windows of time: what the command answers.

load ../lib/common
load ../lib/instance

setup() {
	instance_setup
	sessions_start
}

teardown() {
	instance_teardown
}

# opened COUNT ARGUMENT...: `count --window 3600,1 ARGUMENT...` says COUNT.
opened() {
	local count=$1
	shift
	expect 0 conncount count --window 3600,1 "$@"
	expect_eq "${output%%$'\n'*}" "$count" "of $*"
}

@test "windows: connections are counted when they open, and stay counted when they close" {
	configure_smtp_with 'window = 3600,1'
	load
	sessions <<-'END'
		listen *:25
		open 3 10.1.2.3 192.0.2.1:25
		open 2 10.1.3.4 192.0.2.1:25
		open 4 2001:db8:1:2::1 [2001:db8::1]:25
	END
	opened 3 10.1.2.3
	opened 3 10.1.2.0/24
	opened 5 10.1.0.0/16
	opened 5 10.1.0.0/17
	opened 5 10.0.0.0/7
	opened 9
	opened 4 2001:db8:1::/48
	opened 4 2001:db8:1::/45
	sessions close both
	expect_count 0
	opened 3 10.1.2.3
	opened 9
}
