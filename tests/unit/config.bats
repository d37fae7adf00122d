# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The configuration file, read by `conncount check`: an error is reported with file and line.

load ../lib/common

# good SUMMARY: check accepts the configuration on stdin and prints SUMMARY.
good() {
	cat >"$BATS_TEST_TMPDIR/conf"
	expect 0 conncount check "$BATS_TEST_TMPDIR/conf"
	expect_eq "$BATS_TEST_TMPDIR/conf: $1" "${output%%$'\n'*}" # what limits do comes after that
	expect_eq '' "$errors"
}

# bad LINE WHY: the configuration on stdin has an error at LINE, with WHY in its message.
bad() {
	cat >"$BATS_TEST_TMPDIR/conf"
	expect 2 conncount check "$BATS_TEST_TMPDIR/conf"
	expect_eq '' "$output"
	expect_match "^conncount: $BATS_TEST_TMPDIR/conf:$1: .*$2" "$errors"
}

# times N TEXT: prints TEXT N times.
times() {
	local spaces
	printf -v spaces '%*s' "$1" ''
	echo "${spaces// /$2}"
}

@test "the documented example is read, including its comments" {
	good '2 listeners on 3 addresses' <<-'END'
		# /etc/conncount.conf: INI. A section is a listener.
		[conncount]                 # optional
		cgroup = /                  # below the cgroup v2 mount; default: all of it
		max_prefixes = 1048576      # nodes in the trie
		window = 300,6
		window_memory = 16M
		group = conncount
		[smtp]
		listen = *:25               # may repeat; *, an IPv4 address, or [an IPv6 address]
		service = SMTP              # SMTP ECStream Control ECmmove2 ECCluster inbound_cidr, or a name of your own
		[msa]
		listen = 192.0.2.10:587
		listen = [2001:db8::10]:587
		service = SMTP
	END
}

@test "indentation, blank lines, a byte order mark and CRLF make no difference" {
	printf '\xef\xbb\xbf[smtp]\r\n\r\n  listen = *:25\r\n\tlisten=*:26\r\n   ; a comment\r\n' |
		good '1 listener on 2 addresses'
}

@test "a byte order mark at the start of the file is skipped, whatever follows it" {
	local mark=$'\xef\xbb\xbf' text
	for text in '# text' '; text' $'# text\r' '' $'\r' $'\t# text' ' ' '# a: b = c' '[conncount]'; do
		good '1 listener on 1 address' <<<"$mark$text"$'\n[smtp]\nlisten = *:25'
	done
}

@test "a byte order mark anywhere else is an error that names or quotes it" {
	local mark=$'\xef\xbb\xbf' before
	for before in "$mark" $'\n' ' ' $'[smtp]\nlisten = *:25\n' $'[smtp]\n  ' $'# text\n'; do
		bad '[0-9]+' 'a byte order mark' <<<"$before$mark# text"
		bad '[0-9]+' 'a byte order mark' <<<"$before${mark}[msa]"
	done
	bad 2 "listen '$mark\*:25'" <<<$'[smtp]\nlisten = '"$mark*:25"
	bad 1 "listener '${mark}smtp'" <<<"[${mark}smtp]"
}

@test "the last line needs no newline" {
	printf '[smtp]\nlisten = *:25\nlisten = *:26' | good '1 listener on 2 addresses'
	printf '[smtp]\nlisten = *:25\n# text' | good '1 listener on 1 address'
	printf '[smtp]\nlisten = *:25\n[msa]' | bad 3 "no 'listen"
}

@test "there are no continuation lines" {
	bad 3 "unknown key '\*'" <<<$'[smtp]\nlisten = *:25\n  *:26'
	bad 2 "listen '\*:25 \\\\'" <<<$'[smtp]\nlisten = *:25 \\\n*:26'
	bad 3 "unknown key ''" <<<$'[smtp]\nlisten = *:25\n= *:26'
}

@test "a listener need not name a service" {
	good '1 listener on 1 address' <<<$'[smtp]\nlisten = *:25'
}

@test "one port can be used with *, with each family's any address, and with single addresses" {
	good '1 listener on 5 addresses' <<-'END'
		[smtp]
		listen = *:25
		listen = 0.0.0.0:25
		listen = [::]:25
		listen = 192.0.2.1:25
		listen = [2001:db8::1]:25
	END
}

