# SPDX-License-Identifier: BSD-2-Clause
"""sum.py - tests the sum program, which adds up counts, pinned as DIR/live/sum.

usage: sum.py agree DIR LIBRARY PEERS N STEP
                              PEERS has the peer of a session as the first word of each line. For
                              N of these addresses, their neighbours and every STEP-th prefix
                              length, compare the library's answer by the program, that by
                              look-ups, and the true sum. Removes the pin
       sum.py run DIR NETWORK,LEVEL,MOST,MARK...
                              run it for listener 0 and each of these; print what it returns
       sum.py crowd DIR LIBRARY NETWORK N STEP
                              write counts for N addresses of a /64 into the table, of one session
                              each: half are consecutive, the others random, but for those that
                              differ from the first by one bit. For networks of every STEP-th
                              prefix length around them, compare the library's answer and the
                              true sum
       sum.py attach DIR EVENTS
                              try to attach it to the tracepoints in a file, `GROUP:NAME` a line;
                              print those that accept it, and how many there are
"""

import bisect
import collections
import ctypes
import errno
import ipaddress
import os
import random
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bpf import RDONLY, bpf, obj_get  # pylint: disable=wrong-import-position

PROG_TEST_RUN, RAW_TRACEPOINT_OPEN = 10, 17
AF_INET, AF_INET6 = 2, 10  # as the library has them


def opened(directory):
    """The program, as a reader opens it."""
    return obj_get(directory + "/live/sum", RDONLY)


def count_key(network):
    """The key of the count of a network, of listener 0: struct cc_count_key."""
    family = b"\0\2" if network.version == 4 else b"\0\n"
    return struct.pack("=I2s2s16sI", 32 + network.prefixlen, b"", family,
                       network.network_address.packed, 0)


def run(program, network, level, most, mark):
    """Runs the program; prints its return value."""
    question = count_key(network) + struct.pack("=Iq48xQ", 32 + level, most, mark)
    at = ctypes.create_string_buffer(question, len(question))
    attr = struct.pack("=II8x16x8xIIQ", program, 0, len(question), 0,
                       ctypes.addressof(at))
    print("%#x" % struct.unpack_from("=I", bpf(PROG_TEST_RUN, attr)[1], 4))


def attach(directory, events):
    """Tries all tracepoints."""
    program, found = opened(directory), 0
    with open(events, encoding="ascii") as lines:
        names = sorted(line.strip().split(":")[1] for line in lines)
    for name in names:
        text = ctypes.create_string_buffer(name.encode())
        try:
            os.close(bpf(RAW_TRACEPOINT_OPEN, struct.pack("=QI", ctypes.addressof(text), program))[0])
        except OSError as error:
            if error.errno == errno.ENOENT:  # a system call's: not one of its own
                continue
            if error.errno != errno.EINVAL:
                raise
        else:
            print(name)
        found += 1
    print(found)


class Library:
    """An open handle of libconncount."""

    def __init__(self, library, directory):
        self.library = ctypes.CDLL(library)
        self.handle = ctypes.c_void_p()
        if self.library.conncount_open(directory.encode(), ctypes.byref(self.handle)):
            sys.exit("cannot open " + directory)

    def count(self, network):
        """How many sessions of service SMTP it has."""
        family = AF_INET if network.version == 4 else AF_INET6
        cidr = struct.pack("=iI16s", family, network.prefixlen, network.network_address.packed)
        answer = ctypes.create_string_buffer(32)
        if self.library.conncount_count_service(self.handle, None, cidr, answer):
            sys.exit("no answer about %s" % network)
        return struct.unpack_from("=q", answer.raw)[0]


def agree(directory, library, peers, count, step):
    """Compares, and says how many networks were asked about."""
    with open(peers, encoding="ascii") as lines:
        sessions = [ipaddress.ip_address(line.split()[0]) for line in lines]
    by_program = Library(library, directory)
    os.unlink(directory + "/live/sum")
    by_look_ups = Library(library, directory)
    # Those that have sessions, and their neighbours, which may be in networks that have none.
    asked = random.Random(4711).sample(sorted(set(sessions), key=int), count)
    asked += [type(address)(int(address) ^ 1 << 12) for address in asked]
    networks = 0
    for length in range(0, 129, step):
        truth = collections.Counter(
            ipaddress.ip_network((address, length), strict=False) for address in sessions
            if length <= address.max_prefixlen)
        for address in asked:
            if length > address.max_prefixlen:
                continue
            network = ipaddress.ip_network((address, length), strict=False)
            got = by_program.count(network), by_look_ups.count(network)
            if got != (truth[network], truth[network]):
                sys.exit("%s: %d by the program, %d by look-ups, not %d" % (network, *got, truth[network]))
            networks += 1
    print(networks)


def plant(directory, library, networks):
    """Writes the counts of networks into the table, by tests/tools/plant.c."""
    subprocess.run([os.path.dirname(library) + "/tests/plant", directory + "/live/counts"], check=True,
                   text=True, input="".join("%d %s %d\n" % (count, network.network_address, network.prefixlen)
                                            for network, count in networks))


def crowd(directory, library, network, count, step):
    """Compares, and says how many networks were asked about."""
    rng, first = random.Random(4711), int(network[0x8000000000000000])
    addresses = {first ^ 1 << bit for bit in range(63)}
    addresses.update(range(first, first + count // 2))
    while len(addresses) < count:
        addresses.add(int(network[rng.getrandbits(64)]))
    plant(directory, library, [(network, len(addresses)), (network.supernet(8), len(addresses))]
          + [(ipaddress.ip_network(address), 1) for address in addresses])
    asked, answers, ordered = Library(library, directory), 0, sorted(addresses)
    for length in range(network.prefixlen, 129, step):
        for address in first, first ^ 1 << 62, first ^ 1 << 20, rng.choice(ordered), first ^ 3 << 40:
            within = ipaddress.ip_network((address, length), strict=False)
            truth = (bisect.bisect_right(ordered, int(within[-1]))
                     - bisect.bisect_left(ordered, int(within[0])))
            got = asked.count(within)
            if got != truth:
                sys.exit("%s: %d, not %d" % (within, got, truth))
            answers += 1
    print(answers)


def main(argv):
    """Runs the command line."""
    if len(argv) == 7 and argv[1] == "agree":
        agree(*argv[2:5], *(int(word) for word in argv[5:]))
    elif len(argv) > 3 and argv[1] == "run":
        program = opened(argv[2])
        for question in argv[3:]:
            network, *numbers = question.split(",")
            run(program, ipaddress.ip_network(network), *(int(word, 0) for word in numbers))
    elif len(argv) == 7 and argv[1] == "crowd":
        crowd(*argv[2:4], ipaddress.ip_network(argv[4]), *(int(word) for word in argv[5:]))
    elif len(argv) == 4 and argv[1] == "attach":
        attach(*argv[2:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv)
