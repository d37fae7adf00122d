# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# PROXY headers as bpf/proxy_header.h reads them. Each is cut at every byte: it is split until it is
# complete, or until the first byte with which it is malformed; what follows it does not matter.

load ../lib/common

# The cases of a test, which checked() runs at once.
cases=()

# line TEXT WHAT: a line of version 1 is a whole header. In TEXT, escapes are as in Python.
line() {
	cases+=("whole|$2|text|$1\\r\\n")
}

# bad BEGIN REST: a line is malformed from the last byte of BEGIN on.
bad() {
	cases+=("malformed|$1|text|$1$2\\r\\nEHLO")
}

# source4 ADDRESS [WANT]; source6 ADDRESS [WANT]: the client of this source address.
source4() {
	line "PROXY TCP4 $1 192.0.2.25 40000 25" "identified ${2-$1}"
}

source6() {
	line "PROXY TCP6 $1 2001:db8::25 40000 25" "identified ${2-$1}"
}

# bad4 BEGIN REST; bad6 BEGIN REST: an address is malformed from the last byte of BEGIN on, as the
# source and as the destination.
bad4() {
	bad "PROXY TCP4 $1" "$2 192.0.2.25 40000 25"
	bad "PROXY TCP4 192.0.2.25 $1" "$2 40000 25"
}

bad6() {
	bad "PROXY TCP6 $1" "$2 2001:db8::25 40000 25"
	bad "PROXY TCP6 2001:db8::25 $1" "$2 40000 25"
}

# whole WHAT COMMAND_FAMILY PART...: a header of version 2 is whole. A PART is hexadecimal; N*BYTE;
# or crc, the TLV with the right checksum.
whole() {
	cases+=("whole|$1|binary|${*:2}")
}

# broken FROM COMMAND_FAMILY PART...: a header of version 2 is malformed from byte FROM on; `end`:
# from the last one on.
broken() {
	cases+=("malformed|$1|binary|${*:2}")
}

# flipped FIRST LAST COMMAND_FAMILY PART...: a header is malformed if any bit of these bytes is flipped.
flipped() {
	cases+=("flipped|$1 $2|binary|${*:3}")
}

