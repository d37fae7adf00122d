# SPDX-License-Identifier: BSD-2-Clause
"""bpf.py - what the kernel says about BPF objects, by the bpf(2) system call itself.

usage: bpf.py attached CGROUP   print the programs attached to a cgroup directory, their
                                links and their maps, as `prog 12`, `link 3`, `map 45`
       bpf.py alive             of such lines on stdin, print those that still exist
       bpf.py writable DIR      print the pins below DIR that may be opened for writing
"""

import ctypes
import errno
import os
import platform
import struct
import sys

SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}

OBJ_GET = 7
PROG_GET_NEXT_ID, MAP_GET_NEXT_ID = 11, 12
PROG_GET_FD_BY_ID, MAP_GET_FD_BY_ID = 13, 14
OBJ_GET_INFO_BY_FD, PROG_QUERY = 15, 16
LINK_GET_FD_BY_ID, LINK_GET_NEXT_ID = 30, 31
LINK_TYPE_CGROUP = 3
BY_ID = {"prog": PROG_GET_FD_BY_ID, "map": MAP_GET_FD_BY_ID, "link": LINK_GET_FD_BY_ID}

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attr):
    """Makes the system call; `attr` is updated by the kernel. Raises OSError."""
    buf = ctypes.create_string_buffer(bytes(attr).ljust(128, b"\0"), 128)
    ret = libc.syscall(ctypes.c_long(SYS_BPF[platform.machine()]), ctypes.c_long(command),
                       buf, ctypes.c_long(128))
    if ret < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return ret, buf.raw


def info(fd, size):
    """bpf_obj_get_info_by_fd() of `size` bytes; returns them."""
    buf = ctypes.create_string_buffer(size)
    bpf(OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, size, ctypes.addressof(buf)))
    return buf.raw


def open_id(kind, number):
    """A descriptor for an object, or None where there is no such object (any more)."""
    try:
        return bpf(BY_ID[kind], struct.pack("=I", number))[0]
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def cgroup_links():
    """All cgroup links: (id, prog id, cgroup id)."""
    number, links = 0, []
    while True:
        try:
            _, attr = bpf(LINK_GET_NEXT_ID, struct.pack("=I", number))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return links
            raise
        number = struct.unpack_from("=I", attr, 4)[0]
        fd = open_id("link", number)
        if fd is None:
            continue
        # struct bpf_link_info: type, id, prog_id, pad, then cgroup_id.
        kind, _, prog, _, cgroup = struct.unpack_from("=IIIIQ", info(fd, 64))
        os.close(fd)
        if kind == LINK_TYPE_CGROUP:
            links.append((number, prog, cgroup))


def prog_maps(number):
    """The ids of a program's maps."""
    fd = open_id("prog", number)
    if fd is None:
        return []
    room = 64
    ids = (ctypes.c_uint32 * room)()
    # struct bpf_prog_info: nr_map_ids at 52, map_ids at 56.
    buf = ctypes.create_string_buffer(64)
    struct.pack_into("=IQ", buf, 52, room, ctypes.addressof(ids))
    bpf(OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, 64, ctypes.addressof(buf)))
    os.close(fd)
    return list(ids[:struct.unpack_from("=I", buf.raw, 52)[0]])


def attached(cgroup):
    """Prints the programs attached to a cgroup by links, with their links and maps."""
    cgroup_id = os.stat(cgroup).st_ino
    for link, prog, where in cgroup_links():
        if where == cgroup_id:
            print("link", link)
            print("prog", prog)
            for number in prog_maps(prog):
                print("map", number)


def alive():
    """Prints those objects named on stdin that exist."""
    for line in sys.stdin:
        kind, number = line.split()
        fd = open_id(kind, int(number))
        if fd is not None:
            os.close(fd)
            print(kind, number)


def writable(directory):
    """Prints the pins that this process may open for writing."""
    pins = 0
    for where, _, names in os.walk(directory, onerror=lambda error: sys.exit(str(error))):
        for name in names:
            if name in ("progs.debug", "maps.debug"):  # made by the kernel, no pins
                continue
            path = os.path.join(where, name)
            text = ctypes.create_string_buffer(path.encode())
            pins += 1
            try:
                os.close(bpf(OBJ_GET, struct.pack("=QII", ctypes.addressof(text), 0, 0))[0])
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM):
                    raise
            else:
                print(path)
    if not pins:
        sys.exit("bpf.py: no pins below " + directory)


def main(argv):
    """Runs the command line."""
    if len(argv) == 3 and argv[1] == "attached":
        attached(argv[2])
    elif len(argv) == 2 and argv[1] == "alive":
        alive()
    elif len(argv) == 3 and argv[1] == "writable":
        writable(argv[2])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv)
