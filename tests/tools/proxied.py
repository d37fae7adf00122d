# SPDX-License-Identifier: BSD-2-Clause
"""proxied.py - sets what is known of a listener's sessions that came from proxies.

usage: proxied.py DIR ID AWAITING UNIDENTIFIED TOTAL...   set these of the listener with this id;
                                                          TOTAL: six, in order of CC_ORIGIN_*
       proxied.py DIR ID                                  say that the listener has proxies
"""

import ctypes
import os
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bpf import OBJ_GET, bpf  # pylint: disable=wrong-import-position

MAP_LOOKUP, MAP_UPDATE, MAP_NEXT_KEY = 1, 2, 4
STATS_SIZE, PROXIED = 192, 128  # struct cc_stats, and in it `proxied`
KEY_SIZE = 28  # struct cc_listener_key
LISTENER_ID = "=II"  # struct cc_listener_id


def opened(directory, name):
    """A descriptor of a pinned map."""
    text = ctypes.create_string_buffer(("%s/live/%s" % (directory, name)).encode())
    return bpf(OBJ_GET, struct.pack("=QII", ctypes.addressof(text), 0, 0))[0]


def on_map(command, fd, key, value):
    """Calls bpf(2) with a key and a value, or the next key, which the kernel may write."""
    bpf(command, struct.pack("=IIQQQ", fd, 0, ctypes.addressof(key) if key else 0,
                             ctypes.addressof(value), 0))


def set_totals(directory, listener, numbers):
    """Sets the struct cc_proxied of a listener."""
    fd = opened(directory, "stats")
    key = ctypes.create_string_buffer(struct.pack("=I", listener), 4)
    value = ctypes.create_string_buffer(STATS_SIZE)
    on_map(MAP_LOOKUP, fd, key, value)
    struct.pack_into("=8q", value, PROXIED, *numbers)
    on_map(MAP_UPDATE, fd, key, value)


def set_proxied(directory, listener):
    """Sets `proxied` of a listener's addresses."""
    fd = opened(directory, "listeners")
    value = ctypes.create_string_buffer(struct.calcsize(LISTENER_ID))
    for key in keys(fd):
        on_map(MAP_LOOKUP, fd, key, value)
        if struct.unpack(LISTENER_ID, value.raw)[0] == listener:
            struct.pack_into(LISTENER_ID, value, 0, listener, 1)
            on_map(MAP_UPDATE, fd, key, value)


def keys(fd):
    """The keys of the `listeners` trie."""
    found = []
    while True:
        key = ctypes.create_string_buffer(KEY_SIZE)
        try:
            on_map(MAP_NEXT_KEY, fd, found[-1] if found else None, key)
        except FileNotFoundError:
            return found
        found.append(key)


if __name__ == "__main__":
    if len(sys.argv) == 11:
        set_totals(sys.argv[1], int(sys.argv[2]), list(map(int, sys.argv[3:])))
    elif len(sys.argv) == 3:
        set_proxied(sys.argv[1], int(sys.argv[2]))
    else:
        sys.exit(__doc__)
