# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Addresses and networks as text: address, address/length, address/netmask, [v6], localhost. Host
# bits are dropped, names are not looked up, and an error says why.

load ../lib/common

# is TEXT WANT [PEER]: to a session from PEER, TEXT is the network WANT.
is() {
	expect 0 "$BUILD/tests/parse" cidr "$1" ${3+"$3"}
	expect_eq "$2" "$output" "'$1'"
}

# bad TEXT WHY [PEER]: TEXT is an error with WHY in its message.
bad() {
	expect 1 "$BUILD/tests/parse" cidr "$1" ${3+"$3"}
	expect_match "^error: .*$2" "$output" "'$1'"
}

# address TEXT WANT: TEXT is this address and port.
address() {
	expect 0 "$BUILD/tests/parse" address "$1"
	expect_eq "$2" "$output" "'$1'"
}

# bad_address TEXT WHY: TEXT is an error with WHY in its message.
bad_address() {
	expect 1 "$BUILD/tests/parse" address "$1"
	expect_match "^error: .*$2" "$output" "'$1'"
}

@test "IPv4: an address may have a prefix length or a netmask, and host bits are dropped" {
	is 10.1.2.3 10.1.2.3/32
	is 10.1.2.3/32 10.1.2.3/32
	is 10.1.2.3/8 10.0.0.0/8
	is 10.255.255.255/9 10.128.0.0/9
	is 10.1.2.3/255.0.0.0 10.0.0.0/8
	is 10.1.2.3/255.255.255.255 10.1.2.3/32
	is 10.1.2.3/0.0.0.0 0.0.0.0/0
	is 192.0.2.255/31 192.0.2.254/31
	is 0.0.0.0/0 0.0.0.0/0
	is 255.255.255.255/0 0.0.0.0/0
}

