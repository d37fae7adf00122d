# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# A limit holds while the program that deletes a network's node is stopped: by an interrupt, by the
# scheduler, or by the host of a virtual machine.

load ../lib/common
load ../lib/actors
load ../lib/instance

setup() {
	instance_setup
	configure_smtp 'limit = /32,/128 over 1 reset'
	# No server listens yet: so there is no SYN gate, and the ACK gate alone refuses.
	load
	pair
}

teardown() {
	actors_teardown
}

# plant COUNT ADDRESS BITS: see tests/tools/plant.c.
plant() {
	"$BUILD/tests/plant" "$CONNCOUNT_DIR/live/counts" "$@"
}

@test "while a network's node is being deleted, connections wait; then exactly the limit gets in" {
	plant 0d 10.1.2.3 32
	act client "socks = connect('10.1.2.3', '192.0.2.1', 25, 3)"
	expect_count 0
	plant 0 10.1.2.3 32
	# The server repeats its SYN-ACKs.
	wait_until expect_count 1
	act server 'socks = accept(door)'
	act client 'reset(socks)'
	act server 'close(socks)'
	wait_until expect_count 0
}
