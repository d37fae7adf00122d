# SPDX-License-Identifier: BSD-2-Clause
"""crowd.py - attaches as many programs to its network namespace as the kernel allows.

usage: crowd.py FILE   programs at the look-up of listeners, which change nothing, until it is
                       killed; create FILE when they are attached
"""

import ctypes
import errno
import os
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bpf import bpf  # pylint: disable=wrong-import-position

PROG_LOAD, LINK_CREATE = 5, 28
SK_LOOKUP_PROGRAM, SK_LOOKUP = 30, 36  # BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP

code = ctypes.create_string_buffer(bytes.fromhex("b700000001000000" "9500000000000000"), 16)
text = ctypes.create_string_buffer(b"GPL")
# A kind and code, a licence, and, behind what is 0, where it can be attached.
program = bpf(PROG_LOAD, struct.pack("=IIQQ44xI", SK_LOOKUP_PROGRAM, 2, ctypes.addressof(code),
                                     ctypes.addressof(text), SK_LOOKUP))[0]
own = os.open("/proc/self/ns/net", os.O_RDONLY)
held = []
while True:
    try:
        held.append(bpf(LINK_CREATE, struct.pack("=IIII", program, own, SK_LOOKUP, 0))[0])
    except OSError as error:
        if error.errno != errno.E2BIG:
            raise
        break
with open(sys.argv[1], "w", encoding="ascii"):
    pass
time.sleep(3600)
