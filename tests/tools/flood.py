# SPDX-License-Identifier: BSD-2-Clause
"""flood.py - clients that harm a policy service.

usage: flood.py ADDRESS N KIND...

Holds N connections of each KIND with ADDRESS, the path of a unix socket or IPV4:PORT, until it is
ended, and reopens each that is closed. Writes "ready" to stdout when all have begun.

    lines   sends empty lines as fast as the service reads them, and reads the answers
    many    the same with requests, each for another server's address
    deaf    sends requests, and reads no answer
    half    sends the beginning of a request
    large   sends 60,000 bytes without the end of a request
    bytes   sends a request without an end, a byte at a time
    idle    sends nothing
    gone    sends a request, and closes at once
"""

import itertools
import select
import socket
import sys

WHOLE = b"client_address=192.0.2.1\nclient_port=1\nserver_address=127.0.0.1\nserver_port=25\n\n"
SERVERS = itertools.count()


def many():
    """Requests for 30 servers that nobody has named before."""
    return b"".join(
        b"client_address=2001:db8::1\nclient_port=1\nserver_address=2001:db8::%x:%x\n"
        b"server_port=25\n\n" % (n >> 16 & 0xffff, n & 0xffff)
        for n in itertools.islice(SERVERS, 30))


# What is sent first, and what again and again.
KINDS = {
    "lines": (lambda: b"\n" * 60000,) * 2,
    "many": (many, many),
    "deaf": (lambda: WHOLE * 100,) * 2,
    "half": (lambda: WHOLE[:40], None),
    "large": (lambda: b"a=b\n" * 15000, None),
    "bytes": (lambda: b"a", lambda: b"a"),
    "idle": (lambda: b"", None),
    "gone": (lambda: WHOLE, None),
}


class Client:
    """One connection, and what is made in its place."""

    def __init__(self, poll, address, kind):
        self.poll, self.address, self.kind = poll, address, kind
        self.socket = None

    def begin(self):
        """Connect, and send what comes first."""
        path = "/" in self.address
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        host, _, port = self.address.rpartition(":")
        self.socket.connect(self.address if path else (host, int(port)))
        self.socket.setblocking(False)
        first, again = KINDS[self.kind]
        self.left = first()
        wanted = 0 if self.kind == "deaf" else select.EPOLLIN
        self.poll.register(self.socket, wanted | (select.EPOLLOUT if again else 0))
        self.send()
        return self.socket.fileno()

    def send(self):
        """Send what is left, or more."""
        again = KINDS[self.kind][1]
        if not self.left and again:
            self.left = again()
        if self.left:
            self.left = self.left[self.socket.send(self.left):]

    def on_event(self, event):
        """Returns whether the connection is still of use."""
        try:
            if event & select.EPOLLIN and not self.socket.recv(1 << 20):
                return False
            if event & select.EPOLLOUT:
                self.send()
        except BlockingIOError:
            pass
        except OSError:
            return False
        return not event & (select.EPOLLERR | select.EPOLLHUP)

    def end(self):
        """Close the connection."""
        self.poll.unregister(self.socket)
        self.socket.close()


def main():
    address, n, kinds = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    poll, clients = select.epoll(), {}

    def begin(client):
        while True:
            try:
                clients[client.begin()] = client
                return
            except OSError:  # closed already
                client.socket.close()

    for kind in kinds:
        for _ in range(n):
            begin(Client(poll, address, kind))
    print("ready", flush=True)
    while True:
        for fd, event in poll.poll(0.01):
            client = clients[fd]
            if not client.on_event(event):
                del clients[fd]
                client.end()
                begin(client)
        for fd, client in [item for item in clients.items() if item[1].kind == "gone"]:
            del clients[fd]
            client.end()
            begin(client)


main()