@test "the same address and port twice is an error that names the first use" {
	bad 4 "listen '\*:25': already used by \[a\], at line 2" <<<$'[a]\nlisten = *:25\n[b]\nlisten = *:25'
	bad 3 'already used by \[a\], at line 2' <<<$'[a]\nlisten = 192.0.2.1:25\nlisten = [::ffff:192.0.2.1]:25'
}

@test "a bad address or port is an error at its line" {
	local text
	for text in '*' '*:' '*:0' '*:65536' '*:x' '*:-1' '25' ':25' '192.0.2.1' '192.0.2.300:25' \
		'2001:db8::1:25' '[2001:db8::1]' '[2001:db8::1]25' 'mx.example.com:25' \
		'localhost:25' '192.0.2.0/24:25' '*:25,*:26' '*:25 *:26' '**:25' '[fe80::1%lo]:25'; do
		bad 2 "listen '" <<<"[smtp]"$'\n'"listen = $text"
	done
}

@test "a proxy is an address or a network of either family" {
	local text
	for text in 10.0.0.0/24 192.0.2.7 10.0.0.9/255.255.255.0 2001:db8::/32 2001:db8::7 \
		'[2001:db8::]/32' '[2001:db8::7]' ::ffff:192.0.2.0/120 0.0.0.0/1 localhost; do
		good '1 listener on 1 address' <<<$'[smtp]\nlisten = *:25\nproxy = '"$text"
		good '1 listener on 1 address' <<<$'[smtp]\nproxy = '"$text"$'\nlisten = *:25'
	done
}

@test "a bad proxy is an error that says why" {
	local text
	for text in '' '*' proxy.example.com 10.0.0.0/33 10.0.0.0/ 10.0.0.0/-1 10.0.0.0/255.0.255.0 \
		10.0.0.0/24:25 '10.0.0.1, 10.0.0.2' 10.0.0.1-10.0.0.9 2001:db8::/129 fe80::1%lo /24 \
		'[10.0.0.1]' ::ffff:192.0.2.0/24; do
		bad 3 "proxy '" <<<$'[smtp]\nlisten = *:25\nproxy = '"$text"
	done
	bad 3 "proxy '10.0.0.0/33': the length is over 32" <<<$'[smtp]\nlisten = *:25\nproxy = 10.0.0.0/33'
	bad 2 "unknown key 'proxy' in \[conncount\]" <<<$'[conncount]\nproxy = 10.0.0.1'
	bad 2 "proxy '\?\[31m': not an IP address" <<<$'[smtp]\nproxy = \e[31m'
}

@test "a proxy that is every address of a family is an error" {
	local text
	for text in 0.0.0.0/0 10.0.0.0/0 10.0.0.0/0.0.0.0 ::/0 '[::]/0' ::ffff:0.0.0.0/96 localhost/0; do
		bad 2 'every client could choose .* \(name only the hosts that send' <<<$'[smtp]\nproxy = '"$text"
	done
}

@test "the same proxy twice in a listener is an error, in two listeners it is not" {
	bad 4 "proxy '10.0.0.9/24': already used by \[a\], at line 3" \
		<<<$'[a]\nlisten = *:25\nproxy = 10.0.0.0/24\nproxy = 10.0.0.9/24'
	bad 3 'already used by \[a\], at line 2' <<<$'[a]\nproxy = 192.0.2.7\nproxy = [::ffff:192.0.2.7]'
	good '2 listeners on 2 addresses' <<-'END'
		[a]
		listen = *:25
		proxy = 10.0.0.0/8
		proxy = 10.0.0.0/24
		proxy = 10.0.0.0
		[b]
		listen = *:26
		proxy = 10.0.0.0/24
	END
}

# limits TEXT...: prints a listener on port 25 with these limits.
limits() {
	printf '[mx]\nlisten = *:25\n'
	printf 'limit = %s\n' "$@"
}

@test "a limit is a stored length of each family, a number of sessions, and what happens over it" {
	local text
	for text in '/24,/64 over 100 reset' '/8,/8 over 1 log' '/32,/128 over 4294967294 reset' \
		'/16,/56 over 0020 log' $'/24,/64 \t over\t 100  reset'; do
		limits "$text" | good '1 listener on 1 address'
	done
}

