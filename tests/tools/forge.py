# SPDX-License-Identifier: BSD-2-Clause
"""forge.py - pins another object in place of a pin, which readers must not believe.

usage: forge.py map PIN TYPE KEY VALUE ENTRIES FLAGS    a new map of these, in decimal
       forge.py program PIN TYPE                        a program that returns -1
       forge.py configs PIN                             keep the map, but fill it with 0xff and 'A'
"""

import ctypes
import os
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bpf import Map, bpf  # pylint: disable=wrong-import-position

MAP_CREATE, PROG_LOAD, OBJ_PIN = 0, 5, 6
ARRAY_OF_MAPS, HASH_OF_MAPS = 12, 13


def create(kind, key, value, entries, flags):
    """A new map; one of maps has one of the same size in it."""
    inner = 0
    if kind in (ARRAY_OF_MAPS, HASH_OF_MAPS):
        inner = create(2, 4, 8, 1, 0)
    return bpf(MAP_CREATE, struct.pack("=IIIIII", kind, key, value, entries, flags, inner))[0]


def load(kind):
    """A program: r0 = -1; exit."""
    code = ctypes.create_string_buffer(bytes.fromhex("b7000000ffffffff" "9500000000000000"), 16)
    text = ctypes.create_string_buffer(b"GPL")
    return bpf(PROG_LOAD, struct.pack("=IIQQ", kind, 2, ctypes.addressof(code),
                                      ctypes.addressof(text)))[0]


def pin(path, fd):
    """Pins it there, in the place of what is pinned."""
    text = ctypes.create_string_buffer(path.encode())
    if os.path.exists(path):
        os.unlink(path)
    bpf(OBJ_PIN, struct.pack("=QII", ctypes.addressof(text), fd, 0))


def fill_configs(path):
    """All texts without an end, all numbers as great as they can be, and every listener in use."""
    configs = Map(path)
    head = b"A" * (32 + 4096) + b"\xff" * (32 + 56)
    listener = b"A" * 128 + struct.pack("=IIQ", 1, 0, 0)
    for number in range(2):
        configs[struct.pack("=I", number)] = head + listener * 1024


if __name__ == "__main__":
    if len(sys.argv) == 8 and sys.argv[1] == "map":
        pin(sys.argv[2], create(*map(int, sys.argv[3:])))
    elif len(sys.argv) == 4 and sys.argv[1] == "program":
        pin(sys.argv[2], load(int(sys.argv[3])))
    elif len(sys.argv) == 3 and sys.argv[1] == "configs":
        fill_configs(sys.argv[2])
    else:
        sys.exit(__doc__)