# every_length ADDRESS LONGEST: for each prefix length, the network is the one that Python computes.
every_length() {
	local length=0 want
	while read -r want; do
		is "$1/$length" "$want"
		length=$((length + 1))
	done < <(python3 -I -c 'import ipaddress, sys
for length in range(int(sys.argv[2]) + 1):
    print(ipaddress.ip_network("%s/%d" % (sys.argv[1], length), strict=False))' "$1" "$2")
	expect_eq $(($2 + 1)) $length 'lengths tried'
}

@test "IPv4: every prefix length keeps exactly its bits" {
	every_length 219.171.205.117 32
}

@test "IPv6: every prefix length keeps exactly its bits" {
	every_length 2b5a:dead:beef:cafe:9b7d:fedc:ba98:7654 128
}

@test "IPv6: brackets are optional" {
	is 2001:db8::/32 2001:db8::/32
	is '[2001:db8::1]/64' 2001:db8::/64
	is '[2001:db8::1]' 2001:db8::1/128
	is 2001:db8::1 2001:db8::1/128
	is ::/0 ::/0
	is '[::]/0' ::/0
}

@test "an IPv4-mapped address is the IPv4 address, with its prefix length less 96" {
	is ::ffff:192.0.2.1 192.0.2.1/32
	is '[::ffff:192.0.2.1]' 192.0.2.1/32
	is ::ffff:c000:201/120 192.0.2.0/24
	is ::ffff:192.0.2.1/128 192.0.2.1/32
	is ::ffff:192.0.2.1/96 0.0.0.0/0
	bad ::ffff:192.0.2.1/95 'at least 96'
	bad ::ffff:192.0.2.1/129 'over 128'
	bad ::ffff:192.0.2.1/255.255.255.0 'not a plain number'
}

@test "localhost is 127.0.0.1, or ::1 if the prefix length is over 32" {
	is localhost 127.0.0.1/32
	is localhost/32 127.0.0.1/32
	is localhost/8 127.0.0.0/8
	is localhost/255.0.0.0 127.0.0.0/8
	is localhost/33 ::/33
	is localhost/128 ::1/128
	bad localhost/129 'over 128'
	bad localhost/ 'not a plain number'
}

@test "host names are not looked up, and are errors" {
	bad localhost.localdomain 'the only name that is resolved is localhost'
	bad Localhost 'the only name that is resolved is localhost'
	bad mx.example.com 'the only name that is resolved is localhost'
	bad mx.example.com/24 'the only name that is resolved is localhost'
	bad '[localhost]' 'the only name that is resolved is localhost'
}

@test "malformed text is an error that says why" {
	bad '' empty
	bad 300.1.1.1 'not an IP address'
	bad 10.0.0 'not an IP address'
	bad 10.0.0.0.0 'not an IP address'
	bad 010.0.0.1 'not an IP address'
	bad 10.0.0.0/33 'over 32'
	bad 10.0.0.0/ 'not a plain number'
	bad 10.0.0.0/-1 'not a plain number'
	bad 10.0.0.0/+8 'not a plain number'
	bad 10.0.0.0/08 'not a plain number'
	bad 10.0.0.0/8/8 'not a plain number'
	bad 10.0.0.0/4294967304 'not a plain number'
	bad '10.0.0.0/8 ' 'not a plain number'
	bad ' 10.0.0.0/8' 'not an IP address'
	bad '10.0.0.0 /8' 'not an IP address'
	bad 10.0.0.0/255.0.255.0 'not a netmask'
	bad 10.0.0.0/255.0.0 'not a netmask'
	bad 10.0.0.0/0.0.0.255 'not a netmask'
	bad '[10.0.0.1]' 'not an IP address'
	bad '[2001:db8::1' 'not an IP address'
	bad '2001:db8::1]' 'not an IP address'
	bad '[2001:db8::1]x' 'not an IP address'
	bad '[]' 'not an IP address'
	bad 2001:db8::/129 'over 128'
	bad 2001:db8::/64,/24 'not a plain number'
	bad fe80::1%eth0 'zones are not supported'
	bad '[fe80::1%eth0]/64' 'zones are not supported'
	bad "$(printf '1%.0s' {1..300})" 'not an IP address'
}

@test "a prefix length alone is the connecting session's network in its own family" {
	is /24 192.0.2.0/24 192.0.2.77
	is /0 0.0.0.0/0 192.0.2.77
	is /64 2001:db8:1:2::/64 2001:db8:1:2:3:4:5:6
	is /24 2001:d00::/24 2001:db8:1:2:3:4:5:6
	is /128 2001:db8::7/128 2001:db8::7
	bad /24 'needs a connecting session'
	bad /33 'over 32' 192.0.2.77
	bad /129 'over 128' 2001:db8::7
	bad /129 'over 32' 192.0.2.77
	bad / 'not a plain number' 192.0.2.77
	bad /x 'not a plain number' 192.0.2.77
	bad '/24 ' 'not a plain number' 192.0.2.77
	bad /255.255.255.0 'not a plain number' 192.0.2.77
}

@test "/32 is exactly the connecting address, even if it is IPv6" {
	is /32 192.0.2.77/32 192.0.2.77
	is /32 2001:db8::7/128 2001:db8::7
	is 2001:db8::7/32 2001:db8::/32 2001:db8::7
}

@test "of two lengths, the first applies to an IPv4 client, the second to an IPv6 client" {
	is /24,/64 192.0.2.0/24 192.0.2.77
	is /24,/64 2001:db8:1:2::/64 2001:db8:1:2:3:4:5:6
	is /32,/128 2001:db8::7/128 2001:db8::7
	bad /24,/129 'over 128' 192.0.2.77
	bad /33,/64 'over 32' 2001:db8::7
	bad /24,64 "what follows the ','" 192.0.2.77
	bad /24, "what follows the ','" 192.0.2.77
	bad /24,/64,/8 "what follows the ','" 192.0.2.77
	bad /,/64 'not a plain number' 192.0.2.77
	bad /24,/64 'needs a connecting session'
}

@test "an address with a port is read, and a bad one is an error that says why" {
	address 192.0.2.1:25 '192.0.2.1/32 25'
	address '[2001:db8::10]:65535' '2001:db8::10/128 65535'
	address '[::ffff:192.0.2.1]:25' '192.0.2.1/32 25'
	bad_address 192.0.2.1 "no ':PORT'"
	bad_address 192.0.2.1: 'from 1 to 65535'
	bad_address 192.0.2.1:0 'from 1 to 65535'
	bad_address 192.0.2.1:65536 'from 1 to 65535'
	bad_address 192.0.2.1:smtp 'from 1 to 65535'
	bad_address 2001:db8::10:25 'written \[ADDRESS\]:PORT'
	bad_address :25 'not an IP address'
	bad_address mx.example.com:25 'not an IP address'
}