@test "a malformed limit is an error that shows how to write one" {
	local text
	for text in '' x 100 /24 '/24 over 100 reset' '/24,64 over 100 reset' '24,/64 over 100 reset' \
		'/,/64 over 100 reset' '/24,/ over 100 reset' '/24,/64,/56 over 100 reset' \
		'/24, /64 over 100 reset' '/-24,/64 over 100 reset' '/99999999999,/64 over 100 reset' \
		'/24,/64' '/24,/64 over' '/24,/64 over100 reset' '/24,/64over 100 reset' \
		'/24,/64 100 reset' '/24,/64 > 100 reset' '/24,/64 Over 100 reset' \
		'198.51.100.0/24 over 100 reset'; do
		limits "$text" | bad 3 "limit '$text': not /LENGTH4,/LENGTH6 over SESSIONS reset.log, such as /24,/64 over 100 reset\$"
	done
	bad 2 "unknown key 'limit' in \[conncount\]" <<<$'[conncount]\nlimit = /24,/64 over 100 reset'
	limits $'\e[31m' | bad 3 "limit '\?\[31m': not /LENGTH4"
	limits "/24,/64 over 100 $(times 200 x)" | bad 3 "limit '/24,/64 over 100 x{83}\.\.\.': the action must"
}

@test "a limit of a length without stored counts is an error that names the next one" {
	local length next
	while read -r length next; do
		limits "/$length,/64 over 100 reset" |
			bad 3 "limit '.*': no counts are stored for /$length of IPv4 \(the $next\)\$"
	done <<-'END'
		0 next length is /8
		7 next length is /8
		9 next length is /16
		23 next length is /24
		31 next length is /32
		33 longest length is /32
		64 longest length is /32
	END
	while read -r length next; do
		limits "/24,/$length over 100 reset" |
			bad 3 "limit '.*': no counts are stored for /$length of IPv6 \(the $next\)\$"
	done <<-'END'
		0 next length is /8
		44 next length is /48
		63 next length is /64
		65 next length is /128
		129 longest length is /128
		4294967295 longest length is /128
	END
}

@test "a limit over 0 sessions, or over more than fit, is an error" {
	local text
	for text in 0 00 -1 +1 x 1x 1.5 4294967295 99999999999999999999 reset; do
		limits "/24,/64 over $text reset" |
			bad 3 "limit '.*': 'over' needs a number of sessions, from 1 to 4294967294\$"
	done
}

@test "a limit without an action, or with an unknown one, is an error that names them" {
	local text
	for text in '' ' ' drop Reset 'reset log' resets 'reset,log' 0; do
		limits "/24,/64 over 100 $text" | bad 3 "limit '.*': the action must be reset or log\$"
	done
}

@test "a second limit of the same lengths and action is an error that names the line of the first" {
	limits '/32,/128 over 5 reset' '/24,/64 over 100 reset' '/24,/64 over 50 reset' |
		bad 5 "limit '/24,/64 over 50 reset': there already is one of these lengths with reset, at line 4\$"
	limits '/24,/64 over 100 log' '/24,/64  over 100 log' |
		bad 4 "there already is one of these lengths with log, at line 3"
	limits '/24,/64 over 100 reset' '/24,/64 over 50 log' '/24,/56 over 100 reset' |
		good '1 listener on 1 address'
	{ limits '/24,/64 over 100 reset' && printf '[msa]\nlisten = *:587\nlimit = /24,/64 over 100 reset\n'; } |
		good '2 listeners on 2 addresses'
}

@test "a listener can have 4 limits" {
	local four=('/8,/32 over 1000 reset' '/16,/48 over 500 reset' '/24,/64 over 100 reset' '/32,/128 over 5 reset')
	limits "${four[@]}" | good '1 listener on 1 address'
	limits "${four[@]}" '/32,/128 over 2 log' | bad 7 "limit '/32,/128 over 2 log': more than 4 in \[mx\]\$"
	{ limits "${four[@]}" && printf '[msa]\nlisten = *:587\nlimit = /24,/64 over 100 reset\n'; } |
		good '2 listeners on 2 addresses'
}

@test "the limit of the longest network is asked first, of one length the lowest, in each family" {
	requires build
	limits '/24,/64 over 100 reset' '/32,/48   over 20 log' $'/8,/64\tover 0020 log' \
		'/32,/128 over 7 reset' >"$BATS_TEST_TMPDIR/conf"
	printf '[msa]\nlisten = *:587\n' >>"$BATS_TEST_TMPDIR/conf"
	expect 0 "$BUILD/tests/read_limits" "$BATS_TEST_TMPDIR/conf"
	expect_eq '[mx]
/24,/64 over 100 reset
/32,/48 over 20 log
/8,/64 over 20 log
/32,/128 over 7 reset
IPv4: 3 1 0 2
IPv6: 3 2 0 1
[msa]
IPv4:
IPv6:' "$output"
}

