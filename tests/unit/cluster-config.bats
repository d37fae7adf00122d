# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The configuration of the cluster's daemon, read by `conncount check`: an error is reported with file
# and line.

load ../lib/common

setup() {
	CONF=$BATS_TEST_TMPDIR/conf
	PASSWORD=$BATS_TEST_TMPDIR/password
	(umask 077 && echo secret >"$PASSWORD")
}

# good SUMMARY: check accepts the configuration on stdin and prints SUMMARY.
good() {
	cat >"$CONF"
	expect 0 conncount check "$CONF"
	expect_eq "$CONF: $1" "$output"
	expect_eq '' "$errors"
}

# bad LINE WHY: the configuration on stdin has an error at LINE, with WHY in its message; LINE is empty
# for an error that is of no line.
bad() {
	cat >"$CONF"
	expect 2 conncount check "$CONF"
	expect_eq '' "$output"
	expect_match "^conncount: $CONF:${1:+$1:} .*$2" "$errors"
}

# good_line SUMMARY LINE, bad_line WHY LINE: the same for a configuration with one server, named at
# line 2, and a LINE 3.
good_line() {
	good "$1" <<<$'[cluster]\nservers = 10.0.0.5:6379\n'"$2"
}

bad_line() {
	bad 3 "$1" <<<$'[cluster]\nservers = 10.0.0.5:6379\n'"$2"
}

# host: prints what this host is called if the configuration does not say.
host() {
	uname -n
}

@test "one line is enough: the cluster is called mail, and this host as it is" {
	good "cluster mail, this host as $(host), by 1 server" <<<$'[cluster]\nservers = 10.0.0.5:6379'
}

@test "the documented example is read, including its comments" {
	good 'cluster mail, this host as mx1, by 2 servers' <<-END
		# /etc/conncount-cluster.conf
		[cluster]
		name = mail                     # whose counts are added up
		node = mx1                      # this host in it
		servers = 10.0.0.5:6379 10.0.0.6:6379      # tried in order
		service = SMTP                  ; what is shared
		username = mx1
		password_file = $PASSWORD
		interval = 250ms
		lease = 10s
		hold = 60s
		max_prefixes = 4194304
	END
}

@test "sentinels are read in place of servers" {
	good 'cluster x, this host as a.b, by 3 sentinels' <<-END
		[cluster]
		name: x
		node: a.b
		sentinels: 10.0.0.7:26379 sentinel.example:26379 [2001:db8::7]:26379
		sentinel_master: mail
		username = mx1
		password_file = $PASSWORD
		sentinel_username = watcher
		sentinel_password_file = $PASSWORD
	END
}

@test "what is the same in every configuration: byte order mark, CRLF, indentation, no last newline" {
	printf '\xef\xbb\xbf[cluster]\r\n\r\n  node = a\r\n\tservers=/s\r\n   ; a comment' |
		good 'cluster mail, this host as a, by 1 server'
	printf '[cluster]\nservers = /s\n\xef\xbb\xbfnode = a\n' | bad 3 'a byte order mark'
	printf '[cluster]\nservers = /s\nnode = a\0b\n' | bad 3 'a NUL byte'
	bad 3 "neither a \[section\] nor 'key = value'" <<<$'[cluster]\nservers = /s\nnode'
}

