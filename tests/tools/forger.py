# SPDX-License-Identifier: BSD-2-Clause
"""forger.py - what an unprivileged user can do to a count, in namespaces of its own.

usage: forger.py FILE ADDRESS PORT N

In a user and network namespace of its own, where every address is local, it listens on PORT, and
opens N sessions from ADDRESS and one each from N other addresses of either family, accepted and
not. Creates FILE when they are open, and holds them until killed.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


def main(argv):
    """Runs the command line."""
    if len(argv) != 5:
        sys.exit(__doc__)
    path, address, port, count = argv[1], argv[2], int(argv[3]), int(argv[4])
    user = os.getuid()
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0:
        sys.exit("forger: no user namespace: " + os.strerror(ctypes.get_errno()))
    with open("/proc/self/uid_map", "w", encoding="ascii") as file:
        file.write("0 %d 1" % user)
    subprocess.run(["ip", "-batch", "-"], check=True, text=True,
                   input="link set lo up\nroute replace local 0.0.0.0/0 dev lo\n"
                         "route replace local ::/0 dev lo\n")
    for name in ("ipv4/ip_nonlocal_bind", "ipv6/ip_nonlocal_bind"):
        with open("/proc/sys/net/" + name, "w", encoding="ascii") as file:
            file.write("1")
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    held = []
    for i in range(count):
        for source, target in ((address, "192.0.2.1"), ("10.66.0.%d" % (i + 1), "192.0.2.1"),
                               ("2001:db8:66::%x" % (i + 1), "2001:db8::25")):
            held.append(socket.create_connection((target, port), source_address=(source, 0)))
            if i % 2:
                held.append(server.accept()[0])
    with open(path, "x", encoding="ascii"):
        pass
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv)