@test "a limit that is written as it was read is read as the same" {
	requires build
	local all='/8,/8 over 1 log
/16,/24 over 4294967294 reset
/24,/40 over 65536 log
/32,/128 over 10 reset'
	mapfile -t lines <<<"$all"
	limits "${lines[@]}" >"$BATS_TEST_TMPDIR/conf"
	expect 0 "$BUILD/tests/read_limits" "$BATS_TEST_TMPDIR/conf"
	expect_eq "$all" "$(grep over <<<"$output")"
}

@test "a listener with a limit and a proxy is an error at the limit" {
	local why='limit: \[mx\] has a proxy, .* \(limit clients by a policy: conncount-servers\(7\)\)$'
	{ limits '/24,/64 over 100 reset' && echo 'proxy = 10.0.0.0/24'; } | bad 3 "$why"
	bad 4 "$why" <<<$'[mx]\nlisten = *:25\nproxy = 10.0.0.0/24\nlimit = /24,/64 over 100 log\nlimit = /32,/128 over 5 log'
	{ limits '/24,/64 over 100 reset' && printf '[proxied]\nlisten = *:10025\nproxy = 10.0.0.0/24\n'; } |
		good '2 listeners on 2 addresses'
}

@test "exempt is an address or a network of either family, of a listener with a limit" {
	local text
	for text in 198.51.100.0/24 192.0.2.7 10.0.0.9/255.255.255.0 2001:db8::/32 '[2001:db8::7]' \
		::ffff:192.0.2.0/120 0.0.0.0/1 localhost; do
		{ limits '/24,/64 over 100 reset' && echo "exempt = $text"; } | good '1 listener on 1 address'
		good '1 listener on 1 address' <<<$'[mx]\nexempt = '"$text"$'\nlimit = /24,/64 over 100 log\nlisten = *:25'
	done
	bad 3 'exempt: \[mx\] has no .limit. line \(add one, or remove this line\)$' <<<$'[mx]\nlisten = *:25\nexempt = 192.0.2.7\nexempt = 192.0.2.8'
	bad 2 "unknown key 'exempt' in \[conncount\]" <<<$'[conncount]\nexempt = 10.0.0.1'
}

@test "a bad exempt network is an error that says why" {
	local text
	for text in '' '*' partner.example.com 10.0.0.0/33 10.0.0.0/ 10.0.0.0/255.0.255.0 \
		'10.0.0.1, 10.0.0.2' 2001:db8::/129 fe80::1%lo /24 /24,/64; do
		{ limits '/24,/64 over 100 reset' && echo "exempt = $text"; } | bad 4 "exempt '"
	done
	{ limits '/24,/64 over 100 reset' && echo 'exempt = 10.0.0.0/33'; } |
		bad 4 "exempt '10.0.0.0/33': the length is over 32, the maximum for IPv4\$"
	for text in 0.0.0.0/0 10.0.0.0/0 ::/0 '[::]/0' ::ffff:0.0.0.0/96 localhost/0; do
		{ limits '/24,/64 over 100 reset' && echo "exempt = $text"; } |
			bad 4 'the limits would apply to no client of this family \(name the networks'
	done
}

@test "the same exempt network twice in a listener is an error, in two listeners it is not" {
	{ limits '/24,/64 over 100 reset' && printf 'exempt = %s\n' 10.0.0.0/24 10.0.0.9/24; } |
		bad 5 "exempt '10.0.0.9/24': already used by \[mx\], at line 4\$"
	good '3 listeners on 3 addresses' <<-'END'
		[a]
		listen = *:25
		limit = /24,/64 over 100 reset
		exempt = 10.0.0.0/8
		exempt = 10.0.0.0/24
		exempt = 10.0.0.0
		[b]
		listen = *:26
		limit = /24,/64 over 100 reset
		exempt = 10.0.0.0/24
		[c]
		listen = *:27
		proxy = 10.0.0.0/24
	END
}