# checked: every case is as it should be, cut at each byte. A whole header is split until its last
# byte, and what follows it does not matter.
checked() {
	expect 0 python3 -I - "${cases[@]}" <<'END'
import sys

def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff

def text(line):
    return line.encode().decode("unicode_escape").encode("latin-1")

def binary(line):
    command, *parts = line.split()
    body, at = b"", None
    for part in parts:
        if part == "crc":
            at = 16 + len(body) + 3
            part = "03000400000000"
        n, _, byte = part.rpartition("*")
        body += bytes.fromhex(byte) * int(n or 1)
    header = bytes.fromhex("0d0a0d0a000d0a515549540a" + command) + len(body).to_bytes(2, "big") + body
    if at is not None:
        header = header[:at] + crc32c(header).to_bytes(4, "big") + header[at + 4:]
    return header

def show(header, first, what):
    last = "-%d" % len(header) if len(header) > first else ""
    print("%s 0-%d: split, %d%s: %s" % (header[:4096].hex(), first - 1, first, last, what))

assert crc32c(b"123456789") == 0xe3069283
for case in sys.argv[1:]:
    kind, what, version, line = case.split("|")
    header = {"text": text, "binary": binary}[version](line)
    if kind == "whole":
        show(header, len(header), what)
        if len(header) < 4092:
            show(header + b"EHLO", len(header), what)
    elif kind == "flipped":
        first, last = map(int, what.split())
        for bit in range(8 * first, 8 * last + 8):
            wrong = bytearray(header)
            wrong[bit // 8] ^= 1 << bit % 8
            show(wrong, len(wrong), "malformed")
    elif version == "text":
        show(header, len(text(what)), "malformed")
    else:
        show(header[:4096], len(header) if what == "end" else int(what), "malformed")
END
	local wanted
	wanted=$(cut -d ' ' -f 2- <<<"$output")
	cut -d ' ' -f 1 <<<"$output" >"$BATS_TEST_TMPDIR/headers"
	expect 0 "$BUILD/tests/proxy_header" cuts <"$BATS_TEST_TMPDIR/headers"
	diff <(echo "$wanted") <(echo "$output") ||
		fail 'expected the lines with <, got those with >'
	[ "$(wc -l <<<"$output")" -ge "${#cases[@]}" ] || fail "only $(wc -l <<<"$output") results"
}

inet=c6336407c00002199c400019
inet6_destination=20010db80000000000000000000000199c400019
inet6=20010db8000000000000000000000007$inet6_destination
noop=0400020000 # a TLV

@test "what begins with neither PROXY nor the signature has no header" {
	expect 0 "$BUILD/tests/proxy_header" cuts < <(
		echo                                # nothing
		echo 45484c4f                       # EHLO
		echo 2050524f5859                   # a space, PROXY
		echo 50524f58782054                 # PROXx T
		echo 0d0a0d0a000d0a515549540d0a     # the signature, but for its last byte
		echo 0a
	)
	expect_eq '0: split
0: split, 1-4: absent
0: split, 1-6: absent
0-4: split, 5-7: absent
0-11: split, 12-13: absent
0: split, 1: absent' "$output"
}

@test "version 1: the source address is the client" {
	source4 198.51.100.7
	source4 0.0.0.0
	source4 255.255.255.255
	source4 9.99.100.249
	line 'PROXY TCP4 198.51.100.7 192.0.2.25 0 65535' 'identified 198.51.100.7'
	line 'PROXY TCP6 ::7 192::25 65535 0' 'identified ::7'
	checked
}

@test "version 1: an IPv6 address can have a gap, a dotted quad, and letters of either case" {
	source6 2001:db8::7
	source6 2001:DB8:0:0:0:0:0:7 2001:db8::7
	source6 0001:0020:0300:4000:abcd:ef00:ABCD:EF00 1:20:300:4000:abcd:ef00:abcd:ef00
	source6 :: ::
	source6 1:: 1::
	source6 1:2:3:4:5:6:7:: 1:2:3:4:5:6:7:0
	source6 ::2:3:4:5:6:7:8 0:2:3:4:5:6:7:8
	source6 1::3:4:5:6:7:8 1:0:3:4:5:6:7:8
	source6 1:2:3:4:5:6:1.2.3.4 1:2:3:4:5:6:102:304
	source6 1::2:3:4:5:200.20.0.255 1:0:2:3:4:5:c814:ff
	source6 64:ff9b::192.0.2.1 64:ff9b::c000:201
	line 'PROXY TCP6 ::7 1:2:3:4:5:6:1.2.3.4 40000 25' 'identified ::7'
	checked
}

@test "an IPv4-mapped IPv6 source is the IPv4 address" {
	source6 ::ffff:192.0.2.1 192.0.2.1
	source6 ::FFFF:c000:201 192.0.2.1
	source6 0:0:0:0:0:ffff:192.0.2.1 192.0.2.1
	source6 ::fffe:192.0.2.1 ::fffe:c000:201
	source6 1::ffff:192.0.2.1 1::ffff:c000:201
	whole 'identified 192.0.2.1' 2121 00000000000000000000ffffc0000201 $inet6_destination
	whole 'identified ::1:0:0:ffff:c000:201' 2121 00000000000100000000ffffc0000201 \
		$inet6_destination
	checked
}

@test "version 1: UNKNOWN is the proxy, whatever follows up to CR LF" {
	line 'PROXY UNKNOWN' proxy
	line 'PROXY UNKNOWN ffff:: x 65536' proxy
	line 'PROXY UNKNOWNS' proxy
	line 'PROXY UNKNOWN \n\r \0\r' proxy
	checked
}

@test "version 1: a header has at most 107 bytes" {
	line "PROXY UNKNOWN $(printf '%091d' 0)" proxy
	bad "PROXY UNKNOWN $(printf '%092d' 0)\\r" ''
	bad "PROXY UNKNOWN $(printf '%093d' 0)" ''
	bad "PROXY UNKNOWN $(printf '%093d' 0)" 00000000
	line "PROXY TCP6 $(printf 'ffff:%.0s' {1..7})ffff $(printf 'ffff:%.0s' {1..7})ffff 65535 65535" \
		identified\ ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
	line "PROXY TCP6 $(printf 'ffff:%.0s' {1..6})255.255.255.255 $(printf 'ffff:%.0s' {1..7})ffff 999 999" \
		identified\ ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
	bad "PROXY TCP6 $(printf 'ffff:%.0s' {1..6})255.255.255.255 $(printf 'ffff:%.0s' {1..7})ffff 65535 6553" 5
	checked
}

@test "version 1: a malformed line is so from its first wrong byte on" {
	bad PROXYX ''
	bad 'PROXY  ' 'TCP4 1.2.3.4 5.6.7.8 1 2'
	bad 'PROXY TCP5' ' 1.2.3.4 5.6.7.8 1 2'
	bad 'PROXY t' 'cp4 1.2.3.4 5.6.7.8 1 2'
	bad 'PROXY TCP4  ' '1.2.3.4 5.6.7.8 1 2'
	bad 'PROXY TCP4 1.2.3.4  ' '5.6.7.8 1 2'
	bad 'PROXY TCP4 1.2.3.4 5.6.7.8  ' '1 2'
	bad 'PROXY TCP4 1.2.3.4 5.6.7.8 1  ' 2
	bad 'PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ' ''
	bad 'PROXY TCP4 1.2.3.4\t' '5.6.7.8 1 2'
	bad 'PROXY TCP4 1.2.3.4 5.6.7.8 1 \r' ''
	bad 'PROXY TCP4 1.2.3.4 5.6.7.8 1\r' ''
	bad 'PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n' ''
	bad 'PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r ' ''
	checked
}

@test "version 1: a port is a plain number up to 65535" {
	local port
	for port in '65536 ' '99999 ' '655350 ' '00 ' '080 ' '-1' '+1' 'a' '1a' '0x'; do
		# Up to the byte with which it is no port.
		case $port in
		65536* | 99999*) port=${port:0:5} ;;
		655350*) port=${port:0:6} ;;
		00* | 080*) port=${port:0:2} ;;
		-* | +*) port=${port:0:1} ;;
		esac
		bad "PROXY TCP4 1.2.3.4 5.6.7.8 $port" ' 25'
		bad "PROXY TCP4 1.2.3.4 5.6.7.8 40000 $port" ''
	done
	checked
}

