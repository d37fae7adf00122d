# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# top, on a terminal of tmux: what it shows, its keys, and the terminal afterwards.

load ../lib/common
load ../lib/instance

setup() {
	requires tmux
	instance_setup
	configure <<-'END'
		[smtp]
		listen = *:25
		service = SMTP
		[control]
		listen = 192.0.2.1:4000
		service = Control
		[msa]
		listen = *:587
		service = SMTP
	END
	load
	sessions_start
	sessions <<-'END'
		listen *:25
		listen *:4000
		open 3 10.1.2.3 192.0.2.1:25
		open 1 10.1.2.4 192.0.2.1:25
		open 2 2001:db8:1:2::1 [2001:db8::1]:25
		open 5 172.16.0.1 192.0.2.1:4000
	END
	unset TMUX
}

teardown() {
	terminal kill-server 2>/dev/null || :
	[ -z "${TEST_DIR:-}" ] || wait_until no_terminal
	instance_teardown
}

# terminal COMMAND...: runs this tmux command in the test's own server.
terminal() {
	tmux -S "$TEST_DIR/tmux" -f /dev/null "$@" 3>&-
}

no_terminal() {
	! terminal list-sessions 2>/dev/null
}

# top [OPTION...]: starts top on a terminal of 80 columns and 24 lines, from a shell that outlives
# it, and waits until it shows its table.
top() {
	terminal new-session -d -x 80 -y 24 "trap : INT; stty -a >$TEST_DIR/stty.before
		conncount top ${*@Q}; echo exit status \$?; stty -a >$TEST_DIR/stty.after; exec sleep 1000"
	wait_until shows SESSIONS
}

# keys KEY...: types these keys at the terminal, by tmux's names.
keys() {
	terminal send-keys "$@"
}

# screen: prints what the terminal shows.
screen() {
	terminal capture-pane -p
}

# shows REGEX: succeeds if the screen has it; for wait_until.
shows() {
	screen | grep -E -- "$1" || {
		screen
		return 1
	}
}

# rows LINE...: succeeds if the table has exactly these rows, without the column of shares, with blanks squeezed;
# for wait_until.
rows() {
	local now
	now=$(screen | sed '1,/SESSIONS/d' | sed '$d' | awk 'NF { $2 = ""; $0 = $0; $1 = $1; print }')
	[ "$now" = "$(printf '%s\n' "$@")" ] || {
		screen
		return 1
	}
}

# restored: the terminal is as it was before top.
restored() {
	wait_until test -s "$TEST_DIR/stty.after"
	expect_eq "$(cat "$TEST_DIR/stty.before")" "$(cat "$TEST_DIR/stty.after")" stty
	expect_eq '0 1 0' "$(terminal display-message -p \
		'#{alternate_on} #{cursor_flag} #{keypad_cursor_flag}')" 'screen, cursor, keypad'
}

# pid: prints the process ID of top.
pid() {
	pgrep -P "$(terminal display-message -p '#{pane_pid}')" -x conncount
}

@test "top: shows the networks, largest first, and how much each has grown" {
	top --interval 86400
	shows 'service SMTP: 6 sessions, exact'
	shows 'IPv4 /32, IPv6 /64, largest first: 3 networks'
	rows '3 10.1.2.3/32' '2 2001:db8:1:2::/64' '1 10.1.2.4/32'
	shows '^ +3 +50\.0% +10\.1\.2\.3/32'
	shows '^ +1 +16\.7% +10\.1\.2\.4/32'
	sessions open 4 10.1.2.4 192.0.2.1:25
	keys r
	wait_until rows '5 +4 10.1.2.4/32' '3 10.1.2.3/32' '2 2001:db8:1:2::/64'
	# At the next refresh, the change is no longer shown.
	keys r
	wait_until rows '5 10.1.2.4/32' '3 10.1.2.3/32' '2 2001:db8:1:2::/64'
	sessions close server from=10.1.2.4/32
	keys r
	wait_until rows '3 10.1.2.3/32' '2 2001:db8:1:2::/64'
	keys q
	wait_until shows 'exit status 0'
	restored
}