@test "keys: one that is unknown, repeated, misplaced or without a value is an error" {
	bad 3 "unknown key 'port' in \[smtp\]" <<<$'[smtp]\nlisten = *:25\nport = 25'
	bad 2 "unknown key 'listen' in \[conncount\]" <<<$'[conncount]\nlisten = *:25'
	bad 4 'service: already set, at line 3' <<<$'[smtp]\nlisten = *:25\nservice = A\nservice = A'
	bad 3 'cgroup: already set, at line 2' <<<$'[conncount]\ncgroup = /\ncgroup = /'
	bad 1 'before any \[section\]' <<<'listen = *:25'
	bad 3 "neither a \[section\] nor 'key = value'" <<<$'[smtp]\nlisten = *:25\nservice'
	bad 3 "service ''" <<<$'[smtp]\nlisten = *:25\nservice ='
}

@test "sections: one that is repeated, unfinished, empty or badly named is an error" {
	bad 3 '\[smtp\]: there already is such a section, at line 1' <<<$'[smtp]\nlisten = *:25\n[smtp]\nlisten = *:26'
	bad 2 '\[conncount\]: there already is such a section, at line 1' <<<$'[conncount]\n[conncount]'
	bad 1 "without a closing '\]'" <<<$'[smtp\nlisten = *:25'
	bad 1 "text after the section's" <<<$'[smtp] x\nlisten = *:25'
	bad 3 "\[msa\]: no 'listen" <<<$'[smtp]\nlisten = *:25\n[msa]\nservice = SMTP'
	bad 3 "\[msa\]: no 'listen" <<<$'[smtp]\nlisten = *:25\n[msa]'
	bad 1 "listener ''" <<<$'[]\nlisten = *:25'
	bad 1 'only letters, digits' <<<$'[a b]\nlisten = *:25'
	bad 1 'longer than 49' <<<"[$(printf 'x%.0s' {1..50})]"$'\nlisten = *:25'
	good '1 listener on 1 address' <<<"[$(printf 'x%.0s' {1..49})]"$'\nlisten = *:25'
}

@test "a file without a listener is an error" {
	expect 2 conncount check /dev/null
	expect_match '^conncount: /dev/null: no listener' "$errors"
	bad 1 'no listener' <<<'[conncount]'
}

@test "max_prefixes must be a whole number from 1 to 67,108,864" {
	local text
	for text in 0 -1 x 1x 67108865 99999999999999999999 1.5 ''; do
		bad 2 "max_prefixes '$text'" <<<$'[conncount]\nmax_prefixes = '"$text"
	done
	good '1 listener on 1 address' <<<$'[conncount]\nmax_prefixes = 1\n[smtp]\nlisten = *:25'
}

@test "windows are a length and a number of windows, with or without space around the comma" {
	local text
	for text in 60,1 1,0 86400,31 '300 , 6' $'60,\t0' 007,08; do
		good '1 listener on 1 address' <<<$'[conncount]\nwindow = '"$text"$'\n[smtp]\nlisten = *:25'
	done
	for text in '' x 60 '60,' ,1 0,1 86401,1 60,32 -1,1 60,-1 60,1,1 60.5,1 60s,1 '60 1' 99999999999999999999,1; do
		bad 2 "window '$text': not SECONDS,WINDOWS, a length from 1 to 86400 .* from 0 to 31, such as 60,1" \
			<<<$'[conncount]\nwindow = '"$text"
	done
}

@test "there can be 4 window lines, of 32 windows together, and none twice" {
	good '1 listener on 1 address' <<-'END'
		[conncount]
		window = 60,7
		window = 60,8
		window = 900,8
		window = 3600,4
		[smtp]
		listen = *:25
	END
	bad 6 "window '5,0': more than 4" <<<$'[conncount]\nwindow = 1,0\nwindow = 2,0\nwindow = 3,0\nwindow = 4,0\nwindow = 5,0'
	bad 3 "window '900,15': more than 32 windows are kept, .* \(keep fewer\)" \
		<<<$'[conncount]\nwindow = 60,16\nwindow = 900,15'
	bad 3 "window '60 , 1': there already is such a line" <<<$'[conncount]\nwindow = 60,1\nwindow = 60 , 1'
}

