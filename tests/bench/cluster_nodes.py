# SPDX-License-Identifier: BSD-2-Clause
"""cluster_nodes.py - other nodes of a cluster, for its bench.

usage: cluster_nodes.py play SOCKET NODES RATE LIVE SECONDS
       cluster_nodes.py traffic SOURCE ADDRESS:PORT RATE
       cluster_nodes.py lag SOURCE ADDRESS:PORT DIR SAMPLES

play is NODES nodes of the cluster `mail` at the server's SOCKET, each with LIVE sessions that stay,
and RATE connections a second that last for an interval of 250 ms, all from random addresses. It
says `ready` when all have joined, and goes on for SECONDS; then prints how many changes it has
told, and in how many bytes.

traffic listens there, and connects so often a second from addresses that follow SOURCE, until its
standard input ends. Each connection is closed when it is accepted.

lag connects to a host's server from SAMPLES addresses that follow SOURCE, one at a time, and prints
for each after how many seconds the instance DIR of another host has counted it for inbound_cidr.
"""

import ctypes
import ipaddress
import random
import select
import socket
import struct
import sys
import time

INTERVAL, LEASE_MS, CHUNKS, CYCLE = 0.25, 60000, 64, 8
MASK = (1 << 64) - 1


def mix(value):
    """As in user/cluster/table.c."""
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9 & MASK
    value = (value ^ value >> 27) * 0x94d049bb133111eb & MASK
    return value ^ value >> 31


def leaf_hash(address):
    """That of an IPv4 address, a number."""
    return mix(mix(address << 32) ^ 2 << 56)


