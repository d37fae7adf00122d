# SPDX-License-Identifier: BSD-2-Clause
"""limited.py - what the maps about limits say, and what turns limits off.

usage: limited.py DIR refusals [ID]   print the totals of the listener with this id (0):
                                      `refused N would N` for each of its limits
       limited.py DIR refused         print each network that was refused, `ADDRESS/LENGTH refused N
                                      would N`, sorted
       limited.py DIR gated           print each noted network namespace, `INODE gated|ungated`
       limited.py DIR places          print how many places CPUs hold, and nodes of counts have:
                                      `held N nodes N`
       limited.py DIR lose ID N       say that the listener with this id has lost N more changes
       limited.py DIR seed 1|-1       say that a load begins or ends to enter sessions
"""

import os
import socket
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bpf import Map  # pylint: disable=wrong-import-position

LISTENERS_MAX = 1024  # CC_LISTENERS_MAX
PLACE_SHIFT, PLACE_BITS = 11, 14  # CC_COUNT_PLACE_*
PLACE_TAKEN, PLACE_LEVELS = 2, 36  # CC_PLACE_TAKEN; where `levels` is in struct cc_place
LIMITS, LIMIT_SIZE = 16, 12  # of `limit` in struct cc_limits
TOTAL = 9  # where `total` is in struct cc_limit
LOST = 32  # where `lost` is in struct cc_tally
SEEDING, GENERATION, INEXACT = 4, 8, 16  # where these are in struct cc_control


def opened(name):
    """A map of the instance."""
    return Map("%s/live/%s" % (sys.argv[1], name))


def print_refusals(listener=0):
    """Of a listener that has limits."""
    control = opened("control")[bytes(4)]
    config = struct.unpack_from("=Q", control, GENERATION)[0] & 1
    limits = opened("limits")[struct.pack("=I", config * LISTENERS_MAX + listener)]
    totals = opened("refusals")[struct.pack("=I", listener)]
    for i in range(struct.unpack_from("=I", limits)[0]):
        total = limits[LIMITS + i * LIMIT_SIZE + TOTAL]
        print("refused %d would %d" % struct.unpack_from("=QQ", totals, 16 * total))


def print_refused():
    """Networks, of all listeners."""
    refused = opened("refused")
    lines = []
    for key in refused:
        family, length = struct.unpack_from(">H", key, 2)[0], struct.unpack_from("=I", key, 4)[0]
        address = socket.inet_ntop(family, key[8:24 if family == socket.AF_INET6 else 12])
        lines.append("%s/%d refused %d would %d" %
                     (address, length, *struct.unpack_from("=QQ", refused[key])))
    print("\n".join(sorted(lines)))


def print_gated():
    """Network namespaces."""
    gated = opened("gated")
    for key in gated:
        netns, has_gate = struct.unpack("=II", gated[key])
        print(netns, "gated" if has_gate else "ungated")


def print_places():
    """The places in slots, as bits of levels; and in the words of nodes."""
    counts, held, had = opened("counts"), 0, 0
    slots = opened("places") if os.path.exists(sys.argv[1] + "/live/places") else {}
    for key in slots:
        value = slots[key]
        if struct.unpack_from("=Q", value)[0] & 3 == PLACE_TAKEN:
            held += bin(struct.unpack_from("=I", value, PLACE_LEVELS)[0]).count("1")
    for key in counts:
        had += struct.unpack("=q", counts[key])[0] >> PLACE_SHIFT & (1 << PLACE_BITS) - 1
    print("held %d nodes %d" % (held, had))


def change(name, key, layout, offset, by):
    """Adds to a number in a map's value."""
    values = opened(name)
    value = bytearray(values[key])
    number, = struct.unpack_from(layout, value, offset)
    struct.pack_into(layout, value, offset, number + by)
    values[key] = bytes(value)


def lose(listener, n):
    """As a program that cannot enter a change."""
    change("stats", struct.pack("=I", listener), "=Q", LOST, n)
    change("control", bytes(4), "=q", INEXACT, n)


def seed(n):
    """As a load."""
    change("control", bytes(4), "=I", SEEDING, n)


COMMANDS = {"refusals": print_refusals, "refused": print_refused, "gated": print_gated,
            "places": print_places, "lose": lose, "seed": seed}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[2] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[2]](*map(int, sys.argv[3:]))
