# SPDX-License-Identifier: BSD-2-Clause
"""bpf.py - what the kernel says about BPF objects, by the system call bpf(2).

usage: bpf.py readable|writable DIR   print the pins below DIR that may be opened for that, sorted
"""

import ctypes
import errno
import os
import platform
import struct
import sys

SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}

MAP_LOOKUP, MAP_UPDATE, MAP_NEXT_KEY = 1, 2, 4
OBJ_GET, OBJ_GET_INFO_BY_FD = 7, 15
RDONLY = 8  # BPF_F_RDONLY

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


def obj_get(path, flags=0):
    """A descriptor of a pinned object."""
    text = ctypes.create_string_buffer(path.encode())
    return bpf(OBJ_GET, struct.pack("=QII", ctypes.addressof(text), 0, flags))[0]


class Map:
    """A pinned map, as a dictionary of bytes."""

    def __init__(self, path):
        self.fd = obj_get(path)
        # struct bpf_map_info: type, id, key_size, value_size.
        self.key_size, self.value_size = struct.unpack_from("=II", info(self.fd, 80), 8)

    def call(self, command, key, value):
        """Calls bpf(2) with a key and a value, or the next key, which the kernel may write."""
        bpf(command, struct.pack("=IIQQQ", self.fd, 0, ctypes.addressof(key) if key else 0,
                                 ctypes.addressof(value), 0))

    def __getitem__(self, key):
        value = ctypes.create_string_buffer(self.value_size)
        self.call(MAP_LOOKUP, ctypes.create_string_buffer(key, self.key_size), value)
        return value.raw

    def __setitem__(self, key, value):
        self.call(MAP_UPDATE, ctypes.create_string_buffer(key, self.key_size),
                  ctypes.create_string_buffer(value, self.value_size))

    def __iter__(self):
        last = None
        while True:
            key = ctypes.create_string_buffer(self.key_size)
            try:
                self.call(MAP_NEXT_KEY, last, key)
            except FileNotFoundError:
                return
            yield key.raw
            last = key


def pins(directory, flags):
    """Prints the pins that this process may open with these flags."""
    found, openable = 0, []
    for where, _, names in os.walk(directory, onerror=lambda error: sys.exit(str(error))):
        for name in names:
            if name in ("progs.debug", "maps.debug"):  # made by the kernel, no pins
                continue
            path = os.path.join(where, name)
            found += 1
            try:
                os.close(obj_get(path, flags))
            except OSError as error:
                # A link cannot be opened only for reading.
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL):
                    raise
            else:
                openable.append(path)
    if not found:
        sys.exit("bpf.py: no pins below " + directory)
    print("\n".join(sorted(openable)))


def main(argv):
    """Runs the command line."""
    if len(argv) == 3 and argv[1] in ("readable", "writable"):
        pins(argv[2], RDONLY if argv[1] == "readable" else 0)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv)