@test "top: with a window in the configuration, a column has the connections opened in it" {
	sed -i '1a window = 86400,1' "$CONFIG"
	load
	top
	shows 'largest first: 3 networks; opened in this window of 86400 s'
	shows '^ SESSIONS  SHARE   CHANGE    OPENED  NETWORK'
	shows '^ +3 +50\.0% +0 +10\.1\.2\.3/32'
	sessions open 4 10.1.2.4 192.0.2.1:25
	wait_until shows '^ +5 +50\.0% +4 +10\.1\.2\.4/32'
	sessions close server from=10.1.2.4/32
	sessions open 1 10.1.2.4 192.0.2.1:25
	wait_until shows '^ +1 +16\.7% +5 +10\.1\.2\.4/32'
	keys p 96 Enter
	wait_until shows '^ +2 +[0-9.]+% +- +2001:db8:1:2::/96'
	keys q
	wait_until shows 'exit status 0'
}

@test "top --window: lists the networks that have opened most, with their sessions beside" {
	sed -i '1a window = 86400,1' "$CONFIG"
	load
	sessions open 2 10.1.2.4 192.0.2.1:25
	sessions open 4 10.9.9.9 192.0.2.1:25
	sessions close server from=10.9.9.9/32
	top --window 86400,1
	shows 'service SMTP: 6 connections, not exact'
	shows 'not exact: there may have been more: the windows reach back'
	shows '^   OPENED  SHARE   CHANGE  SESSIONS  NETWORK'
	shows '^ +4 +66\.7% +0 +10\.9\.9\.9/32'
	shows '^ +2 +33\.3% +3 +10\.1\.2\.4/32'
	keys p 96 Enter
	wait_until shows 'windows are not kept for the prefix lengths from 65 to 127'
	keys p 64 Enter
	wait_until shows '10\.9\.9\.9/32'
	keys q
	wait_until shows 'exit status 0'
}

@test "top: the keys s - + p f t / h r q and Escape work" {
	top --interval 86400
	keys s
	wait_until shows 'grown most first'
	keys s
	wait_until shows 'by address'
	rows '3 10.1.2.3/32' '1 10.1.2.4/32' '2 2001:db8:1:2::/64'
	keys s
	wait_until shows 'largest first'
	keys -- -
	wait_until shows 'IPv4 /24, IPv6 /56,'
	rows '4 10.1.2.0/24' '2 2001:db8:1::/56'
	keys +
	wait_until shows 'IPv4 /32, IPv6 /64,'
	keys p
	wait_until shows 'Prefix lengths'
	keys /20,47 Enter
	wait_until rows '4 10.1.0.0/20' '2 2001:db8::/47'
	keys p 99 BSpace Enter
	wait_until shows 'IPv4 /9, IPv6 /47'
	keys p 129 Enter
	wait_until shows "'129': not a prefix length from 0 to 128"
	keys p 32,64 Enter
	wait_until shows 'IPv4 /32, IPv6 /64,'
	keys f
	wait_until rows '3 10.1.2.3/32' '1 10.1.2.4/32'
	keys f
	wait_until rows '2 2001:db8:1:2::/64'
	keys f
	wait_until rows '3 10.1.2.3/32' '2 2001:db8:1:2::/64' '1 10.1.2.4/32'
	keys t
	wait_until rows '5 172.16.0.1/32'
	shows 'service Control'
	keys t
	wait_until shows 'service SMTP'
	keys / 10.1.2.4/31 Enter
	wait_until rows '1 10.1.2.4/32'
	shows 'within 10.1.2.4/31: 1 networks'
	keys / nonsense Enter
	wait_until shows "'nonsense': "
	keys / 1 Escape
	wait_until shows 'q quit'
	rows '1 10.1.2.4/32'
	keys / Enter
	wait_until rows '3 10.1.2.3/32' '2 2001:db8:1:2::/64' '1 10.1.2.4/32'
	keys h
	wait_until shows 'this help'
	keys x
	wait_until rows '3 10.1.2.3/32' '2 2001:db8:1:2::/64' '1 10.1.2.4/32'
	sessions open 1 10.9.9.9 192.0.2.1:25
	keys r
	wait_until rows '3 10.1.2.3/32' '2 2001:db8:1:2::/64' '1 10.1.2.4/32' '1 +1 10.9.9.9/32'
	keys q
	wait_until shows 'exit status 0'
	restored
}