@test "window_memory is a size from 1M to 1G, for windows that there are" {
	local text
	for text in 1M 16M 1G 1024K 1048576 1073741824; do
		good '1 listener on 1 address' \
			<<<$'[conncount]\nwindow_memory = '"$text"$'\nwindow = 60,1\n[smtp]\nlisten = *:25'
	done
	for text in '' x M 0 1 1023K 1025M 2G 16m 16MB '16 M' -1M 1.5M 1073741825 99999999999999999999; do
		bad 2 "window_memory '$text': not a size from 1M to 1G, such as 16M" \
			<<<$'[conncount]\nwindow_memory = '"$text"
	done
	bad 4 'window_memory: already set, at line 3' \
		<<<$'[conncount]\nwindow = 60,1\nwindow_memory = 16M\nwindow_memory = 16M'
	bad 2 "window_memory: there is no 'window' line that would use it" \
		<<<$'[conncount]\nwindow_memory = 16M\n[smtp]\nlisten = *:25'
}

@test "a cgroup must be an absolute path" {
	bad 2 "cgroup 'system.slice'" <<<$'[conncount]\ncgroup = system.slice'
}

@test "control characters in the file do not reach the terminal" {
	bad 2 "listen '\?\[31m" <<<$'[smtp]\nlisten = \e[31m'
}

