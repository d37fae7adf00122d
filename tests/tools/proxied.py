# SPDX-License-Identifier: BSD-2-Clause
"""proxied.py - sets what is known of a listener's sessions that came from proxies.

usage: proxied.py DIR ID AWAITING UNIDENTIFIED TOTAL...   set these of the listener with this id;
                                                          TOTAL: six, in order of CC_ORIGIN_*
       proxied.py DIR ID                                  say that the listener has proxies
"""

import os
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bpf import Map  # pylint: disable=wrong-import-position

PROXIED = 128  # where `proxied` is in struct cc_stats
LISTENER_ID = "=II"  # struct cc_listener_id


def set_totals(directory, listener, numbers):
    """Sets the struct cc_proxied of a listener."""
    stats = Map(directory + "/live/stats")
    key = struct.pack("=I", listener)
    value = bytearray(stats[key])
    struct.pack_into("=8q", value, PROXIED, *numbers)
    stats[key] = bytes(value)


def set_proxied(directory, listener):
    """Sets `proxied` of a listener's addresses."""
    listeners = Map(directory + "/live/listeners")
    for key in list(listeners):
        if struct.unpack(LISTENER_ID, listeners[key])[0] == listener:
            listeners[key] = struct.pack(LISTENER_ID, listener, 1)


if __name__ == "__main__":
    if len(sys.argv) == 11:
        set_totals(sys.argv[1], int(sys.argv[2]), list(map(int, sys.argv[3:])))
    elif len(sys.argv) == 3:
        set_proxied(sys.argv[1], int(sys.argv[2]))
    else:
        sys.exit(__doc__)