@test "version 1: an IPv4 address is four numbers up to 255 without leading zeros" {
	bad4 256 .1.1.1
	bad4 1.2.3.256 ''
	bad4 1.2.3.1000 ''
	bad4 01 .2.3.4
	bad4 1.2.3.00 ''
	bad4 '1.2.3 ' ''
	bad4 '1.2.3. ' ''
	bad4 1.2.3.4. 5
	bad4 1.. 2.3
	bad4 . 1.2.3.4
	bad4 1.2.3.a ''
	bad4 : :1
	checked
}

@test "version 1: an IPv6 address is as RFC 4291 has it" {
	bad6 :1 ::2
	bad6 ::: 1
	bad6 1::2:: 3
	bad6 1:2:3:4:5:6:7:8: 9
	bad6 '1:2:3:4:5:6:7 ' ''
	bad6 '1:2:3:4:5:6:7: ' ''
	bad6 1:2:3:4:5:6:7::8 ''
	bad6 ::2:3:4:5:6:7:8: ''
	bad6 '1: ' ''
	bad6 '1::2: ' ''
	bad6 00001 ::
	bad6 g ::
	bad6 fe80::1% eth0
	bad6 '[' '::1]'
	bad6 '::1.2.3 ' ''
	bad6 ::1.2.3.4: 5
	bad6 ::1.2.3.4. ''
	bad6 ::1.256 .3.4
	bad6 ::256. 2.3.4
	bad6 ::01. 2.3.4
	bad6 ::0001. 2.3.4
	bad6 ::a. 2.3.4
	bad6 ::1a. 2.3.4
	bad6 ::1.a 3.4
	bad6 ::. 2.3.4
	bad6 1. 2.3.4
	bad6 1:2:3:4:5:1. 2.3.4
	bad6 1:2:3:4:5:6:7:1. 2.3.4
	bad6 ::2:3:4:5:6:7:1. 2.3.4
	checked
}

@test "version 2: the source address is the client" {
	whole 'identified 198.51.100.7' 2111 $inet
	whole 'identified 2001:db8::7' 2121 $inet6
	whole 'identified 198.51.100.7' 2111 $inet $noop $noop 010000
	checked
}