@test "a line of 8,192 bytes is read, a longer one is an error" {
	local line='listen = *:25' end
	line+=$(times $((8192 - ${#line})) ' ')
	for end in '' $'\n' '# text' $'# text\r\n'; do
		printf '[smtp]\n%s%s' "$line" "$end" >"$BATS_TEST_TMPDIR/conf"
		expect 0 conncount check "$BATS_TEST_TMPDIR/conf"
	done
	bad 2 'longer than 8192 bytes' <<<"[smtp]"$'\n'" $line"
	bad 2 'longer than 8192 bytes' <<<"[smtp]"$'\n'"$line"$'\r'
	bad 2 'longer than 8192 bytes' <<<"[smtp]"$'\n'"listen = $(times 100000 1)"
	bad 1 'longer than 8192 bytes' <<<"[$(times 8192 x)"
}

@test "a comment can be of any length" {
	printf '#%s\n[smtp] # %s\nlisten = *:25 ;%s' "$(times 100000 x)" "$(times 100000 ' [')" \
		"$(times 100000 '#')" | good '1 listener on 1 address'
}

@test "a cgroup of 4,095 characters is read, a longer one is an error" {
	good '1 listener on 1 address' <<<"[conncount]
		cgroup = /$(times 4094 x)
		[smtp]
		listen = *:25"
	bad 2 "cgroup '/x{99}\.\.\.': longer than 4095 characters$" <<<$'[conncount]\ncgroup = '"/$(times 4095 x)"
	bad 2 "cgroup '/a\?b': contains a control character" <<<$'[conncount]\ncgroup = /a\rb'
}

@test "a message quotes 100 bytes of a long text, and says what is wrong with it" {
	local long what letter=$'\xc3\xa4'
	long=$(times 8000 x)
	for what in listen proxy service limit exempt; do
		bad 2 "$what 'x{100}\.\.\.': .{10}" <<<"[smtp]"$'\n'"$what = $long"
	done
	for what in cgroup group max_prefixes window window_memory; do
		bad 2 "$what 'x{100}\.\.\.': .{10}" <<<"[conncount]"$'\n'"$what = $long"
	done
	bad 3 "window '60 {98}\.\.\.': there already" <<<$'[conncount]\nwindow = 60,1\nwindow = 60'"$(times 4000 ' '),1"
	limits '/24,/64 over 1 log' "/24,/64$(times 4000 ' ')over 1 log" |
		bad 4 "limit '/24,/64 {93}\.\.\.': there already"
	bad 1 "listener 'x{100}\.\.\.': .{10}" <<<"[$long]"
	bad 1 "'x{100}\.\.\.' stands before any" <<<"$long ="
	bad 2 "unknown key 'x{100}\.\.\.' in \[smtp\] \(known" <<<$'[smtp]\n'"$long ="
	bad 2 "unknown key 'x{100}\.\.\.' in \[conncount\] \(known" <<<$'[conncount]\n'"$long ="
	# A quotation of UTF-8 does not end within a character.
	bad 2 "listen '.($letter){49}\.\.\.': .{10}" <<<"[smtp]"$'\n'"listen = x$(times 4000 "$letter")"
	bad 2 "listen '.+': .{10}" <<<"[smtp]"$'\n'"listen = $(times 4000 $'\x97')"
}

@test "a message says what is wrong however long the file name is" {
	local dir=$BATS_TEST_TMPDIR name
	name=/$(times 250 d)
	dir+=$(times 14 "$name")
	mkdir -p "$dir"
	echo '[smtp' >"$dir/conf"
	expect 2 conncount check "$dir/conf"
	expect_match "/conf:1: a section without a closing '\]'" "$errors"
	expect 2 conncount check "/$(times 10000 x)"
	expect_match ': File name too long' "$errors"
}

@test "a NUL byte anywhere is an error" {
	local text
	for text in '[smtp]\nlisten = *:25\0\n' '[smtp]\n#\0\n' '[smtp]\n\0' '[smtp]\nlisten = *:25 # text\0'; do
		# shellcheck disable=SC2059 # the text is the format
		printf "$text" | bad 2 'NUL'
	done
	printf '\xff\xfe[\0s\0]\0\n\0' | bad 1 'NUL.*UTF-8'
}

@test "1,048,576 addresses are read, and one more is an error" {
	awk 'BEGIN {
		print "[smtp]"
		for (i = 0; i < 1048576; i++)
			printf "listen = 10.%d.%d.%d:25\n", i / 65536, i / 256 % 256, i % 256
	}' >"$BATS_TEST_TMPDIR/many"
	good '1 listener on 1048576 addresses' <"$BATS_TEST_TMPDIR/many"
	{ cat "$BATS_TEST_TMPDIR/many" && echo '[msa]' && echo 'listen = *:587'; } |
		bad 1048579 "listen '\*:587': more than 1048576 addresses"
	{ cat "$BATS_TEST_TMPDIR/many" && echo 'listen = 10.0.0.1:25'; } |
		bad 1048578 "already used by \[smtp\], at line 3"
}

@test "65,536 proxies of all listeners are read, and one more is an error" {
	awk 'BEGIN {
		for (l = 1; l <= 2; l++) {
			printf "[l%d]\nlisten = *:%d\n", l, l
			for (i = 0; i < 32768; i++)
				printf "proxy = 10.0.%d.%d\n", i / 256, i % 256
		}
	}' >"$BATS_TEST_TMPDIR/many"
	good '2 listeners on 2 addresses' <"$BATS_TEST_TMPDIR/many"
	{ cat "$BATS_TEST_TMPDIR/many" && echo 'proxy = 10.1.0.0/16'; } |
		bad 65541 "proxy '10.1.0.0/16': more than 65536 networks"
	{ cat "$BATS_TEST_TMPDIR/many" && echo 'proxy = 10.0.0.0'; } |
		bad 65541 'already used by \[l2\], at line 32773'
}

@test "65,536 exempt networks of all listeners are read, and one more is an error" {
	awk 'BEGIN {
		for (l = 1; l <= 2; l++) {
			printf "[l%d]\nlisten = *:%d\nlimit = /24,/64 over 100 reset\n", l, l
			for (i = 0; i < 32768; i++)
				printf "exempt = 10.0.%d.%d\n", i / 256, i % 256
		}
		printf "[proxied]\nlisten = *:25\nproxy = 10.0.0.0\n"
	}' >"$BATS_TEST_TMPDIR/many"
	good '3 listeners on 3 addresses' <"$BATS_TEST_TMPDIR/many"
	{ sed '/proxied/,$d' "$BATS_TEST_TMPDIR/many" && echo 'exempt = 10.1.0.0/16'; } |
		bad 65543 "exempt '10.1.0.0/16': more than 65536 networks \(write adjacent networks as a larger one\)"
}

@test "more than 1,024 listeners are an error" {
	awk 'BEGIN { for (i = 1; i <= 1025; i++) printf "[l%d]\nlisten = *:%d\n", i, i }' |
		bad 2049 'more than 1024 listeners'
}

@test "a missing file, a directory, no FILE and more than one FILE exit with 2" {
	expect 2 conncount check "$BATS_TEST_TMPDIR/none"
	expect_match "^conncount: $BATS_TEST_TMPDIR/none: No such file" "$errors"
	expect 2 conncount check "$BATS_TEST_TMPDIR"
	expect_match "^conncount: $BATS_TEST_TMPDIR" "$errors"
	expect 2 conncount check
	expect_match 'FILE is missing' "$errors"
	expect 2 conncount check a b
	expect_match 'b: unexpected argument' "$errors"
}
