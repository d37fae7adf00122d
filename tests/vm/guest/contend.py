# SPDX-License-Identifier: BSD-2-Clause
"""contend.py - keeps the lock of an instance's table of counts busy.

usage: contend.py DIR

DIR is the instance's directory. Inserts a key and deletes it, again and again, until SIGTERM.
Then it deletes all that it has inserted, and prints how many rounds it made, and how often its
operations failed because the lock timed out.

The kernel holds the lock while it walks from the trie's root to a node. Prefixes nested as
deep as a key allows make that walk long: a CPU that is stopped at any moment then probably
holds the lock, which is very rare with the few nodes of real sessions. The keys belong to a
listener that does not exist, so no count changes.
"""

import ctypes
import errno
import os
import signal
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools"))
import bpf as kernel  # noqa: E402 pylint: disable=wrong-import-position

MAP_UPDATE_ELEM, MAP_DELETE_ELEM, NOEXIST = 2, 3, 1
FIRST, LAST = 33, 192  # bits of the shortest and the longest prefix; an owner has 32


class Table:
    """The table of counts."""

    def __init__(self, directory):
        path = ctypes.create_string_buffer(os.path.join(directory, "live/counts").encode())
        self.fd = kernel.bpf(kernel.OBJ_GET,
                             struct.pack("=QII", ctypes.addressof(path), 0, 0))[0]
        self.timeouts = 0
        self.keys, self.values = {}, {}
        # struct cc_count_key, struct cc_count (bpf/abi.h): all ones, so that they nest.
        for length in range(FIRST, LAST + 1):
            bits = ((1 << length) - 1) << (LAST - length)
            self.keys[length] = ctypes.create_string_buffer(
                struct.pack("=I", length) + bits.to_bytes(LAST // 8, "big"), 4 + LAST // 8)
            self.values[length] = ctypes.create_string_buffer(
                struct.pack("=q", length << 3), 8)

    def call(self, command, length):
        """The argument of bpf(2)."""
        if command == MAP_DELETE_ELEM:
            return struct.pack("=IIQ", self.fd, 0, ctypes.addressof(self.keys[length]))
        return struct.pack("=IIQQQ", self.fd, 0, ctypes.addressof(self.keys[length]),
                           ctypes.addressof(self.values[length]), NOEXIST)

    def do(self, command, length):
        """One change; False where the lock timed out."""
        try:
            kernel.bpf(command, self.call(command, length))
        except OSError as error:
            if error.errno != errno.ETIMEDOUT:
                raise
            self.timeouts += 1
            return False
        return True

    def until_done(self, command, length):
        """The same, until it succeeds."""
        while not self.do(command, length):
            pass


def main(argv):
    """Runs the command line."""
    if len(argv) != 2:
        sys.exit(__doc__)
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    table, rounds = Table(argv[1]), 0
    for length in range(FIRST, LAST):
        table.until_done(MAP_UPDATE_ELEM, length)
    while not ended:
        table.until_done(MAP_UPDATE_ELEM, LAST)
        table.until_done(MAP_DELETE_ELEM, LAST)
        rounds += 1
    for length in range(FIRST, LAST):
        table.until_done(MAP_DELETE_ELEM, length)
    print("rounds=%d timeouts=%d" % (rounds, table.timeouts))


if __name__ == "__main__":
    main(sys.argv)