@test "a server is an address, a name or a path, with a port unless it is a path" {
	local text n
	for text in 10.0.0.5:6379 '[2001:db8::5]:6379' '[::1]:1' redis.example:65535 localhost:6379 a-b.c:6379 \
		r2:6379 /run/redis/redis-server.sock /s; do
		good "cluster mail, this host as $(host), by 1 server" <<<"[cluster]"$'\n'"servers = $text"
	done
	for text in 10.0.0.5 10.0.0.5: 10.0.0.5:0 10.0.0.5:65536 10.0.0.5:x 10.0.0.500:6379 :6379 6379 \
		redis.example redis.example: redis.example:0 redis.example:65536 a_b:6379 2001:db8::5:6379 \
		'[2001:db8::5]' '[redis]:6379' '*:6379' redis://10.0.0.5:6379 run/redis.sock \
		10.0.0.5:6379,10.0.0.6:6379; do
		bad 2 "servers '" <<<"[cluster]"$'\n'"servers = $text"
		bad 2 "sentinels '" <<<"[cluster]"$'\n'"sentinels = $text"$'\nsentinel_master = m'
	done
	bad 2 "servers '10.0.0.6': " <<<$'[cluster]\nservers = 10.0.0.5:6379 10.0.0.6'
	bad 2 'servers: is empty' <<<$'[cluster]\nservers ='
	bad 2 'sentinels: is empty' <<<$'[cluster]\nsentinels = # none\nsentinel_master = m'

	n=$(printf '/s%d ' {1..16})
	good "cluster mail, this host as $(host), by 16 servers" <<<"[cluster]"$'\n'"servers = $n"
	bad 2 'servers: more than 16' <<<"[cluster]"$'\n'"servers = $n /s17"
}

@test "a configuration needs servers or sentinels, but not both" {
	bad '' "no server: add a section \[cluster\] with 'servers = ADDRESS:PORT'" <<<'[cluster]'
	bad '' 'no server' <<<$'[cluster]\nnode = a'
	bad 3 'sentinels: cannot be combined with servers, at line 2' <<-'END'
		[cluster]
		servers = /s
		sentinels = /t
		sentinel_master = m
	END
	bad 2 "sentinels: add 'sentinel_master = NAME', as they call the server" <<<$'[cluster]\nsentinels = /t'
}

@test "names have at most 49 letters, digits and a few other characters" {
	local key name
	printf -v name '%049d' 7
	for key in name node sentinel_master; do
		for text in a A1 mx1.example.com mx_1-b 7 "$name"; do
			good "cluster $([ $key = name ] && echo "$text" || echo mail), this host as $([ $key = node ] && echo "$text" || host), by 1 server" \
				<<<$'[cluster]\nservers = /s\n'"$key = $text"
		done
		for text in '' 'a b' a:b a/b a@b '{a}' 'mail*' ä; do
			bad_line "$key '.*': may contain only letters, digits and \. _ -" "$key = $text"
		done
		bad_line "$key '${name}7': longer than 49 characters" "$key = ${name}7"
	done
	good_line "cluster mail, this host as $(host), by 1 server" 'service = my+service:1/a@b'
	bad_line "service 'a b': may contain only" 'service = a b'
	bad_line "service 'inbound_cidr': that is what the daemon makes of the service" 'service = inbound_cidr'
	bad_line "username 'a b': may contain only letters, digits and \. _ - @" 'username = a b'
	bad_line "username '${name}7': longer than 49 characters" "username = ${name}7"
}

@test "a host whose name cannot be used needs the key node" {
	requires root
	local long named
	printf -v long '%063d' 1
	# shellcheck disable=SC2016
	named=(unshare --uts sh -c 'hostname "$1" && exec conncount check "$2"' sh "$long" "$CONF")
	printf '[cluster]\nservers = /s\n' >"$CONF"
	expect 2 "${named[@]}"
	expect_match "^conncount: $CONF: this host has no name, or a long one: add 'node = NAME'" "$errors"
	echo 'node = a' >>"$CONF"
	expect 0 "${named[@]}"
}

@test "a password is the first line of a file that other users can neither read nor write" {
	local mode want
	want="cluster mail, this host as $(host), by 1 server"
	for mode in 0400 0600 0640 0660; do
		chmod "$mode" "$PASSWORD"
		good_line "$want" "password_file = $PASSWORD"
		good_line "$want" "sentinel_password_file = $PASSWORD"
	done
	for mode in 0604 0644 0602 0666; do
		chmod "$mode" "$PASSWORD"
		bad_line "password_file '$PASSWORD': other users may read or write it \(chmod o-rw\)" \
			"password_file = $PASSWORD"
		bad_line "sentinel_password_file '$PASSWORD': other users may" "sentinel_password_file = $PASSWORD"
	done
	chmod 0600 "$PASSWORD"
	bad_line "password_file '/none': No such file or directory" 'password_file = /none'
	bad_line "password_file '': No such file or directory" 'password_file ='
	: >"$PASSWORD"
	bad_line "password_file '$PASSWORD': its first line is empty" "password_file = $PASSWORD"
	printf '\nsecret\n' >"$PASSWORD"
	bad_line "password_file '$PASSWORD': its first line is empty" "password_file = $PASSWORD"
	printf '%0512d' 1 >"$PASSWORD"
	good_line "$want" "password_file = $PASSWORD"
	printf '%0512d\nmore\n' 1 >"$PASSWORD"
	good_line "$want" "password_file = $PASSWORD"
	printf '%0513d\n' 1 >"$PASSWORD"
	bad_line "password_file '$PASSWORD': longer than 512 characters" "password_file = $PASSWORD"
}

