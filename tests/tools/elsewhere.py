# SPDX-License-Identifier: BSD-2-Clause
"""elsewhere.py - holds sockets that are hard to find, or only look like sessions, until killed.

usage: elsewhere.py queue FILE PORT N    listen on PORT in N new network namespaces, and leave
                                         each, so that only the sockets hold it. Namespace I has
                                         I accepted sessions from 10.5.I.1 and one, from
                                         10.6.I.1, in its accept queue
       elsewhere.py open FILE PORT N     the same, but all are accepted
       elsewhere.py outbound FILE PORT   connect out, to another port, from 10.5.0.1:PORT, and
                                         from a port that the kernel chose
       elsewhere.py chosen FILE PORT     connect out by TCP and, if possible, by MPTCP, each from
                                         PORT, which the kernel chose. Then listen on PORT at
                                         192.0.2.1 and, without a backlog, at 192.0.2.2; open two
                                         sessions from 10.5.0.3 to each, and accept all

FILE is created when all of this is done.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys

CLONE_NEWNET = 0x40000000
IP_BIND_ADDRESS_NO_PORT = 24

libc = ctypes.CDLL(None, use_errno=True)
held = []


def must(result):
    """Of a libc call."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def listen(host, port, backlog=128):
    """A listener that shares its port."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    sock.listen(backlog)
    held.append(sock)
    return sock


def connect(src, dst, port, sport=0):
    """A client's side."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, sport == 0)
    sock.bind((src, sport))
    sock.connect((dst, port))
    held.append(sock)


def left(port, count, queue):
    """Sessions in namespaces that this process has left."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    for i in range(1, count + 1):
        must(libc.unshare(CLONE_NEWNET))
        subprocess.run(["ip", "-batch", "-"], check=True, text=True,
                       input="link set lo up\nroute replace local 0.0.0.0/0 dev lo\n")
        with open("/proc/sys/net/ipv4/ip_nonlocal_bind", "w", encoding="ascii") as file:
            file.write("1")
        server = listen("192.0.2.1", port)
        for _ in range(i):
            connect("10.5.%d.1" % i, "192.0.2.1", port)
            held.append(server.accept()[0])
        connect("10.6.%d.1" % i, "192.0.2.1", port)
        if not queue:
            held.append(server.accept()[0])
        must(libc.setns(home, CLONE_NEWNET))


def outbound(port):
    """Connections of which a configured listener's port is only the local end."""
    server = listen("192.0.2.9", 200)
    connect("10.5.0.1", "192.0.2.9", 200, port)
    connect("10.5.0.2", "192.0.2.9", 200)
    for _ in range(2):
        held.append(server.accept()[0])


def choose(first, last):
    """Have the kernel choose from these ports."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as file:
        file.write("%d %d" % (first, last))


def chosen(port):
    """Connections out of a configured port that no socket was bound to; and a listener there."""
    for host, protocol in (("192.0.2.9", socket.IPPROTO_TCP), ("192.0.2.8", 262)):
        choose(1024, 65535)
        try:
            server = socket.socket(proto=protocol)
        except OSError:
            continue
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, 200))
        server.listen()
        held.append(server)
        choose(port, port)
        sock = socket.socket(proto=protocol)
        sock.connect((host, 200))
        held.extend((sock, server.accept()[0]))
    choose(1024, 65535)
    for host, backlog in (("192.0.2.1", 128), ("192.0.2.2", 0)):
        server = listen(host, port, backlog)
        for _ in range(2):
            connect("10.5.0.3", host, port)
            held.append(server.accept()[0])


def main(argv):
    """Runs the command line."""
    if len(argv) == 5 and argv[1] in ("queue", "open"):
        left(int(argv[3]), int(argv[4]), argv[1] == "queue")
    elif len(argv) == 4 and argv[1] == "outbound":
        outbound(int(argv[3]))
    elif len(argv) == 4 and argv[1] == "chosen":
        chosen(int(argv[3]))
    else:
        sys.exit(__doc__)
    with open(argv[2], "x", encoding="ascii"):
        pass
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv)
