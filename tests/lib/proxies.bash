# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# proxies.bash - a listener on port 25 with proxies, 10.0.0.0/24 and 2001:db8:1::/64, and actors
# that send PROXY headers. Load actors.bash too. A test file has
#	setup() { proxied_setup; }
#	teardown() { actors_teardown; }

# shellcheck disable=SC2119 # no LINEs here
proxied_setup() {
	instance_setup
	proxied_configure
	load
}

# proxied_configure [LINE...]: configures it; LINEs are in the section [conncount].
# shellcheck disable=SC2120 # other files give LINEs
proxied_configure() {
	{
		printf '%s\n' '[conncount]' 'group = root' "$@"
		printf '%s\n' '[mx]' 'listen = *:25' 'proxy = 10.0.0.0/24' 'proxy = 2001:db8:1::/64'
	} | configure raw
}

# What an actor needs to send headers. `segments` is how many a socket has sent; `given` waits until
# the peer has acknowledged what a socket has sent.
HEADERS='
import fcntl, termios
def v1(client):
    six = ":" in client
    return ("PROXY TCP%s %s %s 40000 25\r\n" % (
        "46"[six], client, "2001:db8::25" if six else "192.0.2.1")).encode()
def v2(client, command=0x21, after=b"", transport=1):
    six = ":" in client
    kind = socket.AF_INET6 if six else socket.AF_INET
    body = (socket.inet_pton(kind, client) + socket.inet_pton(kind, "::1" if six else "127.0.0.1")
            + b"\x9c\x40\0\x19" + after)
    return (b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, (2 if six else 1) << 4 | transport])
            + struct.pack(">H", len(body)) + body)
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return struct.pack(">I", crc ^ 0xffffffff)
def v2_crc(client, wrong=0):
    header = v2(client, after=b"\3\0\4\0\0\0\0")
    crc = crc32c(header)
    return header[:-4] + bytes([crc[0] ^ wrong]) + crc[1:]
def segments(sock):
    return struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), 136)[0]
def given(sock):
    until(lambda: fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4) == b"\0" * 4, "acknowledgement")
def give(sock, *parts):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for part in parts:
        sock.sendall(part)
        given(sock)
'

# proxy_pair: starts a server that listens on *:25, as `door`, and a client that has HEADERS.
proxy_pair() {
	actor server
	actor client
	act client "$HEADERS"
	act server "door = listen(None, 25)"
}

# origins 'IDENTIFIED OWN ABSENT MALFORMED SPLIT UNREAD' [AWAITING UNIDENTIFIED]: expects these
# numbers of the listener, and a clean verify.
origins() {
	local got
	mapfile -t got < <(state listeners.0.proxied.{identified,own,absent,malformed,split,unread})
	expect_eq "$1" "${got[*]}" 'identified, own, absent, malformed, split, unread'
	mapfile -t got < <(state listeners.0.{awaiting,unidentified})
	expect_eq "${2:-0} ${3:-0}" "${got[*]}" 'awaiting, unidentified'
	expect 0 conncount verify
	expect_match '^0 differences: ' "$output"
}

# ended: ends all sessions of proxy_pair, and expects that nothing is left.
ended() {
	act server 'door.close(); close(socks)'
	act client 'close(socks)'
	nothing_left
}