@test "tls is yes or no, and its files can be read, the key by its owner and group only" {
	local want key file=$BATS_TEST_TMPDIR/file
	want="cluster mail, this host as $(host), by 1 server"
	echo text >"$file"
	good_line "$want" 'tls = yes'
	good_line "$want" 'tls = no'
	bad_line "tls 'Yes': neither yes nor no" 'tls = Yes'
	bad_line "tls '': neither yes nor no" 'tls ='
	chmod 0644 "$file"
	good "$want" <<<$'[cluster]\nservers = /s\ntls_ca = '"$file"$'\ntls = yes'
	good "$want" <<<$'[cluster]\nservers = /s\ntls = yes\ntls_key = '"$PASSWORD"$'\ntls_cert = '"$file"
	bad_line "tls_key '$file': other users may read or write it \(chmod o-rw\)" "tls_key = $file"
	for key in tls_ca tls_cert tls_key; do
		bad_line "$key '/none': No such file or directory" "$key = /none"
		bad_line "$key '/dev/null': not a file" "$key = /dev/null"
		bad_line "$key: add 'tls = yes'" "$key = $PASSWORD"
	done
	bad 4 "tls_cert: add 'tls_key = PATH'" <<<$'[cluster]\nservers = /s\ntls = yes\ntls_cert = '"$file"
	bad 4 "tls_key: add 'tls_cert = PATH'" <<<$'[cluster]\nservers = /s\ntls = yes\ntls_key = '"$PASSWORD"
}

@test "a user needs a password, and a message does not show it" {
	bad_line "username: add 'password_file = PATH'" 'username = mx1'
	bad_line "sentinel_username: add 'sentinel_password_file = PATH'" 'sentinel_username = mx1'
	bad 5 'unknown key' <<<$'[cluster]\nservers = /s\nusername = a\npassword_file = '"$PASSWORD"$'\nx = 1'
	! grep secret <<<"$errors" || fail 'the password is shown'
}

@test "a duration is a number with a unit, within bounds" {
	local text want
	want="cluster mail, this host as $(host), by 1 server"
	for text in 'interval = 50ms' 'interval = 2500ms' 'interval = 2s' 'lease = 1s' 'lease = 60m' 'lease = 3600s' \
		'lease = 1000ms' 'hold = 0s' 'hold = 0ms' 'hold = 1440m'; do
		good_line "$want" "$text"
	done
	good "$want" <<<$'[cluster]\nservers = /s\ninterval = 10s\nlease = 40s'
	for text in '' 10 250 '250 ms' 0.25s -1s +1s 1h s ms 10S 10sec 1000001ms; do
		bad_line "lease '.*': not a number with a unit: ms, s or m \(as in 250ms\)" "lease = $text"
	done
	bad_line "interval '49ms': not from 50ms to 10s" 'interval = 49ms'
	bad_line "interval '0s': not from 50ms to 10s" 'interval = 0s'
	bad_line "interval '10001ms': not from 50ms to 10s" 'interval = 10001ms'
	bad_line "lease '999ms': not from 1s to 60m" 'lease = 999ms'
	bad_line "lease '61m': not from 1s to 60m" 'lease = 61m'
	bad_line "hold '1441m': not from 0s to 1440m" 'hold = 1441m'
}

