# SPDX-License-Identifier: BSD-2-Clause
"""demo_smtp.py - the demo's clients, and servers where smtp-sink cannot be had.

usage: demo_smtp.py serve ADDR:PORT
           greet each client, and answer every line, like an SMTP server
       demo_smtp.py hold ADDR:PORT SOURCE...
           open a session from each source address, say EHLO, and print a line when all are
           answered. On SIGTERM say QUIT in each, wait until the server has closed it, and end
"""

import signal
import socket
import sys
import threading
import time

TIMEOUT = 10  # seconds, for an answer, and for the server to listen
IP_FREEBIND = 15
IPV6_FREEBIND = 78


def endpoint(text):
    """ADDR:PORT or [ADDR6]:PORT -> (family, (address, port))"""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    return socket.AF_INET6 if ":" in host else socket.AF_INET, (host, int(port))


def answer(sock):
    """Server: one session."""
    with sock, sock.makefile("rwb") as stream:
        stream.write(b"220 demo ESMTP\r\n")
        stream.flush()
        for line in stream:
            done = line.strip().upper() == b"QUIT"
            stream.write(b"221 bye\r\n" if done else b"250 ok\r\n")
            stream.flush()
            if done:
                break


def serve(listen):
    """Server: all sessions."""
    family, address = endpoint(listen)
    with socket.create_server(address, family=family, backlog=100) as server:
        while True:
            sock, _ = server.accept()
            threading.Thread(target=answer, args=(sock,), daemon=True).start()


def connect(family, address, source):
    """Client: connect from an address that no interface has; wait for the server to be up."""
    end = time.monotonic() + TIMEOUT
    while True:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(TIMEOUT)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        sock.bind((source, 0))
        try:
            sock.connect(address)
            return sock
        except ConnectionRefusedError:
            sock.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def expect(stream, code):
    """Client: read an answer, of one line or more."""
    while True:
        line = stream.readline()
        if not line.startswith(code):
            sys.exit("demo_smtp.py: %r expected, got %r" % (code, line))
        if line[3:4] != b"-":
            return


def greet(sock):
    """Client: the start of a session."""
    stream = sock.makefile("rwb")
    expect(stream, b"220")
    stream.write(b"EHLO client.example.org\r\n")
    stream.flush()
    expect(stream, b"250")
    return stream


def hold(target, sources):
    """Client: all sessions."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    family, address = endpoint(target)
    sessions = []
    for source in sources:
        sock = connect(family, address, source)
        sessions.append((sock, greet(sock)))
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})
    for sock, stream in sessions:
        stream.write(b"QUIT\r\n")
        stream.flush()
        stream.read()  # to the end: the server has closed its socket
        stream.close()
        sock.close()


def main():
    """See above."""
    if len(sys.argv) == 3 and sys.argv[1] == "serve":
        serve(sys.argv[2])
    elif len(sys.argv) > 3 and sys.argv[1] == "hold":
        hold(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
