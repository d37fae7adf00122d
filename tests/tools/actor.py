# SPDX-License-Identifier: BSD-2-Clause
"""actor.py - executes Python from a test, step by step, for sockets that sessions.py cannot make.

nursery.py starts it. It takes orders from tests/tools/tell until killed. An order is Python code;
the answer is what the code prints, and comes when the code has ended. An exception fails the
order. The code can use the names below, and those that earlier orders have set.
"""

import builtins
import contextlib
import ctypes
import errno
import io
import os
import socket
import struct
import time
import traceback

import orders

ESTABLISHED, SYN_SENT, SYN_RECV, CLOSED, CLOSE_WAIT = 1, 2, 3, 7, 8
ACK = 0x10  # a segment's flag
MPTCP = 262
IP_BIND_ADDRESS_NO_PORT = 24
CPUS = sorted(os.sched_getaffinity(0))
TIMEOUT = 30  # seconds for any single thing to happen


def until(check, what="it"):
    """Waits until check() is true."""
    end = time.monotonic() + TIMEOUT
    while not check():
        if time.monotonic() > end:
            raise TimeoutError("timed out: " + what)
        time.sleep(0.002)


def new(host, proto=0):
    """A TCP or MPTCP socket of the family of an address, or of both for None."""
    six = host is None or ":" in host
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM, proto)
    if six:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY,
                        int(bool(host) and not host.startswith("::ffff:")))
    sock.settimeout(TIMEOUT)
    return sock


def listen(host, port, backlog=4096, proto=0, options=()):
    """A listening socket. `options` are (level, option, value), set before it listens."""
    sock = new(host, proto)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for option in options:
        sock.setsockopt(*option)
    sock.bind((host or "::", port))
    sock.listen(backlog)
    return sock


def bound(src, proto=0):
    """A socket to connect from an address."""
    sock = new(src, proto)
    if proto != MPTCP:  # which has no such option on Linux 6.1
        sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((src, 0))
    return sock


def connect(src, dst, port, count=1, proto=0):
    """A list of sockets, connected."""
    socks = []
    for _ in range(count):
        sock = bound(src, proto)
        sock.connect((dst, port))
        socks.append(sock)
    return socks


def refused(src, dst, port):
    """Whether a connection is refused at once."""
    with bound(src) as sock:
        return sock.connect_ex((dst, port)) == errno.ECONNREFUSED


def is_open(sock):
    """Whether the server's end of a connected socket is open: then it acknowledges a byte."""
    def told():
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        unacked, again = struct.unpack_from("=I72xI", info, 24)
        return (not unacked, again > 1)
    sock.send(b"x")
    until(lambda: any(told()))
    return told()[0]


def accept(listener, count=1):
    """A list of accepted sockets."""
    socks = []
    for _ in range(count):
        sock = listener.accept()[0]
        sock.settimeout(TIMEOUT)
        socks.append(sock)
    return socks


def close(socks):
    """Closes sockets, and empties the list."""
    for sock in socks:
        sock.close()
    socks.clear()


def linger0(socks):
    """From now on their close, by whatever, is a RST."""
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset(socks):
    """Closes sockets with a RST."""
    linger0(socks)
    close(socks)


def state(sock):
    """The kernel's state of a connection."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def deaf(sock):
    """No packet reaches the socket any more: a filter drops them."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # ret 0
    program = struct.pack("HL", 1, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER


def hear(sock):
    """Takes the filter away again."""
    sock.setsockopt(socket.SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER


def stay(cpu):
    """From now on runs on one CPU, 0 or -1: the first or the last. The kernel then handles what
    is sent over lo on it, too."""
    os.sched_setaffinity(0, {CPUS[cpu]})


def forge(src, sport, dst, dport, flags, seq=1, ack=1):
    """Sends a TCP segment without a socket, as anybody can who forges addresses."""
    six = ":" in src
    family = socket.AF_INET6 if six else socket.AF_INET
    segment = struct.pack(">HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 65535, 0, 0)
    summed = (socket.inet_pton(family, src) + socket.inet_pton(family, dst) +
              struct.pack(">II", len(segment), socket.IPPROTO_TCP) + segment)
    total = sum(struct.unpack(">%dH" % (len(summed) // 2), summed))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    segment = segment[:16] + struct.pack(">H", ~total & 0xffff) + segment[18:]
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) as sock:
        sock.bind((src, 0))
        sock.sendto(segment, (dst, 0))


def disconnect(sock):
    """connect(2) to AF_UNSPEC."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.connect(sock.fileno(), struct.pack("HH12x", socket.AF_UNSPEC, 0), 16):
        raise OSError(ctypes.get_errno(), "connect to AF_UNSPEC")


def counter(name):
    """A counter of this network namespace, of /proc/net/netstat."""
    with open("/proc/net/netstat", encoding="ascii") as lines:
        for names in lines:
            values = next(lines)
            if name in names.split():
                return int(values.split()[names.split().index(name)])
    raise KeyError(name)


def send_sockets(path, socks):
    """Passes sockets over a unix socket; returns our end of it."""
    pipe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pipe.connect(path)
    socket.send_fds(pipe, [b"x"], [sock.fileno() for sock in socks])
    return pipe


def receive_sockets(door, count):
    """Receives them; returns them and our end."""
    pipe = door.accept()[0]
    _, fds, _, _ = socket.recv_fds(pipe, 1, count)
    return [socket.socket(fileno=fd) for fd in fds], pipe


def fork_holder():
    """A process that holds what this one has open, until it is killed; returns its id."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        orders.forget()
        os.write(told, b"x")
        while True:
            time.sleep(1000)
    os.read(ready, 1)
    os.close(ready)
    os.close(told)
    return pid


def end(pid):
    """Kills a child and waits until all it held is gone."""
    os.kill(pid, 9)
    os.waitpid(pid, 0)


def obey(names, order):
    """Runs an order; returns the answer to tell, and that it was not the last."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            builtins.exec(compile(order, "<order>", "exec"), names)
    except Exception:  # the sender of the order must see it
        return "-%sactor.py: %s" % (out.getvalue(), traceback.format_exc()), False
    return "+" + out.getvalue(), False


def run(path):
    """Serves orders."""
    names = dict(globals(), socks=[])
    orders.serve(path, lambda order: obey(names, order))