@test "a lease is at least four times the interval" {
	good "cluster mail, this host as $(host), by 1 server" <<<$'[cluster]\nservers = /s\ninterval = 1s\nlease = 4s'
	bad 4 'lease: shorter than four times the interval' <<<$'[cluster]\nservers = /s\ninterval = 1s\nlease = 3999ms'
	bad 3 'lease: shorter than four times the interval' <<<$'[cluster]\nservers = /s\nlease = 3s\ninterval = 1s'
	# With the default of 10 s.
	bad_line 'lease: shorter than four times the interval' 'interval = 2501ms'
}

@test "max_prefixes must be a whole number from 1 to 67,108,864" {
	local text
	for text in 1 4194304 67108864; do
		good_line "cluster mail, this host as $(host), by 1 server" "max_prefixes = $text"
	done
	for text in '' 0 67108865 -1 +1 1.5 1e6 x 0x10 99999999999999999999; do
		bad_line "max_prefixes '.*': not a number from 1 to 67108864" "max_prefixes = $text"
	done
}

@test "keys: one that is unknown, repeated or misplaced is an error" {
	bad_line "unknown key 'ssl' in \[cluster\] \(known: name, node, servers, .*, max_prefixes\)" 'ssl = yes'
	bad_line "unknown key 'listen'" 'listen = *:25'
	bad_line "unknown key 'Node'" 'Node = a'
	bad_line "unknown key ''" '= a'
	bad_line 'servers: already set, at line 2' 'servers = /t'
	bad 4 'hold: already set, at line 3' <<<$'[cluster]\nservers = /s\nhold = 1s\nhold = 1s'
	bad 1 "'node' stands before the section \[cluster\]" <<<$'node = a\n[cluster]\nservers = /s'
}

@test "sections: one that is unknown, repeated or unfinished is an error" {
	bad_line "\[conncount\]: unknown section \(known: \[cluster\]\)" '[conncount]'
	bad_line "\[Cluster\]: unknown section" '[Cluster]'
	bad_line "\[cluster\]: there already is such a section, at line 1" '[cluster]'
	bad_line "a section without a closing '\]'" '[cluster'
	bad_line "text after the section's '\]'" '[cluster] x'
}

@test "a file is that of a cluster if its first section is [cluster]" {
	good "cluster mail, this host as $(host), by 1 server" <<<$'# [mx]\n\n[cluster]\nservers = /s'
	printf '[mx]\nlisten = *:25\n[cluster]\nlisten = *:26\n' | good '2 listeners on 2 addresses'
	bad 2 "\[mx\]: unknown section" <<<$'[cluster]\n[mx]\nlisten = *:25'
}

@test "cluster reads the same configuration first, and exits with 2 if it has an error" {
	printf '[cluster]\nservers = x\n' >"$CONF"
	expect 2 conncount cluster -c "$CONF"
	expect_match "^conncount: $CONF:2: servers 'x': " "$errors"
	expect 2 conncount cluster -c "$BATS_TEST_TMPDIR/none"
	expect_match "^conncount: $BATS_TEST_TMPDIR/none: No such file or directory" "$errors"
	expect 2 conncount cluster --config "$BATS_TEST_TMPDIR"
	expect_match "^conncount: $BATS_TEST_TMPDIR: cannot be read" "$errors"
	printf '[mx]\nlisten = *:25\n' >"$CONF"
	expect 2 conncount cluster -c "$CONF"
	expect_match "^conncount: $CONF:1: \[mx\]: unknown section" "$errors"
}

@test "control characters in the file do not reach the terminal, and long texts are cut" {
	local long
	printf -v long '%0400d' 1
	bad_line 'node' $'node = a\e[31m'
	! grep -q '[[:cntrl:]]' <<<"$errors" || fail "a control character: ${errors@Q}"
	bad_line "password_file '/0{99}\.\.\.': File name too long" "password_file = /$long"
	bad 2 "servers '0{100}\.\.\.': ." <<<$'[cluster]\nservers = '"$long"
	bad_line "unknown key '0{100}\.\.\.' in" "$long = 1"
}