class Engine:
    """A connection that sends commands, and reads as many replies."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")
        self.out, self.asked = [], 0

    def ask(self, *words):
        self.out.append(b"*%d\r\n" % len(words))
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            self.out.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.asked += 1

    def flush(self):
        self.socket.sendall(b"".join(self.out))
        while self.asked:
            line = self.file.readline()
            if line[:1] == b"-":
                sys.exit("the server says " + line.decode().strip())
            if line[:1] == b"$" and line != b"$-1\r\n":
                self.file.read(int(line[1:]) + 2)
            self.asked -= 1
        self.out = []


class Node:
    """One of the nodes."""

    def __init__(self, number, rate, live):
        self.name, self.epoch = "play%d" % number, "%032x" % random.getrandbits(128)
        self.seq = self.beat = 1
        self.live = [random.getrandbits(32) | 1 << 24 for _ in range(live)]
        per_interval = max(1, round(rate * INTERVAL))
        self.sets = [[random.getrandbits(32) | 1 << 24 for _ in range(per_interval)] for _ in range(CYCLE)]
        self.base = sum(leaf_hash(a) for a in set(self.live)) & MASK
        self.live = set(self.live)
        self.sets = [sorted(set(addresses) - self.live) for addresses in self.sets]
        self.sums = [sum(leaf_hash(a) for a in addresses) & MASK for addresses in self.sets]
        opens = [b"".join(struct.pack(">BIB", 4, a, 1) for a in addresses) for addresses in self.sets]
        closes = [b"".join(struct.pack(">BIB", 4, a, 0) for a in addresses) for addresses in self.sets]
        self.batches = [closes[i - 1] + opens[i] for i in range(CYCLE)]

    def key(self, what):
        return "conncount:{mail}:%s:%s" % (what, self.name) + (":" + self.epoch if what in "sz" else "")

    def header(self, networks, checksum):
        return "1 %s %d %d 0 250 %d %d %x" % (self.epoch, self.seq, self.beat, networks, networks, checksum)

    def join(self, engine):
        chunks = [[] for _ in range(CHUNKS)]
        for address in self.live:
            chunks[leaf_hash(address) >> 58].append(struct.pack(">BIB", 4, address, 1))
        words = []
        for i, chunk in enumerate(chunks):
            words += [i, struct.pack(">Q", 1) + b"".join(chunk)]
        engine.ask("SADD", "conncount:{mail}:nodes", self.name)
        engine.ask("XADD", self.key("s"), "1-0", "d", "")
        engine.ask("HSET", self.key("z"), *words)
        engine.ask("SET", self.key("n"), self.header(len(self.live), self.base), "PX", LEASE_MS)

    def tell(self, engine, turn):
        """One interval. Returns how many changes, and in how many bytes."""
        batch = self.batches[turn % CYCLE] if turn else b"".join(
            struct.pack(">BIB", 4, a, 1) for a in self.sets[0])
        now = turn % CYCLE
        self.seq += 1
        self.beat += 1
        engine.ask("XADD", self.key("s"), "MAXLEN", "~", 100, "%d-0" % self.seq, "d", batch)
        engine.ask("SET", self.key("n"),
                   self.header(len(self.live) + len(self.sets[now]), self.base + self.sums[now] & MASK),
                   "PX", LEASE_MS)
        return len(batch) // 6, len(batch)


def play(path, nodes, rate, live, seconds):
    engine, all_nodes = Engine(path), [Node(i, rate, live) for i in range(nodes)]
    for node in all_nodes:
        node.join(engine)
        engine.flush()
    # A node lives if its header changes.
    for _ in range(4):
        time.sleep(INTERVAL)
        for node in all_nodes:
            node.beat += 1
            engine.ask("SET", node.key("n"), node.header(len(node.live), node.base), "PX", LEASE_MS)
        engine.flush()
    print("ready", flush=True)
    changes = size = turn = 0
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        for node in all_nodes:
            n, told = node.tell(engine, turn)
            changes, size = changes + n, size + told
        engine.flush()
        turn += 1
        time.sleep(max(0, start + turn * INTERVAL - time.monotonic()))
    print(changes, size, "%.2f" % (turn * INTERVAL / (time.monotonic() - start)), flush=True)
    sys.stdin.read()


def traffic(source, to, rate):
    host, port = to.rsplit(":", 1)
    first, n = int(ipaddress.ip_address(source)), 0
    server = socket.create_server((host, int(port)), backlog=4096)
    start = time.monotonic()
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        for _ in range(int((time.monotonic() - start) * rate) - n):
            client = socket.socket()
            client.bind((str(ipaddress.ip_address(first + n % 4000)), 0))
            client.connect((host, int(port)))
            accepted, _ = server.accept()
            accepted.close()
            client.close()
            n += 1
        time.sleep(0.005)
    print(n, "%.0f" % (n / (time.monotonic() - start)), flush=True)


class Cidr(ctypes.Structure):
    """struct conncount_cidr"""
    _fields_ = [("family", ctypes.c_int), ("prefixlen", ctypes.c_uint), ("addr", ctypes.c_ubyte * 16)]


class Answer(ctypes.Structure):
    """struct conncount_answer"""
    _fields_ = [("count", ctypes.c_int64), ("uncounted", ctypes.c_int64), ("lost", ctypes.c_uint64),
                ("flags", ctypes.c_uint32), ("listeners", ctypes.c_uint32)]


def lag(source, to, directory, samples):
    library = ctypes.CDLL("build/libconncount.so")
    handle, answer, why = ctypes.c_void_p(), Answer(), ctypes.c_char_p()
    if library.conncount_open(directory.encode(), ctypes.byref(handle)):
        sys.exit("cannot open " + directory)
    host, port = to.rsplit(":", 1)
    first = int(ipaddress.ip_address(source))
    for i in range(samples):
        address, cidr = str(ipaddress.ip_address(first + i)), Cidr()
        library.conncount_cidr_parse(address.encode(), None, ctypes.byref(cidr), ctypes.byref(why))
        client = socket.socket()
        client.bind((address, 0))
        client.connect((host, int(port)))
        start = time.monotonic()
        while True:
            library.conncount_count_service(handle, b"inbound_cidr", ctypes.byref(cidr), ctypes.byref(answer))
            if answer.count:
                break
            if time.monotonic() > start + 10:
                sys.exit("%s is not counted after 10 s" % address)
            time.sleep(0.0005)
        print("%.4f" % (time.monotonic() - start), flush=True)
        time.sleep(random.random() * 2 * INTERVAL)


if sys.argv[1:2] == ["play"]:
    play(sys.argv[2], *map(int, sys.argv[3:7]))
elif sys.argv[1:2] == ["traffic"]:
    traffic(sys.argv[2], sys.argv[3], int(sys.argv[4]))
elif sys.argv[1:2] == ["lag"]:
    lag(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
else:
    sys.exit(__doc__)