@test "version 2: LOCAL, UNSPEC and UNIX are the proxy" {
	whole proxy 2000
	whole proxy 2000 $noop
	whole proxy 2011 $inet $noop
	whole proxy 2100
	whole proxy 2100 $noop
	whole proxy 2131 216*2f
	whole proxy 2131 216*2f $noop
	# Of an unknown family, or without room for its addresses: it does not say where TLVs begin.
	whole proxy 20ff 616263
	whole proxy 2011 616263
	checked
}

@test "version 2: of all commands and families, only those of a stream from a client are identified" {
	# Addresses that are valid TLVs, for the families that have none.
	local header=0d0a0d0a000d0a515549540affff00d8040009070809101112131415
	expect 0 "$BUILD/tests/proxy_header" families <<<"$header$(printf '00%.0s' {1..204})"
	expect_eq "0000-1fff: malformed, 2000-2101: proxy, 2102-210f: malformed,\
 2110: proxy, 2111: identified 4.0.9.7, 2112-211f: malformed, 2120: proxy,\
 2121: identified 400:907:809:1011:1213:1415::, 2122-212f: malformed, 2130-2131: proxy,\
 2132-ffff: malformed" "$output"
}

@test "version 2: the addresses of the family must fit" {
	broken 16 2111 11*01
	broken 16 2121 35*01
	broken 16 2131 215*2f
	broken 13 1111 $inet
	broken 13 2211 $inet
	broken 14 2112 $inet
	broken 14 2141 $inet
	checked
}

@test "version 2: TLVs must fill the header exactly" {
	broken end 2111 $inet 04
	broken end 2111 $inet 0400
	broken end 2111 $inet 040001
	broken end 2111 $inet 04000300
	broken end 2111 $inet $noop 040100 255*00
	broken end 2100 04ffff
	broken end 2000 0400
	broken end 2111 $inet $noop ff
	checked
}

# proxied COMMAND_FAMILY...: prints what such a header is.
proxied() {
	case $1 in
	2111) echo identified 198.51.100.7 ;;
	2121) echo identified 2001:db8::7 ;;
	*) echo proxy ;;
	esac
}

@test "version 2: a checksum must be right, also that of LOCAL" {
	local command
	for command in "2111 $inet" "2121 $inet6" 2000 2100 "2011 $inet"; do
		# shellcheck disable=SC2086 # words
		whole "$(proxied $command)" $command crc
		# shellcheck disable=SC2086
		whole "$(proxied $command)" $command $noop crc $noop
		# shellcheck disable=SC2086
		broken end $command 03000412345678
	done
	broken end 2111 $inet 03000312345678
	broken end 2111 $inet 03000312345678 $noop
	broken end 2111 $inet 0300051234567890
	broken end 2111 $inet crc 03000400000000
	checked
}

@test "version 2: every bit that a checksum covers matters" {
	# Those of the addresses, of a TLV's value, and of the checksum.
	flipped 16 27 2111 $inet $noop crc
	flipped 31 32 2111 $inet $noop crc
	flipped 36 39 2111 $inet $noop crc
	checked
}

@test "version 2: a header has at most 4096 bytes" {
	whole 'identified 198.51.100.7' 2111 $inet 040fe1 4065*ff
	whole 'identified 198.51.100.7' 2111 $inet 040fda 4058*ff crc
	whole 'identified 198.51.100.7' 2111 $inet 1356*040000
	broken 16 2111 $inet 040fe2 4066*ff
	broken 16 2000 65535*00
	checked
}

@test "no more bytes are loaded than a header can have" {
	local signature=0d0a0d0a000d0a515549540a
	expect 0 "$BUILD/tests/proxy_header" most < <(
		echo                               # nothing
		echo 5052                          # PR
		echo 50524f5859                    # PROXY
		echo 50524f585920544350342031      # PROXY TCP4 1
		echo 45484c4f206d782e6578616d706c652e # EHLO mx.example.
		echo ${signature}211101
		echo ${signature}20000000
		echo ${signature}2111000c6162636465666768
		echo ${signature}21110103
		echo ${signature}21110ff0
		echo ${signature}21110ff1
		echo ${signature}2111ffff
	)
	expect_eq '0 2 107 107 16 15 16 28 275 4096 4096 4096' "${output//$'\n'/ }"
}
