# SPDX-License-Identifier: BSD-2-Clause
"""bpf.py - what the kernel says about BPF objects, by the system call bpf(2).

usage: bpf.py writable DIR   print the pins below DIR that may be opened for writing
"""

import ctypes
import errno
import os
import platform
import struct
import sys

SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}

OBJ_GET, OBJ_GET_INFO_BY_FD = 7, 15

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
    if len(argv) == 3 and argv[1] == "writable":
        writable(argv[2])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv)