@test "top: scrolls if there are more networks than lines, and follows the size of the terminal" {
	sessions open 50 10.7.0.1+ 192.0.2.1:25
	top -4 32 --interval 86400
	keys s s
	wait_until shows '10\.7\.0\.17/32'
	[[ $(screen) != *10.7.0.18/32* ]] || fail 'more than there is room for'
	keys Down Down
	wait_until shows '10\.7\.0\.19/32'
	keys NPage
	wait_until shows '10\.7\.0\.38/32'
	keys End
	wait_until shows '10\.7\.0\.50/32'
	keys Up
	wait_until shows '10\.7\.0\.31/32'
	keys Home
	wait_until shows '10\.1\.2\.3/32'
	terminal resize-window -x 40 -y 10
	wait_until shows '^ +1 +1\.9% +10\.7\.0\.3/32$'
	! shows '10\.7\.0\.4/32' || fail 'more than there is room for'
	shows '^q quit'
	terminal resize-window -x 100 -y 60
	wait_until shows '10\.7\.0\.50/32'
	terminal resize-window -x 3 -y 2
	wait_until shows '^con$'
	terminal resize-window -x 80 -y 24
	wait_until shows '10\.7\.0\.17/32'
	keys q
	wait_until shows 'exit status 0'
	restored
}

@test "top: a signal ends it, and the terminal is restored" {
	local signal
	for signal in TERM INT HUP QUIT; do
		rm -f "$TEST_DIR"/stty.*
		top
		kill "-$signal" "$(pid)"
		wait_until shows "exit status $((128 + $(kill -l "$signal")))"
		restored
		terminal kill-server
		wait_until no_terminal
	done
	rm -f "$TEST_DIR"/stty.*
	top
	keys C-c
	wait_until shows 'exit status 130'
	restored
}

@test "top: restores the terminal when it is stopped, and works again when it is continued" {
	terminal new-session -d -x 80 -y 24 "set -m; stty -a >$TEST_DIR/stty.before
		conncount top; echo exit status \$?; stty -a >$TEST_DIR/stty.after; read x; fg; exec sleep 1000"
	wait_until shows SESSIONS
	keys C-z
	# 128 + SIGTSTP
	wait_until shows 'exit status 148'
	restored
	keys Enter
	wait_until rows '3 10.1.2.3/32' '2 2001:db8:1:2::/64' '1 10.1.2.4/32'
	keys s
	wait_until shows 'grown most first'
	keys q
	wait_until shows 'exit status 148'
}

@test "top: shows that nothing is loaded after an unload, and the networks again after a load" {
	top
	conncount unload
	wait_until shows 'not loaded'
	rows ''
	load
	wait_until rows '3 10.1.2.3/32' '2 2001:db8:1:2::/64' '1 10.1.2.4/32'
	! shows 'not loaded' || fail 'it is loaded'
	keys q
	wait_until shows 'exit status 0'
}

# clock: prints the time of the last refresh, in seconds since midnight.
clock() {
	screen | sed -n '1s/.*\(..\):\(..\):\(..\).*/\1 \2 \3/p' | awk '{ print ($1 * 60 + $2) * 60 + $3 }'
}

@test "top: sends the terminal only what differs" {
	local first bytes seconds
	top
	first=$(clock)
	terminal pipe-pane "cat >$TEST_DIR/sent"
	sessions open 1 10.1.2.4 192.0.2.1:25
	wait_until rows '3 10.1.2.3/32' '2 10.1.2.4/32' '2 2001:db8:1:2::/64'
	clocks() {
		clock >>"$TEST_DIR/clocks"
		[ "$(sort -u "$TEST_DIR/clocks" | wc -l)" -gt 3 ]
	}
	wait_until -t 60 clocks
	wait_until test -s "$TEST_DIR/sent"
	# It refreshes once a second, and the whole screen would be 1,900 bytes each time. It is never
	# cleared.
	bytes=$(wc -c <"$TEST_DIR/sent")
	seconds=$((($(clock) - first + 86400) % 86400 + 1))
	((bytes < 200 * seconds)) || fail "sent in $seconds seconds: $(cat -v "$TEST_DIR/sent")"
	! grep -q -e $'\e\[2J' -e $'\e\[J' "$TEST_DIR/sent" || fail "cleared: $(cat -v "$TEST_DIR/sent")"
	keys q
	wait_until shows 'exit status 0'
}

@test "top: no terminal, an unknown one, or nothing loaded is an error" {
	expect 1 conncount top </dev/null
	expect_eq '' "$output"
	expect_match 'not a terminal' "$errors"
	terminal new-session -d -x 80 -y 24 "TERM=nonsense conncount top; echo exit status \$?
		exec sleep 1000"
	wait_until shows 'exit status 1'
	shows "top: terminal type 'nonsense' is unknown"
	terminal kill-server
	expect 2 conncount top --service nonsense
	conncount unload
	expect 1 conncount top
	expect_match 'not loaded' "$errors"
}
