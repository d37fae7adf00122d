# SPDX-License-Identifier: BSD-2-Clause
"""poke.py - tries to change an instance, in every way the kernel has.

usage: poke.py DIR [BPFFS]    print each change that succeeded, a line each

With BPFFS, a directory to pin in, it also pins maps there and opens them again for writing.

Without BPFFS, an ordinary user must be able to change nothing. Root can do most of it, so run it
as root only on an instance that nobody needs.
"""

import ctypes
import mmap
import os
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bpf import RDONLY, bpf, info, obj_get  # pylint: disable=wrong-import-position

MAP_UPDATE, MAP_DELETE, OBJ_PIN, GET_NEXT_KEY = 2, 3, 6, 4
MAP_FREEZE, UPDATE_BATCH, DELETE_BATCH = 22, 26, 27
RAW_TRACEPOINT_OPEN = 17
LINK_UPDATE, LINK_DETACH = 29, 34
PROG_GET_FD_BY_ID, MAP_GET_FD_BY_ID, LINK_GET_FD_BY_ID = 13, 14, 30
LPM_TRIE = 11


def attempt(what, do, *args):
    """Does it; prints @what if that worked. Returns the result, None if it failed."""
    try:
        result = do(*args)
    except OSError:
        return None
    print(what, flush=True)
    return result


def opened(path, flags):
    """A descriptor of a pinned object, or None."""
    try:
        return obj_get(path, flags)
    except OSError:
        return None


def change_map(name, fd, where):
    """Tries what a map's descriptor may be good for."""
    # struct bpf_map_info: type, id, key_size, value_size.
    kind, _, key_size, value_size = struct.unpack_from("=IIII", info(fd, 80))
    key = ctypes.create_string_buffer(max(key_size, 4))
    value = ctypes.create_string_buffer(value_size)
    pin = ctypes.create_string_buffer((where + "/copy-" + name).encode())
    at = struct.pack("=IIQQQ", fd, 0, ctypes.addressof(key), ctypes.addressof(value), 0)
    batch = struct.pack("=QQQQIIQQ", 0, 0, ctypes.addressof(key), ctypes.addressof(value), 1, fd,
                        0, 0)
    if kind == LPM_TRIE:
        struct.pack_into("=I", key, 0, 32)  # the length of a prefix
    attempt("update " + name, bpf, MAP_UPDATE, at)
    attempt("update, a batch of " + name, bpf, UPDATE_BATCH, batch)
    attempt("pin " + name, bpf, OBJ_PIN, struct.pack("=QII", ctypes.addressof(pin), fd, 0))
    attempt("map " + name, mmap.mmap, fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    if not bpf_fails(GET_NEXT_KEY, struct.pack("=IIQQQ", fd, 0, 0, ctypes.addressof(key), 0)):
        attempt("delete from " + name, bpf, MAP_DELETE,
                struct.pack("=IIQ", fd, 0, ctypes.addressof(key)))
        attempt("delete, a batch of " + name, bpf, DELETE_BATCH, batch)
    attempt("freeze " + name, bpf, MAP_FREEZE, struct.pack("=I", fd))


def change_by_pin(name, fd, bpffs):
    """Pins a map in another place, opens that for writing, and tries what it may be good for."""
    path = bpffs + "/" + name
    text = ctypes.create_string_buffer(path.encode())
    if bpf_fails(OBJ_PIN, struct.pack("=QII", ctypes.addressof(text), fd, 0)):
        return
    again = opened(path, 0)
    if again is not None:
        change_map(name + " by a pin", again, bpffs)


def bpf_fails(command, attr):
    """Whether a call fails."""
    try:
        bpf(command, attr)
    except OSError:
        return True
    return False


def change_link(name, fd):
    """Tries to turn a link off."""
    program = struct.unpack_from("=I", info(fd, 64), 8)[0]
    try:
        program = bpf(PROG_GET_FD_BY_ID, struct.pack("=I", program))[0]
    except OSError:
        program = 0
    attempt("update link " + name, bpf, LINK_UPDATE, struct.pack("=IIII", fd, program, 0, 0))
    attempt("detach link " + name, bpf, LINK_DETACH, struct.pack("=I", fd))


def change_program(name, fd, where):
    """Tries to use a program for something else."""
    pin = ctypes.create_string_buffer((where + "/copy-" + name).encode())
    attempt("pin " + name, bpf, OBJ_PIN, struct.pack("=QII", ctypes.addressof(pin), fd, 0))
    for tracepoint in ("sched_switch", "sys_enter", "kfree_skb", "inet_sock_set_state"):
        text = ctypes.create_string_buffer(tracepoint.encode())
        attempt("attach %s to %s" % (name, tracepoint), bpf, RAW_TRACEPOINT_OPEN,
                struct.pack("=QI", ctypes.addressof(text), fd))


def by_number(fds):
    """Tries to get hold of objects by their numbers, without a pin."""
    calls = {"map": MAP_GET_FD_BY_ID, "prog": PROG_GET_FD_BY_ID, "link": LINK_GET_FD_BY_ID}
    for kind, fd in fds.items():
        number = info(fd, 64)[4:8]  # in all of struct bpf_{map,prog,link}_info after the type
        attempt("get hold of a %s by its number" % kind, bpf, calls[kind], number)


def change_files(directory, live):
    """Tries to change the directories and the pins in them, as files."""
    for path in (directory, live):
        attempt("make a directory in " + path, os.mkdir, path + "/poked")
        attempt("change the mode of " + path, os.chmod, path, 0o777)
        attempt("give away " + path, os.chown, path, os.geteuid(), os.getegid())
    for name in sorted(os.listdir(live)) if os.path.isdir(live) else ():
        path = live + "/" + name
        attempt("change the mode of " + name, os.chmod, path, 0o666)
        attempt("link to " + name, os.link, path, live + "/link-" + name)
        attempt("rename " + name, os.rename, path, live + "/moved-" + name)
        attempt("remove " + name, os.unlink, path)
    attempt("rename the maps", os.rename, live, directory + "/moved")


def main(directory, bpffs=None):
    """Tries everything."""
    live = directory + "/live"
    held = {}
    for name in sorted(os.listdir(live)):
        path = live + "/" + name
        for flags in (RDONLY, 0):
            fd = opened(path, flags)
            if fd is None:
                continue
            kind = os.readlink("/proc/self/fd/%d" % fd).rpartition("bpf-")[2]
            held[kind] = fd
            if kind == "map":
                change_map(name, fd, live)
                if bpffs:
                    change_by_pin(name, fd, bpffs)
            elif kind == "prog":
                change_program(name, fd, live)
            else:
                print("open " + name)
                change_link(name, fd)
    if "map" not in held:
        sys.exit("poke.py: not one map could be opened")
    by_number(held)
    change_files(directory, live)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
